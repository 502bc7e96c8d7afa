//! Taking events out of the event stream, behind an archive that has them.

use bus_schemas::EntityAddress;

use crate::bus::Bus;
use crate::error::Error;

impl Bus {
    /// Deletes an entity's events before a place in the event stream, and says how many those were.
    /// Whoever loads the entity then needs a snapshot of it.
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
