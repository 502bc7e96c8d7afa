//! What must hold whatever was killed: the logs are chains under rising epochs, each command is
//! applied once, revisions have no gaps, and the event stream is what the logs say.

use std::collections::{BTreeMap, HashMap};

use bus_client::{Bus, EventQuery};
use bus_schemas::record::{CommitRecord, Event, Source};
use bus_schemas::{CommandId, EntityAddress, Hash, LogSequence, Revision};
use futures::TryStreamExt;
use system_tests::eventually;

/// What the logs say.
#[derive(Debug, Default)]
pub struct Logged {
    /// Each entity's events.
    pub events: BTreeMap<String, Vec<Event>>,
    /// How often each asked or handed-over command led to events.
    pub applied: HashMap<CommandId, u32>,
    /// Records of each host, in the order of each log.
    pub writers: Vec<(u16, u64, u64, String)>,
}

/// Reads all logs and asserts what a reader must find in them.
pub async fn logs(bus: &Bus) -> Logged {
    let mut logged = Logged::default();
    let mut chains: HashMap<EntityAddress, (Revision, Hash)> = HashMap::new();
    for partition in bus.topology().all_partitions() {
        let mut records = bus.records_after(partition, LogSequence(0)).await.expect("the log");
        let (mut previous, mut epoch) = (Hash::default(), 0);
        while let Some(entry) = records.try_next().await.expect("a record") {
            let record = CommitRecord::decode(&entry.record).expect("a readable record");
            assert_eq!(record.previous, previous, "the chain of partition {partition} at {}", entry.sequence);
            assert!(record.epoch.0 >= epoch, "partition {partition}: epoch {} after {epoch}", record.epoch);
            (previous, epoch) = (Hash::of(&entry.record), record.epoch.0);
            logged.writers.push((partition.0, entry.sequence.0, epoch, record.host.to_string()));
            for turn in &record.turns {
                if matches!(turn.source, Source::Ask | Source::Inbox(_)) && !turn.events.is_empty() {
                    *logged.applied.entry(turn.command.id).or_default() += 1;
                }
                for event in &turn.events {
                    let (revision, hash) = chains.entry(turn.entity.clone()).or_default();
                    assert_eq!(event.revision, revision.next(), "a gap in `{}`", turn.entity);
                    let link = hash.link(event.revision, &event.event_type, event.schema, &event.body);
                    assert_eq!(event.hash, link, "the chain of `{}`", turn.entity);
                    (*revision, *hash) = (event.revision, event.hash);
                    logged.events.entry(turn.entity.to_string()).or_default().push(event.clone());
                }
            }
        }
    }
    let twice: Vec<_> = logged.applied.iter().filter(|(_, times)| **times != 1).collect();
    assert!(twice.is_empty(), "applied more than once: {twice:?}");
    logged
}

/// Waits until the event stream is complete, and asserts that it is what the logs say.
pub async fn whole(bus: &Bus) -> Logged {
    let mut logged = logs(bus).await;
    eventually("the event stream to be complete", || async {
        let mut streamed: BTreeMap<String, Vec<Event>> = BTreeMap::new();
        let mut events = bus.events_until_now(EventQuery::default()).await.ok()?;
        while let Some(stored) = events.try_next().await.expect("a readable event") {
            streamed.entry(stored.entity.to_string()).or_default().push(stored.event);
        }
        (streamed == logged.events).then_some(())
    })
    .await;
    let again = logs(bus).await;
    logged.writers = again.writers;
    logged
}
