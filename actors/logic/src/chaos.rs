//! `chaos`: one experiment, in which something is disturbed on purpose for a bounded time. The key is
//! its name.
//!
//! States: new → running → over. There is no way back: another experiment has another name.
//!
//! Hosts and workers read the events of this kind themselves and do what an experiment says, each by
//! its own clock and only where its configuration allows it. What an experiment does to a breaker this
//! entity does. A host whose configuration allows no experiments refuses `start` before it is decided.
//!
//! Invariants: an experiment has a reason and an end; what it tripped it lets go of, and nothing else.
//!
//! | command | leads to |
//! | --- | --- |
//! | `start` | `started`, the timer `end`, and `trip` to the breaker that it is about |
//! | `stop` | `ended`, and `untrip` to that breaker; refused when it is over |
//! | `fill` | nothing |
//! | `end` | as `stop`, when its time is over |

mod decide;
mod state;
#[cfg(test)]
mod tests;

use actors_core::{Context, Decision, Entity, Refusal, View};
use bus_schemas::commands::chaos::{Command, Query};
use bus_schemas::events::chaos::Event;

pub use state::State;

/// The kind `chaos`.
#[derive(Debug)]
pub struct Chaos;

impl Entity for Chaos {
    type State = State;
    type Command = Command;
    type Event = Event;
    type Query = Query;

    const EXPERIMENTS: bool = true;

    fn is_experiment(command: &Command) -> bool {
        matches!(command, Command::Start { .. })
    }
    fn decide(state: &State, command: Command, context: &Context<'_>) -> Result<Decision<Event>, Refusal> {
        decide::decide(state, command, context)
    }
    fn view(state: &State, query: Query, context: &Context<'_>) -> Result<View, Refusal> {
        let Query::Describe = query;
        Ok(View::of(decide::begun(state, context)?))
    }
    fn fold(state: &mut State, event: &Event) {
        state::fold(state, event);
    }
}
