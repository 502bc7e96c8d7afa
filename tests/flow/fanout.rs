//! fanout: derived streams are complete and exact, also after a takeover.

use bus_client::Profile;
use bus_schemas::commands::probe::Command;
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
