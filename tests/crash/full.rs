//! A store that is full: the server stops taking work, says so, and loses none that it took.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use actors_host::{Config, Running};
use bus_client::{Ask, AskError, Bus, NatsConfig, PublishError};
use bus_schemas::commands::probe::Command as Probe;
use bus_schemas::{CommandId, Reply, Revision};
use system_tests::edge::Edge;
use system_tests::{accepted, command, eventually, touch};
use tempfile::TempDir;

use crate::check::{all_applied, whole};
use crate::own_server::{free_ports, start, start_at};

/// A store that takes this many bytes is full within seconds and holds all streams.
const STORE: &str = "48m";
/// Bytes of a command: some hundreds of them fill the store.
const NOTE_BYTES: usize = 60_000;
/// More than fill the store by far.
const COMMANDS_MAX: usize = 10_000;
/// How long an ask waits for a partition that cannot write.
const SHORT: Duration = Duration::from_secs(3);
/// Without renewals for this long, every lease would have expired several times.
const QUIET: Duration = Duration::from_secs(16);

/// A file system of a test's own, in memory; gone with this.
struct Disk(PathBuf);

impl Disk {
    fn mount(place: &Path) -> Self {
        std::fs::create_dir(place).expect("a directory");
        let options = format!("size={STORE}");
        let done = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(place).status();
        let mounted = done.is_ok_and(|status| status.success());
        assert!(mounted, "this test mounts a small file system and needs root");
        Self(place.to_owned())
    }
    /// Takes all the room that is left, as another program on the same disk does. The room is free again once
    /// the file is deleted.
    fn take_all(&self) -> PathBuf {
        let path = self.0.join("another-program");
        let mut file = std::fs::File::create(&path).expect("a file");
        let some = vec![1; 64 * 1024];
        while std::io::Write::write_all(&mut file, &some).is_ok() {}
        path
    }
    fn grow(&self) {
        let done = Command::new("mount").args(["-o", "remount,size=512m"]).arg(&self.0).status();
        assert!(done.is_ok_and(|status| status.success()), "the file system grows");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // A test that fails has another message for people.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

async fn host(directory: &TempDir, nats: &NatsConfig) -> Running {
    let data_dir = directory.path().join("host");
    let config = Config { data_dir, nats: nats.clone(), agents: false, ..Config::default() };
    let running = actors_host::start(&config, Vec::new()).await.expect("the host starts");
    running.ready().await.expect("every partition answers");
    running
}

/// Hands commands over until one is not taken; those that were, that one, and why.
async fn fill(bus: &Bus) -> (Vec<CommandId>, Ask, PublishError) {
    let (mut taken, note) = (Vec::new(), "x".repeat(NOTE_BYTES));
    while taken.len() < COMMANDS_MAX {
        let ask = command(&format!("p{}", taken.len() % 8), &Probe::Touch { note: note.clone() });
        match bus.hand_over(&ask).await {
            Ok(_) => taken.push(ask.id),
            Err(refusal) => return (taken, ask, refusal),
        }
    }
    panic!("the store is never full");
}

/// Fills the store of a server with the setting `before`, makes room, starts the server with the setting
/// `after`, and asserts that everything that was taken is applied once, with what was not taken and
/// is sent again; why it was not.
async fn fill_and_mend(
    directory: &TempDir,
    before: &str,
    after: &str,
    make_room: impl FnOnce(),
) -> PublishError {
    let (mut child, nats) = start(directory.path(), before).await;
    let running = host(directory, &nats).await;
    let bus = Bus::connect(&nats).await.expect("the server is sound");
    let (mut taken, last, refusal) = fill(&bus).await;
    assert!(taken.len() > 50, "the store was full too early: {refusal}");
    let ask = command("p0", &Probe::Touch { note: "y".repeat(NOTE_BYTES) });
    // Behind a command that is applied the inbox is trimmed, so there may be room again.
    let asked = bus.ask(&ask, SHORT).await;
    assert!(matches!(asked, Ok(Reply::Accepted { .. }) | Err(AskError::Unanswered { .. })), "{asked:?}");
    make_room();
    running.stop().await;
    child.kill().await.expect("it runs");
    let (_child, nats) = start(directory.path(), after).await;
    let running = host(directory, &nats).await;
    let bus = Bus::connect(&nats).await.expect("the server is sound");
    if asked.is_ok() {
        all_applied(&bus, [ask.id]).await;
    }
    accepted(&bus, &ask).await;
    bus.hand_over(&last).await.expect("there is room");
    taken.extend([ask.id, last.id]);
    all_applied(&bus, taken.iter().copied()).await;
    assert_eq!(whole(&bus).await.applied.len(), taken.len(), "and nothing else");
    assert_eq!(accepted(&bus, &touch("fresh")).await, Revision(1));
    running.stop().await;
    refusal
}

/// Goal: a full disk loses nothing that was acknowledged. Method: a store on a small file system,
/// filled through the durable inbox until the server refuses; then room, a restart, and a look.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_work_and_loses_none() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let disk = Disk::mount(&directory.path().join("disk"));
    let store = disk.0.join("store");
    let setting =
        format!("jetstream {{ store_dir: {store:?}, sync_interval: always, max_file_store: 10GB }}");
    let refusal = fill_and_mend(&directory, &setting, &setting, || disk.grow()).await;
    println!("the server said: {refusal}");
}

/// What a gateway answers whoever asks whether it is ready.
async fn ready(edge: &Edge) -> (u16, serde_json::Value) {
    edge.get("/ready").await
}

/// Waits until hosts have not renewed their leases for a while.
async fn until_quiet(bus: &Bus) {
    let last = Mutex::new((None, Instant::now()));
    eventually("no renewals for a while", || async {
        let now = bus.leases().await.map(|leases| leases.renewals).ok();
        let mut last = last.lock().expect("nobody panics with it");
        if now != last.0 {
            *last = (now, Instant::now());
        }
        (last.1.elapsed() > QUIET).then_some(())
    })
    .await;
}

/// Goal: whoever asks a gateway whether it is ready learns of a full disk, also at the first question; and
/// that the disk has room again. Method: a store on a small file system that another program fills; a
/// gateway that nobody asks until the host could not renew its leases for a while.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_visible_in_ready() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let disk = Disk::mount(&directory.path().join("disk"));
    let store = disk.0.join("store");
    let setting =
        format!("jetstream {{ store_dir: {store:?}, sync_interval: always, max_file_store: 10GB }}");
    let ports = free_ports().await;
    let (mut child, nats) = start_at(ports, directory.path(), &setting).await;
    let running = host(&directory, &nats).await;
    let bus = Bus::connect(&nats).await.expect("the server is sound");
    let edge = Edge::start(&bus, &directory.path().join("gateway")).await;
    eventually("a gateway that is ready", || async { (ready(&edge).await.0 == 200).then_some(()) }).await;
    let filler = disk.take_all();
    until_quiet(&bus).await;
    let (status, said) = ready(&edge).await;
    assert_eq!((status, &said["ready"]), (503, &false.into()), "{said}");
    let stuck = said["partitions"]["stuck"].as_object().expect("the partitions that do not go on");
    assert!(stuck.len() == 8 && said.to_string().contains("has not renewed its leases"), "{said}");
    std::fs::remove_file(filler).expect("it is there");
    child.kill().await.expect("it runs");
    let (_child, _) = start_at(ports, directory.path(), &setting).await;
    eventually("a gateway that is ready", || async { (ready(&edge).await.0 == 200).then_some(()) }).await;
    accepted(&bus, &touch("fresh")).await;
    edge.stop().await;
    running.stop().await;
}

/// Goal: JetStream's storage limit is named by who meets it, and loses nothing. Method: a server with a
/// small limit, filled in the same way; then a restart with a larger one.
#[tokio::test(flavor = "multi_thread")]
async fn a_storage_limit_stops_work_and_loses_none() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = directory.path().join("store");
    let limited = |limit: &str| {
        format!("jetstream {{ store_dir: {store:?}, sync_interval: always, max_file_store: {limit} }}")
    };
    let refusal = fill_and_mend(&directory, &limited("48MB"), &limited("10GB"), || {}).await;
    assert!(matches!(refusal, PublishError::Refused { .. }), "{refusal}");
    assert!(refusal.to_string().contains("resource"), "{refusal}");
}
