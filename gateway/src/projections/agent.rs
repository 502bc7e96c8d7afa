//! The view of an agent and its workers.

use bus_schemas::events::agent::Event;
use bus_schemas::manifests::{Declared, SHIPPED};
use bus_schemas::{Key, Revision, Timestamp};
use gateway_api::agents::{Agent, Hold, Source, Worker};
use rusqlite::types::Value;

use super::view::{View, time};

impl View for Agent {
    type Event = Event;
    const TABLE: &'static str = "agents";
    const COLUMNS: &'static [(&'static str, &'static str)] = &[("updated_at", "INTEGER NOT NULL")];

    fn fold(view: &mut Option<Self>, id: &Key, event: &Event, at: Timestamp, revision: Revision) {
        let agent = view.get_or_insert_with(|| Self {
            name: id.clone(),
            card: None,
            capacity: 0,
            workers: Vec::new(),
            holds: Vec::new(),
            source: match SHIPPED.contains(&id.as_str()) {
                true => Source::Shipped,
                false => Source::Outside,
            },
            declared: None,
            updated_at: at,
            revision,
        });
        agent.updated_at = at;
        agent.revision = revision;
        change(agent, event);
    }
    fn revision(&self) -> Revision {
        self.revision
    }
    fn columns(&self) -> Vec<Value> {
        vec![time(self.updated_at)]
    }
}

fn change(agent: &mut Agent, event: &Event) {
    match event {
        Event::WorkerRegistered { worker, card, capacity, lanes, at } => {
            agent.card = Some(card.clone());
            agent.workers.retain(|known| known.worker != worker.as_str());
            agent.workers.push(Worker {
                worker: worker.to_string(),
                capacity: *capacity,
                lanes: lanes.clone(),
                registered_at: *at,
                lost_at: None,
                heard_at: None,
            });
        }
        Event::WorkerDeregistered { worker, .. } => {
            agent.workers.retain(|known| known.worker != worker.as_str());
        }
        Event::WorkerLost { worker, at } => {
            for known in agent.workers.iter_mut().filter(|known| known.worker == worker.as_str()) {
                known.lost_at = Some(*at);
            }
        }
        Event::Held { cause, reason, at } => {
            agent.holds.retain(|hold| hold.cause != cause.as_str());
            agent.holds.push(Hold { cause: cause.to_string(), reason: reason.clone(), since: *at });
        }
        Event::Eased { cause, .. } => agent.holds.retain(|hold| hold.cause != cause.as_str()),
        Event::ManifestLoaded { .. } | Event::ManifestUnloaded { .. } | Event::HealthReported { .. } => {
            agent.source = Source::Manifest;
            Declared::fold(&mut agent.declared, event);
        }
    }
    let there = agent.workers.iter().filter(|worker| worker.lost_at.is_none());
    agent.capacity = there.fold(0, |sum, worker| sum.saturating_add(worker.capacity));
}

#[cfg(test)]
mod tests {
    use bus_schemas::commands::agent::AgentCard;

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
