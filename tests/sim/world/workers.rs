//! Stage 7, effects, modelled: workers of two agents take jobs, renew, report, report twice, fall
//! silent and die. They speak to tasks as the real worker does: start, renew, effects, one report.

use std::collections::BTreeMap;

use bus_schemas::commands::agent::{self, AgentCard, Skill};
use bus_schemas::commands::task;
use bus_schemas::jobs::{EffectStep, FailureClass, Job};
use bus_schemas::{Body, CommandId, Key, Reply};
use smol_str::{SmolStr, format_smolstr};

use super::calls::DEPENDENCIES;
use super::clients::{LANES, address, key};
use super::follow::{Follower, WorkerView};
use super::reports::{failure, job_id};
use super::{Happening, WorkerId, World};
use crate::coverage::Reached;
use crate::invariants::{Check, answers};

/// How long a delivered job stays with its worker without renewal: `bus_client::jobs::ACK_WAIT`.
const ACK_WAIT_MS: u64 = 30_000;
/// How long a job that was given back is not delivered: the worker's `RETURN_PAUSE`.
const GIVEN_BACK_MS: u64 = 5_000;
/// Between two renewals.
const RENEW_MS: u64 = 10_000;
/// Between two heartbeats.
const BEAT_MS: u64 = 9_000;
/// How long a worker may be silent.
const HEARTBEAT_MS: u64 = 10_000;

/// A worker.
#[derive(Debug)]
pub struct Worker {
    agent: Key,
    pub name: SmolStr,
    skills: Vec<SmolStr>,
    /// What its work calls.
    pub dependency: Key,
    capacity: u32,
    alive: bool,
    registered: bool,
    /// How often it was started: what an earlier life left behind is not its own.
    pub life: u32,
    pub running: BTreeMap<usize, Work>,
    /// What it knows of halts and breakers.
    pub view: WorkerView,
    /// Calls that succeeded and were not reported yet.
    pub unreported: u32,
}

/// A job that a worker has.
#[derive(Debug, Clone)]
pub struct Work {
    pub job: Job,
    /// Whether it was accepted that the work begins.
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
    /// It was not made yet.
    NotYet,
    /// It succeeded.
    Well,
    /// It failed.
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
    /// A worker heard whether it is known.
    Joined { worker: WorkerId, life: u32 },
    /// A worker heard whether it may begin.
    Started { worker: WorkerId, job: usize, life: u32 },
    /// A worker heard whether it may go on.
    Renewed { worker: WorkerId, job: usize, life: u32 },
    /// A worker heard whether the budget of the tree allows its call.
    Reserved { worker: WorkerId, job: usize, life: u32 },
    /// A worker heard whether it may try one call.
    Probed { worker: WorkerId, job: usize, life: u32 },
    /// A worker heard whether a step of an effect is in the ledger.
    Effect { worker: WorkerId, job: usize, life: u32, step: EffectStep },
    /// A worker heard whether its report was taken; a result that is not is reported as a failure.
    Reported { worker: WorkerId, job: usize, life: u32, result: bool },
}

impl Next {
    /// The worker that asks, if one does, and its life.
    pub(super) fn worker(&self) -> Option<(WorkerId, u32)> {
        match self {
            Self::Nothing => None,
            Self::Joined { worker, life }
            | Self::Started { worker, life, .. }
            | Self::Renewed { worker, life, .. }
            | Self::Reserved { worker, life, .. }
            | Self::Probed { worker, life, .. }
            | Self::Effect { worker, life, .. }
            | Self::Reported { worker, life, .. } => Some((*worker, *life)),
        }
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
}

impl World {
    pub(super) fn start_workers(&mut self) {
        let shared = self.random.chance(500);
        for (agent, skills) in [("alpha", vec!["code"]), ("omega", vec!["plan", "code"])] {
            let dependency = if shared || agent == "alpha" { DEPENDENCIES[0] } else { DEPENDENCIES[1] };
            for number in 0..self.random.between(1, 2) {
                self.workers.push(Worker {
                    agent: key(agent),
                    name: format_smolstr!("{agent}-{number}"),
                    skills: skills.iter().copied().map(SmolStr::new).collect(),
                    dependency: key(dependency),
                    capacity: self.random.between(1, 2) as u32,
                    alive: true,
                    registered: false,
                    life: 0,
                    running: BTreeMap::new(),
                    view: WorkerView::default(),
                    unreported: 0,
                });
                let worker = self.workers.len() - 1;
                self.soon(1, Happening::WorkerBeats(worker));
                self.soon(500, Happening::WorkerLooks(worker));
            }
        }
    }

    /// A worker says that it is there; one that is not known registers.
    pub(super) fn worker_beats(&mut self, id: WorkerId) {
        self.soon(BEAT_MS, Happening::WorkerBeats(id));
        self.say_hello(id);
    }

    fn say_hello(&mut self, id: WorkerId) {
        let worker = &self.workers[id];
        if !worker.alive {
            return;
        }
        let skill = |id: &SmolStr| Skill {
            id: id.clone(),
            name: id.to_string(),
            description: String::new(),
            tags: Vec::new(),
        };
        let command = if worker.registered {
            agent::Command::Heartbeat { worker: worker.name.clone(), running: worker.running.len() as u32 }
        } else {
            agent::Command::Register {
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
                heartbeat_ms: HEARTBEAT_MS,
            }
        };
        let (agent, life) = (worker.agent.clone(), worker.life);
        self.ask(address(&command, agent), Body::json(&command), Next::Joined { worker: id, life });
    }

    /// A worker takes the next job of its agent, if it has room.
    pub(super) fn worker_looks(&mut self, id: WorkerId) -> Check {
        let pause = self.random.between(200, 1_500);
        self.soon(if self.calm { 2 * pause } else { pause }, Happening::WorkerLooks(id));
        let worker = &mut self.workers[id];
        if !worker.alive || !worker.registered || worker.running.len() >= worker.capacity as usize {
            return Ok(());
        }
        let time = self.time;
        let ready = |job: &crate::store::StoredJob| !job.finished && job.visible_at <= time;
        let next = (0..).zip(&mut self.store.jobs).find(|(_, job)| job.agent == worker.agent && ready(job));
        let Some((index, stored)) = next else { return Ok(()) };
        stored.delivered += 1;
        stored.visible_at = time + ACK_WAIT_MS;
        let delivered = stored.delivered;
        let job: Job = serde_json::from_slice(&stored.body).expect("a task wrote it");
        if worker.view.halts_job(&job) {
            stored.visible_at = time + GIVEN_BACK_MS;
            self.coverage.note(Reached::HaltedJobGivenBack);
            return Ok(());
        }
        let start = task::Command::StartJob { attempt: job.attempt, worker: worker.name.to_string() };
        let purpose = format!("start/{}", worker.name);
        let next = Next::Started { worker: id, job: index, life: worker.life };
        let text = format!("worker {} takes {} ({delivered})", worker.name, job.id);
        let called = Called::NotYet;
        let work = Work {
            job: job.clone(),
            started: false,
            called,
            reserved: false,
            interrupted: false,
            reported: false,
        };
        worker.running.insert(index, work);
        self.note(text);
        if delivered > 1 {
            self.coverage.note(Reached::JobDeliveredAgain);
        }
        self.halted_means_no_effect_starts(id, &job, "a job")?;
        self.report_as(&job, &start, job_id(&job).derive(&purpose, delivered), next);
        Ok(())
    }

    pub(super) fn report_as(&mut self, job: &Job, command: &task::Command, id: CommandId, next: Next) {
        self.ask_as(id, job.task.clone(), Body::json(command), next);
    }

    fn finish(&mut self, worker: WorkerId, job: usize) {
        self.workers[worker].running.remove(&job);
        self.store.jobs[job].finished = true;
    }

    /// A worker hears an answer, or that there is none.
    pub(super) fn worker_hears(&mut self, next: Next, reply: Option<&Reply>) -> Check {
        let Some((worker, life)) = next.worker() else { return Ok(()) };
        if self.workers[worker].life != life {
            return Ok(());
        }
        let accepted = matches!(reply, Some(Reply::Accepted { .. }));
        match next {
            Next::Nothing => {}
            Next::Joined { worker, .. } => {
                let known = std::mem::replace(&mut self.workers[worker].registered, accepted);
                if known && !accepted && reply.is_some() {
                    self.say_hello(worker);
                }
            }
            Next::Started { worker, job, life } => match reply {
                Some(Reply::Accepted { .. }) => self.begin_work(worker, job, life),
                Some(reply) if is_halted(Some(reply)) => {
                    self.coverage.note(Reached::HaltedJobGivenBack);
                    self.workers[worker].running.remove(&job);
                    self.store.jobs[job].visible_at = self.time + GIVEN_BACK_MS;
                }
                Some(Reply::Refused { .. }) => {
                    self.coverage.note(Reached::StartRefused);
                    self.finish(worker, job);
                }
                None => {
                    self.workers[worker].running.remove(&job);
                    self.store.jobs[job].visible_at = self.time;
                }
            },
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

    fn begin_work(&mut self, worker: WorkerId, job: usize, life: u32) {
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
        // One that came while the start was asked for.
        self.stop_halted_work(worker);
    }

    pub(super) fn work(&mut self, worker: WorkerId, job: usize, life: u32) -> Option<Job> {
        self.workers[worker].work(job, life).map(|work| work.job.clone())
    }

    /// A worker is still at it.
    pub(super) fn work_renews(&mut self, worker: WorkerId, index: usize, life: u32) {
        let Some(job) = self.work(worker, index, life) else { return };
        self.store.jobs[index].visible_at = self.time + ACK_WAIT_MS;
        let renew = task::Command::RenewLease { attempt: job.attempt, progressed: true };
        let id = self.random.command_id(self.time);
        self.report_as(&job, &renew, id, Next::Renewed { worker, job: index, life });
        self.soon(RENEW_MS, Happening::WorkRenews { worker, job: index, life });
    }

    pub(super) fn worker_dies(&mut self, id: WorkerId) {
        let worker = &mut self.workers[id];
        worker.alive = false;
        worker.registered = false;
        worker.life += 1;
        worker.running.clear();
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
        let away = self.random.between(500, 45_000);
        self.soon(away, Happening::WorkerReturns(id));
    }

    pub(super) fn worker_returns(&mut self, id: WorkerId) {
        if !self.workers[id].alive {
            self.workers[id].alive = true;
            self.hears(Follower::Worker(id));
            self.say_hello(id);
        }
    }

    /// Every worker is there and stays.
    pub(super) fn calm_workers(&mut self) {
        for worker in 0..self.workers.len() {
            self.worker_returns(worker);
        }
    }
}

/// Whether a task lets nothing begin because of a halt.
fn is_halted(reply: Option<&Reply>) -> bool {
    matches!(reply, Some(Reply::Refused { refusal, .. }) if refusal.code == answers::HALTED)
}
