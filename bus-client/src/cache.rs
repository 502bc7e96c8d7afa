//! What can be made again and is kept for a while: answers of models. Whoever finds nothing makes it.
//!
//! The bucket is bounded by age and by size; the oldest entries go first. Clients without a name on the embedded server
//! can neither read nor write it.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::stream::{Config, DirectGetErrorKind, DiscardPolicy, StorageType};
use bus_schemas::Hash;
use bytes::Bytes;

use crate::bus::Bus;
use crate::error::Error;
use crate::publish;

/// The longest that an entry is kept. Whoever reads it may have a lower bound.
pub const AGE_MAX: Duration = Duration::from_secs(30 * 86_400);
/// The most entries. A bound in bytes would be reserved at the server, which may have less.
const ENTRIES_MAX: i64 = 4_096;
/// The most bytes of an entry: with the bound above it makes 256 MiB at the most.
pub const ENTRY_BYTES_MAX: usize = 64 * 1024;

/// The stream of the bucket, as a key-value client creates it, but the oldest entries make room.
pub(crate) fn config(bus: &Bus) -> Config {
    let bucket = bus.topology().cache();
    Config {
        name: format!("KV_{bucket}"),
        subjects: vec![format!("$KV.{bucket}.>")],
        description: Some("what can be made again".into()),
        storage: StorageType::File,
        num_replicas: bus.profile().replicas(),
        max_messages_per_subject: 1,
        max_age: AGE_MAX,
        max_messages: ENTRIES_MAX,
        discard: DiscardPolicy::Old,
        allow_direct: true,
        ..Config::default()
    }
}

impl Bus {
    fn cache_subject(&self, key: Hash) -> String {
        format!("$KV.{}.{}", self.topology().cache(), key.to_hex())
    }

    /// The entry under a key, if there is one.
    pub async fn cached(&self, key: Hash) -> Result<Option<Bytes>, Error> {
        let failed = |error: String| Error::call("reading the cache", error);
        let stream = self.jetstream().get_stream_no_info(format!("KV_{}", self.topology().cache())).await;
        let stream = stream.map_err(|error| failed(error.to_string()))?;
        match stream.direct_get_last_for_subject(self.cache_subject(key)).await {
            Ok(message) => Ok(Some(message.payload)),
            Err(error) if error.kind() == DirectGetErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(error.to_string())),
        }
    }

    /// Keeps bytes under a key, instead of earlier ones.
    pub async fn cache(&self, key: Hash, bytes: Bytes) -> Result<(), Error> {
        if bytes.len() > ENTRY_BYTES_MAX {
            let reason = format!("the entry has {} bytes, at most {ENTRY_BYTES_MAX}", bytes.len());
            return Err(Error::Refused { doing: "writing the cache".into(), reason });
        }
        let put = publish::acked(self, self.cache_subject(key), HeaderMap::new(), bytes).await;
        put.map(drop).map_err(|error| Error::call("writing the cache", error))
    }
}
