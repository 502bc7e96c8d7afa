//! `lanes`: what limits a lane, its rules, and pauses.

use serde_json::{Value, json};

use crate::bus::Client;
use crate::damage::tamper;
use crate::schema::check;
use crate::world::{World, eventually};

/// Goal: an operator sees what a lane waits for, changes its rules, and the settings know of it. Method: a
/// lane with work that nobody can do, then one bound after the other.
#[test]
fn rules_are_changed_and_are_a_version_of_the_settings() {
    let world = World::start();
    Client::connect(&world).oracle();
    world.orrery(&["tasks", "submit", "g", "--id", "lonely", "--skill", "juggling"]).good();
    eventually("a lane with work that waits", || {
        let list = world.orrery(&["lanes", "--json"]).good().line();
        check("lanes", &list);
        let lane = &list["lanes"][0];
        (lane["id"] == "default" && lane["blocks"][0]["what"] == "no-agent" && lane["waiting"] == 1)
            .then_some(())
    });
    let text = world.orrery(&["lanes"]).good().stdout;
    assert!(text.starts_with("LANE") && text.contains("no-agent: no living agent"), "{text}");

    let set = [
        "lanes",
        "set",
        "default",
        "--concurrent",
        "4",
        "--per-day",
        "500",
        "--ageing",
        "10m",
        "--weight",
        "ada=3",
        "--window",
        "0 3 * * SUN=2h",
        "--reason",
        "a small machine",
        "--json",
    ];
    let told = world.orrery(&set).good().line();
    check("lane-changed", &told);
    let said = ["id", "active", "former", "applied"].map(|name| told[name].clone());
    assert_eq!(said, [json!("default"), json!(1), json!(0), json!(true)]);
    let shown = world.orrery(&["lanes", "show", "default", "--json"]).good().line();
    check("lane", &shown);
    let limits = json!({
        "concurrent": 4, "per_minute": null, "per_day": 500, "ageing_ms": 600_000, "order": "host", "weights": {"ada": 3},
        "windows": [{"cron": "0 3 * * SUN", "duration_ms": 7_200_000}],
    });
    assert_eq!((&shown["limits"], &shown["version"]), (&limits, &1.into()), "{shown}");
    let text = world.orrery(&["lanes", "show", "default"]).good().stdout;
    assert!(
        text.contains("4 at once, 500/day") && text.contains("ada 3") && text.contains("for 2h"),
        "{text}"
    );
    let history = world.orrery(&["settings", "history", "lanes"]).good().stdout;
    assert!(history.contains("a small machine"), "{history}");

    world
        .orrery(&["lanes", "set", "default", "--per-day", "none", "--no-windows", "--weight", "ada=none"])
        .good();
    let shown = world.orrery(&["lanes", "show", "default", "--json"]).good().line();
    let limits = json!({
        "concurrent": 4, "per_minute": null, "per_day": null, "ageing_ms": 600_000, "order": "host",
        "weights": {}, "windows": [],
    });
    assert_eq!(shown["limits"], limits);
    let text = world.orrery(&["lanes", "set", "default", "--concurrent", "4"]).good().stdout;
    assert!(text.contains("has them already"), "{text}");
    world.orrery(&["settings", "rollback", "lanes", "--reason", "as before"]).good();
    eventually("the rules of before", || {
        let shown = world.orrery(&["lanes", "show", "default", "--json"]).good().line();
        (shown["limits"]["per_day"] == 500).then_some(())
    });
}

/// Goal: a lane is paused and resumed with a reason, and what is wrong is said and changes nothing.
/// Method: both, and a mistake of every sort.
#[test]
fn a_lane_is_paused_resumed_and_never_misspelled() {
    let world = World::start();
    world.orrery(&["tasks", "submit", "g", "--id", "before", "--skill", "noop", "--wait"]).good();
    let told = world.orrery(&["lanes", "pause", "default", "--reason", "a new disk", "--json"]).good().line();
    check("lane-paused", &told);
    assert_eq!(told["paused"], true);
    world.orrery(&["tasks", "submit", "g", "--id", "held", "--skill", "noop"]).good();
    eventually("work that waits", || {
        let shown = world.orrery(&["lanes", "show", "default"]).good().stdout;
        (shown.contains("1 waiting") && shown.contains("held by pause: paused by")).then_some(())
    });
    world.orrery(&["lanes", "resume", "default", "--rate", "60/min"]).good();
    eventually("the end of what waited", || {
        let shown = world.orrery(&["tasks", "show", "held", "--json"]).good().stdout;
        shown.contains("\"completed\"").then_some(())
    });
    // The rate holds for a whole minute; whoever does not need it any more says so once.
    let again = world.orrery(&["lanes", "resume", "default"]).good().stdout;
    assert!(again.contains("all at once"), "{again}");
    let hint = world.orrery(&["lanes", "resume", "default"]).failed("not-paused", 65);
    assert!(hint.stderr.contains("lanes show default"), "{hint:?}");

    for verb in [
        &["lanes", "show", "defualt"][..],
        &["lanes", "pause", "defualt", "--reason", "x"],
        &["lanes", "resume", "defualt"],
        &["lanes", "set", "defualt", "--concurrent", "2"],
    ] {
        world.orrery(verb).failed("lane-not-found", 66);
    }
    world.orrery(&["lanes", "set", "night", "--concurrent", "2", "--new"]).good();
    let shown = world.orrery(&["lanes", "show", "night", "--json"]).good().line();
    assert_eq!(shown["limits"]["concurrent"], 2, "{shown}");
    for wrong in [
        &["--concurrent", "0"][..],
        &["--per-minute", "many"],
        &["--per-day", "-3"],
        &["--ageing", "2"],
        &["--weight", "ada"],
        &["--window", "0 3 * * *"],
        &[],
    ] {
        assert_eq!(world.orrery(&[&["lanes", "set", "default"], wrong].concat()).status, 64, "{wrong:?}");
    }
    for (wrong, place) in [
        (["--ageing", "10ms"], "/lanes/default/ageing"),
        (["--weight", "ada=1001"], "/lanes/default/weights/ada"),
        (["--window", "never=2h"], "/lanes/default/maintenance/0/cron"),
    ] {
        let ended = world.orrery(&[&["lanes", "set", "default"][..], &wrong].concat());
        assert!(ended.failed("invalid-settings", 65).stderr.contains(place), "{place}");
    }
    assert_eq!(world.orrery(&["lanes", "pause", "default"]).status, 64, "a pause needs a reason");
}

/// Goal: a partition that does not answer takes nothing away from what the others say: it is named by those
/// that lie in it. Method: work in many lanes, a start with two damaged logs, and all lists.
#[test]
fn what_does_not_answer_is_named_and_the_rest_is_shown() {
    let world = World::start();
    for number in 0..16 {
        // In another partition than its lane.
        let (task, lane) = (format!("t{number}"), format!("l{}", (number + 1) % 16));
        let submit = ["tasks", "submit", "g", "--id", &task, "--lane", &lane, "--skill", "juggling"];
        world.orrery(&submit).good();
        let dependency = format!("d{number}.api");
        world.orrery(&["breakers", "trip", &dependency, "--reason", "a test"]).good();
    }
    let all = eventually("work that waits in every lane", || {
        let list = world.orrery(&["lanes", "--json"]).good().line();
        let lanes = list["lanes"].as_array()?.clone();
        let waiting = lanes.iter().filter(|lane| lane["waiting"] == 1).count();
        (waiting == 16).then_some(lanes.len())
    });
    let past = world.stop();
    let rubbish = |partition: u32| format!(r#"await append({partition}, b"rubbish")"#);
    tamper(past.path(), &rubbish(1));
    tamper(past.path(), &rubbish(3));
    let world = World::start_in(past);

    let list = world.orrery(&["lanes", "--json"]).good().line();
    check("lanes", &list);
    let quiet = |list: &Value, kind: &str| {
        let silent = list["silent"].as_array().map(Vec::as_slice).unwrap_or_default();
        silent.iter().filter(|silent| silent["entity"].as_str().unwrap().starts_with(kind)).count()
    };
    let lanes = list["lanes"].as_array().expect("a list");
    let unheard = quiet(&list, "lane/");
    assert!(unheard > 0 && lanes.len() + unheard == all, "{list}");
    let queues: usize = lanes.iter().map(|lane| quiet(lane, "queue/")).sum();
    assert!(queues > 0, "{list}");
    // A lane that answers is shown, paused and resumed whether or not the settings answer.
    let quick = std::time::Instant::now();
    let id = lanes[0]["id"].as_str().expect("a name");
    world.orrery(&["lanes", "show", id]).good();
    world.orrery(&["lanes", "pause", id, "--reason", "a test"]).good();
    world.orrery(&["lanes", "resume", id]).good();
    assert!(quick.elapsed().as_secs() < 25, "it took {:?}", quick.elapsed());
    let text = world.orrery(&["lanes"]).good().stdout;
    assert!(text.starts_with("LANE") && text.contains(" does not answer: no-answer: "), "{text}");

    let list = world.orrery(&["breakers", "--json"]).good().line();
    check("breakers", &list);
    // The agents have breakers too.
    let ours = |one: &&Value| one["dependency"].as_str().is_some_and(|name| name.ends_with(".api"));
    let shown = list["breakers"].as_array().map_or(0, |all| all.iter().filter(ours).count());
    let missing = quiet(&list, "breaker/d");
    assert!(missing > 0 && shown + missing == 16, "{list}");
    let versions = world.orrery(&["settings", "list", "--json"]).good().line();
    check("settings-list", &versions);
    assert_eq!((quiet(&versions, "breaker/d"), quiet(&versions, "lane/")), (missing, unheard));
}
