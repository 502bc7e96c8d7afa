//! Dead letters: what could not be done, with what it was to be done with; edited, redriven, dropped.

mod dto;
pub mod export;
pub mod redrives;

use std::sync::Arc;

use axum::extract::{Extension, State};
use bus_schemas::commands::deadletter::{self, Command, Payloads};
use bus_schemas::payload::Payload;
use bus_schemas::{ContentType, Key, Kind, Timestamp};

use super::ask::{CALLER, ask, query};
use super::extract::{Id, Json, OptionalJson, Query};
use super::layer::Caller;
use super::problem::{Problem, code};
use super::tasks::{VISIBLE_PATIENCE, behind, limit};
use super::{Edge, cursor};
use crate::projections::dead_letter::DeadLetter;
use crate::projections::{DeadLetterFilter, Order};

pub use dto::ListDeadLetters;
use dto::{DeadLetterPage, DeadLetterView, EditPayload, Reason};

/// Where payloads lie that never named a kind that the host knew.
const UNKNOWN_KIND: &str = "unknown";

/// Lists dead letters, newest first.
#[utoipa::path(get, path = "/v1/dead-letters", operation_id = "listDeadLetters", tag = "dead letters", params(ListDeadLetters),
    responses((status = 200, description = "as it is now", body = DeadLetterPage)))]
pub async fn list(
    State(edge): State<Arc<Edge>>,
    Query(query): Query<ListDeadLetters>,
) -> Result<axum::Json<DeadLetterPage>, Problem> {
    let (limit, after) = (limit(query.limit)?, cursor::read(query.cursor.as_deref())?);
    let filter = DeadLetterFilter {
        state: query.state,
        class: query.class,
        kind: query.kind,
        key: query.key,
        dependency: query.dependency,
        since: query.since.map(Timestamp),
        before: query.before.map(Timestamp),
    };
    let page = edge.projections.reader.dead_letters(filter, Order::NewestFirst, after, limit).await?;
    let next_cursor = page.next.as_ref().map(cursor::write);
    Ok(axum::Json(DeadLetterPage { dead_letters: page.items, next_cursor }))
}

/// Shows a dead letter with its payload, as it came and as it was edited.
#[utoipa::path(get, path = "/v1/dead-letters/{id}", operation_id = "showDeadLetter", tag = "dead letters", params(("id" = String, Path)),
    responses((status = 200, description = "as it is now", body = DeadLetterView)))]
pub async fn show(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Id(id): Id,
) -> Result<axum::Json<DeadLetterView>, Problem> {
    let letter = edge.projections.reader.dead_letter(&id).await?.ok_or_else(|| missing(&id))?;
    whole(&edge, caller, letter).await.map(axum::Json)
}

/// Sends something else when it is redriven. The original stays.
#[utoipa::path(put, path = "/v1/dead-letters/{id}/payload", operation_id = "editDeadLetter", tag = "dead letters", params(("id" = String, Path)), request_body = EditPayload,
    responses((status = 200, description = "as it is now", body = DeadLetter)))]
pub async fn edit(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Id(id): Id,
    Json(body): Json<EditPayload>,
) -> Result<axum::Json<DeadLetter>, Problem> {
    let command = body.into_command(CALLER)?;
    change(&edge, caller, &id, command).await
}

/// Tries a dead letter once more.
#[utoipa::path(post, path = "/v1/dead-letters/{id}/redrive", operation_id = "redriveDeadLetter", tag = "dead letters", params(("id" = String, Path)), request_body = Option<Reason>,
    responses((status = 200, description = "it is on its way", body = DeadLetter)))]
pub async fn redrive(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Id(id): Id,
    OptionalJson(body): OptionalJson<Reason>,
) -> Result<axum::Json<DeadLetter>, Problem> {
    let Reason { by, reason } = body.or(CALLER);
    change(&edge, caller, &id, Command::Redrive { by, reason, campaign: None }).await
}

/// Gives a dead letter up: it is kept, and nothing more is done.
#[utoipa::path(post, path = "/v1/dead-letters/{id}/drop", operation_id = "dropDeadLetter", tag = "dead letters", params(("id" = String, Path)), request_body = Option<Reason>,
    responses((status = 200, description = "as it is now", body = DeadLetter)))]
pub async fn give_up(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Id(id): Id,
    OptionalJson(body): OptionalJson<Reason>,
) -> Result<axum::Json<DeadLetter>, Problem> {
    let Reason { by, reason } = body.or(CALLER);
    change(&edge, caller, &id, Command::Drop { by, reason }).await
}

/// Tells a dead letter something, and shows it as of then.
async fn change(
    edge: &Edge,
    caller: Caller,
    id: &Key,
    command: Command,
) -> Result<axum::Json<DeadLetter>, Problem> {
    let accepted = ask(edge, caller, id.clone(), &command).await?;
    let found = edge.projections.until(VISIBLE_PATIENCE, |reader| {
        let id = id.clone();
        async move {
            Ok(reader.dead_letter(&id).await?.filter(|letter| letter.revision >= accepted.revision))
        }
    });
    found.await?.map(axum::Json).ok_or_else(|| behind(edge))
}

/// A dead letter with its payload, as it came and as it was edited.
async fn whole(edge: &Edge, caller: Caller, letter: DeadLetter) -> Result<DeadLetterView, Problem> {
    let described = query(edge, caller, &letter.entry, &deadletter::Query::Describe).await?;
    let Payloads { recorded, edited } = described;
    let kept = match recorded {
        Some(payload) => Some(payload),
        None => original(edge, &letter).await?,
    };
    Ok(DeadLetterView { letter, payload: kept.map(Into::into), edited: edited.map(Into::into) })
}

fn missing(id: &Key) -> Problem {
    Problem::new(code::DEAD_LETTER_NOT_FOUND, format!("there is no dead letter `{id}`"))
        .hint("`GET /v1/dead-letters` lists what there is")
}

/// The payload in the stream of dead letters: that has also what is too large for an event.
async fn original(edge: &Edge, letter: &DeadLetter) -> Result<Option<Payload>, Problem> {
    let known = Kind::parse(&letter.kind).is_ok().then_some(letter.kind.as_str());
    for kind in known.into_iter().chain([UNKNOWN_KIND]) {
        if let Some(bytes) = edge.bus.dead_payload(kind, letter.entry.as_str()).await? {
            return Ok(Some(Payload::written(ContentType::default(), &bytes)));
        }
    }
    Ok(None)
}
