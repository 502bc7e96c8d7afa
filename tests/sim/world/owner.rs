//! One owner of one partition: the real core, and what the asynchronous loop keeps beside it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use actors_runtime::core::Core;
use actors_runtime::journal::{Commit, Committed};
use bus_client::events::Mark;
use bus_schemas::{EntityAddress, LogSequence, PartitionId};
use tokio::sync::Notify;

use super::{CallId, HostId, OwnerId};

/// How far an owner is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Its takeover record is on its way.
    Taking,
    /// The owner completes the fan-out of its predecessors.
    Completing,
    /// The owner serves.
    Serving,
    /// The owner serves what it has and takes nothing new.
    Draining,
    /// Its loop has ended; what it committed still leaves.
    Ended,
}

/// The fan-out of events: what `fanout::Events` keeps.
#[derive(Debug, Default)]
pub struct EventsFanout {
    pub mark: Mark,
    pub stream_sequence: u64,
    pub queue: VecDeque<Arc<Committed>>,
    /// The records of the round under way.
    pub round: Vec<Arc<Committed>>,
    pub busy: bool,
}

/// The fan-out of dead letters.
#[derive(Debug, Default)]
pub struct DeadFanout {
    pub queue: VecDeque<Arc<Committed>>,
    /// How many things of the first record are out.
    pub done: usize,
    pub busy: bool,
}

/// An owner.
pub struct Owner {
    pub id: OwnerId,
    pub host: HostId,
    pub partition: PartitionId,
    pub phase: Phase,
    /// The real loop without I/O.
    pub core: Core,
    /// The record on its way, the same bytes until its fate is known.
    pub commit: Option<Commit>,
    /// Counts the tries to append, so that a late answer to an earlier one is not taken for this one's.
    pub round: u64,
    /// How often the takeover was tried again.
    pub tries: usize,
    /// Records that the predecessors may not have fanned out.
    pub behind: Vec<Arc<Committed>>,
    pub loading: Vec<EntityAddress>,
    pub events: EventsFanout,
    pub dead: DeadFanout,
    /// What wakes it for claims that fit its work.
    pub places: Arc<Notify>,
    /// The queries that it has taken and not answered, and since when they are known to wait.
    pub asked: Vec<(CallId, Option<u64>)>,
    /// The next durable command is the first after this one.
    pub inbox_read: u64,
    pub applied: u64,
    pub trimmed: u64,
    pub mail_ready: BTreeMap<PartitionId, u64>,
    pub mail_oldest: BTreeMap<PartitionId, u64>,
    pub last_snapshot: LogSequence,
    /// Records that were committed since a snapshot was wanted.
    pub commits_wanted: Option<u32>,
    /// Whether snapshots of entities are on their way.
    pub writing: bool,
    /// Whether the stages are on the agenda already.
    pub awake: bool,
    /// When the agenda looks at the timers next.
    pub due_at: Option<u64>,
}

impl Owner {
    /// Whether it takes messages for this partition.
    pub fn listens(&self, partition: PartitionId) -> bool {
        self.partition == partition && self.phase == Phase::Serving
    }
    /// Whether its loop runs for this partition.
    pub fn serves(&self, partition: PartitionId) -> bool {
        self.partition == partition && self.phase != Phase::Ended
    }
    /// Whether its loop runs the stages.
    pub fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Serving | Phase::Draining)
    }
    /// Whether it has nothing left to do.
    pub fn rests(&self) -> bool {
        self.phase == Phase::Serving
            && self.core.is_idle()
            && self.core.fanout_lag() == 0
            && self.core.state.outbox.is_empty()
            && self.dead.queue.is_empty()
            && self.loading.is_empty()
    }
}
