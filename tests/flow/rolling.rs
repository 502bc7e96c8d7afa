//! lease, across versions: two hosts of adjacent schema versions over one server, with work in flight.
//!
//! The older program is the one that is shipped. The newer one knows `probe` in a later version: an
//! event with a field that must be there and a step that lifts older ones, and a command with a field
//! that the older program refuses.

mod newer;

use std::sync::Arc;
use std::time::Duration;

use actors_core::Registry;
use actors_host::{Config, StartError};
use actors_runtime::core::{Core, Moment, Settings};
use actors_runtime::fold;
use actors_runtime::inbox::Item;
use actors_runtime::lease::Placement;
use actors_runtime::supervision::{Intensity, Supervisor};
use bus_client::{AskError, Bus, Profile};
use bus_schemas::commands::task::{Command as Task, Submit};
use bus_schemas::events::task::Event as TaskEvent;
use bus_schemas::record::{self, Mail};
use bus_schemas::{Body, CommandId, EntityAddress, LogSequence, PartitionId, Revision, Timestamp};
use system_tests::agents::{GATE, Gate, Seen, settled};
use system_tests::check::{Logged, all_applied, whole};
use system_tests::load::{KEYS, Load, Random, kept};
use system_tests::{Server, accepted, command, eventually, probe, touch, until_held};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Every partition of a test's installation.
const PARTITIONS: usize = 8;
/// Callers that ask and hand over.
const CALLERS: usize = 8;
/// How long a caller waits who wants to hear soon.
const SHORT: Duration = Duration::from_secs(3);

/// A host with the newer program.
struct Newer {
    stop: CancellationToken,
    placement: JoinHandle<Result<(), bus_client::Error>>,
    supervisor: Supervisor,
}

fn newer_registry() -> Registry {
    actors_logic::registry().with::<newer::Probe>()
}

impl Newer {
    async fn start(server: &Server, name: &str) -> Self {
        let intensity = Intensity { failures: 64, within: Duration::from_secs(60) };
        let supervisor = Supervisor::root("newer", intensity).await.expect("a supervisor");
        let (stop, registry) = (CancellationToken::new(), Arc::new(newer_registry()));
        let serving = Arc::new(watch::channel(0).0);
        let placement = Placement::new(server.bus().await, registry, name, supervisor.clone(), serving);
        let placement = tokio::spawn(placement.run(stop.clone()));
        Self { stop, placement, supervisor }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.placement.await.expect("a placement does not panic").expect("it ends in good order");
        self.supervisor.shutdown(SHORT).await;
    }
}

/// The older program on a server, whether or not it can serve.
async fn older(server: &Server, name: &str) -> actors_host::Running {
    let config = Config {
        data_dir: server.directory().join(name),
        nats: server.config(),
        host_name: Some(name.to_owned()),
        agents: false,
        ..Config::default()
    };
    actors_host::start(&config, Vec::new()).await.expect("the host starts")
}

/// Weights of a probe as the newer program reads its history.
async fn weight(bus: &Bus, entity: &EntityAddress) -> u64 {
    let loaded = fold::load(bus, &newer_registry(), entity).await.expect("the bus answers");
    let instance = loaded.instance.unwrap_or_else(|stopped| panic!("`{entity}`: {}", stopped.reason));
    instance.state()["weight"].as_u64().expect("the newer state has it")
}

async fn assert_no_dead_letters(bus: &Bus) {
    let dead = bus.totals(&bus.topology().dead()).await.expect("the server answers").expect("the stream");
    assert_eq!(dead.last_sequence, 0, "nothing became a dead letter");
}

/// Asserts that every event of a newer version lies behind the last record of the older host.
fn assert_not_written_behind(logged: &Logged, host: &str, partitions: &[PartitionId]) {
    let written: Vec<_> = logged
        .written
        .iter()
        .filter(|written| written.host == host && partitions.contains(&written.partition))
        .collect();
    assert!(written.is_empty(), "`{host}` wrote to a log that it cannot read: {written:?}");
}

/// Goal: a newer version replaces an older one while callers ask and tasks run; nothing is lost or
/// done twice, no entity stops, and a command that only the newer one knows never becomes a dead
/// letter of the older one. Method: the newer host joins under load; from the moment at which it holds
/// its first partition callers use the new field, and entities send it to partitions that the older
/// host may still be giving away.
#[tokio::test(flavor = "multi_thread")]
async fn a_newer_version_replaces_an_older_one_under_load() {
    let server = Server::start(Profile::Fast).await;
    let old = server.host("old", false).await;
    let bus = server.bus().await;
    let mut gate = Gate::start(&bus);
    for key in 0..8 {
        let submit = Task::Submit(Submit { skill: GATE.into(), ..Submit::new("wait") });
        accepted(&bus, &command(&format!("t{key}"), &submit)).await;
        gate.until(&format!("t{key}"), Seen::Started).await;
        accepted(&bus, &touch(&format!("w{key}"))).await;
    }
    let load = Load::start(&server.config(), CALLERS, &mut Random(7)).await;
    load.all_go_on("on the older version").await;

    let new = Newer::start(&server, "new").await;
    eventually("the newer host's first partition", || async {
        let leases = bus.leases().await.ok()?;
        leases.holders.values().any(|holder| holder == "new").then_some(())
    })
    .await;
    let asks = (0..8).map(|key| {
        let bus = bus.clone();
        async move {
            let to = format!("w{}", (key + 3) % 8);
            let forward = command(&format!("w{key}"), &newer::Command::forward(&to, 100));
            accepted(&bus, &forward).await;
            accepted(&bus, &command(&format!("w{key}"), &newer::Command::touch(10))).await;
        }
    });
    futures::future::join_all(asks).await;
    until_held(&bus, "new", PARTITIONS).await;
    load.all_go_on("on the newer version").await;
    old.stop().await;
    gate.open();
    for key in 0..8 {
        assert!(matches!(settled(&bus, &format!("t{key}")).await, TaskEvent::Completed { .. }));
    }
    load.all_go_on("without the older version").await;
    let acknowledged = load.end().await;
    let logged = kept(&bus, &acknowledged).await;
    assert!(logged.handed_on() >= PARTITIONS, "every partition went to the newer host");
    for key in 0..8 {
        let entity = probe(&format!("w{key}"));
        eventually(&format!("the mail for {entity}"), || async {
            // Touched once before, once by its own forward, by 10, and by a mail of 100.
            (weight(&bus, &entity).await == 112).then_some(())
        })
        .await;
    }
    for key in 0..KEYS {
        weight(&bus, &probe(&format!("p{key}"))).await;
    }
    assert_no_dead_letters(&bus).await;
    gate.stop().await;
    new.stop().await;
}

/// Goal: mail that only a newer program understands is never decided while such a program is there.
/// Method: the loop's decisions without I/O, with and without a newer host.
#[test]
fn what_only_a_newer_program_understands_is_left_for_it() {
    let (entity, now) = (probe("a"), Moment { now: Timestamp(1), steady: 1 });
    let settings = Settings::new(entity.partition(PARTITIONS as u16), PARTITIONS as u16, "old", 1 << 19);
    let registry = Arc::new(actors_logic::registry());
    let mut core = Core::new(settings.clone(), Arc::clone(&registry), None);
    core.take_over(now);
    core.committed(LogSequence(1)).expect("the takeover record was in flight");
    let id = CommandId::from_text("a mail");
    let body = Body::json(&newer::Command::touch(10));
    let command =
        record::Command { id, body, cause: None, correlation: id, trace: None, caller: None, settles: false };
    let sender = PartitionId((settings.partition.0 + 1) % PARTITIONS as u16);
    let mail = Mail { partition: settings.partition, number: 1, to: entity.clone(), command };
    core.offer(Item::from_mail(sender, mail));
    let instance = Ok(registry.make(&entity.kind).expect("a known kind"));
    core.loaded(entity, fold::Loaded { instance, snapshot: Revision(0) });

    settings.newest.set(true);
    core.decide_waiting(now);
    assert!(core.close_group(now.now).is_none(), "nothing was decided");
    assert!(core.is_idle() && core.waiting() == 1, "a drain does not wait for it");
    assert_eq!(core.mail_committed(sender), 0, "its sender keeps it");

    settings.newest.set(false);
    core.decide_waiting(now);
    core.close_group(now.now).expect("it was decided");
    let record = core.committed(LogSequence(2)).expect("a record was in flight").record;
    let dead = record.turns[0].dead.as_ref().expect("nobody understands it");
    assert_eq!(dead.class, "malformed-command");
}

/// Goal: an older version that is all there is leaves alone what a newer one wrote, says so, serves
/// the rest, and everything goes on when the newer one is back. Method: one partition has events of
/// the newer version; the older host is started after the newer one has ended, and asked.
#[tokio::test(flavor = "multi_thread")]
async fn an_older_version_leaves_what_it_can_not_read() {
    let server = Server::start(Profile::Fast).await;
    let bus = server.bus().await;
    let new = Newer::start(&server, "new").await;
    accepted(&bus, &command("a", &newer::Command::touch(10))).await;
    accepted(&bus, &command("a", &newer::Command::TouchLater { after_ms: 1 })).await;
    let theirs = probe("a").partition(PARTITIONS as u16);
    new.stop().await;

    let old = older(&server, "old").await;
    match old.ready().await.expect_err("a partition has no owner") {
        StartError::Outdated { partition, reason } => {
            assert_eq!(partition, theirs);
            assert!(reason.contains("`probe` events of schema version 2"), "{reason}");
        }
        other => panic!("{other}"),
    }
    until_held(&bus, "old", PARTITIONS - 1).await;
    let said = bus.leases().await.expect("the server answers").presences.remove("old").expect("it is there");
    assert_eq!(said.leaves.into_keys().collect::<Vec<_>>(), [theirs]);
    let elsewhere = (0..).map(|n| format!("b{n}")).find(|key| probe(key).partition(8) != theirs);
    let elsewhere = elsewhere.expect("keys are spread");
    assert_eq!(accepted(&bus, &touch(&elsewhere)).await, Revision(1), "the rest is served");
    let (ask, durable) = (touch("a"), touch("a"));
    bus.hand_over(&durable).await.expect("the inbox takes it");
    let unanswered = bus.ask(&ask, SHORT).await.expect_err("nobody serves it");
    assert!(matches!(unanswered, AskError::Unanswered { .. }), "{unanswered}");

    let new = Newer::start(&server, "new").await;
    until_held(&bus, "new", PARTITIONS).await;
    accepted(&bus, &ask).await;
    all_applied(&bus, [ask.id, durable.id]).await;
    let entity = probe("a");
    eventually("the timer that was set before", || async {
        (weight(&bus, &entity).await == 13).then_some(())
    })
    .await;
    assert_not_written_behind(&whole(&bus).await, "old", &[theirs]);
    assert_no_dead_letters(&bus).await;
    old.stop().await;
    new.stop().await;
}

/// Goal: going back to an older version under load loses nothing either: what it cannot read waits.
/// Method: a newer host serves all, an older one stands by; the newer one ends under load and comes
/// back when the older one has said that it leaves everything.
#[tokio::test(flavor = "multi_thread")]
async fn work_waits_for_the_newer_version_and_goes_on() {
    let server = Server::start(Profile::Fast).await;
    let bus = server.bus().await;
    let new = Newer::start(&server, "new").await;
    let load = Load::start(&server.config(), CALLERS, &mut Random(11)).await;
    load.go_on("on the newer version").await;
    let old = older(&server, "old").await;
    old.ready().await.expect("the newer host serves");
    load.go_on("beside an older version").await;
    until_held(&bus, "new", PARTITIONS).await;
    new.stop().await;
    eventually("the older host to leave everything", || async {
        let leases = bus.leases().await.ok()?;
        (leases.presences.get("old")?.leaves.len() == PARTITIONS).then_some(())
    })
    .await;
    let new = Newer::start(&server, "new").await;
    load.all_go_on("on the newer version again").await;
    let acknowledged = load.end().await;
    let logged = kept(&bus, &acknowledged).await;
    let all: Vec<PartitionId> = bus.topology().all_partitions().collect();
    assert_not_written_behind(&logged, "old", &all);
    assert_no_dead_letters(&bus).await;
    old.stop().await;
    new.stop().await;
}
