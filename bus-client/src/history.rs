//! One entity's events, read without a consumer: a partition may load thousands of entities in a second.
//!
//! The last event comes from the stream's leader, so that a replica that lags can not make an entity
//! older than it is; the others come in batches of direct gets.

use bus_schemas::{EntityAddress, Revision};
use futures::TryStreamExt;

use crate::bus::Bus;
use crate::direct::Place;
use crate::error::Error;
use crate::events::{StoredEvent, decode};

impl Bus {
    /// An entity's events after `after`, up to the last one that exists now. `from` is a sequence of
    /// the event stream before which none of them stands; 0 where that is not known.
    pub async fn history(
        &self,
        entity: &EntityAddress,
        after: Revision,
        from: u64,
    ) -> Result<Vec<StoredEvent>, Error> {
        let place = Place { stream: self.topology().events(), subject: self.subjects().event(entity) };
        let Some(last) = self.last_at(&place).await? else { return Ok(Vec::new()) };
        let last = decode(self.clone(), last).await?;
        if last.event.revision <= after {
            return Ok(Vec::new());
        }
        if last.event.revision == after.next() {
            return Ok(vec![last]);
        }
        let mut events = Vec::new();
        let mut messages = self.read(place, from, last.stream_sequence);
        while let Some(message) = messages.try_next().await? {
            let event = decode(self.clone(), message).await?;
            if event.event.revision > after {
                events.push(event);
            }
        }
        Ok(events)
    }
}
