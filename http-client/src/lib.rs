//! Requests to servers outside of the system, over HTTP or HTTPS, each on a connection of its own.
//!
//! A dropped [`Exchange`] closes its connection at once, so a canceled call stops at the other end too. There are
//! no redirects, no proxies, no pool and no retries: whoever calls decides what is repeated.

use std::net::SocketAddr;
use std::sync::Arc;
use std::{fmt, io};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{HOST, USER_AGENT};
use hyper::http::request::Builder;
use hyper::{Method, Request, Response, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

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

/// Why there is no response. Names the host, and nothing else of the URL.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct SendError {
    message: String,
    /// Whether there was a connection, so that the request may have arrived.
    pub is_connected: bool,
}

/// A URL on a server.
#[derive(Clone)]
pub struct Target {
    uri: Uri,
    host: String,
    port: u16,
    tls: Option<Arc<ClientConfig>>,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without path, query and credentials.
        write!(f, "Target {}:{}", self.host, self.port)
    }
}

/// A response, on a connection that ends with this value.
#[derive(Debug)]
pub struct Exchange {
    /// The response.
    pub response: Response<Incoming>,
    connection: AbortHandle,
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// The URL with its host, port, and whether it asks for TLS.
fn parse(url: &str) -> Result<(Uri, String, u16, bool), UrlError> {
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

impl Target {
    /// Reads a URL; for HTTPS also the system's certificates. Makes no connection.
    pub fn new(url: &str) -> Result<Self, UrlError> {
        let (uri, host, port, secure) = parse(url)?;
        let tls = if secure { Some(tls()?) } else { None };
        Ok(Self { uri, host, port, tls })
    }

    /// The host's name or address.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A request to the URL with `below` appended to its path. Credentials in the URL are not sent.
    pub fn request(&self, method: Method, below: &str) -> Builder {
        let path = match below {
            "" => self.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
            below => format!("{}/{}", self.uri.path().trim_end_matches('/'), below.trim_start_matches('/')),
        };
        let authority = self.uri.authority().map_or("", |authority| authority.as_str());
        let host = authority.rsplit('@').next().unwrap_or_default();
        Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, host)
            .header(USER_AGENT, concat!("orrery/", env!("CARGO_PKG_VERSION")))
    }

    /// Connects, sends a request, and waits for the head of the response. The caller bounds the wait.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> Result<Exchange, SendError> {
        self.over(TcpStream::connect((self.host.as_str(), self.port)).await, request).await
    }

    /// As [`Self::send`], to one address of the host that the caller has looked up: the name is not looked up again.
    pub async fn send_to(
        &self,
        address: SocketAddr,
        request: Request<Full<Bytes>>,
    ) -> Result<Exchange, SendError> {
        self.over(TcpStream::connect(address).await, request).await
    }

    async fn over(
        &self,
        stream: io::Result<TcpStream>,
        request: Request<Full<Bytes>>,
    ) -> Result<Exchange, SendError> {
        let failed = |doing: &str, error: &dyn std::error::Error| SendError {
            message: format!("{doing} `{}`: {}", self.host, bus_schemas::chain(error)),
            is_connected: false,
        };
        let stream = stream.map_err(|error| failed("connecting to", &error))?;
        // Small writes, such as the end of a request, go out at once.
        stream.set_nodelay(true).map_err(|error| failed("connecting to", &error))?;
        let exchange = match &self.tls {
            None => exchange(stream, request).await,
            Some(tls) => {
                let name = ServerName::try_from(self.host.clone());
                let name = name.map_err(|error| failed("checking the name of", &error))?;
                let stream = TlsConnector::from(Arc::clone(tls)).connect(name, stream).await;
                exchange(stream.map_err(|error| failed("connecting securely to", &error))?, request).await
            }
        };
        exchange.map_err(|error| SendError { is_connected: true, ..failed("asking", &error) })
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: Request<Full<Bytes>>,
) -> Result<Exchange, hyper::Error> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // Aborted if this future is dropped before the response.
    let mut tasks = tokio::task::JoinSet::new();
    let connection = tasks.spawn(async move { connection.await.unwrap_or_default() });
    let response = sender.send_request(request).await?;
    tasks.detach_all();
    Ok(Exchange { response, connection })
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
            assert!(parse(good).is_ok(), "{good}");
        }
        for bad in ["", "hooks", "ftp://h/x", "https://", "/path", "nats://h:1"] {
            assert!(Target::new(bad).is_err(), "{bad}");
        }
        assert_eq!(parse("http://[::1]:8080/").unwrap().1, "::1");
    }

    #[test]
    fn a_request_has_its_path_and_hides_credentials() {
        let target = Target::new("http://user:hunter2@h:81/x?y=1").unwrap();
        let request = |below| target.request(Method::POST, below).body(()).unwrap();
        assert_eq!(
            (request("").uri().to_string().as_str(), &request("").headers()[HOST]),
            ("/x?y=1", &"h:81".parse().unwrap())
        );
        assert_eq!(request("/a/b").uri().to_string(), "/x/a/b");
    }
}
