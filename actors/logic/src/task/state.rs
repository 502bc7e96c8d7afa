//! The state of a task, and how each event changes it. Pure and infallible.

use std::collections::BTreeMap;

use bus_schemas::commands::task::{Failure, Plan, Policy, Submit};
use bus_schemas::events::task::{Event, WithdrawnBy};
use bus_schemas::jobs::{Artifact, EffectStep, FailureClass};
use bus_schemas::settings::Duration;
use bus_schemas::views::task::{Exceeded, TaskState};
use bus_schemas::{Hash, Key, Revision, Timestamp, text};
use rpds::RedBlackTreeMapSync as Map;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use smol_str::SmolStr;

use super::account::{Account, Held};
use crate::dead_letter::TASK_CALLER;

/// The most failed attempts that are described: as many as a submission may ask for.
const FAILED_ATTEMPTS_MAX: usize = 100;
/// The longest description of a failed attempt in bytes; the full message is in its event.
const FAILED_BYTES_MAX: usize = 300;

/// A wait in the queue of at least this time, in milliseconds, means that the task was held or others were
/// served: withdrawals before it do not count as a series.
const HELD_MS: u64 = 10_000;

/// A task; without `submission` it was never submitted.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The goal and its limits.
    pub submission: Option<Submit>,
    /// The task that it was forked from, and at which revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forked: Option<(Key, Revision)>,
    /// The A2A state.
    pub status: TaskState,
    /// What it waits for.
    pub phase: Phase,
    /// The current attempt; 0 before the first. Never used twice.
    pub attempt: u32,
    /// Attempts that failed since it was submitted or retried, limited by `attempts_max`.
    pub failures: u32,
    /// How many issues in a row no worker began.
    #[serde(default)]
    pub unbegun: u32,
    /// How often in a row workers gave it back, without a hold in between.
    #[serde(default)]
    pub withdrawals: u32,
    /// The attempt that failed last, to recognise a repeated report.
    pub failed_attempt: u32,
    /// The attempt after which it became a dead letter, which names the entry however often the task fails.
    pub dead_letter: Option<u32>,
    /// The dead letter that last retried or submitted it, and is told how it ends.
    pub retried_for: Option<Key>,
    /// The change that is told how the task ends.
    pub change: Option<Key>,
    /// How each attempt failed since it was submitted or retried, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed_attempts: Vec<String>,
    /// The agent of the current attempt.
    pub agent: Option<Key>,
    /// The worker of the current attempt.
    pub worker: Option<SmolStr>,
    /// BLAKE3 of the token that its worker must present.
    pub token: Option<Hash>,
    /// The completed steps, by name.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub steps: Map<SmolStr, StepDone>,
    /// The question it waits with.
    pub question: Option<String>,
    /// The id of the question: the revision of the event that asked.
    pub question_id: Option<Revision>,
    /// Who should answer; empty for anyone.
    pub asks: SmolStr,
    /// The effect that the question is about.
    pub asked_effect: Option<String>,
    /// The approval whose outcome is waited for.
    pub approval: Option<Key>,
    /// The answers so far, for the next job.
    pub answers: Vec<Value>,
    /// The effect ledger.
    pub effects: Map<String, Effect>,
    /// The size of all results in the ledger, in bytes.
    #[serde(default)]
    pub results_bytes: usize,
    /// The child tasks that do the work, if there is a plan.
    pub plan: Option<Plan>,
    /// The started steps of the plan.
    pub children: BTreeMap<SmolStr, Child>,
    /// The step whose end first made success impossible.
    pub broken: Option<SmolStr>,
    /// Why the plan is given up, for another reason than a step.
    pub failing: Option<Failure>,
    /// Why it is being canceled.
    pub cancel: Option<String>,
    /// The artifacts.
    pub artifacts: Vec<Artifact>,
    /// The result.
    pub result: Value,
    /// The failure of the task, or of its last attempt.
    pub failure: Option<Failure>,
    /// The id of its end: the revision of the event that ended it.
    pub end_id: Option<Revision>,
    /// The policy from the settings.
    pub policy: Policy,
    /// The budget of the tree, if this is its root.
    pub account: Option<Account>,
    /// When the pause before the next attempt ends.
    pub backoff_until: Timestamp,
    /// The last pause, which may determine the next.
    pub backoff: Duration,
    /// When it began to wait for what it waits for, as far as its events tell.
    pub since: Timestamp,
    /// When it was submitted.
    pub submitted_at: Timestamp,
    /// The time of the last event with a time.
    pub updated_at: Timestamp,
    /// The task's revision.
    pub revision: Revision,
}

/// What a task waits for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Its submission.
    #[default]
    New,
    /// A worker, from its queue.
    Queued,
    /// The worker's report.
    Running,
    /// The end of the pause.
    Backoff,
    /// An answer.
    Answer,
    /// Its children.
    Children,
    /// Nothing.
    Done,
}

/// A completed step. Its result is in its event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepDone {
    /// BLAKE3 of its input.
    pub input: Hash,
    /// The revision of its event.
    pub revision: Revision,
}

/// A side effect in the ledger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Effect {
    /// The attempt that last reported it.
    pub attempt: u32,
    /// Its state.
    pub step: EffectStep,
    /// A description of the effect, or of its outcome.
    pub detail: String,
    /// The idempotency key that the tool was given.
    pub key: Option<SmolStr>,
    /// The result.
    pub result: Value,
}

/// One started step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Child {
    /// The child task.
    pub key: Key,
    /// Its final state; `None` while it is open.
    pub end: Option<TaskState>,
    /// The artifacts, each with its step.
    pub artifacts: Vec<Artifact>,
    /// The result.
    pub result: Value,
    /// The failure.
    pub failure: Option<Failure>,
}

impl State {
    /// The state after these events.
    pub(super) fn of<'a>(events: impl IntoIterator<Item = &'a Event>) -> Self {
        let mut state = Self::default();
        events.into_iter().for_each(|event| fold(&mut state, event));
        state
    }
    /// The children that have not ended.
    pub(super) fn open_children(&self) -> impl Iterator<Item = (&SmolStr, &Child)> {
        self.children.iter().filter(|(_, child)| child.end.is_none())
    }
    /// The effects in progress.
    pub(super) fn open_effects(&self) -> impl Iterator<Item = (&String, &Effect)> {
        self.effects.iter().filter(|(_, effect)| effect.step == EffectStep::Started)
    }
    /// An effect whose outcome is unknown.
    pub(super) fn unsettled_effect(&self) -> Option<(&String, &Effect)> {
        self.effects.iter().find(|(_, effect)| effect.step == EffectStep::Ambiguous)
    }
    /// The state as readers see it: a tree that is paused for its budget waits for an answer.
    pub fn shown(&self) -> TaskState {
        let exceeded = self.account.as_ref().is_some_and(|account| account.exceeded.is_some());
        if exceeded && !self.status.is_final() { TaskState::InputRequired } else { self.status }
    }
    /// Whether nothing new may begin, because the task is being canceled or given up.
    pub(super) fn is_stopping(&self) -> bool {
        self.cancel.is_some() || self.failing.is_some() || self.broken.is_some()
    }
    /// Whether the task can complete although this step failed.
    pub(super) fn is_optional(&self, step: &str) -> bool {
        self.plan.iter().flat_map(|plan| &plan.steps).any(|known| known.step == step && known.optional)
    }
    /// Whether the steps after `step` need not wait for it any more.
    pub(super) fn is_satisfied(&self, step: &str) -> bool {
        let end = self.children.get(step).and_then(|child| child.end);
        end.is_some_and(|end| end == TaskState::Completed || self.is_optional(step))
    }

    fn end(&mut self, status: TaskState, at: Option<Timestamp>) {
        self.status = status;
        self.phase = Phase::Done;
        self.end_id = Some(self.revision);
        self.clear_question();
        if let Some(account) = &mut self.account {
            account.exceeded = None;
        }
        self.updated_at = at.unwrap_or(self.updated_at);
        self.since = self.updated_at;
    }
    /// Keeps a short description of a failed attempt, because it is part of every copy of the state.
    fn note_failed_attempt(&mut self, attempt: u32, failure: &Failure) {
        if self.failed_attempts.len() == FAILED_ATTEMPTS_MAX {
            self.failed_attempts.remove(0);
        }
        let Failure { class, code, message, .. } = failure;
        let how = self.failed_as(attempt, *class);
        let message = text::cut(message, FAILED_BYTES_MAX);
        self.failed_attempts.push(format!("{how}: {code}: {message}"));
    }
    /// A sentence on a failed attempt: its number, the failure, and its agent.
    pub(super) fn failed_as(&self, attempt: u32, class: FailureClass) -> String {
        let class: &'static str = class.into();
        let doer = match (&self.agent, &self.worker) {
            (Some(agent), Some(worker)) => format!(", by worker `{worker}` of agent `{agent}`"),
            (Some(agent), None) => format!(", by agent `{agent}`"),
            _ => String::new(),
        };
        format!("attempt {attempt} failed as {class}{doer}")
    }
    fn clear_question(&mut self) {
        (self.question, self.question_id) = (None, None);
        (self.asked_effect, self.asks, self.approval) = (None, SmolStr::default(), None);
    }
    fn wait(&mut self, phase: Phase, status: TaskState) {
        self.phase = phase;
        self.status = status;
        (self.agent, self.worker, self.token) = (None, None, None);
    }
}

/// Applies an event.
pub(super) fn fold(state: &mut State, event: &Event) {
    state.revision = state.revision.next();
    match event {
        Event::Submitted { submission, at } => {
            if submission.parent.is_none() {
                state.account = submission.budget.clone().map(Account::of);
            }
            state.retried_for.clone_from(&submission.dead_letter);
            state.submission = Some(submission.clone());
            (state.submitted_at, state.updated_at, state.since) = (*at, *at, *at);
        }
        Event::Forked { origin, revision, answers, .. } => {
            state.forked = Some((origin.clone(), *revision));
            state.answers.clone_from(answers);
        }
        Event::Planned { .. } | Event::ChildStarted { .. } | Event::ChildSettled { .. } => {
            fold_plan(state, event)
        }
        Event::Rejected { .. } | Event::Completed { .. } | Event::Failed { .. } | Event::Canceled { .. } => {
            fold_end(state, event)
        }
        Event::Followed { change } => state.change = Some(change.clone()),
        Event::CancelRequested { reason, .. } => state.cancel = Some(reason.clone()),
        Event::Retried { by, at } => {
            state.retried_for = by.strip_prefix(TASK_CALLER).and_then(|entry| Key::parse(entry).ok());
            (state.failures, state.withdrawals, state.unbegun, state.updated_at) = (0, 0, 0, *at);
            state.failed_attempts.clear();
            (state.failure, state.failing, state.broken, state.cancel) = (None, None, None, None);
            state.end_id = None;
            if state.plan.is_some() {
                state.wait(Phase::Children, TaskState::Working);
            }
        }
        Event::Queued { .. }
        | Event::JobIssued { .. }
        | Event::StepRecorded { .. }
        | Event::EffectRecorded { .. }
        | Event::AttemptFailed { .. }
        | Event::AttemptWithdrawn { .. }
        | Event::BackoffStarted { .. }
        | Event::InputRequired { .. }
        | Event::Answered { .. }
        | Event::PolicySet { .. } => fold_attempt(state, event),
        Event::BudgetSet { .. }
        | Event::Reserved { .. }
        | Event::Settled { .. }
        | Event::JobCounted { .. }
        | Event::BudgetExceeded { .. }
        | Event::BudgetExtended { .. } => fold_budget(state, event),
    }
}

/// Applies an event of an attempt.
fn fold_attempt(state: &mut State, event: &Event) {
    match event {
        Event::Queued { attempt, at } => {
            (state.attempt, state.updated_at, state.since) = (*attempt, *at, *at);
            state.wait(Phase::Queued, TaskState::Submitted);
        }
        Event::JobIssued { agent, worker, token, at, .. } => {
            if at.0.saturating_sub(state.since.0) >= HELD_MS {
                state.withdrawals = 0;
            }
            state.wait(Phase::Running, TaskState::Working);
            (state.agent, state.worker) = (Some(agent.clone()), Some(worker.clone()));
            state.token = Some(*token);
            (state.updated_at, state.since) = (*at, *at);
        }
        Event::StepRecorded { step, .. } => {
            let done = StepDone { input: step.input, revision: state.revision };
            state.steps.insert_mut(step.name.clone(), done);
        }
        Event::EffectRecorded { attempt, effect, step, detail, key, result } => {
            let former = state.effects.get(effect);
            let key = key.clone().or_else(|| former.and_then(|former| former.key.clone()));
            let was = former.map_or(0, |former| result_bytes(&former.result));
            state.results_bytes = state.results_bytes.saturating_sub(was) + result_bytes(result);
            let (detail, result) = (detail.clone(), result.clone());
            let entry = Effect { attempt: *attempt, step: *step, detail, key, result };
            state.effects.insert_mut(effect.clone(), entry);
        }
        Event::PolicySet { policy } => state.policy = policy.clone(),
        Event::AttemptFailed { attempt, failure } => {
            state.failures = state.failures.saturating_add(1);
            (state.withdrawals, state.unbegun) = (0, 0);
            state.failed_attempt = *attempt;
            state.note_failed_attempt(*attempt, failure);
            state.failure = Some(failure.clone());
            if state.plan.is_some() {
                state.failing = Some(failure.clone());
            }
        }
        Event::AttemptWithdrawn { by, .. } => {
            let withdrawals = state.withdrawals.saturating_add(1);
            (state.withdrawals, state.unbegun) = match by {
                WithdrawnBy::Worker => (withdrawals, 0),
                WithdrawnBy::Holder => (0, 0),
                WithdrawnBy::Owner => (state.withdrawals, state.unbegun.saturating_add(1)),
            };
        }
        Event::BackoffStarted { until, at, .. } => {
            state.backoff = Duration::from_ms(until.0.saturating_sub(at.0));
            (state.backoff_until, state.since) = (*until, *at);
            state.wait(Phase::Backoff, TaskState::Submitted);
        }
        Event::InputRequired { prompt, authorization, effect, asks, approval, at, .. } => {
            let status = if *authorization { TaskState::AuthRequired } else { TaskState::InputRequired };
            (state.withdrawals, state.unbegun) = (0, 0);
            state.wait(Phase::Answer, status);
            (state.question, state.question_id) = (Some(prompt.clone()), Some(state.revision));
            (state.asked_effect, state.asks, state.since) = (effect.clone(), asks.clone(), *at);
            state.approval.clone_from(approval);
        }
        Event::Answered { answer, .. } => {
            // The outcome of an effect belongs into the ledger, and is no answer for the agent.
            if state.asked_effect.is_none() {
                state.answers.push(answer.clone());
            }
            state.clear_question();
        }
        _ => {}
    }
}

/// The size of a result as JSON, in bytes.
pub(super) fn result_bytes(value: &Value) -> usize {
    if value.is_null() { 0 } else { value.to_string().len() }
}

/// Applies an event of the budget.
fn fold_budget(state: &mut State, event: &Event) {
    if let Event::BudgetSet { budget } = event {
        state.account = Some(Account::of(budget.clone()));
    }
    let Some(account) = &mut state.account else { return };
    match event {
        Event::Reserved { reservation, task, amount, until } => {
            let held = Held { task: task.clone(), amount: *amount, until: *until };
            account.reserved.insert(reservation.clone(), held);
        }
        Event::Settled { reservation, used, lapsed, .. } => account.settle(reservation, *used, *lapsed),
        Event::JobCounted { .. } => account.used.jobs = account.used.jobs.saturating_add(1),
        Event::BudgetExceeded { dimension, question, asks, at } => {
            let (question, question_id, asks) = (question.clone(), state.revision, asks.clone());
            account.exceeded = Some(Exceeded { dimension: *dimension, question, question_id, asks, at: *at });
        }
        Event::BudgetExtended { budget, .. } => {
            account.limits = budget.clone();
            account.exceeded = None;
        }
        _ => {}
    }
}

/// Applies an event of the plan.
fn fold_plan(state: &mut State, event: &Event) {
    match event {
        Event::Planned { plan } => {
            state.plan = Some(plan.clone());
            state.wait(Phase::Children, TaskState::Working);
        }
        Event::ChildStarted { step, child } => {
            let open = Child {
                key: child.clone(),
                end: None,
                artifacts: Vec::new(),
                result: Value::Null,
                failure: None,
            };
            state.children.insert(step.clone(), open);
        }
        Event::ChildSettled { step, state: end, artifacts, result, failure } => {
            if *end != TaskState::Completed && state.broken.is_none() && !state.is_optional(step) {
                state.broken = Some(step.clone());
            }
            if let Some(child) = state.children.get_mut(step) {
                child.end = Some(*end);
                child.artifacts.clone_from(artifacts);
                child.result = result.clone();
                child.failure.clone_from(failure);
            }
        }
        _ => {}
    }
}

/// Applies an event that ends the task.
fn fold_end(state: &mut State, event: &Event) {
    match event {
        Event::Rejected { failure } => {
            state.failure = Some(failure.clone());
            state.end(TaskState::Rejected, None);
        }
        Event::Completed { artifacts, result, at } => {
            state.artifacts.clone_from(artifacts);
            state.result = result.clone();
            state.failure = None;
            state.end(TaskState::Completed, Some(*at));
        }
        Event::Failed { failure, at } => {
            if state.plan.is_none() && failure.class != FailureClass::Canceled {
                state.dead_letter.get_or_insert(state.attempt);
            }
            state.failure = Some(failure.clone());
            state.end(TaskState::Failed, Some(*at));
        }
        Event::Canceled { reason, at } => {
            state.cancel = Some(reason.clone());
            state.end(TaskState::Canceled, Some(*at));
        }
        _ => {}
    }
}
