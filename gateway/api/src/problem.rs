//! What goes wrong: its codes, its document (RFC 9457), and the one place that chooses its status.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
    pub const ARTIFACT_NOT_FOUND: &str = "artifact-not-found";
    pub const ARTIFACT_AMBIGUOUS: &str = "artifact-ambiguous";
    pub const AGENT_NOT_FOUND: &str = "agent-not-found";
    pub const SCHEDULE_NOT_FOUND: &str = "schedule-not-found";
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
    /// What to do next, where there is something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// When to try again, in seconds, where that helps. Also in the header `Retry-After`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
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
