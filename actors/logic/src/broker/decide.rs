//! Decides the commands of a broker.

use std::collections::BTreeSet;

use actors_core::{Context, Decision, Key, Refusal};
use bus_schemas::commands::broker::Command;
use bus_schemas::commands::task;
use bus_schemas::events::broker::Event;

use super::state::{State, fold};

/// What a command leads to.
pub(super) fn decide(state: &State, command: Command, _: &Context<'_>) -> Result<Decision<Event>, Refusal> {
    Ok(match command {
        Command::Enqueue { task, attempt, skill, priority, owner, since } => enqueue(
            state,
            Event::Enqueued { task: task.clone(), attempt, skill, priority, owner, since },
            &task,
            attempt,
        ),
        Command::Release { task, attempt } => release(state, task, attempt),
        Command::OfferAgent { agent, skills, capacity } => {
            let skills: BTreeSet<_> = skills.into_iter().collect();
            let is_known = match state.offer(&agent) {
                Some(offer) => offer.skills == skills && offer.capacity == capacity,
                None => capacity == 0,
            };
            if is_known {
                return Ok(Decision::none());
            }
            let skills = skills.into_iter().collect();
            fill(state, vec![Event::AgentOffered { agent, skills, capacity }])
        }
        Command::SetCap { concurrent } if state.concurrent() == concurrent => Decision::none(),
        Command::SetCap { concurrent } => fill(state, vec![Event::CapSet { concurrent }]),
    })
}

/// An attempt waits, and is assigned at once where somebody is free.
fn enqueue(state: &State, enqueued: Event, task: &Key, attempt: u32) -> Decision<Event> {
    let waits = state.waiting(task).map(|entry| entry.attempt);
    let runs = state.running(task).map(|job| job.attempt);
    if waits.into_iter().chain(runs).any(|known| known >= attempt) {
        return Decision::none();
    }
    if let Some(stale) = runs {
        return fill(state, vec![Event::Released { task: task.clone(), attempt: stale }, enqueued]);
    }
    if state.pick().is_some() {
        return fill(state, vec![enqueued]);
    }
    // Nothing that waits could be assigned before, so the new attempt alone can.
    let Event::Enqueued { skill, .. } = &enqueued else { return Decision::event(enqueued) };
    let agent = state.freest(skill).cloned();
    let decision = Decision::event(enqueued);
    match agent {
        Some(agent) => assign(decision, task.clone(), attempt, agent),
        None => decision,
    }
}

/// An attempt no longer waits, or its slot is free again.
fn release(state: &State, task: Key, attempt: u32) -> Decision<Event> {
    let waits = state.waiting(&task).is_some_and(|entry| entry.attempt == attempt);
    let job = state.running(&task).filter(|job| job.attempt == attempt);
    if !waits && job.is_none() {
        return Decision::none();
    }
    let released = Event::Released { task, attempt };
    if state.pick().is_some() {
        return fill(state, vec![released]);
    }
    // Nothing could be assigned before, so one slot serves at most one.
    let decision = Decision::event(released);
    let next = job.filter(|_| !waits).and_then(|job| state.pick_after(job));
    match next.and_then(|(task, agent)| Some((state.waiting(&task)?.attempt, task, agent))) {
        Some((attempt, task, agent)) => assign(decision, task, attempt, agent),
        None => decision,
    }
}

/// The events, then as many assignments as possible. Copies the lane: only for what is rare.
fn fill(state: &State, events: Vec<Event>) -> Decision<Event> {
    let mut after = state.clone();
    let mut decision = Decision::none();
    for event in events {
        fold(&mut after, &event);
        decision = decision.and(event);
    }
    while let Some((task, agent)) = after.pick() {
        let Some(attempt) = after.waiting(&task).map(|entry| entry.attempt) else { break };
        fold(&mut after, &Event::Assigned { task: task.clone(), attempt, agent: agent.clone() });
        decision = assign(decision, task, attempt, agent);
    }
    decision
}

/// An agent gets an attempt, and the task hears of it.
fn assign(decision: Decision<Event>, task: Key, attempt: u32, agent: Key) -> Decision<Event> {
    let assign = task::Command::Assign { agent: agent.clone(), attempt };
    decision.and(Event::Assigned { task: task.clone(), attempt, agent }).send(task, &assign)
}
