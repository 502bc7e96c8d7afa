//! Why something waits, in words.

use std::collections::BTreeSet;

use bus_schemas::views::lane::{Block, Lane, LaneAgent, Limit, Waiting};
use bus_schemas::{Key, Timestamp};
use smol_str::SmolStr;

use super::bounds;
use super::state::State;

/// The lane as it is now.
pub(super) fn lane(state: &State, id: &Key, now: Timestamp) -> Lane {
    let agents = state.offers().map(|(agent, offer)| LaneAgent {
        agent: agent.clone(),
        capacity: offer.capacity,
        running: offer.running,
        free: state.free(agent),
    });
    let mut blocks = bounds::of(state, now);
    for (cause, valve) in state.valves() {
        if !blocks.iter().any(|block| block.cause.as_ref() == Some(cause)) {
            let what = if valve.is_closed() { Limit::Held } else { Limit::Easing };
            let scope = scope(valve.scope());
            let reason = format!("{scope}: {}", valve.reason);
            blocks.push(Block { what, reason, cause: Some(cause.clone()), until: None });
        }
    }
    if blocks.is_empty() {
        let skills: BTreeSet<_> = state.all_waiting().map(|(_, entry)| &entry.skill).collect();
        blocks.extend(skills.into_iter().flat_map(|skill| of_skill(state, skill)));
    }
    Lane {
        id: id.clone(),
        waiting: state.waiting_count() as u64,
        oldest: state.all_waiting().map(|(_, entry)| entry.since).min(),
        running: state.running_count() as u64,
        limits: state.limits().clone(),
        version: state.version(),
        begun_in_minute: state.begun().in_minute(now),
        begun_in_day: state.begun().in_day(now),
        blocks,
        agents: agents.collect(),
    }
}

/// What a task waits for.
pub(super) fn task(state: &State, task: &Key, now: Timestamp) -> Waiting {
    if let Some(job) = state.running(task) {
        let (attempt, agent) = (job.attempt, Some(job.agent.clone()));
        return Waiting { waits: false, attempt, agent, since: None, ahead: 0, blocks: Vec::new() };
    }
    let Some(entry) = state.waiting(task) else {
        return Waiting { waits: false, attempt: 0, agent: None, since: None, ahead: 0, blocks: Vec::new() };
    };
    let mut blocks = Vec::new();
    if let Some((cause, valve)) = state.tree_hold(task) {
        blocks.push(Block { cause: Some(cause.clone()), ..block(Limit::Held, valve.reason.clone()) });
    }
    blocks.extend(bounds::of(state, now));
    blocks.extend(of_skill(state, &entry.skill));
    let ahead = state.ahead(task);
    if blocks.is_empty() {
        blocks.push(block(Limit::Order, format!("{ahead} are served before it")));
    }
    Waiting { waits: true, attempt: entry.attempt, agent: None, since: Some(entry.since), ahead, blocks }
}

/// What keeps the agents with a skill from one more job; nothing where one of them is free.
fn of_skill(state: &State, skill: &SmolStr) -> Vec<Block> {
    let skilled: Vec<_> =
        state.offers().filter(|(_, offer)| offer.capacity > 0 && offer.skills.contains(skill)).collect();
    if skilled.is_empty() {
        return vec![block(Limit::NoAgent, format!("no living agent offers the skill `{skill}`"))];
    }
    if skilled.iter().any(|(agent, _)| state.free(agent) > 0) {
        return Vec::new();
    }
    let holds = state.valves().iter().filter(|(_, valve)| {
        valve.is_closed() && skilled.iter().any(|(agent, offer)| valve.covers_agent(agent, offer))
    });
    let holds: Vec<_> = holds
        .map(|(cause, valve)| Block {
            cause: Some(cause.clone()),
            ..block(Limit::Held, valve.reason.clone())
        })
        .collect();
    match holds.is_empty() {
        true => vec![block(Limit::Busy, format!("all agents with the skill `{skill}` are busy"))],
        false => holds,
    }
}

fn block(what: Limit, reason: String) -> Block {
    Block { what, reason, cause: None, until: None }
}

fn scope(scope: &bus_schemas::commands::broker::HoldScope) -> String {
    use bus_schemas::commands::broker::HoldScope::{Agent, Dependency, Lane, Tree};
    match scope {
        Lane => "the lane".to_owned(),
        Agent { agent } => format!("agent `{agent}`"),
        Dependency { dependency } => format!("agents that depend on `{dependency}`"),
        Tree { root } => format!("task `{root}` and what is below it"),
    }
}
