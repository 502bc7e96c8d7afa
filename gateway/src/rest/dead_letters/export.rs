//! All dead letters that match a filter, with their payloads, as JSON lines: page by page as the client
//! reads, so that neither side holds more than one page.

use std::collections::VecDeque;

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::{TryStreamExt, stream};
use gateway_api::dead_letters::{DeadLetter, DeadLetterFilter};

use super::whole;
use crate::projections::{Order, Place};
use crate::rest::ask::Call;
use crate::rest::extract::Query;
use crate::rest::problem::Problem;

/// The media type of JSON lines.
const MEDIA_TYPE: &str = "application/x-ndjson";
/// Dead letters in one page: their payloads are read one by one.
const PAGE: u32 = 200;

/// Exports dead letters with their payloads as JSON lines, newest first. A stream that breaks off is
/// incomplete.
pub async fn export(call: Call, Query(filter): Query<DeadLetterFilter>) -> Result<Response, Problem> {
    // Read before the response starts, so that an error at once becomes a problem document.
    let first = read(&call, &filter, None).await?;
    let lines = stream::try_unfold(first, move |left| line(call.clone(), filter.clone(), left));
    let lines = lines.map_err(|problem: Problem| std::io::Error::other(problem.detail));
    Ok(([(header::CONTENT_TYPE, MEDIA_TYPE)], Body::from_stream(lines)).into_response())
}

/// The rest of a page, and where the next one begins.
struct Left {
    letters: VecDeque<DeadLetter>,
    next: Option<Place>,
}

async fn read(call: &Call, filter: &DeadLetterFilter, after: Option<Place>) -> Result<Left, Problem> {
    let reader = &call.projections.reader;
    let page = reader.dead_letters(filter.clone(), Order::NewestFirst, after, PAGE).await?;
    Ok(Left { letters: page.items.into(), next: page.next })
}

/// The next line, and the rest behind it; `None` at the end.
async fn line(
    call: Call,
    filter: DeadLetterFilter,
    mut left: Left,
) -> Result<Option<(Bytes, Left)>, Problem> {
    while left.letters.is_empty() {
        let Some(after) = left.next.take() else { return Ok(None) };
        left = read(&call, &filter, Some(after)).await?;
    }
    let Some(letter) = left.letters.pop_front() else { return Ok(None) };
    let mut line = serde_json::to_vec(&whole(&call, letter).await?).expect("views have string keys");
    line.push(b'\n');
    Ok(Some((line.into(), left)))
}
