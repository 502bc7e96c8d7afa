//! The last event of each of many entities: lists the entities of a kind without reading their histories.

use crate::bus::Bus;
use crate::error::Error;
use crate::events::{StoredEvent, decode};

/// Entities whose last events are held in memory at once.
const ENTITIES_AT_ONCE: usize = 1_024;

impl Bus {
    /// The last event on each subject that the filter matches, in stream order.
    pub async fn latest_events(&self, subject: &str) -> Result<Vec<StoredEvent>, Error> {
        let mut latest = Vec::new();
        self.each_latest_event(subject, |stored| latest.push(stored)).await?;
        latest.sort_by_key(|stored| stored.stream_sequence);
        Ok(latest)
    }

    /// Calls a function with each of [`Bus::latest_events`], in no order: there may be more than fit into
    /// memory.
    pub async fn each_latest_event(
        &self,
        subject: &str,
        mut take: impl FnMut(StoredEvent),
    ) -> Result<(), Error> {
        let stream = self.topology().events();
        for some in self.subjects_of(&stream, subject).await?.chunks(ENTITIES_AT_ONCE) {
            for message in self.last_on(&stream, some).await? {
                take(decode(self.clone(), message).await?);
            }
        }
        Ok(())
    }
}
