//! A task's events as server-sent events: everything that happened to it and to all below it, and
//! what happens from now on.
//!
//! The id of an event is its place in the log, which is the same for ever: any gateway can go on
//! where another one stopped. The stream is read from its beginning and what the client has is left
//! out, so nothing depends on what a gateway remembers.

mod feed;
pub mod slots;

use std::convert::Infallible;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Extension, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use bus_client::events::{Cursor, EventQuery};
use bus_schemas::{EntityAddress, Key, Kind};
use futures::{Stream, StreamExt, stream};
use serde::Deserialize;
use utoipa::IntoParams;

use super::Edge;
use super::extract::{Id, Query};
use super::layer::Caller;
use super::problem::{Problem, ProblemView, code, status};
use super::tasks::{behind, find};
use feed::Feed;
use slots::Slot;

/// How often a silent stream says that it is alive: proxies close silent connections after a minute.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long a stream waits for the read model, which knows what exists now.
const PATIENCE: Duration = Duration::from_secs(10);
/// When a client comes back whose stream ended: soon, and not all of them at once after a restart.
const RETRY: Duration = Duration::from_secs(2);
/// The media type of server-sent events: who asks for it is such a client.
const MEDIA_TYPE: &str = "text/event-stream";

/// From where, how long, and whether with output.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct StreamEvents {
    /// Like the header `Last-Event-ID`, for clients that can not set it. The header wins.
    after: Option<String>,
    /// False: ends at what exists now. Default: true.
    follow: Option<bool>,
    /// True: also `output` chunks, which have no id and are not sent again. Default: false.
    output: Option<bool>,
}

/// Streams the events of a task and of everything below it.
#[utoipa::path(get, path = "/v1/tasks/{id}/events", operation_id = "streamTaskEvents", tag = "tasks",
    params(("id" = String, Path), StreamEvents, ("Last-Event-ID" = Option<String>, Header, description = "the id of the last event that the client has")),
    responses((status = 200, description = "server-sent events: `id` is `<partition>.<record>.<index>`, `event` is `<kind>.<type>`; `end` comes after the task's final event. A client that asks for `text/event-stream` when it can not be done now gets `not-ready` with the problem, and comes back", content_type = "text/event-stream"),
        (status = 204, description = "the client has everything, and nothing more is to come: it must not come back")))]
pub async fn stream(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Id(id): Id,
    Query(query): Query<StreamEvents>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let accepts = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let is_event_source = accepts.into_iter().any(|accept| accept.contains(MEDIA_TYPE));
    match open(&edge, caller, id, query, &headers).await {
        Err(problem) if is_event_source && passes(&problem) => Ok(not_ready(problem)),
        answer => answer,
    }
}

async fn open(
    edge: &Edge,
    caller: Caller,
    id: Key,
    query: StreamEvents,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let entity = EntityAddress::new(Kind::from_static("task"), id.clone());
    let partition = entity.partition(edge.bus.topology().partitions);
    let after = last_event_id(headers, query.after.as_deref())?;
    if let Some(cursor) = after
        && cursor.partition != partition
    {
        let detail = format!("`{cursor}` is no event of this task: its events lie in partition {partition}");
        return Err(Problem::new(code::INVALID_EVENT_ID, detail));
    }
    let slot = edge.streams.take(caller.peer, Instant::now())?;
    find(edge, &id).await?;
    let now = edge.bus.events_state().await?.last_sequence;
    if !edge.projections.reached(now, PATIENCE).await {
        return Err(behind(edge));
    }
    let end = edge.projections.reader.tree_end(&id).await?.unwrap_or(now);
    let tree = edge.bus.subjects().event_tree(&entity).to_vec();
    let events = edge.bus.events(EventQuery { subjects: tree, from: 0 }).await?.boxed();
    let output = match query.output {
        Some(true) => edge.bus.output(&id).await?.boxed(),
        _ => stream::pending().boxed(),
    };
    let mut feed = Feed::new(entity, events, output, after, end, query.follow != Some(false));
    let known = tokio::time::timeout(PATIENCE, feed.skip()).await.map_err(|_| behind(edge))??;
    if !known {
        let detail = "it is no event of this task: it lies behind the last one, or between two of them";
        return Err(Problem::new(code::INVALID_EVENT_ID, detail)
            .hint("send the `id` of the last event that you have, or none for all events"));
    }
    if after.is_some() && feed.is_done {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let stop = edge.stop.clone();
    let stream = begin(Event::default()).chain(send(feed, slot)).take_until(stop.cancelled_owned());
    Ok(answer(Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))))
}

/// Says to a client when it is to come back, with what is sent first.
fn begin(first: Event) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::iter([Ok(first.retry(RETRY))])
}

fn answer(stream: impl IntoResponse) -> Response {
    let mut response = stream.into_response();
    // Buffering proxies would hold events back.
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// Whether it may be another time soon.
fn passes(problem: &Problem) -> bool {
    matches!(status(&problem.code), StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT)
}

/// A stream that says why it has nothing, and ends: any other status than 200 ends an `EventSource` for good.
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

fn last_event_id(headers: &HeaderMap, after: Option<&str>) -> Result<Option<Cursor>, Problem> {
    let invalid = |reason: &str| {
        Problem::new(code::INVALID_EVENT_ID, reason)
            .hint("send the `id` of the last event that you have, or none for all events")
    };
    let header = match headers.get("last-event-id") {
        Some(value) => Some(value.to_str().map_err(|_| invalid("`Last-Event-ID` is no text"))?),
        None => None,
    };
    // A client that has no event yet may send an empty id.
    let text = header.or(after).filter(|text| !text.is_empty());
    text.map(Cursor::from_str).transpose().map_err(invalid)
}
