//! The calls that jobs make, modelled after the worker's side of circuit breakers: whether one may be
//! made is known from the events that were heard, what came of it is reported, and a half-open breaker
//! is asked for leave.

use bus_schemas::commands::breaker::{self, Phase, ProbeAnswer};
use bus_schemas::commands::task;
use bus_schemas::jobs::{FailureClass, Job};
use bus_schemas::{Body, Reply};

use super::clients::{address, key};
use super::reports::failure;
use super::workers::{Called, Next};
use super::{Happening, WorkerId, World};
use crate::coverage::Reached;

/// What agents depend on.
pub const DEPENDENCIES: [&str; 2] = ["tool.git", "model.big"];
/// A worker reports what went well in groups.
const REPORTED_TOGETHER: u32 = 3;
/// How long a call takes.
const CALL_MS_MAX: u64 = 200;

impl World {
    /// A dependency falls ill, or has recovered.
    pub(super) fn dependencies_change(&mut self) {
        for (index, ill_until) in self.ill_until.into_iter().enumerate() {
            if ill_until <= self.time && self.fault(self.faults.dependency_ill, Reached::DependencyIll) {
                let until = self.time + self.random.between(1_000, 40_000);
                self.note(format_args!("{} is ill for {} ms", DEPENDENCIES[index], until - self.time));
                self.ill_until[index] = until;
            }
        }
    }

    /// A worker makes the call of a job, if its budget allows it and the breaker lets it.
    pub(super) fn try_call(&mut self, id: WorkerId, job: usize, life: u32) {
        let Some(work) = self.workers[id].work(job, life) else { return };
        if work.job.metered && !work.reserved {
            let metered = work.job.clone();
            return self.reserve(id, job, life, &metered);
        }
        self.pass_breaker(id, job, life);
    }

    /// A worker makes the call of a job that its budget allows, if the breaker lets it.
    pub(super) fn pass_breaker(&mut self, id: WorkerId, job: usize, life: u32) {
        let worker = &self.workers[id];
        match worker.view.phase(&worker.dependency) {
            Phase::Closed => self.make_call(id, job, life),
            Phase::Open => self.called(id, job, life, Called::Barred),
            Phase::HalfOpen => {
                let ask = breaker::Command::RequestProbe { reporter: worker.name.clone() };
                let to = address(&ask, worker.dependency.clone());
                self.ask(to, Body::json(&ask), Next::Probed { worker: id, job, life });
            }
        }
    }

    /// A half-open breaker says whether one call may be tried. One that says nothing stops nobody.
    pub(super) fn may_call(&mut self, id: WorkerId, job: usize, life: u32, reply: Option<&Reply>) {
        let answer = match reply {
            Some(Reply::Accepted { result, .. }) => {
                serde_json::from_value::<ProbeAnswer>(result.clone()).ok()
            }
            _ => None,
        };
        if answer.is_some_and(|answer| !answer.granted) {
            self.coverage.note(Reached::ProbeDenied);
            return self.called(id, job, life, Called::Barred);
        }
        self.make_call(id, job, life);
    }

    fn make_call(&mut self, id: WorkerId, job: usize, life: u32) {
        let ill = (0..).zip(DEPENDENCIES).any(|(index, name)| {
            self.workers[id].dependency.as_str() == name && self.ill_until[index] > self.time
        });
        let ill = ill && self.random.chance(900);
        self.called(id, job, life, if ill { Called::Badly } else { Called::Well });
        let worker = &mut self.workers[id];
        worker.unreported += u32::from(!ill);
        let half_open = worker.view.phase(&worker.dependency) == Phase::HalfOpen;
        if !ill && !half_open && worker.unreported < REPORTED_TOGETHER {
            return;
        }
        let report = breaker::Command::Report {
            reporter: worker.name.clone(),
            succeeded: std::mem::take(&mut worker.unreported),
            failed: u32::from(ill),
            slow: 0,
            consecutive_failed: u32::from(ill),
            last_error: if ill { "it is ill".to_owned() } else { String::new() },
        };
        let dependency = worker.dependency.clone();
        self.tell(dependency, &report);
    }

    pub(super) fn called(&mut self, id: WorkerId, job: usize, life: u32, called: Called) {
        if let Some(work) = self.workers[id].work(job, life) {
            work.called = called;
            if std::mem::take(&mut work.reserved) {
                let metered = work.job.clone();
                self.settle(&metered, called);
            }
            let way = self.random.between(1, CALL_MS_MAX);
            self.soon(way, Happening::WorkEnds { worker: id, job, life });
        }
    }

    /// What a task is told of a call that failed.
    pub(super) fn call_failure(&self, id: WorkerId, job: &Job) -> task::Command {
        match failure(job, FailureClass::Transient, "call-failed") {
            task::Command::FailJob { attempt, token, class, code, message, hint, .. } => {
                let dependency = Some(self.workers[id].dependency.clone());
                task::Command::FailJob { attempt, token, class, code, message, hint, dependency }
            }
            other => other,
        }
    }

    /// An operator does something about a breaker.
    pub(super) fn work_on_a_breaker(&mut self) {
        let dependency = key(DEPENDENCIES[self.random.below(2) as usize]);
        let reason = "a drill".to_owned();
        let command = match self.random.below(5) {
            0 => breaker::Command::Trip { reason },
            1 | 2 => breaker::Command::Reset { reason },
            _ => breaker::Command::Configure { policy: self.policy() },
        };
        self.tell(dependency, &command);
    }

    /// A policy under which little is needed to open a breaker, and to close it.
    pub(super) fn policy(&mut self) -> breaker::Policy {
        breaker::Policy {
            window_ms: self.random.between(2_000, 30_000),
            calls_min: self.random.between(2, 6) as u32,
            consecutive_failures: self.random.between(1, 3) as u32,
            open_ms_min: self.random.between(200, 3_000),
            open_ms_max: self.random.between(3_000, 9_000),
            probes: self.random.between(1, 3) as u32,
            successes: self.random.between(1, 2) as u32,
            probe_timeout_ms: self.random.between(1_000, 9_000),
            ..breaker::Policy::default()
        }
    }
}
