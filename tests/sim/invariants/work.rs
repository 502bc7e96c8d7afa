//! What the events of tasks and brokers must keep, counted independently of the entities.

use std::collections::{BTreeMap, BTreeSet};

use bus_schemas::Key;
use bus_schemas::events::{broker, task};
use bus_schemas::record::Event;
use bus_schemas::wire::WireEvent;

use super::budgets::BudgetAudit;
use super::holds::Holds;
use super::moves::Standing;
use super::{Audit, Check, hold, violated};
use crate::coverage::{Coverage, Reached};

/// The attempts of one task.
#[derive(Debug, Default)]
pub struct TaskAudit {
    /// What it waits for.
    pub(super) standing: Standing,
    /// What its tree may use, where it is a root.
    pub(super) budget: BudgetAudit,
    attempt: u32,
    planned: bool,
    issued: BTreeSet<u32>,
    outcomes: BTreeSet<u32>,
}

/// What runs in one lane.
#[derive(Debug, Default)]
pub struct LaneAudit {
    waiting: BTreeMap<Key, u32>,
    running: BTreeMap<Key, (u32, Key)>,
    capacities: BTreeMap<Key, u32>,
    cap: Option<u32>,
    /// What it holds back.
    pub(super) holds: Holds,
}

pub(super) fn read<T: WireEvent>(event: &Event) -> Result<T, super::Violation> {
    serde_json::from_slice(&event.body).map_err(|error| super::Violation {
        invariant: "commands_decide_alike",
        reason: format!("an event can not be read: {error}"),
    })
}

impl Audit {
    /// An attempt is issued once, ends once, and attempts only count up: a result that comes twice,
    /// late, or from two workers is counted once.
    pub(super) fn attempt_counted_once(
        &mut self,
        task: &Key,
        event: &Event,
        coverage: &mut Coverage,
    ) -> Check {
        let event = read::<task::Event>(event)?;
        let known = self.tasks.entry(task.clone()).or_default();
        known.standing.event(&event);
        known.budget.event(task, &event, coverage)?;
        known.event(task, &event, coverage)?;
        self.note_open(task);
        Ok(())
    }

    /// A broker assigns no more than an agent offers and the lane's cap allows.
    pub(super) fn capacity_never_exceeded(
        &mut self,
        lane: &Key,
        event: &Event,
        coverage: &mut Coverage,
    ) -> Check {
        let event = read::<broker::Event>(event)?;
        self.lanes.entry(lane.clone()).or_default().event(lane, &event, coverage)
    }
}

impl TaskAudit {
    /// Counts an event of the task.
    pub fn event(&mut self, task: &Key, event: &task::Event, coverage: &mut Coverage) -> Check {
        const NAME: &str = "attempt_counted_once";
        let ended = match event {
            task::Event::Queued { attempt, .. } => {
                hold(*attempt > self.attempt, NAME, || {
                    format!("`{task}` queued attempt {attempt} after {}", self.attempt)
                })?;
                self.attempt = *attempt;
                None
            }
            task::Event::JobIssued { attempt, .. } => {
                let fresh = *attempt == self.attempt && self.issued.insert(*attempt);
                return hold(fresh, NAME, || format!("`{task}` issued attempt {attempt} again"));
            }
            task::Event::AttemptFailed { attempt, failure } => {
                if failure.code == "worker-silent" {
                    coverage.note(Reached::AttemptExpired);
                }
                Some(*attempt)
            }
            task::Event::Submitted { submission, .. } if submission.dead_letter.is_some() => {
                coverage.note(Reached::LetterSubmittedAnew);
                None
            }
            // The attempt has failed already where the question is what became of its effect.
            task::Event::InputRequired { attempt, effect, .. } => {
                coverage.note(Reached::InputAsked);
                Some(*attempt).filter(|_| effect.is_none())
            }
            task::Event::Completed { .. } => {
                coverage.note(Reached::TaskCompleted);
                Some(self.attempt)
            }
            task::Event::Planned { .. } if self.attempt > 0 => {
                coverage.note(Reached::PlanByAgent);
                Some(self.attempt)
            }
            task::Event::Failed { .. } => {
                coverage.note(Reached::TaskFailed);
                None
            }
            task::Event::Canceled { .. } => {
                coverage.note(Reached::TaskCanceled);
                None
            }
            _ => None,
        };
        if let Some(attempt) = ended.filter(|_| !self.planned) {
            let fresh = attempt == self.attempt && self.outcomes.insert(attempt);
            hold(fresh, NAME, || format!("attempt {attempt} of `{task}` ended twice"))?;
        }
        self.planned |= matches!(event, task::Event::Planned { .. });
        Ok(())
    }
}

impl LaneAudit {
    /// How many jobs an agent takes from this lane at once.
    pub(super) fn capacity_of(&self, agent: &Key) -> u32 {
        self.capacities.get(agent).copied().unwrap_or(0)
    }
    /// The attempts in the queue.
    pub(super) fn waiting(&self) -> &BTreeMap<Key, u32> {
        &self.waiting
    }
    /// Counts an event of the lane.
    pub fn event(&mut self, lane: &Key, event: &broker::Event, coverage: &mut Coverage) -> Check {
        self.holds.event(lane, event, coverage)?;
        match event {
            broker::Event::Enqueued { task, attempt, .. } => {
                self.waiting.insert(task.clone(), *attempt);
            }
            broker::Event::Assigned { task, attempt, agent, .. } => {
                return self.assigned(lane, (task, *attempt), agent, coverage);
            }
            broker::Event::Released { task, attempt, .. } => {
                if self.waiting.get(task) == Some(attempt) {
                    self.waiting.remove(task);
                } else if self.running.get(task).is_some_and(|(running, _)| running == attempt) {
                    self.running.remove(task);
                }
            }
            broker::Event::AgentOffered { agent, capacity, .. } => {
                self.capacities.insert(agent.clone(), *capacity);
            }
            broker::Event::CapSet { concurrent } => self.cap = *concurrent,
            broker::Event::LimitsSet { limits, .. } | broker::Event::Configured { limits, .. } => {
                self.cap = limits.concurrent;
            }
            broker::Event::Paused { .. }
            | broker::Event::Resumed { .. }
            | broker::Event::Held { .. }
            | broker::Event::Eased { .. }
            | broker::Event::EasingEnded { .. }
            | broker::Event::PoliciesSet { .. }
            | broker::Event::ProbesAllowed { .. } => {}
        }
        Ok(())
    }

    fn assigned(
        &mut self,
        lane: &Key,
        (task, attempt): (&Key, u32),
        agent: &Key,
        coverage: &mut Coverage,
    ) -> Check {
        const NAME: &str = "capacity_never_exceeded";
        if self.waiting.remove(task) != Some(attempt) {
            return violated(NAME, format!("lane `{lane}` assigned `{task}`/{attempt}, which does not wait"));
        }
        let busy = self.running.values().filter(|(_, known)| known == agent).count();
        let capacity = self.capacities.get(agent).copied().unwrap_or(0) as usize;
        hold(busy < capacity, NAME, || {
            format!("lane `{lane}` gave `{agent}` one more than its {capacity} jobs")
        })?;
        let cap = self.cap.map_or(usize::MAX, |cap| cap as usize);
        hold(self.running.len() < cap, NAME, || format!("lane `{lane}` runs more than its cap {cap}"))?;
        self.running.insert(task.clone(), (attempt, agent.clone()));
        if self.running.len() == cap || busy + 1 == capacity {
            coverage.note(Reached::CapacityFull);
        }
        Ok(())
    }
}
