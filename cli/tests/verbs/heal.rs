//! `breakers` and `heal`: what may not be called, what was done about it, and what is kept apart.

use std::collections::BTreeMap;

use bus_schemas::commands::breaker::Command as Breaker;
use bus_schemas::commands::healer::{Command as Healer, QUARANTINE};
use bus_schemas::commands::probe::Command as Probe;
use serde_json::Value;

use crate::bus::Client;
use crate::schema::check;
use crate::world::{World, eventually, orrery};

fn failures(failed: u32) -> Breaker {
    Breaker::Report {
        reporter: "a-test".into(),
        succeeded: 0,
        failed,
        slow: 0,
        consecutive_failed: failed,
        last_error: "no route to host".into(),
    }
}

fn word<'a>(line: &'a Value, field: &str) -> &'a str {
    line[field].as_str().unwrap_or_default()
}

/// What was done to whom; nothing is done without a reason.
fn acts(lines: &[Value]) -> Vec<(&str, &str)> {
    assert!(lines.iter().all(|line| !word(line, "reason").is_empty()), "{lines:?}");
    lines.iter().map(|line| (word(line, "action"), word(line, "subject"))).collect()
}

/// Goal: an operator sees what is down and why, and takes things out and in. Method: failures as a
/// worker reports them, then the verbs; the log is still told when the system is down.
#[test]
fn breakers_are_shown_tripped_and_reset_and_the_log_says_why() {
    let world = World::start();
    let client = Client::connect(&world);
    client.ask("tool.deploy", &failures(2)).expect("a report");
    client.ask("model.small", &failures(9)).expect("a report");
    // Who there is is read from the event stream, which comes a moment behind the answers.
    let list = eventually("both breakers", || {
        let list = world.orrery(&["breakers", "--json"]).good().line();
        check("breakers", &list);
        let named = |name: &str| list["breakers"].as_array()?.iter().find(|one| one["dependency"] == name);
        (named("tool.deploy").is_some() && named("model.small").is_some()).then_some(list)
    });
    assert_eq!(list["breakers"][0]["dependency"], "model.small", "those that are open come first: {list}");
    let shown = world.orrery(&["breakers", "show", "model.small", "--json"]).good().line();
    check("breaker", &shown);
    assert!(shown["phase"] == "open" && shown["last_error"] == "no route to host", "{shown}");
    let text = world.orrery(&["breakers", "show", "tool.deploy"]).good().stdout;
    assert!(text.contains("tool.deploy: closed") && text.contains("2 failed"), "{text}");
    let trip = ["breakers", "trip", "tool.deploy", "--reason", "maintenance", "--json"];
    let told = world.orrery(&trip).good().line();
    check("breaker-changed", &told);
    assert_eq!((&told["phase"], &told["known"]), (&Value::from("open"), &Value::from(true)));
    world.orrery(&["breakers", "trip", "tool.deploy", "--reason", "it is moved", "--as", "ada"]).good();
    let shown = world.orrery(&["breakers", "show", "tool.deploy", "--json"]).good().line();
    assert_eq!(shown["reason"], "tripped: it is moved", "another reason replaces the first one");
    world.orrery(&["breakers", "trip", "tool.deploy", "--reason", " "]).failed("reason-missing", 65);
    world.orrery(&["breakers", "reset", "tool.deploy", "--reason", " "]).failed("reason-missing", 65);
    let misspelled = world.orrery(&["breakers", "trip", "tool.depoly", "--reason", "x"]).good().stdout;
    assert!(misspelled.contains("is the name right?"), "{misspelled}");
    for dependency in ["tool.deploy", "model.small"] {
        world.orrery(&["breakers", "reset", dependency, "--reason", "done"]).good();
    }
    world.orrery(&["breakers", "reset", "tool.deplyo", "--reason", "x"]).failed("breaker-not-found", 66);
    world.orrery(&["breakers", "show", "tool.deplyo"]).failed("breaker-not-found", 66);
    assert_eq!(world.orrery(&["breakers", "trip", "tool.deploy"]).status, 64, "a trip has a reason");
    let log = || world.orrery(&["heal", "log", "--json"]).good().lines();
    let wanted =
        [("hold", "breaker/tool.deploy"), ("ease", "breaker/tool.deploy"), ("ease", "breaker/model.small")];
    let lines = eventually("the log of the healer", || {
        let lines = log();
        let found = wanted.iter().all(|act| acts(&lines).contains(act));
        found.then_some(lines)
    });
    lines.iter().for_each(|line| check("heal-act", line));
    let hold = lines.iter().find(|line| line["subject"] == "breaker/model.small").expect("it opened");
    assert!(hold["reason"].as_str().is_some_and(|reason| reason.contains("no route to host")), "{hold}");
    assert!(world.orrery(&["heal", "log", "--since", "2100-01-01T00:00:00Z"]).good().stdout.is_empty());
    let past = world.stop();
    let lines = orrery(past.path(), &["heal", "log", "--json"]).good().lines();
    assert!(acts(&lines).contains(&wanted[0]), "the log is told without a host");
}

/// Goal: what is kept apart says how it gets out, and gets out. Method: a probe in quarantine.
#[test]
fn a_quarantined_entity_is_released_by_hand() {
    let world = World::start();
    let client = Client::connect(&world);
    let quarantine = Healer::Quarantine {
        entity: "probe/p".parse().expect("an address"),
        reason: "a test".into(),
        evidence: BTreeMap::new(),
    };
    client.ask(QUARANTINE, &quarantine).expect("it is not quarantined yet");
    let touch = || client.ask("p", &Probe::Touch { note: String::new() });
    eventually("the quarantine", || (touch() == Err("entity-quarantined".to_owned())).then_some(()));
    let released =
        world.orrery(&["heal", "release", "probe/p", "--reason", "mended", "--json"]).good().line();
    check("heal-released", &released);
    eventually("the release", || touch().ok());
    world.orrery(&["heal", "release", "probe/p"]).failed("not-quarantined", 65);
    world.orrery(&["heal", "release", "nobody"]).failed("invalid-key", 64);
    let again = world.orrery(&["replay", "--redecide", "--all", "--json"]).good().line();
    assert_eq!(again["diverged"], 0, "{again}");
}
