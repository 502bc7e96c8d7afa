//! The commit record: one JetStream message with all effects of a group of turns.
//!
//! Encoded as MessagePack arrays: the order of the fields is the schema, and new fields go to the end, with a
//! default. `version` is first, so that a reader can refuse a version that it does not know. Subject:
//! `<prefix>.log.<partition>`, stream: `<PREFIX>_LOG_<partition>`.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::envelope::{Body, Refusal, TraceContext};
use crate::ids::{CommandId, EntityAddress, Epoch, Hash, Key, PartitionId, Revision, Timestamp};
use crate::topology::Store;

/// The version that this program writes.
pub const RECORD_VERSION: u16 = 1;
/// A larger body, in bytes, goes into an object store. This keeps records, streams and takeovers small, and
/// stores a body that is in an event and a job, or in a command and a mail, only once.
pub const BODY_INLINE_BYTES_MAX: usize = 65_536;

/// The most bytes of all bodies in a record: more would not fit into one message of a server's default size.
/// Above it, every body above [`BODY_CROWDED_BYTES_MAX`] goes into an object store.
pub const BODIES_BYTES_MAX: usize = 768 * 1024;
/// The largest body, in bytes, that stays in a record above [`BODIES_BYTES_MAX`].
pub const BODY_CROWDED_BYTES_MAX: usize = 2_048;

/// The bytes of one decision in a record, without the bodies that go into an object store. A larger decision is refused:
/// together with the turns before it, it would not fit into a message of [`PAYLOAD_BYTES_NEEDED`].
pub const DECISION_BYTES_MAX: usize = 700 * 1024;
/// The smallest message limit of a server, in bytes, with which every record fits into a message: a server's default.
pub const PAYLOAD_BYTES_NEEDED: usize = 1024 * 1024;
/// The bytes that an event or a mail takes beside its body: address, name, ids, hash.
const PART_BYTES: usize = 160;
/// The bytes that remain in a record of a body in an object store: its place and its hash.
const DETACHED_BYTES: usize = 64;

/// The bytes of a decision in a record, by the lengths of the bodies of its events and mail, if the record is crowded.
pub fn decision_bytes(lengths: impl Iterator<Item = usize>) -> usize {
    let stays = |length: usize| if length > BODY_CROWDED_BYTES_MAX { DETACHED_BYTES } else { length };
    lengths.map(|length| PART_BYTES + stays(length)).sum()
}

/// All effects of a group of turns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CommitRecord {
    /// [`RECORD_VERSION`] of the writer.
    pub version: u16,
    /// The partition whose log this record is in.
    pub partition: PartitionId,
    /// The writer's epoch.
    pub epoch: Epoch,
    /// The host that wrote the record.
    pub host: SmolStr,
    /// When the group was closed.
    pub at: Timestamp,
    /// BLAKE3 of the previous record; zero for the first.
    pub previous: Hash,
    /// How far the inbox and the mail of each partition are applied.
    pub position: Position,
    /// For each receiving partition: the last mail number known to be applied there.
    pub mail_out: Vec<(PartitionId, u64)>,
    /// The log sequence up to which dead letters are known to be published.
    pub dead_out: u64,
    /// The turns, in the order of their decisions. Empty in a takeover record.
    pub turns: Vec<Turn>,
    /// Bodies in the object stores; the record has empty bodies in their places.
    #[serde(default)]
    pub detached: Vec<Detached>,
}

/// A body that is kept in an object store under its hash: in [`Part::store`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detached {
    /// The index of the turn in the record.
    pub turn: u32,
    /// The body's place in the turn.
    pub part: Part,
    /// BLAKE3 of the body.
    pub hash: Hash,
}

/// The place of a body in a turn; the number is an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Part {
    /// The command.
    Command,
    /// An event.
    Event(u32),
    /// A mail.
    Send(u32),
    /// A job.
    Job(u32),
}

impl Part {
    /// The store for a large body. Events are published and jobs are fetched by workers; a command may hold a token.
    pub fn store(self) -> Store {
        match self {
            Self::Event(_) | Self::Job(_) => Store::Blobs,
            Self::Command | Self::Send(_) => Store::Private,
        }
    }
}

/// How far the durable inbox and the mail of each partition are applied.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Position {
    /// The last applied stream sequence of the inbox.
    pub inbox: u64,
    /// For each sending partition: the last applied mail number.
    pub mail: Vec<(PartitionId, u64)>,
}

/// One command and its effects.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Turn {
    /// How the command came.
    pub source: Source,
    /// The entity that decided it.
    pub entity: EntityAddress,
    /// The command.
    pub command: Command,
    /// When it was decided.
    pub at: Timestamp,
    /// The events.
    pub events: Vec<Event>,
    /// The refusal, if the command was refused.
    pub refusal: Option<Refusal>,
    /// Commands for other entities.
    pub sends: Vec<Mail>,
    /// Timers set and canceled.
    pub timers: Vec<TimerChange>,
    /// Changes of leases that workers hold.
    pub leases: Vec<LeaseChange>,
    /// Jobs for agents.
    pub jobs: Vec<Job>,
    /// Attempts that workers may stop.
    pub stops: Vec<Stop>,
    /// Whether the entity has open work for workers after this turn.
    pub is_open: bool,
    /// The caller's reply, as JSON.
    pub reply: Bytes,
    /// The dead letter, if the command became one.
    pub dead: Option<DeadLetter>,
}

/// How a command came to its partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// A caller asked over core NATS and waits for the reply.
    Ask,
    /// The durable inbox, at this stream sequence.
    Inbox(u64),
    /// Mail of another entity: the sending partition and the mail's number there.
    Mail(PartitionId, u64),
    /// A due timer of the entity, by name.
    Timer(SmolStr),
    /// A lapsed lease of the entity, by name.
    Lease(SmolStr),
    /// A worker's claim that fits work of the entity. The command's id is that of the claim.
    Claim,
}

/// A command with its causes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Its id.
    pub id: CommandId,
    /// Its body.
    pub body: Body,
    /// The command that caused this one, if there is one.
    pub cause: Option<CommandId>,
    /// The correlation, shared by everything that one request caused.
    pub correlation: CommandId,
    /// The span that sent it.
    pub trace: Option<TraceContext>,
    /// The sender: the token of its subject, or `<kind>/<key>` of the entity that mailed it, which no token
    /// can be; `None` for timers, leases and claims.
    pub caller: Option<SmolStr>,
    /// Whether its sender must learn the outcome. A dead letter is told the outcome; for any other entity a
    /// refusal becomes a dead letter.
    #[serde(default)]
    pub settles: bool,
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The entity's revision after the event.
    pub revision: Revision,
    /// Its wire name.
    pub event_type: SmolStr,
    /// Its schema version.
    pub schema: u16,
    /// The chain hash up to and including this event.
    pub hash: Hash,
    /// The body as JSON: the same bytes in the log and in the event stream.
    pub body: Bytes,
}

/// A command for another entity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mail {
    /// The receiver's partition.
    pub partition: PartitionId,
    /// The number among this sender's mail to that partition: 1, 2, 3 … without gaps.
    pub number: u64,
    /// The receiver.
    pub to: EntityAddress,
    /// The command.
    pub command: Command,
}

/// A change of an entity's timer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TimerChange {
    /// Sends `body` to the entity at `at`; replaces a timer of the same name.
    Set { name: SmolStr, at: Timestamp, body: Body },
    /// Cancels the timer of that name; a missing timer is no error.
    Cancel { name: SmolStr },
}

/// A change of a lease that a worker must renew. Its deadline is only in the owner's memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum LeaseChange {
    /// Begins the lease, or begins it anew. Without a renewal within `first_ms` the entity is sent
    /// `unrenewed`; if renewals stop for `ms` later on, it is sent `silent`.
    Begin { name: SmolStr, first_ms: u64, ms: u64, unrenewed: Body, silent: Body },
    /// Ends the lease; a missing lease is no error.
    End { name: SmolStr },
}

/// An attempt that its worker may stop. If this message is lost, the worker learns it with its next renewal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// The agent.
    pub agent: Key,
    /// The worker.
    pub worker: SmolStr,
    /// The job.
    pub job: SmolStr,
}

/// A job with side effects, for an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// The id of the attempt, unique for ever.
    pub id: SmolStr,
    /// The claim that it answers.
    pub claim: CommandId,
    /// A [`crate::jobs::Job`] as JSON.
    pub body: Bytes,
}

/// A command that could not be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// The id of the dead letter, unique for ever.
    pub entry: SmolStr,
    /// The class: `poison`, `malformed-command`, `unknown-kind` …
    pub class: SmolStr,
    /// The reason, for people.
    pub reason: String,
    /// The subject it came on, if the subject is what is wrong.
    pub subject: Option<SmolStr>,
}

/// Why a record could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bytes are no record: corrupted, or another program's.
    #[error("decoding the commit record: {0}")]
    Malformed(#[from] rmp_serde::decode::Error),
    /// A later program wrote it.
    #[error("the commit record has version {found}; this program knows versions up to {RECORD_VERSION}")]
    Version { found: u16 },
    /// A detached body belongs to a place that the record does not have.
    #[error("the commit record has no place for the blob {hash} in turn {turn}")]
    Place { turn: u32, hash: Hash },
}

impl Turn {
    /// The bodies that may be large, with their places.
    fn bodies(&mut self) -> impl Iterator<Item = (Part, &mut Bytes)> {
        let command = std::iter::once((Part::Command, &mut self.command.body.bytes));
        let events = (0..).zip(&mut self.events).map(|(index, event)| (Part::Event(index), &mut event.body));
        let sends =
            (0..).zip(&mut self.sends).map(|(index, mail)| (Part::Send(index), &mut mail.command.body.bytes));
        let jobs = (0..).zip(&mut self.jobs).map(|(index, job)| (Part::Job(index), &mut job.body));
        command.chain(events).chain(sends).chain(jobs)
    }
    /// The lengths of all bodies.
    fn lengths(&self) -> impl Iterator<Item = usize> {
        let events = self.events.iter().map(|event| event.body.len());
        let sends = self.sends.iter().map(|mail| mail.command.body.bytes.len());
        let jobs = self.jobs.iter().map(|job| job.body.len());
        std::iter::once(self.command.body.bytes.len()).chain(events).chain(sends).chain(jobs)
    }
}

impl CommitRecord {
    /// The record without its large bodies, and those bodies with their stores; `None` if all bodies may stay. If
    /// all together are too large for one message, small bodies are taken out too.
    pub fn detach(&self) -> Option<(Self, Vec<(Store, Bytes)>)> {
        let (mut all, mut largest) = (0, 0);
        for length in self.turns.iter().flat_map(Turn::lengths) {
            (all, largest) = (all + length, largest.max(length));
        }
        let bound = if all > BODIES_BYTES_MAX { BODY_CROWDED_BYTES_MAX } else { BODY_INLINE_BYTES_MAX };
        if largest <= bound {
            return None;
        }
        let (mut record, mut blobs, mut known) =
            (self.clone(), Vec::new(), std::collections::BTreeSet::new());
        for (turn, content) in (0..).zip(&mut record.turns) {
            for (part, body) in content.bodies().filter(|(_, body)| body.len() > bound) {
                let body = std::mem::take(body);
                let hash = Hash::of(&body);
                record.detached.push(Detached { turn, part, hash });
                if known.insert((part.store(), hash)) {
                    blobs.push((part.store(), body));
                }
            }
        }
        Some((record, blobs))
    }
    /// Puts a detached body back into its place.
    pub fn attach(&mut self, detached: &Detached, body: Bytes) -> Result<(), Error> {
        let Detached { turn, part, hash } = detached;
        let turns = self.turns.get_mut(*turn as usize);
        let place = turns.and_then(|turn| turn.bodies().find(|(place, _)| place == part));
        let (_, place) = place.ok_or(Error::Place { turn: *turn, hash: *hash })?;
        *place = body;
        Ok(())
    }
    /// Encodes the record as a message body.
    pub fn encode(&self) -> Vec<u8> {
        self.encode_into(Vec::new())
    }
    /// Encodes the record into an existing buffer.
    pub fn encode_into(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        rmp_serde::encode::write(&mut bytes, self).expect("MessagePack can encode every field of a record");
        bytes
    }
    /// Decodes a message body.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        match rmp_serde::from_slice::<Self>(bytes) {
            Ok(record) if record.version <= RECORD_VERSION => Ok(record),
            Ok(record) => Err(Error::Version { found: record.version }),
            Err(error) => match leading_version(bytes) {
                Some(found) if found > RECORD_VERSION => Err(Error::Version { found }),
                _ => Err(error.into()),
            },
        }
    }
}

/// The first number of a MessagePack array: the version, whatever follows it. `None` if there is none.
pub fn leading_version(bytes: &[u8]) -> Option<u16> {
    rmp_serde::from_slice::<Head>(bytes).ok().map(|Head(version)| version)
}

/// A version with any fields after it.
struct Head(u16);

impl<'de> Deserialize<'de> for Head {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_seq(HeadVisitor)
    }
}

struct HeadVisitor;

impl<'de> serde::de::Visitor<'de> for HeadVisitor {
    type Value = Head;
    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an array that begins with a version")
    }
    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut fields: A) -> Result<Head, A::Error> {
        let version = fields.next_element()?.ok_or_else(|| serde::de::Error::invalid_length(0, &self))?;
        // Fields left unread would be an error.
        while fields.next_element::<serde::de::IgnoredAny>()?.is_some() {}
        Ok(Head(version))
    }
}
