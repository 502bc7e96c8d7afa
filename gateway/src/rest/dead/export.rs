//! All dead letters that a filter means, with their payloads, as JSON lines: page by page as the client
//! reads, so that neither side holds more than one.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::{TryStreamExt, stream};

use super::dto::ExportDeadLetters;
use super::whole;
use crate::projections::dead_letter::DeadLetter;
use crate::projections::{DeadLetterFilter, Order, Place};
use crate::rest::Edge;
use crate::rest::extract::Query;
use crate::rest::layer::Caller;
use crate::rest::problem::Problem;

/// The media type of JSON lines.
const MEDIA_TYPE: &str = "application/x-ndjson";
/// Letters of one read: their payloads are read one by one.
const PAGE: u32 = 200;

/// Writes dead letters with their payloads as JSON lines, newest first. A stream that breaks off is not
/// complete.
#[utoipa::path(get, path = "/v1/dead-letters/export", operation_id = "exportDeadLetters", tag = "dead letters", params(ExportDeadLetters),
    responses((status = 200, description = "a dead letter in each line", body = String, content_type = "application/x-ndjson")))]
pub async fn export(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Query(query): Query<ExportDeadLetters>,
) -> Result<Response, Problem> {
    let filter = DeadLetterFilter::from(query);
    // Read before anything is answered, so that what fails at once is a problem.
    let first = read(&edge, &filter, None).await?;
    let lines =
        stream::try_unfold(first, move |left| line((Arc::clone(&edge), caller), filter.clone(), left));
    let lines = lines.map_err(|problem: Problem| std::io::Error::other(problem.detail));
    Ok(([(header::CONTENT_TYPE, MEDIA_TYPE)], Body::from_stream(lines)).into_response())
}

/// What is left of a page, and where the next one begins.
struct Left {
    letters: VecDeque<DeadLetter>,
    next: Option<Place>,
}

async fn read(edge: &Edge, filter: &DeadLetterFilter, after: Option<Place>) -> Result<Left, Problem> {
    let reader = &edge.projections.reader;
    let page = reader.dead_letters(filter.clone(), Order::NewestFirst, after, PAGE).await?;
    Ok(Left { letters: page.items.into(), next: page.next })
}

/// The next line, and what is left behind it; none at the end.
async fn line(
    (edge, caller): (Arc<Edge>, Caller),
    filter: DeadLetterFilter,
    mut left: Left,
) -> Result<Option<(Bytes, Left)>, Problem> {
    while left.letters.is_empty() {
        let Some(after) = left.next.take() else { return Ok(None) };
        left = read(&edge, &filter, Some(after)).await?;
    }
    let Some(letter) = left.letters.pop_front() else { return Ok(None) };
    let mut line = serde_json::to_vec(&whole(&edge, caller, letter).await?).expect("views have string keys");
    line.push(b'\n');
    Ok(Some((line.into(), left)))
}
