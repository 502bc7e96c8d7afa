//! What holds jobs back, and how they are let go: closed, then opened one job more for each that
//! succeeds, and back to one for one that fails. The rise is that of TCP's slow start (RFC 5681).
//! Where a rate is given, it is doubled by each minute that used it up, and a failure brings it back;
//! the valve stays until a minute had room for all that there was.

use bus_schemas::commands::broker::{HoldScope, Outcome};
use bus_schemas::{Key, Timestamp};
use serde::{Deserialize, Serialize};

use super::state::{MINUTE_MS, Offer};

/// One cause's hold on a part of the lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Valve {
    scope: HoldScope,
    /// Why.
    pub(super) reason: String,
    /// Since when.
    pub(super) since: Timestamp,
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
    Easing { at_once: u32 },
}

/// How many jobs may begin in a minute of the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Rate {
    /// In the first minute, and in the one after a failure.
    first: u32,
    per_minute: u32,
    minute: u64,
    begun: u32,
    /// Whether a minute had room for more than began.
    is_enough: bool,
    /// Whether something failed in this minute: then the next one is a first one again.
    has_failed: bool,
}

impl Rate {
    fn new(per_minute: u32) -> Self {
        Self { first: per_minute, per_minute, minute: 0, begun: 0, is_enough: false, has_failed: false }
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
                true => self.is_enough = true,
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
        Self { scope, reason, since, passage: Passage::Closed { permits: 0 }, rate: None }
    }
    pub(super) fn scope(&self) -> &HoldScope {
        &self.scope
    }
    /// Whether nothing passes.
    pub(super) fn is_closed(&self) -> bool {
        matches!(self.passage, Passage::Closed { permits: 0 })
    }
    /// Whether its cause still holds.
    pub(super) fn holds(&self) -> bool {
        matches!(self.passage, Passage::Closed { .. })
    }
    /// What is left of it when its cause is gone: a tree has no flow of its own to raise.
    pub(super) fn eased(&self, per_minute: Option<u32>, since: Timestamp) -> Option<Self> {
        let passage = Passage::Easing { at_once: 1 };
        let rate = per_minute.map(Rate::new);
        let flows = !matches!(self.scope, HoldScope::Tree { .. });
        flows.then(|| Self { passage, rate, since, ..self.clone() })
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
            HoldScope::Lane | HoldScope::Tree { .. } => false,
        }
    }
    /// Whether it takes a task out of the queue.
    pub(super) fn holds_tree(&self, task: &Key) -> bool {
        matches!(&self.scope, HoldScope::Tree { root } if task.is_within(root))
    }
    /// How many more may run beside those that do.
    pub(super) fn allows(&self, running: u32) -> u32 {
        match self.passage {
            Passage::Closed { permits } => permits,
            Passage::Easing { at_once } => at_once.saturating_sub(running),
        }
    }
    /// How many may begin in a minute, where so many have begun in this one.
    pub(super) fn rate_reached(&self, now: Timestamp) -> Option<u32> {
        let rate = self.rate?;
        (rate.minute == now.0 / MINUTE_MS && rate.begun >= rate.per_minute).then_some(rate.per_minute)
    }
    /// A job began.
    pub(super) fn pass(&mut self, task: &Key, agent: &Key, offer: &Offer, at: Timestamp) {
        if !self.concerns(task, agent, offer) {
            return;
        }
        if let Passage::Closed { permits } = &mut self.passage {
            *permits = permits.saturating_sub(1);
        }
        if let Some(rate) = &mut self.rate {
            rate.count(at.0 / MINUTE_MS);
        }
    }
    /// A job ended; whether the valve is still needed.
    pub(super) fn learn(
        &mut self,
        task: &Key,
        agent: &Key,
        offer: &Offer,
        outcome: Outcome,
        everybody: u32,
    ) -> bool {
        let concerned = self.concerns(task, agent, offer);
        let Passage::Easing { at_once } = &mut self.passage else { return true };
        if concerned {
            match outcome {
                Outcome::Done => *at_once = at_once.saturating_add(1),
                Outcome::Failed => {
                    *at_once = 1;
                    self.rate.iter_mut().for_each(Rate::fall_back);
                }
                Outcome::Withdrawn => {}
            }
        }
        // Above all that there is it bounds nothing any more.
        *at_once <= everybody || self.rate.is_some_and(|rate| !rate.is_enough)
    }

    /// Whether a job is in its scope.
    pub(super) fn concerns(&self, task: &Key, agent: &Key, offer: &Offer) -> bool {
        match &self.scope {
            HoldScope::Lane => true,
            HoldScope::Tree { root } => task.is_within(root),
            HoldScope::Agent { .. } | HoldScope::Dependency { .. } => self.covers_agent(agent, offer),
        }
    }
}
