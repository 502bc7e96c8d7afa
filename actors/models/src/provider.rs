//! A provider: where models are asked, in which format, and how long an answer may take.

use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use http_body_util::{BodyExt, Full, Limited};
use http_client::{Exchange, SendError, Target, UrlError};
use hyper::body::Incoming;
use hyper::header::{ACCEPT, CONTENT_TYPE};
use hyper::{HeaderMap, Method};
use serde_json::Value;
use tokio::time::{Instant, timeout, timeout_at};

use crate::call::{Call, Chunk, Completion, Embeddings};
use crate::fault::{Fault, Kind};
use crate::formats::Format;
use crate::frames::{Frames, Framing};
use crate::secret::Secret;

/// The most bytes that are read of an answer that is an error.
const ERROR_BYTES_MAX: usize = 16 * 1024;
/// The most bytes of an answer that comes as one body, and of the frames of a streamed one.
const BODY_BYTES_MAX: usize = 32 * 1024 * 1024;
/// The most texts of a request for embeddings.
const EMBEDDINGS_MAX: usize = 256;

/// Asks models. A dropped future closes its connection at once.
pub trait ModelProvider: Send + Sync {
    /// Asks a model for a whole answer; shows its pieces as they come.
    fn complete<'a>(
        &'a self,
        call: &'a Call,
        show: &'a mut (dyn FnMut(Chunk) + Send),
    ) -> BoxFuture<'a, Result<Completion, Fault>>;

    /// Asks a model for the vectors of texts, at most 256 of them.
    fn embed<'a>(&'a self, model: &'a str, texts: &'a [String]) -> BoxFuture<'a, Result<Embeddings, Fault>>;
}

/// How long an answer may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Until the head of the response, with the connection.
    pub head: Duration,
    /// Between two pieces of the response.
    pub idle: Duration,
    /// Until its end.
    pub whole: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { head: seconds(60), idle: seconds(60), whole: seconds(600) }
    }
}

/// A provider that is asked over HTTP. Its `Debug` shows no key.
#[derive(Debug)]
pub struct Provider {
    format: Format,
    target: Target,
    key: Option<Secret>,
    timeouts: Timeouts,
    is_streamed: bool,
}

impl Provider {
    /// A provider with the format's URL, or another one.
    pub fn new(format: Format, url: &str, key: Option<Secret>) -> Result<Self, UrlError> {
        // What a URL has beside its path would be lost or shown.
        if url.contains(['?', '#', '@']) {
            return Err(UrlError::Shape);
        }
        Ok(Self { format, target: Target::new(url)?, key, timeouts: Timeouts::default(), is_streamed: true })
    }

    /// With other timeouts.
    #[must_use]
    pub fn within(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// Asks for answers in one piece. A server that is slow is told from one that is stuck only by
    /// [`Timeouts::whole`] then.
    #[must_use]
    pub fn in_one_piece(mut self) -> Self {
        self.is_streamed = false;
        self
    }

    async fn ask(&self, path: &str, body: &Value) -> Result<Exchange, Fault> {
        let request = self.target.request(Method::POST, path);
        let request = request.header(CONTENT_TYPE, "application/json").header(ACCEPT, "*/*");
        let request = self.format.authorized(request, self.key.as_ref());
        let request = request.body(Full::new(Bytes::from(body.to_string())));
        let request =
            request.map_err(|error| Fault::new(Kind::InvalidCall, format!("the request: {error}")))?;
        let sent = timeout(self.timeouts.head, self.target.send(request)).await;
        let unreachable = |error: SendError| match error.is_connected {
            // The request may have arrived.
            true => Fault::new(Kind::Unavailable, error.to_string()),
            false => Fault { is_free: true, ..Fault::new(Kind::Unreachable, error.to_string()) },
        };
        let mut exchange = sent.map_err(|_| self.late("begin", self.timeouts.head))?.map_err(unreachable)?;
        let status = exchange.response.status();
        if status.is_success() {
            return Ok(exchange);
        }
        let words = Limited::new(exchange.response.body_mut(), ERROR_BYTES_MAX).collect();
        // What cannot be read in time is left out: the status says enough.
        let words = timeout(self.timeouts.idle, words).await.ok().and_then(Result::ok);
        let words = words.map(|words| words.to_bytes()).unwrap_or_default();
        Err(Fault::of_status(status.as_u16(), exchange.response.headers(), &words))
    }

    fn late(&self, what: &str, limit: Duration) -> Fault {
        let host = self.target.host();
        Fault::new(Kind::Timeout, format!("the answer of `{host}` did not {what} within {limit:?}"))
    }

    async fn piece(&self, body: &mut Incoming) -> Result<Option<Bytes>, Fault> {
        loop {
            let frame = timeout(self.timeouts.idle, body.frame()).await;
            let frame = frame.map_err(|_| self.late("continue", self.timeouts.idle))?;
            match frame {
                None => return Ok(None),
                Some(Err(error)) => {
                    let message = format!("the connection broke: {}", bus_schemas::chain(&error));
                    return Err(Fault::new(Kind::Unavailable, message));
                }
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    async fn body(&self, exchange: &mut Exchange) -> Result<Value, Fault> {
        expect_type(exchange.response.headers(), &["application/json"])?;
        let mut bytes = Vec::new();
        while let Some(piece) = self.piece(exchange.response.body_mut()).await? {
            if bytes.len() + piece.len() > BODY_BYTES_MAX {
                return Err(too_large());
            }
            bytes.extend_from_slice(&piece);
        }
        // A body of known length that ends early breaks the connection; one without a length may end anywhere.
        serde_json::from_slice(&bytes).map_err(|error| match error.is_eof() {
            true => Fault::new(Kind::Truncated, format!("the answer ended after {} bytes", bytes.len())),
            false => Fault::malformed(format!("the answer is no JSON: {error}")),
        })
    }

    async fn streamed(
        &self,
        exchange: &mut Exchange,
        show: &mut (dyn FnMut(Chunk) + Send),
    ) -> Result<Completion, Fault> {
        let framing = self.format.framing();
        let types: &[&str] = match framing {
            Framing::Events => &["text/event-stream"],
            Framing::Lines => &["application/x-ndjson", "application/json"],
        };
        expect_type(exchange.response.headers(), types)?;
        let (mut frames, mut reader) = (Frames::new(framing), self.format.reader());
        let mut bytes = 0;
        loop {
            let piece = match self.piece(exchange.response.body_mut()).await {
                Ok(Some(piece)) => piece,
                Ok(None) => return reader.finish(),
                // The tokens that were counted until here are paid for.
                Err(fault) => return Err(counted(fault, reader.finish())),
            };
            bytes += piece.len();
            if bytes > BODY_BYTES_MAX {
                return Err(counted(too_large(), reader.finish()));
            }
            let ready = match frames.push(&piece) {
                Ok(ready) => ready,
                Err(fault) => return Err(counted(fault, reader.finish())),
            };
            for frame in ready {
                if reader.read(&frame, show)? {
                    return reader.finish();
                }
            }
        }
    }

    async fn try_complete(
        &self,
        call: &Call,
        show: &mut (dyn FnMut(Chunk) + Send),
    ) -> Result<Completion, Fault> {
        let body = self.format.body(call, self.is_streamed);
        let mut exchange = self.ask(self.format.path(), &body).await?;
        let completion = if self.is_streamed {
            self.streamed(&mut exchange, show).await?
        } else {
            self.format.whole(&self.body(&mut exchange).await?)?
        };
        // The server of llama.cpp calls a response `completed` that ran into its bound.
        let is_cut = completion.usage.output >= u64::from(call.parameters.max_tokens);
        if is_cut && self.format == Format::Responses {
            let message = "the answer has as many tokens as its bound allows";
            return Err(Fault::new(Kind::OutputLimit, message).counted(completion.usage));
        }
        // A server that repeats the key must not spread it.
        let clean = |text: String| match &self.key {
            Some(key) => key.hide_in(&text),
            None => text,
        };
        Ok(Completion { text: clean(completion.text), model: clean(completion.model), ..completion })
    }

    async fn try_embed(&self, model: &str, texts: &[String]) -> Result<Embeddings, Fault> {
        if texts.is_empty() || texts.len() > EMBEDDINGS_MAX {
            let message =
                format!("a request for embeddings has 1 to {EMBEDDINGS_MAX} texts, not {}", texts.len());
            return Err(Fault::new(Kind::InvalidCall, message));
        }
        let Some((path, body)) = self.format.embedding(model, texts) else {
            return Err(Fault::new(Kind::InvalidCall, "this provider's format has no embeddings"));
        };
        let mut exchange = self.ask(path, &body).await?;
        let body = self.body(&mut exchange).await?;
        self.format.embeddings(&body, texts.len())
    }

    /// Bounds a request as a whole, and removes the key from what a fault says.
    async fn guarded<T>(&self, request: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        let end = Instant::now() + self.timeouts.whole;
        let outcome =
            timeout_at(end, request).await.unwrap_or_else(|_| Err(self.late("end", self.timeouts.whole)));
        outcome.map_err(|fault| fault.cleaned(self.key.as_ref()))
    }
}

impl ModelProvider for Provider {
    fn complete<'a>(
        &'a self,
        call: &'a Call,
        show: &'a mut (dyn FnMut(Chunk) + Send),
    ) -> BoxFuture<'a, Result<Completion, Fault>> {
        Box::pin(self.guarded(self.try_complete(call, show)))
    }

    fn embed<'a>(&'a self, model: &'a str, texts: &'a [String]) -> BoxFuture<'a, Result<Embeddings, Fault>> {
        Box::pin(self.guarded(self.try_embed(model, texts)))
    }
}

/// A fault with the tokens that an answer had counted before it broke off.
fn counted(fault: Fault, unfinished: Result<Completion, Fault>) -> Fault {
    match unfinished {
        Ok(completion) => fault.counted(completion.usage),
        Err(Fault { usage: Some(usage), .. }) => fault.counted(usage),
        Err(_) => fault,
    }
}

fn too_large() -> Fault {
    Fault::new(Kind::TooLarge, format!("the answer has more than {BODY_BYTES_MAX} bytes"))
}

/// Refuses another media type: a proxy's page is no answer.
fn expect_type(headers: &HeaderMap, types: &[&str]) -> Result<(), Fault> {
    let found = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media = found.split(';').next().unwrap_or_default().trim();
    if types.iter().any(|wanted| media.eq_ignore_ascii_case(wanted)) {
        return Ok(());
    }
    Err(Fault::malformed(format!("the answer is `{media}` and not `{}`", types[0])))
}
