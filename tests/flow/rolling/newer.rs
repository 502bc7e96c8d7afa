//! `probe` as a later version has it: each touch has a weight.

use actors_core::{Context, Decision, Entity, Refusal};
use bus_schemas::upcast::Lift;
use bus_schemas::wire::{NoQuery, WireCommand, WireEvent};
use bus_schemas::{Key, Kind};
use serde::{Deserialize, Serialize};
use serde_json::Value;

const KIND: Kind = Kind::from_static("probe");

/// The commands of the former version, with a field that it does not know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Command {
    Touch {
        #[serde(default)]
        note: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        weight: Option<u64>,
    },
    Forward {
        to: Key,
        #[serde(default)]
        weight: Option<u64>,
    },
    TouchLater {
        after_ms: u64,
    },
}

impl WireCommand for Command {
    const KIND: Kind = KIND;
}

impl Command {
    pub fn touch(weight: u64) -> Self {
        Self::Touch { note: String::new(), weight: Some(weight) }
    }
    pub fn forward(to: &str, weight: u64) -> Self {
        Self::Forward { to: Key::parse(to).expect("a test's key"), weight: Some(weight) }
    }
}

/// The event of the former version, with a field that must be there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Event {
    Touched { count: u64, weight: u64 },
}

impl WireEvent for Event {
    const KIND: Kind = KIND;
    const SCHEMA: u16 = 2;
    fn event_type(&self) -> &'static str {
        "touched"
    }
    fn lifts() -> &'static [Lift] {
        &[|_, body| {
            if let Some(fields) = body.as_object_mut() {
                fields.insert("weight".to_owned(), Value::from(1));
            }
        }]
    }
}

/// A counter that weighs.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct State {
    count: u64,
    weight: u64,
}

/// The kind.
#[derive(Debug)]
pub struct Probe;

impl Entity for Probe {
    type State = State;
    type Command = Command;
    type Query = NoQuery;
    type Event = Event;

    fn decide(state: &State, command: Command, context: &Context<'_>) -> Result<Decision<Event>, Refusal> {
        let touched = |weight: Option<u64>| {
            Decision::event(Event::Touched { count: state.count + 1, weight: weight.unwrap_or(1) })
        };
        Ok(match command {
            Command::Touch { weight, .. } => touched(weight),
            Command::Forward { to, weight } => {
                touched(None).send(to, &Command::Touch { note: String::new(), weight })
            }
            Command::TouchLater { after_ms } => Decision::none().set_timer(
                "touch",
                context.now.plus_ms(after_ms),
                &Command::Touch { note: String::new(), weight: Some(1) },
            ),
        })
    }

    fn fold(state: &mut State, event: &Event) {
        let Event::Touched { count, weight } = event;
        (state.count, state.weight) = (*count, state.weight + weight);
    }
}
