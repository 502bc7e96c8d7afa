//! Output of agents, and dead letters with their payload.

use async_nats::HeaderMap;
use bus_schemas::Key;
use bus_schemas::envelope::header;
use bus_schemas::jobs::{INLINE_BYTES_MAX, OutputChunk};
use bus_schemas::topology::Store;
use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt};

use crate::blobs::carried;
use crate::bounded::{self, REASON_BYTES_MAX};
use crate::bus::Bus;
use crate::error::Error;
use crate::following::following;
use crate::publish::{self, PublishError};

impl Bus {
    /// Publishes a chunk of output. Output is not part of the log: a lost chunk is not sent again.
    pub async fn publish_output(&self, task: &Key, chunk: &OutputChunk) {
        let payload = serde_json::to_vec(chunk).expect("a chunk is plain data");
        if let Err(error) = self.client().publish(self.subjects().output(task), payload.into()).await {
            tracing::debug!(%error, "streaming output");
        }
    }

    /// The output of a task and of everything below it, without end. Chunks that cannot be read, or with more
    /// text than allowed, are left out.
    pub async fn output(
        &self,
        task: &Key,
    ) -> Result<impl Stream<Item = Result<(Key, OutputChunk), Error>> + Send + Unpin + use<>, Error> {
        let stream = self.topology().output();
        let messages = following(self, &stream, self.subjects().output_tree(task).to_vec(), 0).await?;
        let prefix = format!("{}.out.", self.subjects().prefix());
        Ok(messages
            .try_filter_map(move |message| {
                let key = message.subject.strip_prefix(&prefix).and_then(|key| Key::parse(key).ok());
                let chunk = serde_json::from_slice(&message.payload).ok();
                // Readers see a missing chunk as a gap in the numbers.
                let bounded = chunk.filter(|chunk: &OutputChunk| chunk.text.len() <= INLINE_BYTES_MAX);
                futures::future::ready(Ok(key.zip(bounded)))
            })
            .boxed())
    }

    /// Stores the payload of a dead letter. A repeat is no error.
    pub async fn publish_dead(
        &self,
        kind: &str,
        entry: &str,
        reason: &str,
        payload: Bytes,
    ) -> Result<(), PublishError> {
        self.ready().await;
        let mut headers = HeaderMap::new();
        headers.insert(async_nats::header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, "0");
        headers.insert(header::REASON, bounded::header(reason, REASON_BYTES_MAX));
        // With headers, a payload near the message limit would not fit; the journal has stored it already.
        let room = self.payload_bytes_max() / 2;
        let payload = if payload.len() > room { carried(&payload, &mut headers) } else { payload };
        match publish::acked(self, self.subjects().dead(kind, entry), headers, payload).await {
            Ok(_) | Err(PublishError::Conflict(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The payload of a dead letter.
    pub async fn dead_payload(&self, kind: &str, entry: &str) -> Result<Option<Bytes>, Error> {
        let failed = |error: String| Error::call(format!("reading dead letter `{entry}`"), error);
        let stream = self.topology().dead();
        let handle =
            self.jetstream().get_stream_no_info(&stream).await.map_err(|error| failed(error.to_string()))?;
        match handle.direct_get_last_for_subject(self.subjects().dead(kind, entry)).await {
            Ok(message) => self.body(Store::Private, &message.headers, message.payload).await.map(Some),
            Err(error) if error.kind() == async_nats::jetstream::stream::DirectGetErrorKind::NotFound => {
                Ok(None)
            }
            Err(error) => Err(failed(error.to_string())),
        }
    }
}
