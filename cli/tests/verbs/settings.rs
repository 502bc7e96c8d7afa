//! `settings show|propose|activate|rollback|history|diff`: settings that change while the system runs.

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
    let shown = world.orrery(&["settings", "show", "limits", "--json"]).good().line();
    check("settings", &shown);
    assert_eq!((&shown["active"], &shown["value"]["inbox_queue"]), (&0.into(), &8192.into()), "{shown}");

    let small = document(&world, "small.json", r#"{"inbox_queue": 100, "log_filter": "info"}"#);
    let told = world.orrery(&["settings", "propose", "limits", &small, "--reason", "less memory", "--json"]);
    let told = told.good().line();
    check("settings-changed", &told);
    assert_eq!((&told["version"], &told["active"]), (&1.into(), &false.into()), "{told}");
    let text = world.orrery(&["settings", "activate", "limits", "1", "--reason", "reviewed"]).good().stdout;
    assert_eq!(text.trim_end(), "limits: version 1 is active instead of the defaults");
    let large = document(&world, "large.json", r#"{"inbox_queue": 9000}"#);
    world.orrery(&["settings", "propose", "limits", &large, "--reason", "more work", "--activate"]).good();

    eventually("the host's word", || {
        let versions = world.orrery(&["settings", "list", "--json"]).good().line();
        check("settings-list", &versions);
        let limits =
            versions["settings"].as_array().expect("a list").iter().find(|each| each["name"] == "limits");
        (limits.expect("they are listed")["hosts"][0]["version"] == 2).then_some(())
    });
    let text = world.orrery(&["settings", "list"]).good().stdout;
    assert!(text.starts_with("SETTINGS") && text.contains("=2"), "{text}");

    let diff = world.orrery(&["settings", "diff", "limits", "1", "2", "--json"]).good().line();
    check("settings-diff", &diff);
    let places: Vec<_> =
        diff["differences"].as_array().expect("a list").iter().map(|each| each["pointer"].clone()).collect();
    assert_eq!(places, ["/inbox_queue", "/log_filter"]);
    let text = world.orrery(&["settings", "diff", "limits", "1", "2"]).good().stdout;
    assert!(text.contains("- /inbox_queue: 100\n+ /inbox_queue: 9000"), "{text}");

    world.orrery(&["settings", "rollback", "limits", "--reason", "it got worse"]).good();
    let only = world.orrery(&["settings", "show", "limits", "--document"]).good().stdout;
    let only: serde_json::Value = serde_json::from_str(&only).expect("JSON alone");
    assert_eq!(only, serde_json::json!({"inbox_queue": 100, "log_filter": "info"}));
    let history = world.orrery(&["settings", "history", "limits", "--json"]).good().line();
    check("settings-history", &history);
    let last = history["changes"].as_array().expect("a list").last().expect("a change");
    assert_eq!((&last["action"], &last["version"]), (&"rolled-back".into(), &1.into()), "{last}");
    let text = world.orrery(&["settings", "history", "limits"]).good().stdout;
    assert!(text.contains("it got worse") && text.contains("    + /inbox_queue: 100"), "{text}");
}

/// Goal: an operator sees which lane runs which version of which settings, who changed them, and only
/// changes that are some. Method: a lane that hears of two versions of `retry` that mean the same.
#[test]
fn lanes_say_which_versions_they_run() {
    let world = World::start();
    world.orrery(&["tasks", "submit", "g", "--id", "lonely", "--skill", "juggling"]).good();
    let set = |name: &str, text: &str| {
        let file = document(&world, name, text);
        let set = ["settings", "propose", "retry", &file, "--reason", "x", "--as", "ada", "--activate"];
        world.orrery(&set).good();
    };
    set("one.json", r#"{"default": {"base": "60s"}}"#);
    set("two.json", r#"{"default": {"base": "1m", "attempts": 3}, "skills": {}}"#);
    eventually("the lane's word", || {
        let versions = world.orrery(&["settings", "list", "--json"]).good().line();
        check("settings-list", &versions);
        let settings = versions["settings"].as_array().expect("a list");
        let retry = settings.iter().find(|each| each["name"] == "retry").expect("they are listed");
        let lane = retry["entities"].as_array().expect("a list").iter().find(|each| each["version"] == 2);
        lane.is_some_and(|lane| lane["entity"] == "lane/default").then_some(())
    });
    let text = world.orrery(&["settings", "list"]).good().stdout;
    assert!(text.contains("LANES AND BREAKERS") && text.contains("1 of 1 run it"), "{text}");
    let shown = world.orrery(&["lanes", "show", "default", "--json"]).good().line();
    check("lane", &shown);
    assert_eq!(shown["settings"], serde_json::json!({"lanes": 0, "limits": 0, "retry": 2}));
    let text = world.orrery(&["lanes", "show", "default"]).good().stdout;
    assert!(text.contains("version 2 of `retry`") && text.contains("the defaults of `limits`"), "{text}");

    let text = world.orrery(&["settings", "diff", "retry", "1", "2"]).good().stdout;
    assert_eq!(text.trim_end(), "nothing differs");
    let history = world.orrery(&["settings", "history", "retry"]).good().stdout;
    assert!(history.contains("by ada: x"), "{history}");
    let told: Vec<&str> = history.lines().filter(|line| line.starts_with("    ")).collect();
    let once = ["    - /default/base: \"1s\"", "    + /default/base: \"1m\""];
    assert_eq!(told, [once, once].concat(), "proposed and activated, and the second one changed nothing");
    let text = world.orrery(&["settings", "rollback", "retry", "--reason", "x"]).good().stdout;
    assert_eq!(text.trim_end(), "retry: version 1 is active instead of version 2");
    let text = world.orrery(&["settings", "activate", "retry", "0", "--reason", "x"]).good().stdout;
    assert_eq!(text.trim_end(), "retry: the defaults are active instead of version 1");
}

/// Goal: what is wrong is said with its place, and the exit code tells whose mistake it is. Method: a
/// mistake of every sort.
#[test]
fn wrong_settings_are_refused_and_nothing_changes() {
    let world = World::start();
    let wrong = r#"{"inbox_queue": 1, "colour": "blue", "log_filter": "loud"}"#;
    let wrong = document(&world, "wrong.json", wrong);
    let ended = world.orrery(&["settings", "propose", "limits", &wrong, "--reason", "x", "--activate"]);
    let ended = ended.failed("invalid-settings", 65);
    for place in ["/inbox_queue", "/colour", "/log_filter"] {
        assert!(ended.stderr.contains(place), "{place}: {}", ended.stderr);
    }
    let broken = document(&world, "broken.json", "{");
    world.orrery(&["settings", "propose", "limits", &broken, "--reason", "x"]).failed("invalid-settings", 65);
    world
        .orrery(&["settings", "propose", "limits", "/no/such/file", "--reason", "x"])
        .failed("path-missing", 66);
    assert_eq!(
        world.orrery(&["settings", "propose", "limits", &wrong]).status,
        64,
        "a change needs a reason"
    );
    world.orrery(&["settings", "show", "colours"]).failed("unknown-settings", 66);
    world.orrery(&["settings", "show", "limits", "--version", "7"]).failed("settings-version-not-found", 66);
    world.orrery(&["settings", "rollback", "limits", "--reason", "x"]).failed("no-former-version", 65);
    let shown = world.orrery(&["settings", "show", "limits", "--json"]).good().line();
    assert_eq!((&shown["active"], &shown["newest"]), (&0.into(), &0.into()), "{shown}");
}
