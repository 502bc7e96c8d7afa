//! `config get|set|activate|rollback|history|diff`: settings that change while the system runs.

use std::path::PathBuf;

use crate::schema::check;
use crate::world::{World, eventually};

/// Writes a document beside the system's files.
fn document(world: &World, name: &str, text: &str) -> String {
    let path: PathBuf = world.data_dir().join(name);
    std::fs::write(&path, text).expect("a file");
    path.to_str().expect("a plain path").to_owned()
}

/// Goal: whoever changes a setting sees what holds, who changed it and why, and can take it back.
/// Method: every verb, on a system that runs.
#[test]
fn settings_are_changed_looked_up_and_taken_back() {
    let world = World::start();
    let shown = world.orrery(&["config", "get", "limits", "--json"]).good().line();
    check("config-get", &shown);
    assert_eq!((&shown["active"], &shown["value"]["inbox_queue"]), (&0.into(), &8192.into()), "{shown}");

    let small = document(&world, "small.json", r#"{"inbox_queue": 100, "log_filter": "info"}"#);
    let told = world.orrery(&["config", "set", "limits", &small, "--reason", "less memory", "--json"]);
    let told = told.good().line();
    check("config-told", &told);
    assert_eq!((&told["version"], &told["active"]), (&1.into(), &false.into()), "{told}");
    let text = world.orrery(&["config", "activate", "limits", "1", "--reason", "reviewed"]).good().stdout;
    assert_eq!(text.trim_end(), "limits: version 1 holds instead of the defaults");
    let large = document(&world, "large.json", r#"{"inbox_queue": 9000}"#);
    world.orrery(&["config", "set", "limits", &large, "--reason", "more work", "--activate"]).good();

    eventually("the host's word", || {
        let versions = world.orrery(&["config", "show", "--versions", "--json"]).good().line();
        check("config-versions", &versions);
        let limits =
            versions["settings"].as_array().expect("a list").iter().find(|each| each["name"] == "limits");
        (limits.expect("they are listed")["hosts"][0]["version"] == 2).then_some(())
    });
    let text = world.orrery(&["config", "show", "--versions"]).good().stdout;
    assert!(text.starts_with("SETTINGS") && text.contains("=2"), "{text}");

    let diff = world.orrery(&["config", "diff", "limits", "1", "2", "--json"]).good().line();
    check("config-diff", &diff);
    let places: Vec<_> =
        diff["differences"].as_array().expect("a list").iter().map(|each| each["pointer"].clone()).collect();
    assert_eq!(places, ["/inbox_queue", "/log_filter"]);
    let text = world.orrery(&["config", "diff", "limits", "1", "2"]).good().stdout;
    assert!(text.contains("- /inbox_queue: 100\n+ /inbox_queue: 9000"), "{text}");

    world.orrery(&["config", "rollback", "limits", "--reason", "it got worse"]).good();
    let only = world.orrery(&["config", "get", "limits", "--document"]).good().stdout;
    let only: serde_json::Value = serde_json::from_str(&only).expect("JSON alone");
    assert_eq!(only, serde_json::json!({"inbox_queue": 100, "log_filter": "info"}));
    let history = world.orrery(&["config", "history", "limits", "--json"]).good().line();
    check("config-history", &history);
    let last = history["changes"].as_array().expect("a list").last().expect("a change");
    assert_eq!((&last["deed"], &last["version"]), (&"rolled-back".into(), &1.into()), "{last}");
    let text = world.orrery(&["config", "history", "limits"]).good().stdout;
    assert!(text.contains("it got worse") && text.contains("    + /inbox_queue: 100"), "{text}");
}

/// Goal: what is wrong is said with its place, and the exit code tells whose mistake it is. Method: a
/// mistake of every sort.
#[test]
fn wrong_settings_are_refused_and_nothing_changes() {
    let world = World::start();
    let wrong = document(&world, "wrong.json", r#"{"inbox_queue": 1, "colour": "blue"}"#);
    let ended = world.orrery(&["config", "set", "limits", &wrong, "--reason", "x", "--activate"]);
    let ended = ended.failed("invalid-config", 65);
    assert!(ended.stderr.contains("/inbox_queue") && ended.stderr.contains("/colour"), "{}", ended.stderr);
    let broken = document(&world, "broken.json", "{");
    world.orrery(&["config", "set", "limits", &broken, "--reason", "x"]).failed("invalid-config", 65);
    world.orrery(&["config", "set", "limits", "/no/such/file", "--reason", "x"]).failed("path-missing", 66);
    assert_eq!(world.orrery(&["config", "set", "limits", &wrong]).status, 64, "a change needs a reason");
    world.orrery(&["config", "get", "colours"]).failed("unknown-config", 66);
    world.orrery(&["config", "get", "limits", "--version", "7"]).failed("config-version-not-found", 66);
    world.orrery(&["config", "rollback", "limits", "--reason", "x"]).failed("no-former-version", 65);
    let shown = world.orrery(&["config", "get", "limits", "--json"]).good().line();
    assert_eq!((&shown["active"], &shown["newest"]), (&0.into(), &0.into()), "{shown}");
}
