//! Decides the commands of a probe.

use actors_core::{Context, Decision, Refusal};
use bus_schemas::commands::probe::Command;
use bus_schemas::events::probe::Event;

use super::State;

/// The longest delay in milliseconds: a day.
const AFTER_MS_MAX: u64 = 86_400_000;

/// The decision on a command.
pub(super) fn decide(
    state: &State,
    command: Command,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    let touch = Command::Touch { note: String::new() };
    let touched = || Decision::event(Event::Touched { count: state.count.saturating_add(1) });
    Ok(match command {
        Command::Touch { .. } => touched(),
        Command::Panic => panic!("the probe was told to panic"),
        Command::Forward { to } => touched().send(to, &touch),
        Command::TouchLater { after_ms } if after_ms > AFTER_MS_MAX => {
            let message = format!("`after_ms` is at most {AFTER_MS_MAX}, not {after_ms}");
            return Err(Refusal::new("invalid-delay", message).hint("a probe is for measurements"));
        }
        Command::TouchLater { after_ms } => {
            Decision::none().set_timer("touch", context.now.plus_ms(after_ms), &touch)
        }
    })
}
