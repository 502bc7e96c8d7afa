//! The events of one entity, read without a consumer: a partition may load thousands of entities per second.
//!
//! The last event comes from the stream's leader, so that a lagging replica cannot make an entity older than
//! it is; the others come in batches of direct gets.

use bus_schemas::envelope::header;
use bus_schemas::{EntityAddress, Hash, Revision};
use futures::TryStreamExt;

use crate::bus::Bus;
use crate::direct::Place;
use crate::error::Error;
use crate::events::{RawMessage, StoredEvent, decode};

/// The last event of an entity, described by its headers.
#[derive(Debug)]
pub struct LastEvent(RawMessage);

impl LastEvent {
    /// Its revision and hash; `None` if the headers lack them, which reading the event reports.
    pub fn place(&self) -> Option<(Revision, Hash)> {
        let text = |name: &str| self.0.headers.get(name).map(|value| value.as_str());
        let revision = text(header::REVISION)?.parse().ok()?;
        Some((Revision(revision), Hash::from_hex(text(header::HASH)?)?))
    }
}

impl Bus {
    /// An entity's events after `after`, up to the last one that exists now. `from` is a sequence of the
    /// event stream at or before the first of them; 0 if unknown.
    pub async fn history(
        &self,
        entity: &EntityAddress,
        after: Revision,
        from: u64,
    ) -> Result<Vec<StoredEvent>, Error> {
        match self.last_event(entity).await? {
            Some(last) => self.history_upto(entity, last, after, from).await,
            None => Ok(Vec::new()),
        }
    }

    /// Like [`Bus::history`], up to a known last event.
    pub async fn history_upto(
        &self,
        entity: &EntityAddress,
        last: LastEvent,
        after: Revision,
        from: u64,
    ) -> Result<Vec<StoredEvent>, Error> {
        let last = decode(self.clone(), last.0).await?;
        if last.event.revision <= after {
            return Ok(Vec::new());
        }
        if last.event.revision == after.next() {
            return Ok(vec![last]);
        }
        let mut events = Vec::new();
        let mut messages = self.read(self.place_of(entity), from, last.stream_sequence);
        while let Some(message) = messages.try_next().await? {
            let event = decode(self.clone(), message).await?;
            if event.event.revision > after {
                events.push(event);
            }
        }
        Ok(events)
    }

    /// An entity's last event; `None` if it has none.
    pub async fn last_event(&self, entity: &EntityAddress) -> Result<Option<LastEvent>, Error> {
        Ok(self.last_at(&self.place_of(entity)).await?.map(LastEvent))
    }

    fn place_of(&self, entity: &EntityAddress) -> Place {
        Place { stream: self.topology().events(), subject: self.subjects().event(entity) }
    }
}
