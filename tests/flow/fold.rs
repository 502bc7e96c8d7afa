//! fold: entities leave memory and come back as they were; history that cannot be read stops its
//! own entity only.

use std::sync::Arc;

use actors_runtime::core::Settings;
use actors_runtime::state::PartitionState;
use actors_runtime::{fold, partition, takeover};
use bus_client::{Bus, Profile};
use bus_schemas::commands::task;
use bus_schemas::{EntityAddress, Hash, PartitionId, Reply, Revision};
use serde_json::json;
use system_tests::raw::{Raw, dead_letter};
use system_tests::{PATIENCE, Server, accepted, command, eventually, probe, refused, touch, until_revision};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

/// A partition that keeps two entities in memory.
async fn forgetful(bus: &Bus, partition: PartitionId) -> (CancellationToken, tokio::task::JoinHandle<()>) {
    let registry = Arc::new(actors_logic::registry());
    let settings = Settings { cache_entities_max: 2, ..Settings::new(partition, 8, "forgetful", 1 << 19) };
    let (stop, bus) = (CancellationToken::new(), bus.clone());
    let (up, serving) = oneshot::channel();
    let stopped = stop.clone();
    let running = tokio::spawn(async move {
        let ended = partition::run(bus, registry, settings, stopped, || up.send(()).expect("a test waits"));
        ended.await.expect("the partition runs");
    });
    serving.await.expect("the partition begins");
    (stop, running)
}

/// The snapshot of an entity, once it is at least at this revision.
async fn snapshot(bus: &Bus, entity: &EntityAddress, revision: u64) -> fold::EntitySnapshot {
    eventually("a snapshot", || async {
        let bytes = bus.get_snapshot(&fold::snapshot_name(entity)).await.ok()??;
        let snapshot: fold::EntitySnapshot = rmp_serde::from_slice(&bytes).expect("a snapshot");
        (snapshot.revision.0 >= revision).then_some(snapshot)
    })
    .await
}

/// The counts that a probe's events tell, and that they are one chain.
async fn counts(bus: &Bus, entity: &EntityAddress) -> Vec<u64> {
    let mut hash = Hash::default();
    let events = bus.history(entity, Revision(0), 0).await.expect("the events");
    let count = |(stored, revision): (&bus_client::StoredEvent, u64)| {
        let event = &stored.event;
        assert_eq!(event.revision, Revision(revision));
        hash = hash.link(event.revision, &event.event_type, event.schema, &event.body);
        assert_eq!(event.hash, hash, "the chain at revision {revision}");
        serde_json::from_slice::<serde_json::Value>(&event.body).expect("JSON")["count"].as_u64().unwrap()
    };
    events.iter().zip(1..).map(count).collect()
}

/// Goal: memory is bounded, and nobody notices. Method: more probes than the cache holds, touched in
/// turn over several snapshots; then a snapshot is exchanged for one that counts from 1,000, which
/// only an entity that really left memory can have read.
#[tokio::test(flavor = "multi_thread")]
async fn an_evicted_entity_comes_back_as_it_was() {
    let server = Server::start(Profile::Fast).await;
    let bus = server.bus().await;
    let probes: Vec<String> = (0..6).map(|number| format!("p.n{number}")).collect();
    let id = probe("p").partition(8);
    let (stop, running) = forgetful(&bus, id).await;
    for round in 1..=150 {
        let touches = probes.iter().map(|key| touch(key)).collect::<Vec<_>>();
        let asked = touches.iter().map(|ask| accepted(&bus, ask));
        assert_eq!(futures::future::join_all(asked).await, vec![Revision(round); probes.len()]);
    }
    let first = probe(&probes[0]);
    until_revision(&bus, &first, Revision(150)).await;
    let written = snapshot(&bus, &first, 128).await;
    let registry = actors_logic::registry();
    let loaded = fold::load(&bus, &registry, &first).await.unwrap();
    assert_eq!(loaded.snapshot, written.revision, "loading begins at the snapshot");
    let instance = loaded.instance.expect("a whole history");
    assert_eq!((instance.revision(), instance.state()["count"].as_u64()), (Revision(150), Some(150)));
    assert_eq!(counts(&bus, &first).await, (1..=150).collect::<Vec<_>>());

    let state = serde_json::json!({ "count": 1_000 });
    let (revision, hash) = (instance.revision(), instance.hash());
    let exchanged = fold::EntitySnapshot { revision, hash, state, ..written };
    let bytes = rmp_serde::to_vec(&exchanged).unwrap();
    bus.put_snapshot(&fold::snapshot_name(&first), bytes.into()).await.unwrap();
    for key in &probes[1..] {
        accepted(&bus, &touch(key)).await;
        until_revision(&bus, &probe(key), Revision(151)).await;
    }
    accepted(&bus, &touch(&probes[0])).await;
    until_revision(&bus, &first, Revision(151)).await;
    assert_eq!(counts(&bus, &first).await.last(), Some(&1_001));
    stop.cancel();
    running.await.unwrap();
}

/// Goal: an entity that is never quiet gets its snapshots too, else its history is read from the
/// beginning for ever. Method: many callers at once; then load it beside the host.
#[tokio::test(flavor = "multi_thread")]
async fn a_busy_entity_gets_its_snapshots() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("a", false).await;
    let bus = host.bus().clone();
    let callers = (0..8).map(|_| {
        let bus = bus.clone();
        tokio::spawn(async move {
            for _ in 0..50 {
                accepted(&bus, &touch("p")).await;
            }
        })
    });
    for caller in futures::future::join_all(callers).await {
        caller.unwrap();
    }
    until_revision(&bus, &probe("p"), Revision(400)).await;
    let written = snapshot(&bus, &probe("p"), 3 * fold::SNAPSHOT_EVENTS).await;
    let loaded = fold::load(&bus, &actors_logic::registry(), &probe("p")).await.unwrap();
    assert_eq!(loaded.snapshot, written.revision);
    let instance = loaded.instance.expect("a whole history");
    assert_eq!((instance.revision(), instance.state()["count"].as_u64()), (Revision(400), Some(400)));
    host.stop().await;
}

/// Goal: snapshots are a shortcut and nothing else. Method: touches and a known id; then hosts that
/// take over with all snapshots, without those of entities, and without that of the partition.
#[tokio::test(flavor = "multi_thread")]
async fn a_takeover_needs_no_snapshot() {
    let server = Server::start(Profile::Fast).await;
    let (raw, bus) = (Raw::insider(&server).await, server.bus().await);
    let (entity, id) = (probe("p"), probe("p").partition(8));
    let first = server.host("first", false).await;
    let known = touch("p");
    assert_eq!(accepted(first.bus(), &known).await, Revision(1));
    for _ in 1..200 {
        accepted(first.bus(), &touch("p")).await;
    }
    snapshot(&bus, &entity, 128).await;
    first.stop().await;
    let name = takeover::snapshot_name(id);
    assert!(bus.get_named(&name).await.unwrap().is_some(), "a drained partition leaves a snapshot");

    for (number, host) in (1..).zip(["with-all", "without-entities", "without-partition"]) {
        match host {
            "without-entities" => bus.drop_snapshots().await.unwrap(),
            "without-partition" => raw.delete_object(&bus, &name).await,
            _ => {}
        }
        let running = server.host(host, false).await;
        assert_eq!(accepted(running.bus(), &known).await, Revision(1), "{host}: the first answer again");
        assert_eq!(accepted(running.bus(), &touch("p")).await, Revision(200 + number), "{host}");
        running.stop().await;
    }
    assert_eq!(counts(&bus, &entity).await, (1..=203).collect::<Vec<_>>());
}

/// Goal: nothing is skipped when an entity is read: what is unknown, broken or no event at all stops
/// it with a named code, and only it. Method: foreign messages in the event stream, one for each
/// way; asks, and a durable command that must not be lost.
#[tokio::test(flavor = "multi_thread")]
async fn unreadable_history_stops_its_own_entity_only() {
    let server = Server::start(Profile::Fast).await;
    let (raw, bus) = (Raw::insider(&server).await, server.bus().await);
    let touched = r#"{"type":"touched","count":1}"#;
    let cases = [
        ("p.unknown", "enlightened", "1", 1, r#"{"type":"enlightened"}"#, true, "enlightened"),
        ("p.future", "touched", "1", 7, touched, true, "schema version 7"),
        ("p.malformed", "touched", "1", 1, r#"{"type":"touched","#, true, "cannot be read"),
        ("p.broken", "touched", "1", 1, touched, false, "the chain is broken"),
        ("p.gap", "touched", "2", 1, touched, true, "revision 2 follows 0"),
    ];
    // What nobody has seen is not read: their own events make way for others.
    let host = server.host("a", false).await;
    for key in cases.map(|case| case.0).into_iter().chain(["p.stray"]) {
        accepted(&bus, &touch(key)).await;
        until_revision(&bus, &probe(key), Revision(1)).await;
        let last = bus.events_state().await.unwrap().last_sequence;
        bus.trim_events(&probe(key), last + 1).await.unwrap();
    }
    host.stop().await;
    for (key, event_type, revision, schema, body, linked, _) in cases {
        let hash = Hash::default().link(Revision(1), event_type, schema, body.as_bytes());
        let hash = if linked { hash } else { Hash::default() };
        let headers = [
            ("ce-type", &*format!("orrery.probe.{event_type}")),
            ("Orrery-Revision", revision),
            ("Orrery-Schema", &schema.to_string()),
            ("Orrery-Hash", &hash.to_hex()),
            ("Orrery-Cursor", "0.1.0"),
        ];
        raw.store(&format!("orrery.evt.probe.{key}"), &headers, body).await.expect("it is stored");
    }
    raw.store("orrery.evt.probe.p.stray", &[], "hello").await.expect("it is stored");

    let host = server.host("b", false).await;
    for key in cases.map(|case| case.0).into_iter().chain(["p.stray"]) {
        assert_eq!(refused(&bus, &touch(key)).await, "entity-stopped", "{key}");
    }
    assert_eq!(accepted(&bus, &touch("p.good")).await, Revision(1), "the partition goes on");
    for (key, .., reason) in cases {
        let command = touch(key);
        bus.hand_over(&command).await.unwrap();
        let letter = dead_letter(&bus, command.id).await;
        assert_eq!((letter.class.as_str(), letter.key.as_str()), ("entity-stopped", key));
        assert!(letter.reason.contains(reason), "{key}: {}", letter.reason);
    }
    host.stop().await;
}

/// Goal: an entity that begins although the event stream has events of it holds nobody up. Method: a message
/// under the subject of a probe that nobody has touched; then touches, whose events must all come out, and
/// another host.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_in_the_place_of_a_new_entity_holds_nobody_up() {
    let server = Server::start(Profile::Fast).await;
    let (raw, bus) = (Raw::insider(&server).await, server.bus().await);
    raw.store("orrery.evt.probe.p.taken", &[], "hello").await.expect("it is stored");
    let host = server.host("a", false).await;
    for key in ["p.taken", "p.free", "p.later"] {
        assert_eq!(accepted(&bus, &touch(key)).await, Revision(1), "{key}");
    }
    for key in ["p.taken", "p.free", "p.later"] {
        until_revision(&bus, &probe(key), Revision(1)).await;
    }
    host.stop().await;
    let host = server.host("b", false).await;
    assert_eq!(accepted(&bus, &touch("p.taken")).await, Revision(2));
    assert_eq!(accepted(&bus, &touch("p.free")).await, Revision(2));
    host.stop().await;
}

/// Goal: an entity that nobody has seen costs no read, also after another host took over, and one that was
/// seen is read. Method: touches, another host without a snapshot, a look into what it keeps.
#[tokio::test(flavor = "multi_thread")]
async fn a_successor_knows_what_is_new() {
    let server = Server::start(Profile::Fast).await;
    let (raw, bus) = (Raw::insider(&server).await, server.bus().await);
    let id = probe("p").partition(8);
    for (round, host) in (1..).zip(["a", "b", "c"]) {
        let running = server.host(host, false).await;
        assert_eq!(accepted(&bus, &touch("p")).await, Revision(round), "{host}");
        assert_eq!(accepted(&bus, &touch(&format!("p.n{round}"))).await, Revision(1), "{host}");
        running.stop().await;
        let stored = bus.get_named(&takeover::snapshot_name(id)).await.unwrap().expect("a snapshot");
        let seen = PartitionState::decode(&stored).expect("a state").seen;
        assert_eq!(seen.len() as u64, round + 1, "{host}");
        assert!(!seen.is_new(&probe("p")) && !seen.is_new(&probe(&format!("p.n{round}"))));
        assert!(seen.is_new(&probe("p.never")));
        if host == "a" {
            raw.delete_object(&bus, &takeover::snapshot_name(id)).await;
        }
    }
}

/// Goal: a snapshot that no message holds brings its entity back, as an archived task with many answers needs
/// it. Method: one of nine megabytes, more than the server takes, in the place of a probe's own.
#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_larger_than_a_message_is_kept() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("a", false).await;
    let bus = host.bus();
    for _ in 0..3 {
        accepted(bus, &touch("p")).await;
    }
    until_revision(bus, &probe("p"), Revision(3)).await;
    let registry = actors_logic::registry();
    let instance = fold::load(bus, &registry, &probe("p")).await.unwrap().instance.expect("a history");
    let state = json!({ "count": 1_000, "padding": "x".repeat(9 << 20) });
    let (revision, hash) = (instance.revision(), instance.hash());
    let large = fold::EntitySnapshot { revision, hash, events: 0, state, origin: None };
    let bytes = rmp_serde::to_vec(&large).unwrap();
    assert!(bytes.len() > bus.payload_bytes_max());
    bus.put_snapshot(&fold::snapshot_name(&probe("p")), bytes.into()).await.expect("it is stored");
    let loaded = fold::load(bus, &registry, &probe("p")).await.unwrap();
    assert_eq!(loaded.snapshot, Revision(3));
    assert_eq!(loaded.instance.expect("the snapshot").state()["count"].as_u64(), Some(1_000));
    host.stop().await;
}

/// Goal: a snapshot of another history is passed over, and one that is ahead of the event stream stops its
/// entity: its revisions would be given away a second time. Method: both in the place of a probe's own.
#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_of_another_history_is_not_begun_with() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("a", false).await;
    let bus = host.bus();
    for _ in 0..3 {
        accepted(bus, &touch("p")).await;
    }
    until_revision(bus, &probe("p"), Revision(3)).await;
    let registry = actors_logic::registry();
    let put = async |revision, hash| {
        let state = json!({ "count": 1_000 });
        let snapshot = fold::EntitySnapshot { revision, hash, events: 0, state, origin: None };
        let bytes = rmp_serde::to_vec(&snapshot).unwrap();
        bus.put_snapshot(&fold::snapshot_name(&probe("p")), bytes.into()).await.expect("it is stored");
        fold::load(bus, &registry, &probe("p")).await.unwrap().instance
    };
    let other = put(Revision(3), Hash::of(b"another")).await.expect("its events");
    assert_eq!(other.state()["count"].as_u64(), Some(3));
    let ahead = put(Revision(4), Hash::of(b"another")).await.err().expect("it stops");
    assert!(ahead.reason.contains("revision 4") && ahead.reason.contains("ends at 3"), "{}", ahead.reason);
    host.stop().await;
}

/// Goal: what was folded is what was decided, to the last bit and at every depth that is accepted.
/// Method: numbers with many digits and the deepest input; another host reads the task and is told
/// the same again.
#[tokio::test(flavor = "multi_thread")]
async fn numbers_and_nesting_survive_their_host() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("a", false).await;
    let numbers: Vec<f64> = (1..500).map(|n| f64::from(n).sqrt() * 10f64.powi(n % 40 - 20)).collect();
    // The command itself is the first of 64 levels.
    let deep = (0..62).fold(json!([]), |inner, _| json!([inner]));
    let mut submission = task::Submit::new("keep this");
    submission.input = json!({ "numbers": numbers });
    let mut nested = submission.clone();
    nested.input = deep;
    let submit =
        |key: &str, submission: &task::Submit| command(key, &task::Command::Submit(submission.clone()));
    for (key, submission) in [("numbers", &submission), ("nested", &nested)] {
        accepted(host.bus(), &submit(key, submission)).await;
    }
    let mut deeper = nested.clone();
    deeper.input = json!([nested.input]);
    assert_eq!(refused(host.bus(), &submit("deeper", &deeper)).await, "malformed-command");
    host.stop().await;
    let host = server.host("b", false).await;
    for (key, submission) in [("numbers", &submission), ("nested", &nested)] {
        let again = host.bus().ask(&submit(key, submission), PATIENCE).await.expect("an answer");
        assert!(matches!(again, Reply::Accepted { events: 0, .. }), "{key}: {again:?}");
    }
    host.stop().await;
}
