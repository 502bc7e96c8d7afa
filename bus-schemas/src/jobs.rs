//! Jobs: work with side effects, from a task to an agent, and what agents tell of it.
//!
//! A job comes with the answer to a claim ([`crate::claims`]). Before it begins, and then three times in
//! each lease, its worker asks the task whether the attempt is still its own (the query `renew`). Each
//! issue has a token that nobody can guess: a command without it is refused `stale-attempt`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use smol_str::SmolStr;

use crate::ids::{CommandId, EntityAddress, Hash, Key, Timestamp};

/// Bodies above this are stored as a blob, and the message holds the hash: a NATS message is
/// one megabyte by default, and a group of turns shares one.
pub const INLINE_BYTES_MAX: usize = 64 * 1024;

/// One attempt at a task, for an agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Job {
    /// `<task key>/<attempt>`: names this attempt for ever.
    pub id: SmolStr,
    /// The task that wants it.
    pub task: EntityAddress,
    /// Which attempt.
    pub attempt: u32,
    /// What every command about this attempt carries.
    pub token: SmolStr,
    /// The agent.
    pub agent: Key,
    /// The skill that is needed.
    pub skill: SmolStr,
    /// The lane that gave it.
    #[serde(default = "crate::commands::task::default_lane")]
    pub lane: Key,
    /// What is wanted.
    pub goal: String,
    /// What the agent needs to know beside the goal.
    #[serde(default)]
    pub input: Value,
    /// The artifacts of the steps before.
    #[serde(default)]
    pub inputs: Vec<Artifact>,
    /// Answers given to `require-input` so far.
    #[serde(default)]
    pub answers: Vec<Value>,
    /// When it must be done.
    #[serde(default)]
    pub deadline: Option<Timestamp>,
    /// How long the worker may be silent, in milliseconds.
    pub lease_ms: u64,
    /// The effects of earlier attempts that were done, or of which nobody knows whether they were. The
    /// former are not done again; the latter are settled before the work goes on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub effects: Vec<PastEffect>,
    /// How many steps earlier attempts have recorded: their results stand in the task's events
    /// `step-recorded`.
    #[serde(default, skip_serializing_if = "crate::wire::is_default")]
    pub steps: u32,
    /// Whether calls are to be reserved in the budget of the tree before they are made.
    #[serde(default, skip_serializing_if = "crate::wire::is_default")]
    pub metered: bool,
    /// What everything caused by one request shares.
    pub correlation: CommandId,
}

/// A step that was done, as its worker records it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StepResult {
    /// Its name within the task.
    #[schemars(length(min = 1, max = 128))]
    pub name: SmolStr,
    /// BLAKE3 of its input as JSON: the same step with another input is refused.
    pub input: Hash,
    /// What it gave.
    #[serde(default)]
    pub result: Value,
}

/// An effect in the ledger, for an attempt that comes after it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PastEffect {
    /// Its name within the task.
    pub effect: SmolStr,
    /// `completed` or `ambiguous`.
    pub step: EffectStep,
    /// What it does, or how it ended.
    #[serde(default)]
    pub detail: String,
    /// The idempotency key that the tool was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<SmolStr>,
    /// What it gave.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub result: Value,
}

/// Something an agent made. Its bytes lie in the blob store under their hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Artifact {
    /// A file name, unique within the task.
    pub name: String,
    /// The media type.
    pub media_type: String,
    /// BLAKE3 of the bytes: their name in the blob store.
    pub hash: Hash,
    /// How many bytes.
    pub bytes: u64,
    /// The step of the plan that made it; empty for a task without plan.
    #[serde(default)]
    pub step: SmolStr,
}

/// What sort of failure: it decides what happens next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::IntoStaticStr)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum FailureClass {
    /// Trying again may help.
    Transient,
    /// Trying again can not help.
    Permanent,
    /// A side effect has begun and nobody knows how it ended; never tried again by itself.
    Ambiguous,
    /// A budget is used up.
    Budget,
    /// Somebody stopped it.
    Canceled,
    /// The work breaks whoever takes it.
    Poison,
}

/// How far a side effect is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EffectStep {
    /// It will be done.
    Intended,
    /// It has begun: from here the outcome is unknown until said.
    Started,
    /// It was done.
    Completed,
    /// It was not done.
    Failed,
    /// Nobody knows.
    Ambiguous,
    /// Somebody found out.
    Reconciled,
}

/// One piece of streamed output, on `<prefix>.out.<task>`: not part of the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OutputChunk {
    /// Which attempt.
    pub attempt: u32,
    /// 1, 2, 3 … within the attempt.
    pub number: u64,
    /// Text for people, if any.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// How much is done, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
}

/// How much of a job is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Progress {
    /// Units done.
    pub done: u64,
    /// Units in all, if known.
    #[serde(default)]
    pub total: Option<u64>,
    /// What is being done.
    #[serde(default)]
    pub note: String,
}
