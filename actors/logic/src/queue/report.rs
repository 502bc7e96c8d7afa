//! The report of waiting and running attempts to a lane that begins to govern, in parts.

use actors_core::{Context, Decision, Key};
use bus_schemas::commands::lane;
use bus_schemas::commands::queue::{Command, Entry};
use bus_schemas::events::queue::Event;

use super::decide::partition;
use super::state::{State, Waiting};

/// The most attempts in one part: a hundred kilobytes with the longest keys.
const REPORTED_MAX: usize = 256;

/// Reports the attempts after a task; the rest follows.
pub(super) fn report(
    decision: Decision<Event>,
    state: &State,
    after: Option<&Key>,
    lane: &Key,
    context: &Context<'_>,
) -> Decision<Event> {
    let Some(rules) = state.rules().filter(|rules| rules.governed) else { return decision };
    // One more than the part, to see whether more follow.
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
            running.push(lane::Running { task: task.clone(), attempt, owner, agent, at });
        }
    }
    let partition = partition(context);
    let report = lane::Command::Report { partition, number: rules.number, waiting, running, more };
    let decision = decision.send(lane.clone(), &report);
    match last.filter(|_| more) {
        Some(after) => decision.send(context.entity.key.clone(), &Command::Report { after }),
        None => decision,
    }
}

/// A waiting attempt, as the lane is told.
pub(super) fn entry(task: &Key, waiting: &Waiting) -> Entry {
    let Waiting { attempt, skill, priority, owner, since } = waiting.clone();
    Entry { task: task.clone(), attempt, skill, priority, owner, since }
}
