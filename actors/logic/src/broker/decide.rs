//! Decides the commands of a broker.

use std::collections::BTreeSet;

use actors_core::{Context, Decision, Key, Refusal, Revision, Timestamp};
use bus_schemas::commands::broker::{Command, Limits};
use bus_schemas::commands::schedule::Recurrence;
use bus_schemas::commands::{breaker, halt, task};
use bus_schemas::events::broker::Event;
use bus_schemas::halts;
use bus_schemas::settings::{self, Lanes, Retry};
use smol_str::SmolStr;

use super::state::{AGEING_MS_MIN, State, fold};
use super::{bounds, explain, pause, policies, recall};
use crate::rules;
use crate::schedule::recurrence;

/// The timer that ends a bound of time.
const WAKE: &str = "wake";
/// The timer after which it is looked whether a release is over.
const END_EASING: &str = "end-easing";
/// A lane's rules stand in its state and in each event that changes them.
const WEIGHTS_MAX: usize = 1_000;
/// Each window is computed at each assignment.
const WINDOWS_MAX: usize = 16;
/// A longer window is a pause.
const WINDOW_MS_MAX: u64 = 7 * 86_400_000;

/// What a command leads to.
pub(super) fn decide(
    state: &State,
    command: Command,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    let asks = asks_for_rules(state, &command, context);
    let decision = decide_known(state, command, context)?;
    if !asks {
        return Ok(decision);
    }
    let decision = rules::watch::<settings::Limits, Event>(decision, context);
    let decision = rules::watch::<Retry, Event>(decision, context);
    Ok(rules::watch::<Lanes, Event>(decision, context))
}

/// Whether the lane asks for its rules: with what makes it one, and whenever it could have missed them.
fn asks_for_rules(state: &State, command: &Command, context: &Context<'_>) -> bool {
    let is_new = context.revision == Revision(0);
    state.version().is_none()
        && match command {
            Command::OfferAgent { .. } | Command::Wake => true,
            Command::Enqueue { .. } | Command::Pause { .. } | Command::Hold { .. } => is_new,
            _ => false,
        }
}

fn decide_known(state: &State, command: Command, context: &Context<'_>) -> Result<Decision<Event>, Refusal> {
    let at = context.now;
    let events = match command {
        Command::Enqueue { task, attempt, skill, .. } if runs_already(state, &task, attempt).is_some() => {
            // A task that is swept says so: the assignment did not reach it. Where it did, this is nothing new.
            let agent = runs_already(state, &task, attempt).expect("the guard found it");
            let policy = state.policies().of(&skill);
            let assign = task::Command::Assign { agent, attempt, policy };
            return Ok(Decision::none().send(task, &assign));
        }
        Command::Enqueue { task, attempt, .. } if waits_already(state, &task, attempt) => {
            // Said again by a task that is swept: if anything can be assigned, it is now.
            return Ok(doubt_halts(fill(state, Vec::new(), context), state, &context.entity.key));
        }
        Command::Enqueue { task, attempt, skill, priority, owner, since } => enqueue(
            state,
            Event::Enqueued { task: task.clone(), attempt, skill, priority, owner, since },
            &task,
            attempt,
        ),
        Command::Release { task, attempt, outcome } => {
            let waits = state.waiting(&task).is_some_and(|entry| entry.attempt == attempt);
            let runs = state.running(&task).is_some_and(|job| job.attempt == attempt);
            (waits || runs).then_some(vec![Event::Released { task, attempt, outcome }])
        }
        Command::OfferAgent { agent, skills, capacity, dependencies } => {
            let watches = watches(state, &dependencies, &context.entity.key);
            let (skills, needs) = (skills.into_iter().collect(), dependencies.into_iter().collect());
            let offered = offer(state, agent, skills, capacity, needs);
            return Ok(offered.map_or_else(Decision::none, |events| {
                let mut decision = fill(state, events, context);
                decision.sends.splice(0..0, watches.sends);
                decision
            }));
        }
        Command::ApplyConfig(config) if policies::are_policies(&config) => {
            policies::apply_config(state, &config)?.map(|event| vec![event])
        }
        Command::ApplyConfig(config) => {
            pause::apply_config(state, &config, context)?.map(|event| vec![event])
        }
        Command::Pause { reason, by } => pause::pause(state, reason, by, at)?.map(|event| vec![event]),
        Command::Resume { reason, by, per_minute } => {
            Some(vec![pause::resume(state, reason, by, per_minute, context)?])
        }
        Command::SetCap { concurrent } => {
            (state.limits().concurrent != concurrent).then_some(vec![Event::CapSet { concurrent }])
        }
        Command::SetLimits { limits, reason, by } => {
            check(&limits, context)?;
            (*state.limits() != limits).then_some(vec![Event::LimitsSet { limits, reason, by }])
        }
        Command::Hold { cause, scope, reason, interrupt, grace_ms } => {
            let grace = interrupt.then_some(grace_ms);
            return Ok(recall::hold(state, Event::Held { cause, scope, reason, at }, grace, at));
        }
        Command::Recall { cause } => return Ok(recall::recall(state, &cause)),
        Command::Ease { cause, per_minute } => {
            // What it does not know it does not hold.
            let is_known = state.valves().contains_key(&cause);
            is_known.then_some(vec![Event::Eased { cause, per_minute, at }])
        }
        Command::Probe { cause, permits } => probe(state, cause, permits).map(|event| vec![event]),
        Command::Wake => Some(Vec::new()),
        Command::Describe => {
            return Ok(Decision::none().reply(&explain::lane(state, &context.entity.key, at)));
        }
        Command::Explain { task } => {
            return Ok(Decision::none().reply(&explain::task(state, &task, at)));
        }
    };
    Ok(events.map_or_else(Decision::none, |events| fill(state, events, context)))
}

/// So many jobs may try; nothing where the cause holds no longer.
fn probe(state: &State, cause: SmolStr, permits: u32) -> Option<Event> {
    let valve = state.valves().get(&cause).filter(|valve| valve.holds() && valve.allows(0) != permits);
    valve.map(|_| Event::ProbesAllowed { cause, permits })
}

/// The agent that has this very attempt.
fn runs_already(state: &State, task: &Key, attempt: u32) -> Option<Key> {
    state.running(task).filter(|job| job.attempt == attempt).map(|job| job.agent.clone())
}

fn waits_already(state: &State, task: &Key, attempt: u32) -> bool {
    state.waiting(task).is_some_and(|entry| entry.attempt == attempt)
}

/// Asks each halt for which the lane holds something whether it stands still: its end may have been lost.
fn doubt_halts(decision: Decision<Event>, state: &State, lane: &Key) -> Decision<Event> {
    let holding = state.valves().iter().filter(|(_, valve)| valve.holds());
    let halts = holding.filter_map(|(cause, _)| Key::parse(cause.strip_prefix("halt/")?).ok());
    halts.fold(decision, |decision, halt| decision.send(halt, &halt::Command::Confirm { lane: lane.clone() }))
}

/// An attempt waits; nothing if it, or a later one, is known already.
fn enqueue(state: &State, enqueued: Event, task: &Key, attempt: u32) -> Option<Vec<Event>> {
    let waits = state.waiting(task).map(|entry| entry.attempt);
    let runs = state.running(task).map(|job| job.attempt);
    if waits.into_iter().chain(runs).any(|known| known >= attempt) {
        return None;
    }
    let stale =
        runs.map(|attempt| Event::Released { task: task.clone(), attempt, outcome: Default::default() });
    Some(stale.into_iter().chain([enqueued]).collect())
}

/// A lane hears of the halt of everything, and of the breakers that its agents depend on.
fn watches(state: &State, dependencies: &[Key], lane: &Key) -> Decision<Event> {
    let mut decision = Decision::none();
    if state.offers().next().is_none() {
        let all = halts::Scope::All.key().expect("`all` is a key");
        decision = decision.send(all, &halt::Command::Watch { lane: lane.clone() });
    }
    let known: BTreeSet<_> = state.offers().flat_map(|(_, offer)| &offer.dependencies).collect();
    for dependency in dependencies.iter().filter(|dependency| !known.contains(dependency)) {
        decision = decision.send(dependency.clone(), &breaker::Command::Watch { lane: lane.clone() });
    }
    decision
}

fn offer(
    state: &State,
    agent: Key,
    skills: BTreeSet<smol_str::SmolStr>,
    capacity: u32,
    dependencies: BTreeSet<Key>,
) -> Option<Vec<Event>> {
    let is_known = match state.offer(&agent) {
        Some(offer) => {
            offer.skills == skills && offer.capacity == capacity && offer.dependencies == dependencies
        }
        None => capacity == 0,
    };
    let (skills, dependencies) = (skills.into_iter().collect(), dependencies.into_iter().collect());
    (!is_known).then_some(vec![Event::AgentOffered { agent, skills, capacity, dependencies }])
}

/// The events, then as many assignments as the bounds allow.
fn fill(state: &State, events: Vec<Event>, context: &Context<'_>) -> Decision<Event> {
    let at = context.now;
    let mut after = state.clone();
    let mut decision = Decision::none();
    for event in events {
        fold(&mut after, &event);
        decision = decision.and(event);
    }
    decision = end_releases(decision, &mut after, at);
    while let Some((task, agent)) = after.pick() {
        let bounds = bounds::of(&after, at);
        if !bounds.is_empty() {
            // Other bounds end with a release; these end with time.
            if let Some(until) = bounds.iter().filter_map(|bound| bound.until).max() {
                decision = decision.set_timer(WAKE, until, &Command::Wake);
            }
            break;
        }
        let Some(entry) = after.waiting(&task) else { break };
        let (attempt, policy) = (entry.attempt, after.policies().of(&entry.skill));
        let assigned = Event::Assigned { task: task.clone(), attempt, agent: agent.clone(), at };
        fold(&mut after, &assigned);
        decision = decision.and(assigned).send(task, &task::Command::Assign { agent, attempt, policy });
        decision = end_releases(decision, &mut after, at);
    }
    match after.looks_at(at) {
        Some(looks_at) => decision.set_timer(END_EASING, looks_at, &Command::Wake),
        None => decision,
    }
}

/// What is released and bounds nothing any more is forgotten.
fn end_releases(mut decision: Decision<Event>, after: &mut State, at: Timestamp) -> Decision<Event> {
    for cause in after.over(at) {
        let ended = Event::EasingEnded { cause, at };
        fold(after, &ended);
        decision = decision.and(ended);
    }
    decision
}

/// Refuses rules that can not be kept.
fn check(limits: &Limits, context: &Context<'_>) -> Result<(), Refusal> {
    let refuse =
        |message: String| Err(Refusal::new("invalid-limits", message).hint("see `orrery lanes set --help`"));
    if limits.ageing_ms.is_some_and(|span| span < AGEING_MS_MIN) {
        return refuse(format!("`ageing_ms` must be at least {AGEING_MS_MIN}"));
    }
    if limits.weights.len() > WEIGHTS_MAX {
        return refuse(format!("`weights` names at most {WEIGHTS_MAX} owners"));
    }
    if let Some((owner, _)) = limits.weights.iter().find(|(_, weight)| !(1..=1_000).contains(*weight)) {
        return refuse(format!("the weight of `{owner}` must be 1 to 1000"));
    }
    if limits.windows.len() > WINDOWS_MAX {
        return refuse(format!("`windows` has at most {WINDOWS_MAX} entries"));
    }
    for window in &limits.windows {
        if !(1..=WINDOW_MS_MAX).contains(&window.duration_ms) {
            return refuse(format!("a window lasts 1 to {WINDOW_MS_MAX} milliseconds"));
        }
        let recurrence = Recurrence::Cron { expression: window.cron.clone() };
        if let Err(refusal) = recurrence::check(&recurrence, context.now) {
            return refuse(refusal.message);
        }
    }
    Ok(())
}
