//! What must hold whatever was killed: the logs are chains under rising epochs, each command is
//! applied once, revisions have no gaps, and the event stream is what the logs say.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bus_client::{Bus, EventQuery};
use bus_schemas::record::{CommitRecord, Event, Source, Turn};
use bus_schemas::{CommandId, EntityAddress, Hash, LogSequence, PartitionId, Revision};
use futures::TryStreamExt;

use crate::eventually;

/// The pause between two looks at everything: each makes a consumer for each log, and a server has a
/// bound on them.
const LOOK: Duration = Duration::from_millis(500);

/// Who wrote a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Whose log.
    pub partition: PartitionId,
    /// The record.
    pub sequence: LogSequence,
    /// How often the partition was taken over.
    pub epoch: u64,
    /// The host.
    pub host: String,
}

/// What the logs say.
#[derive(Debug, Default)]
pub struct Logged {
    /// Each entity's events.
    pub events: BTreeMap<String, Vec<Event>>,
    /// How often each asked or handed-over command led to events.
    pub applied: HashMap<CommandId, u32>,
    /// The writer of each record, in the order of each log.
    pub written: Vec<Written>,
    chains: HashMap<EntityAddress, (Revision, Hash)>,
}

impl Logged {
    /// How often a log went from one host to another.
    pub fn handed_on(&self) -> usize {
        let pairs = self.written.windows(2);
        pairs.filter(|pair| pair[0].partition == pair[1].partition && pair[0].host != pair[1].host).count()
    }

    /// Asserts that a host writes only under an epoch of its own.
    pub fn assert_fenced(&self) {
        for pair in self.written.windows(2) {
            let ([before, after], same) = ([&pair[0], &pair[1]], pair[0].partition == pair[1].partition);
            if same && before.host != after.host {
                assert!(after.epoch > before.epoch, "a former owner wrote: {before:?}, then {after:?}");
            }
        }
    }

    fn take(&mut self, turn: &Turn) {
        if matches!(turn.source, Source::Ask | Source::Inbox(_)) && !turn.events.is_empty() {
            *self.applied.entry(turn.command.id).or_default() += 1;
        }
        for event in &turn.events {
            let (revision, hash) = self.chains.entry(turn.entity.clone()).or_default();
            assert_eq!(event.revision, revision.next(), "a gap in `{}`", turn.entity);
            let link = hash.link(event.revision, &event.event_type, event.schema, &event.body);
            assert_eq!(event.hash, link, "the chain of `{}`", turn.entity);
            (*revision, *hash) = (event.revision, event.hash);
            self.events.entry(turn.entity.to_string()).or_default().push(event.clone());
        }
    }
}

/// Reads all logs and asserts what a reader must find in them.
pub async fn logs(bus: &Bus) -> Logged {
    let mut logged = Logged::default();
    for partition in bus.topology().all_partitions() {
        let mut records = bus.records_after(partition, LogSequence(0)).await.expect("the log");
        let (mut previous, mut epoch) = (Hash::default(), 0);
        while let Some(entry) = records.try_next().await.expect("a record") {
            let (sequence, record) = (entry.sequence, CommitRecord::decode(&entry.record));
            let mut record = record.expect("a readable record");
            bus.attach_blobs(&mut record).await.expect("the bodies that lie beside the log");
            assert_eq!(record.previous, previous, "the chain of partition {partition} at {sequence}");
            assert!(record.epoch.0 >= epoch, "partition {partition}: epoch {} after {epoch}", record.epoch);
            (previous, epoch) = (Hash::of(&entry.record), record.epoch.0);
            logged.written.push(Written { partition, sequence, epoch, host: record.host.to_string() });
            record.turns.iter().for_each(|turn| logged.take(turn));
        }
    }
    let twice: Vec<_> = logged.applied.iter().filter(|(_, times)| **times != 1).collect();
    assert!(twice.is_empty(), "applied more than once: {twice:?}");
    logged
}

/// Waits until the logs are as `wanted`, looking again and again.
pub async fn logs_until(bus: &Bus, what: &str, wanted: impl Fn(&Logged) -> bool) {
    eventually(what, || async {
        tokio::time::sleep(LOOK).await;
        wanted(&logs(bus).await).then_some(())
    })
    .await;
}

/// Waits until every one of these commands is applied: none that was acknowledged may be lost.
pub async fn all_applied(bus: &Bus, acknowledged: impl IntoIterator<Item = CommandId> + Clone) {
    logs_until(bus, "every acknowledged command", |logged| {
        acknowledged.clone().into_iter().all(|id| logged.applied.contains_key(&id))
    })
    .await;
}

/// Waits until the event stream is complete, and asserts that it is what the logs say.
pub async fn whole(bus: &Bus) -> Logged {
    eventually("the event stream to be what the logs say", || async {
        tokio::time::sleep(LOOK).await;
        let logged = logs(bus).await;
        let mut streamed: BTreeMap<String, Vec<Event>> = BTreeMap::new();
        let mut events = bus.events_until_now(EventQuery::default()).await.ok()?;
        while let Some(stored) = events.try_next().await.expect("a readable event") {
            streamed.entry(stored.entity.to_string()).or_default().push(stored.event);
        }
        (streamed == logged.events).then_some(logged)
    })
    .await
}
