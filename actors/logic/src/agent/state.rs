//! What an agent remembers: its card and its live workers.

use std::collections::{BTreeMap, BTreeSet};

use bus_schemas::Key;
use bus_schemas::commands::agent::AgentCard;
use bus_schemas::commands::breaker;
use bus_schemas::events::agent::Event;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

/// The card that was registered last, and who is alive.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// What the agent is; none before the first worker.
    pub card: Option<AgentCard>,
    /// The live workers by name.
    pub workers: BTreeMap<SmolStr, Worker>,
    /// What holds it, and why.
    #[serde(default)]
    pub holds: BTreeMap<SmolStr, String>,
    /// The lanes that were told of what holds it: they must hear of its end, whether or not somebody
    /// serves them by then.
    #[serde(default)]
    pub holding: BTreeSet<Key>,
}

/// What a live worker said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worker {
    /// Jobs at once.
    pub capacity: u32,
    /// The lanes it serves, sorted.
    pub lanes: Vec<Key>,
}

impl State {
    /// The capacity that the live workers offer each lane.
    pub fn capacities(&self) -> BTreeMap<&Key, u32> {
        let mut capacities = BTreeMap::new();
        for worker in self.workers.values() {
            for lane in &worker.lanes {
                let sum: &mut u32 = capacities.entry(lane).or_default();
                *sum = sum.saturating_add(worker.capacity);
            }
        }
        capacities
    }
    /// The lanes that it serves, and those that hold its work back.
    pub(super) fn holding_lanes(&self) -> BTreeSet<Key> {
        self.capacities().into_keys().chain(&self.holding).cloned().collect()
    }
    /// What its work depends on: what its card says, and itself.
    pub fn dependencies(&self) -> Vec<Key> {
        let own = self.card.iter().filter_map(|card| breaker::of_agent(&card.name));
        let said = self.card.iter().flat_map(|card| &card.dependencies).cloned();
        said.chain(own).collect::<BTreeSet<_>>().into_iter().collect()
    }
    /// The ids of its skills, sorted.
    pub fn skills(&self) -> Vec<SmolStr> {
        let mut skills: Vec<_> =
            self.card.iter().flat_map(|card| &card.skills).map(|skill| skill.id.clone()).collect();
        skills.sort();
        skills.dedup();
        skills
    }
}

/// Applies an event.
pub(super) fn fold(state: &mut State, event: &Event) {
    match event {
        Event::WorkerRegistered { worker, card, capacity, lanes, .. } => {
            state.card = Some(card.clone());
            let said = Worker { capacity: *capacity, lanes: lanes.clone() };
            state.workers.insert(worker.clone(), said);
            if !state.holds.is_empty() {
                state.holding.extend(lanes.iter().cloned());
            }
        }
        Event::WorkerDeregistered { worker, .. } | Event::WorkerLost { worker, .. } => {
            state.workers.remove(worker);
        }
        Event::Held { cause, reason, .. } => {
            state.holds.insert(cause.clone(), reason.clone());
            state.holding = state.holding_lanes();
        }
        Event::Eased { cause, .. } => {
            state.holds.remove(cause);
            if state.holds.is_empty() {
                state.holding.clear();
            }
        }
    }
}
