//! The last event of each of many entities: who there is of a kind, without reading what they went through.

use crate::bus::Bus;
use crate::error::Error;
use crate::events::{StoredEvent, decode};

/// Entities whose last events are held at a time.
const ENTITIES_AT_ONCE: usize = 1_024;

impl Bus {
    /// The last event on each subject that the filter matches, in the order of the stream.
    pub async fn latest_events(&self, subject: &str) -> Result<Vec<StoredEvent>, Error> {
        let mut latest = Vec::new();
        self.each_latest_event(subject, |stored| latest.push(stored)).await?;
        latest.sort_by_key(|stored| stored.stream_sequence);
        Ok(latest)
    }

    /// Takes each of [`Bus::latest_events`] as it comes, in no order: there may be more than memory holds.
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
