//! `ledger`: what auditors get, and whether they notice what was done to it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use bus_schemas::commands::approval::{self, Call, Grounds, Use};
use bus_schemas::jobs::EffectStep;
use bus_schemas::{Hash, Key};
use serde_json::{Value, json};

use crate::bus::Client;
use crate::schema::check;
use crate::world::{World, eventually, orrery};

/// The exit code of the verifier, and what it printed.
fn verify(file: &Path, key: &str) -> (i32, String) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples/verify_ledger.py");
    let done = Command::new("python3").arg(script).arg(file).args(["--key", key]).output();
    let done = done.expect("Python runs");
    let said = [done.stdout, done.stderr].concat();
    (done.status.code().expect("an end"), String::from_utf8(said).expect("UTF-8"))
}

/// A system with two tasks of two effects each, and with approvals that were used, revoked and rejected.
fn worked() -> World {
    let world = World::start();
    let client = Client::connect(&world);
    client.oracle();
    for task in ["t", "other"] {
        world.orrery(&["tasks", "submit", "know", "--id", task, "--skill", "oracle"]).good();
        client.begin(task);
        for (effect, end, result) in
            [("pay", EffectStep::Completed, json!({"paid": 3})), ("refund", EffectStep::Failed, Value::Null)]
        {
            client.effect(task, effect, EffectStep::Intended, Value::Null);
            client.effect(task, effect, EffectStep::Started, Value::Null);
            client.effect(task, effect, end, result);
        }
        client.complete(task);
    }
    for name in ["one", "two", "three"] {
        crate::approvals::ask(&client, name);
    }
    for name in ["one", "two"] {
        let shown = eventually("the read model to show the request", || {
            let shown = world.orrery(&["approvals", "show", name, "--json"]);
            (shown.status == 0).then(|| shown.line())
        });
        let id = shown["tools"][0]["id"].as_str().expect("an id");
        world.orrery(&["approvals", "approve", name, "--id", id, "--as", "ann"]).good();
    }
    let args = json!({"target": "main", "diff": "-a\n+b\n", "files": [], "goal": "fix it"});
    let call = Use {
        task: Key::parse("t").expect("a key"),
        tools: vec![Call { call_id: "1".into(), name: "change".into(), args }],
        grounds: Grounds { base: "abc".into(), policy_version: "1".into(), settings_version: "2".into() },
    };
    client.ask("one", &approval::Command::Use(call)).expect("a person approved it");
    world.orrery(&["approvals", "cancel", "two", "--reason", "no need"]).good();
    world.orrery(&["approvals", "reject", "three", "--reason", "never", "--as", "bob"]).good();
    world
}

fn entries(text: &str) -> Vec<Value> {
    let mut lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    lines.remove(0);
    lines.pop();
    lines.into_iter().map(|mut line| line["entry"].take()).collect()
}

/// Goal: an auditor sees who did what with which outcome, of the whole installation or a part of it, while it runs and
/// while it does not. Method: exports of a system whose effects and approvals are known.
#[test]
fn effects_and_approvals_are_exported_with_their_outcomes() {
    let world = worked();
    let file = world.data_dir().join("ledger.jsonl");
    let path = file.to_str().expect("a plain path");
    let exported = world.orrery(&["ledger", "export", "--output", path, "--json"]).good().line();
    check("ledger-exported", &exported);
    let key = world.orrery(&["ledger", "key", "--json"]).good().line();
    check("ledger-key", &key);
    assert_eq!(key["public_key"], exported["public_key"]);
    let public = key["public_key"].as_str().expect("a key");
    assert_eq!(world.orrery(&["ledger", "key"]).good().stdout.trim(), public);
    let (code, said) = verify(&file, public);
    assert!(
        code == 0 && said.contains("good: 20 entries of installation ") && said.contains("all tasks"),
        "{said}"
    );

    let all = entries(&std::fs::read_to_string(&file).expect("a file"));
    all.iter().for_each(|entry| check("ledger-entry", entry));
    let paid = all.iter().find(|entry| entry["task"] == "t" && entry["effect"]["step"] == "completed");
    let paid = paid.expect("it was done");
    assert_eq!((&paid["effect"]["name"], &paid["effect"]["attempt"]), (&json!("pay"), &json!(1)));
    assert_eq!((&paid["effect"]["agent"], &paid["effect"]["worker"]), (&json!("oracle"), &json!("delphi")));
    // SHA-256 of {"paid":3}.
    let answer = "fa6e5718bd5d9417beaa3c279f83459c1c26d04df67ecbcdd5a0083389af72ab";
    assert_eq!(paid["effect"]["answer"], answer);
    let happened = |name: &str| -> Vec<(String, String)> {
        let of = all.iter().filter(|entry| entry["approval"]["name"] == name);
        of.map(|entry| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            (text(&entry["approval"]["what"]), text(&entry["by"]))
        })
        .collect()
    };
    let plain = |list: &[(&str, &str)]| -> Vec<(String, String)> {
        list.iter().map(|(what, by)| ((*what).to_owned(), (*by).to_owned())).collect()
    };
    assert_eq!(happened("one"), plain(&[("requested", "unnamed"), ("approved", "ann"), ("used", "unnamed")]));
    assert_eq!(happened("three"), plain(&[("requested", "unnamed"), ("rejected", "bob")]));
    assert_eq!(happened("two")[2].0, "revoked");

    let part = world.orrery(&["ledger", "export", "--task", "other"]).good().stdout;
    let part = entries(&part);
    assert_eq!(part.len(), 6, "no approval is for it: {part:?}");
    assert!(part.iter().all(|entry| entry["task"] == "other"));
    for range in [["--since", "2100-01-01T00:00:00Z"], ["--until", "2000-01-01T00:00:00Z"]] {
        let none = world.orrery(&["ledger", "export", range[0], range[1]]).good().stdout;
        assert!(entries(&none).is_empty(), "{none}");
    }
    world.orrery(&["ledger", "export", "--task", "nobody"]).failed("task-not-found", 66);
    assert_eq!(world.orrery(&["ledger", "export", "--since", "yesterday"]).status, 64);

    let stopped = world.stop();
    let again = orrery(stopped.path(), &["ledger", "export", "--json"]).good().stdout;
    assert_eq!(entries(&again), all, "the same, from a store where nothing runs");
}

/// Goal: a changed, dropped or moved line and a file that was cut off are found, and named. Method: each is done to
/// each line of a real ledger. Then what a forger without the key would do: everything written again.
#[test]
fn every_tamper_is_found_at_every_line() {
    let world = worked();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("ledger.jsonl");
    let path = file.to_str().expect("a plain path");
    let exported = world.orrery(&["ledger", "export", "--task", "t", "-o", path, "--json"]).good().line();
    let key = exported["public_key"].as_str().expect("a key");
    let whole = std::fs::read_to_string(&file).expect("a file");
    assert_eq!(verify(&file, key).0, 0);
    let lines: Vec<&str> = whole.split_inclusive('\n').collect();
    let found = |what: &str, text: String, wanted: &str| {
        std::fs::write(&file, text).expect("a file");
        let (code, said) = verify(&file, key);
        assert!(code == 1 && said.starts_with(&format!("BROKEN: {wanted}")), "{what}: {said}");
    };
    let last = lines.len() - 1;
    for at in 0..lines.len() {
        // A byte of the hash, of the entry and at the end of the line.
        for place in [12, 90, lines[at].len() - 5] {
            let mut changed: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
            let other = if changed[at].as_bytes()[place] == b'0' { "1" } else { "0" };
            changed[at].replace_range(place..=place, other);
            found("change", changed.concat(), &format!("line {at} "));
        }
        let mut rest = lines.clone();
        rest.remove(at);
        found("drop", rest.concat(), &format!("line {at} is missing"));
        if at < last {
            let mut moved = lines.clone();
            moved.swap(at, at + 1);
            found("reorder", moved.concat(), &format!("line {at} is out of order"));
        }
        found("truncation", lines[..at].concat(), &format!("line {at} is missing"));
        let half = &lines[at][..lines[at].len() / 2];
        found("truncation within", lines[..at].concat() + half, &format!("line {at} is cut off"));
    }
    found("what follows", whole.clone() + lines[1], &format!("line {} comes after the end", last + 1));

    // Written again without the key: each hash fits.
    let mut before = "0".repeat(64);
    let mut forged = String::new();
    for line in &lines {
        let entry = &line[line.find(r#""entry":"#).expect("an entry") + 8..line.len() - 2];
        let (entry, signature) = match entry.find(r#","signature":"#) {
            Some(end) => entry.split_at(end),
            None => (entry, ""),
        };
        let entry = entry.replace("pays", "gets");
        before = Hash::of_token(&format!("{before}{entry}")).to_hex();
        forged += &format!("{{\"hash\":\"{before}\",\"entry\":{entry}{signature}}}\n");
    }
    found("forged", forged, &format!("line {last} is not signed with your key"));

    // Signed with another key: whole in itself, and not the operator's.
    let forger = tempfile::tempdir().expect("a temporary directory");
    let other = orrery(forger.path(), &["ledger", "key"]).good().stdout;
    std::fs::write(&file, &whole).expect("a file");
    let (code, said) = verify(&file, other.trim());
    assert!(code == 1 && said.contains("line 0 names another key than yours"), "{said}");
    let renamed = whole.replacen(key, other.trim(), 1);
    found("another key", renamed, "line 0 was changed");
    assert_eq!(verify(&file, "abc").0, 2);
    assert_eq!(verify(&directory.path().join("none"), key).0, 2);
}

/// Goal: nobody but the operator signs. Method: the modes of the key's file, as it is made and as it must not be.
#[test]
fn a_key_that_others_can_read_signs_nothing() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let first = orrery(directory.path(), &["ledger", "key"]).good().stdout;
    let file = directory.path().join("ledger.key");
    let mode = || std::fs::metadata(&file).expect("a file").permissions().mode() & 0o777;
    assert_eq!(mode(), 0o600);
    for wide in [0o640, 0o604, 0o660] {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(wide)).expect("it is ours");
        orrery(directory.path(), &["ledger", "key"]).failed("ledger-key-unusable", 64);
    }
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("it is ours");
    assert_eq!(orrery(directory.path(), &["ledger", "key"]).good().stdout, first);
    std::fs::write(&file, "no key").expect("it is ours");
    orrery(directory.path(), &["ledger", "key"]).failed("ledger-key-unusable", 64);
    std::fs::remove_file(&file).expect("it is ours");
    std::os::unix::fs::symlink("/dev/zero", &file).expect("a link");
    orrery(directory.path(), &["ledger", "key"]).failed("ledger-key-unusable", 64);
}
