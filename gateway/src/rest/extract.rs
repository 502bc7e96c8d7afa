//! Axum's extractors, with problem documents as their rejections.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use bus_schemas::body::{BodyError, plain};
use bus_schemas::{ContentType, Key};
use bytes::Bytes;
use futures::StreamExt;
use gateway_api::code;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::problem::Problem;

/// Bytes of an oversized body that are read and discarded: enough for a mistake, too few for an attack.
const THROWN_AWAY_BYTES_MAX: usize = 8 * super::BODY_BYTES_MAX;

/// Timeout for a whole body.
const BODY_PATIENCE: Duration = Duration::from_secs(20);

/// A JSON body of a strict schema.
pub struct Json<T>(pub T);
/// A JSON body; without one, or with `null`, the default.
pub struct OptionalJson<T>(pub T);
/// A query of a strict schema.
pub struct Query<T>(pub T);
/// A key in the path.
pub struct Id(pub Key);
/// Path parameters.
pub struct Path<T>(pub T);

/// Checks the media type: parameters such as the character set may follow it.
fn check_media_type(headers: &HeaderMap) -> Result<(), Problem> {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = given.split(';').next().unwrap_or_default().trim();
    if media_type.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(Problem::new(code::UNSUPPORTED_MEDIA_TYPE, "the body must be `application/json`")
        .hint("set the header `Content-Type: application/json`"))
}

/// Decodes a body of a strict schema.
fn decode<T: DeserializeOwned + Serialize>(bytes: Bytes) -> Result<T, Problem> {
    let body = bus_schemas::Body { content_type: ContentType::Json, bytes };
    body.read_strictly().map_err(|error| match &error {
        BodyError::Malformed { .. } => {
            Problem::new(code::MALFORMED_JSON, error.to_string()).hint("the body must be one JSON value")
        }
        BodyError::Mismatch(_) => Problem::new(code::INVALID_BODY, error.to_string())
            .hint("`/v1/openapi.json` has the schema; unknown fields are errors"),
    })
}

fn too_large() -> Problem {
    let limit = super::BODY_BYTES_MAX;
    Problem::new(code::BODY_TOO_LARGE, format!("a body has at most {limit} bytes"))
        .hint("store large inputs elsewhere and send their address")
}

/// Reads a whole body. One that is too large is read on for a while and discarded: otherwise a client that is
/// still sending would see its connection end instead of the response.
async fn whole(body: Body) -> Result<Bytes, Problem> {
    tokio::time::timeout(BODY_PATIENCE, read(body)).await.unwrap_or_else(|_| {
        let detail = format!("the body did not come within {BODY_PATIENCE:?}");
        Err(Problem::new(code::BODY_TOO_SLOW, detail).hint("send the whole body at once"))
    })
}

async fn read(body: Body) -> Result<Bytes, Problem> {
    let (mut chunks, mut bytes, mut length) = (body.into_data_stream(), Vec::new(), 0);
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| Problem::new(code::MALFORMED_JSON, error.to_string()))?;
        length += chunk.len();
        if length <= super::BODY_BYTES_MAX {
            bytes.extend_from_slice(&chunk);
        } else if length > THROWN_AWAY_BYTES_MAX {
            break;
        }
    }
    if length > super::BODY_BYTES_MAX { Err(too_large()) } else { Ok(bytes.into()) }
}

impl<T: DeserializeOwned + Serialize, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;
    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let bytes = whole(body).await?;
        check_media_type(&parts.headers)?;
        decode(bytes).map(Self)
    }
}

impl<T: DeserializeOwned + Serialize + Default, S: Send + Sync> FromRequest<S> for OptionalJson<T> {
    type Rejection = Problem;
    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let bytes = whole(body).await?;
        if bytes.is_empty() {
            return Ok(Self(T::default()));
        }
        check_media_type(&parts.headers)?;
        if bytes.trim_ascii() == b"null" {
            return Ok(Self(T::default()));
        }
        decode(bytes).map(Self)
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Query::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(value)) => Ok(Self(value)),
            Err(rejection) => Err(Problem::new(code::INVALID_QUERY, plain(&rejection.body_text()))
                .hint("`/v1/openapi.json` lists the parameters; unknown ones are errors")),
        }
    }
}

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Path::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(rejection) => Err(Problem::new(code::INVALID_ID, plain(&rejection.body_text()))),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(text) = Path::<String>::from_request_parts(parts, state).await?;
        key(&text).map(Self)
    }
}

/// Checks a client's key.
pub fn key(text: &str) -> Result<Key, Problem> {
    Key::parse(text).map_err(|error| {
        Problem::new(
            code::INVALID_ID,
            format!("`{}` can be no id: {error}", text.escape_debug().take(200).collect::<String>()),
        )
        .hint("an id is 1 to 160 letters, digits, `-` and `_`, and single dots between the steps of a path")
    })
}
