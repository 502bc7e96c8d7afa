//! Stage 4, journal: groups of turns become commit records; one is in flight at a time.
//!
//! Every append expects the sequence of the record before it. Who lost the partition is refused by
//! the server, whatever their clock or lease says: that refusal is the fence.

use bus_client::{Bus, PublishError, ReplyTo};
use bus_schemas::record::{CommitRecord, Turn};
use bus_schemas::{CommandId, Hash, LogSequence, PartitionId};
use bytes::Bytes;

use crate::claims::{IssuedJob, Offer};
use crate::crash;
use crate::stuck::{Attempts, Stuck};

/// Turns in one record: enough that one flush serves every caller that can wait at once.
pub const GROUP_TURNS_MAX: usize = 2_048;
/// Bytes of turns in one record; the rest follows in the next one. Small enough for a server's largest
/// message by default, with what the last turn adds.
pub const GROUP_BYTES_MAX: usize = 512 * 1024;
/// Bytes in one record, of the server's largest message: the rest is for what a turn adds last.
pub const GROUP_BYTES_SHARE: f64 = 0.5;

/// Turns that are decided and not committed, with the callers that wait for them.
#[derive(Debug, Default)]
pub struct Group {
    /// Counts groups; commits are in this order.
    pub number: u64,
    /// The turns.
    pub turns: Vec<Turn>,
    /// About how many bytes they take.
    pub bytes: usize,
    /// Who is told what after the commit.
    pub replies: Vec<Told>,
    /// Which claims are answered with which jobs after the commit.
    pub issues: Vec<Issue>,
}

/// An answer on its way.
#[derive(Debug, Clone)]
pub struct Told {
    /// Whom.
    pub to: ReplyTo,
    /// What.
    pub payload: Bytes,
    /// The id of the query that it answers, where it does: told only while the lease is valid.
    pub query: Option<CommandId>,
}

/// Jobs for a worker that claimed them.
#[derive(Debug, Clone)]
pub struct Issue {
    /// The claim.
    pub offer: Offer,
    /// The jobs.
    pub jobs: Vec<IssuedJob>,
}

impl Told {
    /// An answer to a command.
    pub fn answer(to: ReplyTo, payload: Bytes) -> Self {
        Self { to, payload, query: None }
    }
}

impl Group {
    /// Whether another turn fits.
    pub fn has_room(&self, bytes_max: usize) -> bool {
        self.turns.len() < GROUP_TURNS_MAX && self.bytes < bytes_max
    }
    /// Adds a turn.
    pub fn push(&mut self, turn: Turn, reply_to: Option<ReplyTo>) {
        self.bytes += size(&turn);
        if let Some(reply_to) = reply_to {
            self.replies.push(Told::answer(reply_to, turn.reply.clone()));
        }
        self.turns.push(turn);
    }
}

/// About how many bytes a turn takes in a record.
fn size(turn: &Turn) -> usize {
    const FIXED: usize = 160;
    let events: usize = turn.events.iter().map(|event| event.body.len() + 64).sum();
    let sends: usize = turn.sends.iter().map(|mail| mail.command.body.bytes.len() + 160).sum();
    let jobs: usize = turn.jobs.iter().map(|job| job.body.len() + 64).sum();
    FIXED + turn.command.body.bytes.len() + turn.reply.len() + events + sends + jobs + turn.timers.len() * 96
}

/// A record on its way into the log.
#[derive(Debug, Clone)]
pub struct Commit {
    /// Whose log.
    pub partition: PartitionId,
    /// The sequence that must be the last one.
    pub expected: LogSequence,
    /// The encoded record.
    pub bytes: Bytes,
    /// Bodies that are too large for a record: they are stored before it.
    pub blobs: Vec<Bytes>,
}

/// A record that is in the log.
#[derive(Debug)]
pub struct Committed {
    /// Its sequence.
    pub sequence: LogSequence,
    /// The record.
    pub record: CommitRecord,
    /// The group that it holds.
    pub group: u64,
}

/// A record in flight.
#[derive(Debug)]
pub struct InFlight {
    /// The record.
    pub record: CommitRecord,
    /// Its hash: what the next record calls `previous`.
    pub hash: Hash,
    /// Its group.
    pub group: u64,
    /// Who is told what after the commit.
    pub replies: Vec<Told>,
    /// Which claims are answered with which jobs after the commit.
    pub issues: Vec<Issue>,
}

/// What became of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It is in the log.
    Committed(LogSequence),
    /// Somebody else wrote, or the log was emptied: this host does not go on with the partition.
    Lost(String),
    /// Nobody can say yet; the same bytes are tried again with the same expectation.
    Again(String),
}

/// Appends a record and finds out what became of it, also when the answer was lost. What no host wrote stands
/// in nobody's way: the record goes behind it.
pub async fn append(bus: &Bus, commit: &Commit) -> Fate {
    let mut expected = commit.expected;
    loop {
        crash::point("before-append");
        let answer = bus.append(commit.partition, expected, commit.bytes.clone()).await;
        crash::point("after-append");
        let reason = match answer {
            Ok(sequence) => return Fate::Committed(sequence),
            Err(PublishError::Retry(reason)) => return Fate::Again(reason),
            Err(PublishError::Refused { code, reason }) => {
                return Fate::Again(format!("refused with {code}: {reason}"));
            }
            Err(PublishError::Conflict(reason) | PublishError::Unanswered(reason)) => reason,
        };
        let end = match bus.log_end(commit.partition).await {
            Ok(end) => end,
            Err(error) => return Fate::Again(format!("{reason}; then {error}")),
        };
        let last = end.record.as_ref().map(|entry| (entry.sequence, &entry.record[..]));
        match judge(commit, last, &reason) {
            Fate::Again(_) if end.last > expected => {
                tracing::warn!(
                    partition = %commit.partition,
                    sequence = %end.last,
                    "the log has a message that no host wrote; going on behind it"
                );
                expected = end.last;
            }
            fate => return fate,
        }
    }
}

/// Appends a record and does not return before its fate is known. Nothing else can be written in
/// the meantime, so a full disk stops the partition instead of losing anything.
pub async fn append_until_known(bus: Bus, commit: Commit, stuck: Stuck) -> Fate {
    let mut attempts = Attempts::new(commit.partition, "journal", &stuck);
    for blob in &commit.blobs {
        while let Err(error) = bus.put_blob(blob).await {
            attempts.wait(&format!("a large body cannot be stored: {error}")).await;
        }
    }
    loop {
        match attempts.make(append(&bus, &commit)).await {
            Fate::Again(reason) => {
                attempts.wait(&format!("the record cannot be written: {reason}")).await;
            }
            fate => return fate,
        }
    }
}

/// What the end of the log says about a commit whose answer is missing or was a conflict.
pub fn judge(commit: &Commit, last: Option<(LogSequence, &[u8])>, reason: &str) -> Fate {
    match last {
        Some((sequence, bytes)) if bytes == &commit.bytes[..] => Fate::Committed(sequence),
        Some((sequence, _)) if sequence > commit.expected => {
            Fate::Lost(format!("record {sequence} is another host's: {reason}"))
        }
        // Trying again would go on for ever: what the takeover finds then has a name.
        None if commit.expected > LogSequence(0) => {
            Fate::Lost(format!("the log is empty, and record {} was its last one: {reason}", commit.expected))
        }
        _ => Fate::Again(reason.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_append_to_a_log_that_was_emptied_is_not_tried_for_ever() {
        let commit = |expected| Commit {
            partition: PartitionId(3),
            expected: LogSequence(expected),
            bytes: Bytes::from_static(b"record"),
            blobs: Vec::new(),
        };
        let fate = judge(&commit(7), None, "wrong last sequence: 0");
        assert!(matches!(&fate, Fate::Lost(reason) if reason.contains("record 7")), "{fate:?}");
        assert_eq!(judge(&commit(0), None, "no answer"), Fate::Again("no answer".into()), "a new log");
    }
}
