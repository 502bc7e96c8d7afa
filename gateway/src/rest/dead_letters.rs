//! Dead letters with their payloads: listed, edited, redriven, dropped.

pub mod export;

use bus_schemas::commands::dead_letter::{self, Command, Payloads};
use bus_schemas::payload::Payload;
use bus_schemas::{ContentType, EntityAddress, Key, Kind};
use gateway_api::dead_letters::{
    Content, DeadLetter, DeadLetterPage, DeadLetterWithPayload, EditPayload, ListDeadLetters, Reason,
};
use gateway_api::{NextStep, code};

use super::ask::{Answer, Call, PATIENCE};
use super::cursor;
use super::extract::{Id, Json, OptionalJson, Query};
use super::problem::Problem;
use super::tasks::{VISIBLE_PATIENCE, behind, limit};
use crate::projections::Order;

/// Where payloads are stored whose kind no host knew.
const UNKNOWN_KIND: &str = "unknown";

/// Lists dead letters, newest first.
pub async fn list(call: Call, Query(query): Query<ListDeadLetters>) -> Answer<DeadLetterPage> {
    let (limit, after) = (limit(query.limit)?, cursor::read(query.cursor.as_deref())?);
    let page = call.projections.reader.dead_letters(query.filter(), Order::NewestFirst, after, limit).await?;
    let next_cursor = page.next.as_ref().map(cursor::write);
    Ok(axum::Json(DeadLetterPage { dead_letters: page.items, next_cursor }))
}

/// Shows a dead letter with its payload, original and edited.
pub async fn show(call: Call, Id(id): Id) -> Answer<DeadLetterWithPayload> {
    let letter = call.projections.reader.dead_letter(&id).await?.ok_or_else(|| missing(&id))?;
    whole(&call, letter).await.map(axum::Json)
}

/// Edits what a redrive sends. The original is kept.
pub async fn edit(call: Call, Id(id): Id, Json(body): Json<EditPayload>) -> Answer<DeadLetter> {
    let command = edited(body)?;
    change(&call, &id, command).await
}

/// Redrives a dead letter.
pub async fn redrive(call: Call, Id(id): Id, OptionalJson(body): OptionalJson<Reason>) -> Answer<DeadLetter> {
    let Reason { reason } = body;
    change(&call, &id, Command::Redrive { reason, in_redrive: None }).await
}

/// Drops a dead letter: it is kept, and never redriven.
pub async fn give_up(call: Call, Id(id): Id, OptionalJson(body): OptionalJson<Reason>) -> Answer<DeadLetter> {
    let Reason { reason } = body;
    change(&call, &id, Command::Drop { reason }).await
}

/// Sends a dead letter a command, and shows the state after it.
async fn change(call: &Call, id: &Key, command: Command) -> Answer<DeadLetter> {
    let accepted = call.ask(id, &command).await?;
    let found = call.projections.until(VISIBLE_PATIENCE, |reader| {
        let id = id.clone();
        async move {
            Ok(reader.dead_letter(&id).await?.filter(|letter| letter.revision >= accepted.revision))
        }
    });
    found.await?.map(axum::Json).ok_or_else(|| behind(call))
}

/// A dead letter with its payload, original and edited.
async fn whole(call: &Call, letter: DeadLetter) -> Result<DeadLetterWithPayload, Problem> {
    let described = call.query(&letter.entry, &dead_letter::Query::Describe, PATIENCE).await?;
    let Payloads { recorded, edited } = described;
    let kept = match recorded {
        Some(payload) => Some(payload),
        None => original(call, &letter).await?,
    };
    Ok(DeadLetterWithPayload { letter, payload: kept.map(content), edited: edited.map(content) })
}

fn missing(id: &Key) -> Problem {
    Problem::new(code::DEAD_LETTER_NOT_FOUND, format!("there is no dead letter `{id}`"))
        .next(NextStep::ListDeadLetters)
}

/// The original payload from the stream of dead letters, which also has payloads too large for an event.
async fn original(call: &Call, letter: &DeadLetter) -> Result<Option<Payload>, Problem> {
    let known = Kind::parse(&letter.kind).is_ok().then_some(letter.kind.as_str());
    for kind in known.into_iter().chain([UNKNOWN_KIND]) {
        if let Some(bytes) = call.bus.dead_payload(kind, letter.entry.as_str()).await? {
            return Ok(Some(Payload::written(ContentType::default(), &bytes).without_token()));
        }
    }
    Ok(None)
}

fn content(payload: Payload) -> Content {
    let bytes = payload.body().map_or(0, |body| body.bytes.len());
    let Payload { content_type, encoding, content } = payload;
    Content { content_type, encoding, content, bytes }
}

/// The command for an edit.
fn edited(edit: EditPayload) -> Result<Command, Problem> {
    let invalid =
        |detail: &str| Problem::new(code::INVALID_BODY, detail).hint("`/v1/openapi.json` has the schema");
    let payload = match (edit.json, edit.content) {
        (Some(value), None) if edit.encoding.is_none() && edit.content_type.is_none() => {
            Payload::written(ContentType::Json, value.to_string().as_bytes())
        }
        (None, Some(content)) => Payload {
            content_type: edit.content_type.unwrap_or_default(),
            encoding: edit.encoding.unwrap_or_default(),
            content,
        },
        _ => return Err(invalid("give either `json`, or `content` with `encoding` and `content_type`")),
    };
    let to: Option<EntityAddress> = match edit.to.as_deref().map(str::parse) {
        Some(Err(_)) => return Err(invalid("`to` is `<kind>/<key>`")),
        Some(Ok(to)) => Some(to),
        None => None,
    };
    Ok(Command::Edit { payload, to, reason: edit.reason })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn an_edit_is_json_or_bytes_and_not_both() {
        let read = |body: Value| edited(serde_json::from_value(body).unwrap());
        let Ok(Command::Edit { payload, to, .. }) = read(json!({"json": {"type": "touch"}, "to": "probe/p"}))
        else {
            panic!("an edit")
        };
        assert_eq!(payload.content, r#"{"type":"touch"}"#);
        assert_eq!(to.map(|to| to.to_string()).as_deref(), Some("probe/p"));
        for bad in [json!({}), json!({"json": 1, "content": "1"}), json!({"content": "1", "to": "probe"})] {
            assert_eq!(read(bad).unwrap_err().code, "invalid-body");
        }
    }
}
