//! `chaos`: a system is disturbed, seen to hold, and left alone again.

use crate::schema::check;
use crate::world::{World, eventually};

/// A system that may be disturbed.
fn world() -> World {
    World::start_with("chaos = true\nhost_name = \"a\"\n[nats]\nprofile = \"fast\"\n")
}

fn running(world: &World) -> Vec<serde_json::Value> {
    let list = world.orrery(&["chaos", "list", "--json"]).good().line();
    check("chaos-list", &list);
    list["experiments"].as_array().expect("a list").clone()
}

/// Goal: whoever disturbs a system sees what goes on, until when, and can end it; the record says who
/// and why. Method: every experiment, named as a person would, then the list, one end and all ends.
#[test]
fn experiments_are_begun_listed_and_stopped() {
    let world = world();
    let begun = world.orrery(&[
        "chaos",
        "delay",
        "--by",
        "50ms",
        "--for",
        "5m",
        "--reason",
        "does it hold?",
        "--json",
    ]);
    let begun = begun.good().line();
    check("chaos-experiment", &begun);
    assert_eq!((&begun["running"], &begun["reason"]), (&true.into(), &"does it hold?".into()), "{begun}");
    let text = world.orrery(&["chaos", "drop-acks", "--share", "0.1", "--for", "5m"]).good().stdout;
    assert!(text.contains("drops 10 % of the answers until "), "{text}");
    for verb in [
        &["chaos", "trip-breaker", "tool.git"][..],
        &["chaos", "fill-inbox", "3"],
        &["chaos", "fill-inbox", "--rate", "20"],
        &["chaos", "kill-worker", "git", "--every", "2s"],
    ] {
        world.orrery(&[verb, &["--for", "5m"]].concat()).good();
    }
    assert_eq!(running(&world).len(), 6);
    let breaker = world.orrery(&["breakers", "show", "tool.git", "--json"]).good().line();
    assert_eq!(breaker["phase"], "open", "{breaker}");

    let id = begun["id"].as_str().expect("a name");
    world.orrery(&["chaos", "stop"]).failed("experiment-not-found", 66);
    let ended = world.orrery(&["chaos", "stop", id, "--reason", "seen enough", "--json"]).good().line();
    check("chaos-experiment", &ended);
    assert_eq!((&ended["running"], &ended["ended"]["cause"]), (&false.into(), &"stopped".into()), "{ended}");
    world.orrery(&["chaos", "stop", id]).failed("experiment-over", 65);
    world.orrery(&["chaos", "stop", "--all"]).good();
    assert_eq!(running(&world).len(), 0);
    let all = world.orrery(&["chaos", "list", "--all"]).good().stdout;
    assert!(all.starts_with("EXPERIMENT") && all.lines().count() == 7, "{all}");

    let events = world.orrery(&["events", "--kind", "chaos", "--json"]).good().lines();
    let told: Vec<_> = events.iter().map(|event| event["type"].as_str().expect("a type")).collect();
    assert_eq!(told.iter().filter(|told| **told == "started").count(), 6, "{told:?}");
    assert_eq!(told.iter().filter(|told| **told == "ended").count(), 6, "{told:?}");
    eventually("the breaker to be let go of", || {
        let breaker = world.orrery(&["breakers", "show", "tool.git", "--json"]).good().line();
        (breaker["phase"] == "closed").then_some(())
    });
    world.orrery(&["verify", "--all"]).good();
    world.orrery(&["replay", "--redecide", "--all"]).good();
}

/// Goal: an experiment is over at its time, although the command line that began it is long gone, and
/// what was asked for meanwhile is done. Method: the only host is paused for a moment.
#[test]
fn an_experiment_ends_by_itself() {
    let world = world();
    world.orrery(&["chaos", "pause-host", "a", "--for", "3s"]).good();
    let task = world.orrery(&["tasks", "submit", "wait it out", "--skill", "noop", "--wait", "--json"]);
    let lines = task.good().lines();
    assert!(lines.iter().any(|line| line["event"] == "completed"), "{lines:?}");
    eventually("its end", || running(&world).is_empty().then_some(()));
    let all = eventually("its record", || {
        let all = world.orrery(&["chaos", "list", "--all", "--json"]).good().line();
        (!all["experiments"][0]["ended"].is_null()).then_some(all)
    });
    assert_eq!(all["experiments"][0]["ended"]["cause"], "time-over", "{all}");
}

/// Goal: nothing is disturbed by mistake: not where the settings do not say so, nothing that there is
/// not, and nothing without bounds. Method: one of each.
#[test]
fn what_is_not_allowed_or_not_there_is_refused() {
    let other = World::start();
    let told = other.orrery(&["chaos", "delay", "--by", "50ms"]).failed("chaos-not-allowed", 65);
    assert!(told.stderr.contains("chaos = \"durable\""), "{}", told.stderr);
    assert_eq!(other.orrery(&["chaos"]).good().stdout.trim_end(), "no experiment goes on");
    drop(other);
    let world = world();
    world.orrery(&["chaos", "kill-worker", "nobody"]).failed("agent-not-found", 66);
    world.orrery(&["chaos", "pause-host", "nobody"]).failed("host-not-found", 66);
    world.orrery(&["chaos", "fill-inbox", "64"]).failed("invalid-experiment", 65);
    world.orrery(&["chaos", "delay", "--by", "50ms", "--for", "11m"]).failed("invalid-experiment", 65);
    world.orrery(&["chaos", "delay", "--by", "11s"]).failed("invalid-experiment", 65);
    world.orrery(&["chaos", "stop", "nothing"]).failed("experiment-not-found", 66);
    for wrong in [&["drop-acks", "--share", "1.5"][..], &["fill-inbox"], &["delay"], &["kill-worker"]] {
        world.orrery(&[&["chaos"], wrong].concat()).failed("bad-argument", 64);
    }
    assert_eq!(running(&world).len(), 0);
}
