//! What a breaker remembers: its phase, the calls of its window, its permits and its lanes.

use std::collections::{BTreeMap, BTreeSet};

use bus_schemas::commands::breaker::{Phase, Policy};
use bus_schemas::events::breaker::{CloseCause, Event};
use bus_schemas::{Key, Timestamp};
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

/// A breaker. One of which nothing was heard is closed, under the default policy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// When it opens, for how long, and what closes it.
    pub policy: Policy,
    /// The version of the settings that the policy is of; none where it is the default or a person's.
    #[serde(default)]
    pub version: Option<u64>,
    /// Whether it may be called.
    pub phase: Phase,
    /// Since when; none when it was always closed.
    pub since: Option<Timestamp>,
    /// Until when it is open; none for one that was tripped, and unless it is open.
    pub until: Option<Timestamp>,
    /// Why it is so.
    pub reason: String,
    /// How many times it opened in succession.
    pub times: u32,
    /// When probes closed it last.
    pub mended_at: Option<Timestamp>,
    /// The calls of the window, oldest first.
    pub window: Vec<Bucket>,
    /// How many calls failed one after the other.
    pub consecutive_failed: u32,
    /// What the last failure said.
    pub last_error: String,
    /// Probes that succeeded since it is half-open.
    pub probed: u32,
    /// Who may try one call, by permit.
    pub permits: BTreeMap<u64, SmolStr>,
    /// The last permit that was given.
    pub permits_given: u64,
    /// The lanes that hear of it.
    pub lanes: BTreeSet<Key>,
    /// Dead letters that it caused and that were not tried, and when each was heard of. While it is
    /// closed those of the window.
    #[serde(default)]
    pub letters: BTreeMap<Key, Timestamp>,
    /// Whether it caused any since `ill_since`, whatever became of them.
    #[serde(default)]
    pub has_letters: bool,
    /// A window before it opened; none while it is closed. What failed since then may have failed by it.
    #[serde(default)]
    pub ill_since: Option<Timestamp>,
}

/// The calls of one part of the window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    /// Which part: the time divided by the length of a part.
    pub slot: u64,
    /// Its calls.
    pub counts: Counts,
}

/// How many calls, and how they went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// All calls.
    pub calls: u32,
    /// Those that failed.
    pub failed: u32,
    /// Those that were slow, whether they failed or not.
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
    /// The calls that count at this time.
    pub fn counts(&self, now: Timestamp) -> Counts {
        let slot = self.slot(now);
        let counts = self.window.iter().filter(|bucket| self.counts_at(bucket.slot, slot));
        counts.fold(Counts::default(), |sum, bucket| sum.add(bucket.counts))
    }
    /// The permits of a worker, oldest first.
    pub fn permits_of<'a>(&'a self, reporter: &'a str) -> impl Iterator<Item = u64> + 'a {
        self.permits.iter().filter(move |(_, holder)| *holder == reporter).map(|(permit, _)| *permit)
    }
    /// Whether there is anybody, or anything, that could try while it is half-open.
    pub(super) fn has_to_try(&self) -> bool {
        !self.lanes.is_empty() || !self.letters.is_empty()
    }
    /// Whether a dead letter of this time belongs to the present illness.
    pub(super) fn is_recent(&self, at: Timestamp, now: Timestamp) -> bool {
        self.phase != Phase::Closed || at.plus_ms(self.policy.window_ms) >= now
    }
    /// What failed within the window is what opens it.
    fn fall_ill(&mut self, at: Timestamp) {
        let window = Timestamp(at.0.saturating_sub(self.policy.window_ms));
        let since = self.since.map_or(window, |closed| closed.max(window));
        self.letters.retain(|_, noted| *noted >= since);
        (self.ill_since, self.has_letters) = (Some(since), !self.letters.is_empty());
    }
    fn slot(&self, at: Timestamp) -> u64 {
        // A policy has at least one bucket of at least some milliseconds: both are checked.
        at.0 / (self.policy.window_ms / u64::from(self.policy.buckets.max(1))).max(1)
    }
    /// A clock that was set back must not keep what it counted in the future.
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
            // Another version that says the same leaves what was counted.
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
