//! The messages of a breaker: to the watching lanes, the healer's log, and a redrive.

use std::collections::BTreeMap;

use actors_core::{Context, Decision, Key};
use bus_schemas::commands::healer::{self, Act, Action};
use bus_schemas::commands::{lane, redrive};
use bus_schemas::events::breaker::Event;
use smol_str::SmolStr;

use super::letters;
use super::state::State;

/// Dead letters per second once a dependency works again: it has just recovered.
const DRAIN_RATE: u32 = 10;

/// The cause of holds by this breaker.
fn cause(context: &Context<'_>) -> SmolStr {
    SmolStr::new(context.entity.to_string())
}

/// The command that makes a lane hold its work.
fn hold(reason: &str, context: &Context<'_>) -> lane::Command {
    let scope = lane::HoldScope::Dependency { dependency: context.entity.key.clone() };
    lane::Command::Hold {
        cause: cause(context),
        scope,
        reason: reason.to_owned(),
        interrupt: false,
        grace_ms: 0,
    }
}

/// The command that lets a lane send probes. The lanes share the permits, and each gets at least one, because
/// the breaker does not know which of them has work.
fn probe(state: &State, context: &Context<'_>) -> lane::Command {
    let lanes = u32::try_from(state.lanes.len()).unwrap_or(u32::MAX).max(1);
    lane::Command::Probe { cause: cause(context), permits: (state.policy.probes / lanes).max(1) }
}

/// The breaker's status for one lane. A lane that begins to watch while it is half-open may send probes.
pub(super) fn lane(
    mut decision: Decision<Event>,
    state: &State,
    lane: &Key,
    is_new: bool,
    context: &Context<'_>,
) -> Decision<Event> {
    use bus_schemas::commands::breaker::Phase;
    if state.phase == Phase::Open || (state.phase == Phase::HalfOpen && is_new) {
        decision = decision.send(lane.clone(), &hold(&state.reason, context));
    }
    if state.phase == Phase::HalfOpen && is_new {
        decision = decision.send(lane.clone(), &probe(state, context));
    }
    decision
}

/// Tells all lanes to hold their work.
pub(super) fn opened(decision: Decision<Event>, state: &State, context: &Context<'_>) -> Decision<Event> {
    let decision = lanes(decision, state, &hold(&state.reason, context));
    let evidence = [("times", state.times.to_string()), ("lanes", state.lanes.len().to_string())];
    let until = state.until.map(|until| ("until", until.to_rfc3339()));
    let evidence = evidence.into_iter().chain(until);
    note(decision, Action::Hold, format!("opened: {}", state.reason), evidence, context)
}

/// Tells all lanes to send probes.
pub(super) fn probing(decision: Decision<Event>, state: &State, context: &Context<'_>) -> Decision<Event> {
    lanes(decision, state, &probe(state, context))
}

/// Tells all lanes to send probes, and the log why.
pub(super) fn half_opened(
    decision: Decision<Event>,
    state: &State,
    context: &Context<'_>,
) -> Decision<Event> {
    let reason = "half-open: the open time is over, a few calls are tried".to_owned();
    let evidence = [("probes", state.policy.probes.to_string())].into_iter();
    note(probing(decision, state, context), Action::Probe, reason, evidence, context)
}

/// Tells all lanes to ease their holds.
pub(super) fn closed(decision: Decision<Event>, state: &State, context: &Context<'_>) -> Decision<Event> {
    let decision = lanes(decision, state, &lane::Command::Ease { cause: cause(context), per_minute: None });
    let evidence = [("lanes", state.lanes.len().to_string())].into_iter();
    note(decision, Action::Ease, format!("closed: {}", state.reason), evidence, context)
}

/// Starts a redrive of the dead letters that the dependency caused.
pub(super) fn drained(
    decision: Decision<Event>,
    state: &State,
    filter: redrive::Filter,
    context: &Context<'_>,
) -> Decision<Event> {
    let name = letters::redrive_key("drain", context);
    let drain = redrive::Command::Start {
        filter,
        rate: DRAIN_RATE,
        reason: format!("`{}` closed: {}", context.entity, state.reason),
    };
    let evidence = [("redrive", name.to_string())].into_iter();
    let reason = "dead letters that the dependency caused are redriven".to_owned();
    note(decision.send(name, &drain), Action::Drain, reason, evidence, context)
}

/// Tells the log that dead letters are tried.
pub(super) fn tried(
    decision: Decision<Event>,
    redrive: &Key,
    count: usize,
    context: &Context<'_>,
) -> Decision<Event> {
    let reason = "half-open, and no other work is tried: dead letters are redriven to find out".to_owned();
    let evidence = [("redrive", redrive.to_string()), ("letters", count.to_string())].into_iter();
    note(decision, Action::Probe, reason, evidence, context)
}

fn lanes(mut decision: Decision<Event>, state: &State, command: &lane::Command) -> Decision<Event> {
    for lane in &state.lanes {
        decision = decision.send(lane.clone(), command);
    }
    decision
}

fn note(
    decision: Decision<Event>,
    action: Action,
    reason: String,
    evidence: impl Iterator<Item = (&'static str, String)>,
    context: &Context<'_>,
) -> Decision<Event> {
    let evidence: BTreeMap<SmolStr, String> =
        evidence.map(|(name, value)| (SmolStr::new_static(name), value)).collect();
    let subject = context.entity.to_string();
    let act = Act { action, subject, reason, evidence, at: context.now };
    let log = Key::parse(healer::LOG).expect("a constant");
    decision.send(log, &healer::Command::Note(act))
}
