//! A task's events as server-sent events: all past and future events of the task and its descendants.
//!
//! The id of an event is its position in the log, which never changes: any gateway can continue where another
//! one stopped. The stream is read from its beginning and what the client has is left out, so nothing depends
//! on the memory of a gateway.

mod feed;
pub mod slots;
pub mod tail;

use std::convert::Infallible;
use std::str::FromStr;
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use bus_client::events::{Cursor, EventQuery};
use bus_schemas::{EntityAddress, Key, Kind};
use futures::{Stream, StreamExt, stream};
use gateway_api::events::StreamEvents;
use gateway_api::problem::status;
use gateway_api::{Problem as ProblemView, code};

use super::ask::Call;
use super::extract::{Id, Query};
use super::problem::Problem;
use super::tasks::{behind, find};
use feed::Feed;
use slots::Slot;

/// The interval of keep-alives in a quiet stream: proxies close silent connections after a minute.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Timeout for the read model, which knows what exists now.
const PATIENCE: Duration = Duration::from_secs(10);
/// When a client whose stream ended reconnects: soon, and not all of them at once after a restart.
const RETRY: Duration = Duration::from_secs(2);
/// The kind whose events are streamed.
const TASK: Kind = Kind::from_static("task");
/// The media type of server-sent events, by which their clients are recognized.
const MEDIA_TYPE: &str = "text/event-stream";

/// Streams the events of a task and its descendants.
pub async fn stream(
    call: Call,
    Id(id): Id,
    Query(query): Query<StreamEvents>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let accepts = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let is_event_source = accepts.into_iter().any(|accept| accept.contains(MEDIA_TYPE));
    match open(&call, id, query, &headers).await {
        Err(problem) if is_event_source && passes(&problem) => Ok(not_ready(problem)),
        answer => answer,
    }
}

async fn open(call: &Call, id: Key, query: StreamEvents, headers: &HeaderMap) -> Result<Response, Problem> {
    let entity = EntityAddress::new(TASK, id.clone());
    let partition = entity.partition(call.bus.topology().partitions);
    let after = last_event_id(headers, query.after.as_deref())?;
    let after = after.map(Cursor::from_str).transpose().map_err(invalid)?;
    if let Some(cursor) = after
        && cursor.partition != partition
    {
        let detail = format!("`{cursor}` is no event of this task: its events lie in partition {partition}");
        return Err(Problem::new(code::INVALID_EVENT_ID, detail));
    }
    let slot = call.streams.take(call.caller.peer, Instant::now())?;
    find(call, &id).await?;
    let now = call.bus.events_state().await?.last_sequence;
    if !call.projections.reached(now, PATIENCE).await {
        return Err(behind(call));
    }
    let end = call.projections.reader.tree_end(&id).await?.unwrap_or(now);
    let tree = call.bus.subjects().event_tree(&entity).to_vec();
    let events = call.bus.events(EventQuery { subjects: tree, from: 0 }).await?.boxed();
    let output = match query.output {
        Some(true) => call.bus.output(&id).await?.boxed(),
        _ => stream::pending().boxed(),
    };
    let mut feed = Feed::new(entity, events, output, after, end, query.follow != Some(false));
    let known = tokio::time::timeout(PATIENCE, feed.skip()).await.map_err(|_| behind(call))??;
    if !known {
        let detail = "`Last-Event-ID` is not the id of an event of this task";
        return Err(invalid(detail));
    }
    if after.is_some() && feed.is_done {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let stop = call.stop.clone();
    let stream = begin(Event::default()).chain(send(feed, slot)).take_until(stop.cancelled_owned());
    Ok(answer(Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))))
}

/// Tells the client when to reconnect, before the first event.
fn begin(first: Event) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::iter([Ok(first.retry(RETRY))])
}

fn answer(stream: impl IntoResponse) -> Response {
    let mut response = stream.into_response();
    // Buffering proxies would delay events.
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// Whether a retry may succeed soon.
fn passes(problem: &Problem) -> bool {
    matches!(status(&problem.code), 503 | 504)
}

/// A stream that carries the problem and ends: any status but 200 would end an `EventSource` for good.
fn not_ready(problem: Problem) -> Response {
    let said = serde_json::to_string(&ProblemView::from(problem)).expect("a problem is plain data");
    answer(Sse::new(begin(Event::default().event("not-ready").data(said))))
}

fn send(feed: Feed, slot: Slot) -> impl Stream<Item = Result<Event, Infallible>> {
    let end = slot.end.clone();
    let events = stream::unfold((feed, slot), |(mut feed, slot)| async move {
        let event = feed.next().await?;
        Some((Ok(event), (feed, slot)))
    });
    events.take_until(end.cancelled_owned())
}

/// The id of the client's last event, from its header or from its query.
fn last_event_id<'a>(headers: &'a HeaderMap, after: Option<&'a str>) -> Result<Option<&'a str>, Problem> {
    let header = match headers.get("last-event-id") {
        Some(value) => Some(value.to_str().map_err(|_| invalid("`Last-Event-ID` is no text"))?),
        None => None,
    };
    // A client that has no event yet may send an empty id.
    Ok(header.or(after).filter(|text| !text.is_empty()))
}

fn invalid(reason: &str) -> Problem {
    Problem::new(code::INVALID_EVENT_ID, reason)
        .hint("send the `id` of the last event that you have, or none for all events")
}
