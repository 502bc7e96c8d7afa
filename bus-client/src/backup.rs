//! Streams as files: the server's snapshots (`$JS.API.STREAM.SNAPSHOT`) and their restore
//! (`$JS.API.STREAM.RESTORE`), with sequences, times and headers kept.
//!
//! Chunks come to an inbox and each is acknowledged, so that a slow disk slows the server down and does not
//! fill its memory. During a restore each chunk waits for the answer to the one before. Consumers are not
//! kept: readers create them again.
//!
//! A restore without an answer may have begun or completed, and its name is taken then. The caller has
//! checked that the name was free, so the stream is of a former try: it is removed and sent again from the
//! beginning.

mod archive;
mod noted;
mod s2;

use std::io::{Read, Seek, Write};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_nats::jetstream::context::{DeleteStreamErrorKind, GetStreamErrorKind};
use async_nats::jetstream::object_store::DeleteErrorKind;
use async_nats::jetstream::stream::Stream;
use async_nats::jetstream::{self, ErrorCode};
use bus_schemas::topology::Store;
use bytes::Bytes;
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::bus::Bus;
use crate::error::Error;
use crate::patient::patiently;

/// How long the next chunk, or the answer to one, may take: the server first reads or checks a large block of
/// its store, on a shared disk.
const CHUNK_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the server may take to build a stream from the chunks.
const FINISH_TIMEOUT: Duration = Duration::from_secs(600);
/// The size of a restored chunk in bytes, as the server's own.
const CHUNK_BYTES: usize = 128 * 1024;
/// How often a stream is sent: two servers may be lost on the way.
const TRIES_MAX: u32 = 3;
/// `204`: the snapshot is complete.
const COMPLETE: u16 = 204;

/// The extent of a stream, as the server reports it.
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

/// The content of a snapshot file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Held {
    /// The extent.
    pub totals: Totals,
    /// Messages at the end that belong to an incomplete atomic batch: the server may take a snapshot in the
    /// middle of one. A restored stream must end before them.
    pub unfinished: u64,
}

/// A snapshot's stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The stream's configuration, in the server's format.
    pub config: Value,
    /// The stream's extent at that moment.
    #[serde(rename = "state")]
    pub totals: Totals,
}

/// An answer that may be a refusal. A taken name is accepted if a `former` try may have taken it.
fn accepted(doing: &str, payload: &[u8], former: bool) -> Result<Value, Error> {
    let answer: Value = serde_json::from_slice(payload).map_err(|error| Error::call(doing, error))?;
    match answer.get("error").map(jetstream::Error::deserialize) {
        None => Ok(answer),
        Some(Ok(error)) if former && error.error_code() == ErrorCode::STREAM_NAME_EXIST_RESTORE_FAILED => {
            Err(Error::call(doing, error))
        }
        Some(Ok(error)) => Err(Error::answered(doing, &error)),
        Some(Err(error)) => Err(Error::call(doing, error)),
    }
}

/// Counts the messages in a snapshot file and checks that the file is complete.
pub fn count(from: impl Read) -> std::io::Result<Held> {
    archive::count(from)
}

impl Bus {
    /// Writes the current state of a stream to a file. `written` is called with the size of every chunk.
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

    /// Restores a stream from a snapshot file, under the name in its configuration, which must be free. With
    /// `totals` it has no messages after their last sequence, and continues after it. `sent` is called with
    /// the number of bytes sent, which falls when the file is sent again.
    pub async fn restore_stream(
        &self,
        snapshot: &Snapshot,
        totals: Option<Totals>,
        mut from: impl Read + Seek + Send,
        mut sent: impl FnMut(u64) + Send,
    ) -> Result<Totals, Error> {
        let stream = snapshot.config["name"].as_str().unwrap_or_default();
        let failed = |error: std::io::Error| Error::call(format!("restoring stream `{stream}`"), error);
        let (asked, mut tries) = (AtomicU32::new(0), 1);
        loop {
            let to = self.begin_restore(stream, snapshot, totals, &asked).await?;
            from.rewind().map_err(failed)?;
            let chunks = Chunks::new(&mut from, totals).map_err(failed)?;
            let former = asked.load(Ordering::Relaxed) > 1;
            match self.send_stream(stream, to, former, chunks, &mut sent).await {
                // The server that received it is gone, or no longer the leader: the file is sent to the next
                // one.
                Err(error) if error.is_temporary() && tries < TRIES_MAX => {
                    tracing::warn!(%error, "sending a stream once more");
                    tries += 1;
                }
                result => return result,
            }
        }
    }

    /// Asks for an upload subject. `asked` counts the requests: from the second on, a stream of that name is
    /// of a former try.
    async fn begin_restore(
        &self,
        stream: &str,
        snapshot: &Snapshot,
        totals: Option<Totals>,
        asked: &AtomicU32,
    ) -> Result<String, Error> {
        let doing = format!("restoring stream `{stream}`");
        let subject = format!("$JS.API.STREAM.RESTORE.{stream}");
        let wanted = Snapshot { config: snapshot.config.clone(), totals: totals.unwrap_or(snapshot.totals) };
        let wanted = Bytes::from(serde_json::to_vec(&wanted).expect("settings and four numbers"));
        let answer = patiently(&doing, Some(CHUNK_TIMEOUT), || async {
            let former = asked.fetch_add(1, Ordering::Relaxed) > 0;
            if former {
                self.delete_stream(stream).await?;
            }
            let answer = self.request(&doing, subject.clone(), wanted.clone(), CHUNK_TIMEOUT).await?;
            accepted(&doing, &answer, former)
        });
        let answer = answer.await?;
        Ok(answer["deliver_subject"].as_str().unwrap_or_default().to_owned())
    }

    async fn send_stream<R: Read + Send>(
        &self,
        stream: &str,
        to: String,
        former: bool,
        mut chunks: Chunks<R>,
        sent: &mut (impl FnMut(u64) + Send),
    ) -> Result<Totals, Error> {
        let doing = format!("restoring stream `{stream}`");
        let mut bytes = 0;
        while let Some(chunk) = chunks.next().map_err(|error| Error::call(&doing, error))? {
            bytes += chunk.len() as u64;
            sent(bytes);
            let answer = self.request(&doing, to.clone(), chunk.into(), CHUNK_TIMEOUT).await?;
            if !answer.is_empty() {
                accepted(&doing, &answer, former)?;
            }
        }
        let answer = self.request(&doing, to, Bytes::new(), FINISH_TIMEOUT).await?;
        let made = accepted(&doing, &answer, former)?;
        Totals::deserialize(&made["state"]).map_err(|error| Error::call(&doing, error))
    }

    /// The extent of a stream; `None` if it does not exist. A stream that is being created has no leader yet,
    /// and is waited for.
    pub async fn totals(&self, stream: &str) -> Result<Option<Totals>, Error> {
        let found = self.find_stream(stream).await?;
        Ok(found.map(|found| {
            let state = &found.cached_info().state;
            Totals {
                messages: state.messages,
                bytes: state.bytes,
                first_sequence: state.first_sequence,
                last_sequence: state.last_sequence,
            }
        }))
    }

    /// A stream; `None` if it does not exist.
    pub(crate) async fn find_stream(&self, stream: &str) -> Result<Option<Stream>, Error> {
        let doing = format!("looking for stream `{stream}`");
        patiently(&doing, Some(CHUNK_TIMEOUT), || async {
            self.jetstream().get_stream(stream).await.map(Some).or_else(|error| match error.kind() {
                GetStreamErrorKind::JetStream(answer) => match answer.error_code() {
                    ErrorCode::STREAM_NOT_FOUND => Ok(None),
                    _ => Err(Error::answered(&doing, &answer)),
                },
                _ => Err(Error::call(&doing, error)),
            })
        })
        .await
    }

    /// Deletes a stream with its content; a missing stream is no error.
    pub async fn delete_stream(&self, stream: &str) -> Result<(), Error> {
        let doing = format!("deleting stream `{stream}`");
        patiently(&doing, Some(CHUNK_TIMEOUT), || async {
            let deleted = self.jetstream().delete_stream(stream).await;
            deleted.map(drop).or_else(|error| match error.kind() {
                DeleteStreamErrorKind::JetStream(answer) => match answer.error_code() {
                    ErrorCode::STREAM_NOT_FOUND => Ok(()),
                    _ => Err(Error::answered(&doing, &answer)),
                },
                _ => Err(Error::call(&doing, error)),
            })
        })
        .await
    }

    /// Deletes an object of [`Bus::put_named`]; a missing object is no error.
    pub async fn delete_named(&self, name: &str) -> Result<(), Error> {
        let failed = |error: String| Error::call(format!("deleting object `{name}`"), error);
        match self.object_store(Store::Private).await?.delete(name).await {
            Err(error) if error.kind() != DeleteErrorKind::NotFound => Err(failed(error.to_string())),
            _ => Ok(()),
        }
    }

    /// An API call that is repeated while the servers have no leader, for as long as a call may take.
    async fn api(&self, call: &str, stream: &str, wanted: &Value, wait: Duration) -> Result<Value, Error> {
        let doing = format!("calling `{call}` for stream `{stream}`");
        let subject = format!("$JS.API.{call}.{stream}");
        patiently(&doing, Some(wait), || async {
            let answer = self.request(&doing, subject.clone(), wanted.to_string().into(), wait).await?;
            accepted(&doing, &answer, false)
        })
        .await
    }

    pub(crate) async fn request(
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

/// The chunks of a snapshot file: unchanged, or rewritten.
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

    /// The next chunk, at most [`CHUNK_BYTES`]; `None` at the end.
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
