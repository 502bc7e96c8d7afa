//! A live entity with its type erased: what the runtime holds in its cache.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bus_schemas::envelope::{BodyError, code};
use bus_schemas::halts::Halts;
use bus_schemas::wire::{WireEvent, WireQuery};
use bus_schemas::{
    Body, CommandId, EntityAddress, Hash, Refusal, Revision, Timestamp, jobs, record, text, upcast,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use smol_str::SmolStr;

use crate::decision::{Send, Timer};
use crate::entity::{Context, Entity, Opening, Origin, Taking, View};

/// What one command led to, written out as the commit record holds it.
#[derive(Debug, Clone, Default)]
pub struct Turn {
    /// The events, chained.
    pub events: Vec<record::Event>,
    /// Commands for other entities.
    pub sends: Vec<Send>,
    /// Changes of timers.
    pub timers: Vec<Timer>,
    /// Changes of what workers hold.
    pub leases: Vec<record::LeaseChange>,
    /// Work for agents, with the claims that it answers.
    pub jobs: Vec<(CommandId, jobs::Job)>,
    /// Attempts that their workers need not go on with.
    pub stops: Vec<record::Stop>,
    /// What the caller is told beside the revision.
    pub reply: Value,
}

/// Why a command led to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TurnError {
    /// The entity refused it.
    Refused(Refusal),
    /// The body is not of the command's schema.
    Malformed(String),
    /// The decision panicked.
    Poison(String),
    /// Folding what was decided panicked: the state is lost, and the entity must not go on with it.
    Broken(String),
}

/// A live entity.
pub trait Instance: std::marker::Send {
    /// Decides a command and folds what happened. After an error the state is as before, but for
    /// [`TurnError::Broken`].
    fn turn(&mut self, body: &Body, context: &Context<'_>) -> Result<Turn, TurnError>;
    /// Answers a query.
    fn view(&self, body: &Body, context: &Context<'_>) -> Result<View, TurnError>;
    /// Refuses a query that a halt covers.
    fn admit_query(
        &self,
        body: &Body,
        halts: &Halts,
        context: (&EntityAddress, Timestamp),
    ) -> Result<(), Refusal>;
    /// The work that it has for workers who claim.
    fn openings(&self, entity: &EntityAddress) -> Vec<Opening>;
    /// The command with which a claim takes some of that work.
    fn take(&self, taking: &Taking<'_>) -> Option<Body>;
    /// Whether a body is a command that this program knows.
    fn understands(&self, body: &Body) -> bool;
    /// Refuses a command that begins work which a halt covers, or goes on with it for too long.
    fn admit(&self, body: &Body, halts: &Halts, context: (&EntityAddress, Timestamp)) -> Result<(), Refusal>;
    /// Whether a command begins an experiment.
    fn is_experiment(&self, body: &Body) -> bool;
    /// Folds a stored event.
    fn replay(&mut self, event: &record::Event) -> Result<(), upcast::Error>;
    /// Its revision.
    fn revision(&self) -> Revision;
    /// The chain hash up to its last event.
    fn hash(&self) -> Hash;
    /// Its state as JSON, for snapshots and for people.
    fn state(&self) -> Value;
    /// The request that began it, where its kind keeps that.
    fn origin(&self) -> Option<Origin>;
    /// Says which request began it; where that is known, or its kind does not keep it, nothing changes.
    fn begin(&mut self, origin: Origin);
}

/// The live entity of one author's type.
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
        let mut events = Vec::with_capacity(decision.events.len());
        for event in &decision.events {
            let body = serde_json::to_vec(event).map_err(|error| TurnError::Poison(error.to_string()))?;
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

    fn admit_query(
        &self,
        body: &Body,
        halts: &Halts,
        context: (&EntityAddress, Timestamp),
    ) -> Result<(), Refusal> {
        body.read::<T::Query>().map_or(Ok(()), |query| T::admit_query(&self.state, &query, halts, context))
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

    fn admit(&self, body: &Body, halts: &Halts, context: (&EntityAddress, Timestamp)) -> Result<(), Refusal> {
        // What can not be read is refused when it is decided.
        body.read::<T::Command>().map_or(Ok(()), |command| T::admit(&self.state, &command, halts, context))
    }

    fn is_experiment(&self, body: &Body) -> bool {
        T::EXPERIMENTS && body.read::<T::Command>().is_ok_and(|command| T::is_experiment(&command))
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

/// Characters of a name that nobody knows that are said again.
const NAME_CHARS_MAX: usize = 64;

/// Why a body is no query: its name is none of the kind's, or what stands behind the name is not its schema.
fn not_a_query<Q: WireQuery>(body: &Body, error: &BodyError, context: &Context<'_>) -> TurnError {
    let named = body.read_strictly::<Named>().ok();
    let Some(Named { name }) = named.filter(|named| !Q::NAMES.contains(&named.name.as_str())) else {
        return TurnError::Malformed(told(error));
    };
    let (kind, name) = (&context.entity.kind, name.escape_debug().take(NAME_CHARS_MAX).collect::<String>());
    let refusal = Refusal::new(code::UNKNOWN_QUERY, format!("a `{kind}` answers no query `{name}`"));
    TurnError::Refused(match Q::NAMES {
        [] => refusal.hint("entities of this kind answer no queries: follow their events"),
        names => refusal.hint(format!("it answers `{}`", names.join("`, `"))),
    })
}

/// Bytes of what is wrong with a body that are told: the reader says names and words of the body again.
const MISTAKE_BYTES_MAX: usize = 1_024;

/// What is wrong with a body.
fn told(error: &BodyError) -> String {
    text::cut(&text::one_line(&error.to_string()), MISTAKE_BYTES_MAX)
}

/// The words of a panic, for the dead letter.
fn panic_text(panic: &(dyn std::any::Any + std::marker::Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "the decision panicked".to_owned())
}
