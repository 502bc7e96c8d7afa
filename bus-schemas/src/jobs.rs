//! Jobs: work with side effects, from a task to an agent, and the agent's reports.
//!
//! A job comes with the answer to a claim ([`crate::claims`]). Before it begins, and then three times per
//! lease, its worker asks the task whether the attempt is still its own (the query `renew`). The claim has a
//! secret token: a command without it is refused as `stale-attempt`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use smol_str::SmolStr;

use crate::ids::{CommandId, EntityAddress, Hash, Key, Timestamp};

/// A larger body, in bytes, is stored as a blob, and the message holds its hash: a NATS message has at most
/// one megabyte by default, and a group of turns shares one.
pub const INLINE_BYTES_MAX: usize = 64 * 1024;

/// One attempt at a task, for an agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Job {
    /// `<task key>/<attempt>`: the id of this attempt, unique for ever.
    pub id: SmolStr,
    /// The task.
    pub task: EntityAddress,
    /// The number of the attempt.
    pub attempt: u32,
    /// The token that every command about this attempt must carry. It is no part of the JSON: the worker made it for
    /// the claim that this job answers.
    #[serde(skip)]
    pub token: SmolStr,
    /// The agent.
    pub agent: Key,
    /// The skill that the task needs.
    pub skill: SmolStr,
    /// The lane of the task.
    #[serde(default = "crate::commands::task::default_lane")]
    pub lane: Key,
    /// The goal.
    pub goal: String,
    /// Input for the agent beside the goal.
    #[serde(default)]
    pub input: Value,
    /// The artifacts of the preceding steps.
    #[serde(default)]
    pub inputs: Vec<Artifact>,
    /// The answers to `require-input` so far.
    #[serde(default)]
    pub answers: Vec<Value>,
    /// When the task must be done.
    #[serde(default)]
    pub deadline: Option<Timestamp>,
    /// How long the worker may be silent, in milliseconds.
    pub lease_ms: u64,
    /// Effects of earlier attempts that completed or whose outcome is unknown. A completed effect is not
    /// repeated; an unknown one is settled before the work goes on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub effects: Vec<PastEffect>,
    /// How many steps earlier attempts have recorded; their results are in the task's `step-recorded` events.
    #[serde(default, skip_serializing_if = "crate::wire::is_default")]
    pub steps: u32,
    /// Whether calls must be reserved in the budget of the tree before they are made.
    #[serde(default, skip_serializing_if = "crate::wire::is_default")]
    pub metered: bool,
    /// The correlation, shared by everything that one request caused.
    pub correlation: CommandId,
}

/// A completed step, as its worker records it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StepResult {
    /// The step's name within the task.
    #[schemars(length(min = 1, max = 128))]
    pub name: SmolStr,
    /// BLAKE3 of its input as JSON: the same step with another input is refused.
    pub input: Hash,
    /// Its result.
    #[serde(default)]
    pub result: Value,
}

/// An effect in the ledger, for a later attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PastEffect {
    /// The effect's name within the task.
    pub effect: SmolStr,
    /// `completed` or `ambiguous`.
    pub step: EffectStep,
    /// A description of the effect, or of its outcome.
    #[serde(default)]
    pub detail: String,
    /// The idempotency key that the tool was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<SmolStr>,
    /// Its result.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub result: Value,
}

/// A file that an agent made. Its bytes are in the blob store under their hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Artifact {
    /// A file name, unique within the task.
    pub name: String,
    /// The media type.
    pub media_type: String,
    /// BLAKE3 of the bytes: their name in the blob store.
    pub hash: Hash,
    /// The size in bytes.
    pub bytes: u64,
    /// The step of the plan that made it; empty for a task without a plan.
    #[serde(default)]
    pub step: SmolStr,
}

/// The class of a failure, which decides what happens next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::IntoStaticStr)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum FailureClass {
    /// A retry may help.
    Transient,
    /// A retry cannot help.
    Permanent,
    /// A side effect has begun and its outcome is unknown; never retried automatically.
    Ambiguous,
    /// The budget is used up.
    Budget,
    /// The attempt was canceled.
    Canceled,
    /// The work crashes every worker that takes it.
    Poison,
}

/// The progress of a side effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EffectStep {
    /// The effect is about to begin.
    Intended,
    /// The effect has begun: until its end is reported, the outcome is unknown.
    Started,
    /// The effect was done.
    Completed,
    /// The effect was not done.
    Failed,
    /// The outcome is unknown.
    Ambiguous,
    /// The outcome was found out afterwards.
    Reconciled,
}

/// One chunk of streamed output, on `<prefix>.out.<task>`; it is not part of the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OutputChunk {
    /// The number of the attempt.
    pub attempt: u32,
    /// The number of the chunk within the attempt: 1, 2, 3 …
    pub number: u64,
    /// Text for people, if any.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// The progress, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
}

/// The progress of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Progress {
    /// Units done.
    pub done: u64,
    /// Total units, if known.
    #[serde(default)]
    pub total: Option<u64>,
    /// A note on the current work.
    #[serde(default)]
    pub note: String,
}
