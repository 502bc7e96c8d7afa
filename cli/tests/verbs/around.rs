//! `agents` and `schedules`: who works, and what starts by itself.

use crate::schema::check;
use crate::world::{World, eventually};

/// Agents are listed with what they can do, and shown one by one.
#[test]
fn agents_are_shown() {
    let world = World::start();
    let shipped = actors_agents::shipped(&actors_agents::Tools::default()).own.len();
    let agents = eventually("the shipped agents", || {
        let agents = world.orrery(&["agents", "--json"]).good().line();
        (agents["agents"].as_array().expect("a list").len() == shipped).then_some(agents)
    });
    check("agents", &agents);
    for agent in agents["agents"].as_array().expect("a list") {
        assert_eq!(agent["running"], 0, "nothing was given to anybody: {agent}");
    }
    let text = world.orrery(&["agents", "list"]).good().stdout;
    assert!(text.starts_with("AGENT ") && text.contains("alive") && text.contains("noop"), "{text}");
    check("agent", &world.orrery(&["agents", "show", "git", "--json"]).good().line());
    let text = world.orrery(&["agents", "show", "no-op"]).good().stdout;
    assert!(text.contains("skill   noop") && text.contains("alive since"), "{text}");
    let heard = eventually("the hosts to say of whom they heard", || {
        let text = world.orrery(&["agents", "show", "no-op"]).good().stdout;
        text.contains(", heard of at ").then_some(text)
    });
    assert!(heard.contains("alive since"), "{heard}");
    world.orrery(&["agents", "show", "nobody"]).failed("agent-not-found", 66);
}

/// A schedule from its making to its removal, through every verb.
#[test]
fn a_schedule_fires_is_paused_and_removed() {
    let world = World::start();
    let add = [
        "schedules",
        "create",
        "often",
        "nothing",
        "--skill",
        "noop",
        "--as",
        "ada",
        "--priority",
        "7",
        "--every",
        "1s",
        "--json",
    ];
    check("schedule", &world.orrery(&add).good().line());
    let fired = eventually("the schedule to fire", || {
        let one = world.orrery(&["schedules", "show", "often", "--json"]).good().line();
        (one["fired"].as_u64().unwrap_or(0) > 0).then_some(one)
    });
    check("schedule", &fired);
    let task = fired["last_task"].as_str().expect("a key");
    let task = world.orrery(&["tasks", "show", task, "--json"]).good().line();
    assert_eq!((&task["task"]["owner"], &task["task"]["priority"]), (&"ada".into(), &7.into()), "{task}");
    check("schedules", &world.orrery(&["schedules", "--json"]).good().line());
    let once = ["schedules", "create", "later", "nothing", "--skill", "noop", "--every", "1d"];
    world.orrery(&once).good();
    let first = world.orrery(&["schedules", "list", "--limit", "1"]).good().stdout;
    let cursor =
        first.lines().last().and_then(|line| line.strip_prefix("more: --cursor ")).expect("a cursor");
    let rest = world.orrery(&["schedules", "list", "--cursor", cursor]).good().stdout;
    assert!(first.contains("later") && rest.contains("often") && !rest.contains("more:"), "{first}\n{rest}");
    world.orrery(&["schedules", "delete", "later"]).good();
    world.orrery(&["schedules", "pause", "often"]).good();
    let listed = world.orrery(&["schedules"]).good().stdout;
    assert!(listed.contains("paused"), "what was acknowledged is shown: {listed}");
    world.orrery(&["schedules", "resume", "often"]).good();
    let text = world.orrery(&["schedules", "show", "often"]).good().stdout;
    assert!(text.contains("every 1s") && text.contains("skill     noop"), "{text}");
    check("schedule", &world.orrery(&["schedules", "delete", "often", "--json"]).good().line());
    assert!(world.orrery(&["schedules"]).good().stdout.contains("no schedules"));
    for verb in ["show", "pause", "resume"] {
        world.orrery(&["schedules", verb, "often"]).failed("schedule-not-found", 66);
    }
    world.orrery(&["schedules", "delete", "oftne"]).failed("schedule-not-found", 66);
    world.orrery(&["schedules", "create", "bad", "x", "--cron", "rubbish"]).failed("invalid-recurrence", 65);
    assert_eq!(world.orrery(&["schedules", "create", "bad", "x"]).status, 64, "it must say when");
    assert_eq!(world.orrery(&["schedules", "create", "bad", "x", "--every", "2w"]).status, 64);
}
