//! Commands for `approval`: whether a person allows calls of tools. The key is chosen by whoever asks.
//!
//! The names of the fields of a request and of its calls are those of the extension `hitl/v1` of kagent.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use smol_str::SmolStr;

use crate::ids::{Key, Timestamp};

/// A command for an approval.
#[allow(clippy::large_enum_variant, reason = "approvals are few, and a box would show in every match")]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Command {
    /// Asks for an approval. An equal repeat changes nothing; another request under the same key is refused. Answers
    /// with the calls and their ids, a list of [`ToolCall`].
    Request(Request),
    /// From a person: approves the calls. The ids are those of the request, each exactly once: a person approves what
    /// was read, and what is left out is not approved.
    Approve {
        /// The ids of the calls.
        #[schemars(length(min = 1, max = 16))]
        ids: Vec<SmolStr>,
    },
    /// From a person: rejects the calls, all of them.
    Reject {
        /// The reason, for whoever asked.
        rejection_reason: String,
    },
    /// Ends the request before its answer, or an approval before its use.
    Cancel {
        /// The reason.
        reason: String,
    },
    /// From a worker, right before the calls: whether the approval covers exactly them. Works for one task, which may
    /// repeat it.
    Use(Use),
    /// From the task that waits for the outcome: it is told, now or when there is one.
    #[serde(deserialize_with = "crate::wire::no_fields")]
    Watch,
    /// Timer: the answer or the use is due.
    Expire {
        /// The time for which it was due.
        due: Timestamp,
    },
}
crate::wire::wire_command!(Command, "approval");

/// What a person is asked to approve.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The requester's words about the calls. Nobody checks them; a person reads the calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The calls; all are approved, or none.
    #[schemars(length(min = 1, max = 16))]
    pub tools: Vec<Call>,
    /// What the calls were made for.
    pub grounds: Grounds,
    /// How the base is compared when the approval is used.
    #[serde(default)]
    pub base_check: BaseCheck,
    /// The only task that may use the approval.
    pub task: Key,
    /// The callers who may approve or reject; empty for anybody but the requester.
    #[serde(default)]
    #[schemars(length(max = 16))]
    pub approvers: Vec<SmolStr>,
    /// How long the request waits for an answer, in milliseconds, 1,000 to 604,800,000.
    #[serde(default = "default_answer_within_ms")]
    #[schemars(range(min = 1000, max = 604_800_000))]
    pub answer_within_ms: u64,
    /// How long an approval can be used, in milliseconds, 1,000 to 604,800,000.
    #[serde(default = "default_use_within_ms")]
    #[schemars(range(min = 1000, max = 604_800_000))]
    pub use_within_ms: u64,
}

/// What calls were made for: an approval is for it and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Grounds {
    /// The commit that the calls are based on; empty where there is none.
    #[serde(default)]
    pub base: SmolStr,
    /// The version of the rules that allowed the request.
    pub policy_version: SmolStr,
    /// The version of the settings under which it was made.
    pub settings_version: SmolStr,
}

/// How the base is compared when an approval is used.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    JsonSchema,
    strum::IntoStaticStr,
    strum::EnumString,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum BaseCheck {
    /// The files that the calls touch are as they were, which their arguments say; the commit may be another one.
    #[default]
    TouchedFiles,
    /// The commit is the same.
    FullBase,
}

/// A call of a tool as it is requested, and as it is made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Call {
    /// The requester's own id of the call.
    #[serde(default)]
    pub call_id: SmolStr,
    /// The tool.
    pub name: SmolStr,
    /// The arguments, an object.
    pub args: Value,
}

/// A call with the id under which it is approved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ToolCall {
    /// A hash over everything that an approval of the call binds.
    pub id: SmolStr,
    /// The requester's own id of the call.
    pub call_id: SmolStr,
    /// The tool.
    pub name: SmolStr,
    /// The arguments.
    pub args: Value,
}

/// What is about to be done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Use {
    /// The task that does it.
    pub task: Key,
    /// The calls, made from what is there now.
    #[schemars(length(min = 1, max = 16))]
    pub tools: Vec<Call>,
    /// What they are made for now.
    pub grounds: Grounds,
}

fn default_answer_within_ms() -> u64 {
    86_400_000
}
fn default_use_within_ms() -> u64 {
    3_600_000
}
