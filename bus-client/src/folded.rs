//! The folded events of one kind in this process: read once, then followed.
//!
//! They arrive on two ways: as their owner publishes them, and from the stream itself, which may lag some
//! tens of milliseconds under load. The first way may miss events, the second does not.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bus_schemas::wire::{EventFold, WireEvent};
use bus_schemas::{Key, Revision, upcast};
use futures::{StreamExt, TryStreamExt};
use tokio::sync::watch;

use crate::events::{EventQuery, RawMessage, StoredEvent, decode};
use crate::{Bus, Error};

/// The pause before events are followed again after an error.
const PAUSE: Duration = Duration::from_millis(500);

/// The folded state. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Folded<F> {
    state: watch::Receiver<F>,
}

/// Keeps a [`Folded`] up to date.
#[derive(Debug, Clone)]
pub struct Follower<F> {
    bus: Bus,
    state: Arc<watch::Sender<F>>,
    next: u64,
    /// The known revision of each entity.
    known: HashMap<Key, Revision>,
}

impl<F> Folded<F> {
    /// Reads the state.
    pub fn read<T>(&self, look: impl FnOnce(&F) -> T) -> T {
        look(&self.state.borrow())
    }
    /// Waits until `look` returns a result; forever if the state is no longer followed.
    pub async fn until<T>(&self, mut look: impl FnMut(&F) -> Option<T>) -> T {
        let mut state = self.state.clone();
        loop {
            let found = look(&state.borrow_and_update());
            match found {
                Some(found) => return found,
                None if state.changed().await.is_ok() => {}
                None => std::future::pending().await,
            }
        }
    }
}

/// A state that another task keeps up to date.
impl<F> From<watch::Receiver<F>> for Folded<F> {
    fn from(state: watch::Receiver<F>) -> Self {
        Self { state }
    }
}

impl Bus {
    /// Reads and folds the events of a kind. The state stays up to date while the follower
    /// [runs](Follower::run).
    pub async fn follow<F: EventFold>(&self) -> Result<(Folded<F>, Follower<F>), Error> {
        let (state, receiver) = watch::channel(F::default());
        let mut follower =
            Follower { bus: self.clone(), state: Arc::new(state), next: 1, known: HashMap::new() };
        let mut events = self.events_until_now(query::<F>(self, 1)).await?;
        while let Some(event) = events.try_next().await? {
            follower.take(&event);
        }
        Ok((Folded { state: receiver }, follower))
    }
}

fn subject<F: EventFold>(bus: &Bus) -> String {
    bus.subjects().events(Some(&F::Event::KIND))
}

fn query<F: EventFold>(bus: &Bus, from: u64) -> EventQuery {
    EventQuery { subjects: vec![subject::<F>(bus)], from }
}

impl<F: EventFold> Follower<F> {
    /// Follows the events while it is polled.
    pub async fn run(mut self) -> Infallible {
        loop {
            if let Err(error) = self.follow().await {
                tracing::debug!(kind = %F::Event::KIND, %error, "following events; trying again");
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Follows the events until the connection fails.
    async fn follow(&mut self) -> Result<(), Error> {
        let subject = subject::<F>(&self.bus);
        let doing = format!("subscribing to `{subject}`");
        let sent = self.bus.client().subscribe(subject).await;
        let mut sent = sent.map_err(|error| Error::call(doing, error))?;
        let mut events = self.bus.events(query::<F>(&self.bus, self.next)).await?;
        loop {
            tokio::select! {
                event = events.next() => match event {
                    Some(event) => self.take(&event?),
                    None => return Ok(()),
                },
                Some(message) = sent.next() => {
                    let (subject, headers) = (message.subject.into_string(), message.headers.unwrap_or_default());
                    let raw = RawMessage { subject, sequence: 0, headers, payload: message.payload };
                    // An event that cannot be read here comes again with the stream.
                    if let Ok(event) = decode(self.bus.clone(), raw).await {
                        self.hear(&event);
                    }
                }
            }
        }
    }

    /// Folds an event on its way to the stream, if all events before it are known.
    fn hear(&mut self, stored: &StoredEvent) {
        let known = self.known.get(&stored.entity.key).copied().unwrap_or_default();
        if stored.event.revision == known.next() {
            self.apply(stored);
        }
    }

    fn take(&mut self, stored: &StoredEvent) {
        self.next = stored.stream_sequence + 1;
        let known = self.known.get(&stored.entity.key).copied().unwrap_or_default();
        if stored.event.revision > known {
            self.apply(stored);
        }
    }

    fn apply(&mut self, stored: &StoredEvent) {
        self.known.insert(stored.entity.key.clone(), stored.event.revision);
        let event = &stored.event;
        match upcast::read::<F::Event>(&event.event_type, event.schema, &event.body) {
            Ok(event) => self.state.send_modify(|state| state.apply(&stored.entity.key, &event)),
            Err(error) => {
                tracing::error!(entity = %stored.entity, %error, "this version cannot read an event");
            }
        }
    }
}
