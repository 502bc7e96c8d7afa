//! Everything that can be on the agenda, and to whom it happens.

use actors_core::Opening;
use actors_runtime::fold::Loaded;
use actors_runtime::journal::Commit;
use bus_schemas::{Body, CommandId, EntityAddress, Key, PartitionId};
use bytes::Bytes;
use smol_str::SmolStr;

use super::{
    AppendAnswer, CallId, HandOverId, HostId, Message, OwnerId, WorkerId, World, claims, follow, workers,
};
use crate::invariants::Check;

/// Everything that can be on the agenda.
pub enum Happening {
    /// A partition's loop runs its stages.
    Stages(OwnerId),
    Tick(OwnerId),
    /// A host tries to take a partition over.
    TakeOver(HostId, PartitionId),
    AppendArrives {
        owner: OwnerId,
        round: u64,
        commit: Commit,
    },
    AppendAnswered {
        owner: OwnerId,
        round: u64,
        answer: AppendAnswer,
    },
    AppendAgain {
        owner: OwnerId,
        round: u64,
    },
    ReadEndOfLog {
        owner: OwnerId,
        round: u64,
    },
    Load(OwnerId, EntityAddress),
    Loaded(OwnerId, EntityAddress, Loaded),
    PublishEvents(OwnerId),
    LookAtMark(OwnerId),
    PublishDead(OwnerId),
    SnapshotArrives(String, Bytes),
    /// An owner hears what became of the snapshots that it wrote.
    SnapshotsWritten(OwnerId, Vec<super::loading::Written>),
    PollInbox(OwnerId),
    /// A message arrives at whoever is subscribed.
    Arrives(PartitionId, Message),
    /// A message was waiting for its owner.
    Delivered(OwnerId, Message),
    CallTimeout(CallId),
    Answered(CallId, Bytes),
    HandOver(HandOverId),
    Leases(HostId),
    HostReturns(HostId),
    ClientActs,
    /// A host or a worker reads the events of halts and breakers that are new.
    Hears(follow::Follower),
    /// An owner is woken for claims that fit its work.
    Places(OwnerId),
    /// A claim is at a host, from its worker or from another host.
    ClaimArrives(claims::Sent),
    ClaimPassed(claims::Sent),
    /// An owner is asked whether it has used a claim.
    AskedWasUsed(OwnerId, usize),
    WasUsed(usize),
    DoubtEnds(usize),
    ClaimAnswered(claims::ClaimAnswer),
    /// A process of a host hears that nobody took the answer to a claim.
    Undelivered(HostId, u32, CommandId),
    PoolLooks(HostId),
    /// A host hears for what work another one has no place.
    Needs {
        host: HostId,
        from: HostId,
        unmet: Vec<Opening>,
    },
    TellsHeard(HostId),
    /// A host hears of which workers another one has heard, and how long ago.
    HearsOf {
        host: HostId,
        heard: Vec<(Key, SmolStr, u64)>,
    },
    WorkerRegisters(WorkerId),
    WorkerLooks(WorkerId),
    WorkerReturns(WorkerId),
    /// A worker is told to ask whether a job is still wanted, or all of them.
    Nudged {
        worker: WorkerId,
        job: Option<SmolStr>,
    },
    BeginTimeout {
        worker: WorkerId,
        job: usize,
        life: u32,
    },
    WorkRenews {
        worker: WorkerId,
        job: usize,
        life: u32,
    },
    /// A worker says what its call has used.
    CallSettled(EntityAddress, Body),
    WorkEnds {
        worker: WorkerId,
        job: usize,
        life: u32,
    },
    /// The grace of work that a halt interrupted is over.
    WorkWithdrawn {
        worker: WorkerId,
        job: usize,
        life: u32,
    },
}

impl World {
    /// What happens between hosts, claims and workers.
    pub(super) fn happens_to_work(&mut self, happening: Happening) -> Check {
        if let Some((host, until)) = self.stands_still(&happening) {
            self.note(format_args!("host {host} stands still"));
            self.at(until, happening);
            return Ok(());
        }
        match happening {
            Happening::Places(owner) => self.places(owner),
            Happening::ClaimArrives(sent) => self.claim_arrives(sent),
            Happening::ClaimPassed(sent) => self.claim_passed(sent),
            Happening::AskedWasUsed(owner, doubt) => self.asked_was_used(owner, doubt),
            Happening::WasUsed(doubt) => self.was_used(doubt),
            Happening::DoubtEnds(doubt) => self.doubt_ends(doubt),
            Happening::ClaimAnswered(answer) => self.claim_answered(&answer)?,
            Happening::Undelivered(host, process, claim) => self.undelivered(host, process, claim),
            Happening::PoolLooks(host) => {
                self.pool_looks(host);
                self.places_find_work()?;
            }
            Happening::Needs { host, from, unmet } => self.needs(host, from, &unmet),
            Happening::TellsHeard(host) => self.tells_heard(host),
            Happening::HearsOf { host, heard } => self.hears_of(host, &heard),
            Happening::WorkerRegisters(worker) => self.worker_registers(worker),
            Happening::WorkerLooks(worker) => self.worker_looks(worker),
            Happening::WorkerReturns(worker) => self.worker_returns(worker),
            Happening::Nudged { worker, job } => self.nudged(worker, job.as_ref()),
            Happening::BeginTimeout { worker, job, life } => self.begin_timeout(worker, job, life),
            Happening::WorkRenews { worker, job, life } => self.work_renews(worker, job, life),
            Happening::CallSettled(tree, settle) => self.ask(tree, settle, workers::Next::Nothing),
            Happening::WorkEnds { worker, job, life } => self.work_ends(worker, job, life),
            Happening::WorkWithdrawn { worker, job, life } => self.work_withdrawn(worker, job, life),
            _ => unreachable!("everything else happens to owners and callers"),
        }
        Ok(())
    }

    /// The host that stands still and to which this would happen, and until when.
    fn stands_still(&self, happening: &Happening) -> Option<(HostId, u64)> {
        let host = match happening {
            Happening::ClaimArrives(sent) | Happening::ClaimPassed(sent) => sent.host,
            Happening::Undelivered(host, ..)
            | Happening::PoolLooks(host)
            | Happening::Needs { host, .. }
            | Happening::TellsHeard(host)
            | Happening::HearsOf { host, .. } => *host,
            Happening::WasUsed(doubt) | Happening::DoubtEnds(doubt) => self.doubts[*doubt].host(),
            _ => return None,
        };
        let until = self.hosts[host].frozen_until;
        (until > self.time).then_some((host, until))
    }
}

impl Happening {
    /// The owner to whom it happens, if it is one: a frozen host's owners are late for everything.
    pub(super) fn owner(&self) -> Option<OwnerId> {
        match self {
            Self::Stages(owner)
            | Self::Tick(owner)
            | Self::AppendAnswered { owner, .. }
            | Self::AppendAgain { owner, .. }
            | Self::ReadEndOfLog { owner, .. }
            | Self::Load(owner, _)
            | Self::Loaded(owner, ..)
            | Self::SnapshotsWritten(owner, _)
            | Self::PublishEvents(owner)
            | Self::LookAtMark(owner)
            | Self::PublishDead(owner)
            | Self::Places(owner)
            | Self::AskedWasUsed(owner, _)
            | Self::PollInbox(owner)
            | Self::Delivered(owner, _) => Some(*owner),
            _ => None,
        }
    }
}
