//! Snapshots: shortcuts for recovery. All of them can be deleted at any time.
//!
//! The bucket takes atomic batches: the server syncs a batch once, so that hosts write the snapshots of
//! everything that leaves their memory beside the logs without asking the disk for each.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::stream::{Config, DirectGetErrorKind, DiscardPolicy, StorageType};
use bytes::Bytes;
use uuid::Uuid;

use crate::blobs::carried;
use crate::bus::Bus;
use crate::error::Error;
use crate::publish::{self, BatchMessage, PublishError};

/// The most snapshots in one batch: a quarter of what the server takes, so that one is written within
/// milliseconds.
pub const SNAPSHOTS_PER_BATCH_MAX: usize = 256;
/// How many earlier versions of a snapshot stay: none.
const HISTORY: i64 = 1;

/// The stream behind the bucket, as a key-value client makes it, and with batches.
pub(crate) fn config(bus: &Bus) -> Config {
    let bucket = bus.topology().snapshots();
    Config {
        name: format!("KV_{bucket}"),
        subjects: vec![format!("$KV.{bucket}.>")],
        description: Some("snapshots of entities".into()),
        storage: StorageType::File,
        num_replicas: bus.profile().replicas(),
        max_messages_per_subject: HISTORY,
        discard: DiscardPolicy::New,
        allow_rollup: true,
        deny_delete: true,
        allow_direct: true,
        allow_atomic_publish: true,
        duplicate_window: Duration::from_secs(bus_schemas::topology::DUPLICATE_WINDOW_SECONDS),
        ..Config::default()
    }
}

impl Bus {
    fn snapshot_subject(&self, name: &str) -> String {
        format!("$KV.{}.{name}", self.topology().snapshots())
    }

    /// Writes a snapshot; a large one beside the bucket, where a message would not hold it.
    pub async fn put_snapshot(&self, name: &str, bytes: Bytes) -> Result<(), Error> {
        let mut headers = HeaderMap::new();
        let payload = carried(&bytes, &mut headers);
        if payload.is_empty() {
            self.put_blob(&bytes).await?;
        }
        let put = publish::acked(self, self.snapshot_subject(name), headers, payload).await;
        put.map(drop).map_err(|error| Error::call(format!("writing snapshot `{name}`"), error))
    }

    /// Writes at most [`SNAPSHOTS_PER_BATCH_MAX`] snapshots, all or none of them. Each must be small enough
    /// for a message.
    pub async fn put_snapshots(&self, snapshots: Vec<(String, Bytes)>) -> Result<(), PublishError> {
        let (id, count) = (Uuid::now_v7().to_string(), snapshots.len());
        let messages = snapshots.into_iter().map(|(name, payload)| BatchMessage {
            subject: self.snapshot_subject(&name),
            headers: HeaderMap::new(),
            payload,
        });
        publish::batch(self, &id, count, messages).await.map(drop)
    }

    /// Reads a snapshot.
    pub async fn get_snapshot(&self, name: &str) -> Result<Option<Bytes>, Error> {
        let failed = |error: String| Error::call(format!("reading snapshot `{name}`"), error);
        let stream = self
            .jetstream()
            .get_stream_no_info(format!("KV_{}", self.topology().snapshots()))
            .await
            .map_err(|error| failed(error.to_string()))?;
        match stream.direct_get_last_for_subject(self.snapshot_subject(name)).await {
            // What was deleted leaves a message without content.
            Ok(message) => {
                let bytes = self.body(&message.headers, message.payload).await?;
                Ok(Some(bytes).filter(|bytes| !bytes.is_empty()))
            }
            Err(error) if error.kind() == DirectGetErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(error.to_string())),
        }
    }
    /// The names of all snapshots; one that was deleted may be among them.
    pub async fn snapshot_names(&self) -> Result<Vec<String>, Error> {
        let bucket = self.topology().snapshots();
        let prefix = format!("$KV.{bucket}.");
        let subjects = self.subjects_of(&format!("KV_{bucket}"), &format!("{prefix}>")).await?;
        Ok(subjects.iter().filter_map(|subject| subject.strip_prefix(&prefix)).map(str::to_owned).collect())
    }
    /// Deletes all snapshots.
    pub async fn drop_snapshots(&self) -> Result<(), Error> {
        let failed = |error: String| Error::call("deleting snapshots", error);
        let stream = self.jetstream().get_stream_no_info(format!("KV_{}", self.topology().snapshots())).await;
        let stream = stream.map_err(|error| failed(error.to_string()))?;
        stream.purge().await.map(drop).map_err(|error| failed(error.to_string()))
    }
}
