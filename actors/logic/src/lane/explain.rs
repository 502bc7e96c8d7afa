//! Why work waits, in words.

use std::collections::{BTreeMap, BTreeSet};

use actors_core::{Context, View};
use bus_schemas::commands::lane::{HoldScope, Query};
use bus_schemas::settings::{Lanes, Setting};
use bus_schemas::views::lane::{Block, Lane, LaneAgent, Limit, Waiting};
use bus_schemas::{Key, Timestamp};
use smol_str::SmolStr;

use super::bounds;
use super::state::State;

/// The answer to a query.
pub(super) fn view(state: &State, query: Query, context: &Context<'_>) -> View {
    match query {
        Query::Describe => View::of(&lane(state, context)),
        Query::Explain { task, skill } => View::of(&explain(state, &task, &skill, context.now)),
    }
}

/// The current state of the lane. The attempts of an open lane are known to its queues.
fn lane(state: &State, context: &Context<'_>) -> Lane {
    let now = context.now;
    let agents = state.offers().map(|(agent, offer)| LaneAgent {
        agent: agent.clone(),
        capacity: offer.capacity,
        running: offer.running,
        free: state.free(agent),
        skills: offer.skills.iter().cloned().collect(),
    });
    let mut blocks = bounds::of(state, now);
    for (cause, throttle) in state.throttles() {
        // A gradual release with room limits nothing.
        let limits = throttle.holds() || throttle.allows_at(state.running_under(throttle), now) == 0;
        if limits && !blocks.iter().any(|block| block.cause.as_ref() == Some(cause)) {
            let what = if throttle.is_closed() { Limit::Held } else { Limit::Easing };
            let scope = scope(throttle.scope());
            let reason = format!("{scope}: {}", throttle.reason);
            blocks.push(Block { what, reason, cause: Some(cause.clone()), until: None });
        }
    }
    // A held lane may lack agents for its work as well.
    let skills: BTreeSet<_> = state.all_waiting().map(|(_, entry)| &entry.skill).collect();
    for block in skills.into_iter().flat_map(|skill| of_skill(state, skill)) {
        let is_said = block.cause.is_some() && blocks.iter().any(|known| known.cause == block.cause);
        if !is_said {
            blocks.push(block);
        }
    }
    Lane {
        id: context.entity.key.clone(),
        waiting: state.waiting_count() as u64,
        oldest: state.all_waiting().map(|(_, entry)| entry.since).min(),
        running: state.running_count() as u64,
        skills: BTreeMap::new(),
        limits: state.limits().clone(),
        version: state.version(),
        settings: settings(state),
        begun_in_minute: state.begun().in_minute(now),
        begun_in_day: state.begun().in_day(now),
        blocks,
        pause: state.pauses().standing.clone(),
        trees_held: 0,
        governed: state.governs(),
        partitions: state.partitions().iter().copied().collect(),
        revision: context.revision,
        silent: Vec::new(),
        agents: agents.collect(),
    }
}

/// The versions of the lane's settings.
fn settings(state: &State) -> BTreeMap<SmolStr, u64> {
    let lanes = state.version().map(|version| (Lanes::NAME, version));
    let versions = state.policies().versions().into_iter().chain(lanes);
    versions.map(|(name, version)| (name.into(), version)).collect()
}

/// What limits a waiting task, as far as the lane knows.
fn explain(state: &State, task: &Key, skill: &SmolStr, now: Timestamp) -> Waiting {
    if let Some(job) = state.running(task) {
        let (attempt, agent) = (job.attempt, Some(job.agent.clone()));
        return Waiting { attempt, agent, ..Waiting::default() };
    }
    let mut blocks = bounds::of(state, now);
    blocks.extend(of_skill(state, skill));
    if let Some(silent) = state.unreported().iter().next() {
        let reason = format!("the queue of partition {silent} has not said what runs there");
        blocks.push(block(Limit::Order, reason));
    }
    let entry = state.waiting(task);
    let ahead = if entry.is_some() { state.ahead(task) } else { 0 };
    let (attempt, since) = entry.map_or((0, None), |entry| (entry.attempt, Some(entry.since)));
    let waits = entry.is_some();
    Waiting { waits, attempt, since, ahead, blocks, ..Waiting::default() }
}

/// What keeps the agents with a skill from one more job; empty if one of them is free.
fn of_skill(state: &State, skill: &SmolStr) -> Vec<Block> {
    let skilled: Vec<_> =
        state.offers().filter(|(_, offer)| offer.capacity > 0 && offer.skills.contains(skill)).collect();
    if skilled.is_empty() {
        return vec![block(Limit::NoAgent, format!("no living agent offers the skill `{skill}`"))];
    }
    if skilled.iter().any(|(agent, _)| state.free(agent) > 0) {
        return Vec::new();
    }
    let holds = state.throttles().iter().filter(|(_, throttle)| {
        let limits = throttle.allows(state.running_under(throttle)) == 0;
        limits && skilled.iter().any(|(agent, offer)| throttle.covers_agent(agent, offer))
    });
    let holds: Vec<_> = holds
        .map(|(cause, throttle)| {
            let what = if throttle.is_closed() { Limit::Held } else { Limit::Easing };
            Block { cause: Some(cause.clone()), ..block(what, throttle.reason.clone()) }
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

fn scope(scope: &HoldScope) -> String {
    match scope {
        HoldScope::Lane => "the lane".to_owned(),
        HoldScope::Agent { agent } => format!("agent `{agent}`"),
        HoldScope::Dependency { dependency } => format!("agents that depend on `{dependency}`"),
    }
}
