//! The pages of error codes: what `type` of a problem points to.

use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use gateway_api::{code, errors};

use super::extract::Path;
use super::problem::Problem;

/// Browsers show plain text and offer Markdown as a download.
const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const MARKDOWN: HeaderValue = HeaderValue::from_static("text/markdown; charset=utf-8");

/// What an error code means, why it is given, and what to do.
pub async fn show(Path(name): Path<String>, headers: HeaderMap) -> Result<Response, Problem> {
    let entry = errors::find(&name).ok_or_else(|| {
        Problem::new(code::ROUTE_NOT_FOUND, "there is no page about this code")
            .hint("agents may fail with codes of their own: ask whoever wrote the agent")
    })?;
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = if accept.contains("text/html") { PLAIN } else { MARKDOWN };
    Ok(([(header::CONTENT_TYPE, media_type)], entry.page()).into_response())
}
