//! The state of a queue: waiting and running attempts, and the lane's rules.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use bus_schemas::commands::lane::Limits;
use bus_schemas::commands::queue::{Entry, Rules};
use bus_schemas::events::queue::Event;
use bus_schemas::views::lane::LastClaim;
use bus_schemas::{Key, Timestamp};
use rpds::RedBlackTreeMapSync as Map;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::order::{Order, Place, Service, class};
pub use crate::order::{Running, Waiting};

/// A queue. Only [`Stored`] is written into snapshots; the order is rebuilt from it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub struct State {
    waiting: Map<Key, Waiting>,
    running: Map<Key, Running>,
    /// The waiting attempts with leave, each with its agent.
    granted: Map<Key, Key>,
    /// The lane's rules; `None` before they came.
    rules: Option<Arc<Rules>>,
    holds: BTreeMap<SmolStr, Hold>,
    /// The number of assignments, from which the owner served longest ago is found.
    assigned: u64,
    /// The claim that last got an attempt.
    last_claim: Option<LastClaim>,
    order: Order,
}

/// A hold of one task tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hold {
    pub(super) root: Key,
    pub(super) reason: String,
    pub(super) since: Timestamp,
}

/// A queue as stored in a snapshot.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    waiting: BTreeMap<Key, Waiting>,
    running: BTreeMap<Key, Running>,
    granted: BTreeMap<Key, Key>,
    rules: Option<Rules>,
    holds: BTreeMap<SmolStr, Hold>,
    assigned: u64,
    last_claim: Option<LastClaim>,
    served: BTreeMap<SmolStr, (u64, u32)>,
}

impl State {
    /// The waiting attempt of a task.
    pub fn waiting(&self, task: &Key) -> Option<&Waiting> {
        self.waiting.get(task)
    }
    /// All waiting attempts, by task.
    pub fn all_waiting(&self) -> impl Iterator<Item = (&Key, &Waiting)> {
        self.waiting.iter()
    }
    /// The claim that last got an attempt.
    pub(super) fn last_claim(&self) -> Option<&LastClaim> {
        self.last_claim.as_ref()
    }
    /// The running attempt of a task.
    pub fn running(&self, task: &Key) -> Option<&Running> {
        self.running.get(task)
    }
    /// All running attempts, by task.
    pub fn all_running(&self) -> impl Iterator<Item = (&Key, &Running)> {
        self.running.iter()
    }
    /// The waiting tasks after the task `after`.
    pub(super) fn waiting_after(&self, after: Option<&Key>) -> impl Iterator<Item = &Key> {
        self.waiting.range::<Key, _>(behind(after)).map(|(task, _)| task)
    }
    /// The running tasks after the task `after`.
    pub(super) fn running_after(&self, after: Option<&Key>) -> impl Iterator<Item = &Key> {
        self.running.range::<Key, _>(behind(after)).map(|(task, _)| task)
    }
    /// The waiting tasks of a tree, after the task `after`.
    pub(super) fn waiting_in<'a>(
        &'a self,
        root: &'a Key,
        after: Option<&'a Key>,
    ) -> impl Iterator<Item = (&'a Key, &'a Waiting)> {
        within(self.waiting.range::<Key, _>(from(root, after)), root)
    }
    /// The running tasks of a tree, after the task `after`.
    pub(super) fn running_in<'a>(
        &'a self,
        root: &'a Key,
        after: Option<&'a Key>,
    ) -> impl Iterator<Item = (&'a Key, &'a Running)> {
        within(self.running.range::<Key, _>(from(root, after)), root)
    }
    /// The agent for which a waiting attempt has leave.
    pub fn granted(&self, task: &Key) -> Option<&Key> {
        self.granted.get(task)
    }
    /// All waiting attempts with leave, each with its agent.
    pub fn all_granted(&self) -> impl Iterator<Item = (&Key, &Key)> {
        self.granted.iter()
    }
    /// The lane's rules.
    pub fn rules(&self) -> Option<&Rules> {
        self.rules.as_deref()
    }
    /// Whether the lane gives leave to each attempt.
    pub fn is_governed(&self) -> bool {
        self.rules.as_ref().is_some_and(|rules| rules.governed)
    }
    /// Whether attempts begin without leave.
    pub fn is_open(&self) -> bool {
        self.rules.as_ref().is_some_and(|rules| !rules.governed)
    }
    pub(super) fn holds(&self) -> &BTreeMap<SmolStr, Hold> {
        &self.holds
    }
    /// The first hold that covers a task.
    pub(super) fn hold_of(&self, task: &Key) -> Option<(&SmolStr, &Hold)> {
        self.holds.iter().find(|(_, hold)| task.is_within(&hold.root))
    }
    pub(super) fn order(&self) -> &Order {
        &self.order
    }
    /// The rank of an attempt: the lowest goes first.
    pub(super) fn rank(&self, task: &Key) -> Option<(u64, Timestamp)> {
        let entry = self.waiting.get(task)?;
        Some((class(self.limits(), entry.priority, entry.since), entry.since))
    }
    /// How many attempts of the same skill are served before this one, as things stand.
    pub(super) fn ahead(&self, task: &Key) -> u64 {
        self.waiting.get(task).map_or(0, |entry| self.order.ahead(self.place(task, entry)))
    }
    /// The next attempt for a worker of this agent.
    pub(super) fn next(&self, agent: &Key, skills: &[SmolStr]) -> Option<Key> {
        if self.is_open() {
            return self.order.next(skills);
        }
        let granted = self.granted.iter().filter(|(task, for_agent)| {
            *for_agent == agent && self.waiting.get(task).is_some_and(|entry| skills.contains(&entry.skill))
        });
        granted.map(|(task, _)| task).min_by_key(|task| (self.rank(task), *task)).cloned()
    }

    fn limits(&self) -> &Limits {
        static NONE: std::sync::LazyLock<Limits> = std::sync::LazyLock::new(Limits::default);
        self.rules.as_ref().map_or(&NONE, |rules| &rules.limits)
    }
    fn place<'a>(&'a self, task: &'a Key, entry: &'a Waiting) -> Place<'a> {
        let class = class(self.limits(), entry.priority, entry.since);
        Place { task, skill: &entry.skill, class, owner: &entry.owner, since: entry.since }
    }
    fn line_up(&mut self, task: &Key, entry: &Waiting) {
        if self.hold_of(task).is_some() {
            return;
        }
        let weight = self.limits().weights.get(&entry.owner).copied().unwrap_or(1);
        let place = Place {
            task,
            skill: &entry.skill,
            class: class(self.limits(), entry.priority, entry.since),
            owner: &entry.owner,
            since: entry.since,
        };
        self.order.insert(place);
        self.order.weigh(&entry.owner, weight);
    }
    fn step_out(&mut self, task: &Key, entry: &Waiting) {
        let class = class(self.limits(), entry.priority, entry.since);
        let (skill, owner, since) = (&entry.skill, &entry.owner, entry.since);
        self.order.remove(Place { task, skill, class, owner, since });
    }
    fn stop_waiting(&mut self, task: &Key) -> Option<Waiting> {
        let entry = self.waiting.get(task)?.clone();
        self.step_out(task, &entry);
        self.waiting.remove_mut(task);
        self.granted.remove_mut(task);
        Some(entry)
    }
    /// Changes what the order of waiting attempts depends on, for the tasks that `concerned` accepts.
    fn reorder(&mut self, concerned: impl Fn(&Key) -> bool, change: impl FnOnce(&mut Self)) {
        let waiting: Vec<_> = self.waiting.iter().filter(|(task, _)| concerned(task)).collect();
        let waiting: Vec<_> =
            waiting.into_iter().map(|(task, entry)| (task.clone(), entry.clone())).collect();
        for (task, entry) in &waiting {
            self.step_out(task, entry);
        }
        change(self);
        for (task, entry) in &waiting {
            self.line_up(task, entry);
        }
    }
    fn set_rules(&mut self, rules: &Rules) {
        let is_order_new = self.limits() != &rules.limits;
        let set = |queue: &mut Self| queue.rules = Some(Arc::new(rules.clone()));
        if !is_order_new {
            set(self);
        } else {
            self.reorder(|_| true, set);
            let owners: Vec<_> = self.order.owners().map(|(owner, _)| owner.clone()).collect();
            for owner in owners {
                let weight = self.limits().weights.get(&owner).copied().unwrap_or(1);
                self.order.weigh(&owner, weight);
            }
        }
        if !rules.governed {
            self.granted = Map::new_sync();
        }
    }
}

impl From<State> for Stored {
    fn from(state: State) -> Self {
        let served =
            state.order.owners().map(|(name, owner)| (name.clone(), (owner.served, owner.turn))).collect();
        let State { waiting, running, granted, rules, holds, assigned, last_claim, order: _ } = state;
        let (waiting, running, granted) = (std(&waiting), std(&running), std(&granted));
        let rules = rules.map(Arc::unwrap_or_clone);
        Self { waiting, running, granted, rules, holds, assigned, last_claim, served }
    }
}

/// The key range of a tree, or of the rest after a task.
fn from<'a>(root: &'a Key, after: Option<&'a Key>) -> (Bound<&'a Key>, Bound<&'a Key>) {
    (after.map_or(Bound::Included(root), Bound::Excluded), Bound::Unbounded)
}

/// The tasks of a tree: keys with a common prefix are neighbours.
fn within<'a, V: 'a>(
    tasks: impl Iterator<Item = (&'a Key, &'a V)>,
    root: &'a Key,
) -> impl Iterator<Item = (&'a Key, &'a V)> {
    let alike = tasks.take_while(|(task, _)| task.as_str().starts_with(root.as_str()));
    alike.filter(|(task, _)| task.is_within(root))
}

fn behind(task: Option<&Key>) -> (Bound<&Key>, Bound<&Key>) {
    (task.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded)
}

fn std<K: Clone + Ord, V: Clone>(map: &Map<K, V>) -> BTreeMap<K, V> {
    map.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
}

impl From<Stored> for State {
    fn from(stored: Stored) -> Self {
        let Stored { waiting, running, granted, rules, holds, assigned, last_claim, served } = stored;
        let (rules, granted) = (rules.map(Arc::new), granted.into_iter().collect());
        let mut queue = Self { rules, holds, assigned, last_claim, granted, ..Self::default() };
        let mut busy: BTreeMap<SmolStr, u32> = BTreeMap::new();
        for job in running.values() {
            *busy.entry(job.owner.clone()).or_default() += 1;
        }
        queue.running = running.into_iter().collect();
        for (task, entry) in waiting {
            queue.line_up(&task, &entry);
            queue.waiting.insert_mut(task, entry);
        }
        for (owner, &(served, turn)) in &served {
            let running = busy.get(owner).copied().unwrap_or(0);
            queue.order.restore_owner(owner, running, Service { served, turn });
            let weight = queue.limits().weights.get(owner).copied().unwrap_or(1);
            queue.order.weigh(owner, weight);
        }
        queue
    }
}

/// Applies an event.
pub(super) fn fold(state: &mut State, event: &Event) {
    match event {
        Event::Enqueued(entry) => {
            let Entry { task, attempt, skill, priority, owner, since } = entry;
            state.stop_waiting(task);
            let (skill, owner) = (skill.clone(), owner.clone());
            let entry = Waiting { attempt: *attempt, skill, priority: *priority, owner, since: *since };
            state.line_up(task, &entry);
            state.waiting.insert_mut(task.clone(), entry);
        }
        Event::Granted { task, agent, .. } => state.granted.insert_mut(task.clone(), agent.clone()),
        Event::Revoked { task, .. } => drop(state.granted.remove_mut(task)),
        Event::Assigned { task, attempt, agent, worker, at, .. } => {
            let Some(entry) = state.waiting.get(task).cloned() else { return };
            state.assigned += 1;
            state.last_claim = Some(LastClaim { agent: agent.clone(), worker: worker.clone(), at: *at });
            // Before it stops waiting, because an owner without attempts is removed.
            state.order.serve(&entry.owner, state.assigned);
            state.stop_waiting(task);
            let job = Running { attempt: *attempt, owner: entry.owner, agent: agent.clone(), at: *at };
            state.running.insert_mut(task.clone(), job);
        }
        Event::Released { task, attempt, .. } => {
            if state.waiting.get(task).is_some_and(|entry| entry.attempt == *attempt) {
                state.stop_waiting(task);
            } else if let Some(job) = state.running.get(task).filter(|job| job.attempt == *attempt).cloned() {
                state.running.remove_mut(task);
                state.order.relieve(&job.owner);
            }
        }
        Event::RulesSet(rules) => state.set_rules(rules),
        Event::Held { cause, root, reason, at } => {
            let hold = Hold { root: root.clone(), reason: reason.clone(), since: *at };
            state.reorder(|task| task.is_within(root), |queue| drop(queue.holds.insert(cause.clone(), hold)));
            let held: Vec<Key> = state.granted.keys().filter(|task| task.is_within(root)).cloned().collect();
            for task in held {
                state.granted.remove_mut(&task);
            }
        }
        Event::Eased { cause } => {
            let Some(hold) = state.holds.get(cause).cloned() else { return };
            state.reorder(|task| task.is_within(&hold.root), |queue| drop(queue.holds.remove(cause)));
        }
    }
}
