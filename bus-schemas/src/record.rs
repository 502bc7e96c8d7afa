//! The commit record: one JetStream message that holds everything a group of turns caused.
//!
//! Written as MessagePack arrays (field order is the schema; fields are only added at the end,
//! with a default). `version` is first, so that a reader can refuse what it does not know.
//! Subject: `<prefix>.log.<partition>`, stream: `<PREFIX>_LOG_<partition>`.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::envelope::{Body, Refusal, TraceContext};
use crate::ids::{CommandId, EntityAddress, Epoch, Hash, Key, PartitionId, Revision, Timestamp};

/// The version that this program writes.
pub const RECORD_VERSION: u16 = 1;
/// A body of more bytes lies in the blob store: records, streams and takeovers stay small, and the
/// same body in a command, an event and a job is kept once.
pub const BODY_INLINE_BYTES_MAX: usize = 65_536;

/// Bodies of more bytes in all are too much for one message by a server's default, with what stands around
/// them: then every body above [`BODY_CROWDED_BYTES_MAX`] lies in the blob store.
pub const BODIES_BYTES_MAX: usize = 768 * 1024;
/// What stays in a crowded record.
pub const BODY_CROWDED_BYTES_MAX: usize = 2_048;

/// Everything a group of turns caused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CommitRecord {
    /// [`RECORD_VERSION`] of the writer.
    pub version: u16,
    /// Whose log this is.
    pub partition: PartitionId,
    /// The writer's epoch.
    pub epoch: Epoch,
    /// The host that wrote it.
    pub host: SmolStr,
    /// When it was closed.
    pub at: Timestamp,
    /// BLAKE3 of the record before this one; zero for the first.
    pub previous: Hash,
    /// How far everything is applied that comes from outside.
    pub position: Position,
    /// For each receiving partition: the last mail number known to be applied there.
    pub mail_out: Vec<(PartitionId, u64)>,
    /// The log sequence up to which dead letters are known to be out.
    pub dead_out: u64,
    /// The turns, in the order in which they were decided. None in a takeover record.
    pub turns: Vec<Turn>,
    /// Bodies that lie in the blob store; in their places the record has empty ones.
    #[serde(default)]
    pub detached: Vec<Detached>,
}

/// A body above [`BODY_INLINE_BYTES_MAX`], kept in the blob store under its hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detached {
    /// The turn's index in the record.
    pub turn: u32,
    /// Which body of the turn.
    pub part: Part,
    /// BLAKE3 of the body.
    pub hash: Hash,
}

/// A place for a body in a turn; the number is an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Part {
    /// The command's.
    Command,
    /// An event's.
    Event(u32),
    /// A mail's.
    Send(u32),
    /// A job's.
    Job(u32),
}

/// How far the durable inbox and each partition's mail have been applied.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Position {
    /// The last stream sequence of the inbox.
    pub inbox: u64,
    /// For each sending partition: the last mail number.
    pub mail: Vec<(PartitionId, u64)>,
}

/// One command and what it led to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Turn {
    /// How the command came.
    pub source: Source,
    /// Who decided.
    pub entity: EntityAddress,
    /// The command as it came.
    pub command: Command,
    /// When it was decided.
    pub at: Timestamp,
    /// What happened.
    pub events: Vec<Event>,
    /// Why nothing happened.
    pub refusal: Option<Refusal>,
    /// Commands for other entities.
    pub sends: Vec<Mail>,
    /// Timers set and canceled.
    pub timers: Vec<TimerChange>,
    /// Changes of what workers hold.
    pub leases: Vec<LeaseChange>,
    /// Work for agents.
    pub jobs: Vec<Job>,
    /// Attempts that their workers need not go on with.
    pub stops: Vec<Stop>,
    /// Whether the entity has work for workers who claim, after this.
    pub is_open: bool,
    /// What the caller is told: JSON.
    pub reply: Bytes,
    /// What could not be done, and why.
    pub dead: Option<DeadLetter>,
}

/// How a command came to the partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// A caller asked over core NATS and waits.
    Ask,
    /// The durable inbox, at this stream sequence.
    Inbox(u64),
    /// Another entity sent it: the sending partition and the mail's number there.
    Mail(PartitionId, u64),
    /// A timer of the entity itself was due.
    Timer(SmolStr),
    /// Nobody renewed a lease of the entity in time.
    Lease(SmolStr),
    /// A worker's claim fits work of the entity. The command's id is that of the claim.
    Claim,
}

/// A command with its causes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Its id.
    pub id: CommandId,
    /// Its content.
    pub body: Body,
    /// The command that caused this one, if one did.
    pub cause: Option<CommandId>,
    /// What everything caused by one request shares.
    pub correlation: CommandId,
    /// The span that sent it.
    pub trace: Option<TraceContext>,
    /// Who sent it.
    pub caller: Option<SmolStr>,
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The entity's revision after it.
    pub revision: Revision,
    /// Its wire name.
    pub event_type: SmolStr,
    /// Its schema version.
    pub schema: u16,
    /// The chain hash up to and with it.
    pub hash: Hash,
    /// JSON: the same bytes in the log and in the event stream.
    pub body: Bytes,
}

/// A command for another entity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mail {
    /// The receiver's partition.
    pub partition: PartitionId,
    /// Its number among the mail of this sender for that receiver: 1, 2, 3 … without gaps.
    pub number: u64,
    /// The receiver.
    pub to: EntityAddress,
    /// The command.
    pub command: Command,
}

/// A timer of an entity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TimerChange {
    /// Sends the entity `body` at `at`; replaces a timer of the same name.
    Set { name: SmolStr, at: Timestamp, body: Body },
    /// Forgets the timer of that name; none is no error.
    Cancel { name: SmolStr },
}

/// What somebody outside holds, and must renew: the owner keeps in its memory until when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum LeaseChange {
    /// Begins, or begins anew. Where nobody renews it within `first_ms` the entity is sent `unrenewed`, and
    /// where nobody does for `ms` later on `silent`.
    Begin { name: SmolStr, first_ms: u64, ms: u64, unrenewed: Body, silent: Body },
    /// Ends; none of that name is no error.
    End { name: SmolStr },
}

/// An attempt that its worker need not go on with. A word that is lost costs the time to the next renewal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// The agent.
    pub agent: Key,
    /// The worker.
    pub worker: SmolStr,
    /// The job.
    pub job: SmolStr,
}

/// Work with side effects, for an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Names this attempt for ever.
    pub id: SmolStr,
    /// The claim that it answers.
    pub claim: CommandId,
    /// JSON of [`crate::jobs::Job`].
    pub body: Bytes,
}

/// What could not be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Names it for ever.
    pub entry: SmolStr,
    /// Why: `poison`, `malformed-command`, `unknown-kind` …
    pub class: SmolStr,
    /// The reason, for people.
    pub reason: String,
    /// The subject it came on, where the subject itself is the trouble.
    pub subject: Option<SmolStr>,
}

/// Why a record could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not a record at all: corrupted, or not ours.
    #[error("decoding the commit record: {0}")]
    Malformed(#[from] rmp_serde::decode::Error),
    /// Written by a later program.
    #[error("the commit record has version {found}; this program knows versions up to {RECORD_VERSION}")]
    Version { found: u16 },
    /// A body belongs into a place that the record does not have.
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
    /// The record as it goes into the log where bodies are too large for it, and those bodies;
    /// none where all of them may stay. Where they are too many for one message, small ones go too.
    pub fn detach(&self) -> Option<(Self, Vec<Bytes>)> {
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
                if known.insert(hash) {
                    blobs.push(body);
                }
            }
        }
        Some((record, blobs))
    }
    /// Puts a body back into its place.
    pub fn attach(&mut self, detached: &Detached, body: Bytes) -> Result<(), Error> {
        let Detached { turn, part, hash } = detached;
        let turns = self.turns.get_mut(*turn as usize);
        let place = turns.and_then(|turn| turn.bodies().find(|(place, _)| place == part));
        let (_, place) = place.ok_or(Error::Place { turn: *turn, hash: *hash })?;
        *place = body;
        Ok(())
    }
    /// The message's body.
    pub fn encode(&self) -> Vec<u8> {
        self.encode_into(Vec::new())
    }
    /// As [`Self::encode`], into memory that is there already.
    pub fn encode_into(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        rmp_serde::encode::write(&mut bytes, self)
            .expect("a record holds nothing that MessagePack can not write");
        bytes
    }
    /// Reads a message's body.
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

/// The version that stands first in a MessagePack array, whatever stands behind it; none where there is none.
pub fn leading_version(bytes: &[u8]) -> Option<u16> {
    rmp_serde::from_slice::<Head>(bytes).ok().map(|Head(version)| version)
}

/// A version that may have any fields after it.
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
        // What is left unread would be an error of its own.
        while fields.next_element::<serde::de::IgnoredAny>()?.is_some() {}
        Ok(Head(version))
    }
}
