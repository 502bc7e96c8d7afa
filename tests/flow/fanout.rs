//! fanout: derived streams are complete and exact, also after a takeover.

use std::sync::Arc;

use actors_runtime::fanout::Events;
use actors_runtime::journal::Committed;
use actors_runtime::stuck::Stuck;
use async_nats::jetstream;
use bus_client::Profile;
use bus_schemas::commands::probe::Command;
use bus_schemas::record::CommitRecord;
use bus_schemas::{Hash, Revision};
use system_tests::{Server, accepted, command, eventually, probe, touch, until_revision};

/// Goal: every event appears once, in order, chained. Method: many touches at once, then read.
#[tokio::test(flavor = "multi_thread")]
async fn every_event_appears_once_and_in_order() {
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
    let events = bus.history(&probe("p"), Revision(0), 0).await.unwrap();
    assert_eq!(events.len(), 400);
    let mut hash = Hash::default();
    for (stored, revision) in events.iter().zip(1..) {
        assert_eq!(stored.event.revision, Revision(revision));
        let event = &stored.event;
        hash = hash.link(event.revision, &event.event_type, event.schema, &event.body);
        assert_eq!(event.hash, hash);
    }
    host.stop().await;
}

/// Goal: events that the stream loses while a host publishes to it are in the stream again, and the next mark
/// does not claim that they are there. Method: the stream is emptied between two touches.
#[tokio::test(flavor = "multi_thread")]
async fn events_that_are_lost_while_a_host_runs_are_published_again() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("a", false).await;
    let bus = server.bus().await;
    accepted(&bus, &touch("p")).await;
    until_revision(&bus, &probe("p"), Revision(1)).await;
    let stream = jetstream::new(server.client().await).get_stream("ORRERY_EVENTS").await.expect("the stream");
    stream.purge().await.expect("the server takes it");
    accepted(&bus, &touch("p")).await;
    let events = eventually("both events", || async {
        let events = bus.history(&probe("p"), Revision(0), 0).await.ok()?;
        (events.len() == 2).then_some(events)
    })
    .await;
    assert_eq!(events.iter().map(|stored| stored.event.revision.0).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(accepted(&bus, &touch("p")).await, Revision(3), "the partition goes on");
    until_revision(&bus, &probe("p"), Revision(3)).await;
    host.stop().await;
}

/// Goal: on an event stream of another history a partition does not begin, and says what to do: its events
/// would count as published. Method: a mark beyond the log; a host; then the stream without it.
#[tokio::test(flavor = "multi_thread")]
async fn a_mark_beyond_the_log_stops_its_partition_and_is_named() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("a", false).await;
    accepted(host.bus(), &touch("p")).await;
    host.stop().await;
    let (bus, partition) = (server.bus().await, probe("p").partition(8));
    let context = jetstream::new(server.client().await);
    let stored = context.publish(bus.subjects().mark(partition), "999999.0".into()).await;
    stored.expect("it is sent").await.expect("it is stored");
    let host = server.host_unready("b", false).await;
    let named = eventually("the partition to be named", || async {
        bus.leases().await.ok()?.stuck().remove(&partition)
    })
    .await;
    assert!(named.contains("999999") && named.contains("orrery rebuild events"), "{named}");
    let stream = context.get_stream("ORRERY_EVENTS").await.expect("the stream");
    stream.purge().await.expect("the server takes it");
    assert_eq!(accepted(&bus, &touch("p")).await, Revision(2));
    until_revision(&bus, &probe("p"), Revision(2)).await;
    host.stop().await;
}

/// Goal: a takeover reads little, also where commands lead to no events for a long time. Method: many
/// timers, each its own record; the mark must follow.
#[tokio::test(flavor = "multi_thread")]
async fn the_mark_follows_records_without_events() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("a", false).await;
    let partition = probe("p").partition(8);
    for _ in 0..1_200 {
        accepted(host.bus(), &command("p", &Command::TouchLater { after_ms: 3_600_000 })).await;
    }
    eventually("the mark to follow", || async {
        let mark = host.bus().mark(partition).await.ok()?;
        (mark.upto.0 > 1_000).then_some(())
    })
    .await;
    accepted(host.bus(), &touch("p")).await;
    until_revision(host.bus(), &probe("p"), Revision(1)).await;
    host.stop().await;
}

/// Goal: a publish that was stored although its answer was lost leaves no stage that seems stuck. Method: the events
/// of a record once more, from the mark before them.
#[tokio::test(flavor = "multi_thread")]
async fn events_that_are_there_already_are_not_waited_for() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("a", false).await;
    let (bus, partition) = (host.bus().clone(), probe("p").partition(8));
    let mark = bus.mark(partition).await.expect("a mark");
    accepted(&bus, &touch("p")).await;
    until_revision(&bus, &probe("p"), Revision(1)).await;
    host.stop().await;
    let end = bus.log_end(partition).await.expect("a log").record.expect("a record");
    let record = CommitRecord::decode(&end.record).expect("a record");
    let records = [Arc::new(Committed { sequence: end.sequence, record, group: 0 })];
    let stuck = Stuck::default();
    let mut late = Events::new(bus.clone(), partition, mark, &stuck);
    late.publish(&records).await;
    assert!(stuck.is_empty(), "nothing is left to publish");
    assert_eq!(bus.history(&probe("p"), Revision(0), 0).await.expect("the events").len(), 1);
}
