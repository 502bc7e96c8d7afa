//! One POST of JSON over HTTP or HTTPS, each on its own connection: posts are rare, and the receiver could
//! close a kept connection at any time.

use std::time::Duration;

use actors_worker::breaker::Rejected;
use bus_schemas::Key;
use bus_schemas::commands::breaker::DEPENDENCY_BYTES_MAX;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use http_client::{Target, UrlError};
use hyper::header::CONTENT_TYPE;
use hyper::{Method, Request, StatusCode};

/// Timeout of one POST, from the name lookup to the end of the response.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes read of a response: some words for the reason.
const ANSWER_BYTES_MAX: usize = 4_096;
/// The header with the notification's id, by which a receiver detects a repeat.
const ID: &str = "orrery-event-id";

/// Why a notification was rejected.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct Rejection {
    reason: String,
    /// Whether a retry may help.
    pub may_pass: bool,
}

impl Rejection {
    /// A rejection by the breaker: the receiver was not asked.
    pub fn of_breaker(rejected: Rejected) -> Self {
        Self { reason: rejected.to_string(), may_pass: true }
    }
    /// The reason, for people.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

/// The target of notifications.
#[derive(Debug)]
pub struct Poster {
    target: Target,
}

/// Checks whether a URL can be used on this machine, without a connection.
pub fn check(url: &str) -> Result<(), UrlError> {
    Poster::new(url).map(drop)
}

impl Poster {
    /// Prepares the client, with the system's certificates for HTTPS.
    pub fn new(url: &str) -> Result<Self, UrlError> {
        Ok(Self { target: Target::new(url)? })
    }

    /// The receiver's breaker, named after its host; `None` when the name is too long for one.
    pub fn breaker(&self) -> Option<Key> {
        let as_token = |letter: char| {
            if letter.is_ascii_alphanumeric() || ".-_".contains(letter) { letter } else { '-' }
        };
        let host: String = self.target.host().trim_matches('.').chars().map(as_token).collect();
        let key = format!("webhook.{host}");
        if key.len() <= DEPENDENCY_BYTES_MAX { Key::parse(&key).ok() } else { None }
    }

    /// Posts a body. Anything but 2xx is a rejection.
    pub async fn post(&self, id: &str, body: Vec<u8>) -> Result<(), Rejection> {
        let passing = |reason: String| Rejection { reason, may_pass: true };
        match tokio::time::timeout(PATIENCE, self.exchange(id, body)).await {
            Err(_) => Err(passing(format!("the receiver did not answer within {PATIENCE:?}"))),
            Ok(Err(reason)) => Err(passing(reason)),
            Ok(Ok((status, _))) if status.is_success() => Ok(()),
            Ok(Ok((status, words))) => Err(Rejection {
                reason: format!("the receiver answered {status}: {words}")
                    .trim_end_matches([':', ' '])
                    .to_owned(),
                may_pass: may_pass(status),
            }),
        }
    }

    async fn exchange(&self, id: &str, body: Vec<u8>) -> Result<(StatusCode, String), String> {
        let request = self.request(id, body);
        let request = request.map_err(|error| format!("preparing a request: {error}"))?;
        let mut exchange = self.target.send(request).await.map_err(|error| error.to_string())?;
        let status = exchange.response.status();
        let words = Limited::new(exchange.response.body_mut(), ANSWER_BYTES_MAX).collect().await;
        let words = words.map(|words| words.to_bytes()).unwrap_or_default();
        Ok((status, String::from_utf8_lossy(&words).chars().filter(|letter| !letter.is_control()).collect()))
    }

    fn request(&self, id: &str, body: Vec<u8>) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
        self.target
            .request(Method::POST, "")
            .header(CONTENT_TYPE, "application/json")
            .header(ID, id)
            .body(Full::new(Bytes::from(body)))
    }
}

/// Whether a retry of this status may succeed.
fn may_pass(status: StatusCode) -> bool {
    status.is_server_error()
        || [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_EARLY, StatusCode::TOO_MANY_REQUESTS]
            .contains(&status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receiver_has_a_breaker_by_the_name_of_its_host() {
        let breaker = |url: &str| Poster::new(url).unwrap().breaker().map(|key| key.to_string());
        assert_eq!(breaker("http://example.com.:8080/x").as_deref(), Some("webhook.example.com"));
        assert_eq!(breaker("http://127.0.0.1:9").as_deref(), Some("webhook.127.0.0.1"));
        assert_eq!(breaker("http://[::1]:9").as_deref(), Some("webhook.--1"));
        assert_eq!(breaker(&format!("http://{}/", ["long"; 40].join("."))), None);
    }

    #[test]
    fn a_request_names_the_event() {
        let poster = Poster::new("http://h:81/x?y=1").unwrap();
        let request = poster.request("dead-letter/d/1", b"{}".to_vec()).unwrap();
        assert_eq!(request.headers()[ID], "dead-letter/d/1");
    }

    #[test]
    fn a_receiver_that_refuses_is_not_asked_again() {
        for (status, passes) in
            [(400, false), (401, false), (404, false), (408, true), (429, true), (503, true)]
        {
            assert_eq!(may_pass(StatusCode::from_u16(status).unwrap()), passes, "{status}");
        }
    }
}
