//! The state of a breaker: its phase, the calls of its window, its permits and its lanes.

use std::collections::{BTreeMap, BTreeSet};

use bus_schemas::commands::breaker::{Phase, Policy};
use bus_schemas::events::breaker::{CloseCause, Event};
use bus_schemas::{Key, Timestamp};
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

/// A breaker. Without events it is closed, under the default policy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The policy.
    pub policy: Policy,
    /// The version of the settings of the policy; `None` for the default or a person's policy.
    #[serde(default)]
    pub version: Option<u64>,
    /// Whether the dependency may be called.
    pub phase: Phase,
    /// When this phase began; `None` if it was always closed.
    pub since: Option<Timestamp>,
    /// When the open phase ends; `None` if it was tripped, or is not open.
    pub until: Option<Timestamp>,
    /// The reason of this phase.
    pub reason: String,
    /// How many times it opened in succession.
    pub times: u32,
    /// When probes last closed it.
    pub mended_at: Option<Timestamp>,
    /// The calls of the window, oldest first.
    pub window: Vec<Bucket>,
    /// Failures in a row.
    pub consecutive_failed: u32,
    /// The message of the last failure.
    pub last_error: String,
    /// Successful probes in this half-open phase.
    pub probed: u32,
    /// The holders of probe permits, by permit.
    pub permits: BTreeMap<u64, SmolStr>,
    /// The number of the last permit.
    pub permits_given: u64,
    /// The lanes that are told of transitions.
    pub lanes: BTreeSet<Key>,
    /// Dead letters that the dependency caused and that were not tried, each with its time. While the breaker
    /// is closed, only those of the window.
    #[serde(default)]
    pub letters: BTreeMap<Key, Timestamp>,
    /// Whether it caused any since `ill_since`, tried or not.
    #[serde(default)]
    pub has_letters: bool,
    /// The start of the window in which it opened; `None` while it is closed. Failures since then may be its
    /// fault.
    #[serde(default)]
    pub ill_since: Option<Timestamp>,
}

/// The calls of one bucket of the window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    /// The bucket's number: the time divided by the length of a bucket.
    pub slot: u64,
    /// Its calls.
    pub counts: Counts,
}

/// Numbers of calls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// All calls.
    pub calls: u32,
    /// Failed calls.
    pub failed: u32,
    /// Slow calls, failed or not.
    pub slow: u32,
}

impl Counts {
    fn add(self, other: Self) -> Self {
        Self {
            calls: self.calls.saturating_add(other.calls),
            failed: self.failed.saturating_add(other.failed),
            slow: self.slow.saturating_add(other.slow),
        }
    }
}

impl State {
    /// The calls in the window at this time.
    pub fn counts(&self, now: Timestamp) -> Counts {
        let slot = self.slot(now);
        let counts = self.window.iter().filter(|bucket| self.counts_at(bucket.slot, slot));
        counts.fold(Counts::default(), |sum, bucket| sum.add(bucket.counts))
    }
    /// The permits of a worker, oldest first.
    pub fn permits_of<'a>(&'a self, reporter: &'a str) -> impl Iterator<Item = u64> + 'a {
        self.permits.iter().filter(move |(_, holder)| *holder == reporter).map(|(permit, _)| *permit)
    }
    /// Whether anything could serve as a probe while it is half-open.
    pub(super) fn has_to_try(&self) -> bool {
        !self.lanes.is_empty() || !self.letters.is_empty()
    }
    /// Whether a dead letter of this time belongs to the present failure of the dependency.
    pub(super) fn is_recent(&self, at: Timestamp, now: Timestamp) -> bool {
        self.phase != Phase::Closed || at.plus_ms(self.policy.window_ms) >= now
    }
    /// Begins a failure of the dependency: the failures in the window have opened the breaker.
    fn fall_ill(&mut self, at: Timestamp) {
        let window = Timestamp(at.0.saturating_sub(self.policy.window_ms));
        let since = self.since.map_or(window, |closed| closed.max(window));
        self.letters.retain(|_, noted| *noted >= since);
        (self.ill_since, self.has_letters) = (Some(since), !self.letters.is_empty());
    }
    fn slot(&self, at: Timestamp) -> u64 {
        // The checks of a policy ensure at least one bucket of at least some milliseconds.
        at.0 / (self.policy.window_ms / u64::from(self.policy.buckets.max(1))).max(1)
    }
    /// Whether a bucket counts. If the clock was set back, buckets in the future do not.
    fn counts_at(&self, slot: u64, now: u64) -> bool {
        slot <= now && now - slot < u64::from(self.policy.buckets)
    }
    fn count(&mut self, at: Timestamp, counts: Counts) {
        let slot = self.slot(at);
        let mut window = std::mem::take(&mut self.window);
        window.retain(|bucket| self.counts_at(bucket.slot, slot));
        match window.iter_mut().find(|bucket| bucket.slot == slot) {
            Some(bucket) => bucket.counts = bucket.counts.add(counts),
            None => window.push(Bucket { slot, counts }),
        }
        self.window = window;
    }
    fn enter(&mut self, phase: Phase, reason: &str, until: Option<Timestamp>, at: Timestamp) {
        self.phase = phase;
        self.since = Some(at);
        self.until = until;
        reason.clone_into(&mut self.reason);
        self.window.clear();
        self.consecutive_failed = 0;
        self.probed = 0;
        self.permits.clear();
    }
}

/// Applies an event.
pub(super) fn fold(state: &mut State, event: &Event) {
    match event {
        Event::Configured { policy, version, .. } => {
            state.version = *version;
            // Another version with the same policy keeps the counts.
            if state.policy != *policy {
                state.policy = policy.clone();
                state.window.clear();
                state.consecutive_failed = 0;
            }
        }
        Event::Reported { reporter, succeeded, failed, slow, consecutive_failed, last_error, at } => {
            let calls = succeeded.saturating_add(*failed);
            if *failed > 0 {
                last_error.clone_into(&mut state.last_error);
            }
            if state.phase == Phase::HalfOpen {
                state.probed = state.probed.saturating_add(*succeeded);
                let settled: Vec<u64> = state.permits_of(reporter).take(calls as usize).collect();
                settled.iter().for_each(|permit| drop(state.permits.remove(permit)));
                return;
            }
            state.consecutive_failed = match *succeeded {
                0 => state.consecutive_failed.saturating_add(*failed),
                _ => *consecutive_failed,
            };
            state.count(*at, Counts { calls, failed: *failed, slow: *slow });
        }
        Event::Watched { lane, .. } => drop(state.lanes.insert(lane.clone())),
        Event::Opened { reason, times, until, at, .. } => {
            if state.phase == Phase::Closed {
                state.fall_ill(*at);
            }
            state.times = *times;
            state.enter(Phase::Open, reason, *until, *at);
        }
        Event::HalfOpened { at, .. } => {
            let reason = std::mem::take(&mut state.reason);
            state.enter(Phase::HalfOpen, &reason, None, *at);
        }
        Event::ProbeGranted { reporter, permit, .. } => {
            state.permits.insert(*permit, reporter.clone());
            state.permits_given = *permit;
        }
        Event::ProbeExpired { permit, .. } => drop(state.permits.remove(permit)),
        Event::Closed { cause, reason, at, .. } => {
            state.mended_at = (*cause == CloseCause::Probed).then_some(*at);
            if *cause == CloseCause::Reset {
                state.times = 0;
            }
            state.enter(Phase::Closed, reason, None, *at);
            state.letters.clear();
            (state.ill_since, state.has_letters) = (None, false);
        }
        Event::LetterNoted { entry, at } => {
            let mut letters = std::mem::take(&mut state.letters);
            letters.retain(|_, noted| state.is_recent(*noted, *at));
            letters.insert(entry.clone(), *at);
            state.letters = letters;
            state.has_letters = state.phase != Phase::Closed;
        }
        Event::LettersTried { entries, .. } => {
            state.letters.retain(|letter, _| !entries.contains(letter));
        }
    }
}
