//! One POST of JSON over HTTP or HTTPS, each on its own connection: posts are rare, and the receiver could
//! close a kept connection at any time.

use std::sync::Arc;
use std::time::Duration;

use actors_worker::breaker::Rejected;
use bus_schemas::Key;
use bus_schemas::commands::breaker::DEPENDENCY_BYTES_MAX;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

/// Timeout of one POST, from the name lookup to the end of the response.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes read of a response: some words for the reason.
const ANSWER_BYTES_MAX: usize = 4_096;
/// The header with the notification's id, by which a receiver detects a repeat.
const ID: &str = "orrery-event-id";

/// Why a URL cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UrlError {
    /// Not a URL with a host.
    #[error("the address is not `https://host/path` or `http://host/path`")]
    Shape,
    /// No list of certificate authorities.
    #[error("the system has no certificates to check a server with: {0}")]
    Certificates(String),
}

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
    uri: Uri,
    host: String,
    port: u16,
    tls: Option<Arc<ClientConfig>>,
}

/// Checks whether a URL can be used on this machine, without a connection.
pub fn check(url: &str) -> Result<(), UrlError> {
    Poster::new(url).map(drop)
}

fn target(url: &str) -> Result<(Uri, String, u16, bool), UrlError> {
    let uri: Uri = url.parse().map_err(|_| UrlError::Shape)?;
    let secure = match uri.scheme_str() {
        Some("https") => true,
        Some("http") => false,
        _ => return Err(UrlError::Shape),
    };
    // The brackets around an IPv6 address belong to the URL.
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    if host.is_empty() {
        return Err(UrlError::Shape);
    }
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    Ok((uri, host, port, secure))
}

impl Poster {
    /// Prepares the client, with the system's certificates for HTTPS.
    pub fn new(url: &str) -> Result<Self, UrlError> {
        let (uri, host, port, secure) = target(url)?;
        let tls = if secure { Some(tls()?) } else { None };
        Ok(Self { uri, host, port, tls })
    }

    /// The receiver's breaker, named after its host; `None` when the name is too long for one.
    pub fn breaker(&self) -> Option<Key> {
        let as_token = |letter: char| {
            if letter.is_ascii_alphanumeric() || ".-_".contains(letter) { letter } else { '-' }
        };
        let host: String = self.host.trim_matches('.').chars().map(as_token).collect();
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
        let failed = |doing: &str, error: &dyn std::error::Error| {
            format!("{doing} `{}`: {}", self.host, bus_schemas::chain(error))
        };
        let request = self.request(id, body).map_err(|error| failed("preparing a request to", &error))?;
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await;
        let stream = stream.map_err(|error| failed("connecting to", &error))?;
        let response = match &self.tls {
            None => send(stream, request).await,
            Some(tls) => {
                let name = ServerName::try_from(self.host.clone());
                let name = name.map_err(|error| failed("checking the name of", &error))?;
                let stream = TlsConnector::from(Arc::clone(tls)).connect(name, stream).await;
                send(stream.map_err(|error| failed("connecting securely to", &error))?, request).await
            }
        };
        let response = response.map_err(|error| failed("posting to", &error))?;
        let status = response.status();
        let words = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let words = words.map(|words| words.to_bytes()).unwrap_or_default();
        Ok((status, String::from_utf8_lossy(&words).chars().filter(|letter| !letter.is_control()).collect()))
    }

    fn request(&self, id: &str, body: Vec<u8>) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
        let path = self.uri.path_and_query().map_or("/", |path| path.as_str());
        // The host with its port, without credentials in the URL.
        let authority = self.uri.authority().map_or("", |authority| authority.as_str());
        let host = authority.rsplit('@').next().unwrap_or_default();
        Request::post(path)
            .header(HOST, host)
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, concat!("orrery/", env!("CARGO_PKG_VERSION")))
            .header(ID, id)
            .body(Full::new(Bytes::from(body)))
    }
}

/// Sends a request over a connection, which ends with the response.
async fn send(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: Request<Full<Bytes>>,
) -> Result<Response<Incoming>, hyper::Error> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // The connection task runs beside the request, and ends when the sender and the response are dropped.
    tokio::spawn(connection);
    sender.send_request(request).await
}

/// Whether a retry of this status may succeed.
fn may_pass(status: StatusCode) -> bool {
    status.is_server_error()
        || [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_EARLY, StatusCode::TOO_MANY_REQUESTS]
            .contains(&status)
}

/// TLS with the system's certificates.
fn tls() -> Result<Arc<ClientConfig>, UrlError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let reason = found.errors.first().map_or_else(|| "none were found".to_owned(), ToString::to_string);
        return Err(UrlError::Certificates(reason));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| UrlError::Certificates(error.to_string()))?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_urls_with_a_host_are_taken() {
        for good in ["https://example.org/x?y=1", "http://127.0.0.1:9", "http://[::1]:8080/"] {
            assert!(target(good).is_ok(), "{good}");
        }
        for bad in ["", "hooks", "ftp://h/x", "https://", "/path", "nats://h:1"] {
            assert!(check(bad).is_err(), "{bad}");
        }
        assert_eq!(target("http://[::1]:8080/").unwrap().1, "::1");
    }

    #[test]
    fn a_receiver_has_a_breaker_by_the_name_of_its_host() {
        let breaker = |url: &str| Poster::new(url).unwrap().breaker().map(|key| key.to_string());
        assert_eq!(breaker("http://example.com.:8080/x").as_deref(), Some("webhook.example.com"));
        assert_eq!(breaker("http://127.0.0.1:9").as_deref(), Some("webhook.127.0.0.1"));
        assert_eq!(breaker("http://[::1]:9").as_deref(), Some("webhook.--1"));
        assert_eq!(breaker(&format!("http://{}/", ["long"; 40].join("."))), None);
    }

    #[test]
    fn a_request_names_the_event_and_hides_credentials() {
        let poster = Poster::new("http://user:hunter2@h:81/x?y=1").unwrap();
        let request = poster.request("dead-letter/d/1", b"{}".to_vec()).unwrap();
        assert_eq!(
            (request.uri().to_string().as_str(), &request.headers()[HOST]),
            ("/x?y=1", &"h:81".parse().unwrap())
        );
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
