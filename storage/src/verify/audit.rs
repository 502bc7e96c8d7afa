//! The audit: compares everything derived from the logs with them.
//!
//! Four passes: the marks (how far the event stream must reach), the snapshots, the event stream, the logs.
//! Hash chains cover content, so an entity whose last revision and hash agree has equal events, and memory
//! holds one link of each entity. What is written meanwhile lies behind the marks and is not checked.

use std::collections::{BTreeMap, HashMap, HashSet};

use actors_runtime::fold::EntitySnapshot;
use actors_runtime::state::PartitionState;
use actors_runtime::takeover;
use bus_client::events::Cursor;
use bus_client::log::LogEntry;
use bus_client::{Bus, EventQuery, StoredEvent};
use bus_schemas::record::{CommitRecord, Event, Source};
use bus_schemas::{EntityAddress, Hash, LogSequence, PartitionId, Revision, chain};
use futures::StreamExt;

use super::{Finding, Summary};
use crate::Progress;
use crate::archive::{self, Archive};
use crate::history::{Error, records};

/// Findings that are printed; the rest are only counted.
const FINDINGS_TOLD_MAX: u64 = 20;

/// Audits everything, or one entity, and reports the findings.
pub async fn audit(
    bus: &Bus,
    only: Option<&EntityAddress>,
    archive: &Archive,
    progress: &dyn Progress,
    found: &mut (dyn FnMut(Finding) + Send),
) -> Result<Summary, Error> {
    let mut audit = Audit::new(found);
    let partitions: Vec<PartitionId> = match only {
        Some(entity) => vec![entity.partition(bus.topology().partitions)],
        None => bus.topology().all_partitions().collect(),
    };
    audit.is_emptied = bus.events_state().await?.messages == 0;
    for partition in &partitions {
        let mark = bus.mark(*partition).await?;
        audit.marks.insert(*partition, (mark.upto, mark.partial));
    }
    archive::expect_own(bus, archive).await?;
    // A snapshot's content is in the log before the snapshot, so the snapshots are read first.
    if only.is_none() {
        audit.read_snapshots(bus, &partitions).await?;
    }
    audit.read_archive(archive, only);
    audit.read_stream(bus, only).await?;
    for partition in partitions {
        audit.read_log(bus, archive, partition, only, progress).await?;
        if only.is_none() {
            audit.check_cut(bus, partition).await?;
        }
    }
    audit.compare();
    audit.summary.entities = audit.logged.len() as u64;
    Ok(audit.summary)
}

/// The last link of an entity's chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Link {
    revision: Revision,
    hash: Hash,
}

impl Link {
    /// Continues with an event, or says why it does not follow.
    fn follow(&mut self, event: &Event) -> Option<(&'static str, String)> {
        let (expected, linked) = (
            self.revision.next(),
            self.hash.link(event.revision, &event.event_type, event.schema, &event.body),
        );
        let former = std::mem::replace(self, Self { revision: event.revision, hash: event.hash });
        if event.revision != expected {
            return Some(("revision-gap", format!("revision {} after {}", event.revision, former.revision)));
        }
        (linked != event.hash).then(|| {
            ("chain-broken", format!("the hash of revision {} is not that of its content", event.revision))
        })
    }
}

struct Audit<'a> {
    found: &'a mut (dyn FnMut(Finding) + Send),
    registry: actors_core::Registry,
    marks: BTreeMap<PartitionId, (LogSequence, u32)>,
    /// Whether the event stream is empty, without even a mark: then everything in the logs should be there.
    is_emptied: bool,
    streamed: HashMap<EntityAddress, Link>,
    /// Entities with events in the archive.
    archived: HashSet<EntityAddress>,
    /// Entities whose last link in the stream is in the log too.
    met: HashSet<EntityAddress>,
    logged: HashMap<EntityAddress, Link>,
    /// Snapshots of entities that the log has not reached yet, with their position in the event stream.
    snapshots: BTreeMap<EntityAddress, (Link, u64)>,
    /// Snapshots and bases of partitions that the log has not reached yet: the last record, the name, and the
    /// hash of that record.
    partitions: BTreeMap<(PartitionId, LogSequence, String), Hash>,
    summary: Summary,
}

impl<'a> Audit<'a> {
    fn new(found: &'a mut (dyn FnMut(Finding) + Send)) -> Self {
        Self {
            found,
            registry: actors_logic::registry(),
            marks: BTreeMap::new(),
            is_emptied: false,
            streamed: HashMap::new(),
            archived: HashSet::new(),
            met: HashSet::new(),
            logged: HashMap::new(),
            snapshots: BTreeMap::new(),
            partitions: BTreeMap::new(),
            summary: Summary::default(),
        }
    }

    fn find(&mut self, finding: &str, place: impl ToString, detail: impl ToString) {
        self.summary.findings += 1;
        if self.summary.findings <= FINDINGS_TOLD_MAX {
            let (place, detail) = (place.to_string(), detail.to_string());
            (self.found)(Finding { finding: finding.to_owned(), place, detail });
        }
    }

    /// Reads the archive: each entity's chain, which the event stream continues.
    fn read_archive(&mut self, archive: &Archive, only: Option<&EntityAddress>) {
        if let Err(error) = archive.check() {
            self.find("archive-damaged", "archive", error.to_string());
        }
        for stored in archive.events() {
            let stored = match stored {
                Ok(stored) => stored,
                Err(error) => {
                    self.find("archive-damaged", "archive", error.to_string());
                    continue;
                }
            };
            if only.is_some_and(|only| *only != stored.entity) {
                continue;
            }
            self.summary.events_archived += 1;
            let link = self.streamed.entry(stored.entity.clone()).or_default();
            if let Some((finding, detail)) = link.follow(&stored.event) {
                self.find(finding, &stored.entity, format!("archive: {detail}"));
            }
            self.archived.insert(stored.entity);
        }
    }

    /// Reads the event stream: each entity's chain, and each partition's order.
    async fn read_stream(&mut self, bus: &Bus, only: Option<&EntityAddress>) -> Result<(), Error> {
        let subjects = only.map(|entity| bus.subjects().event(entity)).into_iter().collect();
        let mut events = bus.events_until_now(EventQuery { subjects, from: 0 }).await?;
        let mut cursors: HashMap<PartitionId, Cursor> = HashMap::new();
        while let Some(stored) = events.next().await {
            let stored = match stored {
                Ok(stored) => stored,
                Err(error @ bus_client::Error::Event { .. }) => {
                    self.find("event-unreadable", bus.topology().events(), error);
                    continue;
                }
                Err(error @ bus_client::Error::Blob { .. }) => {
                    self.find("blob-missing", bus.topology().events(), error);
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            self.summary.events_in_stream += 1;
            self.check_place(&stored);
            let link = self.streamed.entry(stored.entity.clone()).or_default();
            // A rebuilt stream has archived entities from their first event again.
            if self.archived.remove(&stored.entity) && stored.event.revision <= link.revision {
                *link = Link::default();
            }
            if let Some((finding, detail)) = link.follow(&stored.event) {
                self.find(finding, &stored.entity, format!("event stream: {detail}"));
            }
            let former = cursors.insert(stored.cursor.partition, stored.cursor);
            if former.is_some_and(|former| former >= stored.cursor) {
                self.find("order-broken", &stored.entity, format!("cursor {} comes too late", stored.cursor));
            }
        }
        Ok(())
    }

    /// A host that loads an entity from its snapshot reads only events behind the snapshot's position: it
    /// would miss an event before it.
    fn check_place(&mut self, stored: &StoredEvent) {
        if let Some((link, place)) = self.snapshots.get(&stored.entity)
            && stored.event.revision > link.revision
            && stored.stream_sequence <= *place
        {
            let (revision, at) = (stored.event.revision, stored.stream_sequence);
            let detail = format!(
                "the snapshot says that later events stand behind {place}, and revision {revision} stands at {at}"
            );
            self.find("snapshot-differs", &stored.entity, detail);
        }
    }

    async fn read_snapshots(&mut self, bus: &Bus, partitions: &[PartitionId]) -> Result<(), Error> {
        for name in bus.snapshot_names().await? {
            let Some((kind, key)) = name.strip_prefix("entity.").and_then(|rest| rest.split_once('.')) else {
                continue;
            };
            let Some(bytes) = bus.get_snapshot(&name).await? else { continue };
            let Ok(entity) = format!("{kind}/{key}").parse::<EntityAddress>() else {
                self.find("snapshot-differs", &name, "the snapshot is of no entity");
                continue;
            };
            self.summary.snapshots += 1;
            match rmp_serde::from_slice::<EntitySnapshot>(&bytes) {
                Ok(snapshot) => {
                    let link = Link { revision: snapshot.revision, hash: snapshot.hash };
                    self.snapshots.insert(entity, (link, snapshot.events));
                }
                Err(error) => {
                    self.find("snapshot-differs", &entity, format!("the snapshot cannot be read: {error}"))
                }
            }
        }
        for partition in partitions {
            for name in [takeover::snapshot_name(*partition), takeover::base_name(*partition)] {
                let Some(bytes) = bus.get_named(&name).await? else { continue };
                self.summary.snapshots += 1;
                match PartitionState::decode(&bytes) {
                    Ok(state) => {
                        self.partitions.insert((*partition, state.last, name), state.previous);
                    }
                    Err(error) => {
                        self.find("snapshot-differs", name, format!("the snapshot cannot be read: {error}"));
                    }
                }
            }
        }
        Ok(())
    }

    async fn read_log(
        &mut self,
        bus: &Bus,
        archive: &Archive,
        partition: PartitionId,
        only: Option<&EntityAddress>,
        progress: &dyn Progress,
    ) -> Result<(), Error> {
        let mut records = records(bus, archive, partition, progress).await?;
        let mut former = Former::default();
        while let Some(entry) = records.next_stored().await? {
            let (sequence, follows) = (entry.sequence, entry.follows());
            let LogEntry { record: bytes, foreign, .. } = entry;
            self.summary.records += 1;
            if foreign > 0 {
                let detail = format!("{foreign} messages before it are of no host, and are passed over");
                self.find("log-foreign", place(partition, sequence), detail);
            }
            let hash = Hash::of(&bytes);
            match CommitRecord::decode(&bytes) {
                Ok(mut record) => {
                    self.check_record(&former, sequence, follows, &record);
                    let attached = self.attach(bus, sequence, &mut record).await?;
                    self.check_turns(sequence, &record, only, attached);
                    self.check_mail(&mut former, sequence, &record);
                    former.epoch = record.epoch.0;
                    former.inbox = record.position.inbox;
                }
                Err(error) => {
                    let place = place(partition, sequence);
                    self.find("record-unreadable", place, chain(&error));
                    // Mail that an unreadable record sent or took is unknown: counting starts anew behind it.
                    former = Former { partial: true, epoch: former.epoch, ..Former::default() };
                }
            }
            let here = (partition, sequence, String::new())..(partition, sequence.next(), String::new());
            let met: Vec<_> =
                self.partitions.range(here).map(|(place, hash)| (place.clone(), *hash)).collect();
            for (place, previous) in met {
                self.partitions.remove(&place);
                if previous != hash {
                    self.find("snapshot-differs", place.2, format!("record {sequence} has another hash"));
                }
            }
            (former.sequence, former.hash) = (sequence, hash);
        }
        self.summary.records_archived += records.archived;
        let mark = self.marks.get(&partition).map_or(LogSequence(0), |(upto, _)| *upto);
        if mark > former.sequence {
            let detail = format!("the mark says record {mark}, and the log ends at {}", former.sequence);
            self.find("mark-ahead", format!("partition {partition}"), detail);
        }
        Ok(())
    }

    /// Checks what the next takeover of a cut log would lack if the snapshot were lost.
    async fn check_cut(&mut self, bus: &Bus, partition: PartitionId) -> Result<(), Error> {
        let log = bus.state_of(&bus.topology().log(partition)).await?;
        let mark = self.marks.get(&partition).map_or(LogSequence(0), |(upto, _)| *upto);
        if let Some((finding, detail)) = super::lacking(bus, partition, &log, mark).await? {
            self.find(finding, format!("partition {partition}"), detail);
        }
        Ok(())
    }

    /// Inserts large bodies. Returns whether all of them exist.
    async fn attach(
        &mut self,
        bus: &Bus,
        sequence: LogSequence,
        record: &mut CommitRecord,
    ) -> Result<bool, Error> {
        match bus.attach_blobs(record).await {
            Ok(()) => Ok(true),
            Err(error @ bus_client::Error::Blob { .. }) => {
                self.find("blob-missing", place(record.partition, sequence), error);
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Checks the events of a record. Where bodies are missing, their recorded hashes are used.
    fn check_turns(
        &mut self,
        sequence: LogSequence,
        record: &CommitRecord,
        only: Option<&EntityAddress>,
        attached: bool,
    ) {
        let events = record.turns.iter().flat_map(|turn| turn.events.iter().map(move |event| (turn, event)));
        for (index, (turn, event)) in (0_u32..).zip(events) {
            if only.is_some_and(|only| *only != turn.entity) {
                continue;
            }
            let place = Cursor { partition: record.partition, record: sequence, index };
            if attached {
                self.check_event(place, &turn.entity, event);
            } else {
                let link = Link { revision: event.revision, hash: event.hash };
                self.logged.insert(turn.entity.clone(), link);
                self.check_streamed(place, &turn.entity, link);
            }
        }
    }

    /// Checks that mail is numbered without gaps and applied in order, and that the inbox position only
    /// grows.
    fn check_mail(&mut self, former: &mut Former, sequence: LogSequence, record: &CommitRecord) {
        let partial = former.partial;
        let follows = |last: Option<u64>, number: u64| match last {
            Some(last) => number == last + 1,
            None => partial || number == 1,
        };
        for turn in &record.turns {
            if let Source::Mail(from, number) = &turn.source
                && let last = former.taken.insert(*from, *number)
                && !follows(last, *number)
            {
                let detail = format!("mail {number} of partition {from} after {}", last.unwrap_or_default());
                self.find("mail-gap", place(record.partition, sequence), detail);
            }
            for mail in &turn.sends {
                let last = former.mail.insert(mail.partition, mail.number);
                if !follows(last, mail.number) {
                    let (number, to) = (mail.number, mail.partition);
                    let detail =
                        format!("mail {number} for partition {to} after {}", last.unwrap_or_default());
                    self.find("mail-gap", place(record.partition, sequence), detail);
                }
            }
        }
        if record.position.inbox < former.inbox {
            let detail = format!("inbox position {} after {}", record.position.inbox, former.inbox);
            self.find("position-fell", place(record.partition, sequence), detail);
        }
    }

    fn check_record(
        &mut self,
        former: &Former,
        sequence: LogSequence,
        follows: LogSequence,
        record: &CommitRecord,
    ) {
        let place = place(record.partition, sequence);
        if follows != former.sequence {
            self.find("log-gap", &place, format!("the record comes after record {}", former.sequence));
        }
        if record.previous != former.hash {
            self.find("log-chain-broken", &place, "its `previous` is not the hash of the record before it");
        }
        if record.epoch.0 < former.epoch {
            self.find("epoch-fell", &place, format!("epoch {} after {}", record.epoch, former.epoch));
        }
    }

    fn check_event(&mut self, place: Cursor, entity: &EntityAddress, event: &Event) {
        let link = self.logged.entry(entity.clone()).or_default();
        let broken = link.follow(event);
        let now = *link;
        if let Some((finding, detail)) = broken {
            self.find(finding, entity, format!("log: {detail}"));
        }
        match self.registry.make(&entity.kind).map(|mut scratch| scratch.replay(event)) {
            Some(Ok(())) => {}
            Some(Err(error)) => self.find("event-unreadable", entity, chain(&error)),
            None => self.find("event-unreadable", entity, "this program does not know the kind"),
        }
        self.check_streamed(place, entity, now);
    }

    /// Compares the snapshot and the event stream with the log at this revision.
    fn check_streamed(&mut self, place: Cursor, entity: &EntityAddress, now: Link) {
        self.summary.events_in_log += 1;
        if let Some((snapshot, _)) = self.snapshots.get(entity).copied()
            && snapshot.revision == now.revision
        {
            self.snapshots.remove(entity);
            if snapshot.hash != now.hash {
                let detail = format!("the entity has another hash at revision {}", now.revision);
                self.find("snapshot-differs", entity, detail);
            }
        }
        let streamed = self.streamed.get(entity).copied().unwrap_or_default();
        if streamed.revision == now.revision {
            if streamed.hash != now.hash {
                let detail = format!("revision {} has another hash in the event stream", now.revision);
                self.find("event-differs", entity, detail);
            }
            self.met.insert(entity.clone());
        }
        let (upto, partial) = self.marks.get(&place.partition).copied().unwrap_or_default();
        let due =
            self.is_emptied || place.record <= upto || (place.record == upto.next() && place.index < partial);
        if due && streamed.revision < now.revision {
            let detail = format!("revision {} is not in the event stream", now.revision);
            self.find("event-missing", entity, detail);
        }
    }

    /// Reports what the stream and the snapshots have, and the log lacks.
    fn compare(&mut self) {
        let mut extra: Vec<_> = self
            .streamed
            .iter()
            .filter(|(entity, _)| !self.met.contains(*entity))
            .map(|(entity, link)| (entity.clone(), link.revision))
            .collect();
        extra.sort();
        for (entity, revision) in extra {
            self.find("event-extra", entity, format!("the log has no revision {revision}"));
        }
        for (entity, (link, _)) in std::mem::take(&mut self.snapshots) {
            self.find("snapshot-differs", entity, format!("the log has no revision {}", link.revision));
        }
        for ((_, last, name), _) in std::mem::take(&mut self.partitions) {
            self.find("snapshot-differs", name, format!("the log has no record {last}"));
        }
    }
}

fn place(partition: PartitionId, sequence: LogSequence) -> String {
    format!("partition {partition} record {sequence}")
}

/// The state after the previous record.
#[derive(Default)]
struct Former {
    sequence: LogSequence,
    hash: Hash,
    epoch: u64,
    inbox: u64,
    /// The last mail sent to each partition, and received from each.
    mail: HashMap<PartitionId, u64>,
    taken: HashMap<PartitionId, u64>,
    /// Whether an earlier record could not be read, so that the counts above may begin anywhere.
    partial: bool,
}
