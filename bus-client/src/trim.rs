//! Deletes events from the event stream after they were archived.

use bus_schemas::EntityAddress;

use crate::bus::Bus;
use crate::error::Error;

impl Bus {
    /// Deletes an entity's events before a sequence of the event stream, and returns their number. Loading
    /// the entity then requires a snapshot.
    pub async fn trim_events(&self, entity: &EntityAddress, before: u64) -> Result<u64, Error> {
        let name = self.topology().events();
        let failed =
            |error: String| Error::call(format!("taking events of `{entity}` out of `{name}`"), error);
        let stream = self.jetstream().get_stream_no_info(&name).await;
        let stream = stream.map_err(|error| failed(error.to_string()))?;
        let purged = stream.purge().filter(self.subjects().event(entity)).sequence(before).await;
        purged.map(|purged| purged.purged).map_err(|error| failed(error.to_string()))
    }
}
