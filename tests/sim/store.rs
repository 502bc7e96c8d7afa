//! JetStream in memory: logs, event stream, inbox, dead letters, snapshots.
//!
//! Only what the flow relies on: an append may expect the last sequence, a batch the last mark, ids
//! are remembered for the duplicate window.

use std::collections::BTreeMap;

use bus_client::events::{Cursor, Mark};
use bus_schemas::record::{CommitRecord, Event};
use bus_schemas::topology::DUPLICATE_WINDOW_MS;
use bus_schemas::{Body, CommandId, EntityAddress, Hash, LogSequence, PartitionId, Revision};
use bytes::Bytes;
use smol_str::SmolStr;

/// The kinds whose events hosts and workers follow.
const FOLLOWED: [&str; 2] = ["halt", "breaker"];

/// An event on its way into the event stream.
#[derive(Debug, Clone, PartialEq)]
pub struct OutgoingEvent {
    /// Where in the log it stands.
    pub cursor: Cursor,
    /// Whose event.
    pub entity: EntityAddress,
    /// The event.
    pub event: Event,
    /// What everything caused by one request shares.
    pub correlation: CommandId,
}

/// An event in the event stream.
#[derive(Debug, Clone)]
pub struct StoredEvent {
    /// Its place in the stream; marks take places too.
    pub stream_sequence: u64,
    /// The event.
    pub event: Event,
    /// What everything caused by one request shares.
    pub correlation: CommandId,
}

/// A durable command.
#[derive(Debug, Clone)]
pub struct StoredCommand {
    /// Its stream sequence.
    pub sequence: u64,
    /// The partition that reads it.
    pub partition: PartitionId,
    /// The subject that it was stored under.
    pub subject: String,
    /// Its id.
    pub id: CommandId,
    /// Its body.
    pub body: Body,
}

/// Everything that survives hosts.
#[derive(Debug, Default)]
pub struct Store {
    logs: BTreeMap<PartitionId, Vec<Bytes>>,
    /// How many places of the event stream are taken.
    stream_length: u64,
    marks: BTreeMap<PartitionId, Mark>,
    events: BTreeMap<EntityAddress, Vec<StoredEvent>>,
    /// The events of halts and breakers, in the order of the stream: hosts and workers follow them.
    pub followed: Vec<(EntityAddress, Event)>,
    /// The durable inbox, oldest first, without what was trimmed.
    pub inbox: Vec<StoredCommand>,
    inbox_last: u64,
    inbox_ids: BTreeMap<CommandId, u64>,
    /// Dead letters by entry.
    pub dead: BTreeMap<SmolStr, Bytes>,
    /// Bodies that are too large for a record.
    blobs: BTreeMap<Hash, Bytes>,
    /// Snapshots of partitions and entities by name.
    pub snapshots: BTreeMap<String, Bytes>,
}

impl Store {
    /// Appends a record; the last sequence where that is not the expected one.
    pub fn append(
        &mut self,
        partition: PartitionId,
        expected: Option<LogSequence>,
        bytes: Bytes,
    ) -> Result<LogSequence, LogSequence> {
        let log = self.logs.entry(partition).or_default();
        let last = LogSequence(log.len() as u64);
        if expected.is_some_and(|expected| expected != last) {
            return Err(last);
        }
        log.push(bytes);
        Ok(last.next())
    }
    /// Keeps a body beside the log.
    pub fn put_body(&mut self, bytes: &Bytes) {
        self.blobs.insert(Hash::of(bytes), bytes.clone());
    }
    /// Reads a record, with the bodies that are kept beside the log in their places.
    pub fn read_record(&self, bytes: &[u8]) -> Result<CommitRecord, String> {
        let mut record = CommitRecord::decode(bytes).map_err(|error| error.to_string())?;
        for detached in record.detached.clone() {
            let body = self.blobs.get(&detached.hash).ok_or_else(|| format!("no blob {}", detached.hash))?;
            record.attach(&detached, body.clone()).map_err(|error| error.to_string())?;
        }
        Ok(record)
    }
    /// The last record.
    pub fn last_record(&self, partition: PartitionId) -> Option<(LogSequence, &Bytes)> {
        let log = self.logs.get(&partition)?;
        log.last().map(|bytes| (LogSequence(log.len() as u64), bytes))
    }
    /// The records from `first` on.
    pub fn records_from(&self, partition: PartitionId, first: u64) -> Vec<(LogSequence, Bytes)> {
        let log = self.logs.get(&partition).map_or(&[][..], Vec::as_slice);
        let rows = log.iter().zip(1..).skip(first.saturating_sub(1) as usize);
        rows.map(|(bytes, sequence)| (LogSequence(sequence), bytes.clone())).collect()
    }
    /// One record.
    pub fn record(&self, partition: PartitionId, sequence: LogSequence) -> Option<&Bytes> {
        self.logs.get(&partition)?.get(usize::try_from(sequence.0).ok()?.checked_sub(1)?)
    }
    /// How far a partition's events are in the stream.
    pub fn mark(&self, partition: PartitionId) -> Mark {
        self.marks.get(&partition).copied().unwrap_or_default()
    }
    /// Stores a mark with the events that it covers, if `expected` is the last mark's place.
    pub fn publish_events(
        &mut self,
        partition: PartitionId,
        expected: Option<u64>,
        upto: LogSequence,
        partial: u32,
        events: Vec<OutgoingEvent>,
    ) -> Result<Mark, Mark> {
        let last = self.mark(partition);
        if expected.is_some_and(|expected| expected != last.sequence) {
            return Err(last);
        }
        // The server checks each first event against the stream before the batch.
        let begins = |event: &OutgoingEvent| event.event.revision == Revision(1);
        if events.iter().any(|event| begins(event) && self.events.contains_key(&event.entity)) {
            return Err(last);
        }
        self.stream_length += 1;
        let mark = Mark { sequence: self.stream_length, upto, partial };
        self.marks.insert(partition, mark);
        for OutgoingEvent { entity, event, correlation, .. } in events {
            self.stream_length += 1;
            if FOLLOWED.contains(&entity.kind.as_str()) {
                self.followed.push((entity.clone(), event.clone()));
            }
            let stored = StoredEvent { stream_sequence: self.stream_length, event, correlation };
            self.events.entry(entity).or_default().push(stored);
        }
        Ok(mark)
    }
    /// An entity's events after `after`, looked for from a place of the stream on, as
    /// `Bus::history` finds them.
    pub fn history(&self, entity: &EntityAddress, after: Revision, from: u64) -> Vec<StoredEvent> {
        let Some(stored) = self.events.get(entity) else { return Vec::new() };
        let Some(last) = stored.last() else { return Vec::new() };
        if last.event.revision <= after {
            return Vec::new();
        }
        if last.event.revision == after.next() {
            return vec![last.clone()];
        }
        let found = stored.iter().filter(|stored| stored.stream_sequence >= from);
        found.filter(|stored| stored.event.revision > after).cloned().collect()
    }
    /// The revision and hash of an entity's last event.
    pub fn last_event(&self, entity: &EntityAddress) -> Option<(Revision, Hash)> {
        let last = self.events.get(entity)?.last()?;
        Some((last.event.revision, last.event.hash))
    }
    /// Whether an event with this hash is in the stream.
    pub fn holds_event(&self, entity: &EntityAddress, hash: Hash) -> bool {
        self.events.get(entity).is_some_and(|events| events.iter().any(|stored| stored.event.hash == hash))
    }
    /// Stores a durable command; false when its id was seen within the duplicate window.
    pub fn hand_over(
        &mut self,
        now: u64,
        partition: PartitionId,
        subject: String,
        id: CommandId,
        body: Body,
    ) -> bool {
        if self.inbox_ids.get(&id).is_some_and(|at| now < at + DUPLICATE_WINDOW_MS) {
            return false;
        }
        self.inbox_ids.insert(id, now);
        self.inbox_last += 1;
        self.inbox.push(StoredCommand { sequence: self.inbox_last, partition, subject, id, body });
        true
    }
    /// Deletes the durable commands of a partition up to `upto`, and returns them.
    pub fn trim(&mut self, partition: PartitionId, upto: u64) -> Vec<StoredCommand> {
        let trimmed = |command: &StoredCommand| command.partition == partition && command.sequence <= upto;
        let gone = self.inbox.iter().filter(|command| trimmed(command)).cloned().collect();
        self.inbox.retain(|command| !trimmed(command));
        gone
    }
}
