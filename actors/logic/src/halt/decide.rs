//! Decides the commands of a halt.

use actors_core::{Context, Decision, Refusal};
use bus_schemas::Key;
use bus_schemas::commands::broker::HoldScope;
use bus_schemas::commands::halt::Command;
use bus_schemas::commands::{agent, broker, task};
use bus_schemas::events::halt::Event;
use bus_schemas::halts::Scope;
use bus_schemas::text::is_prose;
use smol_str::{SmolStr, format_smolstr};

use super::state::State;
use crate::text::name;

/// Longer is no halt but a drain.
const GRACE_MS_MAX: u64 = 60_000;
/// A sentence or two; it is repeated in every refusal.
const REASON_BYTES_MAX: usize = 1_024;
/// More lanes would make one decision too large for a record.
const LANES_MAX: usize = 1_000;

/// What a command leads to.
pub(super) fn decide(
    state: &State,
    command: Command,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    let key = &context.entity.key;
    let scope = Scope::parse(key).ok_or_else(|| {
        Refusal::new("unknown-scope", format!("`{key}` is no scope"))
            .hint("`all`, `lane.<lane>`, `agent.<agent>` or `task.<task>`")
    })?;
    let at = context.now;
    match command {
        Command::Halt { reason, by, grace_ms } => {
            check_reason(&reason)?;
            let by = name(by);
            if grace_ms > GRACE_MS_MAX {
                let message = format!("the grace is at most {GRACE_MS_MAX} ms, not {grace_ms}");
                return Err(Refusal::new("invalid-grace", message));
            }
            let known = state.standing.as_ref().is_some_and(|standing| {
                (&standing.reason, &standing.by, standing.grace_ms) == (&reason, &by, grace_ms)
            });
            let decision = if known {
                Decision::none()
            } else {
                Decision::event(Event::Halted { reason: reason.clone(), by, grace_ms, at })
            };
            Ok(hold(decision, state, (&scope, key), (&reason, grace_ms)))
        }
        Command::Lift { reason, by, per_minute } => {
            check_reason(&reason)?;
            // What was lifted may still be released gradually, and is told another rate.
            if state.standing.is_none() && !state.was_lifted {
                return Err(Refusal::new("not-halted", format!("nothing halts `{key}`"))
                    .hint("`orrery halts` lists what stands still"));
            }
            check_rate(&scope, per_minute)?;
            Ok(ease(
                Decision::event(Event::Lifted { reason, by: name(by), per_minute, at }),
                state,
                &scope,
                key,
                per_minute,
            ))
        }
        Command::Watch { lane } => watch(state, &scope, key, lane),
        Command::Confirm { lane } => Ok(confirm(state, key, lane)),
    }
}

fn watch(state: &State, scope: &Scope, key: &Key, lane: Key) -> Result<Decision<Event>, Refusal> {
    if *scope != Scope::All {
        return Err(Refusal::new("not-watchable", "lanes watch `all`"));
    }
    if state.lanes.len() >= LANES_MAX && !state.lanes.contains(&lane) {
        return Err(Refusal::new("too-many-lanes", format!("at most {LANES_MAX} lanes are halted together")));
    }
    let decision = match state.lanes.contains(&lane) {
        true => Decision::none(),
        false => Decision::event(Event::Watched { lane: lane.clone() }),
    };
    Ok(match &state.standing {
        None => decision,
        Some(standing) => {
            decision.send(lane, &hold_of(key, HoldScope::Lane, (&standing.reason, standing.grace_ms)))
        }
    })
}

/// A lane that missed the end of the halt lets go of what it held.
fn confirm(state: &State, key: &Key, lane: Key) -> Decision<Event> {
    match state.standing {
        Some(_) => Decision::none(),
        None => Decision::none().send(lane, &broker::Command::Ease { cause: cause(key), per_minute: None }),
    }
}

/// A rate is kept by lanes, and for all of their work together.
fn check_rate(scope: &Scope, per_minute: Option<u32>) -> Result<(), Refusal> {
    match (scope, per_minute) {
        (_, Some(0)) => {
            Err(Refusal::new("invalid-rate", "a rate of 0 would be a halt").hint("give at least 1"))
        }
        (Scope::Agent(_) | Scope::Task(_), Some(_)) => {
            let message = "only `all` and a lane are lifted at a rate";
            Err(Refusal::new("invalid-rate", message)
                .hint("leave the rate out: an agent's work comes back one job more for each that is done"))
        }
        _ => Ok(()),
    }
}

/// Refuses a reason that says nothing, or too much.
pub(crate) fn check_reason(reason: &str) -> Result<(), Refusal> {
    let fits = (1..=REASON_BYTES_MAX).contains(&reason.len()) && !reason.trim().is_empty();
    if !fits || !is_prose(reason) {
        let message = format!("a reason of 1 to {REASON_BYTES_MAX} bytes of visible text is needed");
        return Err(Refusal::new("reason-missing", message).hint("say why: whoever is woken by it will ask"));
    }
    Ok(())
}

/// What lanes know it by.
fn cause(key: &Key) -> SmolStr {
    format_smolstr!("halt/{key}")
}

fn hold_of(key: &Key, scope: HoldScope, (reason, grace_ms): (&str, u64)) -> broker::Command {
    broker::Command::Hold { cause: cause(key), scope, reason: reason.to_owned(), interrupt: true, grace_ms }
}

fn hold(
    decision: Decision<Event>,
    state: &State,
    (scope, key): (&Scope, &Key),
    (reason, grace_ms): (&str, u64),
) -> Decision<Event> {
    let hold = hold_of(key, HoldScope::Lane, (reason, grace_ms));
    let (cause, reason) = (cause(key), reason.to_owned());
    match scope {
        Scope::All => state.lanes.iter().fold(decision, |decision, lane| decision.send(lane.clone(), &hold)),
        Scope::Lane(lane) => decision.send(lane.clone(), &hold),
        Scope::Agent(agent) => {
            decision.send(agent.clone(), &agent::Command::Hold { cause, reason, grace_ms })
        }
        Scope::Task(task) => decision.send(task.clone(), &task::Command::Hold { cause, reason, grace_ms }),
    }
}

fn ease(
    decision: Decision<Event>,
    state: &State,
    scope: &Scope,
    key: &Key,
    per_minute: Option<u32>,
) -> Decision<Event> {
    let cause = cause(key);
    let ease = broker::Command::Ease { cause: cause.clone(), per_minute };
    match scope {
        Scope::All => state.lanes.iter().fold(decision, |decision, lane| decision.send(lane.clone(), &ease)),
        Scope::Lane(lane) => decision.send(lane.clone(), &ease),
        Scope::Agent(agent) => decision.send(agent.clone(), &agent::Command::Ease { cause }),
        Scope::Task(task) => decision.send(task.clone(), &task::Command::Ease { cause }),
    }
}
