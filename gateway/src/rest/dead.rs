//! Dead letters: what could not be done, with what it was to be done with.

use std::sync::Arc;

use axum::extract::State;
use bus_schemas::Kind;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::extract::{Id, Query};
use super::problem::{Problem, ProblemView, code};
use super::tasks::limit;
use super::{Edge, cursor};
use crate::projections::dead_letter::DeadLetter;

/// Where payloads lie that never named a kind that the host knew.
const UNKNOWN_KIND: &str = "unknown";
/// The alphabet of RFC 4648.
const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Which dead letters to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListDead {
    /// `poison`, `malformed-command`, `unknown-kind`, `job-failed` …
    class: Option<String>,
    /// Rows of the page, 50 when not given.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// One page of dead letters.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct DeadPage {
    /// Newest first.
    pub dead: Vec<DeadLetter>,
    /// Where the next page begins; null at the end.
    #[schema(required = true)]
    pub next_cursor: Option<String>,
}

/// A dead letter with its payload.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct DeadLetterView {
    /// What, why, and from where.
    #[serde(flatten)]
    pub letter: DeadLetter,
    /// The payload; none when the stream of dead letters no longer has it.
    pub payload: Option<Payload>,
}

/// The bytes of a command that could not be done.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Payload {
    /// `text` or `base64`.
    pub encoding: String,
    /// The bytes in that encoding.
    pub content: String,
    /// How many bytes.
    pub bytes: usize,
}

/// Lists dead letters, newest first.
#[utoipa::path(get, path = "/v1/dead", operation_id = "listDeadLetters", tag = "dead letters", params(ListDead),
    responses((status = 200, description = "as it is now", body = DeadPage), (status = "4XX", description = "the request was refused", body = ProblemView, content_type = "application/problem+json")))]
pub async fn list(
    State(edge): State<Arc<Edge>>,
    Query(query): Query<ListDead>,
) -> Result<axum::Json<DeadPage>, Problem> {
    let (limit, after) = (limit(query.limit)?, cursor::read(query.cursor.as_deref())?);
    let page = edge.projections.reader.dead_letters(query.class, after, limit).await?;
    Ok(axum::Json(DeadPage { dead: page.items, next_cursor: page.next.as_ref().map(cursor::write) }))
}

/// Shows a dead letter with its payload.
#[utoipa::path(get, path = "/v1/dead/{entry}", operation_id = "showDeadLetter", tag = "dead letters", params(("entry" = String, Path)),
    responses((status = 200, description = "as it is now", body = DeadLetterView), (status = "4XX", description = "the request was refused", body = ProblemView, content_type = "application/problem+json")))]
pub async fn show(
    State(edge): State<Arc<Edge>>,
    Id(entry): Id,
) -> Result<axum::Json<DeadLetterView>, Problem> {
    let letter = edge.projections.reader.dead_letter(&entry).await?.ok_or_else(|| {
        Problem::new(code::DEAD_LETTER_NOT_FOUND, format!("there is no dead letter `{entry}`"))
            .hint("`GET /v1/dead` lists what there is")
    })?;
    let known = Kind::parse(&letter.kind).is_ok().then_some(letter.kind.as_str());
    let mut payload = None;
    for kind in known.into_iter().chain([UNKNOWN_KIND]) {
        payload = edge.bus.dead_payload(kind, entry.as_str()).await?;
        if payload.is_some() {
            break;
        }
    }
    Ok(axum::Json(DeadLetterView { letter, payload: payload.as_deref().map(Payload::new) }))
}

impl Payload {
    fn new(bytes: &[u8]) -> Self {
        let (encoding, content) = match std::str::from_utf8(bytes) {
            Ok(text) => ("text", text.to_owned()),
            Err(_) => ("base64", base64(bytes)),
        };
        Self { encoding: encoding.to_owned(), content, bytes: bytes.len() }
    }
}

fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let group = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let index = (group >> (18 - 6 * digit)) & 63;
            text.push(if digit as usize > chunk.len() { '=' } else { char::from(BASE64[index as usize]) });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text_and_the_rest_is_base64() {
        assert_eq!(Payload::new(b"{}").content, "{}");
        assert_eq!(Payload::new(b"\xff\xfe").encoding, "base64");
        // The test vectors of RFC 4648.
        let vectors = [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")];
        for (plain, encoded) in vectors {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
    }
}
