//! Errors as `application/problem+json` (RFC 9457), and the one place that chooses their status.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bus_client::AskError;
use bus_schemas::envelope::code as refusal;
use bus_schemas::{Refusal, text};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::projections;

/// The media type of problems.
const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/problem+json");
/// When to come back after a fault that mends itself, in seconds.
const RETRY_AFTER: u64 = 1;
/// Bytes of what happened.
const DETAIL_BYTES_MAX: usize = 2_048;

/// Codes that the gateway itself gives. Each has a page in `docs/errors/`.
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
    pub const INVALID_EVENT_ID: &str = "invalid-event-id";
    pub const INVALID_IDEMPOTENCY_KEY: &str = "invalid-idempotency-key";
    pub const IDEMPOTENCY_KEY_REUSED: &str = "idempotency-key-reused";
    pub const FOREIGN_ORIGIN: &str = "foreign-origin";
    pub const TASK_NOT_FOUND: &str = "task-not-found";
    pub const ARTIFACT_NOT_FOUND: &str = "artifact-not-found";
    pub const ARTIFACT_AMBIGUOUS: &str = "artifact-ambiguous";
    pub const SCHEDULE_NOT_FOUND: &str = "schedule-not-found";
    pub const DEAD_LETTER_NOT_FOUND: &str = "dead-letter-not-found";
    pub const CAMPAIGN_NOT_FOUND: &str = "campaign-not-found";
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

/// What went wrong, as handlers say it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// A stable word for programs: it decides the status.
    pub code: String,
    /// What happened this time.
    pub detail: String,
    /// What to do next, where there is something.
    pub hint: Option<String>,
    /// When to try again, in seconds, where that helps.
    pub retry_after: Option<u64>,
}

/// What went wrong, as clients see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemView {
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

/// The status of every code: the gateway's own, the runtime's, and those of entities.
///
/// Entities name their codes by rule, so that a new one needs no line here: `…-not-found` names
/// something that is not there, `invalid-…` something that is wrong in itself, and all others say
/// that the command does not fit what the entity is now.
pub fn status(code: &str) -> StatusCode {
    match code {
        code::MALFORMED_JSON
        | code::INVALID_QUERY
        | code::INVALID_ID
        | code::INVALID_CURSOR
        | code::INVALID_EVENT_ID
        | code::INVALID_IDEMPOTENCY_KEY
        | refusal::BAD_SUBJECT
        | refusal::WRONG_PARTITION => StatusCode::BAD_REQUEST,
        code::FOREIGN_ORIGIN => StatusCode::FORBIDDEN,
        refusal::UNKNOWN_KIND | "unknown-config" => StatusCode::NOT_FOUND,
        code::METHOD_NOT_ALLOWED => StatusCode::METHOD_NOT_ALLOWED,
        code::BODY_TOO_SLOW => StatusCode::REQUEST_TIMEOUT,
        code::BLOB_MISSING => StatusCode::GONE,
        code::BODY_TOO_LARGE | refusal::TOO_LARGE => StatusCode::PAYLOAD_TOO_LARGE,
        code::UNSUPPORTED_MEDIA_TYPE | refusal::CONTENT_TYPE => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        code::INVALID_BODY
        | code::IDEMPOTENCY_KEY_REUSED
        | refusal::MALFORMED
        | refusal::ID_REUSED
        | refusal::UNKNOWN_QUERY
        | "unknown-scope"
        | "reason-missing" => StatusCode::UNPROCESSABLE_ENTITY,
        code::MALFORMED_ANSWER => StatusCode::BAD_GATEWAY,
        code::NO_ANSWER => StatusCode::GATEWAY_TIMEOUT,
        code::BUS_UNAVAILABLE
        | code::READ_MODEL_BEHIND
        | code::TOO_MANY_STREAMS
        | refusal::BUSY
        | refusal::NOT_OWNER
        | refusal::COME_AGAIN => StatusCode::SERVICE_UNAVAILABLE,
        code::INTERNAL_ERROR | refusal::POISON | refusal::ENTITY_STOPPED => StatusCode::INTERNAL_SERVER_ERROR,
        other if other.ends_with("-not-found") => StatusCode::NOT_FOUND,
        other if other.starts_with("invalid-") => StatusCode::UNPROCESSABLE_ENTITY,
        _ => StatusCode::CONFLICT,
    }
}

impl Problem {
    /// A problem with a code and what happened.
    pub fn new(code: &str, detail: impl Into<String>) -> Self {
        Self { code: code.to_owned(), detail: detail.into(), hint: None, retry_after: None }
    }
    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
    /// Adds that trying again soon helps.
    #[must_use]
    pub fn again(mut self) -> Self {
        self.retry_after = Some(RETRY_AFTER);
        self
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let mut problem = Self::new(&refusal.code, refusal.message);
        problem.hint = refusal.hint;
        // Rounded up: a header of 0 seconds would ask for a busy loop.
        problem.retry_after = refusal.retry_after_ms.map(|milliseconds| milliseconds.div_ceil(1_000).max(1));
        problem
    }
}

impl From<AskError> for Problem {
    fn from(error: AskError) -> Self {
        let detail = projections::chain(&error);
        match error {
            AskError::Unanswered { .. } => Self::new(code::NO_ANSWER, detail)
                .hint("no host answered: `/ready` shows the partitions; the same request with the same `Idempotency-Key` is safe to repeat")
                .again(),
            AskError::Malformed { .. } => Self::new(code::MALFORMED_ANSWER, detail)
                .hint("gateway and host are of different versions; update the older one"),
        }
    }
}

impl From<bus_client::Error> for Problem {
    fn from(error: bus_client::Error) -> Self {
        let detail = projections::chain(&error);
        match &error {
            bus_client::Error::Blob { .. } => Self::new(code::BLOB_MISSING, detail).hint(error.hint()),
            _ => Self::new(code::BUS_UNAVAILABLE, detail).hint(error.hint()).again(),
        }
    }
}

impl From<projections::Error> for Problem {
    fn from(error: projections::Error) -> Self {
        let error = projections::chain(&error);
        tracing::error!(error, "the read model failed");
        Self::new(code::INTERNAL_ERROR, "the read model could not be read")
            .hint("the gateway's log has the cause")
    }
}

impl From<Problem> for ProblemView {
    fn from(problem: Problem) -> Self {
        let Problem { code, detail, hint, retry_after } = problem;
        // Some say again what the client sent.
        let detail = text::cut(&text::one_line(&detail), DETAIL_BYTES_MAX);
        // The page says it at more length, and for everything that has no words of its own.
        let hint = hint.or_else(|| Some(format!("`/errors/{code}` says what to do")));
        Self {
            kind: format!("/errors/{code}"),
            title: code.replace('-', " "),
            status: status(&code).as_u16(),
            detail,
            code,
            hint,
            retry_after,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, retry_after) = (status(&self.code), self.retry_after);
        let mut response = (status, Json(ProblemView::from(self))).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, MEDIA_TYPE);
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

#[cfg(test)]
mod tests;
