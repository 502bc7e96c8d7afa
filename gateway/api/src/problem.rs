//! What goes wrong: its codes, its document (RFC 9457), and the one place that chooses its status.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use strum::IntoEnumIterator;

use crate::errors;

/// Codes that the gateway itself gives. Each has an entry in `docs/errors/`.
pub mod code {
    pub const ROUTE_NOT_FOUND: &str = "route-not-found";
    pub const METHOD_NOT_ALLOWED: &str = "method-not-allowed";
    pub const MALFORMED_JSON: &str = "malformed-json";
    pub const INVALID_BODY: &str = "invalid-body";
    pub const BODY_TOO_LARGE: &str = "body-too-large";
    pub const BODY_TOO_SLOW: &str = "body-too-slow";
    pub const UNSUPPORTED_MEDIA_TYPE: &str = "unsupported-media-type";
    pub const INVALID_QUERY: &str = "invalid-query";
    pub const INVALID_ID: &str = "invalid-id";
    pub const INVALID_CURSOR: &str = "invalid-cursor";
    pub const INVALID_CALLER: &str = "invalid-caller";
    pub const INVALID_EVENT_ID: &str = "invalid-event-id";
    pub const INVALID_IDEMPOTENCY_KEY: &str = "invalid-idempotency-key";
    pub const IDEMPOTENCY_KEY_REUSED: &str = "idempotency-key-reused";
    pub const FOREIGN_ORIGIN: &str = "foreign-origin";
    pub const TASK_NOT_FOUND: &str = "task-not-found";
    pub const FORK_TOO_LARGE: &str = "fork-too-large";
    pub const ARTIFACT_NOT_FOUND: &str = "artifact-not-found";
    pub const ARTIFACT_AMBIGUOUS: &str = "artifact-ambiguous";
    pub const AGENT_NOT_FOUND: &str = "agent-not-found";
    pub const INVALID_MANIFEST: &str = "invalid-manifest";
    pub const TOO_MANY_MANIFESTS: &str = "too-many-manifests";
    pub const SKILL_TAKEN: &str = "skill-taken";
    pub const DEPENDENCY_MISSING: &str = "dependency-missing";
    pub const SCHEDULE_NOT_FOUND: &str = "schedule-not-found";
    pub const APPROVAL_NOT_FOUND: &str = "approval-not-found";
    pub const CHANGE_NOT_FOUND: &str = "change-not-found";
    pub const DEAD_LETTER_NOT_FOUND: &str = "dead-letter-not-found";
    pub const REDRIVE_NOT_FOUND: &str = "redrive-not-found";
    pub const BREAKER_NOT_FOUND: &str = "breaker-not-found";
    pub const LANE_NOT_FOUND: &str = "lane-not-found";
    pub const SETTINGS_CONTENDED: &str = "settings-contended";
    pub const NO_ANSWER: &str = "no-answer";
    pub const MALFORMED_ANSWER: &str = "malformed-answer";
    pub const BUS_UNAVAILABLE: &str = "bus-unavailable";
    pub const BLOB_MISSING: &str = "blob-missing";
    pub const READ_MODEL_BEHIND: &str = "read-model-behind";
    pub const TOO_MANY_STREAMS: &str = "too-many-streams";
    pub const INTERNAL_ERROR: &str = "internal-error";
}

/// What went wrong, as clients see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// A page about it: `/errors/<code>`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The code in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened this time.
    pub detail: String,
    /// A stable word for programs.
    pub code: String,
    /// What to do next, where there is something, in the words of HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The same as a word for programs that show it in words of their own; absent where `hint` is for everybody.
    #[serde(default, deserialize_with = "known", skip_serializing_if = "Option::is_none")]
    pub next: Option<NextStep>,
    /// When to try again, in seconds, where that helps. Also in the header `Retry-After`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
}

/// A next step that every edge says in its own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::EnumIter)]
#[serde(rename_all = "kebab-case")]
pub enum NextStep {
    /// Read what the code means.
    Explain,
    /// Find the task in the list.
    ListTasks,
    /// Find the dead letter in the list.
    ListDeadLetters,
    /// Find the redrive in the list.
    ListRedrives,
    /// Find the agent in the list.
    ListAgents,
    /// Find the schedule in the list.
    ListSchedules,
    /// Find the approval in the list.
    ListApprovals,
    /// Find the change in the list.
    ListChanges,
    /// Find the breaker in the list.
    ListBreakers,
    /// Find the lane in the list, or make rules for a new one.
    ListLanes,
    /// Look at the partitions, and send the same again.
    AskAgain,
    /// Look how far the read model is, and try again.
    AwaitReadModel,
    /// Look who changes the settings of lanes, and try again.
    ReadLaneHistory,
}

impl NextStep {
    /// All steps.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::iter()
    }
    /// The step in the words of HTTP, for a problem with this code.
    pub fn in_http(self, code: &str) -> String {
        let lists = |path: &str| format!("`GET {path}` lists what there is");
        match self {
            Self::Explain => format!("`/errors/{code}` says what to do"),
            Self::ListTasks => lists("/v1/tasks"),
            Self::ListDeadLetters => lists("/v1/dead-letters"),
            Self::ListRedrives => lists("/v1/redrives"),
            Self::ListAgents => lists("/v1/agents"),
            Self::ListSchedules => lists("/v1/schedules"),
            Self::ListApprovals => lists("/v1/approvals"),
            Self::ListChanges => lists("/v1/changes"),
            Self::ListBreakers => lists("/v1/breakers"),
            Self::ListLanes => {
                lists("/v1/lanes") + "; `PATCH /v1/lanes/NAME` with `new` makes rules for one to come"
            }
            Self::AskAgain => "no host answered: `/ready` shows the partitions; the same request with the same `Idempotency-Key` is safe to repeat".into(),
            Self::AwaitReadModel => "try again; `/ready` shows how far it is".into(),
            Self::ReadLaneHistory => {
                "try again; `GET /v1/settings/lanes/history` shows who changes them".into()
            }
        }
    }
}

/// A next step, or none where a newer gateway has a word that this program does not know.
fn known<'de, D: Deserializer<'de>>(document: D) -> Result<Option<NextStep>, D::Error> {
    let word = Option::<Value>::deserialize(document)?;
    Ok(word.and_then(|word| NextStep::deserialize(word).ok()))
}

/// The HTTP status of a code: from the table of codes, or by rule.
///
/// The rule is for agents' own codes: `…-not-found` is 404, `invalid-…` is 422, and any other code says that a
/// command conflicts with the current state.
pub fn status(code: &str) -> u16 {
    let listed = errors::find(code).and_then(|entry| entry.status);
    listed.unwrap_or_else(|| match code {
        other if other.ends_with("-not-found") => 404,
        other if other.starts_with("invalid-") => 422,
        _ => 409,
    })
}
