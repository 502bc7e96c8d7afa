//! Given, when, then for `queue`: helpers here, cases by topic.

mod governed;
mod holds;
mod open;
mod order;
mod properties;

use crate::testing::scenario::{Given, Outcome, given};
use actors_core::Timestamp;
use bus_schemas::commands::queue::{Command, Entry, Query, Rules, Take, key as queue_key};
use bus_schemas::commands::{lane, task};
use bus_schemas::events::queue::Event;
use bus_schemas::topology::PARTITIONS_DEFAULT;
use bus_schemas::{CommandId, Hash, PartitionId};

use super::Queue;
use crate::testing::{address, key, sent};

/// The time of the scenarios.
const NOW: Timestamp = Timestamp(1_000_000);
/// The partition of the queue.
const HERE: PartitionId = PartitionId(3);

fn name() -> String {
    format!("queue/{}", queue_key(&key("default"), HERE, PARTITIONS_DEFAULT))
}

/// A queue without rules yet.
fn queue(events: impl IntoIterator<Item = Event>) -> Given<Queue> {
    given(&address(&name()), events)
}

/// A queue whose lane governs, or not.
fn ruled(governed: bool, events: impl IntoIterator<Item = Event>) -> Given<Queue> {
    queue([Event::RulesSet(rules(governed, 1))].into_iter().chain(events))
}

fn rules(governed: bool, number: u64) -> Rules {
    Rules { governed, number, ..Rules::default() }
}

fn entry(name: &str, owner: &str, priority: u8, since: u64) -> Entry {
    let (owner, since) = (owner.into(), Timestamp(since));
    Entry { task: key(name), attempt: 1, skill: "code".into(), priority, owner, since }
}

fn enqueue(name: &str, owner: &str, priority: u8, since: u64) -> Command {
    Command::Enqueue(entry(name, owner, priority, since))
}

fn enqueued(name: &str, owner: &str, priority: u8, since: u64) -> Event {
    Event::Enqueued(entry(name, owner, priority, since))
}

/// Attempts that wait in this order.
fn waiting(names: &[&str]) -> Vec<Event> {
    names.iter().zip(1..).map(|(name, since)| enqueued(name, "ann", 5, since)).collect()
}

fn claim() -> CommandId {
    CommandId::from_text("a claim")
}

/// A worker of an agent with a number of places.
fn take_by(agent: &str, places: u32, skills: &[&str]) -> Command {
    let skills = skills.iter().map(|skill| (*skill).into()).collect();
    let (agent, worker) = (key(agent), "w1".into());
    Command::Take(Take { claim: claim(), agent, worker, skills, places, token: Hash::of(b"a token") })
}

fn take(places: u32) -> Command {
    take_by("coder", places, &["code"])
}

fn assigned(name: &str) -> Event {
    let (agent, worker) = (key("coder"), "w1".into());
    Event::Assigned { task: key(name), attempt: 1, agent, worker, claim: claim(), at: NOW }
}

fn release(name: &str) -> Command {
    Command::Release { task: key(name), attempt: 1, outcome: lane::Outcome::Done }
}

fn released(name: &str) -> Event {
    Event::Released { task: key(name), attempt: 1, outcome: lane::Outcome::Done }
}

fn grant(name: &str, agent: &str) -> Command {
    Command::Grant { task: key(name), attempt: 1, agent: key(agent) }
}

fn granted(name: &str, agent: &str) -> Event {
    Event::Granted { task: key(name), attempt: 1, agent: key(agent) }
}

/// The tasks that a decision assigns to a worker, in order.
fn taken(outcome: &Outcome<Queue>) -> Vec<String> {
    let events = outcome.decision().events.iter();
    events
        .filter_map(|event| match event {
            Event::Assigned { task, .. } => Some(task.to_string()),
            _ => None,
        })
        .collect()
}

/// The messages for the lane.
fn told_lane(outcome: &Outcome<Queue>) -> Vec<lane::Command> {
    let sends = outcome.decision().sends.iter().filter(|send| send.to == address("lane/default"));
    sends.map(|send| send.body.read().expect("a command of a lane")).collect()
}
