//! The workers' side of circuit breakers: whether a dependency may be called is decided locally, without a
//! round trip, and the outcomes of calls are reported in groups.
//!
//! ```text
//! call ─→ permit ─→ closed: go on          ─→ outcome ─→ counted ─→ `report`, at most one a second
//!               ├→ half-open: `request-probe` ─→ outcome ─→ `report` at once
//!               └→ open: refused here
//! ```
//!
//! A breaker's decisions arrive as its events, and again with the reply to every report. A breaker that is
//! not closed is queried every few seconds, so that a lost event costs seconds only. A breaker whose state is
//! unknown does not stop work: it protects a dependency, it grants no permission.

mod local;
mod tell;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bus_client::Bus;
use bus_schemas::Key;
pub use bus_schemas::commands::breaker::BREAKER_OPEN;
use bus_schemas::commands::breaker::Phase;
use bus_schemas::jobs::FailureClass;
use smol_str::SmolStr;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::local::Local;
use crate::contract::Failure;

/// Calls refused locally because a breaker is open.
pub const REJECTED: &str = "orrery_breaker_rejected_calls_total";
/// Dependencies tracked at once. There may be many webhook hosts; those beyond this number are not guarded.
const DEPENDENCIES_MAX: usize = 1_000;
/// How long the first call of a dependency waits for its breaker's state.
const FIRST_LOOK: Duration = Duration::from_secs(2);

/// The breakers of one worker. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Breakers {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    bus: Bus,
    reporter: SmolStr,
    /// Whether every call is permitted and none is counted.
    is_inert: bool,
    known: Mutex<HashMap<Key, Local>>,
    /// Notified when there is something to report.
    counted: Notify,
}

/// The outcome of a call, as far as its dependency is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// The dependency did what was asked, or answered that it will not.
    Succeeded,
    /// The dependency failed, with this error.
    Failed(&'a str),
    /// The outcome is unknown, or the dependency was not called: the call does not count.
    Unknown,
}

impl<'a> Outcome<'a> {
    /// The outcome that a failure of this class stands for. A dependency that answers that it cannot do
    /// something works.
    pub fn of(class: Option<FailureClass>, message: &'a str) -> Self {
        match class {
            Some(FailureClass::Transient | FailureClass::Poison) => Self::Failed(message),
            None | Some(FailureClass::Permanent) => Self::Succeeded,
            Some(FailureClass::Ambiguous | FailureClass::Budget | FailureClass::Canceled) => Self::Unknown,
        }
    }
}

/// A permit for one call. Dropped without an outcome it counts for nothing.
#[derive(Debug)]
#[must_use = "say how the call went"]
pub struct Permit {
    breakers: Breakers,
    dependency: Key,
    /// The number of times the breaker had opened when the call began: an outcome counts only while this is
    /// current.
    generation: u64,
    begun: Instant,
}

/// A call that an open breaker refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{dependency}` is not called: {reason}")]
pub struct Rejected {
    /// The dependency.
    pub dependency: Key,
    /// Why its breaker is open.
    pub reason: String,
}

impl From<Rejected> for Failure {
    fn from(rejected: Rejected) -> Self {
        let hint = format!("`orrery breakers show {}` says since when and why", rejected.dependency);
        Failure::transient("breaker-open", rejected.to_string()).hint(hint).depends_on(&rejected.dependency)
    }
}

impl Permit {
    /// Records the outcome of the call.
    pub fn record(self, outcome: Outcome<'_>) {
        let Self { breakers, dependency, generation, begun } = &self;
        let took = begun.elapsed();
        let told = breakers.with(dependency, |local| local.count(*generation, outcome, took));
        if told.unwrap_or(false) {
            breakers.inner.counted.notify_one();
        }
    }
}

impl Breakers {
    /// The breakers of a worker; `reporter` is the worker's name. Events are heard and reports sent only by
    /// [`Self::run`].
    pub fn new(bus: Bus, reporter: impl Into<SmolStr>) -> Self {
        let (known, counted) = (Mutex::default(), Notify::new());
        Self { inner: Arc::new(Inner { bus, reporter: reporter.into(), is_inert: false, known, counted }) }
    }

    /// Breakers that permit every call and tell nobody: for a replay.
    pub(crate) fn inert(bus: Bus) -> Self {
        let (known, counted) = (Mutex::default(), Notify::new());
        let reporter = SmolStr::default();
        Self { inner: Arc::new(Inner { bus, reporter, is_inert: true, known, counted }) }
    }

    /// Listens for events and sends reports until `stop`; then sends what is left.
    pub async fn run(&self, stop: CancellationToken) {
        tell::run(self, stop).await;
    }

    /// Calls a dependency unless its breaker is open, and counts the outcome. A failure of class transient or
    /// poison counts against the dependency.
    pub async fn call<T, F>(&self, dependency: &str, call: impl FnOnce() -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let key = Key::parse(dependency).map_err(|error| {
            Failure::permanent("invalid-key", format!("`{dependency}` names no dependency: {error}"))
        })?;
        let permit = self.permit(&key).await?;
        let result = call().await;
        match &result {
            Ok(_) => permit.record(Outcome::Succeeded),
            Err(Failure::InputRequired { .. }) => permit.record(Outcome::Unknown),
            Err(failure) => permit.record(Outcome::of(failure.class(), &failure.to_string())),
        }
        result.map_err(|failure| match Outcome::of(failure.class(), "") {
            Outcome::Failed(_) => failure.depends_on(&key),
            Outcome::Succeeded | Outcome::Unknown => failure,
        })
    }

    /// A permit for one call. Asks the breaker only while it is half-open, and at the very first call.
    pub async fn permit(&self, dependency: &Key) -> Result<Permit, Rejected> {
        let permit = self.begin(dependency);
        if self.inner.is_inert {
            return Ok(permit);
        }
        if self.with(dependency, Local::is_first_asked).unwrap_or(false) {
            // A breaker that cannot be asked does not stop the call: it protects, it grants no permission.
            let _ = tokio::time::timeout(FIRST_LOOK, tell::look(self, dependency)).await;
        }
        let phase = self.with(dependency, |local| (local.phase(), local.generation()));
        match phase {
            None | Some((Phase::Closed, _)) => Ok(permit),
            Some((Phase::Open, _)) => Err(self.reject(dependency)),
            Some((Phase::HalfOpen, _)) => match tell::request_probe(self, dependency).await {
                true => Ok(self.begin(dependency)),
                false => Err(self.reject(dependency)),
            },
        }
    }

    /// Counts a call that begins whatever the breaker says: for work that was let through elsewhere.
    pub fn begin(&self, dependency: &Key) -> Permit {
        let mut known = self.lock();
        if !known.contains_key(dependency) && known.len() >= DEPENDENCIES_MAX {
            known.retain(|_, local| !local.is_idle());
        }
        let generation = match known.len() < DEPENDENCIES_MAX || known.contains_key(dependency) {
            true => known.entry(dependency.clone()).or_default().generation(),
            false => 0,
        };
        drop(known);
        Permit { breakers: self.clone(), dependency: dependency.clone(), generation, begun: Instant::now() }
    }

    /// Whether any of these breakers was not closed, as far as known. Queries those again.
    pub(crate) async fn look_at_open(&self, dependencies: &[Key]) -> bool {
        let open =
            |key: &&Key| self.with(key, |local| local.phase()).is_some_and(|phase| phase != Phase::Closed);
        let open: Vec<&Key> = dependencies.iter().filter(open).collect();
        for dependency in &open {
            tell::look(self, dependency).await;
        }
        !open.is_empty()
    }

    fn reject(&self, dependency: &Key) -> Rejected {
        metrics::counter!(REJECTED, "dependency" => dependency.to_string()).increment(1);
        let reason = self.with(dependency, |local| local.reason()).unwrap_or_default();
        Rejected { dependency: dependency.clone(), reason }
    }

    fn with<T>(&self, dependency: &Key, look: impl FnOnce(&mut Local) -> T) -> Option<T> {
        self.lock().get_mut(dependency).map(look)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Local>> {
        self.inner.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
