//! `orrery verify`: hash chains, gaps, and the log against the streams that derive from it.
//!
//! Three passes: the marks (how far the event stream must be), the event stream, the logs. Hash
//! chains cover content, so an entity whose last revision and hash agree agrees in every event.
//! What is written meanwhile lies behind the marks and is not asked for.

use std::collections::{BTreeMap, HashMap};

use bus_client::EventQuery;
use bus_client::events::Cursor;
use bus_schemas::record::{CommitRecord, Event, Turn};
use bus_schemas::{EntityAddress, Hash, LogSequence, PartitionId, Revision};
use futures::StreamExt;
use schemars::JsonSchema;
use serde::Serialize;

use crate::address;
use crate::failure::Failure;
use crate::log::records;
use crate::output::{Output, Show};
use crate::session::Session;

/// Findings that are printed one by one; the rest is counted.
const FINDINGS_SHOWN_MAX: u64 = 20;

/// What to verify.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Only the events of this entity: `<kind>/<key>`
    #[arg(value_name = "ENTITY", conflicts_with = "all")]
    entity: Option<String>,
    /// Every log and every stream that derives from them; the default
    #[arg(long)]
    all: bool,
}

/// Something that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Finding {
    /// A stable word: `chain-broken`, `revision-gap`, `event-missing`, `event-extra`,
    /// `event-differs`, `event-unreadable`, `order-broken`, `log-chain-broken`, `log-gap`,
    /// `epoch-fell`, `mail-gap`, `mark-ahead`, `snapshot-differs`.
    pub finding: String,
    /// Where: an entity, a partition or a snapshot.
    pub place: String,
    /// What was expected and what was found.
    pub detail: String,
}

impl Show for Finding {
    fn text(&self) -> String {
        format!("{}  {}  {}", self.finding, self.place, self.detail)
    }
}

/// What was looked at.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct Summary {
    /// Commit records read.
    pub records: u64,
    /// Events read in the logs.
    pub events_in_log: u64,
    /// Events read in the event stream.
    pub events_in_stream: u64,
    /// Entities.
    pub entities: u64,
    /// Snapshots compared.
    pub snapshots: u64,
    /// Findings, of which the first twenty were printed.
    pub findings: u64,
}

impl Show for Summary {
    fn text(&self) -> String {
        let Self { records, events_in_log, events_in_stream, entities, snapshots, findings } = self;
        let verdict = match findings {
            0 => "everything agrees".to_owned(),
            many => format!("{many} findings"),
        };
        format!(
            "{records} records, {events_in_log} events in the log, {events_in_stream} in the stream, {entities} entities, {snapshots} snapshots: {verdict}"
        )
    }
}

/// Verifies, and fails when something is not as it must be.
pub async fn run(session: &Session, arguments: Arguments, output: Output) -> Result<(), Failure> {
    let only = arguments.entity.as_deref().map(address::entity).transpose()?;
    let summary = audit(session, only.as_ref(), output).await?;
    output.show(&summary);
    match summary.findings {
        0 => Ok(()),
        many => Err(Failure::new("verification-failed", format!("{many} findings")).next(
            "`orrery rebuild events` writes the event stream again from the log; a broken log needs a backup",
        )),
    }
}

/// Looks at everything, or at one entity, and prints findings.
pub async fn audit(
    session: &Session,
    only: Option<&EntityAddress>,
    output: Output,
) -> Result<Summary, Failure> {
    let bus = &session.bus;
    let mut audit = Audit { output, ..Audit::new() };
    let partitions: Vec<PartitionId> = match only {
        Some(entity) => vec![entity.partition(bus.topology().partitions)],
        None => bus.topology().all_partitions().collect(),
    };
    for partition in &partitions {
        let mark = bus.mark(*partition).await?;
        audit.marks.insert(*partition, (mark.upto, mark.partial));
    }
    audit.read_stream(session, only).await?;
    if only.is_none() {
        audit.read_snapshots(session).await?;
    }
    for partition in partitions {
        audit.read_log(session, partition, only).await?;
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
    /// Goes on with an event, and says why it does not follow.
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

struct Audit {
    output: Output,
    registry: actors_core::Registry,
    marks: BTreeMap<PartitionId, (LogSequence, u32)>,
    streamed: HashMap<EntityAddress, Link>,
    /// For each entity of the stream: whether the log has had its last link.
    met: HashMap<EntityAddress, bool>,
    logged: HashMap<EntityAddress, Link>,
    snapshots: HashMap<EntityAddress, Link>,
    summary: Summary,
}

impl Audit {
    fn new() -> Self {
        Self {
            output: Output::new(false),
            registry: actors_logic::registry(),
            marks: BTreeMap::new(),
            streamed: HashMap::new(),
            met: HashMap::new(),
            logged: HashMap::new(),
            snapshots: HashMap::new(),
            summary: Summary::default(),
        }
    }

    fn find(&mut self, finding: &str, place: impl ToString, detail: impl ToString) {
        self.summary.findings += 1;
        if self.summary.findings <= FINDINGS_SHOWN_MAX {
            let (place, detail) = (place.to_string(), detail.to_string());
            self.output.show(&Finding { finding: finding.to_owned(), place, detail });
        }
    }

    /// The event stream: each entity's chain, and each partition's order.
    async fn read_stream(&mut self, session: &Session, only: Option<&EntityAddress>) -> Result<(), Failure> {
        let subjects = only.map(|entity| session.bus.subjects().event(entity)).into_iter().collect();
        let mut events = session.bus.events_until_now(EventQuery { subjects, from: 0 }).await?;
        let mut cursors: HashMap<PartitionId, Cursor> = HashMap::new();
        while let Some(stored) = events.next().await {
            let stored = match stored {
                Ok(stored) => stored,
                Err(error @ bus_client::Error::Event { .. }) => {
                    self.find("event-unreadable", session.bus.topology().events(), error);
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            self.summary.events_in_stream += 1;
            let link = self.streamed.entry(stored.entity.clone()).or_default();
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

    async fn read_snapshots(&mut self, session: &Session) -> Result<(), Failure> {
        for name in session.bus.snapshot_names().await? {
            let Some((kind, key)) = name.strip_prefix("entity.").and_then(|rest| rest.split_once('.')) else {
                continue;
            };
            let Some(bytes) = session.bus.get_snapshot(&name).await? else { continue };
            let entity = address::entity(&format!("{kind}/{key}"))?;
            match rmp_serde::from_slice::<actors_runtime::fold::EntitySnapshot>(&bytes) {
                Ok(snapshot) => {
                    let link = Link { revision: snapshot.revision, hash: snapshot.hash };
                    self.snapshots.insert(entity, link);
                    self.summary.snapshots += 1;
                }
                Err(error) => self.find("snapshot-differs", &entity, format!("it can not be read: {error}")),
            }
        }
        Ok(())
    }

    async fn read_log(
        &mut self,
        session: &Session,
        partition: PartitionId,
        only: Option<&EntityAddress>,
    ) -> Result<(), Failure> {
        let mut records = records(&session.bus, partition, self.output).await?;
        let mut former = Former::default();
        while let Some(entry) = records.next().await? {
            self.summary.records += 1;
            self.check_record(partition, &former, entry.sequence, &entry.record);
            let mut index = 0;
            for turn in &entry.record.turns {
                for event in &turn.events {
                    if only.is_none_or(|only| *only == turn.entity) {
                        self.check_event(partition, entry.sequence, index, turn, event);
                    }
                    index += 1;
                }
                for mail in &turn.sends {
                    let last = former.mail.insert(mail.partition, mail.number).unwrap_or_default();
                    if mail.number != last + 1 {
                        let detail =
                            format!("mail {} for partition {} after {last}", mail.number, mail.partition);
                        self.find("mail-gap", format!("partition {partition}"), detail);
                    }
                }
            }
            former.sequence = entry.sequence;
            former.hash = entry.hash;
            former.epoch = entry.record.epoch.0;
        }
        let mark = self.marks.get(&partition).map_or(LogSequence(0), |(upto, _)| *upto);
        if mark > former.sequence {
            let detail = format!("the mark says record {mark}, and the log ends at {}", former.sequence);
            self.find("mark-ahead", format!("partition {partition}"), detail);
        }
        Ok(())
    }

    fn check_record(
        &mut self,
        partition: PartitionId,
        former: &Former,
        sequence: LogSequence,
        record: &CommitRecord,
    ) {
        let place = format!("partition {partition} record {sequence}");
        if sequence != former.sequence.next() {
            self.find("log-gap", &place, format!("it comes after record {}", former.sequence));
        }
        if record.previous != former.hash {
            self.find("log-chain-broken", &place, "its `previous` is not the hash of the record before it");
        }
        if record.epoch.0 < former.epoch {
            self.find("epoch-fell", &place, format!("epoch {} after {}", record.epoch, former.epoch));
        }
    }

    fn check_event(
        &mut self,
        partition: PartitionId,
        sequence: LogSequence,
        index: u32,
        turn: &Turn,
        event: &Event,
    ) {
        self.summary.events_in_log += 1;
        let entity = &turn.entity;
        let link = self.logged.entry(entity.clone()).or_default();
        let broken = link.follow(event);
        let now = *link;
        if let Some((finding, detail)) = broken {
            self.find(finding, entity, format!("log: {detail}"));
        }
        let readable = self.registry.make(&entity.kind).map(|mut scratch| scratch.replay(event));
        if let Some(Err(error)) = readable {
            self.find("event-unreadable", entity, error);
        }
        if let Some(snapshot) = self.snapshots.get(entity).copied()
            && snapshot.revision == now.revision
            && snapshot.hash != now.hash
        {
            self.find("snapshot-differs", entity, format!("at revision {}", now.revision));
        }
        let streamed = self.streamed.get(entity).copied().unwrap_or_default();
        if streamed.revision == now.revision {
            if streamed.hash != now.hash {
                let detail = format!("revision {} has another hash in the event stream", now.revision);
                self.find("event-differs", entity, detail);
            }
            self.met.insert(entity.clone(), true);
        }
        let (upto, partial) = self.marks.get(&partition).copied().unwrap_or_default();
        let due = sequence <= upto || (sequence == upto.next() && index < partial);
        if due && streamed.revision < now.revision {
            let detail = format!("revision {} is not in the event stream", now.revision);
            self.find("event-missing", entity, detail);
        }
    }

    /// What the stream has and the log has not.
    fn compare(&mut self) {
        let extra: Vec<_> = self
            .streamed
            .iter()
            .filter(|(entity, _)| !self.met.contains_key(*entity))
            .map(|(entity, link)| (entity.clone(), link.revision))
            .collect();
        for (entity, revision) in extra {
            self.find("event-extra", entity, format!("the log has no revision {revision}"));
        }
    }
}

/// What the record before said.
#[derive(Default)]
struct Former {
    sequence: LogSequence,
    hash: Hash,
    epoch: u64,
    mail: HashMap<PartitionId, u64>,
}
