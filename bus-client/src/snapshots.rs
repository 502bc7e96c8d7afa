//! Snapshots: shortcuts for recovery. All of them can be deleted at any time.

use bytes::Bytes;

use crate::bus::Bus;
use crate::error::Error;

impl Bus {
    /// Writes a snapshot.
    pub async fn put_snapshot(&self, name: &str, bytes: Bytes) -> Result<(), Error> {
        let failed = |error: String| Error::call(format!("writing snapshot `{name}`"), error);
        let store = self.jetstream().get_key_value(self.topology().snapshots()).await;
        let store = store.map_err(|error| failed(error.to_string()))?;
        store.put(name, bytes).await.map(drop).map_err(|error| failed(error.to_string()))
    }
    /// Reads a snapshot.
    pub async fn get_snapshot(&self, name: &str) -> Result<Option<Bytes>, Error> {
        let bucket = self.topology().snapshots();
        let failed = |error: String| Error::call(format!("reading snapshot `{name}`"), error);
        let stream = self
            .jetstream()
            .get_stream_no_info(format!("KV_{bucket}"))
            .await
            .map_err(|error| failed(error.to_string()))?;
        match stream.direct_get_last_for_subject(format!("$KV.{bucket}.{name}")).await {
            Ok(message) if message.payload.is_empty() => Ok(None),
            Ok(message) => Ok(Some(message.payload)),
            Err(error) if error.kind() == async_nats::jetstream::stream::DirectGetErrorKind::NotFound => {
                Ok(None)
            }
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
