//! The state of a lane: waiting and running attempts, offers of agents, and holds.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use bus_schemas::commands::halt::Standstill;
use bus_schemas::commands::lane::{HoldScope, Limits, Outcome};
use bus_schemas::commands::queue::{Entry, Rules};
use bus_schemas::events::lane::Event;
use bus_schemas::{Key, PartitionId, Revision, Timestamp};
use rpds::RedBlackTreeMapSync as Map;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::pause::{self, Pauses};
use super::policies::{self, Policies};
use super::throttle::Throttle;
use crate::order::{Order, Place, Service, class};
pub use crate::order::{Running, Waiting};

pub(super) const MINUTE_MS: u64 = 60_000;
const DAY_MS: u64 = 86_400_000;

/// A lane. Only [`Stored`] is written into snapshots; the queue is rebuilt from it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub struct State {
    waiting: Map<Key, Waiting>,
    running: Map<Key, Running>,
    offers: Map<Key, Offer>,
    limits: Limits,
    /// The version of the settings of the limits; `None` before the lane was told.
    version: Option<u64>,
    /// The policies for tasks.
    policies: Arc<Policies>,
    /// Holds and gradual releases, by cause.
    throttles: BTreeMap<SmolStr, Throttle>,
    begun: Begun,
    /// The number of assignments, from which the owner served longest ago is found.
    assigned: u64,
    queue: Order,
    /// The partitions whose queues have joined.
    partitions: BTreeSet<PartitionId>,
    /// Whether its queues begin attempts without leave.
    is_open: bool,
    /// How often it began to govern.
    number: u64,
    /// The queues that have not reported their running attempts since it governs.
    unreported: BTreeSet<PartitionId>,
    /// The lane's revision.
    revision: Revision,
    /// The pauses by people.
    pauses: Pauses,
}

/// The offer of an agent, and its jobs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// Its skills.
    pub skills: BTreeSet<SmolStr>,
    /// How many jobs it does at once; 0 for an agent that left.
    pub capacity: u32,
    /// The dependencies of its work.
    #[serde(default)]
    pub dependencies: BTreeSet<Key>,
    /// How many jobs of this lane it runs.
    pub running: u32,
}

/// How many jobs began in this minute and on this day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Begun {
    minute: u64,
    in_minute: u32,
    day: u64,
    in_day: u32,
}

/// A lane as stored in a snapshot.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    waiting: BTreeMap<Key, Waiting>,
    running: BTreeMap<Key, Running>,
    offers: BTreeMap<Key, Offer>,
    limits: Limits,
    #[serde(default)]
    version: Option<u64>,
    #[serde(default)]
    policies: Policies,
    throttles: BTreeMap<SmolStr, Throttle>,
    begun: Begun,
    assigned: u64,
    served: BTreeMap<SmolStr, (u64, u32)>,
    partitions: BTreeSet<PartitionId>,
    is_open: bool,
    number: u64,
    unreported: BTreeSet<PartitionId>,
    revision: Revision,
    pauses: Pauses,
}

impl Begun {
    fn count(&mut self, at: Timestamp) {
        (self.in_minute, self.in_day) = (self.in_minute(at) + 1, self.in_day(at) + 1);
        (self.minute, self.day) = (at.0 / MINUTE_MS, at.0 / DAY_MS);
    }
    pub(super) fn in_minute(self, at: Timestamp) -> u32 {
        if self.minute == at.0 / MINUTE_MS { self.in_minute } else { 0 }
    }
    pub(super) fn in_day(self, at: Timestamp) -> u32 {
        if self.day == at.0 / DAY_MS { self.in_day } else { 0 }
    }
    /// When the next minute and the next day begin.
    pub(super) fn next(at: Timestamp) -> (Timestamp, Timestamp) {
        (Timestamp((at.0 / MINUTE_MS + 1) * MINUTE_MS), Timestamp((at.0 / DAY_MS + 1) * DAY_MS))
    }
}

impl State {
    /// The partitions whose queues have joined.
    pub fn partitions(&self) -> &BTreeSet<PartitionId> {
        &self.partitions
    }
    /// How often it began to govern.
    pub(super) fn number(&self) -> u64 {
        self.number
    }
    /// Whether the lane gives leave to each attempt.
    pub fn governs(&self) -> bool {
        !self.is_open
    }
    /// The queues that have not reported their running attempts yet.
    pub fn unreported(&self) -> &BTreeSet<PartitionId> {
        &self.unreported
    }
    /// Whether it has limits that all queues share, or does not know its settings.
    pub(super) fn must_govern(&self) -> bool {
        let Limits { concurrent, per_minute, per_day, windows, order, .. } = &self.limits;
        let is_bounded = concurrent.or(*per_minute).or(*per_day).is_some() || !windows.is_empty();
        self.version.is_none()
            || is_bounded
            || *order == bus_schemas::commands::lane::Order::Strict
            || !self.throttles.is_empty()
    }
    /// The rules for its queues.
    pub(super) fn rules(&self) -> Rules {
        // The lane itself enforces the limits; the queues only need the order.
        let Limits { ageing_ms, weights, .. } = self.limits.clone();
        let limits = Limits { ageing_ms, weights, ..Limits::default() };
        let (retry, budget) = self.policies.told();
        Rules { governed: self.governs(), number: self.number, limits, retry, budget }
    }
    /// The waiting attempt of a task.
    pub fn waiting(&self, task: &Key) -> Option<&Waiting> {
        self.waiting.get(task)
    }
    /// All waiting attempts.
    pub(super) fn all_waiting(&self) -> impl Iterator<Item = (&Key, &Waiting)> {
        self.waiting.iter()
    }
    /// The running attempt of a task.
    pub fn running(&self, task: &Key) -> Option<&Running> {
        self.running.get(task)
    }
    /// The first running task by name.
    #[cfg(test)]
    pub(super) fn any_running(&self) -> Option<Key> {
        self.running.iter().next().map(|(task, _)| task.clone())
    }
    /// The offer of an agent.
    pub fn offer(&self, agent: &Key) -> Option<&Offer> {
        self.offers.get(agent)
    }
    /// The offers of all agents.
    pub fn offers(&self) -> impl Iterator<Item = (&Key, &Offer)> {
        self.offers.iter()
    }
    /// The number of waiting attempts.
    pub fn waiting_count(&self) -> usize {
        self.waiting.size()
    }
    /// The number of running attempts.
    pub fn running_count(&self) -> usize {
        self.running.size()
    }
    /// The lane's rules.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }
    /// The version of the settings of the rules; `None` before the lane was told.
    pub fn version(&self) -> Option<u64> {
        self.version
    }
    pub(super) fn policies(&self) -> &Policies {
        &self.policies
    }
    pub(super) fn begun(&self) -> Begun {
        self.begun
    }
    pub(super) fn pauses(&self) -> &Pauses {
        &self.pauses
    }
    /// A person paused the lane, or resumed it with `None`.
    pub(super) fn set_pause(&mut self, standing: Option<Standstill>) {
        self.pauses = Pauses { standing, changed: self.revision };
    }
    pub(super) fn throttles(&self) -> &BTreeMap<SmolStr, Throttle> {
        &self.throttles
    }
    /// Running attempts by task, after the task `after`.
    pub(super) fn running_after(&self, after: Option<&Key>) -> impl Iterator<Item = (&Key, &Running)> {
        self.running.range::<Key, _>((after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded))
    }
    /// Whether a running job is in the scope of a throttle.
    pub(super) fn concerns(&self, throttle: &Throttle, job: &Running) -> bool {
        self.offers.get(&job.agent).map_or_else(
            || throttle.concerns(&job.agent, &Offer::default()),
            |offer| throttle.concerns(&job.agent, offer),
        )
    }
    /// How many more jobs an agent may get now.
    pub fn free(&self, agent: &Key) -> u32 {
        let allowances = self.allowances();
        self.offers.get(agent).map_or(0, |offer| free(agent, offer, &allowances))
    }
    /// The throttles that limit agents, each with the number of further jobs in its scope. Agents that share
    /// a dependency share that number.
    fn allowances(&self) -> Vec<(&Throttle, u32)> {
        let of_agents = self.throttles.values().filter(|throttle| {
            matches!(throttle.scope(), HoldScope::Agent { .. } | HoldScope::Dependency { .. })
        });
        of_agents.map(|throttle| (throttle, throttle.allows(self.running_under(throttle)))).collect()
    }
    /// How many running jobs in the scope of a throttle began before its hold.
    fn ran_before(&self, throttle: &Throttle) -> u32 {
        let runs =
            self.running.values().filter(|job| job.at < throttle.since && self.concerns(throttle, job));
        u32::try_from(runs.count()).unwrap_or(u32::MAX)
    }
    /// How many jobs run in the scope of a throttle.
    pub(super) fn running_under(&self, throttle: &Throttle) -> u32 {
        match throttle.scope() {
            HoldScope::Lane => u32::try_from(self.running.size()).unwrap_or(u32::MAX),
            HoldScope::Agent { .. } | HoldScope::Dependency { .. } => {
                self.offers_under(throttle).map(|offer| offer.running).fold(0, u32::saturating_add)
            }
        }
    }
    fn offers_under<'a>(&'a self, throttle: &'a Throttle) -> impl Iterator<Item = &'a Offer> {
        self.offers
            .iter()
            .filter(|(agent, offer)| throttle.covers_agent(agent, offer))
            .map(|(_, offer)| offer)
    }
    /// The causes whose gradual release limits nothing any more.
    pub(super) fn over(&self, now: Timestamp) -> Vec<SmolStr> {
        let easing = self.throttles.iter().filter(|(_, throttle)| !throttle.holds());
        let over = easing.filter(|(_, throttle)| {
            let (capacity, waits) = self.demand(throttle);
            throttle.is_over(capacity, waits, now)
        });
        over.map(|(cause, _)| cause.clone()).collect()
    }
    /// How many jobs may run at once in the scope of a throttle, and whether attempts wait for it.
    fn demand(&self, throttle: &Throttle) -> (u32, bool) {
        let sum = |sum: u32, offer: &Offer| sum.saturating_add(offer.capacity);
        if *throttle.scope() == HoldScope::Lane {
            let capacity = self.offers.values().fold(0, sum);
            return (capacity.min(self.limits.concurrent.unwrap_or(u32::MAX)), self.queue.waits());
        }
        let capacity = self.offers_under(throttle).fold(0, sum);
        let mut skills = self.offers_under(throttle).flat_map(|offer| &offer.skills);
        // The work of an absent agent is unknown: it comes back with the agent.
        (capacity, capacity == 0 || skills.any(|skill| self.queue.waits_for(skill)))
    }
    /// When to check again whether a gradual release is over.
    pub(super) fn looks_at(&self, now: Timestamp) -> Option<Timestamp> {
        self.throttles.values().filter_map(|throttle| throttle.looks_at(now)).min()
    }
    /// The next attempt and its agent, if the lane had no limits.
    pub(super) fn pick(&self) -> Option<(Key, Key)> {
        self.queue.pick()
    }
    /// How many attempts of the same skill are served before this one, as things stand.
    pub(super) fn ahead(&self, task: &Key) -> u64 {
        self.waiting.get(task).map_or(0, |entry| self.queue.ahead(self.place(task, entry)))
    }

    fn place<'a>(&self, task: &'a Key, entry: &'a Waiting) -> Place<'a> {
        let class = class(&self.limits, entry.priority, entry.since);
        Place { task, skill: &entry.skill, class, owner: &entry.owner, since: entry.since }
    }
    fn weight(&self, owner: &SmolStr) -> u32 {
        self.limits.weights.get(owner).copied().unwrap_or(1)
    }
    fn line_up(&mut self, task: &Key, entry: &Waiting) {
        let weight = self.weight(&entry.owner);
        let place = self.place(task, entry);
        self.queue.insert(place);
        self.queue.weigh(&entry.owner, weight);
    }
    fn step_out(&mut self, task: &Key, entry: &Waiting) {
        let place = self.place(task, entry);
        self.queue.remove(place);
    }
    fn stop_waiting(&mut self, task: &Key) -> Option<Waiting> {
        let entry = self.waiting.get(task)?.clone();
        self.waiting.remove_mut(task);
        self.step_out(task, &entry);
        Some(entry)
    }
    fn stop_running(&mut self, task: &Key, outcome: Outcome) {
        let Some(job) = self.running.get(task).cloned() else { return };
        self.running.remove_mut(task);
        self.queue.relieve(&job.owner);
        self.change(|lane| {
            lane.change_offer(&job.agent, |offer| offer.running = offer.running.saturating_sub(1));
            let offer = lane.offers.get(&job.agent).cloned().unwrap_or_default();
            lane.throttles.values_mut().for_each(|throttle| throttle.learn(&job, &offer, outcome));
        });
    }
    /// Changes an offer; one without capacity and jobs is removed.
    fn change_offer(&mut self, agent: &Key, change: impl FnOnce(&mut Offer)) {
        let mut offer = self.offers.get(agent).cloned().unwrap_or_default();
        change(&mut offer);
        if offer.capacity > 0 || offer.running > 0 {
            self.offers.insert_mut(agent.clone(), offer);
        } else {
            self.offers.remove_mut(agent);
        }
    }
    /// Changes offers or holds, and then the places of agents and trees in the queue.
    fn change(&mut self, change: impl FnOnce(&mut Self)) {
        let capacities = |lane: &Self| -> BTreeMap<Key, (BTreeSet<SmolStr>, u32)> {
            let allowances = lane.allowances();
            let free = |agent: &Key, offer: &Offer| free(agent, offer, &allowances);
            let offers = lane.offers.iter();
            offers.map(|(agent, offer)| (agent.clone(), (offer.skills.clone(), free(agent, offer)))).collect()
        };
        let before = capacities(self);
        change(self);
        let after = capacities(self);
        for (agent, (skills, free)) in before.iter().filter(|(agent, was)| after.get(*agent) != Some(*was)) {
            self.queue.set_free(agent, skills, *free, 0);
        }
        for (agent, (skills, free)) in after.iter().filter(|(agent, is)| before.get(*agent) != Some(*is)) {
            self.queue.set_free(agent, skills, 0, *free);
        }
    }
    /// Changes what the order of all waiting attempts depends on.
    fn reorder(&mut self, change: impl FnOnce(&mut Self)) {
        let waiting: Vec<_> =
            self.waiting.iter().map(|(task, entry)| (task.clone(), entry.clone())).collect();
        for (task, entry) in &waiting {
            self.step_out(task, entry);
        }
        self.change(change);
        for (task, entry) in &waiting {
            self.line_up(task, entry);
        }
        let weights: Vec<_> =
            self.queue.owners().map(|(owner, _)| (owner.clone(), self.weight(owner))).collect();
        for (owner, weight) in weights {
            self.queue.weigh(&owner, weight);
        }
    }
    /// Sets the rules of a version of the settings.
    pub(super) fn set_rules(&mut self, version: u64, limits: &Limits) {
        self.version = Some(version);
        if self.limits != *limits {
            self.reorder(|lane| lane.limits = limits.clone());
        }
    }
    /// Turns a hold into a gradual release.
    pub(super) fn ease(&mut self, cause: &str, per_minute: Option<u32>, at: Timestamp) {
        let eased = |throttle: &Throttle| throttle.eased(per_minute, at, self.ran_before(throttle));
        let eased = self.throttles.get(cause).and_then(eased);
        self.set_throttle(&cause.into(), eased);
    }
    /// Sets the throttle of a cause; `None` removes it.
    pub(super) fn set_throttle(&mut self, cause: &SmolStr, throttle: Option<Throttle>) {
        self.change(|lane| match throttle {
            Some(throttle) => drop(lane.throttles.insert(cause.clone(), throttle)),
            None => drop(lane.throttles.remove(cause)),
        });
    }
    fn begin_to_govern(&mut self) {
        (self.is_open, self.number) = (false, self.number + 1);
        self.unreported = self.partitions.clone();
    }
    /// Opens the lane: its queues keep the attempts from now on.
    fn open(&mut self) {
        self.is_open = true;
        self.unreported.clear();
        self.change(|lane| {
            (lane.waiting, lane.running) = (Map::new_sync(), Map::new_sync());
            let agents: Vec<Key> = lane.offers.keys().cloned().collect();
            for agent in agents {
                lane.change_offer(&agent, |offer| offer.running = 0);
            }
        });
        let offers: Vec<_> = self.offers.iter().map(|(a, o)| (a.clone(), o.clone())).collect();
        self.queue = Order::default();
        for (agent, offer) in offers {
            let free = self.free(&agent);
            self.queue.set_free(&agent, &offer.skills, 0, free);
        }
    }
    /// Adds a running attempt that began before the lane governed.
    fn adopt(&mut self, running: &bus_schemas::commands::lane::Running) {
        let (task, agent) = (&running.task, &running.agent);
        self.queue.serve(&running.owner, self.assigned);
        let weight = self.weight(&running.owner);
        self.queue.weigh(&running.owner, weight);
        self.stop_waiting(task);
        let (owner, attempt, at) = (running.owner.clone(), running.attempt, running.at);
        self.running.insert_mut(task.clone(), Running { attempt, owner, agent: agent.clone(), at });
        self.change(|lane| lane.change_offer(agent, |offer| offer.running += 1));
    }
}

/// How many more jobs an agent may get, under the allowances of the throttles.
fn free(agent: &Key, offer: &Offer, allowances: &[(&Throttle, u32)]) -> u32 {
    let of_agent = allowances.iter().filter(|(throttle, _)| throttle.covers_agent(agent, offer));
    let allowed = of_agent.map(|(_, allowed)| *allowed).min();
    offer.capacity.saturating_sub(offer.running).min(allowed.unwrap_or(u32::MAX))
}

impl From<State> for Stored {
    fn from(state: State) -> Self {
        let served =
            state.queue.owners().map(|(name, owner)| (name.clone(), (owner.served, owner.turn))).collect();
        Self {
            waiting: std(&state.waiting),
            running: std(&state.running),
            offers: std(&state.offers),
            limits: state.limits,
            version: state.version,
            policies: Arc::unwrap_or_clone(state.policies),
            throttles: state.throttles,
            begun: state.begun,
            assigned: state.assigned,
            served,
            partitions: state.partitions,
            is_open: state.is_open,
            number: state.number,
            unreported: state.unreported,
            revision: state.revision,
            pauses: state.pauses,
        }
    }
}

fn std<K: Clone + Ord, V: Clone>(map: &Map<K, V>) -> BTreeMap<K, V> {
    map.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
}

impl From<Stored> for State {
    fn from(stored: Stored) -> Self {
        let Stored { waiting, running, offers, limits, version, policies, throttles, begun, .. } = stored;
        let mut lane = Self {
            limits,
            version,
            policies: Arc::new(policies),
            begun,
            assigned: stored.assigned,
            partitions: stored.partitions,
            is_open: stored.is_open,
            number: stored.number,
            unreported: stored.unreported,
            revision: stored.revision,
            pauses: stored.pauses,
            ..Self::default()
        };
        let served = stored.served;
        let mut busy: BTreeMap<SmolStr, u32> = BTreeMap::new();
        for job in running.values() {
            *busy.entry(job.owner.clone()).or_default() += 1;
        }
        lane.running = running.into_iter().collect();
        lane.change(|lane| (lane.throttles, lane.offers) = (throttles, offers.into_iter().collect()));
        for (task, entry) in waiting {
            lane.line_up(&task, &entry);
            lane.waiting.insert_mut(task, entry);
        }
        for (owner, &(served, turn)) in &served {
            let running = busy.get(owner).copied().unwrap_or(0);
            lane.queue.restore_owner(owner, running, Service { served, turn });
            let weight = lane.weight(owner);
            lane.queue.weigh(owner, weight);
        }
        lane
    }
}

/// Applies an event.
pub(super) fn fold(state: &mut State, event: &Event) {
    state.revision = state.revision.next();
    match event {
        Event::Joined { partition } => drop(state.partitions.insert(*partition)),
        Event::GoverningBegun { .. } => state.begin_to_govern(),
        Event::GoverningEnded { .. } => state.open(),
        Event::Reported { partition } => drop(state.unreported.remove(partition)),
        Event::Adopted(running) => state.adopt(running),
        Event::Enqueued(Entry { task, attempt, skill, priority, owner, since }) => {
            state.stop_waiting(task);
            let entry = Waiting {
                attempt: *attempt,
                skill: skill.clone(),
                priority: *priority,
                owner: owner.clone(),
                since: *since,
            };
            state.line_up(task, &entry);
            state.waiting.insert_mut(task.clone(), entry);
        }
        Event::Assigned { task, attempt, agent, at } => {
            let Some(entry) = state.waiting.get(task).cloned() else { return };
            state.assigned += 1;
            state.begun.count(*at);
            // Before it stops waiting, because an owner without attempts is removed.
            state.queue.serve(&entry.owner, state.assigned);
            state.stop_waiting(task);
            let job = Running { attempt: *attempt, owner: entry.owner, agent: agent.clone(), at: *at };
            state.running.insert_mut(task.clone(), job);
            state.change(|lane| {
                lane.change_offer(agent, |offer| offer.running += 1);
                let offer = lane.offers.get(agent).cloned().unwrap_or_default();
                for throttle in lane.throttles.values_mut() {
                    throttle.pass(agent, &offer, *at);
                }
            });
        }
        Event::Released { task, attempt, outcome } => {
            if state.waiting.get(task).is_some_and(|entry| entry.attempt == *attempt) {
                state.stop_waiting(task);
            } else if state.running.get(task).is_some_and(|job| job.attempt == *attempt) {
                state.stop_running(task, *outcome);
            }
        }
        Event::AgentOffered { agent, skills, capacity, dependencies } => state.change(|lane| {
            lane.change_offer(agent, |offer| {
                offer.skills = skills.iter().cloned().collect();
                offer.capacity = *capacity;
                offer.dependencies = dependencies.iter().cloned().collect();
            });
        }),
        Event::CapSet { concurrent } => state.limits.concurrent = *concurrent,
        Event::LimitsSet { limits, .. } => state.reorder(|lane| lane.limits = limits.clone()),
        Event::Held { cause, scope, reason, recall_at, at } => {
            let mut throttle = Throttle::closed(scope.clone(), reason.clone(), *at);
            throttle.recall_at = *recall_at;
            state.set_throttle(cause, Some(throttle));
        }
        Event::Eased { cause, per_minute, at } => state.ease(cause, *per_minute, *at),
        Event::EasingEnded { cause, .. } => state.set_throttle(cause, None),
        Event::PoliciesSet { .. } => policies::fold(&mut state.policies, event),
        Event::Configured { .. } | Event::Paused { .. } | Event::Resumed { .. } => pause::fold(state, event),
        Event::ProbesAllowed { cause, permits } => state.change(|lane| {
            if let Some(throttle) = lane.throttles.get_mut(cause) {
                throttle.permit(*permits);
            }
        }),
    }
}
