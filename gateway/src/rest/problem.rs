//! Errors as `application/problem+json` (RFC 9457): how what fails below becomes a problem.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bus_client::AskError;
use bus_schemas::{Refusal, chain, text};
use gateway_api::problem::status;
use gateway_api::{NextStep, Problem as View, code};

use crate::projections;

/// The media type of problems.
const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/problem+json");
/// When to come back after a fault that mends itself, in seconds.
const RETRY_AFTER: u64 = 1;
/// Bytes of what happened.
const DETAIL_BYTES_MAX: usize = 2_048;

/// What went wrong, as handlers say it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// A stable word for programs: it decides the status.
    pub code: String,
    /// What happened this time.
    pub detail: String,
    /// What to do next, where there is something, in words for every edge.
    pub hint: Option<String>,
    /// What to do next, where each edge has words of its own.
    pub next: Option<NextStep>,
    /// When to try again, in seconds, where that helps.
    pub retry_after: Option<u64>,
}

impl Problem {
    /// A problem with a code and what happened.
    pub fn new(code: &str, detail: impl Into<String>) -> Self {
        Self { code: code.to_owned(), detail: detail.into(), hint: None, next: None, retry_after: None }
    }
    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
    /// Adds what to do next, which each edge says in its own words.
    #[must_use]
    pub fn next(mut self, step: NextStep) -> Self {
        self.next = Some(step);
        self
    }
    /// Adds that trying again soon helps.
    #[must_use]
    pub fn retryable(mut self) -> Self {
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
        let detail = chain(&error);
        match error {
            AskError::Unanswered { .. } => {
                Self::new(code::NO_ANSWER, detail).next(NextStep::AskAgain).retryable()
            }
            AskError::Malformed { .. } => Self::new(code::MALFORMED_ANSWER, detail)
                .hint("gateway and host are of different versions; update the older one"),
        }
    }
}

impl From<bus_client::Error> for Problem {
    fn from(error: bus_client::Error) -> Self {
        let detail = chain(&error);
        match &error {
            bus_client::Error::Blob { .. } => Self::new(code::BLOB_MISSING, detail).hint(error.hint()),
            _ => Self::new(code::BUS_UNAVAILABLE, detail).hint(error.hint()).retryable(),
        }
    }
}

impl From<projections::Error> for Problem {
    fn from(error: projections::Error) -> Self {
        let error = chain(&error);
        tracing::error!(error, "the read model failed");
        Self::new(code::INTERNAL_ERROR, "the read model could not be read")
            .hint("the gateway's log has the cause")
    }
}

impl From<Problem> for View {
    fn from(problem: Problem) -> Self {
        let Problem { code, detail, hint, next, retry_after } = problem;
        // Some say again what the client sent.
        let detail = text::cut(&text::one_line(&detail), DETAIL_BYTES_MAX);
        // The page says it at more length, and for everything that has no words of its own.
        let next = next.or_else(|| hint.is_none().then_some(NextStep::Explain));
        let hint = hint.or_else(|| next.map(|step| step.in_http(&code)));
        Self {
            kind: format!("/errors/{code}"),
            title: code.replace('-', " "),
            status: status(&code),
            detail,
            code,
            hint,
            next,
            retry_after,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(status(&self.code)).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry_after = self.retry_after;
        let mut response = (status, Json(View::from(self))).into_response();
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
