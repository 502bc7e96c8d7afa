//! The time of the last backup, kept beside the fixed settings so that every host knows its age.

use bus_schemas::Timestamp;

use crate::bus::Bus;
use crate::error::Error;

/// The key in the bucket of settings.
const KEY: &str = "last-backup";

impl Bus {
    /// Notes a complete backup that began at `began_at`.
    pub async fn note_backup(&self, began_at: Timestamp) -> Result<(), Error> {
        let failed = |error: String| Error::call("noting a backup", error);
        let store = self.jetstream().get_key_value(self.topology().settings()).await;
        let store = store.map_err(|error| failed(error.to_string()))?;
        let noted = store.put(KEY, began_at.to_rfc3339().into()).await;
        noted.map(drop).map_err(|error| failed(error.to_string()))
    }
    /// When the last complete backup began; `None` before the first.
    pub async fn last_backup(&self) -> Result<Option<Timestamp>, Error> {
        let failed = |error: String| Error::call("reading when the last backup was taken", error);
        let store = self.jetstream().get_key_value(self.topology().settings()).await;
        let store = store.map_err(|error| failed(error.to_string()))?;
        let noted = store.get(KEY).await.map_err(|error| failed(error.to_string()))?;
        Ok(noted.and_then(|bytes| Timestamp::parse_rfc3339(std::str::from_utf8(&bytes).ok()?)))
    }
}
