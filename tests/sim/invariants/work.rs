//! What the events of tasks must keep, counted independently of the entities.

use std::collections::{BTreeMap, BTreeSet};

use bus_schemas::commands::task as task_command;
use bus_schemas::events::task;
use bus_schemas::jobs::{EffectStep, FailureClass, Job};
use bus_schemas::record::{Event, Source, Turn};
use bus_schemas::wire::WireEvent;
use bus_schemas::{Hash, Key, Revision};
use smol_str::SmolStr;

use super::budgets::BudgetAudit;
use super::moves::Progress;
use super::{Audit, Check, hold};
use crate::coverage::{Coverage, Reached};

/// The attempts of one task.
#[derive(Debug, Default)]
pub struct TaskAudit {
    /// What it waits for.
    pub(super) progress: Progress,
    /// What its tree may use, where it is a root.
    pub(super) budget: BudgetAudit,
    attempt: u32,
    planned: bool,
    issued: BTreeMap<u32, Issue>,
    /// The attempt that a worker has.
    current: Option<u32>,
    outcomes: BTreeSet<u32>,
    /// Issues in a row that nobody began.
    unbegun: u32,
    steps: BTreeSet<SmolStr>,
}

/// An attempt that a worker got.
#[derive(Debug)]
struct Issue {
    token: Hash,
    /// The revision of its task since which it is under way, and up to which.
    from: Revision,
    upto: Option<Revision>,
}

/// Issues in a row that nobody begins before that is a failure.
const UNBEGUN_MAX: u32 = 5;

pub(super) fn read<T: WireEvent>(event: &Event) -> Result<T, super::Violation> {
    serde_json::from_slice(&event.body).map_err(|error| super::Violation {
        invariant: "commands_decide_alike",
        reason: format!("an event cannot be read: {error}"),
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
        let (event, revision) = (read::<task::Event>(event)?, event.revision);
        let known = self.tasks.entry(task.clone()).or_default();
        known.progress.event(&event);
        known.budget.event(task, &event, coverage)?;
        known.unbegun_costs_nothing(task, &event, coverage)?;
        known.steps_recorded_once(task, &event)?;
        known.event(task, &event, coverage)?;
        known.follow_issue(&event, revision);
        self.note_open(task);
        Ok(())
    }

    /// What a worker reports counts only with the token of the issue that is under way. How an effect ended may
    /// be found out later.
    pub(super) fn fenced_by_token(&self, turn: &Turn) -> Check {
        if turn.entity.kind.as_str() != "task" || turn.source != Source::Ask || turn.events.is_empty() {
            return Ok(());
        }
        let shown = match turn.command.body.read::<task_command::Command>() {
            Ok(
                task_command::Command::RecordStep { attempt, token, .. }
                | task_command::Command::RecordEffect {
                    attempt,
                    token,
                    step: EffectStep::Intended | EffectStep::Started,
                    ..
                }
                | task_command::Command::CompleteJob { attempt, token, .. }
                | task_command::Command::FailJob { attempt, token, .. }
                | task_command::Command::GiveBack { attempt, token, .. }
                | task_command::Command::RequireInput { attempt, token, .. },
            ) => (attempt, Hash::of_token(&token)),
            _ => return Ok(()),
        };
        let issued = self.tasks.get(&turn.entity.key).and_then(|known| known.under_way());
        hold(issued == Some(shown), "fenced_by_token", || {
            format!("`{}` takes a report of attempt {}, and {issued:?} is under way", turn.entity, shown.0)
        })
    }

    /// A worker begins only what it was told to be its own.
    pub fn begins_only_its_own(&self, job: &Job) -> Check {
        let told = (job.task.key.clone(), job.attempt, Hash::of_token(&job.token));
        hold(self.told_own.contains(&told), "fenced_by_token", || {
            format!("a worker begins {} without the word that it is its own", job.id)
        })
    }

    /// The attempt of a task that a worker has.
    pub fn issued_attempt(&self, task: &Key) -> Option<u32> {
        self.tasks.get(task)?.under_way().map(|(attempt, _)| attempt)
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
            task::Event::JobIssued { attempt, token, .. } => {
                let issue = Issue { token: *token, from: Revision(0), upto: None };
                let fresh = *attempt == self.attempt && self.issued.insert(*attempt, issue).is_none();
                return hold(fresh, NAME, || format!("`{task}` issued attempt {attempt} again"));
            }
            task::Event::AttemptFailed { attempt, failure } => {
                if failure.code == "worker-silent" {
                    coverage.note(Reached::AttemptExpired);
                }
                Some(*attempt)
            }
            task::Event::AttemptWithdrawn { attempt, .. } => Some(*attempt),
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

    /// The attempt that a worker has, and the hash of its token.
    fn under_way(&self) -> Option<(u32, Hash)> {
        let attempt = self.current?;
        Some((attempt, self.issued.get(&attempt)?.token))
    }
    /// Whether an attempt was under way at a revision, under this token.
    pub(super) fn had(&self, attempt: u32, token: Hash, at: Revision) -> bool {
        self.issued.get(&attempt).is_some_and(|issue| {
            issue.token == token && issue.from <= at && issue.upto.is_none_or(|upto| at < upto)
        })
    }

    fn follow_issue(&mut self, event: &task::Event, revision: Revision) {
        match event {
            task::Event::JobIssued { attempt, .. } => {
                self.current = Some(*attempt);
                if let Some(issue) = self.issued.get_mut(attempt) {
                    issue.from = revision;
                }
            }
            task::Event::Queued { .. }
            | task::Event::AttemptFailed { .. }
            | task::Event::AttemptWithdrawn { .. }
            | task::Event::InputRequired { .. }
            | task::Event::Planned { .. }
            | task::Event::CancelRequested { .. }
            | task::Event::Completed { .. }
            | task::Event::Failed { .. }
            | task::Event::Canceled { .. } => {
                let current = self.current.take().and_then(|current| self.issued.get_mut(&current));
                if let Some(issue) = current {
                    issue.upto = Some(revision);
                }
            }
            _ => {}
        }
    }

    /// An issue that nobody begins uses no attempt up, five times in a row; the sixth is poison.
    fn unbegun_costs_nothing(&mut self, task: &Key, event: &task::Event, coverage: &mut Coverage) -> Check {
        const NAME: &str = "unbegun_costs_nothing";
        match event {
            task::Event::AttemptWithdrawn { by: task::WithdrawnBy::Owner, .. } => {
                coverage.note(Reached::IssueReturned);
                self.unbegun += 1;
                hold(self.unbegun <= UNBEGUN_MAX, NAME, || {
                    format!("`{task}` was begun by nobody {} times in a row", self.unbegun)
                })
            }
            task::Event::AttemptFailed { failure, .. } => {
                let unbegun = std::mem::take(&mut self.unbegun);
                if failure.code != "issued-too-often" {
                    return Ok(());
                }
                coverage.note(Reached::IssuedTooOften);
                hold(unbegun == UNBEGUN_MAX && failure.class == FailureClass::Poison, NAME, || {
                    format!("`{task}` ends after {unbegun} issues that nobody began")
                })
            }
            task::Event::AttemptWithdrawn { .. }
            | task::Event::Retried { .. }
            | task::Event::InputRequired { .. } => {
                self.unbegun = 0;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// A step is recorded once, in whichever attempt it was done first.
    fn steps_recorded_once(&mut self, task: &Key, event: &task::Event) -> Check {
        let task::Event::StepRecorded { step, .. } = event else { return Ok(()) };
        let fresh = self.steps.insert(step.name.clone());
        hold(fresh, "steps_recorded_once", || format!("`{task}` records `{}` again", step.name))
    }
}
