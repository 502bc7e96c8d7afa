//! Approvals: which calls of tools wait for a person, and what became of them.

use bus_schemas::commands::approval::{BaseCheck, ToolCall};
use bus_schemas::{Key, Revision, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The filter and the page of a list of approvals.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListApprovals {
    /// Only approvals in this state.
    pub state: Option<ApprovalState>,
    /// Rows of the page, 1 to 200. Default: 50.
    #[schemars(range(min = 1, max = 200))]
    pub limit: Option<u32>,
    /// The `next_cursor` of the page before.
    pub cursor: Option<String>,
}

/// A page of approvals.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct ApprovalPage {
    /// The approvals, newest first.
    pub approvals: Vec<Approval>,
    /// The cursor of the next page; null on the last page.
    pub next_cursor: Option<String>,
}

/// The calls that a person approves.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApproveCalls {
    /// The ids of all calls, each exactly once: what is left out is not approved.
    #[schemars(length(min = 1, max = 16))]
    pub ids: Vec<String>,
}

/// Why a person rejects the calls.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RejectCalls {
    /// The reason, for whoever asked.
    pub rejection_reason: String,
}

/// Why an approval is canceled.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CancelApproval {
    /// The reason.
    pub reason: String,
}

/// The state of an approval.
#[derive(
    Debug,
    Clone,
    Copy,
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
pub enum ApprovalState {
    /// A person is asked.
    Waiting,
    /// A person approved, and nothing was done yet.
    Approved,
    /// A person rejected.
    Rejected,
    /// Nobody answered in time.
    TimedOut,
    /// The request was withdrawn before its answer.
    Canceled,
    /// A task used the approval.
    Used,
    /// The approval was not used in time.
    Lapsed,
    /// The approval was withdrawn before its use.
    Revoked,
}

/// An approval.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Approval {
    /// The approval's name.
    pub id: Key,
    /// How it stands.
    pub state: ApprovalState,
    /// The requester's words. Nobody checked them: decide by the calls.
    pub hint: Option<String>,
    /// The calls with the ids under which they are approved.
    pub tools: Vec<ToolCall>,
    /// The commit that the calls are based on; empty where there is none.
    pub base: String,
    /// How the base is compared when the approval is used.
    pub base_check: BaseCheck,
    /// The version of the rules that allowed the request.
    pub policy_version: String,
    /// The version of the settings under which it was made.
    pub settings_version: String,
    /// The only task that may use the approval.
    pub task: Key,
    /// The callers who may approve or reject; empty for anybody but the requester.
    pub approvers: Vec<String>,
    /// The caller who asked.
    pub requested_by: String,
    /// When somebody asked, in milliseconds since 1970.
    pub requested_at: Timestamp,
    /// When the request is over without an answer, in milliseconds since 1970.
    pub answer_by: Timestamp,
    /// When the approval is over without a use, in milliseconds since 1970; null before it is approved.
    pub use_by: Option<Timestamp>,
    /// The person who approved or rejected; null where nobody did.
    pub decided_by: Option<String>,
    /// When the person did, in milliseconds since 1970.
    pub decided_at: Option<Timestamp>,
    /// The reason of a rejection or a cancellation.
    pub reason: Option<String>,
    /// The time of the last change, in milliseconds since 1970.
    pub updated_at: Timestamp,
    /// The approval's revision: the number of its events.
    pub revision: Revision,
}
