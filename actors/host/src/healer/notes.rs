//! The healer's notes: kept until JetStream has them, in order, and bounded.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bus_client::{Ask, Bus, PublishError, Trouble, now};
use bus_schemas::commands::healer::{Act, Action, Command, QUARANTINE};
use bus_schemas::wire::WireCommand;
use bus_schemas::{Body, Caller, EntityAddress, Key, text};
use smol_str::SmolStr;
use tokio::sync::Notify;

use super::metric;

/// Notes that wait at most. A long outage of the bus must not fill the memory with the same complaint.
const WAITING_MAX: usize = 1_000;
/// The pause before a retry; the same command under the same id, so that it is stored once.
const PAUSE: Duration = Duration::from_secs(1);
/// How long the end of the process waits for the remaining notes.
const REST_PATIENCE: Duration = Duration::from_secs(2);
/// Bytes of a note's text: a paragraph. A panic may have more.
const TEXT_BYTES_MAX: usize = 4_000;

/// The waiting notes. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Notes {
    healer: EntityAddress,
    waiting: Arc<Mutex<VecDeque<Ask>>>,
    more: Arc<Notify>,
}

impl Notes {
    pub(crate) fn new(host: &Key) -> Self {
        let healer = EntityAddress::new(Command::KIND, host.clone());
        Self { healer, waiting: Arc::default(), more: Arc::default() }
    }

    /// Adds a note of an act or an observation.
    pub(crate) fn act<const N: usize>(
        &self,
        action: Action,
        subject: &str,
        reason: String,
        evidence: [(&'static str, String); N],
    ) {
        metrics::counter!(metric::ACTS, "action" => <&str>::from(action)).increment(1);
        tracing::info!(%action, subject, reason, "the healer acts");
        let evidence = evidence.into_iter().map(|(name, value)| (SmolStr::new_static(name), cut(&value)));
        let (subject, reason) = (cut(subject), cut(&reason));
        let act = Act { action, subject, reason, evidence: evidence.collect(), at: now() };
        self.push(self.healer.clone(), &Command::Note(act), Caller::SYSTEM.as_str());
    }

    /// Quarantines an entity. Several healers may do so: it takes effect once.
    pub(crate) fn quarantine<const N: usize>(
        &self,
        entity: EntityAddress,
        reason: String,
        evidence: [(&'static str, String); N],
    ) {
        metrics::counter!(metric::ACTS, "action" => <&str>::from(Action::Quarantine)).increment(1);
        tracing::error!(%entity, reason, "quarantining an entity");
        let evidence = evidence.into_iter().map(|(name, value)| (SmolStr::new_static(name), cut(&value)));
        let command = Command::Quarantine { entity, reason: cut(&reason), evidence: evidence.collect() };
        let key = Key::parse(QUARANTINE).expect("a constant");
        self.push(EntityAddress::new(Command::KIND, key), &command, self.healer.key.as_str());
    }

    fn push(&self, to: EntityAddress, command: &Command, caller: &str) {
        let ask = Ask::new(to, Body::json(command)).caller(caller);
        let mut waiting = self.lock();
        if waiting.len() >= WAITING_MAX {
            metrics::counter!(metric::NOTES_LOST).increment(1);
            tracing::error!("too many acts wait to be noted; the oldest is only in this log");
            waiting.pop_front();
        }
        waiting.push_back(ask);
        drop(waiting);
        self.more.notify_one();
    }

    /// Sends waiting notes, without end.
    pub(crate) async fn send_all(&self, bus: &Bus) {
        let mut trouble = Trouble::new("noting acts", PAUSE, PAUSE);
        loop {
            match self.send_waiting(bus).await {
                Ok(()) => {
                    trouble.over();
                    self.more.notified().await;
                }
                Err(error) => trouble.wait(&error).await,
            }
        }
    }

    /// Sends the remaining notes, for a bounded time.
    pub(crate) async fn send_rest(&self, bus: &Bus) {
        if !matches!(tokio::time::timeout(REST_PATIENCE, self.send_waiting(bus)).await, Ok(Ok(()))) {
            tracing::warn!(left = self.lock().len(), "acts are not noted: the bus does not take them");
        }
    }

    /// Sends notes until none waits.
    async fn send_waiting(&self, bus: &Bus) -> Result<(), PublishError> {
        loop {
            metrics::gauge!(metric::NOTES_WAITING).set(self.lock().len() as f64);
            let Some(first) = self.lock().front().cloned() else { return Ok(()) };
            bus.hand_over(&first).await?;
            let mut waiting = self.lock();
            // The oldest note may have been dropped in the meantime.
            if waiting.front().is_some_and(|front| front.id == first.id) {
                waiting.pop_front();
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Ask>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn cut(text: &str) -> String {
    text::cut(text, TEXT_BYTES_MAX)
}
