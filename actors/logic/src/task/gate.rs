//! The gate of halts: asked before a command is decided, and no part of the decision.

use actors_core::{GateRequest, Refusal};
use bus_schemas::commands::task::{Command, Query};
use bus_schemas::envelope::code;
use bus_schemas::halts::{ActiveHalt, Halts, Subject};
use bus_schemas::jobs::EffectStep;
use bus_schemas::record::Source;

use super::state::State;

/// Refuses a caller's command or query that begins work under a halt, or continues it for longer than the
/// halt allows. A handed-over command is accepted, and waits in its queue.
pub fn admit(halts: &Halts, request: &GateRequest<'_>) -> Result<(), Refusal> {
    let Some(state) = request.state::<State>() else { return Ok(()) };
    match request.source {
        Some(Source::Ask) => {
            request.read().map_or(Ok(()), |command| admit_command(halts, state, &command, request))
        }
        None => request.read().map_or(Ok(()), |query| admit_query(halts, state, &query, request)),
        Some(_) => Ok(()),
    }
}

/// Refuses new work, and a worker's commands that begin something. A worker's reports are accepted.
fn admit_command(
    halts: &Halts,
    state: &State,
    command: &Command,
    request: &GateRequest<'_>,
) -> Result<(), Refusal> {
    let (submission, agent) = match (command, &state.submission) {
        (command, None) => match command.starts() {
            Some(submission) => (submission, None),
            None => return Ok(()),
        },
        (
            Command::Reserve { .. }
            | Command::RecordEffect { step: EffectStep::Intended | EffectStep::Started, .. },
            Some(submission),
        ) => (submission, state.agent.as_ref()),
        _ => return Ok(()),
    };
    let subject = Subject { lane: &submission.lane, agent, task: &request.entity.key };
    halts.covering(subject).map_or(Ok(()), |(_, active)| Err(halted(active)))
}

/// Refuses a worker's first renewal under a halt, and later ones after the grace time: its queue may have no
/// owner, and the worker may not follow halts.
fn admit_query(
    halts: &Halts,
    state: &State,
    query: &Query,
    request: &GateRequest<'_>,
) -> Result<(), Refusal> {
    let (Query::Renew { .. }, Some(submission)) = (query, &state.submission) else { return Ok(()) };
    let agent = state.agent.as_ref();
    let subject = Subject { lane: &submission.lane, agent, task: &request.entity.key };
    let Some((_, active)) = halts.covering(subject) else { return Ok(()) };
    let had_begun = state.since < active.since;
    match had_begun && request.now <= active.since.plus_ms(active.grace_ms) {
        true => Ok(()),
        false => Err(halted(active)),
    }
}

fn halted(active: &ActiveHalt) -> Refusal {
    Refusal::new(code::HALTED, format!("work is halted: {}", active.reason))
        .hint("`orrery halts` shows since when; again once the scope is resumed")
}
