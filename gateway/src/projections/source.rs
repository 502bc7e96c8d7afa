//! The event stream as the follower reads it: events, marks, and unreadable messages.
//!
//! Marks are read with the events, because only then is the last applied sequence comparable with the
//! stream's last one: the lag is exact, and a reader knows whether more will come.

use bus_client::events::EventQuery;
use bus_client::{Bus, Error, StoredEvent};
use futures::{Stream, StreamExt};

/// One message of the stream.
#[derive(Debug)]
pub enum Item {
    /// An event.
    Event(Box<StoredEvent>),
    /// A mark: how far a partition's fan-out has come.
    Mark(u64),
    /// A message without an event's headers, or on a subject that names no entity.
    Unreadable(Unreadable),
}

/// A message that could not be applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// The message's sequence.
    pub sequence: u64,
    /// The message's subject.
    pub subject: String,
    /// The reason.
    pub reason: String,
}

impl Item {
    /// The message's sequence.
    pub fn sequence(&self) -> u64 {
        match self {
            Self::Event(event) => event.stream_sequence,
            Self::Mark(sequence) => *sequence,
            Self::Unreadable(unreadable) => unreadable.sequence,
        }
    }
}

/// Reads the stream from `from` on, without end. Errors are those of the connection.
pub async fn open(
    bus: &Bus,
    from: u64,
) -> Result<impl Stream<Item = Result<Item, Error>> + Send + Unpin + use<>, Error> {
    let subjects = vec![bus.subjects().events(None), bus.subjects().marks()];
    let marks = bus.subjects().marks().trim_end_matches('*').to_owned();
    let stored = bus.events(EventQuery { subjects, from }).await?;
    Ok(stored.map(move |event| match event {
        Ok(event) => Ok(Item::Event(Box::new(event))),
        Err(Error::Event { sequence, subject, .. }) if subject.starts_with(&marks) => {
            Ok(Item::Mark(sequence))
        }
        Err(Error::Event { sequence, subject, reason }) => {
            Ok(Item::Unreadable(Unreadable { sequence, subject, reason }))
        }
        Err(error) => Err(error),
    }))
}
