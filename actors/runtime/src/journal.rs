//! Stage 4, journal: groups of turns become commit records; one is in flight at a time.
//!
//! Every append expects the sequence of the record before it. The server refuses a host that lost the
//! partition, whatever its clock or lease says: that refusal is the fence.

use bus_client::{Bus, PublishError, ReplyTo};
use bus_schemas::record::{CommitRecord, Turn};
use bus_schemas::topology::Store;
use bus_schemas::{CommandId, Hash, LogSequence, PartitionId};
use bytes::Bytes;

use crate::claims::{IssuedJob, Offer};
use crate::crash;
use crate::stuck::{Attempts, Stuck};

/// The most turns in one record: enough that one flush serves all callers that wait at once.
pub const GROUP_TURNS_MAX: usize = 2_048;
/// The most bytes of turns in one record; further turns go into the next one. Together with what the last
/// turn adds, a record stays below the default message limit of a server.
pub const GROUP_BYTES_MAX: usize = 512 * 1024;
/// The bytes of a message that are left for the headers, the reply of the last turn, and the record itself.
pub const RECORD_BYTES_RESERVED: usize = 64 * 1024;

/// Turns that are decided and not committed, with the replies that wait for the commit.
#[derive(Debug, Default)]
pub struct Group {
    /// The number of the group. Groups are committed in this order.
    pub number: u64,
    pub turns: Vec<Turn>,
    /// The approximate size of the turns, in bytes.
    pub bytes: usize,
    /// The replies to send after the commit.
    pub replies: Vec<AddressedReply>,
    /// The claims to answer after the commit, with their jobs.
    pub issues: Vec<Issue>,
}

/// An encoded reply with its address.
#[derive(Debug, Clone)]
pub struct AddressedReply {
    /// The caller's reply subject.
    pub to: ReplyTo,
    /// The encoded reply.
    pub payload: Bytes,
    /// The id of the query that this answers, if it is a query: sent only while the lease is valid.
    pub query: Option<CommandId>,
}

/// Jobs for the worker that claimed them.
#[derive(Debug, Clone)]
pub struct Issue {
    /// The claim.
    pub offer: Offer,
    /// The jobs.
    pub jobs: Vec<IssuedJob>,
}

impl AddressedReply {
    /// A reply to a command.
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
            self.replies.push(AddressedReply::answer(reply_to, turn.reply.clone()));
        }
        self.turns.push(turn);
    }
}

/// The approximate size of a turn in a record, in bytes.
fn size(turn: &Turn) -> usize {
    const FIXED: usize = 160;
    let events: usize = turn.events.iter().map(|event| event.body.len() + 64).sum();
    let sends: usize = turn.sends.iter().map(|mail| mail.command.body.bytes.len() + 160).sum();
    let jobs: usize = turn.jobs.iter().map(|job| job.body.len() + 64).sum();
    FIXED + turn.command.body.bytes.len() + turn.reply.len() + events + sends + jobs + turn.timers.len() * 96
}

/// An encoded record, to be appended.
#[derive(Debug, Clone)]
pub struct Commit {
    /// The partition whose log it is for.
    pub partition: PartitionId,
    /// The sequence that the log must end with.
    pub expected: LogSequence,
    /// The encoded record.
    pub bytes: Bytes,
    /// Bodies that are too large for a record: they go into their object stores before the append.
    pub blobs: Vec<(Store, Bytes)>,
}

/// A committed record.
#[derive(Debug)]
pub struct Committed {
    /// Its log sequence.
    pub sequence: LogSequence,
    /// The record.
    pub record: CommitRecord,
    /// The number of its group.
    pub group: u64,
}

/// A record whose append is not answered yet.
#[derive(Debug)]
pub struct InFlight {
    /// The record.
    pub record: CommitRecord,
    /// Its hash: the `previous` of the next record.
    pub hash: Hash,
    /// The number of its group.
    pub group: u64,
    /// The replies to send after the commit.
    pub replies: Vec<AddressedReply>,
    /// The claims to answer after the commit, with their jobs.
    pub issues: Vec<Issue>,
}

/// The outcome of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// The record is in the log.
    Committed(LogSequence),
    /// Another host wrote, or the log was emptied: this host gives the partition up.
    Lost(String),
    /// The outcome is unknown: the same bytes are tried again with the same expected sequence.
    Again(String),
}

/// Appends a record and finds its outcome, also when the server's answer was lost. A message in the log that
/// no host wrote is skipped: the record is appended after it.
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
                    "the log has a message that no host wrote; appending after it"
                );
                expected = end.last;
            }
            fate => return fate,
        }
    }
}

/// Appends a record and retries until its fate is known. The partition writes nothing else meanwhile, so a
/// full disk stops it and loses nothing.
pub async fn append_until_known(bus: Bus, commit: Commit, stuck: Stuck) -> Fate {
    let mut attempts = Attempts::new(commit.partition, "journal", &stuck);
    for (store, body) in &commit.blobs {
        while let Err(error) = bus.put_body(*store, body).await {
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

/// The outcome of a commit whose answer is missing or was a conflict, judged by the end of the log.
pub fn judge(commit: &Commit, last: Option<(LogSequence, &[u8])>, reason: &str) -> Fate {
    match last {
        Some((sequence, bytes)) if bytes == &commit.bytes[..] => Fate::Committed(sequence),
        Some((sequence, _)) if sequence > commit.expected => {
            Fate::Lost(format!("record {sequence} is another host's: {reason}"))
        }
        // A retry would never succeed; the next takeover reports the empty log by name.
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
