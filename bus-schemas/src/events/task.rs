//! Events of `task`. Subject `<prefix>.evt.task.<key>`, ordered per key; those of a whole tree
//! stand in one log. Consumers: projections, streams to clients, services.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use smol_str::SmolStr;

use crate::commands::task::{Failure, Plan, Policy, Submit, Usage};
use crate::ids::{Hash, Key, Timestamp};
use crate::jobs::{Artifact, EffectStep, StepResult};
use crate::settings::Budget;
use crate::views::task::{Dimension, TaskState};
use crate::wire::is_default;

/// What happened to a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, strum::IntoStaticStr)]
#[serde(tag = "type", rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Event {
    /// It exists.
    Submitted {
        /// The goal and its bounds.
        submission: Submit,
        /// When.
        at: Timestamp,
    },
    /// It can not be done as asked: final.
    Rejected {
        /// Why.
        failure: Failure,
    },
    /// It has a plan of child tasks.
    Planned {
        /// The plan.
        plan: Plan,
    },
    /// A step's child task was started.
    ChildStarted {
        /// The step.
        step: SmolStr,
        /// The child's key.
        child: Key,
    },
    /// A child came to its end.
    ChildSettled {
        /// The step.
        step: SmolStr,
        /// How.
        state: TaskState,
        /// What came out.
        artifacts: Vec<Artifact>,
        /// A small answer.
        result: Value,
        /// Why it failed.
        failure: Option<Failure>,
    },
    /// An attempt waits for an agent.
    Queued {
        /// Which attempt.
        attempt: u32,
        /// When.
        at: Timestamp,
    },
    /// A worker got the attempt.
    JobIssued {
        /// Which attempt.
        attempt: u32,
        /// The agent.
        agent: Key,
        /// The worker.
        worker: SmolStr,
        /// BLAKE3 of the token that the worker shows.
        token: Hash,
        /// When.
        at: Timestamp,
    },
    /// A step was done.
    StepRecorded {
        /// Which attempt did it.
        attempt: u32,
        /// The step.
        #[serde(flatten)]
        step: StepResult,
    },
    /// One step of a side effect.
    EffectRecorded {
        /// Which attempt.
        attempt: u32,
        /// Which effect.
        effect: String,
        /// How far it is.
        step: EffectStep,
        /// What it does, or how it ended.
        detail: String,
        /// The idempotency key that the tool is given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<SmolStr>,
        /// What it gave.
        #[serde(default, skip_serializing_if = "Value::is_null")]
        result: Value,
    },
    /// The attempt failed.
    AttemptFailed {
        /// Which attempt.
        attempt: u32,
        /// Why.
        failure: Failure,
    },
    /// The attempt was taken back through no fault of its own.
    AttemptWithdrawn {
        /// Which attempt.
        attempt: u32,
        /// Why.
        reason: String,
        /// Whose doing it was.
        #[serde(default, skip_serializing_if = "is_default")]
        by: WithdrawnBy,
    },
    /// The next attempt waits.
    BackoffStarted {
        /// The attempt that comes.
        attempt: u32,
        /// Until when.
        until: Timestamp,
        /// Since when.
        #[serde(default, skip_serializing_if = "is_default")]
        at: Timestamp,
    },
    /// It waits for an answer.
    InputRequired {
        /// Which attempt asked.
        attempt: u32,
        /// The question.
        prompt: String,
        /// Whether an authorization is missing.
        authorization: bool,
        /// The effect of which nobody knows how it ended, if the question is about one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        effect: Option<String>,
        /// Whom it asks; empty for anybody.
        #[serde(default, skip_serializing_if = "is_default")]
        asks: SmolStr,
        /// Since when.
        #[serde(default, skip_serializing_if = "is_default")]
        at: Timestamp,
    },
    /// The answer came.
    InputProvided {
        /// The answer.
        answer: Value,
        /// From whom.
        by: String,
    },
    /// It is to stop.
    CancelRequested {
        /// Why.
        reason: String,
        /// Who wants it.
        by: String,
    },
    /// The settings say this of the task.
    PolicySet {
        /// What they say.
        policy: Policy,
    },
    /// The settings gave the tree a budget.
    BudgetSet {
        /// What it may use.
        budget: Budget,
    },
    /// A call may use as much as this.
    Reserved {
        /// Which reservation.
        reservation: SmolStr,
        /// The task whose attempt calls.
        task: Key,
        /// The most that the call can use.
        amount: Usage,
        /// Until when it is to be settled.
        until: Timestamp,
    },
    /// A call has used this.
    Settled {
        /// Which reservation.
        reservation: SmolStr,
        /// What was used.
        used: Usage,
        /// What was reserved, and is no longer.
        reserved: Usage,
        /// Whether nobody said so in time, and the most is taken for it.
        #[serde(default, skip_serializing_if = "is_default")]
        lapsed: bool,
    },
    /// A job of the tree was issued.
    JobCounted {
        /// The task.
        task: Key,
        /// Which attempt.
        attempt: u32,
    },
    /// The budget does not allow what is wanted: the tree is paused, and asks for more.
    BudgetExceeded {
        /// Which bound.
        dimension: Dimension,
        /// The question.
        question: String,
        /// Whom it asks.
        asks: SmolStr,
        /// When.
        at: Timestamp,
    },
    /// The tree may use more, and goes on.
    BudgetExtended {
        /// What it may use from now on.
        budget: Budget,
        /// Why.
        #[serde(default, skip_serializing_if = "is_default")]
        reason: String,
        /// From whom.
        by: String,
        /// When.
        at: Timestamp,
    },
    /// Final: done.
    Completed {
        /// What came out.
        artifacts: Vec<Artifact>,
        /// A small answer.
        result: Value,
        /// When.
        at: Timestamp,
    },
    /// Final until retried: not done.
    Failed {
        /// Why.
        failure: Failure,
        /// When.
        at: Timestamp,
    },
    /// Final: stopped.
    Canceled {
        /// Why.
        reason: String,
        /// When.
        at: Timestamp,
    },
    /// A failed task is tried again.
    Retried {
        /// Who wants it.
        by: String,
        /// When.
        at: Timestamp,
    },
}
crate::wire::wire_event!(Event, "task", 1);

/// Whose doing it is that an attempt is taken back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum WithdrawnBy {
    /// Its worker gave it back.
    #[default]
    Worker,
    /// Its lane, or the keeper of the budget, took it back, and holds it.
    Holder,
    /// The owner took it back, because no worker began it.
    Owner,
}
