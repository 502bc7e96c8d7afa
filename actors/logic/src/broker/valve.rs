//! What holds jobs back, and how they are let go: closed, then opened one job more for each that
//! succeeds, and back to one for one that fails. The rise is that of TCP's slow start (RFC 5681).
//! It ends when it bounds nothing any more: all that the scope can do may run, nothing waits for it,
//! or [`EASING_MS_MAX`] has passed.
//! Where a rate is given, it is doubled by each minute that used it up, and a failure brings it back;
//! then the valve stays until a minute had room for all that there was.

use bus_schemas::commands::broker::{HoldScope, Outcome};
use bus_schemas::{Key, Timestamp};
use serde::{Deserialize, Serialize};

use super::state::{MINUTE_MS, Offer, Running};

/// How long a release bounds the jobs at once, in milliseconds: jobs of a minute's length have doubled
/// four times by then. A few failures of other causes keep it low for ever otherwise, and what does
/// too much for its dependency opens the breaker again.
pub(super) const EASING_MS_MAX: u64 = 300_000;

/// One cause's hold on a part of the lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Valve {
    scope: HoldScope,
    /// Why.
    pub(super) reason: String,
    /// Since when.
    pub(super) since: Timestamp,
    /// When what runs in its scope is taken back; none where it goes on.
    pub(super) recall_at: Option<Timestamp>,
    passage: Passage,
    #[serde(default)]
    rate: Option<Rate>,
}

/// How much may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Passage {
    /// So many jobs, to find out.
    Closed { permits: u32 },
    /// So many jobs at once.
    Easing {
        at_once: u32,
        /// Since when the cause held: what began before does not count, however long it runs.
        #[serde(default)]
        from: Timestamp,
        /// How much of that runs still.
        #[serde(default)]
        before: u32,
    },
}

/// How many jobs may begin in a minute of the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Rate {
    /// In the first minute, and in the one after a failure.
    first: u32,
    per_minute: u32,
    /// The minute in which it was given, of which some had passed: what began in the rest of it says
    /// nothing about demand.
    #[serde(default)]
    given: u64,
    minute: u64,
    begun: u32,
    /// Whether a minute had room for more than began.
    is_enough: bool,
    /// Whether something failed in this minute: then the next one is a first one again.
    has_failed: bool,
}

impl Rate {
    fn new(per_minute: u32, at: Timestamp) -> Self {
        let (given, minute, begun) = (at.0 / MINUTE_MS, 0, 0);
        Self { first: per_minute, per_minute, given, minute, begun, is_enough: false, has_failed: false }
    }
    /// Whether a minute had room for all that there was.
    fn is_met(&self, now: Timestamp, waits: bool) -> bool {
        let (minute, counted) = (now.0 / MINUTE_MS, self.minute.max(self.given));
        let had_room = self.minute > self.given && self.begun < self.per_minute && !self.has_failed;
        // Nothing began in the minutes between, although it could have.
        let is_quiet = minute > counted.saturating_add(1) || (minute > counted && had_room);
        self.is_enough || (is_quiet && !waits)
    }
    /// A job began.
    fn count(&mut self, minute: u64) {
        if minute == self.minute {
            self.begun = self.begun.saturating_add(1);
            return;
        }
        // Nothing began before the first minute: that says nothing.
        if self.minute != 0 && !self.has_failed {
            match self.begun < self.per_minute {
                true => self.is_enough = self.minute > self.given,
                false => self.per_minute = self.per_minute.saturating_mul(2),
            }
        }
        (self.minute, self.begun, self.has_failed) = (minute, 1, false);
    }
    fn fall_back(&mut self) {
        (self.per_minute, self.is_enough, self.has_failed) = (self.first, false, true);
    }
}

impl Valve {
    pub(super) fn closed(scope: HoldScope, reason: String, since: Timestamp) -> Self {
        Self { scope, reason, since, recall_at: None, passage: Passage::Closed { permits: 0 }, rate: None }
    }
    pub(super) fn scope(&self) -> &HoldScope {
        &self.scope
    }
    /// Whether nothing passes.
    pub(super) fn is_closed(&self) -> bool {
        matches!(self.passage, Passage::Closed { permits: 0 })
    }
    /// Whether it takes back by then what runs in its scope.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        self.recall_at.is_some_and(|at| at <= now)
    }
    /// Whether it says what another one would, and takes back what runs as soon.
    pub(super) fn says(&self, other: &Self) -> bool {
        let is_as_soon = other.recall_at.is_none_or(|at| self.recall_at.is_some_and(|known| known <= at));
        self.is_closed() && self.scope == other.scope && self.reason == other.reason && is_as_soon
    }
    /// Whether its cause still holds.
    pub(super) fn holds(&self) -> bool {
        matches!(self.passage, Passage::Closed { .. })
    }
    /// What is left of it when its cause is gone. Said again, it is about the rate alone: without one everything goes on at once.
    pub(super) fn eased(&self, per_minute: Option<u32>, since: Timestamp, before: u32) -> Option<Self> {
        let passage = match self.passage {
            Passage::Closed { .. } => Passage::Easing { at_once: 1, from: self.since, before },
            Passage::Easing { .. } if per_minute.is_none() => return None,
            Passage::Easing { .. } => self.passage,
        };
        // A rate is counted for the whole lane.
        let is_lane = self.scope == HoldScope::Lane;
        let rate = per_minute.filter(|_| is_lane).map(|per_minute| Rate::new(per_minute, since));
        Some(Self { passage, rate, since, recall_at: None, ..self.clone() })
    }
    /// Whether it bounds nothing any more: `capacity` is what may run in its scope at once, `waits`
    /// whether something does that could run there.
    pub(super) fn is_over(&self, capacity: u32, waits: bool, now: Timestamp) -> bool {
        let Passage::Easing { at_once, .. } = self.passage else { return false };
        let is_all = capacity > 0 && at_once >= capacity;
        let is_met = self.rate.is_none_or(|rate| rate.is_met(now, waits));
        is_met && (is_all || !waits || self.is_late(now))
    }
    /// When to look again whether it is over; none while its cause holds.
    pub(super) fn looks_at(&self, now: Timestamp) -> Option<Timestamp> {
        let Passage::Easing { .. } = self.passage else { return None };
        let end = Some(self.since.plus_ms(EASING_MS_MAX)).filter(|end| *end > now);
        let minute = self.rate.map(|_| Timestamp((now.0 / MINUTE_MS + 1) * MINUTE_MS));
        end.into_iter().chain(minute).min()
    }
    fn is_late(&self, now: Timestamp) -> bool {
        now >= self.since.plus_ms(EASING_MS_MAX)
    }
    /// Lets some jobs try.
    pub(super) fn permit(&mut self, count: u32) {
        if let Passage::Closed { permits } = &mut self.passage {
            *permits = count;
        }
    }

    /// Whether it bounds what an agent gets.
    pub(super) fn covers_agent(&self, agent: &Key, offer: &Offer) -> bool {
        match &self.scope {
            HoldScope::Agent { agent: held } => held == agent,
            HoldScope::Dependency { dependency } => offer.dependencies.contains(dependency),
            HoldScope::Lane => false,
        }
    }
    /// How many more may run beside those that run in its scope. What began before the cause held says
    /// nothing of what is let through, and a long job of that time must not keep all others.
    pub(super) fn allows(&self, running: u32) -> u32 {
        match self.passage {
            Passage::Closed { permits } => permits,
            Passage::Easing { at_once, before, .. } => at_once.saturating_sub(running.saturating_sub(before)),
        }
    }
    /// As [`Self::allows`], where only a rate bounds what is released for long.
    pub(super) fn allows_at(&self, running: u32, now: Timestamp) -> u32 {
        if !self.holds() && self.is_late(now) { u32::MAX } else { self.allows(running) }
    }
    /// How many may begin in a minute, where so many have begun in this one.
    pub(super) fn rate_reached(&self, now: Timestamp) -> Option<u32> {
        let rate = self.rate?;
        (rate.minute == now.0 / MINUTE_MS && rate.begun >= rate.per_minute).then_some(rate.per_minute)
    }
    /// A job began.
    pub(super) fn pass(&mut self, agent: &Key, offer: &Offer, at: Timestamp) {
        if !self.concerns(agent, offer) {
            return;
        }
        if let Passage::Closed { permits } = &mut self.passage {
            *permits = permits.saturating_sub(1);
        }
        if let Some(rate) = &mut self.rate {
            rate.count(at.0 / MINUTE_MS);
        }
    }
    /// A job ended.
    pub(super) fn learn(&mut self, job: &Running, offer: &Offer, outcome: Outcome) {
        let concerned = self.concerns(&job.agent, offer);
        let Passage::Easing { at_once, from, before } = &mut self.passage else { return };
        if !concerned {
            return;
        }
        if job.at < *from && *before > 0 {
            *before -= 1;
            return;
        }
        match outcome {
            Outcome::Done => *at_once = at_once.saturating_add(1),
            Outcome::Failed => {
                *at_once = 1;
                self.rate.iter_mut().for_each(Rate::fall_back);
            }
            Outcome::Withdrawn => {}
        }
    }

    /// Whether a job is in its scope.
    pub(super) fn concerns(&self, agent: &Key, offer: &Offer) -> bool {
        match &self.scope {
            HoldScope::Lane => true,
            HoldScope::Agent { .. } | HoldScope::Dependency { .. } => self.covers_agent(agent, offer),
        }
    }
}
