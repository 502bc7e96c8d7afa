//! Commands for `task`: the A2A life cycle, plans, jobs and the effect ledger.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use smol_str::SmolStr;

use crate::events::task::Event;
use crate::ids::{Caller, CommandId, Hash, Key, Revision, Timestamp};
use crate::jobs::{Artifact, EffectStep, FailureClass, StepResult};
use crate::settings::{Budget, RetryPolicy};
use crate::views::task::TaskState;
use crate::wire::is_default;

/// A command for a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Command {
    /// Starts the task. Only the first one is accepted; the same submission again gets the same reply.
    Submit(Submit),
    /// From a gateway, or from a task that is forked: starts the task with what another one had at a revision. The same
    /// fork again gets the same reply.
    Fork(Fork),
    /// From its queue: assigns an attempt to a worker.
    Assign {
        /// The agent.
        agent: Key,
        /// The worker.
        worker: SmolStr,
        /// The claim that the job answers.
        claim: CommandId,
        /// The number of the attempt.
        attempt: u32,
        /// The SHA-256 hash of the token that the worker must present.
        token: Hash,
        /// The task's policy from the settings; absent for the defaults.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        policy: Option<Box<Policy>>,
    },
    /// From a worker: records completed steps, in order.
    RecordStep {
        /// The number of the attempt.
        attempt: u32,
        /// The token of the job.
        token: SmolStr,
        /// The steps, 1 to 16.
        #[schemars(length(min = 1, max = 16))]
        steps: Vec<StepResult>,
    },
    /// From a worker: records the progress of a side effect in the effect ledger.
    RecordEffect {
        /// The number of the attempt.
        attempt: u32,
        /// The token of the job.
        token: SmolStr,
        /// The effect's name within the task.
        effect: String,
        /// The progress of the effect.
        step: EffectStep,
        /// A description of the effect, or of its outcome.
        #[serde(default)]
        detail: String,
        /// With `intended`: the idempotency key that the tool is given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<SmolStr>,
        /// With `completed`: the result, for a later attempt that comes to the same effect. At most 16 KiB as
        /// JSON.
        #[serde(default, skip_serializing_if = "Value::is_null")]
        result: Value,
    },
    /// From a worker: the job is done.
    CompleteJob {
        /// The number of the attempt.
        attempt: u32,
        /// The token of the job.
        token: SmolStr,
        /// Completed steps that are not recorded yet, in order: at most 16.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        #[schemars(length(max = 16))]
        steps: Vec<StepResult>,
        /// The artifacts.
        #[serde(default)]
        artifacts: Vec<Artifact>,
        /// A small result; large ones are artifacts.
        #[serde(default)]
        result: Value,
        /// From an orchestrating agent: the child tasks that do the work.
        #[serde(default)]
        plan: Option<Plan>,
    },
    /// From a worker: the job failed.
    FailJob {
        /// The number of the attempt.
        attempt: u32,
        /// The token of the job.
        token: SmolStr,
        /// The class of the failure.
        class: FailureClass,
        /// A stable code for programs.
        code: String,
        /// The message for people, in one sentence.
        message: String,
        /// What to do next.
        #[serde(default)]
        hint: Option<String>,
        /// The key of the breaker of the dependency that failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        dependency: Option<Key>,
    },
    /// From its lane or from the root that keeps the budget: takes the attempt back because of a hold. The
    /// attempt did not fail, and waits again.
    Withdraw {
        /// The number of the attempt.
        attempt: u32,
        /// The reason.
        reason: String,
    },
    /// From a worker: gives the attempt back. The attempt did not fail.
    GiveBack {
        /// The number of the attempt.
        attempt: u32,
        /// The token of the job.
        token: SmolStr,
        /// The reason.
        reason: String,
    },
    /// From the owner: the job had no receiver, or no worker began it in time. The attempt waits again.
    ReturnIssue {
        /// The number of the attempt.
        attempt: u32,
        /// The SHA-256 hash of the token of the job.
        token: Hash,
    },
    /// From a halt: its lane gives no jobs to this task and those below it, and takes back running ones.
    Hold {
        /// The cause of the hold.
        cause: SmolStr,
        /// The reason.
        reason: String,
        /// How long running jobs have to end by themselves, in milliseconds.
        #[serde(default, skip_serializing_if = "super::is_zero")]
        grace_ms: u64,
    },
    /// The hold ends.
    Ease {
        /// The cause of the hold.
        cause: SmolStr,
    },
    /// From a worker: it cannot go on without an answer.
    RequireInput {
        /// The number of the attempt.
        attempt: u32,
        /// The token of the job.
        token: SmolStr,
        /// The question.
        prompt: String,
        /// Whether an authorization is missing.
        #[serde(default)]
        authorization: bool,
        /// The approval that is waited for, if there is one: its outcome is the answer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        approval: Option<Key>,
    },
    /// From the approval that the task waits for: it has its outcome.
    SettleApproval {
        /// The approval.
        approval: Key,
        /// The outcome: the name of its event.
        outcome: SmolStr,
    },
    /// From a change: it is told how the task ends, now or then.
    #[serde(deserialize_with = "crate::wire::no_fields")]
    Follow,
    /// Answers a question of a worker, of the effect ledger or of the budget.
    Answer {
        /// The task's `question_id`: an answer to an earlier question is refused.
        question: Revision,
        /// The answer.
        answer: Value,
    },
    /// Cancels the task and everything below it.
    Cancel {
        /// The reason.
        #[serde(default)]
        reason: String,
    },
    /// Retries a failed task, with a fresh count of attempts.
    Retry {
        /// The task's `end_id`: an end that was retried already is not retried again. Absent from entities,
        /// which learn of each end.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        end: Option<Revision>,
    },
    /// From a child: its outcome.
    SettleChild {
        /// The step of the plan.
        step: SmolStr,
        /// The child's final state.
        state: TaskState,
        /// The child's artifacts.
        #[serde(default)]
        artifacts: Vec<Artifact>,
        /// The child's result.
        #[serde(default)]
        result: Value,
        /// The child's failure.
        #[serde(default)]
        failure: Option<Failure>,
    },
    /// Timer: the deadline has passed.
    #[serde(deserialize_with = "crate::wire::no_fields")]
    ExpireDeadline,
    /// Timer: the pause before the next attempt is over.
    EndBackoff {
        /// The attempt that begins.
        attempt: u32,
    },
    /// From the partition's owner: the worker was silent for too long.
    ExpireLease {
        /// The number of the attempt.
        attempt: u32,
    },
    /// From the partition's owner: the worker renewed for too long without making progress.
    ExpireProgress {
        /// The number of the attempt.
        attempt: u32,
    },
    /// From a worker, to the root of the tree: reserves the budget of a call. Answered with a
    /// [`Reservation`].
    Reserve {
        /// The id of the reservation within the tree.
        reservation: SmolStr,
        /// The task whose attempt makes the call.
        task: Key,
        /// The most that the call can use.
        amount: Usage,
        /// How long it is reserved, in milliseconds, 1,000 to 3,600,000. After that it counts as used.
        lease_ms: u64,
    },
    /// From a worker, to the root of the tree: the usage of a call. A repeat changes nothing.
    Settle {
        /// The id of the reservation.
        reservation: SmolStr,
        /// The actual usage.
        used: Usage,
    },
    /// From a task of the tree: a job was issued, which counts in the budget of the root.
    CountJob {
        /// The task.
        task: Key,
        /// The number of the attempt.
        attempt: u32,
    },
    /// From a task of the tree: the budget that the settings give to trees without one.
    AdoptBudget {
        /// The budget.
        budget: Budget,
    },
    /// To the root of the tree: extends the budget. A tree that was paused for it goes on.
    ExtendBudget {
        /// The increase of each limit; `wall_clock` counts from now.
        extend: Budget,
        /// The reason.
        #[serde(default)]
        reason: String,
    },
    /// Timer: the time of the tree's budget is used up.
    #[serde(deserialize_with = "crate::wire::no_fields")]
    ExpireWallClock,
    /// Timer: a reservation was not settled in time.
    #[serde(deserialize_with = "crate::wire::no_fields")]
    ExpireReservations,
    /// From the sweeper or the parent task: repeats the task's requests to whatever it waits for.
    #[serde(deserialize_with = "crate::wire::no_fields")]
    Sweep,
}
crate::wire::wire_command!(Command, "task");

/// A query of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::VariantNames)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
#[strum(serialize_all = "kebab-case")]
pub enum Query {
    /// Answers with the current [`crate::views::task::Task`].
    #[serde(deserialize_with = "crate::wire::no_fields")]
    Describe,
    /// Answers with a [`crate::views::task::Why`].
    #[serde(deserialize_with = "crate::wire::no_fields")]
    Explain,
    /// Answers with the [`crate::views::task::Task`] when it has ended, or is refused as `come-again` after 5
    /// seconds.
    #[serde(deserialize_with = "crate::wire::no_fields")]
    Wait,
    /// From a worker: answers with a [`Renewal`] while the attempt is its own, and is refused otherwise. The
    /// work must not begin before the first answer.
    Renew {
        /// The number of the attempt.
        attempt: u32,
        /// The token of the job.
        token: SmolStr,
        /// Whether the worker made progress since the last renewal.
        #[serde(default, skip_serializing_if = "is_default")]
        progressed: bool,
    },
}
crate::wire::wire_query!(Query, "task");

/// The answer to [`Query::Renew`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Renewal {
    /// The holder of the attempt: always `yours`, since all others are refused.
    pub attempt: Holder,
    /// How long the worker may be silent from now on, in milliseconds.
    pub lease_ms: u64,
}

/// The holder of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Holder {
    /// The worker that asks.
    Yours,
}

/// A task's policy from the settings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// How failed attempts are retried.
    #[serde(default, skip_serializing_if = "is_default")]
    pub retry: RetryPolicy,
    /// The budget of the task's tree, if its submission sets none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub budget: Budget,
}

/// An amount of usage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Usage {
    /// Model tokens, in both directions.
    #[serde(skip_serializing_if = "is_default")]
    pub tokens: u64,
    /// Money, in millionths of the currency of the prices.
    #[serde(skip_serializing_if = "is_default")]
    pub money_micros: u64,
    /// Tool calls.
    #[serde(skip_serializing_if = "is_default")]
    pub tool_calls: u64,
    /// Jobs.
    #[serde(skip_serializing_if = "is_default")]
    pub jobs: u64,
}

impl Usage {
    /// The sum.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            tokens: self.tokens.saturating_add(other.tokens),
            money_micros: self.money_micros.saturating_add(other.money_micros),
            tool_calls: self.tool_calls.saturating_add(other.tool_calls),
            jobs: self.jobs.saturating_add(other.jobs),
        }
    }
    /// The difference; no field goes below 0.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self {
            tokens: self.tokens.saturating_sub(other.tokens),
            money_micros: self.money_micros.saturating_sub(other.money_micros),
            tool_calls: self.tool_calls.saturating_sub(other.tool_calls),
            jobs: self.jobs.saturating_sub(other.jobs),
        }
    }
}

/// The result in the reply to [`Command::Reserve`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reservation {
    /// Whether the call may be made.
    pub granted: bool,
    /// Why it may not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A goal with its limits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Submit {
    /// The goal, in words.
    pub goal: String,
    /// The owner of the task; fairness is between owners. A caller leaves it out or gives its own name; entities, such
    /// as schedules, name the owner for whom they submit.
    #[serde(default = "default_owner")]
    pub owner: SmolStr,
    /// The priority, 0 (lowest) to 9 (highest).
    #[serde(default = "default_priority")]
    #[schemars(range(max = 9))]
    pub priority: u8,
    /// The lane.
    #[serde(default = "default_lane")]
    pub lane: Key,
    /// The skill that the task needs; `plan` for a goal that an orchestrator splits.
    #[serde(default = "default_skill")]
    pub skill: SmolStr,
    /// Input for the agent beside the goal.
    #[serde(default)]
    pub input: Value,
    /// A plan made by the caller, in place of an orchestrator's.
    #[serde(default)]
    pub plan: Option<Plan>,
    /// When the task must be done.
    #[serde(default)]
    pub deadline: Option<Timestamp>,
    /// Most attempts; if absent, as the settings say for its skill: 3 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub attempts_max: Option<u32>,
    /// The budget of the task and everything below it; if absent, as the settings say. A child shares the
    /// budget of the root and has none of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
    /// For a child: its parent task.
    #[serde(default)]
    pub parent: Option<Key>,
    /// For a child: the artifacts of the steps before it.
    #[serde(default)]
    pub inputs: Vec<Artifact>,
    /// For an edited submission of a dead letter: the dead letter, which is told how the task ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letter: Option<Key>,
}

fn default_owner() -> SmolStr {
    Caller::UNNAMED.into()
}
fn default_priority() -> u8 {
    5
}
pub(crate) fn default_lane() -> Key {
    Key::parse("default").expect("a constant")
}
fn default_skill() -> SmolStr {
    SmolStr::new_static("plan")
}

impl Submit {
    /// A submission with the defaults.
    pub fn new(goal: impl Into<String>) -> Self {
        Self {
            goal: goal.into(),
            owner: default_owner(),
            priority: default_priority(),
            lane: default_lane(),
            skill: default_skill(),
            input: Value::Null,
            plan: None,
            deadline: None,
            attempts_max: None,
            budget: None,
            parent: None,
            inputs: Vec::new(),
            dead_letter: None,
        }
    }
}

/// What a task had at a revision, for another one that goes on from there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fork {
    /// The task that is forked.
    pub origin: Key,
    /// Its revision.
    pub at: Revision,
    /// The owner of the new task: whoever forks.
    pub owner: SmolStr,
    /// The events of the task and of those below it up to there, in order, without those of the budget.
    pub past: Vec<PastEvent>,
}

/// An event of a task that is forked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PastEvent {
    /// The task.
    pub task: Key,
    /// Its revision after the event.
    pub revision: Revision,
    /// The event, as in the schema of events.
    #[schemars(with = "Value")]
    pub event: Event,
}

impl Fork {
    /// The submission of the task that is forked.
    pub fn submission(&self) -> Option<&Submit> {
        self.past.iter().find_map(|past| match &past.event {
            Event::Submitted { submission, .. } if past.task == self.origin => Some(submission),
            _ => None,
        })
    }
}

impl Command {
    /// The submission of a command that starts a task.
    pub fn starts(&self) -> Option<&Submit> {
        match self {
            Self::Submit(submission) => Some(submission),
            Self::Fork(fork) => fork.submission(),
            _ => None,
        }
    }
}

/// Child tasks as a directed acyclic graph.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The steps, in any order.
    pub steps: Vec<PlanStep>,
}

/// One child task of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PlanStep {
    /// The name of the step; the child's key is `<task>.<step>`.
    pub step: SmolStr,
    /// The goal.
    pub goal: String,
    /// The skill that the step needs.
    pub skill: SmolStr,
    /// Input for the agent beside the goal.
    #[serde(default)]
    pub input: Value,
    /// The steps that must be completed first; their artifacts are this step's inputs.
    #[serde(default)]
    pub after: Vec<SmolStr>,
    /// Whether the task can complete although this step failed.
    #[serde(default)]
    pub optional: bool,
}

/// The failure of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// The class of the failure.
    pub class: FailureClass,
    /// A stable code for programs.
    pub code: String,
    /// The message for people, in one sentence.
    pub message: String,
    /// What to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The key of the breaker of the dependency that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dependency: Option<Key>,
}
