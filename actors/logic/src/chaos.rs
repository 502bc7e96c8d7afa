//! `chaos`: one experiment, which disturbs the system on purpose for a bounded time. The key is its name.
//!
//! States: new → running → over. An experiment cannot be restarted: another one has another name.
//!
//! Hosts and workers read the events of this kind and make the disturbance themselves, each by its own clock
//! and only where its configuration allows it. A breaker is tripped by this entity. A host whose
//! configuration allows no experiments refuses `start` before it is decided.
//!
//! Invariants: an experiment has a reason and an end; it untrips the breaker that it tripped, and no other.
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

use actors_core::{Context, Decision, Entity, GateRequest, Refusal, View};
use bus_schemas::commands::chaos::{Command, Query};
use bus_schemas::events::chaos::Event;
use bus_schemas::wire::WireCommand;

pub use state::State;

/// Whether a command disturbs the system on purpose, which the configuration must allow.
pub fn is_experiment(request: &GateRequest<'_>) -> bool {
    request.entity.kind == Command::KIND
        && request.source.is_some()
        && matches!(request.read(), Some(Command::Start { .. }))
}

/// The kind `chaos`.
#[derive(Debug)]
pub struct Chaos;

impl Entity for Chaos {
    type State = State;
    type Command = Command;
    type Event = Event;
    type Query = Query;

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
