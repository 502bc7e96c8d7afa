//! `archive`: history that moved into files is read, verified and gone on with as before.

use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::damage::tamper;
use crate::schema::check;
use crate::world::{Ended, World, eventually, orrery, program};

/// A system that has done two tasks and failed with a third, and is down; and what it says to whoever
/// wants to cancel what is done.
fn past() -> (TempDir, Ended) {
    let world = World::start();
    for id in ["one", "two"] {
        world.orrery(&["tasks", "submit", "nothing", "--id", id, "--skill", "noop", "--wait"]).good();
    }
    let lost = ["tasks", "submit", "Report", "--id", "lost", "--input", r#"{"repo": "/no/such/place"}"#];
    assert_eq!(world.orrery(&[&lost[..], &["--wait"]].concat()).status, 1);
    let told = world.orrery(&["tasks", "cancel", "two"]);
    ends(&world, "completed", 2);
    ends(&world, "failed", 1);
    (world.stop(), told)
}

/// Waits for so many ends of tasks that nobody else began.
fn ends(world: &World, how: &str, count: usize) {
    eventually("everything to be out", || {
        let lines = world.orrery(&["events", "--kind", "task", "--type", how, "--json"]).good().lines();
        let own = |line: &&Value| !line["entity"].as_str().unwrap_or_default().contains('.');
        (lines.iter().filter(own).count() == count).then_some(())
    });
}

fn archive(data_dir: &Path) -> Value {
    let archived = orrery(data_dir, &["archive", "--older-than", "0s", "--json"]).good().line();
    check("archived", &archived);
    archived
}

/// The archive's manifest.
fn manifest(data_dir: &Path) -> Value {
    let file = data_dir.join("archive").join("manifest.json");
    serde_json::from_slice(&std::fs::read(file).expect("a file")).expect("JSON")
}

/// The printed events of tasks, in the order of entity and revision.
fn history(data_dir: &Path) -> Vec<String> {
    let lines = orrery(data_dir, &["events", "--kind", "task", "--json"]).good().lines();
    let mut lines: Vec<(String, u64, String)> = lines
        .into_iter()
        .map(|line| {
            let revision = line["revision"].as_u64().expect("a number");
            (line["entity"].as_str().expect("text").to_owned(), revision, line.to_string())
        })
        .collect();
    lines.sort();
    lines.into_iter().map(|(.., line)| line).collect()
}

fn verified(data_dir: &Path) -> Value {
    orrery(data_dir, &["verify", "--all", "--json"]).good().line()
}

/// What whoever asks is told.
fn told(ended: &Ended) -> (i32, String, String) {
    (ended.status, ended.stdout.clone(), ended.stderr.clone())
}

/// Goal: nobody but the event stream notices that history moved. Method: the same questions before and
/// after, down and running; commands to archived tasks; a rebuild, and archiving again.
#[test]
fn archived_tasks_are_read_verified_and_gone_on_with() {
    let (past, told_before) = past();
    let (before, whole) = (history(past.path()), verified(past.path()));
    assert_eq!(
        orrery(past.path(), &["archive"]).good().stdout.trim(),
        "nothing to write, 0 events taken out of the stream"
    );
    let archived = archive(past.path());
    let tasks = archived["tasks"].as_u64().expect("a number");
    assert!(archived["trees"] == 3 && tasks >= 3, "{archived}");
    let left = before.len() as u64 - tasks;
    assert_eq!(archived["events"].as_u64(), Some(left), "all but the last event of each: {archived}");
    assert_eq!((&archived["removed"], &archived["left"]), (&archived["events"], &0.into()), "{archived}");
    assert_eq!(manifest(past.path())["schema"], 2, "the layout has a version");
    assert_eq!(history(past.path()), before);
    let after = verified(past.path());
    assert_eq!(after["events_archived"], archived["events"], "{after}");
    assert_eq!(after["events_in_log"], whole["events_in_log"]);
    assert_eq!(
        after["events_in_stream"].as_u64(),
        whole["events_in_stream"].as_u64().zip(archived["events"].as_u64()).map(|(all, moved)| all - moved)
    );
    let steps = orrery(past.path(), &["replay", "task/one", "--step", "--json"]).good().lines();
    assert_eq!(steps.len(), 4);
    let again = archive(past.path());
    assert_eq!((&again["tasks"], &again["removed"]), (&0.into(), &0.into()), "{again}");

    let world = World::start_in(past);
    // The entities are loaded from their snapshots: a repeat is known, and an end is an end.
    let submit = ["tasks", "submit", "nothing", "--id", "one", "--skill", "noop", "--json"];
    world.orrery(&submit).good();
    assert_eq!(world.orrery(&["replay", "task/one", "--json"]).good().line()["revision"], 4);
    let other = ["tasks", "submit", "something else", "--id", "two", "--skill", "noop"];
    assert_ne!(world.orrery(&other).status, 0, "the key is taken");
    assert_eq!(told(&world.orrery(&["tasks", "cancel", "two"])), told(&told_before));
    world.orrery(&["tasks", "retry", "lost", "--end", &world.number("lost", "end_id")]).good();
    ends(&world, "failed", 2);
    world.orrery(&["verify", "--all"]).good();

    let past = world.stop();
    let more = history(past.path());
    assert!(more.len() > before.len());
    let retried = archive(past.path());
    assert_eq!(retried["trees"], 1, "the one that went on: {retried}");
    assert_eq!(history(past.path()), more);
    eventually("the leases to be forgotten", || {
        (orrery(past.path(), &["rebuild", "events"]).status == 0).then_some(())
    });
    assert_eq!(history(past.path()), more, "what is in the stream again is in no file");
    assert_eq!(verified(past.path())["events_archived"], 0);
    let again = archive(past.path());
    assert!(
        again["events"] == again["removed"] && again["removed"].as_u64() > archived["removed"].as_u64(),
        "{again}"
    );
    assert_eq!(history(past.path()), more);
    verified(past.path());
}

/// Goal: an archive is looked after like a log, and travels with a backup. Method: a changed byte and a
/// file that is gone; a backup before, restored elsewhere.
#[test]
fn a_damaged_archive_is_found_and_comes_back_with_a_backup() {
    let (past, _) = past();
    archive(past.path());
    let before = history(past.path());
    let backup = past.path().join("backup");
    let backup = backup.to_str().expect("UTF-8");
    orrery(past.path(), &["backup", backup]).good();
    let file = past.path().join("archive").join("events-000001.jsonl");
    let text = std::fs::read_to_string(&file).expect("a file");
    std::fs::write(&file, text.replacen("\"submitted\"", "\"submitteD\"", 1)).expect("a file");
    let findings = |wanted: &[&str]| {
        let lines = orrery(past.path(), &["verify", "--json"]).failed("verification-failed", 1).lines();
        for name in wanted {
            assert!(lines.iter().any(|line| line["finding"] == *name), "{name} is not in {lines:?}");
        }
    };
    findings(&["archive-damaged", "chain-broken"]);
    orrery(past.path(), &["events"]).failed("archive-damaged", 65);
    let elsewhere =
        orrery(past.path(), &["events", "--archive", "/no/such/place"]).failed("archive-damaged", 66);
    let typed = format!("`--dir` to `{} archive --data-dir {}`", program(), past.path().display());
    assert!(elsewhere.stderr.contains(&typed), "{elsewhere:?}");
    orrery(past.path(), &["archive", "--older-than", "0s"]).failed("archive-damaged", 65);
    std::fs::remove_file(&file).expect("a file");
    findings(&["archive-damaged", "revision-gap"]);
    orrery(past.path(), &["replay", "task/one"]).failed("archive-damaged", 65);

    let target = tempfile::tempdir().expect("a temporary directory");
    orrery(target.path(), &["restore", backup]).good();
    assert_eq!(history(target.path()), before);
    // And the logs still have everything: what is damaged is written again, and archived anew.
    eventually("the leases to be forgotten", || {
        (orrery(past.path(), &["rebuild", "events"]).status == 0).then_some(())
    });
    assert_eq!(history(past.path()), before);
    archive(past.path());
    assert_eq!(history(past.path()), before);
    verified(past.path());
}

/// Says how many bytes a snapshot of an entity may have at most, with what the server keeps beside it.
fn bound_snapshots(data_dir: &Path, bytes: i64) {
    let script = r#"
import json
async def api(call, body=b""):
    answer = json.loads((await nc.request(f"$JS.API.STREAM.{call}.KV_orrery_snapshots", body, timeout=10)).data)
    assert "error" not in answer, answer
    return answer
config = (await api("INFO"))["config"]
config["max_msg_size"] = BYTES
await api("UPDATE", json.dumps(config).encode())
"#;
    tamper(data_dir, &script.replace("BYTES", &bytes.to_string()));
}

/// Goal: a task whose snapshot the server does not take stays and is named, and all others are archived. Method:
/// a task with a large input, whose snapshot goes in parts, and one in between, in a store that takes small
/// messages alone.
#[test]
fn a_task_that_is_too_large_stays_and_is_named() {
    let world = World::start();
    for (id, bytes) in [("small", 10), ("between", 30_000), ("large", 100_000)] {
        let input = format!("{{\"text\": \"{}\"}}", "x".repeat(bytes));
        let submit =
            ["tasks", "submit", "nothing", "--id", id, "--skill", "noop", "--wait", "--input", &input];
        world.orrery(&submit).good();
    }
    ends(&world, "completed", 3);
    let past = world.stop();
    let before = history(past.path());
    bound_snapshots(past.path(), 16_384);
    let archived = orrery(past.path(), &["archive", "--older-than", "0s"]).good();
    assert!(archived.stderr.contains("`task/between` stays: "), "{archived:?}");
    assert!(
        archived.stdout.contains("3 task trees") && archived.stdout.contains("1 tasks stay"),
        "{archived:?}"
    );
    let again = archive(past.path());
    assert_eq!(
        (&again["tasks"], &again["removed"], &again["left"]),
        (&1.into(), &0.into(), &1.into()),
        "{again}"
    );
    assert_eq!(history(past.path()), before);
    verified(past.path());

    bound_snapshots(past.path(), -1);
    let whole = archive(past.path());
    assert!(whole["left"] == 0 && whole["removed"].as_u64() > Some(0), "{whole}");
    assert_eq!(history(past.path()), before);
    let world = World::start_in(past);
    for id in ["between", "large"] {
        let submit = ["tasks", "submit", "something else", "--id", id, "--skill", "noop"];
        assert_ne!(world.orrery(&submit).status, 0, "the key is taken");
    }
    world.orrery(&["verify", "--all"]).good();
}
