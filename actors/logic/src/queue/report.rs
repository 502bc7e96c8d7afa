//! What a queue tells a lane that begins to govern: all that waits and runs here, in pieces.

use actors_core::{Context, Decision, Key};
use bus_schemas::commands::broker;
use bus_schemas::commands::queue::{Command, Entry};
use bus_schemas::events::queue::Event;

use super::decide::partition;
use super::state::{State, Waiting};

/// Attempts in one piece: with keys of the longest sort a hundred kilobytes.
const REPORTED_MAX: usize = 256;

/// Reports what comes after a task; the rest follows.
pub(super) fn report(
    decision: Decision<Event>,
    state: &State,
    after: Option<&Key>,
    lane: &Key,
    context: &Context<'_>,
) -> Decision<Event> {
    let Some(rules) = state.rules().filter(|rules| rules.governed) else { return decision };
    // No more than are told, and one that says whether more follow.
    let waiting = state.waiting_after(after).filter(|task| state.hold_of(task).is_none());
    let running = state.running_after(after);
    let mut tasks: Vec<&Key> = waiting.take(REPORTED_MAX + 1).chain(running.take(REPORTED_MAX + 1)).collect();
    tasks.sort();
    let more = tasks.len() > REPORTED_MAX;
    tasks.truncate(REPORTED_MAX);
    let last = tasks.last().map(|task| (*task).clone());
    let (mut waiting, mut running) = (Vec::new(), Vec::new());
    for task in tasks {
        if let Some(found) = state.waiting(task) {
            waiting.push(entry(task, found));
        }
        if let Some(job) = state.running(task) {
            let (attempt, owner, agent, at) = (job.attempt, job.owner.clone(), job.agent.clone(), job.at);
            running.push(broker::Running { task: task.clone(), attempt, owner, agent, at });
        }
    }
    let partition = partition(context);
    let report = broker::Command::Report { partition, number: rules.number, waiting, running, more };
    let decision = decision.send(lane.clone(), &report);
    match last.filter(|_| more) {
        Some(after) => decision.send(context.entity.key.clone(), &Command::Report { after }),
        None => decision,
    }
}

/// An attempt that waits, as it is told.
pub(super) fn entry(task: &Key, waiting: &Waiting) -> Entry {
    let Waiting { attempt, skill, priority, owner, since } = waiting.clone();
    Entry { task: task.clone(), attempt, skill, priority, owner, since }
}
