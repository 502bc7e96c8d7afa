//! `backup`, `restore`, and the upgrade check on what they make.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bus_client::{Ask, Bus, NatsConfig};
use bus_schemas::commands::probe::Command;
use bus_schemas::wire::WireCommand;
use bus_schemas::{Body, EntityAddress, Key, Reply};
use serde_json::Value;
use tempfile::TempDir;

use crate::damage::tamper;
use crate::schema::check;
use crate::world::{Ended, PATIENCE, World, eventually, orrery};

/// Probes of each sort: enough that all partitions have some, and mail goes between all of them.
const PROBES: u64 = 16;
/// Commands that are acknowledged before the backup begins.
const ROUNDS_BEFORE: u64 = 200;

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn probe(sort: &str, number: u64) -> Key {
    Key::parse(&format!("{sort}{}", number % PROBES)).expect("a key")
}

async fn ask(bus: &Bus, key: Key, command: &Command) {
    let ask = Ask::new(EntityAddress::new(Command::KIND, key), Body::json(command));
    let reply = bus.ask(&ask, PATIENCE).await.expect("an answer");
    assert!(matches!(reply, Reply::Accepted { .. }), "{reply:?}");
}

async fn hand_over(bus: &Bus, key: Key) {
    let touch = Body::json(&Command::Touch { note: String::new() });
    bus.hand_over(&Ask::new(EntityAddress::new(Command::KIND, key), touch)).await.expect("it is stored");
}

/// One of each: an ask that sends mail to another partition, and a durable command.
async fn round(bus: &Bus, number: u64) {
    let forward = Command::Forward { to: probe("to", number * 7 + number / PROBES) };
    ask(bus, probe("from", number), &forward).await;
    hand_over(bus, probe("handed", number)).await;
}

/// Commands that flow until they are told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<u64>,
}

impl Load {
    /// Begins once some commands are acknowledged.
    fn start(config: NatsConfig) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let (sender, begun) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().expect("threads");
            runtime.block_on(async move {
                let bus = Bus::connect_only(&config).await.expect("a connection");
                let mut number = 0;
                while number < ROUNDS_BEFORE || !told.load(Ordering::SeqCst) {
                    let four = [0, 1, 2, 3].map(|next| round(&bus, number + next));
                    futures::future::join_all(four).await;
                    number += 4;
                    if number == ROUNDS_BEFORE {
                        sender.send(()).expect("the test waits");
                    }
                }
                number
            })
        });
        begun.recv().expect("the commands flow");
        Self { stop, thread }
    }
    /// Ends it, and says how many rounds there were.
    fn stop(self) -> u64 {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().expect("every command was acknowledged")
    }
}

/// How often the probes of a sort were touched in all.
fn touched(data_dir: &Path, sort: &str) -> u64 {
    let revision = |number| {
        let entity = format!("probe/{}", probe(sort, number));
        let ended = orrery(data_dir, &["replay", &entity, "--json"]);
        if ended.status == 0 { ended.line()["revision"].as_u64().expect("a number") } else { 0 }
    };
    (0..PROBES).map(revision).sum()
}

/// A backup of a system that has done a task and some probing, and is down.
fn backed_up() -> (TempDir, PathBuf) {
    let world = World::start();
    world.orrery(&["tasks", "submit", "x", "--id", "one", "--skill", "noop", "--wait"]).good();
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    runtime.block_on(async {
        let config = world.nats();
        let bus = Bus::connect_only(&config).await.expect("a connection");
        for number in 0..PROBES {
            ask(&bus, probe("from", number), &Command::Forward { to: probe("to", number + 1) }).await;
        }
    });
    let past = world.stop();
    let backup = past.path().join("backup");
    let written = orrery(past.path(), &["backup", text(&backup), "--json"]).good().line();
    check("backup", &written);
    assert_eq!(written["messages"].as_u64(), Some(in_manifest(&backup)), "{written}");
    (past, backup)
}

/// The messages that a manifest promises.
fn in_manifest(backup: &Path) -> u64 {
    let manifest = std::fs::read_to_string(backup.join("manifest.json")).expect("a manifest");
    let manifest: Value = serde_json::from_str(&manifest).expect("JSON");
    let streams = manifest["streams"].as_array().expect("a list");
    streams.iter().map(|stream| stream["restored"]["messages"].as_u64().expect("a number")).sum()
}

fn restore(data_dir: &Path, backup: &Path) -> Ended {
    orrery(data_dir, &["restore", text(backup), "--json"])
}

/// Goal: a backup of a busy system is whole. Method: asks that send mail between partitions and durable
/// commands flow while it is taken; what it brings back has everything acknowledged before, agrees with
/// itself, completes what was on its way, and takes new commands.
#[test]
fn a_backup_under_load_brings_back_a_whole_system() {
    let world = World::start();
    world.orrery(&["tasks", "submit", "x", "--id", "one", "--skill", "noop", "--wait"]).good();
    let load = Load::start(world.nats());
    let directory = tempfile::tempdir().expect("a temporary directory");
    let backup = directory.path().join("backup");
    let written = world.orrery(&["backup", text(&backup), "--json"]).good().line();
    let rounds = load.stop();
    assert!(rounds > ROUNDS_BEFORE, "commands were acknowledged while it was taken");
    drop(world.stop());

    let target = tempfile::tempdir().expect("a temporary directory");
    let restored = restore(target.path(), &backup).good().line();
    check("restored", &restored);
    assert_eq!(restored["messages"], written["messages"], "{restored}");
    assert_eq!(restored["records"], restored["verified"]["records"], "{restored}");
    assert_eq!(restored["verified"]["findings"], 0, "{restored}");
    orrery(target.path(), &["replay", "--redecide", "--all"]).good();
    assert_eq!(orrery(target.path(), &["agents"]).status, 69, "nobody holds a lease, and nothing runs");

    let world = World::start_in(target);
    let (from, handed) = eventually("what was on its way", || {
        let (from, to) = (touched(world.data_dir(), "from"), touched(world.data_dir(), "to"));
        (from == to).then(|| (from, touched(world.data_dir(), "handed")))
    });
    for count in [from, handed] {
        assert!((ROUNDS_BEFORE..=rounds).contains(&count), "{count} of {rounds} rounds");
    }
    let config = world.nats();
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    runtime.block_on(async {
        let bus = Bus::connect_only(&config).await.expect("a connection");
        for number in 0..PROBES {
            round(&bus, number).await;
        }
    });
    eventually("new commands of all sorts", || {
        let counts = ["from", "to"].map(|sort| touched(world.data_dir(), sort));
        let more = touched(world.data_dir(), "handed") >= handed + PROBES;
        (counts == [from + PROBES; 2] && more).then_some(())
    });
    world.orrery(&["tasks", "submit", "x", "--id", "two", "--skill", "noop", "--wait"]).good();
    let shown = world.orrery(&["tasks", "show", "one", "--json"]).good().line();
    assert_eq!(shown["task"]["state"], "completed", "{shown}");
    world.orrery(&["verify", "--all"]).good();
}

/// Goal: a backup that is not what it was is refused before anything changes, and says which file.
/// Method: a file longer, changed and gone; no manifest; a manifest of another layout.
#[test]
fn a_damaged_backup_is_refused_and_names_its_file() {
    let (_past, backup) = backed_up();
    let target = tempfile::tempdir().expect("a temporary directory");
    let file = backup.join("ORRERY_EVENTS.stream");
    let whole = std::fs::read(&file).expect("a file");
    let mut changed = whole.clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    for (content, code) in
        [(changed, "backup-file-changed"), (whole[..middle].to_vec(), "backup-file-truncated")]
    {
        std::fs::write(&file, content).expect("a file");
        let failed = restore(target.path(), &backup).failed(code, 65);
        assert!(failed.stderr.contains("ORRERY_EVENTS"), "{failed:?}");
    }
    std::fs::remove_file(&file).expect("a file");
    restore(target.path(), &backup).failed("backup-file-missing", 65);
    assert!(!target.path().join("nats").exists(), "nothing was made");
    std::fs::write(&file, whole).expect("a file");
    let manifest = std::fs::read_to_string(backup.join("manifest.json")).expect("a manifest");
    let later = manifest.replacen("\"schema\": 1", "\"schema\": 2", 1);
    std::fs::write(backup.join("manifest.json"), later).expect("a file");
    restore(target.path(), &backup).failed("backup-unreadable", 65);
    std::fs::remove_file(backup.join("manifest.json")).expect("a file");
    restore(target.path(), &backup).failed("backup-unreadable", 66);
    std::fs::write(backup.join("manifest.json"), manifest).expect("a file");
    restore(target.path(), &backup).good();
}

/// Goal: nothing is written over. Method: a directory with a file in it, an installation that was used,
/// an archive of another history, one that runs.
#[test]
fn nothing_is_written_over() {
    let (past, backup) = backed_up();
    orrery(past.path(), &["backup", text(&backup)]).failed("directory-not-empty", 64);
    restore(past.path(), &backup).failed("restore-not-empty", 65);
    orrery(past.path(), &["verify", "--all"]).good();
    let stale = tempfile::tempdir().expect("a temporary directory");
    let file = stale.path().join("archive").join("log-0-000001.records");
    std::fs::create_dir(stale.path().join("archive")).expect("a directory");
    std::fs::write(&file, "the only copy").expect("a file");
    restore(stale.path(), &backup).failed("restore-not-empty", 65);
    assert_eq!(std::fs::read_to_string(&file).expect("a file"), "the only copy");
    assert!(!stale.path().join("nats").exists(), "nothing was made");
    let world = World::start_in(past);
    let failed = restore(world.data_dir(), &backup);
    failed.failed("still-running", 69);
    world.orrery(&["verify", "--all"]).good();
    let missing = backup.join("missing");
    world
        .orrery(&["replay", "--redecide", "--all", "--against", text(&missing)])
        .failed("directory-not-found", 66);
}

/// Goal: the check before an upgrade finds what the new program would decide otherwise, and touches
/// nothing. Method: a backup and its data directory; then a recorded event is doctored in the log.
#[test]
fn decisions_are_checked_against_a_backup_or_a_store() {
    let (past, backup) = backed_up();
    let elsewhere = tempfile::tempdir().expect("a temporary directory");
    let check_against = |directory: &Path| {
        let against = ["replay", "--redecide", "--all", "--against", text(directory), "--json"];
        orrery(elsewhere.path(), &against)
    };
    for directory in [backup.as_path(), past.path()] {
        let summary = check_against(directory).good().line();
        check("redecided", &summary);
        assert!(summary["commands"].as_u64() > Some(30) && summary["diverged"] == 0, "{summary}");
    }
    tamper(
        past.path(),
        r#"
from nats.js.api import StreamConfig
for partition in range(8):
    name = f"ORRERY_LOG_{partition}"
    info = await js.stream_info(name)
    records = [(await js.get_msg(name, at)).data for at in range(1, info.state.last_seq + 1)]
    place = [at for at, record in enumerate(records) if b'"type":"touched","count":1}' in record]
    if not place:
        continue
    records[place[0]] = records[place[0]].replace(b'"touched","count":1}', b'"touched","count":7}', 1)
    await js.delete_stream(name)
    await js.add_stream(info.config)
    for record in records:
        await append(partition, record)
    break
"#,
    );
    let lines = check_against(past.path()).failed("decisions-diverge", 1).lines();
    let divergence = &lines[0];
    check("divergence", divergence);
    assert!(divergence["entity"].as_str().expect("text").starts_with("probe/"), "{divergence}");
    assert_eq!((&divergence["revision"], &divergence["what"]), (&0.into(), &"events".into()), "{divergence}");
    assert_eq!(divergence["recorded"][0]["count"], 7, "{divergence}");
    assert_eq!(divergence["decided"][0]["count"], 1, "{divergence}");
    assert_eq!(lines.last().expect("a summary")["diverged"], 1);
    check_against(&backup).good();
    assert!(std::fs::read_dir(elsewhere.path()).expect("it is there").next().is_none(), "nothing was left");
}

/// Goal: work that waits when the backup is taken is done after the restore. Method: nobody can do it
/// until then.
#[test]
fn what_waits_in_a_backup_is_done_after_the_restore() {
    let world = World::start();
    let client = crate::bus::Client::connect(&world);
    client.oracle();
    world.orrery(&["tasks", "submit", "x", "--id", "asked", "--skill", "oracle"]).good();
    eventually("the work that waits", || {
        let shown = world.orrery(&["replay", "task/asked", "--json"]);
        (shown.status == 0 && shown.line()["state"]["phase"] == "queued").then_some(())
    });
    let directory = tempfile::tempdir().expect("a temporary directory");
    let backup = directory.path().join("backup");
    world.orrery(&["backup", text(&backup)]).good();
    drop(world.stop());
    let target = tempfile::tempdir().expect("a temporary directory");
    restore(target.path(), &backup).good();
    let world = World::start_in(target);
    crate::bus::Client::connect(&world).begin("asked");
}
