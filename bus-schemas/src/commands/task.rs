//! Commands for `task`: the A2A life cycle, plans, jobs and the effect ledger.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use smol_str::SmolStr;

use crate::ids::{CommandId, Key, Revision, Timestamp};
use crate::jobs::{Artifact, EffectStep, FailureClass, StepResult};
use crate::settings::{Budget, RetryPolicy};
use crate::views::task::TaskState;
use crate::wire::is_default;

/// What a task can be told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Command {
    /// Starts the task. Only the first one is accepted; the same again is the same answer.
    Submit(Submit),
    /// From its queue: this worker does this attempt.
    Assign {
        /// The agent.
        agent: Key,
        /// The worker.
        worker: SmolStr,
        /// The claim that the job answers.
        claim: CommandId,
        /// Which attempt.
        attempt: u32,
        /// What the worker must show.
        token: SmolStr,
        /// What the settings say of such tasks; none where they are the defaults.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        policy: Option<Box<Policy>>,
    },
    /// From a worker: steps that were done, in order.
    RecordStep {
        /// Which attempt.
        attempt: u32,
        /// The token of the job.
        token: SmolStr,
        /// The steps, 1 to 16.
        #[schemars(length(min = 1, max = 16))]
        steps: Vec<StepResult>,
    },
    /// From a worker: one step of one side effect, for the effect ledger.
    RecordEffect {
        /// Which attempt.
        attempt: u32,
        /// The token of the job.
        token: SmolStr,
        /// Names the effect within the task.
        effect: String,
        /// How far it is.
        step: EffectStep,
        /// What it does, or how it ended.
        #[serde(default)]
        detail: String,
        /// With `intended`: the idempotency key that the tool is given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<SmolStr>,
        /// With `completed`: what it gave, for a later attempt that comes to the same place. At most 16
        /// KiB as JSON.
        #[serde(default, skip_serializing_if = "Value::is_null")]
        result: Value,
    },
    /// From a worker: done.
    CompleteJob {
        /// Which attempt.
        attempt: u32,
        /// The token of the job.
        token: SmolStr,
        /// Steps that were done and are not recorded yet, in order: at most 16.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        #[schemars(length(max = 16))]
        steps: Vec<StepResult>,
        /// What came out.
        #[serde(default)]
        artifacts: Vec<Artifact>,
        /// A small answer; large ones are artifacts.
        #[serde(default)]
        result: Value,
        /// For an orchestrating agent: the child tasks that do the work.
        #[serde(default)]
        plan: Option<Plan>,
    },
    /// From a worker: not done.
    FailJob {
        /// Which attempt.
        attempt: u32,
        /// The token of the job.
        token: SmolStr,
        /// What sort of failure.
        class: FailureClass,
        /// A stable word for programs.
        code: String,
        /// One sentence for people.
        message: String,
        /// What to do next.
        #[serde(default)]
        hint: Option<String>,
        /// What it depends on and failed by: the key of a breaker.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        dependency: Option<Key>,
    },
    /// From its lane or the keeper of its budget, which hold it: the attempt is taken back through no fault
    /// of its own, and waits anew.
    Withdraw {
        /// Which attempt.
        attempt: u32,
        /// Why.
        reason: String,
    },
    /// From a worker: it gives the attempt back through no fault of its own.
    GiveBack {
        /// Which attempt.
        attempt: u32,
        /// The token of the job.
        token: SmolStr,
        /// Why.
        reason: String,
    },
    /// From the owner: the job reached nobody, or nobody began it in time. The attempt waits anew.
    ReturnIssue {
        /// Which attempt.
        attempt: u32,
        /// The token of the job.
        token: SmolStr,
    },
    /// From a halt: the lane gives nothing to this task and what is below it, and takes back what runs.
    Hold {
        /// Who holds.
        cause: SmolStr,
        /// Why.
        reason: String,
        /// How long what runs may take to end by itself, in milliseconds.
        #[serde(default, skip_serializing_if = "super::is_zero")]
        grace_ms: u64,
    },
    /// The cause holds no longer.
    Ease {
        /// Who held.
        cause: SmolStr,
    },
    /// From a worker: it can not go on without an answer.
    RequireInput {
        /// Which attempt.
        attempt: u32,
        /// The token of the job.
        token: SmolStr,
        /// The question.
        prompt: String,
        /// Whether it is an authorization that is missing.
        #[serde(default)]
        authorization: bool,
    },
    /// The answer to a question: of a worker, of the ledger of effects, or of the budget.
    ProvideInput {
        /// Which question, as the task's `question_id` says: one that is over is not answered.
        question: Revision,
        /// The answer.
        answer: Value,
        /// Who answers.
        #[serde(default)]
        by: String,
    },
    /// Stops the task and everything below it.
    Cancel {
        /// Why.
        #[serde(default)]
        reason: String,
        /// Who.
        #[serde(default)]
        by: String,
    },
    /// Tries a failed task once more, with a fresh count of attempts.
    Retry {
        /// Which end it is about, as the task's `end_id` says: one that was retried is not retried again.
        /// Left out by entities, which hear of each end.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        end: Option<Revision>,
        /// Who.
        #[serde(default)]
        by: String,
    },
    /// From a child: how it ended.
    SettleChild {
        /// The step of the plan.
        step: SmolStr,
        /// Its final state.
        state: TaskState,
        /// Its artifacts.
        #[serde(default)]
        artifacts: Vec<Artifact>,
        /// Its answer.
        #[serde(default)]
        result: Value,
        /// Why it failed.
        #[serde(default)]
        failure: Option<Failure>,
    },
    /// Timer: the deadline has come.
    #[serde(deserialize_with = "crate::wire::no_fields")]
    ExpireDeadline,
    /// Timer: the pause before the next attempt is over.
    EndBackoff {
        /// The attempt that begins.
        attempt: u32,
    },
    /// From the owner: the worker was silent for too long.
    ExpireLease {
        /// Which attempt.
        attempt: u32,
    },
    /// From the owner: the worker renewed for too long without coming further.
    ExpireProgress {
        /// Which attempt.
        attempt: u32,
    },
    /// From a worker, to the root of the tree: a call may use as much as this. Answered with a
    /// [`Reservation`].
    Reserve {
        /// Names the reservation within the tree.
        reservation: SmolStr,
        /// The task whose attempt calls.
        task: Key,
        /// The most that the call can use.
        amount: Usage,
        /// For how long, in milliseconds, 1,000 to 3,600,000. What was not settled by then counts as used.
        lease_ms: u64,
    },
    /// From a worker, to the root of the tree: what the call has used. Harmless twice.
    Settle {
        /// Which reservation.
        reservation: SmolStr,
        /// What was used.
        used: Usage,
    },
    /// From a task of the tree: a job was issued. Counted in the budget of the root.
    CountJob {
        /// The task.
        task: Key,
        /// Which attempt.
        attempt: u32,
    },
    /// From a task of the tree: the settings give a budget to trees that have none.
    AdoptBudget {
        /// What the tree may use.
        budget: Budget,
    },
    /// To the root of the tree: it may use more. With it the tree goes on, if it was paused for that.
    ExtendBudget {
        /// How much more of each; `wall_clock` counts from now.
        extend: Budget,
        /// Why.
        #[serde(default)]
        reason: String,
        /// Who.
        #[serde(default)]
        by: String,
    },
    /// Timer: the tree has had its time.
    #[serde(deserialize_with = "crate::wire::no_fields")]
    ExpireWallClock,
    /// Timer: a reservation was not settled in time.
    #[serde(deserialize_with = "crate::wire::no_fields")]
    ExpireReservations,
    /// From the sweeper, or the task above: says again what it waits for to whoever it waits for.
    #[serde(deserialize_with = "crate::wire::no_fields")]
    Sweep,
}
crate::wire::wire_command!(Command, "task");

/// What a task answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::VariantNames)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
#[strum(serialize_all = "kebab-case")]
pub enum Query {
    /// Answers with the [`crate::views::task::Task`] as it is now.
    #[serde(deserialize_with = "crate::wire::no_fields")]
    Describe,
    /// Answers with a [`crate::views::task::Why`].
    #[serde(deserialize_with = "crate::wire::no_fields")]
    Explain,
    /// Answers with the [`crate::views::task::Task`] once it has ended, or asks to come again after 5
    /// seconds.
    #[serde(deserialize_with = "crate::wire::no_fields")]
    Wait,
    /// From a worker: answers with a [`Renewal`] as long as the attempt is its own, and otherwise refuses.
    /// Before the first answer the work must not begin.
    Renew {
        /// Which attempt.
        attempt: u32,
        /// The token of the job.
        token: SmolStr,
        /// Whether it came further since the last renewal.
        #[serde(default, skip_serializing_if = "is_default")]
        progressed: bool,
    },
}
crate::wire::wire_query!(Query, "task");

/// The answer to [`Query::Renew`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Renewal {
    /// Whose the attempt is: always `yours`, since everybody else is refused.
    pub attempt: Holder,
    /// How long the worker may be silent from now on, in milliseconds.
    pub lease_ms: u64,
}

/// Whose an attempt is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Holder {
    /// The one's who asks.
    Yours,
}

/// What the settings say of a task.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// How failed attempts are tried again.
    #[serde(default, skip_serializing_if = "is_default")]
    pub retry: RetryPolicy,
    /// What its tree may use, if its submission does not say.
    #[serde(default, skip_serializing_if = "is_default")]
    pub budget: Budget,
}

/// What calls use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Usage {
    /// Tokens of models, in both directions.
    #[serde(skip_serializing_if = "is_default")]
    pub tokens: u64,
    /// Money, in millionths of the currency in which the prices are given.
    #[serde(skip_serializing_if = "is_default")]
    pub money_micros: u64,
    /// Calls of tools.
    #[serde(skip_serializing_if = "is_default")]
    pub tool_calls: u64,
    /// Jobs.
    #[serde(skip_serializing_if = "is_default")]
    pub jobs: u64,
}

impl Usage {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            tokens: self.tokens.saturating_add(other.tokens),
            money_micros: self.money_micros.saturating_add(other.money_micros),
            tool_calls: self.tool_calls.saturating_add(other.tool_calls),
            jobs: self.jobs.saturating_add(other.jobs),
        }
    }
    /// What is left without the other; nothing is less than 0.
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
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A goal with its bounds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Submit {
    /// What is wanted, in words.
    pub goal: String,
    /// Whose work it is: fairness is between owners.
    #[serde(default = "default_owner")]
    pub owner: SmolStr,
    /// 0 (last) to 9 (first).
    #[serde(default = "default_priority")]
    #[schemars(range(max = 9))]
    pub priority: u8,
    /// The broker's lane.
    #[serde(default = "default_lane")]
    pub lane: Key,
    /// The skill that the agent needs; `plan` for a goal that an orchestrator splits.
    #[serde(default = "default_skill")]
    pub skill: SmolStr,
    /// What the agent needs to know beside the goal.
    #[serde(default)]
    pub input: Value,
    /// A plan made by the caller: then no orchestrator is asked.
    #[serde(default)]
    pub plan: Option<Plan>,
    /// When it must be done.
    #[serde(default)]
    pub deadline: Option<Timestamp>,
    /// How often it is tried; left out, as the settings say for its skill: 3 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub attempts_max: Option<u32>,
    /// What it and everything below it may use; left out, as the settings say. For a child: whatever
    /// the root of the tree may use, and not its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
    /// Set for a child: the task above it.
    #[serde(default)]
    pub parent: Option<Key>,
    /// Set for a child: the artifacts of the steps it comes after.
    #[serde(default)]
    pub inputs: Vec<Artifact>,
    /// Set by a dead letter whose edited submission this is: it is told how this ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letter: Option<Key>,
}

fn default_owner() -> SmolStr {
    SmolStr::new_static("anonymous")
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
    /// Names the step; the child's key is `<task>.<step>`.
    pub step: SmolStr,
    /// What is wanted.
    pub goal: String,
    /// The skill that the agent needs.
    pub skill: SmolStr,
    /// What the agent needs to know beside the goal.
    #[serde(default)]
    pub input: Value,
    /// The steps that must be completed first; their artifacts are this step's inputs.
    #[serde(default)]
    pub after: Vec<SmolStr>,
    /// Whether the task can complete although this step failed.
    #[serde(default)]
    pub optional: bool,
}

/// Why a task failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// What sort of failure.
    pub class: FailureClass,
    /// A stable word for programs.
    pub code: String,
    /// One sentence for people.
    pub message: String,
    /// What to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// What it depends on and failed by: the key of a breaker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dependency: Option<Key>,
}
