//! The layer around every request: its id, its span, its metrics, the caller, and protection from other
//! sites' pages.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bus_schemas::TraceContext;
use futures::FutureExt;
use gateway_api::code;
use tracing::{Instrument, field};
use uuid::Uuid;

use super::Edge;
use super::problem::Problem;
use crate::connections::{Client, Peer};
use crate::{metric, trace};

/// The request's id: the caller's own, or a new one; in every response and in the span.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Bytes of a caller's request id.
const REQUEST_ID_BYTES_MAX: usize = 128;
/// The name of unknown paths in spans and metrics, so that a stranger cannot create names without end.
const NO_ROUTE: &str = "unmatched";

/// The header with the caller's name, until there is a login: events record it.
const CALLER: HeaderName = HeaderName::from_static("orrery-caller");

/// The caller of a request, as handlers pass it on. It is determined only here.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The caller's name.
    pub name: bus_schemas::Caller,
    /// The client's address, as bounds count it.
    pub peer: Peer,
    /// The caller's trace, if it sent one.
    pub trace: Option<TraceContext>,
}

/// Wraps the handling of a request.
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
    // Until the response starts, the connection may be silent.
    let _working = client.working();
    let trace = trace::incoming(request.headers());
    if let Some(parent) = trace {
        trace::continue_from(&span, parent);
    }
    let foreign = foreign(&edge, request.headers(), request.uri());
    let admitted = foreign.map_or_else(|| named(request.headers()), Err).map(|name| {
        request.extensions_mut().insert(Caller { name, peer: client.peer, trace });
    });
    let mut response = match admitted {
        Err(problem) => problem.into_response(),
        // A panic in one handler fails one request, and the others go on.
        Ok(()) => AssertUnwindSafe(next.run(request))
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

/// The caller's name from the headers.
fn named(headers: &HeaderMap) -> Result<bus_schemas::Caller, Problem> {
    let mut names = headers.get_all(&CALLER).iter();
    let name = match (names.next(), names.next()) {
        (None, _) => return Ok(bus_schemas::Caller::UNNAMED),
        (Some(name), None) => name.to_str().unwrap_or_default(),
        (Some(_), Some(_)) => "",
    };
    let refused = |why: String| {
        Problem::new(code::INVALID_CALLER, format!("`Orrery-Caller` is not a valid name: {why}"))
            .hint("give one name of 1 to 64 letters, digits, `-` and `_`, or none")
    };
    let caller = bus_schemas::Caller::parse(name).map_err(|error| refused(error.to_string()))?;
    // The hosts' own name would let a client send what only the system sends.
    if caller == bus_schemas::Caller::SYSTEM {
        return Err(refused("only the system has it".to_owned()));
    }
    Ok(caller)
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

/// Refuses what a page of another site makes a browser send: there is no login yet, so a browser on this
/// machine must not be a way in.
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

/// Whether a `Host` names this machine: any other name means that a foreign name was pointed here.
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
