//! `archive --logs`: logs that begin behind an archive are read, verified, taken over and gone on with.

use std::path::Path;

use actors_runtime::takeover;
use bus_client::{Ask, Bus, NatsConfig};
use bus_schemas::commands::probe::Command;
use bus_schemas::wire::WireCommand;
use bus_schemas::{Body, EntityAddress, Key, PartitionId, Reply, Revision};
use futures::StreamExt;
use serde_json::Value;
use tempfile::TempDir;

use crate::schema::check;
use crate::world::{World, eventually, orrery};

/// More commands than a partition remembers, so that its oldest records are needed no more.
const COMMANDS: u64 = 70_000;
/// Callers at once: large groups, so that it takes seconds.
const CALLERS: usize = 1_024;
/// Probes of one partition: they share the first token of their keys.
const PROBES: u64 = 64;

fn touch(number: u64) -> Ask {
    let key = Key::parse(&format!("cut.{}", number % PROBES)).expect("a key");
    let touch = Body::json(&Command::Touch { note: format!("{number}") });
    Ask::new(EntityAddress::new(Command::KIND, key), touch)
}

/// Something to do with a client of a running system.
fn with_bus<T>(world: &World, work: impl AsyncFnOnce(&Bus) -> T) -> T {
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    runtime.block_on(async {
        let config = NatsConfig { url: Some(world.address("nats_url").to_owned()), ..NatsConfig::default() };
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
    world.orrery(&["task", "submit", "nothing", "--id", "one", "--skill", "noop", "--wait"]).good();
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

/// Loses what the partition's takeover begins at, and kills the host so that it writes nothing new.
fn lose(world: World, names: &[fn(PartitionId) -> String]) -> TempDir {
    with_bus(&world, async |bus| {
        let partition = touch(0).to.partition(bus.topology().partitions);
        for name in names {
            bus.delete_named(&name(partition)).await.expect("deleted");
        }
    });
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
    assert_eq!(line(dir, &["archive", "--logs"])["records"], 0, "nothing is old");
    let archived = line(dir, &["archive", "--older-than", "0s", "--logs"]);
    check("archived", &archived);
    let cut = number(&archived, "records");
    assert!(cut > 0 && cut == number(&archived, "records_removed"), "{archived}");
    let after = line(dir, &["verify"]);
    check("verified", &after);
    assert_eq!(after["records_archived"], cut);
    for field in ["records", "events_in_log", "entities"] {
        assert_eq!(after[field], whole[field], "{field}");
    }
    assert_eq!(line(dir, &["replay", "--redecide", "--all"]), decided);
    assert_eq!(line(dir, &["archive", "--older-than", "0s", "--logs"])["records_removed"], 0);

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
    line(target.path(), &["rebuild", "events"]);
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
    let past = lose(world, &[takeover::snapshot_name, takeover::base_name]);
    eventually("the leases to be forgotten", || {
        (orrery(past.path(), &["archive", "--older-than", "0s", "--logs"]).status == 0).then_some(())
    });
    let world = World::start_in(past);
    assert_eq!(known(&world), answer, "from the base that was made again");
    world.orrery(&["verify"]).good();
}
