//! Events of `task`. Subject `<prefix>.evt.task.<key>`, ordered per key; those of a whole tree are in one
//! log. Consumers: projections, streams to clients, services.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use smol_str::SmolStr;

use crate::commands::task::{Failure, Plan, Policy, Submit, Usage};
use crate::ids::{Hash, Key, Revision, Timestamp};
use crate::jobs::{Artifact, EffectStep, StepResult};
use crate::settings::Budget;
use crate::views::task::{Dimension, TaskState};
use crate::wire::is_default;

/// An event of a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, strum::IntoStaticStr)]
#[serde(tag = "type", rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Event {
    /// The task was submitted.
    Submitted {
        /// The goal and its limits.
        submission: Submit,
        /// The time of the event.
        at: Timestamp,
    },
    /// The task goes on from what another one had at a revision. Steps and effects of attempt 0 follow, which are given
    /// back: the other task did them.
    Forked {
        /// The other task.
        origin: Key,
        /// Its revision.
        revision: Revision,
        /// The answers that it had.
        answers: Vec<Value>,
        /// The caller who forked it.
        by: String,
        /// The time of the event.
        at: Timestamp,
    },
    /// The task cannot be done as asked: final.
    Rejected {
        /// Why it cannot.
        failure: Failure,
    },
    /// The task has a plan of child tasks.
    Planned {
        /// The plan.
        plan: Plan,
    },
    /// The child task of a step was started.
    ChildStarted {
        /// The step.
        step: SmolStr,
        /// The child's key.
        child: Key,
    },
    /// A child task ended.
    ChildSettled {
        /// The step.
        step: SmolStr,
        /// Its final state.
        state: TaskState,
        /// The artifacts.
        artifacts: Vec<Artifact>,
        /// The result.
        result: Value,
        /// The failure.
        failure: Option<Failure>,
    },
    /// An attempt waits for an agent.
    Queued {
        /// The number of the attempt.
        attempt: u32,
        /// The time of the event.
        at: Timestamp,
    },
    /// A job was issued: a worker has the attempt.
    JobIssued {
        /// The number of the attempt.
        attempt: u32,
        /// The agent.
        agent: Key,
        /// The worker.
        worker: SmolStr,
        /// SHA-256 of the token that the worker must present.
        token: Hash,
        /// The time of the event.
        at: Timestamp,
    },
    /// A completed step was recorded.
    StepRecorded {
        /// The number of the attempt.
        attempt: u32,
        /// The step.
        #[serde(flatten)]
        step: StepResult,
    },
    /// The progress of a side effect was recorded.
    EffectRecorded {
        /// The number of the attempt.
        attempt: u32,
        /// The effect's name within the task.
        effect: String,
        /// The progress of the effect.
        step: EffectStep,
        /// A description of the effect, or of its outcome.
        detail: String,
        /// The idempotency key that the tool is given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<SmolStr>,
        /// The result.
        #[serde(default, skip_serializing_if = "Value::is_null")]
        result: Value,
    },
    /// A change is told how the task ends.
    Followed {
        /// The change.
        change: Key,
    },
    /// The attempt failed.
    AttemptFailed {
        /// The number of the attempt.
        attempt: u32,
        /// The failure.
        failure: Failure,
    },
    /// The attempt was taken back; it did not fail.
    AttemptWithdrawn {
        /// The number of the attempt.
        attempt: u32,
        /// The reason.
        reason: String,
        /// Who took it back.
        #[serde(default, skip_serializing_if = "is_default")]
        by: WithdrawnBy,
    },
    /// The pause before the next attempt began.
    BackoffStarted {
        /// The number of the next attempt.
        attempt: u32,
        /// When the pause ends.
        until: Timestamp,
        /// When the pause began.
        #[serde(default, skip_serializing_if = "is_default")]
        at: Timestamp,
    },
    /// The task waits for an answer.
    InputRequired {
        /// The number of the attempt that asked.
        attempt: u32,
        /// The question.
        prompt: String,
        /// Whether an authorization is missing.
        authorization: bool,
        /// The effect whose outcome is unknown, if the question is about one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        effect: Option<String>,
        /// Who should answer; empty for anyone.
        #[serde(default, skip_serializing_if = "is_default")]
        asks: SmolStr,
        /// The approval that is waited for, if there is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        approval: Option<Key>,
        /// When the question was asked.
        #[serde(default, skip_serializing_if = "is_default")]
        at: Timestamp,
    },
    /// An answer was given.
    Answered {
        /// The answer.
        answer: Value,
        /// The caller who answered.
        by: String,
    },
    /// A cancel was requested.
    CancelRequested {
        /// The reason.
        reason: String,
        /// The caller who requested it.
        by: String,
    },
    /// The task took its policy from the settings.
    PolicySet {
        /// The policy.
        policy: Policy,
    },
    /// The tree took its budget from the settings.
    BudgetSet {
        /// The budget.
        budget: Budget,
    },
    /// The budget of a call was reserved.
    Reserved {
        /// The id of the reservation.
        reservation: SmolStr,
        /// The task whose attempt makes the call.
        task: Key,
        /// The most that the call can use.
        amount: Usage,
        /// The time by which it must be settled.
        until: Timestamp,
    },
    /// The usage of a call was settled.
    Settled {
        /// The id of the reservation.
        reservation: SmolStr,
        /// The usage.
        used: Usage,
        /// The amount that was reserved until now.
        reserved: Usage,
        /// Whether it was not settled in time, so that the reserved amount counts as used.
        #[serde(default, skip_serializing_if = "is_default")]
        lapsed: bool,
    },
    /// A job of the tree was counted.
    JobCounted {
        /// The task.
        task: Key,
        /// The number of the attempt.
        attempt: u32,
    },
    /// The budget does not allow what was requested: the tree is paused, and asks for more.
    BudgetExceeded {
        /// The limit that was exceeded.
        dimension: Dimension,
        /// The question.
        question: String,
        /// Who should answer.
        asks: SmolStr,
        /// The time of the event.
        at: Timestamp,
    },
    /// The budget was extended, and the tree goes on.
    BudgetExtended {
        /// The new budget.
        budget: Budget,
        /// The reason.
        #[serde(default, skip_serializing_if = "is_default")]
        reason: String,
        /// The caller who extended it.
        by: String,
        /// The time of the event.
        at: Timestamp,
    },
    /// The task completed: final.
    Completed {
        /// The artifacts.
        artifacts: Vec<Artifact>,
        /// The result.
        result: Value,
        /// The time of the event.
        at: Timestamp,
    },
    /// The task failed: final until it is retried.
    Failed {
        /// The reason.
        failure: Failure,
        /// The time of the event.
        at: Timestamp,
    },
    /// The task was canceled: final.
    Canceled {
        /// The reason.
        reason: String,
        /// The time of the event.
        at: Timestamp,
    },
    /// The failed task is retried.
    Retried {
        /// The caller who requested it.
        by: String,
        /// The time of the event.
        at: Timestamp,
    },
}
crate::wire::wire_event!(Event, "task", 1);

/// Who took an attempt back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum WithdrawnBy {
    /// Its worker gave it back.
    #[default]
    Worker,
    /// Its lane, or the root that keeps the budget, took it back and holds it.
    Holder,
    /// The partition's owner took it back, because no worker began it.
    Owner,
}
