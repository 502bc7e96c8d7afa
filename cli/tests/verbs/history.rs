//! `events`, `replay`, `verify`, `rebuild`: what happened, and whether it is whole.

use std::path::Path;
use std::process::Command;

use crate::schema::check;
use crate::world::{World, eventually, orrery};

/// A system that has done two tasks and is down again.
fn past() -> tempfile::TempDir {
    let world = World::start();
    for id in ["one", "two"] {
        world.orrery(&["tasks", "submit", "nothing", "--id", id, "--skill", "noop", "--wait"]).good();
    }
    eventually("everything to be out", || {
        let found = world.orrery(&["events", "--type", "completed", "--json"]).good().lines();
        (found.len() == 2).then_some(())
    });
    world.stop()
}

/// The Python with nats-py that `make tools` obtained: it does to the stream what no program of ours does.
fn tamper(data_dir: &Path, script: &str) {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/venv/bin/python");
    let mut up = Command::new(crate::world::program())
        .arg("--data-dir")
        .arg(data_dir)
        .args(["up", "--json", "--http", "127.0.0.1:0", "--roles", "gateway"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("the binary runs");
    // Without hosts no partition answers, so the banner never comes: the server's own file is enough.
    let ports = eventually("the server", || {
        let files = std::fs::read_dir(data_dir.join("nats")).ok()?;
        let file = files.flatten().find(|file| file.path().extension().is_some_and(|end| end == "ports"))?;
        serde_json::from_str::<serde_json::Value>(&std::fs::read_to_string(file.path()).ok()?).ok()
    });
    let password = std::fs::read_to_string(data_dir.join("nats/password")).expect("the server's password");
    let authority = format!("nats://orrery:{}@", password.trim());
    let url = ports["nats"][0].as_str().expect("an address").replacen("nats://", &authority, 1);
    let done = Command::new(python).args(["-c", script, &url]).status().expect("run `make tools` first");
    assert!(done.success(), "the script ran");
    up.kill().expect("it runs");
    up.wait().expect("it was our child");
}

/// Events come with filters; what is asked for wrongly is named.
#[test]
fn events_are_filtered() {
    let past = past();
    let events = |arguments: &[&str]| {
        let mut all = vec!["events", "--json"];
        all.extend(arguments);
        let lines = orrery(past.path(), &all).good().lines();
        lines.iter().for_each(|line| check("event", line));
        lines
    };
    let tree = events(&["--tree", "one"]);
    assert_eq!(
        tree.iter().map(|line| line["revision"].as_u64().unwrap_or(0)).collect::<Vec<_>>(),
        [1, 2, 3, 4]
    );
    assert!(
        events(&["--kind", "agent"])
            .iter()
            .all(|line| line["entity"].as_str().unwrap_or("").starts_with("agent/"))
    );
    assert_eq!(events(&["--type", "completed"]).len(), 2);
    assert_eq!(events(&["--kind", "task", "--key", "two", "--limit", "2"]).len(), 2);
    let second = tree[1]["cursor"].as_str().expect("a cursor");
    assert_eq!(events(&["--tree", "one", "--from", second]).len(), 2, "behind the second");
    assert!(events(&["--from", "2100-01-01T00:00:00Z"]).is_empty());
    assert_eq!(orrery(past.path(), &["events", "--from", "yesterday"]).status, 64);
    orrery(past.path(), &["events", "--tree", "a b"]).failed("invalid-key", 64);
}

/// States and changes, one revision at a time; the recorded commands lead to the same again.
#[test]
fn entities_are_replayed_and_decided_again() {
    let past = past();
    let steps = orrery(past.path(), &["replay", "task/one", "--step", "--diff", "--json"]).good().lines();
    steps.iter().for_each(|step| check("replay-step", step));
    assert_eq!(steps.len(), 4);
    let issued = steps[2]["changes"].as_array().expect("changes");
    assert!(
        issued.iter().any(|change| change["path"] == "/agent" && change["value"] == "no-op"),
        "{issued:?}"
    );
    let early = orrery(past.path(), &["replay", "task/one", "--at", "2", "--json"]).good().line();
    let late = orrery(past.path(), &["replay", "task/one", "--json"]).good().line();
    assert!(early["state"]["phase"] == "queued" && late["state"]["status"] == "completed", "{early} {late}");
    let again = orrery(past.path(), &["replay", "--redecide", "--all", "--json"]).good().line();
    check("redecided", &again);
    assert!(again["commands"].as_u64().unwrap_or(0) > 20 && again["diverged"] == 0, "{again}");
    orrery(past.path(), &["replay", "--redecide", "task/two"]).good();
    orrery(past.path(), &["replay", "task/nobody"]).failed("entity-not-found", 66);
    orrery(past.path(), &["replay", "task/one", "--at", "99"]).failed("entity-not-found", 66);
    for verb in ["replay", "verify"] {
        orrery(past.path(), &[verb, "unicorn/one"]).failed("unknown-kind", 64);
    }
    assert_eq!(orrery(past.path(), &["replay"]).status, 64);
}

/// What is missing, changed or added in the event stream is found, and written again from the log.
#[test]
fn damage_is_found_and_mended() {
    let past = past();
    let whole = orrery(past.path(), &["verify", "--all", "--json"]).good().line();
    check("verified", &whole);
    assert_eq!(whole["events_in_log"], whole["events_in_stream"]);
    tamper(
        past.path(),
        r#"
import asyncio, sys, nats
async def main():
    nc = await nats.connect(sys.argv[1])
    js = nc.jetstream()
    last = await js.get_last_msg("ORRERY_EVENTS", "orrery.evt.task.one")
    await js.delete_msg("ORRERY_EVENTS", last.seq)
    two = await js.get_last_msg("ORRERY_EVENTS", "orrery.evt.task.two")
    await js.publish("orrery.evt.task.two", two.data.replace(b"completed", b"invented"), headers={
        **{name: value for name, value in two.headers.items() if not name.startswith("Nats-")}, "Orrery-Revision": "5", "Orrery-Cursor": "0.999999.0"})
    await js.publish("orrery.evt.task.three", b"rubbish")
    await nc.close()
asyncio.run(main())
"#,
    );
    let found = orrery(past.path(), &["verify", "--json"]).failed("verification-failed", 1).lines();
    let findings: Vec<&str> = found.iter().filter_map(|line| line["finding"].as_str()).collect();
    for finding in ["event-missing", "chain-broken", "event-extra", "event-unreadable"] {
        assert!(findings.contains(&finding), "{finding} is not in {findings:?}");
    }
    found.iter().filter(|line| line["finding"].is_string()).for_each(|line| check("finding", line));
    orrery(past.path(), &["events"]).failed("event-unreadable", 65);
    orrery(past.path(), &["replay", "task/two"]).failed("chain-broken", 65);
    let rebuilt = eventually("the leases to be forgotten", || {
        let ended = orrery(past.path(), &["rebuild", "events", "--json"]);
        (ended.status == 0).then(|| ended.line())
    });
    check("rebuilt", &rebuilt);
    assert_eq!(rebuilt["events"], whole["events_in_log"]);
    orrery(past.path(), &["verify", "--all"]).good();
    // The system goes on where it was: entities find their history in the new stream.
    let world = World::start_in(past);
    world.orrery(&["tasks", "submit", "nothing", "--id", "three", "--skill", "noop", "--wait"]).good();
    world.orrery(&["rebuild", "events"]).failed("still-running", 69);
    world.orrery(&["verify", "--all"]).good();
    let page = world.orrery(&["tasks", "list", "--json"]).good().line();
    assert!(page["tasks"].as_array().expect("a list").len() >= 2, "{page}");
}

/// Goal: a report is made again from what was recorded: without the repository, without a network, and by nobody else.
/// Method: a running system, then its store in a network of its own; a damaged request is named.
#[test]
fn agents_run_again_with_recorded_effects() {
    let world = World::start();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let repo = crate::world::repository(directory.path());
    let repo = repo.to_str().expect("UTF-8");
    let input = format!("{{\"repo\": \"{repo}\"}}");
    let submit =
        ["tasks", "submit", "report on this repository", "--id", "made", "--wait", "--input", &input];
    world.orrery(&submit).good();
    std::fs::remove_dir_all(repo).expect("it is there");

    let lines = world.orrery(&["replay", "made", "--effects", "recorded", "--json"]).good().lines();
    let (sum, attempts) = lines.split_last().expect("a summary");
    check("replayed", sum);
    attempts.iter().for_each(|line| check("replayed-attempt", line));
    assert_eq!(
        (&sum["attempts"], &sum["differ"], &sum["elsewhere"]),
        (&8.into(), &0.into(), &0.into()),
        "{sum}"
    );
    assert!(
        attempts.iter().all(|line| line["verdict"] == "same" && line["recorded"] == line["decided"]),
        "{lines:?}"
    );
    assert_eq!(attempts[0]["task"], "made", "the root comes first");
    let below =
        world.orrery(&["replay", "task/made.history", "--effects", "recorded", "--json"]).good().lines();
    assert_eq!(below.len(), 2, "a task and its sum: {below:?}");
    world.orrery(&["replay", "unknown", "--effects", "recorded"]).failed("entity-not-found", 66);
    world.orrery(&["replay", "agent/git", "--effects", "recorded"]).failed("invalid-key", 64);
    assert_eq!(
        world.orrery(&["replay", "made", "--with", "model=x"]).status,
        64,
        "a change needs `--effects`"
    );
    let unknown = ["replay", "made", "--effects", "recorded", "--with", "model=x"];
    world.orrery(&unknown).failed("no-model", 64);

    let past = world.stop();
    let elsewhere = tempfile::tempdir().expect("a temporary directory");
    // A new network has a loopback device that is down: SIOCSIFFLAGS with IFF_UP.
    let up = "import fcntl, os, socket, struct, sys
fcntl.ioctl(socket.socket(), 0x8914, struct.pack('16sh', b'lo', 1))
os.execv(sys.argv[1], sys.argv[1:])";
    let alone = Command::new("unshare")
        .args(["--net", "python3", "-c", up])
        .arg(crate::world::program())
        .arg("--data-dir")
        .arg(elsewhere.path())
        .args(["replay", "made", "--effects", "recorded", "--json", "--against"])
        .arg(past.path())
        .output()
        .expect("unshare runs: it is of util-linux");
    let said = String::from_utf8(alone.stdout).expect("UTF-8");
    assert!(alone.status.success(), "{said}{}", String::from_utf8_lossy(&alone.stderr));
    assert_eq!(said.lines().count(), lines.len(), "{said}");
}
