//! The state of an agent: its card and its live workers.

use std::collections::{BTreeMap, BTreeSet};

use bus_schemas::Key;
use bus_schemas::commands::agent::AgentCard;
use bus_schemas::commands::breaker;
use bus_schemas::events::agent::Event;
use bus_schemas::manifests::Declared;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

/// The last registered card, and the live workers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The agent's card; `None` before the first worker.
    pub card: Option<AgentCard>,
    /// The live workers by name.
    pub workers: BTreeMap<SmolStr, Worker>,
    /// The holds by cause, each with its reason.
    #[serde(default)]
    pub holds: BTreeMap<SmolStr, String>,
    /// The lanes that were told of the holds: they must be told of the end, whether or not workers serve them
    /// then.
    #[serde(default)]
    pub holding: BTreeSet<Key>,
    /// The manifest that declares the agent, if one does or did.
    #[serde(default)]
    pub declared: Option<Declared>,
}

/// The registration of a live worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worker {
    /// How many jobs it does at once.
    pub capacity: u32,
    /// The lanes it serves, sorted.
    pub lanes: Vec<Key>,
    /// The ids of the skills on its card, sorted: workers of different versions have different ones.
    pub skills: Vec<SmolStr>,
}

impl Worker {
    /// A worker that registers with this card.
    pub(super) fn new(capacity: u32, mut lanes: Vec<Key>, card: &AgentCard) -> Self {
        lanes.sort();
        lanes.dedup();
        let skills: BTreeSet<_> = card.skills.iter().map(|skill| skill.id.clone()).collect();
        Self { capacity, lanes, skills: skills.into_iter().collect() }
    }
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
    /// The lanes that it serves, and those that hold its work.
    pub(super) fn holding_lanes(&self) -> BTreeSet<Key> {
        self.capacities().into_keys().chain(&self.holding).cloned().collect()
    }
    /// The dependencies of its work: those on its card, and the agent itself.
    pub fn dependencies(&self) -> Vec<Key> {
        let own = self.card.iter().filter_map(|card| breaker::of_agent(&card.name));
        let said = self.card.iter().flat_map(|card| &card.dependencies).cloned();
        said.chain(own).collect::<BTreeSet<_>>().into_iter().collect()
    }
    /// The ids of the skills of its workers, sorted; those of the last card when it has none.
    pub fn skills(&self) -> Vec<SmolStr> {
        let of_workers = self.workers.values().flat_map(|worker| worker.skills.iter().cloned());
        let mut skills: BTreeSet<_> = of_workers.collect();
        if self.workers.is_empty() {
            skills.extend(self.card.iter().flat_map(|card| &card.skills).map(|skill| skill.id.clone()));
        }
        skills.into_iter().collect()
    }
}

/// Applies an event.
pub(super) fn fold(state: &mut State, event: &Event) {
    match event {
        Event::WorkerRegistered { worker, card, capacity, lanes, .. } => {
            state.card = Some(card.clone());
            let said = Worker::new(*capacity, lanes.clone(), card);
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
        Event::ManifestLoaded { .. } | Event::ManifestUnloaded { .. } | Event::HealthReported { .. } => {
            Declared::fold(&mut state.declared, event);
        }
    }
}
