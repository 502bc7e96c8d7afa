//! Decides the commands of a queue.

use actors_core::{Context, Decision, Key, Refusal, Revision};
use bus_schemas::PartitionId;
use bus_schemas::commands::lane;
use bus_schemas::commands::queue::{Command, Entry, Rules, Take, lane};
use bus_schemas::commands::task::{self, Policy};
use bus_schemas::events::queue::Event;

use super::state::{State, fold};
use super::{hold, report};
use crate::text::words;

/// The decision on a command.
pub(super) fn decide(
    state: &State,
    command: Command,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    let lane = lane(&context.entity.key).ok_or_else(|| {
        Refusal::new("invalid-key", format!("`{}` is not `<token>.<lane>`", context.entity.key))
    })?;
    let decision = decide_known(state, command, &lane, context);
    // The first event makes it a queue; then it asks for the rules.
    let is_new = context.revision == Revision(0) && !decision.events.is_empty();
    Ok(match is_new && state.rules().is_none() {
        true => decision.send(lane, &lane::Command::Join { partition: partition(context) }),
        false => decision,
    })
}

/// The partition of the queue.
pub(super) fn partition(context: &Context<'_>) -> PartitionId {
    context.entity.partition(context.partitions)
}

fn decide_known(state: &State, command: Command, lane: &Key, context: &Context<'_>) -> Decision<Event> {
    match command {
        Command::Enqueue(entry) => enqueue(state, entry, lane),
        Command::Release { task, attempt, outcome } => release(state, task, attempt, outcome, lane),
        Command::Take(offer) => take(state, &offer, context),
        Command::Rules(rules) => set_rules(state, rules, lane, context),
        Command::Grant { task, attempt, agent } => grant(state, task, attempt, agent, lane),
        Command::Revoke { task, attempt } => revoke(state, task, attempt, lane),
        Command::Hold { cause, root, reason, interrupt, grace_ms } => {
            let reason = words(reason);
            let grace = interrupt.then_some(grace_ms);
            let held = Event::Held { cause, root, reason, at: context.now };
            hold::hold(state, held, grace, lane, context)
        }
        Command::Ease { cause } => hold::ease(state, cause, lane, context),
        Command::Recall { cause, after } => hold::recall(state, &cause, after.as_ref(), context),
        Command::Tell { root, after } => {
            hold::tell(Decision::none(), state, &root, Some(&after), lane, context)
        }
        Command::Report { after } => report::report(Decision::none(), state, Some(&after), lane, context),
    }
}

/// Adds a waiting attempt; no effect if a later one is known. A repeat by a task that is swept is passed on
/// to the lane.
fn enqueue(state: &State, entry: Entry, lane: &Key) -> Decision<Event> {
    let (task, attempt) = (entry.task.clone(), entry.attempt);
    let waits = state.waiting(&task).map(|known| known.attempt);
    let runs = state.running(&task).map(|known| known.attempt);
    let is_held = state.hold_of(&task).is_some();
    let forward = |decision: Decision<Event>, entry: &Entry| match state.is_governed() && !is_held {
        true => decision.send(lane.clone(), &lane::Command::Enqueue(entry.clone())),
        false => decision,
    };
    if waits == Some(attempt) {
        return forward(Decision::none(), &entry);
    }
    if waits.into_iter().chain(runs).any(|known| known > attempt) {
        return Decision::none();
    }
    let mut decision = Decision::none();
    if let Some(former) = runs {
        let outcome = lane::Outcome::default();
        decision = release(state, task.clone(), former, outcome, lane);
    }
    let mut decision = decision.and(Event::Enqueued(entry.clone()));
    // The lane hears of an attempt of a held task only when the hold ends; until then it must not wait for the
    // former one, which may be over by then.
    if let Some(attempt) = waits.filter(|_| state.is_governed() && is_held) {
        let outcome = lane::Outcome::default();
        decision =
            decision.send(lane.clone(), &lane::Command::Release { task: task.clone(), attempt, outcome });
    }
    forward(decision, &entry)
}

fn release(state: &State, task: Key, attempt: u32, outcome: lane::Outcome, lane: &Key) -> Decision<Event> {
    let waits = state.waiting(&task).is_some_and(|entry| entry.attempt == attempt);
    let runs = state.running(&task).is_some_and(|job| job.attempt == attempt);
    if !waits && !runs {
        return Decision::none();
    }
    let decision = Decision::event(Event::Released { task: task.clone(), attempt, outcome });
    match state.is_governed() {
        true => decision.send(lane.clone(), &lane::Command::Release { task, attempt, outcome }),
        false => decision,
    }
}

/// Assigns attempts to a worker, up to its places.
fn take(state: &State, offer: &Take, context: &Context<'_>) -> Decision<Event> {
    let mut after = state.clone();
    let mut decision = Decision::none();
    for _ in 0..offer.places.min(bus_schemas::claims::PLACES_MAX) {
        let Some(task) = after.next(&offer.agent, &offer.skills) else { break };
        let Some(entry) = after.waiting(&task) else { break };
        let attempt = entry.attempt;
        let policy = state.rules().and_then(|rules| policy(rules, &entry.skill));
        let (agent, worker) = (offer.agent.clone(), offer.worker.clone());
        let assigned = Event::Assigned {
            task: task.clone(),
            attempt,
            agent: agent.clone(),
            worker: worker.clone(),
            claim: offer.claim,
            at: context.now,
        };
        fold(&mut after, &assigned);
        let (claim, token) = (offer.claim, offer.token);
        let assign = task::Command::Assign { agent, worker, claim, attempt, token, policy };
        decision = decision.and(assigned).send(task, &assign);
    }
    decision
}

/// The policy for a task with this skill; `None` for the default.
fn policy(rules: &Rules, skill: &str) -> Option<Box<Policy>> {
    let policy = Policy { retry: rules.retry.policy(skill).clone(), budget: rules.budget.clone() };
    (policy != Policy::default()).then(|| Box::new(policy))
}

fn set_rules(state: &State, rules: Rules, lane: &Key, context: &Context<'_>) -> Decision<Event> {
    if state.rules() == Some(&rules) {
        return Decision::none();
    }
    let begins = rules.governed && state.rules().is_none_or(|known| known.number != rules.number);
    let decision = Decision::event(Event::RulesSet(rules.clone()));
    if !begins {
        return decision;
    }
    let mut after = state.clone();
    fold(&mut after, &Event::RulesSet(rules));
    report::report(decision, &after, None, lane, context)
}

/// Notes leave from the lane; an attempt that does not wait returns it.
fn grant(state: &State, task: Key, attempt: u32, agent: Key, lane: &Key) -> Decision<Event> {
    let waits = state.waiting(&task).is_some_and(|entry| entry.attempt == attempt);
    if state.running(&task).is_some_and(|job| job.attempt == attempt) || !state.is_governed() {
        return Decision::none();
    }
    if !waits || state.hold_of(&task).is_some() {
        let outcome = lane::Outcome::default();
        return Decision::none().send(lane.clone(), &lane::Command::Release { task, attempt, outcome });
    }
    match state.granted(&task) == Some(&agent) {
        true => Decision::none(),
        false => Decision::event(Event::Granted { task, attempt, agent }),
    }
}

/// Removes leave that the lane takes back; an attempt that has begun goes on.
fn revoke(state: &State, task: Key, attempt: u32, lane: &Key) -> Decision<Event> {
    let entry = state.waiting(&task).filter(|entry| entry.attempt == attempt);
    let Some(entry) = entry.filter(|_| state.granted(&task).is_some()) else { return Decision::none() };
    let again = report::entry(&task, entry);
    let release = lane::Command::Release { task: task.clone(), attempt, outcome: Default::default() };
    Decision::event(Event::Revoked { task, attempt })
        .send(lane.clone(), &release)
        .send(lane.clone(), &lane::Command::Enqueue(again))
}
