//! fanout: derived streams are complete and exact, also after a takeover.

use bus_client::Profile;
use bus_schemas::{Hash, Revision};
use system_tests::{Server, accepted, probe, touch, until_revision};

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
