//! Snapshots: shortcuts for recovery. All of them can be deleted at any time.
//!
//! The bucket accepts atomic batches. The server syncs a batch once, so a host can write the snapshots of all
//! entities that leave its memory without a disk sync for each.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::stream::{Config, DirectGetErrorKind, DiscardPolicy, StorageType};
use bus_schemas::topology::Store;
use bytes::Bytes;
use uuid::Uuid;

use crate::blobs::carried;
use crate::bus::Bus;
use crate::error::Error;
use crate::publish::{self, BatchMessage, PublishError};

/// The most snapshots in one batch: a quarter of the server's limit, so that a batch is written within
/// milliseconds.
pub const SNAPSHOTS_PER_BATCH_MAX: usize = 256;
/// How many versions of a snapshot are kept: only the last.
const HISTORY: i64 = 1;

/// The stream of the bucket, as a key-value client creates it, but with batches.
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
        duplicate_window: Duration::from_millis(bus_schemas::topology::DUPLICATE_WINDOW_MS),
        ..Config::default()
    }
}

impl Bus {
    fn snapshot_subject(&self, name: &str) -> String {
        format!("$KV.{}.{name}", self.topology().snapshots())
    }

    /// Writes a snapshot; one that is too large for a message goes into the private store.
    pub async fn put_snapshot(&self, name: &str, bytes: Bytes) -> Result<(), Error> {
        let mut headers = HeaderMap::new();
        let payload = carried(&bytes, &mut headers);
        if payload.is_empty() {
            self.put_body(Store::Private, &bytes).await?;
        }
        let put = publish::acked(self, self.snapshot_subject(name), headers, payload).await;
        put.map(drop).map_err(|error| {
            let doing = format!("writing snapshot `{name}`");
            match error.is_final() {
                true => Error::Refused { doing, reason: error.to_string() },
                false => Error::call(doing, error),
            }
        })
    }

    /// Writes at most [`SNAPSHOTS_PER_BATCH_MAX`] snapshots, all or none. Each must be small enough for a
    /// message.
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
            // A deleted snapshot leaves a message without content.
            Ok(message) => {
                let bytes = self.body(Store::Private, &message.headers, message.payload).await?;
                Ok(Some(bytes).filter(|bytes| !bytes.is_empty()))
            }
            Err(error) if error.kind() == DirectGetErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(error.to_string())),
        }
    }
    /// The names of all snapshots, perhaps including deleted ones.
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
