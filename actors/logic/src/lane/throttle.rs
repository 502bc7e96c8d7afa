//! Holds and gradual releases. A hold lets nothing pass; a release lets one more job run for each that
//! succeeds, and falls back to one after a failure. The rise is that of TCP's slow start (RFC 5681). A
//! release ends when it limits nothing any more: all of the scope's capacity may run, no attempt waits for
//! it, or [`EASING_MS_MAX`] has passed. A given rate doubles with each minute that used it up, and starts
//! over after a failure; the throttle then stays until a minute had room for all work.

use bus_schemas::commands::lane::{HoldScope, Outcome};
use bus_schemas::{Key, Timestamp};
use serde::{Deserialize, Serialize};

use super::state::{MINUTE_MS, Offer, Running};

/// How long a release limits concurrent jobs, in milliseconds: jobs of a minute's length have doubled four
/// times by then. A few failures with other causes would keep the limit low forever otherwise, and too much
/// load on a dependency opens its breaker again.
pub(super) const EASING_MS_MAX: u64 = 300_000;

/// The hold or gradual release of one cause, for a part of the lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Throttle {
    scope: HoldScope,
    /// The reason.
    pub(super) reason: String,
    /// When it began.
    pub(super) since: Timestamp,
    /// When running attempts in its scope are taken back; `None` if they go on.
    pub(super) recall_at: Option<Timestamp>,
    passage: Passage,
    #[serde(default)]
    rate: Option<Rate>,
}

/// How many jobs may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Passage {
    /// A hold, with a number of probes.
    Closed { permits: u32 },
    /// A gradual release, with a number of concurrent jobs.
    Easing {
        at_once: u32,
        /// When the hold began: earlier jobs do not count, however long they run.
        #[serde(default)]
        from: Timestamp,
        /// How many of those still run.
        #[serde(default)]
        before: u32,
    },
}

/// A limit of jobs that begin per minute of the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Rate {
    /// The limit in the first minute, and in the one after a failure.
    first: u32,
    per_minute: u32,
    /// The minute in which the rate was set. A part of it had passed already, so its count tells nothing
    /// about demand.
    #[serde(default)]
    given: u64,
    minute: u64,
    begun: u32,
    /// Whether a minute had room for more jobs than began.
    is_enough: bool,
    /// Whether a job failed in this minute: then the next one starts over.
    has_failed: bool,
}

impl Rate {
    fn new(per_minute: u32, at: Timestamp) -> Self {
        let (given, minute, begun) = (at.0 / MINUTE_MS, 0, 0);
        Self { first: per_minute, per_minute, given, minute, begun, is_enough: false, has_failed: false }
    }
    /// Whether a minute had room for all work.
    fn is_met(&self, now: Timestamp, waits: bool) -> bool {
        let (minute, counted) = (now.0 / MINUTE_MS, self.minute.max(self.given));
        let had_room = self.minute > self.given && self.begun < self.per_minute && !self.has_failed;
        // No job began in the minutes between, although some could have.
        let is_quiet = minute > counted.saturating_add(1) || (minute > counted && had_room);
        self.is_enough || (is_quiet && !waits)
    }
    /// Counts a job that began.
    fn count(&mut self, minute: u64) {
        if minute == self.minute {
            self.begun = self.begun.saturating_add(1);
            return;
        }
        // Before the first minute no job could begin, which tells nothing.
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

impl Throttle {
    pub(super) fn closed(scope: HoldScope, reason: String, since: Timestamp) -> Self {
        Self { scope, reason, since, recall_at: None, passage: Passage::Closed { permits: 0 }, rate: None }
    }
    pub(super) fn scope(&self) -> &HoldScope {
        &self.scope
    }
    /// Whether no job passes.
    pub(super) fn is_closed(&self) -> bool {
        matches!(self.passage, Passage::Closed { permits: 0 })
    }
    /// Whether running attempts in its scope are to be taken back by now.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        self.recall_at.is_some_and(|at| at <= now)
    }
    /// Whether it equals another one, and takes running attempts back as soon.
    pub(super) fn says(&self, other: &Self) -> bool {
        let is_as_soon = other.recall_at.is_none_or(|at| self.recall_at.is_some_and(|known| known <= at));
        self.is_closed() && self.scope == other.scope && self.reason == other.reason && is_as_soon
    }
    /// Whether it is a hold.
    pub(super) fn holds(&self) -> bool {
        matches!(self.passage, Passage::Closed { .. })
    }
    /// The gradual release after this hold; for a release, the one with a new rate. Without a rate, a release
    /// ends at once.
    pub(super) fn eased(&self, per_minute: Option<u32>, since: Timestamp, before: u32) -> Option<Self> {
        let passage = match self.passage {
            Passage::Closed { .. } => Passage::Easing { at_once: 1, from: self.since, before },
            Passage::Easing { .. } if per_minute.is_none() => return None,
            Passage::Easing { .. } => self.passage,
        };
        // A rate counts for the whole lane only.
        let is_lane = self.scope == HoldScope::Lane;
        let rate = per_minute.filter(|_| is_lane).map(|per_minute| Rate::new(per_minute, since));
        Some(Self { passage, rate, since, recall_at: None, ..self.clone() })
    }
    /// Whether it limits nothing any more. `capacity` is how many jobs may run in its scope at once, `waits`
    /// whether an attempt waits that could run there.
    pub(super) fn is_over(&self, capacity: u32, waits: bool, now: Timestamp) -> bool {
        let Passage::Easing { at_once, .. } = self.passage else { return false };
        let is_all = capacity > 0 && at_once >= capacity;
        let is_met = self.rate.is_none_or(|rate| rate.is_met(now, waits));
        is_met && (is_all || !waits || self.is_late(now))
    }
    /// When to check again whether it is over; `None` for a hold.
    pub(super) fn looks_at(&self, now: Timestamp) -> Option<Timestamp> {
        let Passage::Easing { .. } = self.passage else { return None };
        let end = Some(self.since.plus_ms(EASING_MS_MAX)).filter(|end| *end > now);
        let minute = self.rate.map(|_| Timestamp((now.0 / MINUTE_MS + 1) * MINUTE_MS));
        end.into_iter().chain(minute).min()
    }
    fn is_late(&self, now: Timestamp) -> bool {
        now >= self.since.plus_ms(EASING_MS_MAX)
    }
    /// Lets a number of jobs pass as probes.
    pub(super) fn permit(&mut self, count: u32) {
        if let Passage::Closed { permits } = &mut self.passage {
            *permits = count;
        }
    }

    /// Whether it limits the jobs of an agent.
    pub(super) fn covers_agent(&self, agent: &Key, offer: &Offer) -> bool {
        match &self.scope {
            HoldScope::Agent { agent: held } => held == agent,
            HoldScope::Dependency { dependency } => offer.dependencies.contains(dependency),
            HoldScope::Lane => false,
        }
    }
    /// How many more jobs may run, if `running` run in its scope. Jobs from before the hold do not count:
    /// they tell nothing about the release, and a long one must not block all others.
    pub(super) fn allows(&self, running: u32) -> u32 {
        match self.passage {
            Passage::Closed { permits } => permits,
            Passage::Easing { at_once, before, .. } => at_once.saturating_sub(running.saturating_sub(before)),
        }
    }
    /// Like [`Self::allows`], after the time in which concurrent jobs are limited.
    pub(super) fn allows_at(&self, running: u32, now: Timestamp) -> u32 {
        if !self.holds() && self.is_late(now) { u32::MAX } else { self.allows(running) }
    }
    /// The limit per minute, if that many jobs have begun in this minute.
    pub(super) fn rate_reached(&self, now: Timestamp) -> Option<u32> {
        let rate = self.rate?;
        (rate.minute == now.0 / MINUTE_MS && rate.begun >= rate.per_minute).then_some(rate.per_minute)
    }
    /// Counts a job that began.
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
    /// Adjusts to a job that ended.
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
