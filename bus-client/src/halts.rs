//! What stands still, as far as this process knows: the events of `halt`, read once and followed.
//!
//! They are heard twice: as their owner sends them to the event stream, and from the stream itself, which may be
//! some tens of milliseconds behind under load. The first way may miss some and the second one does not.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bus_schemas::halts::Halts;
use bus_schemas::{Key, Kind, Revision};
use bus_schemas::{events::halt::Event, upcast};
use futures::{StreamExt, TryStreamExt};
use tokio::sync::watch;

use crate::events::{EventQuery, RawMessage, StoredEvent, decode};
use crate::{Bus, Error};

/// Before the events are followed again after an error.
const PAUSE: Duration = Duration::from_millis(500);

/// The halts that stand. Cheap to clone.
#[derive(Debug, Clone)]
pub struct HaltWatch {
    halts: watch::Receiver<Halts>,
}

/// Keeps a [`HaltWatch`] true.
#[derive(Debug, Clone)]
pub struct HaltFollower {
    bus: Bus,
    halts: Arc<watch::Sender<Halts>>,
    next: u64,
    /// How much of each halt is known.
    known: HashMap<Key, Revision>,
}

impl HaltWatch {
    /// Looks at them.
    pub fn read<T>(&self, look: impl FnOnce(&Halts) -> T) -> T {
        look(&self.halts.borrow())
    }
    /// Waits until `look` finds something in them; without end when they are no longer followed.
    pub async fn until<T>(&self, mut look: impl FnMut(&Halts) -> Option<T>) -> T {
        let mut halts = self.halts.clone();
        loop {
            let found = look(&halts.borrow_and_update());
            match found {
                Some(found) => return found,
                None if halts.changed().await.is_ok() => {}
                None => std::future::pending().await,
            }
        }
    }
    /// Halts that nobody changes: none.
    pub fn none() -> Self {
        Self { halts: watch::channel(Halts::default()).1 }
    }
}

/// Halts that somebody else keeps true.
impl From<watch::Receiver<Halts>> for HaltWatch {
    fn from(halts: watch::Receiver<Halts>) -> Self {
        Self { halts }
    }
}

impl Bus {
    /// Reads which halts stand. They stay true while the follower [runs](HaltFollower::run).
    pub async fn halts(&self) -> Result<(HaltWatch, HaltFollower), Error> {
        let (halts, receiver) = watch::channel(Halts::default());
        let mut follower =
            HaltFollower { bus: self.clone(), halts: Arc::new(halts), next: 1, known: HashMap::new() };
        let mut events = self.events_until_now(query(self, 1)).await?;
        while let Some(event) = events.try_next().await? {
            follower.take(event);
        }
        Ok((HaltWatch { halts: receiver }, follower))
    }
}

fn query(bus: &Bus, from: u64) -> EventQuery {
    EventQuery { subjects: vec![bus.subjects().events(Some(&Kind::from_static("halt")))], from }
}

impl HaltFollower {
    /// Follows for as long as it is polled.
    pub async fn run(mut self) -> Infallible {
        loop {
            if let Err(error) = self.follow().await {
                tracing::debug!(%error, "following halts; trying again");
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Follows until the connection fails.
    async fn follow(&mut self) -> Result<(), Error> {
        let subject = self.bus.subjects().events(Some(&Kind::from_static("halt")));
        let doing = format!("subscribing to `{subject}`");
        let sent = self.bus.client().subscribe(subject).await;
        let mut sent = sent.map_err(|error| Error::call(doing, error))?;
        let mut events = self.bus.events(query(&self.bus, self.next)).await?;
        loop {
            tokio::select! {
                event = events.next() => match event {
                    Some(event) => self.take(event?),
                    None => return Ok(()),
                },
                Some(message) = sent.next() => {
                    let (subject, headers) = (message.subject.into_string(), message.headers.unwrap_or_default());
                    let raw = RawMessage { subject, sequence: 0, headers, payload: message.payload };
                    // What can not be read here is met again in the stream.
                    if let Ok(event) = decode(self.bus.clone(), raw).await {
                        self.hear(&event);
                    }
                }
            }
        }
    }

    /// Takes in an event on its way to the stream, if all before it are known.
    fn hear(&mut self, stored: &StoredEvent) {
        let known = self.known.get(&stored.entity.key).copied().unwrap_or_default();
        if stored.event.revision == known.next() {
            self.apply(stored);
        }
    }

    fn take(&mut self, stored: StoredEvent) {
        self.next = stored.stream_sequence + 1;
        let known = self.known.get(&stored.entity.key).copied().unwrap_or_default();
        if stored.event.revision > known {
            self.apply(&stored);
        }
    }

    fn apply(&mut self, stored: &StoredEvent) {
        self.known.insert(stored.entity.key.clone(), stored.event.revision);
        let event = &stored.event;
        match upcast::read::<Event>(&event.event_type, event.schema, &event.body) {
            Ok(event) => self.halts.send_modify(|halts| halts.apply(&stored.entity.key, &event)),
            Err(error) => tracing::error!(%error, "a halt can not be read by this version"),
        }
    }
}
