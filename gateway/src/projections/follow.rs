//! The follower: reads the event stream in order, and has the store apply it burst by burst.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bus_client::Bus;
use bus_schemas::chain;
use futures::StreamExt;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::count::Counter;
use super::source::{self, Item};
use super::store::Store;
use super::{Error, Progress};
use crate::metric;

/// Messages in one transaction: enough to share the cost of SQLite's commit, and few enough that a client soon
/// reads its own writes.
const BURST_MESSAGES_MAX: usize = 1_000;
/// The interval of reading the stream's end, for the lag and to notice a replaced stream.
const MEASURE_INTERVAL: Duration = Duration::from_secs(1);
/// The pause before the stream is opened again after an error.
const REOPEN_PAUSE: Duration = Duration::from_millis(500);

/// Why following ended; it is retried after a pause.
#[derive(Debug, thiserror::Error)]
enum Interrupted {
    #[error("the event stream ended")]
    Ended,
    #[error("the event stream is another one, or was written anew; the read model is rebuilt")]
    Another,
    #[error("reading the event stream")]
    Bus(#[source] bus_client::Error),
    #[error("applying events")]
    Store(#[source] Error),
}

/// The writer of the read model.
pub struct Follower {
    bus: Bus,
    store: Arc<Mutex<Store>>,
    counter: Mutex<Counter>,
    progress: watch::Sender<Progress>,
}

impl Follower {
    pub fn new(bus: Bus, store: Store, progress: watch::Sender<Progress>) -> Self {
        Self { bus, store: Arc::new(Mutex::new(store)), counter: Mutex::new(Counter::new()), progress }
    }

    /// Follows the stream until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            match self.follow(&stop).await {
                Ok(()) => break,
                Err(Interrupted::Another) => {
                    tracing::warn!(cause = %Interrupted::Another, "rebuilding the read model");
                    if let Err(error) = self.with_store(Store::reset).await {
                        tracing::error!(error = chain(&error), "emptying the read model");
                    }
                    self.progress.send_modify(|progress| (progress.applied, progress.caught_up) = (0, false));
                    continue;
                }
                Err(error) => tracing::warn!(error = chain(&error), "following the event stream"),
            }
            self.progress.send_modify(|progress| progress.connected = false);
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(REOPEN_PAUSE) => {}
            }
        }
        let closed = self.with_store(|store| {
            store.close();
            Ok(())
        });
        if let Err(error) = closed.await {
            tracing::warn!(error = chain(&error), "closing the read model");
        }
    }

    async fn follow(&self, stop: &CancellationToken) -> Result<(), Interrupted> {
        let place = self.with_store(|store| Ok(store.place().clone())).await.map_err(Interrupted::Store)?;
        self.measure(place.sequence).await?;
        let mut items = source::open(&self.bus, place.event_sequence)
            .await
            .map_err(Interrupted::Bus)?
            .ready_chunks(BURST_MESSAGES_MAX);
        // Reading begins with the last applied event: it must still be the same.
        let mut expected = (place.event_sequence > 0).then_some((place.event_sequence, place.event_hash));
        let mut applied = place.sequence;
        let mut ticks = tokio::time::interval(MEASURE_INTERVAL);
        loop {
            let burst = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = ticks.tick() => {
                    self.measure(applied).await?;
                    continue;
                }
                burst = items.next() => burst.ok_or(Interrupted::Ended)?,
            };
            let (burst, failed) = split(burst);
            if let (Some((sequence, hash)), Some(first)) = (&expected, burst.first()) {
                let same = matches!(first, Item::Event(event)
                    if event.stream_sequence == *sequence && event.event.hash.to_hex() == *hash);
                if !same {
                    return Err(Interrupted::Another);
                }
                expected = None;
            }
            applied = applied.max(self.apply(burst).await?);
            if let Some(error) = failed {
                return Err(Interrupted::Bus(error));
            }
        }
    }

    /// Applies a burst and wakes those that wait for it.
    async fn apply(&self, burst: Vec<Item>) -> Result<u64, Interrupted> {
        let events = self.count(&burst);
        let applied = self
            .with_store(move |store| store.apply(&burst).map(|()| store.place().sequence))
            .await
            .map_err(Interrupted::Store)?;
        metrics::counter!(metric::APPLIED).increment(events);
        self.progress.send_modify(|progress| {
            progress.applied = applied;
            progress.target = progress.target.max(applied);
            progress.caught_up |= progress.connected && progress.lag() == 0;
        });
        Ok(applied)
    }

    /// Counts the changes of a burst. Returns the number of its events.
    fn count(&self, burst: &[Item]) -> u64 {
        let mut counter = self.counter.lock().unwrap_or_else(PoisonError::into_inner);
        let mut events = 0;
        for item in burst {
            if let Item::Event(event) = item {
                counter.event(event);
                events += 1;
            }
        }
        events
    }

    /// Reads the stream's end. A stream that ends before what was applied is another stream.
    async fn measure(&self, applied: u64) -> Result<(), Interrupted> {
        let state = self.bus.events_state().await.map_err(Interrupted::Bus)?;
        if state.last_sequence < applied {
            return Err(Interrupted::Another);
        }
        self.progress.send_modify(|progress| {
            progress.target = state.last_sequence;
            progress.connected = true;
            progress.caught_up |= progress.lag() == 0;
        });
        metrics::gauge!(metric::LAG).set((state.last_sequence - applied) as f64);
        Ok(())
    }

    /// Runs work on the file on a thread that may block.
    async fn with_store<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Store) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let store = self.store.clone();
        // A panic in a transaction rolls it back: the store is as before.
        tokio::task::spawn_blocking(move || work(&mut store.lock().unwrap_or_else(PoisonError::into_inner)))
            .await
            .map_err(|error| Error::Thread(error.to_string()))?
    }
}

/// The items before the first connection error, and the error.
fn split(burst: Vec<Result<Item, bus_client::Error>>) -> (Vec<Item>, Option<bus_client::Error>) {
    let mut items = Vec::with_capacity(burst.len());
    for item in burst {
        match item {
            Ok(item) => items.push(item),
            Err(error) => return (items, Some(error)),
        }
    }
    (items, None)
}
