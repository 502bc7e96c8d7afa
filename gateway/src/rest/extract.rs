//! Axum's extractors with our problems as their rejections.

use axum::body::Body;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use bus_schemas::Key;
use bytes::Bytes;
use futures::StreamExt;
use serde::de::DeserializeOwned;

use super::problem::{Problem, code};

/// What is read of a body at most: enough for a mistake, and not enough to keep us busy with an attack.
const THROWN_AWAY_BYTES_MAX: usize = 8 * super::BODY_BYTES_MAX;

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

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;
    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let request = Request::from_parts(parts, Body::from(whole(body).await?));
        match axum::Json::<T>::from_request(request, state).await {
            Ok(axum::Json(value)) => Ok(Self(value)),
            Err(rejection) => Err(rejected(&rejection)),
        }
    }
}

impl<T: DeserializeOwned + Default, S: Send + Sync> FromRequest<S> for OptionalJson<T> {
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
