//! Streams as files: the server's own snapshots (`$JS.API.STREAM.SNAPSHOT`) and their way back
//! (`$JS.API.STREAM.RESTORE`), with sequences, times and headers kept.
//!
//! Chunks come to an inbox and each is acknowledged, so a slow disk slows the server down instead of
//! filling its memory; on the way back each chunk waits for the answer to the one before. Consumers
//! are not kept: those who read make them anew.

mod archive;
mod noted;
mod s2;

use std::io::{Read, Write};
use std::time::Duration;

use async_nats::jetstream::context::{DeleteStreamErrorKind, GetStreamErrorKind};
use async_nats::jetstream::object_store::DeleteErrorKind;
use async_nats::jetstream::{self, ErrorCode};
use bytes::Bytes;
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::bus::Bus;
use crate::error::Error;
use crate::patient::patiently;

/// How long the next chunk, or the answer to one, may take: the server reads or checks a large block
/// of its store first, on a disk that others use too.
const CHUNK_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the server may take to make a stream of what it was sent.
const FINISH_TIMEOUT: Duration = Duration::from_secs(600);
/// Bytes of a chunk on the way back: what the server itself uses.
const CHUNK_BYTES: usize = 128 * 1024;
/// `204`: the snapshot is complete.
const COMPLETE: u16 = 204;

/// How much a stream holds, as the server writes it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Messages.
    pub messages: u64,
    /// Bytes in the store.
    pub bytes: u64,
    /// The first sequence.
    #[serde(rename = "first_seq")]
    pub first_sequence: u64,
    /// The last sequence; the next message gets the one after it.
    #[serde(rename = "last_seq")]
    pub last_sequence: u64,
}

/// What a snapshot's file holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Held {
    /// How much.
    pub totals: Totals,
    /// Messages at the end that belong to an atomic batch whose last message is not there: the server
    /// takes a snapshot in the middle of one. A stream that is restored must end before them.
    pub unfinished: u64,
}

/// What a snapshot is of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The stream's settings, in the server's words.
    pub config: Value,
    /// What it held at that moment.
    #[serde(rename = "state")]
    pub totals: Totals,
}

/// An answer that may be a refusal.
fn accepted(doing: &str, payload: &[u8]) -> Result<Value, Error> {
    let answer: Value = serde_json::from_slice(payload).map_err(|error| Error::call(doing, error))?;
    match answer.get("error").map(jetstream::Error::deserialize) {
        None => Ok(answer),
        Some(Ok(error)) => Err(Error::answered(doing, &error)),
        Some(Err(error)) => Err(Error::call(doing, error)),
    }
}

/// Counts the messages in a snapshot's file and checks that it is whole.
pub fn count(from: impl Read) -> std::io::Result<Held> {
    archive::count(from)
}

impl Bus {
    /// Writes a stream as it is at this moment. `written` hears of every chunk's bytes.
    pub async fn snapshot_stream(
        &self,
        stream: &str,
        into: &mut (dyn Write + Send),
        mut written: impl FnMut(u64) + Send,
    ) -> Result<Snapshot, Error> {
        let doing = format!("taking a snapshot of stream `{stream}`");
        let failed = |reason: String| Error::call(doing.clone(), reason);
        let inbox = self.client().new_inbox();
        let chunks = self.client().subscribe(inbox.clone()).await;
        let mut chunks = chunks.map_err(|error| failed(error.to_string()))?;
        let wanted = json!({ "deliver_subject": inbox, "no_consumers": true, "jsck": true });
        let answer = self.api("STREAM.SNAPSHOT", stream, &wanted, CHUNK_TIMEOUT).await?;
        let snapshot = Snapshot::deserialize(&answer).map_err(|error| failed(error.to_string()))?;
        loop {
            let chunk = tokio::time::timeout(CHUNK_TIMEOUT, chunks.next()).await;
            let chunk = chunk.map_err(|_| failed("no chunk came".into()))?;
            let chunk = chunk.ok_or_else(|| failed("the connection closed".into()))?;
            if chunk.payload.is_empty() {
                let status = chunk.status.map(|status| status.as_u16());
                return match status {
                    None | Some(COMPLETE) => Ok(snapshot),
                    Some(status) => {
                        Err(failed(format!("status {status} {}", chunk.description.unwrap_or_default())))
                    }
                };
            }
            into.write_all(&chunk.payload).map_err(|error| failed(error.to_string()))?;
            written(chunk.payload.len() as u64);
            if let Some(reply) = chunk.reply {
                let acknowledged = self.client().publish(reply, Bytes::new()).await;
                acknowledged.map_err(|error| failed(error.to_string()))?;
            }
        }
    }

    /// Makes a stream of a snapshot's file, under the name in its settings. With `totals` it has no
    /// messages behind their last sequence, and goes on after it.
    pub async fn restore_stream(
        &self,
        snapshot: &Snapshot,
        totals: Option<Totals>,
        from: impl Read + Send,
        mut sent: impl FnMut(u64) + Send,
    ) -> Result<Totals, Error> {
        let stream = snapshot.config["name"].as_str().unwrap_or_default().to_owned();
        let doing = format!("restoring stream `{stream}`");
        let failed = |reason: String| Error::call(doing.clone(), reason);
        let wanted = Snapshot { config: snapshot.config.clone(), totals: totals.unwrap_or(snapshot.totals) };
        let wanted = serde_json::to_value(&wanted).expect("settings and four numbers");
        let answer = self.api("STREAM.RESTORE", &stream, &wanted, CHUNK_TIMEOUT).await?;
        let to = answer["deliver_subject"].as_str().unwrap_or_default().to_owned();
        let mut chunks = Chunks::new(from, totals).map_err(|error| failed(error.to_string()))?;
        while let Some(chunk) = chunks.next().map_err(|error| failed(error.to_string()))? {
            sent(chunk.len() as u64);
            let answer = self.request(&doing, to.clone(), chunk.into(), CHUNK_TIMEOUT).await?;
            if !answer.is_empty() {
                accepted(&doing, &answer)?;
            }
        }
        let answer = self.request(&doing, to, Bytes::new(), FINISH_TIMEOUT).await?;
        let made = accepted(&doing, &answer)?;
        Totals::deserialize(&made["state"]).map_err(|error| failed(error.to_string()))
    }

    /// How much a stream holds; none where there is no such stream. A stream that is being made has no
    /// leader yet, and is waited for.
    pub async fn totals(&self, stream: &str) -> Result<Option<Totals>, Error> {
        let doing = format!("looking for stream `{stream}`");
        patiently(&doing, Some(CHUNK_TIMEOUT), || async {
            match self.jetstream().get_stream(stream).await {
                Ok(handle) => {
                    let state = &handle.cached_info().state;
                    Ok(Some(Totals {
                        messages: state.messages,
                        bytes: state.bytes,
                        first_sequence: state.first_sequence,
                        last_sequence: state.last_sequence,
                    }))
                }
                Err(error) => match error.kind() {
                    GetStreamErrorKind::JetStream(answer)
                        if answer.error_code() == ErrorCode::STREAM_NOT_FOUND =>
                    {
                        Ok(None)
                    }
                    GetStreamErrorKind::JetStream(answer) => Err(Error::answered(&doing, &answer)),
                    _ => Err(Error::call(&doing, error)),
                },
            }
        })
        .await
    }

    /// Deletes a stream with everything in it.
    pub async fn delete_stream(&self, stream: &str) -> Result<(), Error> {
        let doing = format!("deleting stream `{stream}`");
        patiently(&doing, Some(CHUNK_TIMEOUT), || async {
            let deleted = self.jetstream().delete_stream(stream).await;
            deleted.map(drop).map_err(|error| match error.kind() {
                DeleteStreamErrorKind::JetStream(answer) => Error::answered(&doing, &answer),
                _ => Error::call(&doing, error),
            })
        })
        .await
    }

    /// Forgets what [`Bus::put_named`] kept; what is not there is no error.
    pub async fn delete_named(&self, name: &str) -> Result<(), Error> {
        let failed = |error: String| Error::call(format!("deleting object `{name}`"), error);
        let store = self.jetstream().get_object_store(self.topology().blobs()).await;
        match store.map_err(|error| failed(error.to_string()))?.delete(name).await {
            Err(error) if error.kind() != DeleteErrorKind::NotFound => Err(failed(error.to_string())),
            _ => Ok(()),
        }
    }

    /// A call that servers without a leader cannot answer: it is made again for as long as it may take.
    async fn api(&self, call: &str, stream: &str, wanted: &Value, wait: Duration) -> Result<Value, Error> {
        let doing = format!("calling `{call}` for stream `{stream}`");
        let subject = format!("$JS.API.{call}.{stream}");
        patiently(&doing, Some(wait), || async {
            let answer = self.request(&doing, subject.clone(), wanted.to_string().into(), wait).await?;
            accepted(&doing, &answer)
        })
        .await
    }

    async fn request(
        &self,
        doing: &str,
        subject: String,
        payload: Bytes,
        wait: Duration,
    ) -> Result<Bytes, Error> {
        let request = async_nats::Request::new().payload(payload).timeout(Some(wait));
        let answer = self.client().send_request(subject, request).await;
        answer.map(|message| message.payload).map_err(|error| Error::call(doing, error))
    }
}

/// A snapshot's file in pieces: as it is, or rewritten.
enum Chunks<R> {
    Plain(R),
    Rewritten { start: Vec<u8>, blocks: archive::Rewritten<R> },
}

impl<R: Read> Chunks<R> {
    fn new(from: R, totals: Option<Totals>) -> std::io::Result<Self> {
        match totals {
            None => Ok(Self::Plain(from)),
            Some(totals) => {
                let blocks = archive::Rewritten::new(from, totals)?;
                Ok(Self::Rewritten { start: archive::start(), blocks })
            }
        }
    }

    /// The next piece, at most [`CHUNK_BYTES`]; none behind the last.
    fn next(&mut self) -> std::io::Result<Option<Vec<u8>>> {
        match self {
            Self::Plain(from) => {
                let mut chunk = Vec::with_capacity(CHUNK_BYTES);
                from.by_ref().take(CHUNK_BYTES as u64).read_to_end(&mut chunk)?;
                Ok((!chunk.is_empty()).then_some(chunk))
            }
            Self::Rewritten { start, .. } if !start.is_empty() => Ok(Some(std::mem::take(start))),
            Self::Rewritten { blocks, .. } => blocks.next().transpose(),
        }
    }
}
