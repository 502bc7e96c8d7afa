//! Decides the commands of a dead letter.

use actors_core::{Context, Decision, Refusal};
use bus_schemas::commands::deadletter::Command;
use bus_schemas::events::deadletter::Event;

use super::State;

/// What a command leads to.
pub(super) fn decide(
    state: &State,
    command: Command,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    let Command::Record(entry) = command;
    match &state.entry {
        None => Ok(Decision::event(Event::Recorded { entry })),
        Some(recorded) if *recorded == entry => Ok(Decision::none()),
        Some(_) => Err(Refusal::new(
            "entry-exists",
            format!("the dead letter `{}` holds another entry", context.entity.key),
        )
        .hint("record it under a key of its own")),
    }
}
