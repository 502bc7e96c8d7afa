//! The answers of a queue, and its open work for workers.

use std::collections::BTreeMap;

use actors_core::{Context, Key, Opening, View};
use bus_schemas::EntityAddress;
use bus_schemas::commands::queue::{Query, lane};
use bus_schemas::views::lane::{Block, Limit, Part, SKILLS_MAX, Waiting};
use smol_str::SmolStr;

use super::state::State;

/// The most openings that are shown at once: the first ones by rank.
const OPENINGS_MAX: usize = 256;

/// The answer to a query.
pub(super) fn view(state: &State, query: Query, _context: &Context<'_>) -> View {
    match query {
        Query::Describe => View::of(&part(state)),
        Query::Explain { task } => View::of(&waiting(state, &task)),
    }
}

fn part(state: &State) -> Part {
    let mut running: BTreeMap<Key, u32> = BTreeMap::new();
    for (_, job) in state.all_running() {
        *running.entry(job.agent.clone()).or_default() += 1;
    }
    let mut skills: BTreeMap<SmolStr, u64> = BTreeMap::new();
    for (_, entry) in state.all_waiting() {
        *skills.entry(entry.skill.clone()).or_default() += 1;
    }
    while skills.len() > SKILLS_MAX {
        skills.pop_last();
    }
    Part {
        waiting: state.all_waiting().count() as u64,
        oldest: state.all_waiting().map(|(_, entry)| entry.since).min(),
        running,
        governed: state.rules().map(|rules| rules.governed),
        trees_held: state.holds().len() as u64,
        skills,
    }
}

fn waiting(state: &State, task: &Key) -> Waiting {
    if let Some(job) = state.running(task) {
        let (attempt, agent) = (job.attempt, Some(job.agent.clone()));
        return Waiting { attempt, agent, ..Waiting::default() };
    }
    let Some(entry) = state.waiting(task) else { return Waiting::default() };
    let mut blocks = Vec::new();
    let block = |what, reason: String| Block { what, reason, cause: None, until: None };
    if let Some((cause, hold)) = state.hold_of(task) {
        blocks.push(Block { cause: Some(cause.clone()), ..block(Limit::Held, hold.reason.clone()) });
    }
    if state.rules().is_none() {
        blocks.push(block(Limit::Order, "its lane has not said its rules yet".to_owned()));
    }
    if let Some(agent) = state.granted(task) {
        let reason = format!("all workers of agent `{agent}` are busy");
        blocks.push(block(Limit::Busy, reason));
    }
    let (attempt, since, ahead) = (entry.attempt, Some(entry.since), state.ahead(task));
    let last_claim = state.last_claim().cloned();
    Waiting { waits: true, attempt, agent: None, since, ahead, blocks, last_claim }
}

/// The work that needs a worker: in an open lane the next attempt of each skill, in one that governs the
/// attempts with leave.
pub(super) fn openings(state: &State, entity: &EntityAddress) -> Vec<Opening> {
    let Some(lane) = lane(&entity.key) else { return Vec::new() };
    let mut openings: Vec<Opening> = if state.is_open() {
        let heads = state.order().heads();
        heads
            .map(|(skill, rank)| Opening { lane: lane.clone(), skill: skill.clone(), agent: None, rank })
            .collect()
    } else {
        let mut granted: BTreeMap<(SmolStr, Key), _> = BTreeMap::new();
        for (task, agent) in state.all_granted() {
            let Some((entry, rank)) = state.waiting(task).zip(state.rank(task)) else { continue };
            let first = granted.entry((entry.skill.clone(), agent.clone())).or_insert(rank);
            *first = rank.min(*first);
        }
        let granted = granted.into_iter();
        granted
            .map(|((skill, agent), rank)| Opening { lane: lane.clone(), skill, agent: Some(agent), rank })
            .collect()
    };
    openings.sort_by_key(|opening| opening.rank);
    openings.truncate(OPENINGS_MAX);
    openings
}
