//! Stage 7, effects, modelled: workers of two agents claim jobs, ask whether they are their own, renew,
//! report, report twice, fall silent, die, and are started again while a former process goes on. They
//! speak to hosts and tasks as the real worker does.

use std::collections::BTreeMap;

use bus_schemas::commands::agent::{self, AgentCard, Skill};
use bus_schemas::commands::task;
use bus_schemas::jobs::{EffectStep, FailureClass, Job};
use bus_schemas::{Body, CommandId, Key, Reply};
use smol_str::{SmolStr, format_smolstr};

use super::calls::DEPENDENCIES;
use super::claiming::OpenClaim;
use super::claims::Sent;
use super::clients::{LANES, address, key};
use super::follow::{Follower, WorkerView};
use super::reports::{failure, job_id};
use super::{Happening, HostId, WorkerId, World};
use crate::coverage::Reached;
use crate::invariants::{Check, answers, hold};

/// The agents.
pub const AGENTS: [&str; 2] = ["alpha", "omega"];
/// Between two renewals.
const RENEW_MS: u64 = 10_000;
/// Between two tries to register.
const REGISTER_MS: u64 = 3_000;

/// A worker: one process under a name.
#[derive(Debug)]
pub struct Worker {
    pub agent: Key,
    pub name: SmolStr,
    pub skills: Vec<SmolStr>,
    /// What its work calls.
    pub dependency: Key,
    pub capacity: u32,
    alive: bool,
    pub registered: bool,
    /// Whether it is the second process of its name: none of those is left in a calm world.
    is_double: bool,
    /// How often it was started: what an earlier life left behind is not its own.
    pub life: u32,
    /// What hosts tell processes of one name apart by: the higher one is the newer one.
    pub incarnation: u64,
    pub running: BTreeMap<usize, Work>,
    /// The claims of which it has heard nothing final.
    pub open: BTreeMap<CommandId, OpenClaim>,
    /// A partition has a new owner: what is open is sent again.
    pub again: bool,
    /// What it knows of halts and breakers.
    pub view: WorkerView,
    /// Calls that succeeded and were not reported yet.
    pub unreported: u32,
}

/// A job that a worker has.
#[derive(Debug, Clone)]
pub struct Work {
    pub job: Job,
    /// Whether it was told that the job is its own.
    pub started: bool,
    /// What came of its call.
    pub called: Called,
    /// Whether what the call may use is reserved.
    pub reserved: bool,
    /// Whether a halt has interrupted it.
    pub interrupted: bool,
    /// Whether its one report is on its way.
    pub reported: bool,
}

/// What came of the call that a job makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Called {
    /// The call was not made yet.
    NotYet,
    /// The call succeeded.
    Well,
    /// The call failed.
    Badly,
    /// The breaker does not let it through.
    Barred,
}

/// What a caller does with an answer.
#[derive(Debug, Clone, Default)]
pub enum Next {
    /// Nothing.
    #[default]
    Nothing,
    /// A worker heard whether it is registered.
    Joined { worker: WorkerId, life: u32 },
    /// A worker heard whether a job is its own, before it begins.
    Begun { worker: WorkerId, job: usize, life: u32 },
    /// A worker heard whether it may go on.
    Renewed { worker: WorkerId, job: usize, life: u32 },
    /// A worker heard whether the budget of the tree allows its call.
    Reserved { worker: WorkerId, job: usize, life: u32 },
    /// A worker heard whether it may try one call.
    Probed { worker: WorkerId, job: usize, life: u32 },
    /// A worker heard whether its step is recorded.
    Stepped { worker: WorkerId, job: usize, life: u32 },
    /// A worker heard whether a step of an effect is in the ledger.
    Effect { worker: WorkerId, job: usize, life: u32, step: EffectStep },
    /// A worker heard whether its report was taken; a result that is not is reported as a failure.
    Reported { worker: WorkerId, job: usize, life: u32, result: bool },
    /// A host heard what an agent is.
    Known(Box<Sent>),
    /// A host heard that an agent knows of its lost worker.
    Lost { host: HostId, agent: Key, worker: SmolStr },
}

impl Next {
    /// The worker that asks, if one does, and its life.
    pub(super) fn worker(&self) -> Option<(WorkerId, u32)> {
        match self {
            Self::Nothing | Self::Known(_) | Self::Lost { .. } => None,
            Self::Joined { worker, life }
            | Self::Begun { worker, life, .. }
            | Self::Renewed { worker, life, .. }
            | Self::Reserved { worker, life, .. }
            | Self::Probed { worker, life, .. }
            | Self::Stepped { worker, life, .. }
            | Self::Effect { worker, life, .. }
            | Self::Reported { worker, life, .. } => Some((*worker, *life)),
        }
    }
    /// How often it is asked, where that is not as often as usual: hosts have no patience.
    pub(super) fn tries_max(&self) -> Option<u32> {
        matches!(self, Self::Known(_) | Self::Lost { .. }).then_some(2)
    }
}

impl Worker {
    pub fn is_alive(&self) -> bool {
        self.alive
    }
    /// Its job, if it is still that of this life.
    pub fn work(&mut self, job: usize, life: u32) -> Option<&mut Work> {
        if self.life == life { self.running.get_mut(&job) } else { None }
    }
    /// Whether it can do this.
    pub fn fits(&self, agent: Option<&Key>, lane: &Key, skill: &SmolStr) -> bool {
        let serves = LANES.contains(&lane.as_str()) && self.skills.contains(skill);
        serves && agent.is_none_or(|agent| *agent == self.agent)
    }
    /// How many jobs it could begin.
    pub fn free(&self) -> u32 {
        self.capacity.saturating_sub(self.running.len() as u32)
    }
    /// How many of them it has not claimed for.
    pub fn unclaimed(&self) -> u32 {
        self.free().saturating_sub(self.open.values().map(|open| open.left).sum())
    }
}

impl World {
    pub(super) fn start_workers(&mut self) {
        let shared = self.random.chance(500);
        for (agent, skills) in [(AGENTS[0], vec!["code"]), (AGENTS[1], vec!["plan", "code"])] {
            let dependency = if shared || agent == AGENTS[0] { DEPENDENCIES[0] } else { DEPENDENCIES[1] };
            for number in 0..self.random.between(1, 2) {
                for is_double in [false, true] {
                    self.workers.push(Worker {
                        agent: key(agent),
                        name: format_smolstr!("{agent}-{number}"),
                        skills: skills.iter().copied().map(SmolStr::new).collect(),
                        dependency: key(dependency),
                        capacity: self.random.between(1, 3) as u32,
                        alive: !is_double,
                        registered: false,
                        is_double,
                        life: 0,
                        incarnation: 1,
                        running: BTreeMap::new(),
                        open: BTreeMap::new(),
                        again: false,
                        view: WorkerView::default(),
                        unreported: 0,
                    });
                    let worker = self.workers.len() - 1;
                    self.soon(1, Happening::WorkerRegisters(worker));
                    self.soon(500, Happening::WorkerLooks(worker));
                }
            }
        }
    }

    /// A worker that is not registered says what it is.
    pub(super) fn worker_registers(&mut self, id: WorkerId) {
        self.soon(REGISTER_MS, Happening::WorkerRegisters(id));
        self.say_hello(id);
        if !self.workers[id].is_double && self.fault(self.faults.worker_doubles, Reached::WorkerDoubled) {
            // Its other process: the one that is up goes on.
            self.worker_returns(id + 1);
        }
    }

    pub(super) fn say_hello(&mut self, id: WorkerId) {
        let worker = &self.workers[id];
        if !worker.alive || worker.registered {
            return;
        }
        let skill = |id: &SmolStr| Skill { id: id.clone(), name: id.to_string(), ..Skill::default() };
        let command = agent::Command::Register {
            worker: worker.name.clone(),
            card: AgentCard {
                dependencies: vec![worker.dependency.clone()],
                name: worker.agent.clone(),
                description: "a simulated agent".to_owned(),
                version: "1".to_owned(),
                skills: worker.skills.iter().map(skill).collect(),
            },
            capacity: worker.capacity,
            lanes: LANES.map(key).to_vec(),
        };
        let (agent, life) = (worker.agent.clone(), worker.life);
        self.ask(address(&command, agent), Body::json(&command), Next::Joined { worker: id, life });
    }

    pub(super) fn report_as(&mut self, job: &Job, command: &task::Command, id: CommandId, next: Next) {
        self.ask_as(id, job.task.clone(), Body::json(command), next);
    }

    pub(super) fn finish(&mut self, worker: WorkerId, job: usize) {
        self.workers[worker].running.remove(&job);
    }

    /// A worker hears an answer, or that there is none.
    pub(super) fn worker_hears(&mut self, next: Next, reply: Option<&Reply>) -> Check {
        let Some((worker, life)) = next.worker() else { return Ok(()) };
        if self.workers[worker].life != life {
            return Ok(());
        }
        let accepted = matches!(reply, Some(Reply::Accepted { .. }));
        match next {
            Next::Nothing | Next::Known(_) | Next::Lost { .. } => {}
            Next::Joined { worker, .. } => self.workers[worker].registered |= accepted,
            Next::Begun { worker, job, life } => return self.may_begin(worker, job, life, reply),
            Next::Renewed { worker, job, life } if is_halted(reply) => {
                self.withdraw(worker, job, life, "halted");
            }
            Next::Renewed { worker, job, .. } => {
                if matches!(reply, Some(Reply::Refused { .. })) {
                    self.finish(worker, job);
                }
            }
            Next::Reserved { worker, job, life } if is_halted(reply) => {
                self.withdraw(worker, job, life, "halted");
            }
            Next::Reserved { worker, job, life } => self.may_use(worker, job, life, reply),
            Next::Probed { worker, job, life } => self.may_call(worker, job, life, reply),
            Next::Stepped { worker, job, life } => self.report(worker, job, life),
            Next::Effect { worker, job, life, .. } if is_halted(reply) => {
                self.withdraw(worker, job, life, "halted");
            }
            Next::Effect { worker, job, life, step } => {
                if accepted {
                    return self.next_effect(worker, job, life, step);
                }
                self.report(worker, job, life);
            }
            Next::Reported { worker, job, life, result } => {
                if let Some(known) = self.work(worker, job, life)
                    && result
                    && matches!(reply, Some(Reply::Refused { .. }))
                {
                    let failed = failure(&known, FailureClass::Permanent, "result-not-taken");
                    let next = Next::Reported { worker, job, life, result: false };
                    self.report_as(&known, &failed, job_id(&known).derive("fail", 1), next);
                } else {
                    self.finish(worker, job);
                }
            }
        }
        Ok(())
    }

    /// A worker was told whether a job is its own.
    fn may_begin(&mut self, worker: WorkerId, job: usize, life: u32, reply: Option<&Reply>) -> Check {
        let Some(known) = self.work(worker, job, life) else { return Ok(()) };
        match reply {
            Some(Reply::Accepted { .. }) => return self.begin_work(worker, job, life),
            Some(reply) if is_halted(Some(reply)) => {
                self.coverage.note(Reached::HaltedJobGivenBack);
                self.finish(worker, job);
                self.give_back(worker, &known, Next::Nothing);
            }
            Some(Reply::Refused { .. }) => {
                self.coverage.note(Reached::StartRefused);
                self.finish(worker, job);
            }
            None => self.finish(worker, job),
        }
        Ok(())
    }

    pub(super) fn begin_work(&mut self, worker: WorkerId, job: usize, life: u32) -> Check {
        let Some(known) = self.work(worker, job, life) else { return Ok(()) };
        self.audit.begins_only_its_own(&known)?;
        let silent = self.fault(self.faults.worker_silent, Reached::WorkerSilent);
        let effort = match self.random.below(10) {
            _ if silent => self.random.between(45_000, 70_000),
            0 => self.random.between(12_000, 25_000),
            _ => self.random.between(50, 4_000),
        };
        if !silent {
            self.soon(RENEW_MS, Happening::WorkRenews { worker, job, life });
        }
        self.soon(effort, Happening::WorkEnds { worker, job, life });
        if let Some(work) = self.workers[worker].work(job, life) {
            work.started = true;
        }
        let known = &self.workers[worker];
        let begun = known.running.values().filter(|work| work.started).count() as u32;
        hold(begun <= known.capacity, "capacity_never_exceeded", || {
            format!("worker {} was told to begin {begun} jobs, and has {} places", known.name, known.capacity)
        })?;
        // One that came while it was asked for.
        self.stop_halted_work(worker);
        Ok(())
    }

    pub(super) fn work(&mut self, worker: WorkerId, job: usize, life: u32) -> Option<Job> {
        self.workers[worker].work(job, life).map(|work| work.job.clone())
    }

    /// A worker is still at it.
    pub(super) fn work_renews(&mut self, worker: WorkerId, index: usize, life: u32) {
        let Some(job) = self.work(worker, index, life) else { return };
        self.renew(&job, true, Next::Renewed { worker, job: index, life });
        self.soon(RENEW_MS, Happening::WorkRenews { worker, job: index, life });
    }

    /// A worker hears that a job may not be wanted any more, or that a partition has a new owner: it asks.
    pub(super) fn nudged(&mut self, id: WorkerId, job: Option<&SmolStr>) {
        let worker = &mut self.workers[id];
        if !worker.alive {
            return;
        }
        worker.again |= job.is_none();
        let life = worker.life;
        let meant = worker.running.iter().filter(|(_, work)| work.started && !work.reported);
        let meant = meant.filter(|(_, work)| job.is_none_or(|job| *job == work.job.id));
        let meant: Vec<(usize, Job)> = meant.map(|(index, work)| (*index, work.job.clone())).collect();
        for (index, known) in meant {
            if job.is_some() {
                self.coverage.note(Reached::JobStopped);
            }
            self.renew(&known, false, Next::Renewed { worker: id, job: index, life });
        }
    }

    pub(super) fn worker_dies(&mut self, id: WorkerId) {
        let worker = &mut self.workers[id];
        worker.alive = false;
        worker.registered = false;
        worker.life += 1;
        worker.running.clear();
        worker.open.clear();
        worker.view = WorkerView::default();
        worker.unreported = 0;
        let text = format!("worker {} dies", worker.name);
        let leave = agent::Command::Deregister { worker: worker.name.clone(), reason: "stopping".to_owned() };
        let agent = worker.agent.clone();
        self.note(text);
        self.abandon(|next| next.worker().is_some_and(|(worker, _)| worker == id));
        if self.random.chance(300) {
            self.tell(agent, &leave);
        }
        if !self.workers[id].is_double {
            let away = self.random.between(500, 45_000);
            self.soon(away, Happening::WorkerReturns(id));
        }
    }

    pub(super) fn worker_returns(&mut self, id: WorkerId) {
        if !self.workers[id].alive {
            self.workers[id].alive = true;
            self.workers[id].incarnation = self.time;
            self.hears(Follower::Worker(id));
            self.say_hello(id);
        }
    }

    /// Every worker is there and stays, one of each name.
    pub(super) fn calm_workers(&mut self) {
        for worker in 0..self.workers.len() {
            match self.workers[worker].is_double {
                true if self.workers[worker].alive => self.worker_dies(worker),
                true => {}
                false => self.worker_returns(worker),
            }
        }
    }
}

/// Whether a task lets nothing begin because of a halt.
fn is_halted(reply: Option<&Reply>) -> bool {
    matches!(reply, Some(Reply::Refused { refusal, .. }) if refusal.code == answers::HALTED)
}
