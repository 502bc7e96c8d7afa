//! `archive --logs`: logs that begin behind an archive are read, verified, taken over and gone on with.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actors_runtime::takeover;
use bus_client::{Ask, Bus};
use bus_schemas::commands::probe::Command as Probe;
use bus_schemas::wire::WireCommand;
use bus_schemas::{Body, EntityAddress, Key, PartitionId, Reply, Revision};
use futures::StreamExt;
use serde_json::Value;
use tempfile::TempDir;

use crate::damage::tamper;
use crate::schema::check;
use crate::world::{World, eventually, orrery, program};

/// More commands than a partition remembers, so that its oldest records are needed no more.
const COMMANDS: u64 = 70_000;
/// Callers at once: large groups, so that it takes seconds. Many of them repeat before their first answer.
const CALLERS: usize = 1_024;
/// Probes of one partition: they share the first token of their keys.
const PROBES: u64 = 64;

fn touch(number: u64) -> Ask {
    let key = Key::parse(&format!("cut.{}", number % PROBES)).expect("a key");
    let touch = Body::json(&Probe::Touch { note: format!("{number}") });
    Ask::new(EntityAddress::new(Probe::KIND, key), touch)
}

/// Something to do with a client of a running system.
fn with_bus<T>(world: &World, work: impl AsyncFnOnce(&Bus) -> T) -> T {
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    runtime.block_on(async {
        let config = world.nats();
        work(&Bus::connect_only(&config).await.expect("a connection")).await
    })
}

async fn ask(bus: &Bus, ask: &Ask) -> (Revision, u32) {
    match bus.ask(ask, crate::world::PATIENCE).await.expect("an answer") {
        Reply::Accepted { revision, events, .. } => (revision, events),
        refused => panic!("{refused:?}"),
    }
}

/// A system that has done a task and been asked often, and is down; and the last of those commands.
fn past() -> (TempDir, Ask, (Revision, u32)) {
    let world = World::start();
    world.orrery(&["tasks", "submit", "nothing", "--id", "one", "--skill", "noop", "--wait"]).good();
    let (last, answer) = with_bus(&world, async |bus| {
        let asks = (0..COMMANDS).map(|number| async move { ask(bus, &touch(number)).await });
        futures::stream::iter(asks).buffer_unordered(CALLERS).for_each(|_| async {}).await;
        let last = touch(COMMANDS);
        let answer = ask(bus, &last).await;
        (last, answer)
    });
    (world.stop(), last, answer)
}

fn line(data_dir: &Path, arguments: &[&str]) -> Value {
    orrery(data_dir, &[arguments, &["--json"]].concat()).good().line()
}

fn number(line: &Value, field: &str) -> u64 {
    line[field].as_u64().unwrap_or_else(|| panic!("`{field}` of {line}"))
}

/// Loses what the partition's takeover begins at.
fn forget(world: &World, names: &[fn(PartitionId) -> String]) {
    with_bus(world, async |bus| {
        let partition = touch(0).to.partition(bus.topology().partitions);
        for name in names {
            bus.delete_named(&name(partition)).await.expect("deleted");
        }
    });
}

/// The same, and kills the host so that it writes nothing new.
fn lose(world: World, names: &[fn(PartitionId) -> String]) -> TempDir {
    forget(&world, names);
    world.kill()
}

/// Goal: nobody but the store notices that the logs were cut. Method: the same questions before and
/// after; takeovers from the snapshot, without it, and without the base too; an archive that is away,
/// a backup, a rebuild, and a changed byte.
#[test]
fn a_cut_log_is_verified_taken_over_and_restored() {
    let (past, last, answer) = past();
    let dir = past.path();
    let (whole, decided) = (line(dir, &["verify"]), line(dir, &["replay", "--redecide", "--all"]));
    let nothing = line(dir, &["archive", "--logs"]);
    assert_eq!(
        (&nothing["records"], &nothing["kept"]),
        (&0.into(), &serde_json::json!([])),
        "nothing is old"
    );
    let archived = line(dir, &["archive", "--older-than", "0s", "--logs"]);
    check("archived", &archived);
    let kept = archived["kept"].as_array().expect("what stays, and why");
    let home = touch(0).to.partition(8).0;
    assert!(
        kept.iter().any(|kept| kept["partition"] == home && kept["why"] == "recent-commands"),
        "{archived}"
    );
    let cut = number(&archived, "records");
    assert!(cut > 0 && cut == number(&archived, "records_removed"), "{archived}");
    let after = line(dir, &["verify"]);
    check("verified", &after);
    assert_eq!(after["records_archived"], cut);
    for field in ["records", "events_in_log", "entities"] {
        assert_eq!(after[field], whole[field], "{field}");
    }
    assert_eq!(line(dir, &["replay", "--redecide", "--all"]), decided);
    let again = orrery(dir, &["archive", "--older-than", "0s", "--logs"]).good().stdout;
    let said = format!("partition {home} keeps ");
    assert!(again.contains("no log was cut") && again.contains(&said), "it says why: {again}");
    not_of(&dir.join("archive"));

    let away = dir.join("away");
    std::fs::rename(dir.join("archive"), &away).expect("it is moved");
    let elsewhere = tempfile::tempdir().expect("a temporary directory");
    let (away, backup) = (away.to_str().expect("UTF-8"), elsewhere.path().join("backup"));
    let backup = backup.to_str().expect("UTF-8");
    for verb in
        [&["verify"][..], &["rebuild", "events"], &["replay", "--redecide", "--all"], &["backup", backup]]
    {
        orrery(dir, verb).failed("log-cut", 65);
    }
    assert_eq!(line(dir, &["verify", "--archive", away]), after);
    line(dir, &["backup", backup, "--archive", away]);
    assert_eq!(line(dir, &["replay", "--redecide", "--all", "--against", backup]), decided);
    std::fs::rename(away, dir.join("archive")).expect("it is moved back");
    goes_on(past, &last, answer);

    let target = tempfile::tempdir().expect("a temporary directory");
    let restored = line(target.path(), &["restore", backup]);
    assert_eq!(restored["verified"]["records_archived"], cut, "{restored}");
    tamper(target.path(), r#"await js.purge_stream("ORRERY_EVENTS")"#);
    assert!(findings(target.path()).contains(&"mark-behind".to_owned()), "a takeover would stop");
    line(target.path(), &["rebuild", "events"]);
    line(target.path(), &["verify"]);
    let file = std::fs::read_dir(target.path().join("archive")).expect("a directory").flatten();
    let file = file.map(|file| file.path()).find(|path| path.extension().is_some_and(|end| end == "records"));
    let file = file.expect("a file of records");
    let mut bytes = std::fs::read(&file).expect("a file");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).expect("a file");
    orrery(target.path(), &["replay", "--redecide", "--all"]).failed("archive-damaged", 65);
    orrery(target.path(), &["archive", "--older-than", "0s", "--logs"]).failed("archive-damaged", 65);
}

/// What a verification finds.
fn findings(data_dir: &Path) -> Vec<String> {
    let lines = orrery(data_dir, &["verify", "--json"]).failed("verification-failed", 1).lines();
    lines.iter().filter_map(|line| line["finding"].as_str().map(str::to_owned)).collect()
}

/// Another installation does not take this archive for its own: by the id, and by what is in it where
/// an older program has left none.
fn not_of(archive: &Path) {
    let world = World::start();
    world.orrery(&["tasks", "submit", "nothing", "--id", "one", "--skill", "noop", "--wait"]).good();
    let (copied, other) = (tempfile::tempdir().expect("a temporary directory"), world.stop());
    for file in std::fs::read_dir(archive).expect("a directory").flatten() {
        std::fs::copy(file.path(), copied.path().join(file.file_name())).expect("a copy");
    }
    let place = copied.path().to_str().expect("UTF-8");
    let before = line(other.path(), &["verify"]);
    let refused = |verb: &[&str]| orrery(other.path(), verb).failed("archive-foreign", 65).stderr;
    let cut = ["archive", "--older-than", "0s", "--logs", "--dir", place];
    assert!(refused(&cut).contains("the archive is of the installation"));
    refused(&["verify", "--archive", place]);
    refused(&["events", "--archive", place]);
    let manifest = copied.path().join("manifest.json");
    let mut named: Value = serde_json::from_slice(&std::fs::read(&manifest).expect("a file")).expect("JSON");
    named.as_object_mut().expect("an object").remove("installation").expect("whose it is");
    std::fs::write(&manifest, named.to_string()).expect("a file");
    assert!(refused(&cut).contains("of partition"), "the logs are compared");
    assert!(
        refused(&["archive", "--older-than", "0s", "--dir", place]).contains("task/"),
        "the events are compared"
    );
    assert_eq!(line(other.path(), &["verify"]), before, "nothing was taken out or cut");
}

/// Takeovers of a cut log: from the snapshot, from the base, and from a base that was made again.
fn goes_on(past: TempDir, last: &Ask, answer: (Revision, u32)) {
    let known = |world: &World| with_bus(world, async |bus| ask(bus, last).await);
    let world = World::start_in(past);
    assert_eq!(known(&world), answer, "from the snapshot: the repeat is known");
    let past = lose(world, &[takeover::snapshot_name]);
    let world = World::start_in(past);
    assert_eq!(known(&world), answer, "from the base");
    let next = with_bus(&world, async |bus| ask(bus, &touch(COMMANDS + PROBES)).await.0);
    assert_eq!(next, answer.0.next(), "it goes on");
    let check = |world: &World| {
        let checks = world.orrery(&["doctor", "--json"]).lines();
        let base = checks.into_iter().find(|line| line["check"] == "base").expect("a log was cut");
        base["verdict"].as_str().expect("text").to_owned()
    };
    assert_eq!(check(&world), "ok");
    forget(&world, &[takeover::base_name]);
    assert_eq!(check(&world), "warn", "before anybody needs it");
    let past = lose(world, &[takeover::snapshot_name]);
    assert_eq!(findings(past.path()), ["base-missing"]);
    eventually("the leases to be forgotten", || {
        (orrery(past.path(), &["archive", "--older-than", "0s", "--logs"]).status == 0).then_some(())
    });
    let world = World::start_in(past);
    assert_eq!(known(&world), answer, "from the base that was made again");
    world.orrery(&["verify"]).good();
}

/// How often cutting is killed, at most: once it has come to its end there is nothing left to kill.
const KILLS_MAX: u64 = 12;
/// Within what a run is killed: some runs die while they read, some while they write.
const KILLED_WITHIN_MS: u64 = 6_000;

/// Goal: whenever cutting dies, nothing is lost. Method: it is killed again and again at moments of chance,
/// every other time as soon as it writes, while commands flow; after each the logs are verified; at last it
/// ends, the snapshot is lost, and the base must know what was answered.
#[test]
fn cutting_that_is_killed_loses_nothing() {
    let seed = u64::from(std::process::id())
        ^ u64::from(std::time::UNIX_EPOCH.elapsed().expect("a time").subsec_nanos());
    println!("seed {seed}");
    let mut chance = seed | 1;
    let mut random = move |below: u64| {
        // Xorshift: nothing depends on more than that the moments differ.
        chance ^= chance << 13;
        chance ^= chance >> 7;
        chance ^= chance << 17;
        Duration::from_millis(chance % below)
    };
    let (past, ..) = past();
    let world = World::start_in(past);
    let (stop, config) = (Arc::new(AtomicBool::new(false)), world.nats());
    let told = Arc::clone(&stop);
    let load = std::thread::spawn(move || {
        tokio::runtime::Runtime::new().expect("threads").block_on(async {
            let bus = Bus::connect_only(&config).await.expect("a connection");
            let mut number = COMMANDS;
            loop {
                number += 1;
                let last = touch(number);
                let answer = ask(&bus, &last).await;
                if told.load(Ordering::SeqCst) {
                    return (last, answer);
                }
            }
        })
    });
    for number in 0..KILLS_MAX {
        let mut cutting = Command::new(program())
            .arg("--data-dir")
            .arg(world.data_dir())
            .args(["archive", "--older-than", "0s", "--logs"])
            .stdout(Stdio::null())
            .spawn()
            .expect("the binary runs");
        let soon = if number % 2 == 0 { KILLED_WITHIN_MS } else { 100 };
        let writes = || number % 2 == 0 || has_records(&world.data_dir().join("archive"));
        let ended = eventually("a moment to kill it", || {
            let ended = cutting.try_wait().expect("it is our child");
            (ended.is_some() || writes()).then_some(ended)
        });
        if ended.is_none() {
            std::thread::sleep(random(soon));
            cutting.kill().expect("it is our child");
        }
        let done = cutting.wait().expect("it is our child").success();
        world.orrery(&["verify"]).good();
        if done {
            break;
        }
    }
    world.orrery(&["archive", "--older-than", "0s", "--logs"]).good();
    stop.store(true, Ordering::SeqCst);
    let (last, answer) = load.join().expect("every command was answered");
    assert!(number(&line(world.data_dir(), &["verify"]), "records_archived") > 0, "the log was cut");
    let past = lose(world, &[takeover::snapshot_name]);
    let world = World::start_in(past);
    assert_eq!(with_bus(&world, async |bus| ask(bus, &last).await), answer, "the base and the log know it");
    let past = world.stop();
    assert_eq!(line(past.path(), &["replay", "--redecide", "--all"])["diverged"], 0);
    orrery(past.path(), &["verify"]).good();
}

/// Whether an archive has a file of commit records, or begins one.
fn has_records(archive: &Path) -> bool {
    let Ok(files) = std::fs::read_dir(archive) else { return false };
    files.flatten().any(|file| file.path().extension().is_some_and(|end| end == "records"))
}
