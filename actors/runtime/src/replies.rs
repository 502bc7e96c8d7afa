//! The replies of the newest records: a command that is repeated soon after its commit is answered from
//! memory.

use std::collections::VecDeque;

use bus_schemas::LogSequence;
use bus_schemas::record::CommitRecord;
use bytes::Bytes;

/// Bytes of replies that a partition keeps: some tens of thousands of replies, which is seconds at the
/// highest measured rates. Callers repeat within that time; older replies are read from the log. Eight
/// partitions keep 64 MiB at most.
pub const REPLIES_BYTES_MAX: usize = 8 * 1024 * 1024;
/// The approximate overhead of a reply, in bytes.
const REPLY_BYTES: usize = 64;

/// The replies of the newest records.
#[derive(Debug, Default)]
pub(crate) struct Replies {
    records: VecDeque<(LogSequence, Vec<Bytes>)>,
    bytes: usize,
}

impl Replies {
    /// Keeps the replies of a new record, and drops the oldest above `bound` bytes in total.
    pub(crate) fn keep(&mut self, sequence: LogSequence, record: &CommitRecord, bound: usize) {
        let replies: Vec<Bytes> = record.turns.iter().map(|turn| turn.reply.clone()).collect();
        self.bytes += size(&replies);
        self.records.push_back((sequence, replies));
        while self.bytes > bound
            && let Some((_, replies)) = self.records.pop_front()
        {
            self.bytes -= size(&replies);
        }
    }

    /// The reply of a turn, if it is kept.
    pub(crate) fn get(&self, sequence: LogSequence, turn: usize) -> Option<&Bytes> {
        let index = self.records.binary_search_by_key(&sequence, |(sequence, _)| *sequence).ok()?;
        self.records[index].1.get(turn)
    }
}

fn size(replies: &[Bytes]) -> usize {
    replies.iter().map(|reply| reply.len() + REPLY_BYTES).sum()
}
