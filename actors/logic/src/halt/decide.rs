//! Decides the commands of a halt.

use actors_core::{Context, Decision, Refusal};
use bus_schemas::commands::halt::{Command, Standstill};
use bus_schemas::commands::lane::HoldScope;
use bus_schemas::commands::{agent, lane, task};
use bus_schemas::events::halt::Event;
use bus_schemas::halts::Scope;
use bus_schemas::text::is_prose;
use bus_schemas::{Key, Revision};
use smol_str::{SmolStr, format_smolstr};

use super::state::{ActiveHalt, State};

/// The longest grace time in milliseconds: for more, drain instead.
const GRACE_MS_MAX: u64 = 60_000;
/// The longest reason in bytes: a sentence or two, repeated in every refusal.
const REASON_BYTES_MAX: usize = 1_024;
/// The most watching lanes: more would make one decision too large for a record.
const LANES_MAX: usize = 1_000;

/// The decision on a command.
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
        Command::Halt { reason, grace_ms } => {
            check_reason(&reason)?;
            let by = context.by();
            if grace_ms > GRACE_MS_MAX {
                let message = format!("the grace is at most {GRACE_MS_MAX} ms, not {grace_ms}");
                return Err(Refusal::new("invalid-grace", message));
            }
            let known = state.active.as_ref().is_some_and(|active| {
                (&active.reason, &active.by, active.grace_ms) == (&reason, &by, grace_ms)
            });
            let decision = if known {
                Decision::none()
            } else {
                Decision::event(Event::Halted { reason: reason.clone(), by, grace_ms, at })
            };
            Ok(hold(decision, state, &scope, key, &reason, grace_ms))
        }
        Command::Resume { reason, per_minute, revision } => {
            check_reason(&reason)?;
            // A halt that ended may still be released gradually, and take another rate.
            if state.active.is_none() && !state.was_resumed {
                return Err(Refusal::new("not-halted", format!("nothing halts `{key}`"))
                    .hint("`orrery halts` lists what stands still"));
            }
            check_rate(&scope, per_minute)?;
            let ended = state.active.as_ref().map(ActiveHalt::standstill);
            check_meant(revision, state.changed, ended.as_ref())?;
            let resumed = Decision::event(Event::Resumed { reason, by: context.by(), per_minute, at });
            Ok(ease(resumed, state, &scope, key, per_minute).reply(&ended))
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
    Ok(match &state.active {
        None => decision,
        Some(active) => decision.send(lane, &hold_of(key, HoldScope::Lane, &active.reason, active.grace_ms)),
    })
}

/// Eases a lane that missed the end of the halt.
fn confirm(state: &State, key: &Key, lane: Key) -> Decision<Event> {
    match state.active {
        Some(_) => Decision::none(),
        None => Decision::none().send(lane, &lane::Command::Ease { cause: cause(key), per_minute: None }),
    }
}

/// Checks a rate: only lanes keep one, for all of their work together.
fn check_rate(scope: &Scope, per_minute: Option<u32>) -> Result<(), Refusal> {
    match (scope, per_minute) {
        (_, Some(0)) => {
            Err(Refusal::new("invalid-rate", "a rate of 0 would be a halt").hint("give at least 1"))
        }
        (Scope::Agent(_) | Scope::Task(_), Some(_)) => {
            let message = "only `all` and a lane resume at a rate";
            Err(Refusal::new("invalid-rate", message)
                .hint("leave the rate out: one job of an agent or a task begins at first, and one more for each that is done"))
        }
        _ => Ok(()),
    }
}

/// Refuses to end a halt or a pause that changed after the revision that the caller read: it is another one.
pub(crate) fn check_meant(
    meant: Option<Revision>,
    changed: Revision,
    now: Option<&Standstill>,
) -> Result<(), Refusal> {
    let Some(meant) = meant.filter(|meant| *meant < changed) else { return Ok(()) };
    let now = match now {
        Some(Standstill { reason, by, .. }) => format!("`{by}` stops it now: {reason}"),
        None => "nothing stops it now".to_owned(),
    };
    let message = format!("revision {meant} is not the latest change, which is revision {changed}: {now}");
    Err(Refusal::new("changed-since", message).hint("read the current halt or lane, then name its revision"))
}

/// Refuses an empty or too long reason.
pub(crate) fn check_reason(reason: &str) -> Result<(), Refusal> {
    let fits = (1..=REASON_BYTES_MAX).contains(&reason.len()) && !reason.trim().is_empty();
    if !fits || !is_prose(reason) {
        let message = format!("a reason of 1 to {REASON_BYTES_MAX} bytes of visible text is needed");
        return Err(Refusal::new("reason-missing", message)
            .hint("state the reason: the person on call will ask for it"));
    }
    Ok(())
}

/// The cause of holds by this halt.
fn cause(key: &Key) -> SmolStr {
    format_smolstr!("halt/{key}")
}

fn hold_of(key: &Key, scope: HoldScope, reason: &str, grace_ms: u64) -> lane::Command {
    lane::Command::Hold { cause: cause(key), scope, reason: reason.to_owned(), interrupt: true, grace_ms }
}

fn hold(
    decision: Decision<Event>,
    state: &State,
    scope: &Scope,
    key: &Key,
    reason: &str,
    grace_ms: u64,
) -> Decision<Event> {
    let hold = hold_of(key, HoldScope::Lane, reason, grace_ms);
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
    let ease = lane::Command::Ease { cause: cause.clone(), per_minute };
    match scope {
        Scope::All => state.lanes.iter().fold(decision, |decision, lane| decision.send(lane.clone(), &ease)),
        Scope::Lane(lane) => decision.send(lane.clone(), &ease),
        Scope::Agent(agent) => decision.send(agent.clone(), &agent::Command::Ease { cause }),
        Scope::Task(task) => decision.send(task.clone(), &task::Command::Ease { cause }),
    }
}
