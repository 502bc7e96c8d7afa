//! Reads an inbox in order, also past messages that the client library cannot read.
//!
//! Whoever may hand over commands chooses their subjects and headers. The client library closes the connection on a
//! message whose subject or headers it cannot parse, and would get the same message again from a new consumer. So
//! after each lost connection the next messages are requested one by one as JSON, in which the server encodes
//! headers, and a consumer goes on after them. What cannot be read of a subject becomes U+FFFD, which no subject of
//! an entity has; a header line that cannot be read is left out.

use std::collections::VecDeque;
use std::str::FromStr;

use async_nats::jetstream::{self, ErrorCode};
use async_nats::{HeaderMap, HeaderName, HeaderValue};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::watch;

use crate::bus::Bus;
use crate::error::Error;
use crate::events::RawMessage;
use crate::following::following;
use crate::patient::patiently;

/// The most messages that are requested one by one: as many as a consumer has on their way.
const ONE_BY_ONE_MAX: usize = 500;
/// The bytes after which no more are requested one by one: a host reads the inboxes of all its partitions at once.
const ONE_BY_ONE_BYTES_MAX: usize = 4 << 20;

type Messages = BoxStream<'static, Result<RawMessage, Error>>;

/// An inbox that is being read.
struct Reading {
    bus: Bus,
    stream: String,
    /// The sequence of the next message.
    next: u64,
    connections: watch::Receiver<u64>,
    /// The consumer; `None` after a lost connection.
    messages: Option<Messages>,
    /// Messages that were requested one by one.
    requested: VecDeque<RawMessage>,
}

/// The messages of a stream from a sequence on, without end.
pub(super) async fn read(
    bus: &Bus,
    stream: String,
    next: u64,
) -> Result<impl Stream<Item = Result<RawMessage, Error>> + Send + use<>, Error> {
    let (bus, connections) = (bus.clone(), bus.connections());
    let messages = Some(following(&bus, &stream, Vec::new(), next).await?.boxed());
    let reading = Reading { bus, stream, next, connections, messages, requested: VecDeque::new() };
    Ok(futures::stream::try_unfold(reading, |mut reading| async move {
        let message = reading.next().await?;
        Ok(message.map(|message| (message, reading)))
    }))
}

impl Reading {
    /// The next message; `None` when the connection is closed for good.
    async fn next(&mut self) -> Result<Option<RawMessage>, Error> {
        let message = loop {
            if let Some(message) = self.requested.pop_front() {
                break message;
            }
            let Some(messages) = &mut self.messages else {
                self.messages = Some(follow(&self.bus, &self.stream, self.next).await?);
                continue;
            };
            tokio::select! {
                biased;
                Ok(()) = self.connections.changed() => {
                    self.messages = None;
                    self.requested = request(&self.bus, &self.stream, self.next).await?;
                }
                message = messages.next() => match message {
                    Some(message) => break message?,
                    None => return Ok(None),
                },
            }
        };
        self.next = message.sequence + 1;
        Ok(Some(message))
    }
}

async fn follow(bus: &Bus, stream: &str, next: u64) -> Result<Messages, Error> {
    let doing = format!("following stream `{stream}`");
    let follow = || async { Ok(following(bus, stream, Vec::new(), next).await?.boxed()) };
    patiently(&doing, None, follow).await
}

/// The messages that exist now, from a sequence on, requested one by one.
async fn request(bus: &Bus, stream: &str, mut next: u64) -> Result<VecDeque<RawMessage>, Error> {
    let doing = format!("reading stream `{stream}`");
    let (mut found, mut bytes) = (VecDeque::new(), 0);
    while found.len() < ONE_BY_ONE_MAX && bytes < ONE_BY_ONE_BYTES_MAX {
        let message = patiently(&doing, None, || request_one(bus, stream, &doing, next)).await?;
        let Some(message) = message else { break };
        (next, bytes) = (message.sequence + 1, bytes + message.payload.len());
        found.push_back(message);
    }
    Ok(found)
}

/// The first message from a sequence on; `None` if there is none.
async fn request_one(bus: &Bus, stream: &str, doing: &str, from: u64) -> Result<Option<RawMessage>, Error> {
    let subject = format!("$JS.API.STREAM.MSG.GET.{stream}");
    let wanted = json!({ "seq": from, "next_by_subj": ">" }).to_string();
    let answer = bus.request(doing, subject, wanted.into(), bus.timeout()).await?;
    let answer: Answer = serde_json::from_slice(&answer).map_err(|error| Error::call(doing, error))?;
    match (answer.message, answer.error) {
        (Some(message), _) => Ok(Some(message.read(stream))),
        (None, Some(error)) if error.error_code() == ErrorCode::NO_MESSAGE_FOUND => Ok(None),
        (None, Some(error)) => Err(Error::answered(doing, &error)),
        (None, None) => Err(Error::call(doing, "the answer has no message")),
    }
}

/// The server's answer.
#[derive(Debug, Deserialize)]
struct Answer {
    message: Option<Stored>,
    error: Option<jetstream::Error>,
}

/// A message as JSON; its headers and payload are in base64.
#[derive(Debug, Deserialize)]
struct Stored {
    subject: String,
    seq: u64,
    #[serde(default)]
    hdrs: String,
    #[serde(default)]
    data: String,
}

impl Stored {
    fn read(self, stream: &str) -> RawMessage {
        let bytes = |text: &str| STANDARD.decode(text).unwrap_or_default();
        let (headers, is_whole) = lenient(&bytes(&self.hdrs));
        if !is_whole {
            let sequence = self.seq;
            tracing::warn!(stream, sequence, "a command has headers that cannot be read; they are left out");
        }
        let payload = bytes(&self.data).into();
        RawMessage { subject: self.subject, sequence: self.seq, headers, payload }
    }
}

/// The headers that can be read, and whether these are all.
fn lenient(bytes: &[u8]) -> (HeaderMap, bool) {
    let (mut headers, mut is_whole) = (HeaderMap::new(), true);
    // The first line is the version.
    for line in bytes.split(|byte| *byte == b'\n').skip(1) {
        match std::str::from_utf8(line).ok().map(str::trim) {
            Some("") => {}
            line => match line.and_then(header) {
                Some((name, value)) => headers.append(name, value),
                None => is_whole = false,
            },
        }
    }
    (headers, is_whole)
}

fn header(line: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = line.split_once(':')?;
    Some((HeaderName::from_str(name).ok()?, HeaderValue::from_str(value.trim()).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_read_of_headers_is_read() {
        let of = |text: &[u8]| {
            let (headers, is_whole) = lenient(text);
            let id = headers.get("Orrery-Command-Id").map(|id| id.as_str().to_owned());
            (id.unwrap_or_default(), is_whole)
        };
        assert_eq!(of(b""), (String::new(), true));
        assert_eq!(of(b"NATS/1.0\r\nOrrery-Command-Id: one\r\n\r\n"), ("one".into(), true));
        for bad in [&b"Note: caf\xe9"[..], b"caf\xe9: x", b"no colon", b"two words: x", b"\xff"] {
            let lines = [b"NATS/1.0\r\n", bad, b"\r\nOrrery-Command-Id: one\r\n\r\n"].concat();
            assert_eq!(of(&lines), ("one".into(), false), "{bad:?}");
        }
        assert_eq!(of(b"no version\r\nOrrery-Command-Id: one"), ("one".into(), true));
    }
}
