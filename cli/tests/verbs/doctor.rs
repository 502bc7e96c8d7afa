//! `doctor`: each check with a verdict and a fix, whether the system runs or not.

use serde_json::Value;

use crate::schema::check;
use crate::world::{World, eventually, orrery};

fn verdicts(lines: &[Value]) -> Vec<(&str, &str)> {
    lines
        .iter()
        .map(|line| (line["check"].as_str().unwrap_or(""), line["verdict"].as_str().unwrap_or("")))
        .collect()
}

/// A system that runs is well, from the disk to the agents.
#[test]
fn a_running_system_is_well() {
    let world = World::start();
    let lines = world.orrery(&["doctor", "--json"]).good().lines();
    lines.iter().for_each(|line| check("check", line));
    let verdicts = verdicts(&lines);
    for name in [
        "settings",
        "data-dir",
        "nats-server",
        "server",
        "streams",
        "lease",
        "host-clocks",
        "partitions",
        "fanout",
    ] {
        assert!(verdicts.contains(&(name, "ok")), "{name} in {verdicts:?}");
    }
}

/// What `dead list` shows is what the doctor counts, also dead letters that have no payload.
#[test]
fn dead_letters_without_a_payload_count() {
    let world = World::start();
    let lost = r#"{"repo": "/no/such/place"}"#;
    world.orrery(&["tasks", "submit", "Report", "--id", "lost", "--input", lost]).good();
    eventually("the dead letter", || {
        let lines = world.orrery(&["doctor", "--json"]).lines();
        let dead = lines.into_iter().find(|line| line["check"] == "dead-letters").expect("a check");
        (dead["verdict"] == "warn").then(|| assert_eq!(dead["detail"], "1 waits"))
    });
    eventually("the list of dead letters", || {
        world.orrery(&["dead-letters", "list"]).good().stdout.contains("job-failed").then_some(())
    });
    let misspelled = world.orrery(&["dead-letters", "list", "--class", "job-fialed"]).good();
    assert!(misspelled.stderr.contains("there are: waiting job-failed"), "{misspelled:?}");
}

/// Whoever asks why nothing happens is told what holds it.
#[test]
fn what_holds_work_back_is_named() {
    let world = World::start();
    world.orrery(&["halt", "lane.night", "--reason", "a new disk"]).good();
    world.orrery(&["breakers", "trip", "tool.deploy", "--reason", "an outage"]).good();
    let lines = world.orrery(&["doctor", "--json"]).good().lines();
    for (name, verdict, detail) in [
        ("halts", "warn", "halted: lane.night"),
        ("breakers", "warn", "not closed: tool.deploy is open"),
        ("chaos", "ok", "no experiment goes on"),
    ] {
        let line = lines.iter().find(|line| line["check"] == name).expect("a check");
        assert_eq!((line["verdict"].as_str(), line["detail"].as_str()), (Some(verdict), Some(detail)));
    }
}

/// Where nothing runs, that is what is wrong, with what to do.
#[test]
fn where_nothing_runs_the_doctor_says_so() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let nowhere = directory.path().join("nowhere");
    let lines = orrery(&nowhere, &["doctor", "--json"]).failed("checks-failed", 1).lines();
    assert!(!nowhere.exists(), "looking makes nothing");
    assert!(verdicts(&lines).contains(&("data-dir", "ok")), "it can be made: {lines:?}");
    let system = lines.iter().find(|line| line["check"] == "system").expect("a check");
    assert_eq!(system["verdict"], "fail");
    assert!(system["fix"].as_str().unwrap_or("").contains("orrery up"), "{system}");
    assert!(verdicts(&lines).contains(&("nats-server", "ok")), "the rest is still looked at");
}

/// A program that is no nats-server is named before anything starts.
#[test]
fn a_wrong_server_is_named() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("orrery.toml");
    std::fs::write(&file, "nats_server = \"/bin/true\"\n").expect("a file");
    let file = file.to_str().expect("UTF-8");
    let lines = orrery(directory.path(), &["--config", file, "doctor", "--json"]).lines();
    assert!(verdicts(&lines).contains(&("nats-server", "fail")), "{lines:?}");
    orrery(directory.path(), &["--config", file, "up", "--http", "127.0.0.1:0"])
        .failed("nats-server-missing", 69);
}
