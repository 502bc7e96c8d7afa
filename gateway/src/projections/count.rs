//! Figures for metrics: the numbers of tasks, dead letters and workers in the views, and changes counted
//! while this process applies events.
//!
//! The views' figures are right also after a restart. Changes from before this process started are not
//! counted: a rebuilt read model applies all of them again.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::time::Duration;

use bus_client::events::Cursor;
use bus_client::{StoredEvent, now};
use bus_schemas::jobs::FailureClass;
use bus_schemas::wire::WireEvent;
use bus_schemas::{PartitionId, Timestamp, chain, events, upcast};
use tokio::time::{MissedTickBehavior, interval};

use super::Projections;
use super::read::Figures;
use crate::metric;

/// The interval of reading the views. Metrics are usually scraped every fifteen seconds.
const LOOK: Duration = Duration::from_secs(5);
/// The states of tasks that are not final.
const OPEN: [&str; 4] = ["submitted", "working", "input-required", "auth-required"];

/// The events of approvals.
const APPROVAL_CHANGES: [&str; 8] =
    ["requested", "approved", "rejected", "timed-out", "canceled", "used", "lapsed", "revoked"];

/// Counts changes.
#[derive(Debug)]
pub struct Counter {
    /// Events before this time are not counted.
    since: Timestamp,
    /// The last counted event of each partition: one that is applied again counts once.
    places: HashMap<PartitionId, Cursor>,
}

impl Counter {
    /// Counts from now on.
    pub fn new() -> Self {
        Self { since: now(), places: HashMap::new() }
    }

    /// Counts an event that is applied.
    pub fn event(&mut self, stored: &StoredEvent) {
        let former = self.places.get(&stored.cursor.partition);
        if former.is_some_and(|former| stored.cursor <= *former) {
            return;
        }
        self.places.insert(stored.cursor.partition, stored.cursor);
        let counts = match stored.entity.kind.as_str() {
            "task" => task,
            "dead-letter" => dead_letter,
            "agent" => agent,
            "approval" => approval,
            "change" => change,
            _ => return,
        };
        if Timestamp::parse_rfc3339(&stored.time).is_some_and(|at| at >= self.since) {
            counts(stored);
        }
    }
}

fn task(stored: &StoredEvent) {
    let ended = |state: &'static str| metrics::counter!(metric::TASKS_ENDED, "state" => state).increment(1);
    match stored.event.event_type.as_str() {
        "completed" => ended("completed"),
        "failed" => ended("failed"),
        "canceled" => ended("canceled"),
        "rejected" => ended("rejected"),
        "attempt-failed" => {
            let Some(events::task::Event::AttemptFailed { failure, .. }) = read(stored) else { return };
            let class = <&'static str>::from(failure.class);
            metrics::counter!(metric::ATTEMPTS_FAILED, "class" => class).increment(1);
        }
        "budget-exceeded" => metrics::counter!(metric::BUDGETS_EXCEEDED).increment(1),
        "backoff-started" => metrics::counter!(metric::RETRIES).increment(1),
        _ => {}
    }
}

fn dead_letter(stored: &StoredEvent) {
    let change = match stored.event.event_type.as_str() {
        "recorded" => "arrived",
        "redriven" => "redriven",
        "returned" => "returned",
        "dropped" => "dropped",
        _ => return,
    };
    metrics::counter!(metric::DEAD_LETTER_CHANGES, "change" => change).increment(1);
}

fn approval(stored: &StoredEvent) {
    let known = APPROVAL_CHANGES.into_iter().find(|name| stored.event.event_type == *name);
    if let Some(change) = known {
        metrics::counter!(metric::APPROVAL_CHANGES, "change" => change).increment(1);
    }
}

fn change(stored: &StoredEvent) {
    if let Some(event) = read::<events::change::Event>(stored) {
        metrics::counter!(metric::CHANGE_STEPS, "step" => <&'static str>::from(&event)).increment(1);
    }
}

fn agent(stored: &StoredEvent) {
    if stored.event.event_type == "worker-lost" {
        let agent = stored.entity.key.to_string();
        metrics::counter!(metric::WORKERS_LOST_TOTAL, "agent" => agent).increment(1);
    }
}

/// An event that this program knows; the store records the others.
fn read<E: WireEvent>(stored: &StoredEvent) -> Option<E> {
    let event = &stored.event;
    upcast::read(&event.event_type, event.schema, &event.body).ok()
}

/// Reads the views at intervals, without end.
pub async fn run(projections: Projections) -> Infallible {
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Classes that were seen once and are gone must be set to 0.
    let mut classes: BTreeMap<String, (u64, Option<Timestamp>)> = BTreeMap::new();
    announce();
    loop {
        ticks.tick().await;
        // While the past is applied again, the views show the past.
        if !projections.progress().caught_up {
            continue;
        }
        match projections.reader.figures().await {
            Ok(figures) => measure(figures, &mut classes),
            Err(error) => tracing::warn!(error = chain(&error), "counting what the read model holds"),
        }
        match projections.reader.all_agents().await {
            Ok(agents) => agents.iter().for_each(workers),
            Err(error) => tracing::warn!(error = chain(&error), "counting the workers"),
        }
    }
}

/// Exports counters before anything happens: a rate needs a value to rise from.
fn announce() {
    for change in ["arrived", "redriven", "returned", "dropped"] {
        metrics::counter!(metric::DEAD_LETTER_CHANGES, "change" => change).increment(0);
    }
    for change in APPROVAL_CHANGES {
        metrics::counter!(metric::APPROVAL_CHANGES, "change" => change).increment(0);
    }
    for state in ["completed", "failed", "canceled", "rejected"] {
        metrics::counter!(metric::TASKS_ENDED, "state" => state).increment(0);
    }
    use FailureClass::{Ambiguous, Budget, Canceled, Permanent, Poison, Transient};
    for class in [Transient, Permanent, Ambiguous, Budget, Canceled, Poison] {
        metrics::counter!(metric::ATTEMPTS_FAILED, "class" => <&'static str>::from(class)).increment(0);
    }
    metrics::counter!(metric::RETRIES).increment(0);
    metrics::counter!(metric::UNREADABLE).increment(0);
    metrics::counter!(metric::BUDGETS_EXCEEDED).increment(0);
}

fn measure(figures: Figures, classes: &mut BTreeMap<String, (u64, Option<Timestamp>)>) {
    let now = now();
    for state in OPEN {
        let found = figures.open_tasks.iter().find(|(name, ..)| name == state);
        let (count, oldest) = found.map_or((0, None), |(_, count, oldest)| (*count, Some(*oldest)));
        metrics::gauge!(metric::TASKS_OPEN, "state" => state).set(count as f64);
        metrics::gauge!(metric::TASK_STILL, "state" => state).set(seconds_since(oldest, now));
    }
    classes.values_mut().for_each(|figure| *figure = (0, None));
    for (class, count, oldest) in figures.waiting_letters {
        classes.insert(class, (count, Some(oldest)));
    }
    for (class, (count, _)) in &*classes {
        metrics::gauge!(metric::DEAD_LETTERS_WAITING, "class" => class.clone()).set(*count as f64);
    }
    let oldest = classes.values().filter_map(|(_, oldest)| *oldest).min();
    metrics::gauge!(metric::DEAD_LETTER_AGE).set(seconds_since(oldest, now));
    metrics::gauge!(metric::DEAD_LETTERS_REDRIVING).set(figures.redriving_letters as f64);
    let (waiting, oldest) = figures.waiting_approvals.unzip();
    metrics::gauge!(metric::APPROVALS_WAITING).set(waiting.unwrap_or(0) as f64);
    metrics::gauge!(metric::APPROVAL_AGE).set(seconds_since(oldest, now));
}

fn workers(agent: &gateway_api::agents::Agent) {
    let lost = agent.workers.iter().filter(|worker| worker.lost_at.is_some()).count();
    let name = || agent.name.to_string();
    metrics::gauge!(metric::WORKERS, "agent" => name()).set((agent.workers.len() - lost) as f64);
    metrics::gauge!(metric::WORKERS_LOST, "agent" => name()).set(lost as f64);
    metrics::counter!(metric::WORKERS_LOST_TOTAL, "agent" => name()).increment(0);
}

/// Seconds from a time until now; 0 when there is none, or when it is in the future.
fn seconds_since(at: Option<Timestamp>, now: Timestamp) -> f64 {
    at.map_or(0.0, |at| now.0.saturating_sub(at.0) as f64 / 1_000.0)
}
