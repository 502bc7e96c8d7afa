//! A live entity with its type erased, as the runtime's cache holds it.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bus_schemas::envelope::{BodyError, code};
use bus_schemas::wire::{WireEvent, WireQuery};
use bus_schemas::{Body, CommandId, EntityAddress, Hash, Refusal, Revision, jobs, record, text, upcast};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use smol_str::SmolStr;

use crate::decision::{Send, Timer};
use crate::entity::{Context, Entity, Opening, Origin, Taking, View};

/// The effects of one command, encoded for the commit record.
#[derive(Debug, Clone, Default)]
pub struct Turn {
    /// The events, with their chain hashes.
    pub events: Vec<record::Event>,
    /// Commands for other entities.
    pub sends: Vec<Send>,
    /// Changes of timers.
    pub timers: Vec<Timer>,
    /// Changes of leases.
    pub leases: Vec<record::LeaseChange>,
    /// Jobs for agents, each with the claim that it answers.
    pub jobs: Vec<(CommandId, jobs::Job)>,
    /// Attempts that workers may stop.
    pub stops: Vec<record::Stop>,
    /// The result for the caller, returned with the revision.
    pub reply: Value,
}

/// Why a command had no effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TurnError {
    /// The entity refused it.
    Refused(Refusal),
    /// The body does not match the command's schema.
    Malformed(String),
    /// The decision is larger than a record may hold: its bytes.
    TooLarge(usize),
    /// The decision panicked.
    Poison(String),
    /// Folding the decided events panicked: the state is lost, and the entity stops.
    Broken(String),
}

/// A live entity.
pub trait Instance: std::marker::Send {
    /// Decides a command and folds its events. After an error the state is unchanged, except after
    /// [`TurnError::Broken`].
    fn turn(&mut self, body: &Body, context: &Context<'_>) -> Result<Turn, TurnError>;
    /// Answers a query.
    fn view(&self, body: &Body, context: &Context<'_>) -> Result<View, TurnError>;
    /// The open work for workers that claim.
    fn openings(&self, entity: &EntityAddress) -> Vec<Opening>;
    /// The command with which a claim takes some of that work.
    fn take(&self, taking: &Taking<'_>) -> Option<Body>;
    /// Whether a body is a command that this program knows.
    fn understands(&self, body: &Body) -> bool;
    /// Folds a stored event.
    fn replay(&mut self, event: &record::Event) -> Result<(), upcast::Error>;
    /// The revision.
    fn revision(&self) -> Revision;
    /// The chain hash up to the last event.
    fn hash(&self) -> Hash;
    /// The state, for gates.
    fn memory(&self) -> &dyn Any;
    /// The state as JSON, for snapshots and for people.
    fn state(&self) -> Value;
    /// The request that began the entity, if its kind keeps that.
    fn origin(&self) -> Option<Origin>;
    /// Sets the request that began the entity, unless it is known or the kind does not keep it.
    fn begin(&mut self, origin: Origin);
}

/// The live entity of one entity type.
pub(crate) struct Live<T: Entity> {
    state: T::State,
    revision: Revision,
    hash: Hash,
    origin: Option<Origin>,
}

impl<T: Entity> Live<T> {
    pub(crate) fn new() -> Self {
        Self { state: T::State::default(), revision: Revision(0), hash: Hash::default(), origin: None }
    }
    pub(crate) fn restore(revision: Revision, hash: Hash, state: Value) -> Result<Self, serde_json::Error> {
        Ok(Self { state: serde_json::from_value(state)?, revision, hash, origin: None })
    }
}

impl<T: Entity> Instance for Live<T> {
    fn turn(&mut self, body: &Body, context: &Context<'_>) -> Result<Turn, TurnError> {
        let read = body.read_strictly::<T::Command>();
        let command = read.map_err(|error| TurnError::Malformed(told(&error)))?;
        let decided = catch_unwind(AssertUnwindSafe(|| T::decide(&self.state, command, context)));
        let decision = decided.map_err(|panic| TurnError::Poison(panic_text(&*panic)))?;
        let decision = decision.map_err(TurnError::Refused)?;
        let bodies: Result<Vec<_>, _> = decision.events.iter().map(serde_json::to_vec).collect();
        let bodies = bodies.map_err(|error| TurnError::Poison(error.to_string()))?;
        let lengths =
            bodies.iter().map(Vec::len).chain(decision.sends.iter().map(|send| send.body.bytes.len()));
        let bytes = record::decision_bytes(lengths);
        if bytes > record::DECISION_BYTES_MAX {
            return Err(TurnError::TooLarge(bytes));
        }
        let mut events = Vec::with_capacity(decision.events.len());
        for (event, body) in decision.events.iter().zip(bodies) {
            let (revision, event_type) = (self.revision.next(), event.event_type());
            let hash = self.hash.link(revision, event_type, T::Event::SCHEMA, &body);
            catch_unwind(AssertUnwindSafe(|| T::fold(&mut self.state, event)))
                .map_err(|panic| TurnError::Broken(panic_text(&*panic)))?;
            (self.revision, self.hash) = (revision, hash);
            events.push(record::Event {
                revision,
                event_type: SmolStr::new_static(event_type),
                schema: T::Event::SCHEMA,
                hash,
                body: Bytes::from(body),
            });
        }
        Ok(Turn {
            events,
            sends: decision.sends,
            timers: decision.timers,
            leases: decision.leases,
            jobs: decision.jobs,
            stops: decision.stops,
            reply: decision.reply,
        })
    }

    fn view(&self, body: &Body, context: &Context<'_>) -> Result<View, TurnError> {
        let query = body
            .read_strictly::<T::Query>()
            .map_err(|error| not_a_query::<T::Query>(body, &error, context))?;
        let viewed = catch_unwind(AssertUnwindSafe(|| T::view(&self.state, query, context)));
        viewed.map_err(|panic| TurnError::Poison(panic_text(&*panic)))?.map_err(TurnError::Refused)
    }

    fn openings(&self, entity: &EntityAddress) -> Vec<Opening> {
        T::openings(&self.state, entity)
    }

    fn take(&self, taking: &Taking<'_>) -> Option<Body> {
        T::take(taking).map(|command| Body::json(&command))
    }

    fn understands(&self, body: &Body) -> bool {
        body.read_strictly::<T::Command>().is_ok()
    }

    fn replay(&mut self, event: &record::Event) -> Result<(), upcast::Error> {
        let read: T::Event = upcast::read(&event.event_type, event.schema, &event.body)?;
        T::fold(&mut self.state, &read);
        (self.revision, self.hash) = (event.revision, event.hash);
        Ok(())
    }

    fn revision(&self) -> Revision {
        self.revision
    }

    fn hash(&self) -> Hash {
        self.hash
    }

    fn memory(&self) -> &dyn Any {
        &self.state
    }

    fn state(&self) -> Value {
        serde_json::to_value(&self.state).expect("states have string keys")
    }

    fn origin(&self) -> Option<Origin> {
        self.origin
    }

    fn begin(&mut self, origin: Origin) {
        if T::KEEPS_ORIGIN {
            self.origin.get_or_insert(origin);
        }
    }
}

/// The name in a body.
#[derive(Serialize, Deserialize)]
struct Named {
    #[serde(rename = "type")]
    name: SmolStr,
}

/// The most characters of an unknown name that a refusal repeats.
const NAME_CHARS_MAX: usize = 64;

/// Why a body is no query: its name is unknown, or its content does not match the schema.
fn not_a_query<Q: WireQuery>(body: &Body, error: &BodyError, context: &Context<'_>) -> TurnError {
    let named = body.read_strictly::<Named>().ok();
    let Some(Named { name }) = named.filter(|named| !Q::NAMES.contains(&named.name.as_str())) else {
        return TurnError::Malformed(told(error));
    };
    let (kind, name) = (&context.entity.kind, name.escape_debug().take(NAME_CHARS_MAX).collect::<String>());
    let refusal = Refusal::new(code::UNKNOWN_QUERY, format!("a `{kind}` answers no query `{name}`"));
    TurnError::Refused(match Q::NAMES {
        [] => refusal.hint("entities of this kind answer no queries: follow their events"),
        names => refusal.hint(format!("the kind answers `{}`", names.join("`, `"))),
    })
}

/// The most bytes of a decoding error that a refusal repeats: the decoder quotes the body.
const MISTAKE_BYTES_MAX: usize = 1_024;

/// The decoding error, shortened.
fn told(error: &BodyError) -> String {
    text::cut(&text::one_line(&error.to_string()), MISTAKE_BYTES_MAX)
}

/// The message of a panic, for the dead letter.
fn panic_text(panic: &(dyn Any + std::marker::Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "the decision panicked".to_owned())
}

#[cfg(test)]
mod tests {
    use bus_schemas::commands::probe::Command;
    use bus_schemas::events::probe::Event;
    use bus_schemas::wire::NoQuery;

    use super::*;
    use crate::decision::Decision;

    /// An entity that decides as many events as it is told, and sends as many commands.
    struct Many;

    impl Entity for Many {
        type State = u64;
        type Command = Command;
        type Event = Event;
        type Query = NoQuery;

        fn decide(count: &u64, command: Command, context: &Context<'_>) -> Result<Decision<Event>, Refusal> {
            let Command::TouchLater { after_ms: wanted } = command else { return Ok(Decision::none()) };
            let touch = Command::Touch { note: "x".repeat(1_000) };
            Ok((0..wanted).fold(Decision::none(), |decision, number| {
                let decision = decision.and(Event::Touched { count: count + number + 1 });
                decision.send(context.entity.key.clone(), &touch)
            }))
        }
        fn fold(count: &mut u64, Event::Touched { count: now }: &Event) {
            *count = *now;
        }
    }

    #[test]
    fn a_decision_that_no_record_holds_is_refused() {
        let entity = "probe/p".parse().expect("an address");
        let id = CommandId::from_text("a command");
        let mut live = Live::<Many>::new();
        let mut decide = |count| {
            let context = Context {
                entity: &entity,
                partitions: 8,
                revision: live.revision,
                now: Default::default(),
                by_timer: false,
                command: id,
                correlation: id,
                caller: None,
                trace: None,
            };
            let turn = live.turn(&Body::json(&Command::TouchLater { after_ms: count }), &context);
            (turn.map(|turn| turn.events.len()), live.revision, live.state)
        };
        assert!(matches!(decide(300), (Ok(300), Revision(300), 300)));
        let (turn, revision, count) = decide(600);
        let Err(TurnError::TooLarge(bytes)) = turn else { panic!("{turn:?}") };
        assert!(bytes > record::DECISION_BYTES_MAX);
        assert_eq!((revision, count), (Revision(300), 300), "nothing of it was folded");
        assert!(matches!(decide(1), (Ok(1), Revision(301), 301)));
    }
}
