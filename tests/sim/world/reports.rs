//! How an attempt ends at its worker, modelled after the real one: the effects that it records, the one
//! report that it makes, and the grace that it has when a halt interrupts it.

use bus_schemas::commands::task;
use bus_schemas::jobs::{EffectStep, FailureClass, Job, PastEffect, StepResult};
use bus_schemas::{CommandId, Hash};
use serde_json::json;
use smol_str::format_smolstr;

use super::follow::is_halted_after;
use super::workers::{Called, Next};
use super::{Happening, WorkerId, World};
use crate::coverage::Reached;
use crate::invariants::{Check, hold};

/// How long running work goes on at most when a halt interrupts it: shorter and longer than the graces
/// of the halts, after which lanes take back what they have not heard of.
const STOP_GRACE_MS: u64 = 10_000;

impl World {
    /// Interrupts what a halt covers: it has its grace, then it is taken back.
    pub(super) fn stop_halted_work(&mut self, id: WorkerId) {
        let worker = &mut self.workers[id];
        let life = worker.life;
        let mut stopped = Vec::new();
        for (job, work) in worker.running.iter_mut().filter(|(_, work)| work.started) {
            if !work.interrupted && !work.reported && worker.view.halts_job(&work.job) {
                work.interrupted = true;
                stopped.push(*job);
            }
        }
        for job in stopped {
            let grace = self.random.between(0, STOP_GRACE_MS);
            self.soon(grace, Happening::WorkWithdrawn { worker: id, job, life });
        }
    }

    /// The grace of interrupted work is over: the attempt is given back.
    pub(super) fn work_withdrawn(&mut self, worker: WorkerId, job: usize, life: u32) {
        self.coverage.note(Reached::HaltedWorkWithdrawn);
        self.withdraw(worker, job, life, "halted");
    }

    /// The attempt is to wait anew, through no fault of its own.
    pub(super) fn withdraw(&mut self, worker: WorkerId, index: usize, life: u32, reason: &str) {
        let Some(job) = self.reports(worker, index, life) else { return };
        self.note(format_args!("{} is given back: {reason}", job.id));
        self.give_back(worker, &job, Next::Reported { worker, job: index, life, result: false });
    }

    /// Gives a job back through no fault of its own.
    pub(super) fn give_back(&mut self, worker: WorkerId, job: &Job, next: Next) {
        let (token, reason) = (job.token.clone(), format!("by {}", self.workers[worker].name));
        let command = task::Command::GiveBack { attempt: job.attempt, token, reason };
        self.report_as(job, &command, job_id(job).derive("give-back", 0), next);
    }

    /// The job, if its one report has not been made; now it has.
    fn reports(&mut self, worker: WorkerId, job: usize, life: u32) -> Option<Job> {
        let work = self.workers[worker].work(job, life)?;
        (!std::mem::replace(&mut work.reported, true)).then(|| work.job.clone())
    }

    /// A worker has made its call and comes to the end of its work, or to its own.
    pub(super) fn work_ends(&mut self, worker: WorkerId, job: usize, life: u32) {
        let Some(work) = self.workers[worker].work(job, life) else { return };
        let (known, called) = (work.job.clone(), work.called);
        if called == Called::NotYet {
            return self.try_call(worker, job, life);
        }
        if called == Called::Barred {
            return self.withdraw(worker, job, life, "breaker-open");
        }
        if self.fault(self.faults.worker_dies, Reached::WorkerDied) {
            return self.worker_dies(worker);
        }
        if known.effects.iter().any(is_unsettled) && self.random.chance(500) {
            return self.record_effect(worker, job, life, EffectStep::Reconciled);
        }
        if known.skill != "plan" && self.random.chance(350) {
            return self.record_effect(worker, job, life, EffectStep::Intended);
        }
        if known.skill != "plan" && self.random.chance(350) {
            return self.record_steps(worker, job, life);
        }
        self.report(worker, job, life);
    }

    /// Steps, which a later attempt would do again under the same names.
    fn record_steps(&mut self, worker: WorkerId, index: usize, life: u32) {
        let Some(job) = self.work(worker, index, life) else { return };
        self.coverage.note(Reached::StepRecorded);
        let step = |number: u64| StepResult {
            name: format_smolstr!("step-{number}"),
            input: Hash::of(b"null"),
            result: json!({"attempt": job.attempt}),
        };
        let steps = (0..self.random.between(1, 3)).map(step).collect();
        let command = task::Command::RecordStep { attempt: job.attempt, token: job.token.clone(), steps };
        let next = Next::Stepped { worker, job: index, life };
        self.report_as(&job, &command, job_id(&job).derive("steps", 0), next);
    }

    fn record_effect(&mut self, worker: WorkerId, index: usize, life: u32, step: EffectStep) {
        let Some(job) = self.work(worker, index, life) else { return };
        let effect = match job.effects.iter().find(|past| is_unsettled(past)) {
            Some(past) if step == EffectStep::Reconciled => {
                self.coverage.note(Reached::EffectReconciled);
                past.effect.to_string()
            }
            _ => format!("effect-{}", job.attempt),
        };
        let command = task::Command::RecordEffect {
            attempt: job.attempt,
            token: job.token.clone(),
            effect,
            step,
            detail: String::new(),
            key: None,
            result: serde_json::Value::Null,
        };
        let id = job_id(&job).derive("effect", step as u32);
        self.report_as(&job, &command, id, Next::Effect { worker, job: index, life, step });
    }

    pub(super) fn next_effect(&mut self, worker: WorkerId, job: usize, life: u32, step: EffectStep) -> Check {
        let Some(work) = self.workers[worker].work(job, life) else { return Ok(()) };
        let known = work.job.clone();
        let halted = work.interrupted || self.workers[worker].view.halts_job(&known);
        match step {
            EffectStep::Intended | EffectStep::Started if halted => {
                self.coverage.note(Reached::HaltedEffectNotBegun);
                self.record_effect(worker, job, life, EffectStep::Failed);
            }
            EffectStep::Intended => self.record_effect(worker, job, life, EffectStep::Started),
            EffectStep::Started => {
                self.halted_means_no_effect_starts(worker, &known, "an effect")?;
                if self.random.chance(800) {
                    self.record_effect(worker, job, life, EffectStep::Completed);
                } else {
                    self.report(worker, job, life);
                }
            }
            _ if halted => self.withdraw(worker, job, life, "halted"),
            _ => self.report(worker, job, life),
        }
        Ok(())
    }

    /// Nothing begins at a worker that a halt covers of which it has heard, however it looked at that.
    pub(super) fn halted_means_no_effect_starts(&self, worker: WorkerId, job: &Job, what: &str) -> Check {
        let worker = &self.workers[worker];
        let halted = is_halted_after(&self.store, worker.view.heard, job);
        hold(!halted, "halted_means_no_effect_starts", || {
            format!("worker {} begins {what} of {} under a halt", worker.name, job.id)
        })
    }

    /// One report, and perhaps the same once more under another id.
    pub(super) fn report(&mut self, worker: WorkerId, index: usize, life: u32) {
        let failed = self.workers[worker].work(index, life).is_some_and(|work| work.called == Called::Badly);
        let Some(job) = self.reports(worker, index, life) else { return };
        let (attempt, token) = (job.attempt, job.token.clone());
        let (purpose, command) = match self.random.below(100) {
            _ if failed => ("fail", self.call_failure(worker, &job)),
            0..50 if job.effects.iter().any(is_unsettled) => {
                ("fail", failure(&job, FailureClass::Ambiguous, "effect-unknown"))
            }
            0..15 => ("fail", failure(&job, FailureClass::Transient, "try-again")),
            15..22 => ("fail", failure(&job, FailureClass::Permanent, "never")),
            22..32 => {
                let prompt = "which one?".to_owned();
                (
                    "require-input",
                    task::Command::RequireInput {
                        attempt,
                        token,
                        prompt,
                        authorization: false,
                        approval: None,
                    },
                )
            }
            _ => {
                let plan = (job.skill == "plan").then(|| self.plan());
                let result = json!({"by": self.workers[worker].name});
                let (steps, artifacts) = (Vec::new(), Vec::new());
                ("complete", task::Command::CompleteJob { attempt, token, steps, artifacts, result, plan })
            }
        };
        let result = purpose != "fail";
        let text = format!("worker {} reports {purpose} of {}", self.workers[worker].name, job.id);
        self.note(text);
        let next = Next::Reported { worker, job: index, life, result };
        self.report_as(&job, &command, job_id(&job).derive(purpose, 0), next);
        if self.fault(self.faults.reports_twice, Reached::ReportedTwice) {
            let id = self.random.command_id(self.time);
            self.report_as(&job, &command, id, Next::Nothing);
        }
    }
}

/// The id from which those of an attempt's reports are derived.
pub(super) fn job_id(job: &Job) -> CommandId {
    CommandId::from_text(&format!("{} {}", job.id, job.token))
}

pub(super) fn failure(job: &Job, class: FailureClass, code: &str) -> task::Command {
    task::Command::FailJob {
        attempt: job.attempt,
        token: job.token.clone(),
        class,
        code: code.to_owned(),
        message: "the simulated work failed".to_owned(),
        hint: None,
        dependency: None,
    }
}

/// Whether nobody knows what became of an effect of an earlier attempt.
fn is_unsettled(past: &PastEffect) -> bool {
    past.step == EffectStep::Ambiguous
}
