//! What surrounds every request: its id, its span, its metrics, and who may ask from a browser.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bus_schemas::TraceContext;
use futures::FutureExt;
use tracing::{Instrument, field};
use uuid::Uuid;

use super::Edge;
use super::problem::{Problem, code};
use crate::connections::{Client, Peer};
use crate::{metric, trace};

/// The request's id: the caller's own, or one of ours; in every answer and in the span.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest id that we take from a caller.
const REQUEST_ID_BYTES_MAX: usize = 128;
/// What a path that we do not know is called in spans and metrics, so that a stranger can not make
/// names without end.
const NO_ROUTE: &str = "unmatched";

/// The caller of a request, as handlers pass it on.
#[derive(Debug, Clone, Copy)]
pub struct Caller {
    /// Where it comes from.
    pub peer: Peer,
    /// Its trace, if it sent one.
    pub trace: Option<TraceContext>,
}

/// Surrounds a request.
pub async fn around(
    State(edge): State<Arc<Edge>>,
    ConnectInfo(client): ConnectInfo<Client>,
    mut request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map_or(NO_ROUTE, MatchedPath::as_str).to_owned();
    let id = request_id(request.headers());
    let span = tracing::info_span!(
        "gateway",
        otel.name = format!("{method} {route}"),
        otel.kind = "server",
        otel.status_code = field::Empty,
        http.request.method = method.as_str(),
        http.route = route,
        url.path = request.uri().path(),
        http.response.status_code = field::Empty,
        request_id = id.to_str().unwrap_or_default(),
        correlation_id = field::Empty,
        trace_id = field::Empty,
    );
    // Until there is an answer the connection may be silent.
    let _working = client.working();
    let caller = Caller { peer: client.peer, trace: trace::incoming(request.headers()) };
    if let Some(parent) = caller.trace {
        trace::continue_from(&span, parent);
    }
    let foreign = foreign(&edge, request.headers(), request.uri());
    request.extensions_mut().insert(caller);
    let mut response = match foreign {
        Some(problem) => problem.into_response(),
        // A bug in one handler is an answer to one caller, and the others go on.
        None => AssertUnwindSafe(next.run(request))
            .catch_unwind()
            .instrument(span.clone())
            .await
            .unwrap_or_else(|_| {
                span.in_scope(|| tracing::error!("a handler panicked"));
                let detail = format!("a fault in the gateway; request {}", id.to_str().unwrap_or_default());
                Problem::new(code::INTERNAL_ERROR, detail).into_response()
            }),
    };
    let status = response.status();
    span.record("http.response.status_code", status.as_u16());
    if status.is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
    let labels = [("method", method.to_string()), ("route", route), ("status", status.as_u16().to_string())];
    metrics::counter!(metric::HTTP_REQUESTS, &labels).increment(1);
    metrics::histogram!(metric::HTTP_DURATION, &labels).record(started.elapsed());
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

fn request_id(headers: &HeaderMap) -> HeaderValue {
    let good = |value: &&HeaderValue| {
        let bytes = value.as_bytes();
        (1..=REQUEST_ID_BYTES_MAX).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic)
    };
    headers.get(&REQUEST_ID).filter(good).cloned().unwrap_or_else(|| {
        HeaderValue::from_str(&Uuid::now_v7().to_string()).expect("a UUID is digits, letters and hyphens")
    })
}

/// Refuses what a page of another site makes a browser send: there is no login yet, so a browser on
/// this machine must not be a way in.
fn foreign(edge: &Edge, headers: &HeaderMap, uri: &Uri) -> Option<Problem> {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let host = text(header::HOST).or_else(|| uri.authority().map(|authority| authority.as_str()))?;
    let refuse = |detail: String| {
        Some(
            Problem::new(code::FOREIGN_ORIGIN, detail)
                .hint("ask from a page that this gateway serves, or from a program"),
        )
    };
    if edge.loopback && !is_local(host) {
        return refuse(format!("this gateway serves this machine only, and was asked for `{host}`"));
    }
    match text(header::ORIGIN) {
        Some(origin) if origin.split_once("://").is_none_or(|(_, of)| !of.eq_ignore_ascii_case(host)) => {
            refuse(format!("a page of `{origin}` may not ask `{host}`"))
        }
        _ => None,
    }
}

/// Whether a `Host` names this machine: another name means that somebody else's name was pointed here.
fn is_local(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    let lower = name.to_ascii_lowercase();
    lower == "localhost"
        || lower.ends_with(".localhost")
        || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_local() {
        for host in ["localhost", "LOCALHOST:8080", "127.0.0.1:1", "[::1]:80", "[::1]", "a.localhost:3"] {
            assert!(is_local(host), "{host}");
        }
        for host in ["evil.example", "evil.example:80", "10.0.0.1", "localhost.evil.example", ""] {
            assert!(!is_local(host), "{host}");
        }
    }
}
