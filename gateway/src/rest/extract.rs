//! Axum's extractors with our problems as their rejections.

use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use bus_schemas::{ContentType, Key, Timestamp};
use bytes::Bytes;
use futures::StreamExt;
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer, Serialize};

use super::problem::{Problem, code};

/// What is read of a body at most: enough for a mistake, and not enough to keep us busy with an attack.
const THROWN_AWAY_BYTES_MAX: usize = 8 * super::BODY_BYTES_MAX;

/// How long a body may take to come as a whole.
const BODY_PATIENCE: Duration = Duration::from_secs(20);

/// A JSON body of a strict schema.
pub struct Json<T>(pub T);
/// A JSON body, or none or `null`: then the default.
pub struct OptionalJson<T>(pub T);
/// A query of a strict schema.
pub struct Query<T>(pub T);
/// A key in the path.
pub struct Id(pub Key);
/// Path parameters.
pub struct Path<T>(pub T);

fn rejected(rejection: &JsonRejection) -> Problem {
    let detail = rejection.body_text();
    match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => too_large(),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            Problem::new(code::UNSUPPORTED_MEDIA_TYPE, "the body must be `application/json`")
                .hint("set the header `Content-Type: application/json`")
        }
        StatusCode::UNPROCESSABLE_ENTITY => Problem::new(code::INVALID_BODY, detail)
            .hint("`/v1/openapi.json` has the schema; unknown fields are errors"),
        _ => Problem::new(code::MALFORMED_JSON, detail).hint("the body must be one JSON value"),
    }
}

fn too_large() -> Problem {
    let limit = super::BODY_BYTES_MAX;
    Problem::new(code::BODY_TOO_LARGE, format!("a body has at most {limit} bytes"))
        .hint("store large inputs elsewhere and send their address")
}

/// Reads a body as a whole. Too large a body is read on for a while and thrown away: a client that is
/// still sending would otherwise see its connection end instead of our answer.
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
    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let bytes = whole(body).await?;
        let request = Request::from_parts(parts, Body::from(bytes.clone()));
        if let Err(rejection) = axum::Json::<T>::from_request(request, state).await {
            return Err(rejected(&rejection));
        }
        // A derived reader takes a list for the fields of an object.
        let body = bus_schemas::Body { content_type: ContentType::Json, bytes };
        body.read_strictly().map(Self).map_err(|error| {
            Problem::new(code::INVALID_BODY, error.to_string()).hint("`/v1/openapi.json` has the schema")
        })
    }
}

impl<T: DeserializeOwned + Serialize + Default, S: Send + Sync> FromRequest<S> for OptionalJson<T> {
    type Rejection = Problem;
    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let bytes = whole(body).await?;
        if bytes.is_empty() {
            return Ok(Self(T::default()));
        }
        let whole = Request::from_parts(parts, Body::from(bytes));
        let Json(value) = Json::<Option<T>>::from_request(whole, state).await?;
        Ok(Self(value.unwrap_or_default()))
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Query::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(value)) => Ok(Self(value)),
            Err(rejection) => Err(Problem::new(code::INVALID_QUERY, rejection.body_text())
                .hint("`/v1/openapi.json` lists the parameters; unknown ones are errors")),
        }
    }
}

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Path::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(rejection) => Err(Problem::new(code::INVALID_ID, rejection.body_text())),
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

/// Reads a number as large as OpenAPI's `int64`, if there is one.
pub fn int64<'de, D: Deserializer<'de>>(d: D) -> Result<Option<u64>, D::Error> {
    at_most(d, i64::MAX.unsigned_abs())
}

/// Reads a time that can be written, in milliseconds since 1970, if there is one.
pub fn time<'de, D: Deserializer<'de>>(d: D) -> Result<Option<u64>, D::Error> {
    at_most(d, Timestamp::MAX.0)
}

/// Like [`int64`], of one that must be there.
pub fn some_int64<'de, D: Deserializer<'de>>(d: D) -> Result<u64, D::Error> {
    int64(d)?.ok_or_else(|| D::Error::custom("a number is expected"))
}

/// Like [`time`], of one that must be there.
pub fn some_time<'de, D: Deserializer<'de>>(d: D) -> Result<u64, D::Error> {
    time(d)?.ok_or_else(|| D::Error::custom("a time is expected"))
}

fn at_most<'de, D: Deserializer<'de>>(d: D, max: u64) -> Result<Option<u64>, D::Error> {
    match Option::<u64>::deserialize(d)? {
        Some(number) if number > max => {
            Err(D::Error::custom(format_args!("{number} is out of range: at most {max} is taken")))
        }
        number => Ok(number),
    }
}

/// Checks a key that a client wrote.
pub fn key(text: &str) -> Result<Key, Problem> {
    Key::parse(text).map_err(|error| {
        Problem::new(
            code::INVALID_ID,
            format!("`{}` can be no id: {error}", text.escape_debug().take(200).collect::<String>()),
        )
        .hint("an id is 1 to 160 letters, digits, `-` and `_`, and single dots between the steps of a path")
    })
}
