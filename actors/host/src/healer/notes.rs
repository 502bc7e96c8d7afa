//! What the healer has to tell: kept until JetStream has it, in order, and bounded.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actors_runtime::partition::now;
use bus_client::{Ask, Bus, PublishError, Trouble};
use bus_schemas::commands::healer::{Act, Action, Command, QUARANTINE};
use bus_schemas::wire::WireCommand;
use bus_schemas::{Body, EntityAddress, Key};
use smol_str::SmolStr;
use tokio::sync::Notify;

use super::metric;

/// What waits at most. A bus that is away for long must not fill the memory with the same complaint.
const WAITING_MAX: usize = 1_000;
/// Before the bus is tried again; the same command under the same id, so that it is kept once.
const PAUSE: Duration = Duration::from_secs(1);
/// How long the end of the process waits for what is left.
const REST_PATIENCE: Duration = Duration::from_secs(2);
/// A note holds a paragraph; a panic may say more.
const TEXT_BYTES_MAX: usize = 4_000;

/// What waits to be told. Cheap to clone.
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

    /// Notes what was done or seen.
    pub(crate) fn act<const N: usize>(
        &self,
        action: Action,
        subject: &str,
        reason: String,
        evidence: [(&'static str, String); N],
    ) {
        metrics::counter!(metric::ACTS, "action" => <&str>::from(action)).increment(1);
        tracing::info!(%action, subject, reason, "the healer acts");
        let evidence = evidence.into_iter().map(|(name, value)| (SmolStr::new_static(name), cut(value)));
        let (subject, reason) = (cut(subject.to_owned()), cut(reason));
        let act = Act { action, subject, reason, evidence: evidence.collect(), at: now() };
        self.push(self.healer.clone(), &Command::Note(act));
    }

    /// Keeps an entity from commands. Several healers may say so: it happens once.
    pub(crate) fn quarantine<const N: usize>(
        &self,
        entity: EntityAddress,
        reason: String,
        evidence: [(&'static str, String); N],
    ) {
        metrics::counter!(metric::ACTS, "action" => <&str>::from(Action::Quarantine)).increment(1);
        tracing::error!(%entity, reason, "quarantining an entity");
        let evidence = evidence.into_iter().map(|(name, value)| (SmolStr::new_static(name), cut(value)));
        let (by, evidence) = (self.healer.to_string(), evidence.collect());
        let command = Command::Quarantine { entity, reason: cut(reason), by, evidence };
        let key = Key::parse(QUARANTINE).expect("a constant");
        self.push(EntityAddress::new(Command::KIND, key), &command);
    }

    fn push(&self, to: EntityAddress, command: &Command) {
        let ask = Ask::new(to, Body::json(command)).caller(self.healer.key.as_str());
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

    /// Hands over what waits, without end.
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

    /// Hands over what is left, for a moment.
    pub(crate) async fn send_rest(&self, bus: &Bus) {
        if !matches!(tokio::time::timeout(REST_PATIENCE, self.send_waiting(bus)).await, Ok(Ok(()))) {
            tracing::warn!(left = self.lock().len(), "acts are not noted: the bus does not take them");
        }
    }

    /// Hands over until nothing is left.
    async fn send_waiting(&self, bus: &Bus) -> Result<(), PublishError> {
        loop {
            metrics::gauge!(metric::NOTES_WAITING).set(self.lock().len() as f64);
            let Some(first) = self.lock().front().cloned() else { return Ok(()) };
            bus.hand_over(&first).await?;
            let mut waiting = self.lock();
            // The oldest may have made room in the meantime.
            if waiting.front().is_some_and(|front| front.id == first.id) {
                waiting.pop_front();
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Ask>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
    text
}
