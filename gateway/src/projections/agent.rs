//! The view of an agent and its workers.

use bus_schemas::commands::agent::AgentCard;
use bus_schemas::events::agent::Event;
use bus_schemas::{Key, Revision, Timestamp};
use rusqlite::types::Value;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::view::{View, time};

/// An agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Agent {
    /// Its name.
    #[schema(value_type = String)]
    pub name: Key,
    /// What it is, as its last worker said; null where nothing was heard of it but that it is held.
    #[schema(value_type = Option<Object>)]
    pub card: Option<AgentCard>,
    /// Jobs at once, over all workers that are there.
    pub capacity: u32,
    /// Whoever registered and did not leave.
    pub workers: Vec<Worker>,
    /// What holds it: it gets no jobs.
    #[serde(default)]
    pub holds: Vec<Hold>,
    /// Milliseconds since 1970: when it last changed.
    #[schema(value_type = u64)]
    pub updated_at: Timestamp,
    /// How many events it has.
    #[schema(value_type = u64)]
    pub revision: Revision,
}

/// A worker of an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Worker {
    /// Its name.
    pub worker: String,
    /// How many jobs it does at once.
    pub capacity: u32,
    /// The lanes it serves.
    #[schema(value_type = Vec<String>)]
    pub lanes: Vec<Key>,
    /// Milliseconds since 1970: when it registered.
    #[schema(value_type = u64)]
    pub registered_at: Timestamp,
    /// Milliseconds since 1970: since when no host hears of it, neither by a claim nor by a renewal; none while it is
    /// heard of.
    #[schema(value_type = Option<u64>)]
    pub lost_at: Option<Timestamp>,
    /// Milliseconds since 1970: when a host heard of it last, by a claim or by a renewal, to a few seconds; none where
    /// no host has said so since this gateway began.
    #[schema(value_type = Option<u64>)]
    #[serde(default)]
    pub heard_at: Option<Timestamp>,
}

/// Why an agent gets no jobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Hold {
    /// Who holds: `halt/agent.<name>`.
    pub cause: String,
    /// Why.
    pub reason: String,
    /// Milliseconds since 1970: since when.
    #[schema(value_type = u64)]
    pub since: Timestamp,
}

impl View for Agent {
    type Event = Event;
    const TABLE: &'static str = "agents";
    const COLUMNS: &'static [&'static str] = &["updated_at"];

    fn fold(view: &mut Option<Self>, id: &Key, event: &Event, at: Timestamp, revision: Revision) {
        let agent = view.get_or_insert_with(|| Self {
            name: id.clone(),
            card: None,
            capacity: 0,
            workers: Vec::new(),
            holds: Vec::new(),
            updated_at: at,
            revision,
        });
        agent.updated_at = at;
        agent.revision = revision;
        agent.change(event);
    }
    fn revision(&self) -> Revision {
        self.revision
    }
    fn columns(&self) -> Vec<Value> {
        vec![time(self.updated_at)]
    }
}

impl Agent {
    fn change(&mut self, event: &Event) {
        match event {
            Event::WorkerRegistered { worker, card, capacity, lanes, at } => {
                self.card = Some(card.clone());
                self.workers.retain(|known| known.worker != worker.as_str());
                self.workers.push(Worker {
                    worker: worker.to_string(),
                    capacity: *capacity,
                    lanes: lanes.clone(),
                    registered_at: *at,
                    lost_at: None,
                    heard_at: None,
                });
            }
            Event::WorkerDeregistered { worker, .. } => {
                self.workers.retain(|known| known.worker != worker.as_str());
            }
            Event::WorkerLost { worker, at } => {
                for known in self.workers.iter_mut().filter(|known| known.worker == worker.as_str()) {
                    known.lost_at = Some(*at);
                }
            }
            Event::Held { cause, reason, at } => {
                self.holds.retain(|hold| hold.cause != cause.as_str());
                self.holds.push(Hold { cause: cause.to_string(), reason: reason.clone(), since: *at });
            }
            Event::Eased { cause, .. } => self.holds.retain(|hold| hold.cause != cause.as_str()),
        }
        let there = self.workers.iter().filter(|worker| worker.lost_at.is_none());
        self.capacity = there.fold(0, |sum, worker| sum.saturating_add(worker.capacity));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(worker: &str, capacity: u32) -> Event {
        let card = AgentCard {
            name: Key::parse("a").unwrap(),
            description: "counts".into(),
            version: "1".into(),
            skills: vec![],
            dependencies: vec![],
        };
        let worker = worker.into();
        Event::WorkerRegistered { worker, card, capacity, lanes: vec![], at: Timestamp(1) }
    }

    #[test]
    fn capacity_is_the_sum_of_the_workers_that_are_there() {
        let lost = Event::WorkerLost { worker: "one".into(), at: Timestamp(2) };
        let left =
            Event::WorkerDeregistered { worker: "two".into(), reason: String::new(), at: Timestamp(3) };
        let events = [joined("one", 2), joined("two", 3), lost, left, joined("one", 4)];
        let mut view = None;
        let mut capacities = Vec::new();
        for (index, event) in (1..).zip(&events) {
            Agent::fold(&mut view, &Key::parse("a").unwrap(), event, Timestamp(index), Revision(index));
            capacities.push(view.as_ref().unwrap().capacity);
        }
        assert_eq!(capacities, [2, 5, 3, 0, 4]);
        assert_eq!(view.unwrap().workers.len(), 1);
    }
}
