//! The simulated world: virtual time, an agenda of what happens when, and everybody in it.
//!
//! One step takes the next happening off the agenda. Faults are drawn while the world is wild; then
//! it calms down, and everything that was begun must come to its end.

mod budgets;
mod callers;
mod calls;
mod claiming;
mod claims;
mod clients;
mod fanout;
mod follow;
mod free;
mod happening;
mod hosts;
mod journal;
mod loading;
mod mail;
mod operators;
mod owner;
mod partition;
mod reports;
mod takeover;
mod views;
mod words;
mod workers;

use std::collections::BTreeMap;
use std::sync::Arc;

use actors_core::Registry;
use bus_client::mail::{Parcel, Receipt};
use bus_schemas::subjects::Subjects;
use bus_schemas::{EntityAddress, LogSequence, PartitionId};
use smol_str::SmolStr;

use crate::coverage::{Coverage, Reached};
use crate::faults::{Defect, Faults};
use crate::invariants::{Audit, Check, Violation, hold};
use crate::random::Random;
use crate::store::Store;
use crate::trace::Trace;

pub use callers::{CallId, HandOverId};
pub use happening::Happening;
pub use owner::{Owner, Phase};

/// Names one owner of one partition for ever.
pub type OwnerId = u32;
/// Which host.
pub type HostId = usize;
/// Which worker.
pub type WorkerId = usize;

/// When virtual time begins: any moment will do, as long as ids made at it look like ids.
const BEGINNING: u64 = 1_700_000_000_000;
/// Hosts that compete for the partitions.
const HOSTS: usize = 3;
/// Steps in which a calm world must come to rest; far more than the longest backoff and lease need.
const CALM_STEPS_MAX: u64 = 30_000;
/// How often a calm world is asked whether it rests.
const REST_LOOK_STEPS: u64 = 64;

/// What one seed says beside its faults.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// How many partitions.
    pub partitions: u16,
    /// Live entities of one owner.
    pub cache_entities_max: usize,
    /// Bytes of one group.
    pub record_bytes_max: usize,
    /// Events of one batch.
    pub batch_events_max: usize,
    /// Bytes of one answer to a claim.
    pub answer_bytes_max: usize,
    /// Records between two snapshots of a partition.
    pub snapshot_records: u64,
    /// Whether one entity gets so many events that it needs snapshots of its own.
    pub flood: bool,
    /// Steps with faults.
    pub wild_steps: u64,
}

/// A message on a subscription of a partition.
#[derive(Debug, Clone)]
pub enum Message {
    Ask(CallId),
    Parcel(Parcel),
    Receipt(Receipt),
}

/// What the log's server answers.
#[derive(Debug, Clone)]
pub enum AppendAnswer {
    Written(LogSequence),
    Conflict,
    Refused,
    Unanswered,
}

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// What was reached.
    pub coverage: Coverage,
    /// One number for everything that happened.
    pub trace_hash: u64,
    /// How many steps it took.
    pub steps: u64,
    /// How many records the logs hold at the end.
    pub records: u64,
}

/// A run that broke a promise.
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// The step at which it was noticed.
    pub step: u64,
    /// What was broken.
    pub violation: Violation,
    /// The last lines of the trace.
    pub trace: Vec<String>,
}

/// Everything.
pub struct World {
    pub random: Random,
    pub time: u64,
    order: u64,
    agenda: BTreeMap<(u64, u64), Happening>,
    pub shape: Shape,
    pub faults: Faults,
    pub defect: Option<Defect>,
    pub calm: bool,
    pub registry: Arc<Registry>,
    pub subjects: Subjects,
    pub store: Store,
    pub audit: Audit,
    hosts: Vec<hosts::Host>,
    leases: BTreeMap<PartitionId, hosts::Lease>,
    owners: BTreeMap<OwnerId, Owner>,
    owners_made: OwnerId,
    pub callers: callers::Callers,
    workers: Vec<workers::Worker>,
    /// The jobs that workers were told of, and their numbers.
    jobs: Vec<SmolStr>,
    job_numbers: BTreeMap<SmolStr, usize>,
    doubts: Vec<claims::Doubt>,
    /// What could begin and who could do it, since when.
    free: free::Free,
    clients: clients::Clients,
    /// Until when each dependency is ill.
    ill_until: [u64; calls::DEPENDENCIES.len()],
    pub coverage: Coverage,
    pub trace: Trace,
}

/// Runs one seed, with or without a defect in the model.
pub fn run(seed: u64, registry: &Arc<Registry>, defect: Option<Defect>) -> Result<Outcome, Box<Failure>> {
    let mut world = World::new(seed, registry, defect);
    let mut step = 0;
    match world.live(&mut step) {
        Ok(()) => {
            let records = world.partitions().map(|partition| world.audit.last(partition).0).sum();
            let trace_hash = world.trace.hash();
            Ok(Outcome { coverage: world.coverage, trace_hash, steps: step, records })
        }
        Err(violation) => Err(Box::new(Failure { seed, step, violation, trace: world.trace.last() })),
    }
}

impl World {
    fn new(seed: u64, registry: &Arc<Registry>, defect: Option<Defect>) -> Self {
        let mut random = Random::new(seed);
        let shape = Shape {
            partitions: random.between(2, 3) as u16,
            cache_entities_max: random.between(1, 12) as usize,
            record_bytes_max: random.between(400, 20_000) as usize,
            batch_events_max: random.between(1, 6) as usize,
            answer_bytes_max: random.between(300, 2_000) as usize,
            snapshot_records: random.between(3, 40),
            flood: random.chance(100) || defect == Some(Defect::SnapshotClaimsMore),
            wild_steps: random.between(600, 4_000),
        };
        let faults = Faults::drawn(&mut random);
        let mut world = Self {
            random,
            time: BEGINNING,
            order: 0,
            agenda: BTreeMap::new(),
            shape,
            faults,
            defect,
            calm: false,
            registry: Arc::clone(registry),
            subjects: Subjects::default(),
            store: Store::default(),
            audit: Audit::new(registry, shape.partitions),
            hosts: Vec::new(),
            leases: BTreeMap::new(),
            owners: BTreeMap::new(),
            owners_made: 0,
            callers: callers::Callers::default(),
            workers: Vec::new(),
            jobs: Vec::new(),
            job_numbers: BTreeMap::new(),
            doubts: Vec::new(),
            free: free::Free::default(),
            clients: clients::Clients::default(),
            ill_until: [0; calls::DEPENDENCIES.len()],
            coverage: Coverage::default(),
            trace: Trace::new(),
        };
        world.start_hosts(HOSTS);
        world.start_workers();
        world.start_breakers();
        world.soon(1, Happening::ClientActs);
        world
    }

    /// The wild time, then the calm one, then the last look.
    fn live(&mut self, step: &mut u64) -> Check {
        while *step < self.shape.wild_steps {
            *step += 1;
            self.step()?;
        }
        self.calm_down();
        let last = *step + CALM_STEPS_MAX;
        while !(step.is_multiple_of(REST_LOOK_STEPS) && self.unrest().is_none()) {
            if *step == last {
                let unrest = self.unrest().unwrap_or_default();
                let open =
                    self.audit.open_task().map(|task| format!("; {task}, is open")).unwrap_or_default();
                return hold(false, "every_open_task_moves", || format!("no rest: {unrest}{open}"));
            }
            *step += 1;
            self.step()?;
        }
        self.check_end()
    }

    /// Lets the next thing happen.
    fn step(&mut self) -> Check {
        let Some(((at, _), happening)) = self.agenda.pop_first() else { return Ok(()) };
        self.time = self.time.max(at);
        if let Some(owner) = happening.owner() {
            let Some(until) = self.frozen_until(owner) else { return Ok(()) };
            if until > self.time {
                self.at(until, happening);
                return Ok(());
            }
        }
        self.happen(happening)
    }

    fn happen(&mut self, happening: Happening) -> Check {
        match happening {
            Happening::Stages(owner) => self.stages(owner)?,
            Happening::Tick(owner) => self.tick(owner)?,
            Happening::TakeOver(host, partition) => self.take_over(host, partition)?,
            Happening::AppendArrives { owner, round, commit } => {
                self.append_arrives(owner, round, &commit)?
            }
            Happening::AppendAnswered { owner, round, answer } => {
                self.append_answered(owner, round, answer)?
            }
            Happening::AppendAgain { owner, round } => self.append_again(owner, round)?,
            Happening::ReadEndOfLog { owner, round } => self.read_end_of_log(owner, round)?,
            Happening::Load(owner, entity) => self.load(owner, &entity)?,
            Happening::Loaded(owner, entity, loaded) => self.loaded(owner, entity, loaded),
            Happening::PublishEvents(owner) => self.publish_events(owner)?,
            Happening::LookAtMark(owner) => self.look_at_mark(owner),
            Happening::PublishDead(owner) => self.publish_dead(owner)?,
            Happening::SnapshotArrives(name, bytes) => self.snapshot_arrives(name, bytes)?,
            Happening::SnapshotsWritten(owner, written) => self.snapshots_written(owner, written),
            Happening::PollInbox(owner) => self.poll_inbox(owner),
            Happening::Arrives(partition, message) => self.arrives(partition, &message)?,
            Happening::Delivered(owner, message) => self.deliver(owner, message)?,
            Happening::CallTimeout(call) => self.call_timeout(call)?,
            Happening::Answered(call, payload) => self.answered(call, payload)?,
            Happening::HandOver(hand_over) => self.hand_over_arrives(hand_over),
            Happening::Leases(host) => self.renew_leases(host),
            Happening::HostReturns(host) => self.host_returns(host),
            Happening::ClientActs => self.client_acts(),
            Happening::Hears(follower) => self.hears(follower),
            happening => return self.happens_to_work(happening),
        }
        Ok(())
    }

    /// Puts something on the agenda.
    pub fn at(&mut self, time: u64, happening: Happening) {
        self.order += 1;
        self.agenda.insert((time, self.order), happening);
    }
    /// Puts something on the agenda, so many milliseconds from now.
    pub fn soon(&mut self, milliseconds: u64, happening: Happening) {
        self.at(self.time + milliseconds, happening);
    }
    /// How long a message takes.
    pub fn latency(&mut self) -> u64 {
        self.random.between(1, 20)
    }
    /// Whether a fault happens now; none happens in a calm world.
    pub fn fault(&mut self, per_mille: u32, reached: Reached) -> bool {
        let happens = self.random.chance(per_mille) && !self.calm;
        if happens {
            self.coverage.note(reached);
        }
        happens
    }
    /// Adds a line to the trace.
    pub fn note(&mut self, text: impl std::fmt::Display) {
        self.trace.line(format!("{:>8} {text}", self.time - BEGINNING));
    }
    /// The partition of an entity.
    pub fn home(&self, entity: &EntityAddress) -> PartitionId {
        entity.partition(self.shape.partitions)
    }
    /// All partitions.
    pub fn partitions(&self) -> impl Iterator<Item = PartitionId> + use<> {
        (0..self.shape.partitions).map(PartitionId)
    }

    /// Ends the faults and lets everybody come back.
    fn calm_down(&mut self) {
        self.note("calm");
        self.calm = true;
        self.free.begin(self.time);
        self.calm_hosts();
        self.calm_workers();
    }

    /// What keeps the world from resting, if anything does.
    pub fn unrest(&self) -> Option<String> {
        for partition in self.partitions() {
            let serving: Vec<&Owner> = self.owners.values().filter(|owner| owner.serves(partition)).collect();
            let [owner] = serving[..] else {
                return Some(format!("partition {partition} has {} owners", serving.len()));
            };
            if !owner.rests() {
                return Some(format!("partition {partition} is at work"));
            }
            if let Some(command) =
                self.store.inbox.iter().find(|command| {
                    command.partition == partition && command.sequence > owner.core.state.inbox
                })
            {
                return Some(format!("inbox {} waits", command.sequence));
            }
        }
        if let Some(halt) = self.audit.active_halts().first() {
            return Some(format!("`{halt}` is halted"));
        }
        let open = self.callers.open().or_else(|| self.audit.open_task());
        let open = open.or_else(|| self.audit.open_redrive());
        open.map(|open| format!("{open} is open"))
    }
}
