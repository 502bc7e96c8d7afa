//! One request to a site: the name looked up, every address checked, the answer read within its bounds.

use std::io::Read;
use std::time::Duration;

use bus_schemas::text;
use bytes::{Bytes, BytesMut};
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use http_body_util::{BodyExt, Full};
use http_client::Target;
use hyper::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use hyper::{HeaderMap, Method, StatusCode};
use tokio::time::{Instant, timeout_at};
use url::Url;

use crate::address::{self, Hosts};
use crate::error::Error;
use crate::web::Resolve;

/// The most bytes of an answer, as it is sent and after its decompression.
pub(crate) const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The most addresses of a host that are tried.
const ADDRESSES_MAX: usize = 3;
/// The longest pause that a server can ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 3_600);
/// The most bytes of a header in a message.
const HEADER_BYTES_MAX: usize = 100;

/// What a request needs.
#[derive(Clone, Copy)]
pub(crate) struct Way<'a> {
    pub(crate) hosts: &'a Hosts,
    pub(crate) resolve: &'a Resolve,
    /// When the whole fetch ends.
    pub(crate) end: Instant,
}

/// The head and the body of an answer, which is not decoded yet.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    body: Bytes,
}

impl Way<'_> {
    /// Asks the host of a URL that was checked, at one of its addresses that are checked here.
    pub(crate) async fn ask(
        &self,
        url: &Url,
        accept: &'static str,
        bytes_max: usize,
    ) -> Result<Answer, Error> {
        let host = address::name(url);
        let unreachable = |why: String| Error::Unreachable { host: address::name(url), why };
        let late = |_| unreachable("no answer came in time".to_owned());
        let target = Target::new(url.as_str()).map_err(|error| unreachable(error.to_string()))?;
        // By name even where the host is an address: one road for all.
        let found = timeout_at(self.end, (self.resolve)(target.host().to_owned(), target.port())).await;
        let found =
            found.map_err(late)?.map_err(|error| unreachable(format!("the name is unknown: {error}")))?;
        let addresses = self.hosts.admit(url, found)?;
        let mut why = String::new();
        for address in addresses.into_iter().take(ADDRESSES_MAX) {
            let request =
                target.request(Method::GET, "").header(ACCEPT, accept).header(ACCEPT_ENCODING, "gzip");
            let request =
                request.body(Full::new(Bytes::new())).map_err(|error| unreachable(error.to_string()))?;
            match timeout_at(self.end, target.send_to(address, request)).await.map_err(late)? {
                Ok(exchange) => {
                    let read = timeout_at(self.end, read(exchange, &host, bytes_max)).await;
                    return read.map_err(late)?;
                }
                // A request that has arrived is not sent to another address.
                Err(error) if error.is_connected => return Err(unreachable(error.to_string())),
                Err(error) => why = error.to_string(),
            }
        }
        Err(unreachable(why))
    }
}

/// Reads an answer, and no more of it than the bound.
async fn read(mut exchange: http_client::Exchange, host: &str, bytes_max: usize) -> Result<Answer, Error> {
    let (status, headers) = (exchange.response.status(), exchange.response.headers().clone());
    let mut body = BytesMut::new();
    while let Some(frame) = exchange.response.body_mut().frame().await {
        let frame = frame.map_err(|error| {
            let why = format!("the connection broke: {}", bus_schemas::chain(&error));
            Error::Unreachable { host: host.to_owned(), why }
        })?;
        let Ok(data) = frame.into_data() else { continue };
        if body.len() + data.len() > bytes_max {
            return Err(too_large(host, bytes_max));
        }
        body.extend_from_slice(&data);
    }
    Ok(Answer { status, headers, body: body.freeze() })
}

fn too_large(host: &str, bytes_max: usize) -> Error {
    Error::Answer { host: host.to_owned(), why: format!("a body of more than {bytes_max} bytes") }
}

impl Answer {
    /// A header as text; empty without one.
    fn header(&self, name: hyper::header::HeaderName) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The media type without parameters, in small letters.
    pub(crate) fn media_type(&self) -> String {
        self.header(CONTENT_TYPE).split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
    }

    /// Where a redirect leads, checked like the first URL.
    pub(crate) fn redirect(&self, from: &Url, hosts: &Hosts) -> Option<Result<Url, Error>> {
        if !matches!(self.status.as_u16(), 301 | 302 | 303 | 307 | 308) {
            return None;
        }
        let to = self.header(LOCATION);
        Some(match from.join(to) {
            Ok(url) if !to.is_empty() => hosts.check(url.as_str()),
            _ => Err(Error::Url { url: address::shown(to), why: "a redirect leads nowhere" }),
        })
    }

    /// Refuses an answer that is none.
    pub(crate) fn expect_good(&self, host: &str) -> Result<(), Error> {
        let status = self.status.as_u16();
        if self.status.is_success() {
            return Ok(());
        }
        if matches!(status, 429 | 503) {
            let seconds = self.header(RETRY_AFTER).trim().parse().ok().map(Duration::from_secs);
            let retry_after = seconds.map(|pause| pause.min(RETRY_AFTER_MAX));
            return Err(Error::RateLimited { host: host.to_owned(), status, retry_after });
        }
        if self.status.is_server_error() {
            return Err(Error::Unreachable { host: host.to_owned(), why: format!("the status is {status}") });
        }
        Err(Error::Answer { host: host.to_owned(), why: format!("the status is {status}") })
    }

    /// The body after its decompression, and no more of it than the bound.
    pub(crate) fn body(&self, host: &str, bytes_max: usize) -> Result<Bytes, Error> {
        let refused = |why: String| Error::Answer { host: host.to_owned(), why };
        let coding = self.header(CONTENT_ENCODING).trim().to_ascii_lowercase();
        let mut reader: Box<dyn Read + '_> = match coding.as_str() {
            "" | "identity" => return Ok(self.body.clone()),
            "gzip" | "x-gzip" => Box::new(MultiGzDecoder::new(&self.body[..])),
            "deflate" => Box::new(ZlibDecoder::new(&self.body[..])),
            other => {
                return Err(refused(format!("the encoding is `{}`", text::cut(other, HEADER_BYTES_MAX))));
            }
        };
        let mut whole = Vec::new();
        // One byte more than the bound tells a body that is too large from one that just fits.
        let read = reader.by_ref().take(bytes_max as u64 + 1).read_to_end(&mut whole);
        read.map_err(|error| refused(format!("the body cannot be decompressed: {error}")))?;
        if whole.len() > bytes_max { Err(too_large(host, bytes_max)) } else { Ok(whole.into()) }
    }

    /// The body as text, by the encoding that a mark at its beginning, the header, or the page itself names.
    pub(crate) fn text(&self, body: &[u8]) -> String {
        let of_header = label(self.header(CONTENT_TYPE));
        // Where HTML names its encoding.
        let beginning = String::from_utf8_lossy(&body[..body.len().min(1_024)]);
        let label =
            of_header.or_else(|| self.media_type().ends_with("html").then(|| label(&beginning)).flatten());
        let encoding = label.and_then(|label| encoding_rs::Encoding::for_label(label.as_bytes()));
        encoding.unwrap_or(encoding_rs::UTF_8).decode(body).0.into_owned()
    }
}

/// The name behind `charset=`.
fn label(text: &str) -> Option<String> {
    let text = text.to_ascii_lowercase();
    let (_, rest) = text.split_once("charset")?;
    let rest = rest.trim_start().strip_prefix('=')?.trim_start().trim_start_matches(['"', '\'']);
    let end =
        rest.find(|letter: char| matches!(letter, '"' | '\'' | ';' | '>' | '/') || letter.is_whitespace());
    Some(rest[..end.unwrap_or(rest.len())].to_owned())
}
