//! Decides the commands of an agent.

use std::collections::BTreeSet;

use actors_core::{Context, Decision, Key, Refusal, Timestamp, View};
use bus_schemas::Caller;
use bus_schemas::commands::agent::{AgentCard, Command, Query, Registration};
use bus_schemas::commands::lane::{self, HoldScope, LANE_BYTES_MAX};
use bus_schemas::events::agent::Event;
use bus_schemas::text::{is_line, is_prose};
use smol_str::SmolStr;

use super::declare;
use super::state::{State, Worker, fold};
use crate::text::words;

/// The most workers of one agent: all of them are in one state.
const WORKERS_MAX: usize = 1_000;
/// The largest capacity: more jobs than one process can follow.
const CAPACITY_MAX: u32 = 10_000;
/// The most skills of a card: it lists what routing needs, and is no catalogue.
const SKILLS_MAX: usize = 64;
/// The longest skill id in bytes, as in a task.
const SKILL_BYTES_MAX: usize = 64;
/// The most lanes of a worker: each costs one offer per change.
const LANES_MAX: usize = 16;
/// The longest text of a card in bytes: a paragraph, repeated in every `worker-registered`.
const CARD_TEXT_BYTES_MAX: usize = 4_096;
/// The longest version or skill name in bytes: it fits into one table cell.
const CARD_NAME_BYTES_MAX: usize = 256;
/// The most bytes of all schemas of a card: it is in every `worker-registered`, and a command has 256 KiB.
const SCHEMAS_BYTES_MAX: usize = 64 * 1024;

/// The decision on a command.
pub(super) fn decide(
    state: &State,
    command: Command,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    let at = context.now;
    match command {
        Command::Register { worker, card, capacity, lanes } => {
            let said = Worker::new(capacity, lanes, &card);
            register(state, worker, card, said, context)
        }
        Command::Deregister { worker, reason } => {
            let reason = words(reason);
            Ok(leave(state, &worker.clone(), Event::WorkerDeregistered { worker, reason, at }))
        }
        Command::Hold { cause, reason, grace_ms } => {
            Ok(hold(state, Hold { cause, reason: words(reason), grace_ms }, context))
        }
        Command::Ease { cause } => Ok(ease(state, cause, at)),
        Command::LoseWorker { worker } => Ok(leave(state, &worker.clone(), Event::WorkerLost { worker, at })),
        Command::Load { manifest } => declare::load(state, *manifest, context),
        Command::Unload { reason } => declare::unload(state, reason, context),
        Command::ReportHealth { host, number, problem } => {
            declare::report(state, host, number, problem, context)
        }
    }
}

/// The answer to a query.
pub(super) fn view(state: &State, query: &Query, context: &Context<'_>) -> Result<View, Refusal> {
    if let Query::CheckManifest { manifest } = query {
        return declare::check(state, manifest, context).map(|loaded| View::of(&loaded));
    }
    let skilled = |(name, worker): (&SmolStr, &Worker)| (name.clone(), worker.skills.clone());
    let workers = state.workers.iter().map(skilled).collect();
    let (card, declared) = (state.card.clone(), state.declared.clone());
    Ok(View::of(&Registration { card, workers, declared }))
}

/// A worker joins, or sends something new.
fn register(
    state: &State,
    worker: SmolStr,
    card: AgentCard,
    said: Worker,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    check_worker(state, &worker, &said)?;
    check_card(&card, context)?;
    let known = state.workers.get(&worker) == Some(&said) && state.card.as_ref() == Some(&card);
    if known {
        return Ok(offer(Decision::none(), state, state));
    }
    let Worker { capacity, lanes, .. } = said;
    let event = Event::WorkerRegistered { worker, card, capacity, lanes, at: context.now };
    Ok(change(Decision::none(), state, event))
}

/// A hold, as commanded.
struct Hold {
    cause: SmolStr,
    reason: String,
    grace_ms: u64,
}

/// Holds the agent in the lanes that it serves, or served a moment ago.
fn hold(state: &State, hold: Hold, context: &Context<'_>) -> Decision<Event> {
    let decision = match state.holds.get(&hold.cause) == Some(&hold.reason) {
        true => Decision::none(),
        false => {
            let (cause, reason) = (hold.cause.clone(), hold.reason.clone());
            Decision::event(Event::Held { cause, reason, at: context.now })
        }
    };
    let agent = context.entity.key.clone();
    let hold = hold_of(agent, hold);
    state.capacities().into_keys().fold(decision, |decision, lane| decision.send(lane.clone(), &hold))
}

/// Ends a hold, also in lanes that have lost their workers meanwhile.
fn ease(state: &State, cause: SmolStr, at: Timestamp) -> Decision<Event> {
    let ease = lane::Command::Ease { cause: cause.clone(), per_minute: None };
    if !state.holds.contains_key(&cause) {
        // A repeat: a lane that still releases the held work gradually releases it at once.
        let lanes = state.capacities().into_keys();
        return lanes.fold(Decision::none(), |decision, lane| decision.send(lane.clone(), &ease));
    }
    let decision = Decision::event(Event::Eased { cause, at });
    state.holding_lanes().into_iter().fold(decision, |decision, lane| decision.send(lane, &ease))
}

fn hold_of(agent: Key, hold: Hold) -> lane::Command {
    let Hold { cause, reason, grace_ms } = hold;
    lane::Command::Hold { cause, scope: HoldScope::Agent { agent }, reason, interrupt: true, grace_ms }
}

/// Removes a worker; no effect if it was gone before.
fn leave(state: &State, worker: &str, event: Event) -> Decision<Event> {
    if !state.workers.contains_key(worker) {
        return Decision::none();
    }
    change(Decision::none(), state, event)
}

/// An event, and the offers that follow from it.
fn change(decision: Decision<Event>, before: &State, event: Event) -> Decision<Event> {
    let mut after = before.clone();
    fold(&mut after, &event);
    offer(decision.and(event), before, &after)
}

/// Offers the current capacity to every lane that was or is served. A lane ignores what it knows.
fn offer(mut decision: Decision<Event>, before: &State, after: &State) -> Decision<Event> {
    let (skills, now) = (after.skills(), after.capacities());
    let Some(agent) = after.card.as_ref().map(|card| card.name.clone()) else { return decision };
    let lanes: BTreeSet<_> = before.capacities().into_keys().chain(now.keys().copied()).collect();
    for lane in lanes {
        let capacity = now.get(lane).copied().unwrap_or(0);
        let offer = lane::Command::OfferAgent {
            agent: agent.clone(),
            skills: skills.clone(),
            capacity,
            dependencies: after.dependencies(),
        };
        // A lane that is served for the first time does not know the holds.
        if !before.capacities().contains_key(lane) {
            for (cause, reason) in &after.holds {
                let hold = Hold { cause: cause.clone(), reason: reason.clone(), grace_ms: 0 };
                decision = decision.send(lane.clone(), &hold_of(agent.clone(), hold));
            }
        }
        decision = decision.send(lane.clone(), &offer);
    }
    decision
}

fn check_worker(state: &State, worker: &SmolStr, said: &Worker) -> Result<(), Refusal> {
    if let Err(error) = Caller::parse(worker) {
        return Err(Refusal::new("invalid-worker", format!("the worker's name: {error}")));
    }
    if !state.workers.contains_key(worker) && state.workers.len() >= WORKERS_MAX {
        return Err(Refusal::new("too-many-workers", format!("the agent has {WORKERS_MAX} workers"))
            .hint("give further workers another agent name"));
    }
    if !(1..=CAPACITY_MAX).contains(&said.capacity) {
        return Err(Refusal::new(
            "invalid-capacity",
            format!("the capacity must be 1 to {CAPACITY_MAX}, is {}", said.capacity),
        )
        .hint("send `deregister` to take a worker out"));
    }
    if !(1..=LANES_MAX).contains(&said.lanes.len()) {
        return Err(Refusal::new(
            "invalid-lanes",
            format!("a worker serves 1 to {LANES_MAX} lanes, not {}", said.lanes.len()),
        ));
    }
    if let Some(lane) = said.lanes.iter().find(|lane| lane.as_str().len() > LANE_BYTES_MAX) {
        let message =
            format!("a lane's name has at most {LANE_BYTES_MAX} bytes, not {}", lane.as_str().len());
        return Err(Refusal::new("invalid-lanes", message));
    }
    Ok(())
}

/// Whether schemas are small, and JSON Schemas at first sight: whoever runs the skill compiles them.
fn check_schemas(card: &AgentCard) -> Result<(), Refusal> {
    let mut bytes = 0;
    for skill in &card.skills {
        for schema in [&skill.input, &skill.output] {
            if !schema.is_null() && !schema.is_object() && !schema.is_boolean() {
                let message =
                    format!("a schema of the skill `{}` is no JSON Schema: an object or a boolean", skill.id);
                return Err(Refusal::new("invalid-skills", message));
            }
            bytes += if schema.is_null() { 0 } else { schema.to_string().len() };
        }
    }
    if bytes <= SCHEMAS_BYTES_MAX {
        return Ok(());
    }
    let message = format!("the schemas of a card have at most {SCHEMAS_BYTES_MAX} bytes, not {bytes}");
    Err(Refusal::new("invalid-skills", message))
}

fn check_card(card: &AgentCard, context: &Context<'_>) -> Result<(), Refusal> {
    let name = &context.entity.key;
    if card.name != *name {
        return Err(Refusal::new(
            "name-mismatch",
            format!("the card names `{}`, but the agent is `{name}`", card.name),
        )
        .hint(format!("register with `agent/{}`", card.name)));
    }
    if !(1..=SKILLS_MAX).contains(&card.skills.len()) {
        return Err(Refusal::new(
            "invalid-skills",
            format!("a card has 1 to {SKILLS_MAX} skills, not {}", card.skills.len()),
        ));
    }
    let mut seen = BTreeSet::new();
    for skill in &card.skills {
        if !(1..=SKILL_BYTES_MAX).contains(&skill.id.len()) || !is_line(&skill.id) {
            let bytes = skill.id.len();
            let message =
                format!("a skill's id has 1 to {SKILL_BYTES_MAX} bytes of visible text, not {bytes}");
            return Err(Refusal::new("invalid-skills", message));
        }
        if !seen.insert(&skill.id) {
            return Err(Refusal::new("invalid-skills", format!("the skill `{}` is listed twice", skill.id)));
        }
    }
    check_schemas(card)?;
    let of_skills = card.skills.iter().flat_map(|skill| [&skill.name].into_iter().chain(&skill.tags));
    let mut names = of_skills.chain([&card.version]).map(|text| (text, CARD_NAME_BYTES_MAX, is_line(text)));
    let mut texts = card.skills.iter().map(|skill| &skill.description).chain([&card.description]);
    let fits = |(text, max, shows): (&String, usize, bool)| text.len() <= max && shows;
    if names.all(fits) && texts.all(|text| fits((text, CARD_TEXT_BYTES_MAX, is_prose(text)))) {
        return Ok(());
    }
    Err(Refusal::new(
        "invalid-card",
        format!(
            "a description has at most {CARD_TEXT_BYTES_MAX} bytes of visible text; the version, and names and \
             tags of skills, at most {CARD_NAME_BYTES_MAX}"
        ),
    ))
}
