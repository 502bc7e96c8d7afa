//! What stands still, as far as this process knows: the events of `halt`, read once and followed.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bus_schemas::Kind;
use bus_schemas::halts::Halts;
use bus_schemas::{events::halt::Event, upcast};
use futures::{StreamExt, TryStreamExt};
use tokio::sync::watch;

use crate::events::EventQuery;
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
        let mut follower = HaltFollower { bus: self.clone(), halts: Arc::new(halts), next: 1 };
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
            match self.bus.events(query(&self.bus, self.next)).await {
                Err(error) => tracing::debug!(%error, "following halts; trying again"),
                Ok(mut events) => {
                    while let Some(event) = events.next().await {
                        match event {
                            Ok(event) => self.take(event),
                            Err(error) => {
                                tracing::debug!(%error, "following halts; trying again");
                                break;
                            }
                        }
                    }
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn take(&mut self, stored: crate::events::StoredEvent) {
        self.next = stored.stream_sequence + 1;
        let event = &stored.event;
        match upcast::read::<Event>(&event.event_type, event.schema, &event.body) {
            Ok(event) => self.halts.send_modify(|halts| halts.apply(&stored.entity.key, &event)),
            Err(error) => tracing::error!(%error, "a halt can not be read by this version"),
        }
    }
}
