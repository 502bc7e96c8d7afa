//! What a lane remembers: who waits, what runs where, who offers what, and the cap.

use std::collections::{BTreeMap, BTreeSet};

use bus_schemas::events::broker::Event;
use bus_schemas::{Key, Timestamp};
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::queue::{Leaving, Queue};

/// A lane. Only [`Stored`] is written into snapshots; the queue is rebuilt from it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub struct State {
    waiting: BTreeMap<Key, Waiting>,
    running: BTreeMap<Key, Running>,
    offers: BTreeMap<Key, Offer>,
    concurrent: Option<u32>,
    /// How many assignments there were: their numbers tell who was served longest ago.
    assigned: u64,
    queue: Queue,
}

/// An attempt that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// Which attempt.
    pub attempt: u32,
    /// The skill it needs.
    pub skill: SmolStr,
    /// 0 (last) to 9 (first).
    pub priority: u8,
    /// Whose work it is.
    pub owner: SmolStr,
    /// Since when.
    pub since: Timestamp,
}

/// An attempt that an agent has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// Which attempt.
    pub attempt: u32,
    /// Whose work it is.
    pub owner: SmolStr,
    /// Who has it.
    pub agent: Key,
}

/// What an agent offers, and what it has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// Its skills.
    pub skills: BTreeSet<SmolStr>,
    /// Jobs at once; 0 for an agent that left.
    pub capacity: u32,
    /// How many jobs of this lane it has.
    pub running: u32,
}

/// A lane as a snapshot holds it.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    waiting: BTreeMap<Key, Waiting>,
    running: BTreeMap<Key, Running>,
    offers: BTreeMap<Key, Offer>,
    concurrent: Option<u32>,
    assigned: u64,
    served: BTreeMap<SmolStr, u64>,
}

impl Offer {
    fn free(&self) -> u32 {
        self.capacity.saturating_sub(self.running)
    }
}

impl State {
    /// The attempt of a task that waits.
    pub fn waiting(&self, task: &Key) -> Option<&Waiting> {
        self.waiting.get(task)
    }
    /// The attempt of a task that runs.
    pub fn running(&self, task: &Key) -> Option<&Running> {
        self.running.get(task)
    }
    /// What an agent offers.
    pub fn offer(&self, agent: &Key) -> Option<&Offer> {
        self.offers.get(agent)
    }
    /// All agents.
    pub fn offers(&self) -> impl Iterator<Item = (&Key, &Offer)> {
        self.offers.iter()
    }
    /// How many attempts wait.
    pub fn waiting_count(&self) -> usize {
        self.waiting.len()
    }
    /// How many attempts run.
    pub fn running_count(&self) -> usize {
        self.running.len()
    }
    /// The bound on what runs at once; none is no bound.
    pub fn concurrent(&self) -> Option<u32> {
        self.concurrent
    }

    /// Whether one more may run when `leaving` of those that run have left.
    fn has_room(&self, leaving: usize) -> bool {
        self.concurrent.is_none_or(|cap| self.running.len() - leaving < cap as usize)
    }
    /// Which task is next, and for which agent.
    pub(super) fn pick(&self) -> Option<(Key, Key)> {
        if self.has_room(0) { self.queue.pick(None) } else { None }
    }
    /// Which task is next once this one has left.
    pub(super) fn pick_after(&self, leaving: &Running) -> Option<(Key, Key)> {
        if !self.has_room(1) {
            return None;
        }
        let offer = self.offers.get(&leaving.agent)?;
        self.queue.pick(Some(Leaving {
            owner: &leaving.owner,
            agent: &leaving.agent,
            skills: &offer.skills,
            free: offer.capacity.saturating_sub(offer.running.saturating_sub(1)),
        }))
    }
    /// The agent for one more attempt of this skill, if there is room for it.
    pub(super) fn freest(&self, skill: &SmolStr) -> Option<&Key> {
        if self.has_room(0) { self.queue.freest(skill) } else { None }
    }

    fn stop_waiting(&mut self, task: &Key) -> Option<Waiting> {
        let entry = self.waiting.remove(task)?;
        self.queue.remove(task, &entry.skill, entry.priority, &entry.owner, entry.since);
        Some(entry)
    }
    fn stop_running(&mut self, task: &Key) {
        let Some(job) = self.running.remove(task) else { return };
        self.queue.relieve(&job.owner);
        self.change_offer(&job.agent, |offer| offer.running = offer.running.saturating_sub(1));
    }
    /// Changes an offer and where it stands; one without capacity and jobs is forgotten.
    fn change_offer(&mut self, agent: &Key, change: impl FnOnce(&mut Offer)) {
        let mut offer = self.offers.remove(agent).unwrap_or_default();
        self.queue.set_free(agent, &offer.skills, offer.free(), 0);
        change(&mut offer);
        self.queue.set_free(agent, &offer.skills, 0, offer.free());
        if offer.capacity > 0 || offer.running > 0 {
            self.offers.insert(agent.clone(), offer);
        }
    }
}

impl From<State> for Stored {
    fn from(state: State) -> Self {
        let served = state.queue.served().map(|(owner, number)| (owner.clone(), number)).collect();
        let State { waiting, running, offers, concurrent, assigned, queue: _ } = state;
        Self { waiting, running, offers, concurrent, assigned, served }
    }
}

impl From<Stored> for State {
    fn from(stored: Stored) -> Self {
        let Stored { waiting, running, offers, concurrent, assigned, served } = stored;
        let mut queue = Queue::default();
        for (task, entry) in &waiting {
            queue.insert(task, &entry.skill, entry.priority, &entry.owner, entry.since);
        }
        let mut busy: BTreeMap<&SmolStr, u32> = BTreeMap::new();
        for job in running.values() {
            *busy.entry(&job.owner).or_default() += 1;
        }
        for (owner, number) in &served {
            queue.restore_owner(owner, busy.get(owner).copied().unwrap_or(0), *number);
        }
        for (agent, offer) in &offers {
            queue.set_free(agent, &offer.skills, 0, offer.free());
        }
        Self { waiting, running, offers, concurrent, assigned, queue }
    }
}

/// Applies an event.
pub(super) fn fold(state: &mut State, event: &Event) {
    match event {
        Event::Enqueued { task, attempt, skill, priority, owner, since } => {
            state.stop_waiting(task);
            let entry = Waiting {
                attempt: *attempt,
                skill: skill.clone(),
                priority: *priority,
                owner: owner.clone(),
                since: *since,
            };
            state.queue.insert(task, skill, *priority, owner, *since);
            state.waiting.insert(task.clone(), entry);
        }
        Event::Assigned { task, attempt, agent } => {
            let Some(entry) = state.stop_waiting(task) else { return };
            state.assigned += 1;
            state.queue.serve(&entry.owner, state.assigned);
            state.change_offer(agent, |offer| offer.running += 1);
            let job = Running { attempt: *attempt, owner: entry.owner, agent: agent.clone() };
            state.running.insert(task.clone(), job);
        }
        Event::Released { task, attempt } => {
            if state.waiting.get(task).is_some_and(|entry| entry.attempt == *attempt) {
                state.stop_waiting(task);
            } else if state.running.get(task).is_some_and(|job| job.attempt == *attempt) {
                state.stop_running(task);
            }
        }
        Event::AgentOffered { agent, skills, capacity } => {
            state.change_offer(agent, |offer| {
                offer.skills = skills.iter().cloned().collect();
                offer.capacity = *capacity;
            });
        }
        Event::CapSet { concurrent } => state.concurrent = *concurrent,
    }
}
