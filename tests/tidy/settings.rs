//! The settings of tools: thresholds, bans, pinned versions and hashes say the same everywhere.

use std::collections::BTreeSet;

use actors_host::embedded::NATS_VERSION;
use toml::{Table, Value};

use crate::files::{self, Findings};
use crate::graph::{KNOW_NATS, PURE, crates};

/// What a pure crate may not call, at the least.
const BANNED_WHERE_PURE: [&str; 5] = [
    "std::time::Instant::now",
    "std::time::SystemTime::now",
    "uuid::Uuid::now_v7",
    "std::env::var",
    "std::fs::read_to_string",
];

/// The ways to write a ban in `deny.toml` that loosen a rule and so owe a reason.
const LOOSENED: [(&str, &str); 4] =
    [("bans", "deny"), ("bans", "skip"), ("advisories", "ignore"), ("licenses", "exceptions")];

fn table(path: &str) -> Table {
    files::at(path).text.parse().unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn banned(settings: &Table) -> BTreeSet<&str> {
    let lists = ["disallowed-methods", "disallowed-types"];
    let entries = lists.iter().filter_map(|list| settings.get(*list)?.as_array()).flatten();
    entries.filter_map(|entry| entry.get("path")?.as_str()).collect()
}

#[test]
fn every_crate_has_the_same_thresholds() {
    let root = table("clippy.toml");
    assert_eq!(root["too-many-lines-threshold"].as_integer(), Some(70), "a function has at most 70 lines");
    let mut findings = Findings::default();
    for file in files::all().iter().filter(|file| file.path.ends_with("/clippy.toml")) {
        let own = table(&file.path);
        for (key, value) in &root {
            if own.get(key) != Some(value) {
                let wrong = format!("`{key}` is not {value}, and this file replaces the root's");
                findings.add(&file.path, 0, wrong, format!("write `{key} = {value}`"));
            }
        }
    }
    findings.assert_none();
}

#[test]
fn clocks_randomness_settings_and_files_are_banned_where_code_is_pure() {
    let mut findings = Findings::default();
    for each in crates().iter().filter(|each| PURE.contains(&each.name.as_str())) {
        let path = format!("{}/clippy.toml", each.folder);
        let settings = table(&path);
        let banned = banned(&settings);
        for ban in BANNED_WHERE_PURE.iter().filter(|ban| !banned.contains(*ban)) {
            findings.add(&path, 0, format!("`{ban}` is allowed"), "ban it under `disallowed-methods`");
        }
    }
    if !banned(&table("actors/runtime/clippy.toml")).contains("tokio::spawn") {
        let fix = "ban it: `supervision::spawn` names the task";
        findings.add("actors/runtime/clippy.toml", 0, "a bare `tokio::spawn` is allowed", fix);
    }
    findings.assert_none();
}

#[test]
fn every_ban_and_every_exception_has_a_reason() {
    let mut findings = Findings::default();
    let mut owe = |path: &str, entries: Option<&Value>| {
        for entry in entries.and_then(Value::as_array).into_iter().flatten() {
            if entry.get("reason").and_then(Value::as_str).is_none_or(str::is_empty) {
                findings.add(path, 0, format!("no reason for {entry}"), "add `reason = \"…\"`");
            }
        }
    };
    for file in files::all().iter().filter(|file| file.path.ends_with("clippy.toml")) {
        let settings = table(&file.path);
        owe(&file.path, settings.get("disallowed-methods"));
        owe(&file.path, settings.get("disallowed-types"));
    }
    let deny = table("deny.toml");
    for (section, key) in LOOSENED {
        owe("deny.toml", deny.get(section).and_then(|section| section.get(key)));
    }
    findings.assert_none();
}

#[test]
fn deny_and_the_crate_graph_agree_on_who_knows_nats() {
    let deny = table("deny.toml");
    let bans = deny["bans"]["deny"].as_array().expect("a list of bans");
    let nats =
        bans.iter().find(|ban| ban["crate"].as_str() == Some("async-nats")).expect("a ban of async-nats");
    let wrappers = nats["wrappers"].as_array().expect("who is excepted");
    let wrappers: BTreeSet<&str> = wrappers.iter().filter_map(Value::as_str).collect();
    assert_eq!(
        wrappers,
        BTreeSet::from(KNOW_NATS),
        "`wrappers` of deny.toml and `KNOW_NATS` of tests/tidy/graph.rs"
    );
}

/// The requirements of a pip file without what pip would not hold against a hash.
fn unhashed(text: &str) -> Vec<String> {
    let joined = text.replace("\\\n", " ");
    let requirements =
        joined.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let loose = |line: &&str| !line.contains("==") || !line.contains("--hash=sha256:");
    requirements.filter(loose).map(str::to_owned).collect()
}

#[test]
fn what_pip_obtains_is_pinned_by_version_and_hash() {
    let mut findings = Findings::default();
    for path in ["tests/requirements.txt", "scripts/nats-server.txt"] {
        for line in unhashed(&files::at(path).text) {
            let fix = "write `name==version` and the `--hash=sha256:…` of `pip hash`";
            findings.add(path, 0, format!("`{line}` is not pinned"), fix);
        }
    }
    findings.assert_none();
    assert_eq!(unhashed("a==1 \\\n    --hash=sha256:00\nb==2\nc\n"), ["b==2", "c"]);
}

#[test]
fn one_version_of_the_server_is_pinned() {
    let mut findings = Findings::default();
    let places = [
        ("scripts/nats-server.sh", format!("pinned={NATS_VERSION}\n")),
        ("scripts/nats-server.txt", format!("=={NATS_VERSION} ")),
    ];
    for (path, wanted) in places {
        if !files::at(path).text.contains(&wanted) {
            let wrong = format!("`{}` is not in it", wanted.trim());
            findings.add(path, 0, wrong, "pin the version of actors/host/src/embedded.rs");
        }
    }
    findings.assert_none();
}
