//! Whom a breaker tells what it does: the lanes that watch it, the healer's log, and a campaign.

use std::collections::BTreeMap;

use actors_core::{Context, Decision, Key};
use bus_schemas::commands::healer::{self, Act, Action};
use bus_schemas::commands::{broker, campaign};
use bus_schemas::events::breaker::Event;
use smol_str::SmolStr;

use super::letters;
use super::state::State;

/// Dead letters a second when a dependency is back: it has just been ill.
const DRAIN_RATE: u32 = 10;

/// Who holds, in the words of a broker.
fn cause(context: &Context<'_>) -> SmolStr {
    SmolStr::new(context.entity.to_string())
}

/// What tells a lane to hold its work back.
fn hold(reason: &str, context: &Context<'_>) -> broker::Command {
    let scope = broker::HoldScope::Dependency { dependency: context.entity.key.clone() };
    broker::Command::Hold {
        cause: cause(context),
        scope,
        reason: reason.to_owned(),
        interrupt: false,
        grace_ms: 0,
    }
}

/// What tells a lane to try with a few jobs. Lanes share the permits, and none is left without one:
/// nobody knows which of them has work.
fn probe(state: &State, context: &Context<'_>) -> broker::Command {
    let lanes = u32::try_from(state.lanes.len()).unwrap_or(u32::MAX).max(1);
    broker::Command::Probe { cause: cause(context), permits: (state.policy.probes / lanes).max(1) }
}

/// Tells one lane how the breaker stands. A lane that is new while it is half-open may try.
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

/// Tells all lanes to hold their work back.
pub(super) fn opened(decision: Decision<Event>, state: &State, context: &Context<'_>) -> Decision<Event> {
    let decision = lanes(decision, state, &hold(&state.reason, context));
    let evidence = [("times", state.times.to_string()), ("lanes", state.lanes.len().to_string())];
    let until = state.until.map(|until| ("until", until.to_rfc3339()));
    let evidence = evidence.into_iter().chain(until);
    note(decision, Action::Hold, format!("opened: {}", state.reason), evidence, context)
}

/// Tells all lanes to try with a few jobs.
pub(super) fn probing(decision: Decision<Event>, state: &State, context: &Context<'_>) -> Decision<Event> {
    lanes(decision, state, &probe(state, context))
}

/// Tells all lanes to try, and the log why.
pub(super) fn half_opened(
    decision: Decision<Event>,
    state: &State,
    context: &Context<'_>,
) -> Decision<Event> {
    let reason = "half-open: the open time is over, a few calls are tried".to_owned();
    let evidence = [("probes", state.policy.probes.to_string())].into_iter();
    note(probing(decision, state, context), Action::Probe, reason, evidence, context)
}

/// Tells all lanes to go on.
pub(super) fn closed(decision: Decision<Event>, state: &State, context: &Context<'_>) -> Decision<Event> {
    let decision = lanes(decision, state, &broker::Command::Ease { cause: cause(context), per_minute: None });
    let evidence = [("lanes", state.lanes.len().to_string())].into_iter();
    note(decision, Action::Ease, format!("closed: {}", state.reason), evidence, context)
}

/// Lets a campaign redrive what the dependency left behind.
pub(super) fn drained(
    decision: Decision<Event>,
    state: &State,
    filter: campaign::Filter,
    context: &Context<'_>,
) -> Decision<Event> {
    let name = letters::campaign_key("drain", context);
    let drain = campaign::Command::Start {
        filter,
        rate: DRAIN_RATE,
        by: context.entity.to_string(),
        reason: format!("`{}` closed: {}", context.entity, state.reason),
    };
    let evidence = [("campaign", name.to_string())].into_iter();
    let reason = "dead letters that the dependency caused are redriven".to_owned();
    note(decision.send(name, &drain), Action::Drain, reason, evidence, context)
}

/// Tells the log that dead letters are tried.
pub(super) fn tried(
    decision: Decision<Event>,
    campaign: &Key,
    count: usize,
    context: &Context<'_>,
) -> Decision<Event> {
    let reason = "half-open, and no other work is tried: dead letters are redriven to find out".to_owned();
    let evidence = [("campaign", campaign.to_string()), ("letters", count.to_string())].into_iter();
    note(decision, Action::Probe, reason, evidence, context)
}

fn lanes(mut decision: Decision<Event>, state: &State, command: &broker::Command) -> Decision<Event> {
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
