//! A task's events as server-sent events: everything that happened to it and to all below it, and
//! what happens from now on.
//!
//! The id of an event is its place in the log, which is the same for ever: any gateway can go on
//! where another one stopped. The stream is read from its beginning and what the client has is left
//! out, so nothing depends on what a gateway remembers.

mod feed;

use std::convert::Infallible;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use bus_client::events::{Cursor, EventQuery};
use bus_schemas::{EntityAddress, Kind};
use futures::{Stream, StreamExt, stream};
use serde::Deserialize;
use tokio::sync::OwnedSemaphorePermit;
use utoipa::IntoParams;

use super::Edge;
use super::extract::{Id, Query};
use super::problem::{Problem, ProblemView, code};
use super::tasks::{behind, find};
use crate::metric;
use feed::Feed;

/// Streams at once: each is a consumer of the event stream (with output another one), and a stream
/// takes 1,000 consumers by default, which all gateways share.
pub const STREAMS_MAX: usize = 200;
/// How often a silent stream says that it is alive: proxies close silent connections after a minute.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long a stream waits for the read model, which knows what exists now.
const PATIENCE: Duration = Duration::from_secs(10);

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
    responses((status = 200, description = "server-sent events: `id` is `<partition>.<record>.<index>`, `event` is `<kind>.<type>`; `end` comes after the task's final event", content_type = "text/event-stream"),
        (status = "4XX", description = "the request was refused", body = ProblemView, content_type = "application/problem+json"),
        (status = "5XX", description = "it could not be done now", body = ProblemView, content_type = "application/problem+json")))]
pub async fn stream(
    State(edge): State<Arc<Edge>>,
    Id(id): Id,
    Query(query): Query<StreamEvents>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let entity = EntityAddress::new(Kind::from_static("task"), id.clone());
    let partition = entity.partition(edge.bus.topology().partitions);
    let after = last_event_id(&headers, query.after.as_deref())?;
    if let Some(cursor) = after
        && cursor.partition != partition
    {
        let detail = format!("`{cursor}` is no event of this task: its events lie in partition {partition}");
        return Err(Problem::new(code::INVALID_EVENT_ID, detail));
    }
    let slot = Slot::take(&edge)?;
    find(&edge, &id).await?;
    let now = edge.bus.events_state().await?.last_sequence;
    if !edge.projections.reached(now, PATIENCE).await {
        return Err(behind(&edge));
    }
    let end = edge.projections.reader.tree_end(&id).await?.unwrap_or(now);
    let tree = edge.bus.subjects().event_tree(&entity).to_vec();
    let events = edge.bus.events(EventQuery { subjects: tree, from: 0 }).await?.boxed();
    let output = match query.output {
        Some(true) => edge.bus.output(&id).await?.boxed(),
        _ => stream::pending().boxed(),
    };
    let feed = Feed {
        entity,
        events,
        output,
        after,
        end,
        follow: query.follow != Some(false),
        is_final: false,
        is_done: false,
    };
    let stop = edge.stop.clone();
    let stream = send(feed, slot).take_until(stop.cancelled_owned());
    let mut response = Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response();
    // Buffering proxies would hold events back.
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}

fn send(feed: Feed, slot: Slot) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold((feed, slot), |(mut feed, slot)| async move {
        let event = feed.next().await?;
        Some((Ok(event), (feed, slot)))
    })
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

/// One of the streams that may be open at once.
struct Slot {
    _permit: OwnedSemaphorePermit,
}

impl Slot {
    fn take(edge: &Edge) -> Result<Self, Problem> {
        let permit = edge.streams.clone().try_acquire_owned().map_err(|_| {
            Problem::new(code::TOO_MANY_STREAMS, format!("{STREAMS_MAX} event streams are open"))
                .hint("close streams that nobody reads, or ask another gateway")
                .again()
        })?;
        metrics::gauge!(metric::STREAMS).increment(1.0);
        Ok(Self { _permit: permit })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        metrics::gauge!(metric::STREAMS).decrement(1.0);
    }
}
