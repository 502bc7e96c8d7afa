//! The trait of an entity, and the context of a decision.

use bus_schemas::claims::Claim;
use bus_schemas::envelope::code;
use bus_schemas::wire::{WireCommand, WireEvent, WireQuery};
use bus_schemas::{Caller, CommandId, EntityAddress, Key, Refusal, Revision, Timestamp, TraceContext};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use smol_str::SmolStr;

use crate::decision::Decision;

/// An event-sourced actor.
///
/// `decide` checks a command against the state and returns its effects; `fold` applies an event to the state.
/// Both are pure: no clock, no randomness, no I/O.
pub trait Entity: Send + Sync + 'static {
    /// The state, written into snapshots. A change of its fields makes old snapshots unreadable. That costs a
    /// longer replay; an entity whose events were archived has only its snapshot, and stops until the events
    /// are restored.
    type State: Default + Serialize + DeserializeOwned + Send + 'static;
    /// The commands.
    type Command: WireCommand;
    /// The events.
    type Event: WireEvent;
    /// The queries.
    type Query: WireQuery;

    /// Whether everything that an entity does belongs to the request that began it, whichever command caused
    /// it. `false` for entities that many requests share.
    const KEEPS_ORIGIN: bool = false;

    /// The effects of a command, or its refusal.
    fn decide(
        state: &Self::State,
        command: Self::Command,
        context: &Context<'_>,
    ) -> Result<Decision<Self::Event>, Refusal>;

    /// The answer to a query. It is sent after the commit of everything in the state, and is not logged.
    fn view(_state: &Self::State, _query: Self::Query, context: &Context<'_>) -> Result<View, Refusal> {
        let message = format!("entities of kind `{}` answer no queries", context.entity.kind);
        Err(Refusal::new(code::UNKNOWN_QUERY, message))
    }

    /// The open work for workers that claim.
    fn openings(_state: &Self::State, _entity: &EntityAddress) -> Vec<Opening> {
        Vec::new()
    }

    /// The command with which a worker's claim takes some of that work.
    fn take(_taking: &Taking<'_>) -> Option<Self::Command> {
        None
    }

    /// Applies an event. Must not fail: the event is committed.
    fn fold(state: &mut Self::State, event: &Self::Event);
}

/// The answer to a query.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    /// The answer.
    pub value: Value,
    /// Whether the query is done. If not, it is parked and asked again after each turn of the entity.
    pub is_ready: bool,
    /// The leases of this entity that the query renews.
    pub renews: Vec<&'static str>,
}

impl View {
    /// An answer.
    pub fn of<T: Serialize>(value: &T) -> Self {
        let value = serde_json::to_value(value).expect("views have string keys");
        Self { value, is_ready: true, renews: Vec::new() }
    }
    /// No answer yet: the query is parked.
    pub fn later() -> Self {
        Self { value: Value::Null, is_ready: false, renews: Vec::new() }
    }
    /// Renews a lease.
    #[must_use]
    pub fn renewing(mut self, lease: &'static str) -> Self {
        self.renews.push(lease);
        self
    }
}

/// Open work of an entity, for workers that claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    /// The lane.
    pub lane: Key,
    /// The skill that the work needs.
    pub skill: SmolStr,
    /// The agent that the work is for; `None` for any agent.
    pub agent: Option<Key>,
    /// The rank among the work of all entities: the lowest goes first.
    pub rank: (u64, Timestamp),
}

/// A worker's claim that fits an opening.
#[derive(Debug, Clone, Copy)]
pub struct Taking<'a> {
    /// The claim's id.
    pub id: CommandId,
    /// The agent.
    pub agent: &'a Key,
    /// The claim.
    pub claim: &'a Claim,
}

/// The request that began an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The correlation, shared by everything that the request caused.
    pub correlation: CommandId,
    /// The request's trace, if there is one.
    pub trace: Option<TraceContext>,
}

/// The input of a decision from outside the entity.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The entity that decides.
    pub entity: &'a EntityAddress,
    /// The number of partitions of the installation.
    pub partitions: u16,
    /// The entity's revision before the command.
    pub revision: Revision,
    /// The time of the turn, as recorded.
    pub now: Timestamp,
    /// Whether the command is a timer of the entity itself. It is then due, whatever `now` says: after the clock was
    /// set back, timers that were set while it was ahead are due.
    pub by_timer: bool,
    /// The command's id.
    pub command: CommandId,
    /// The correlation, shared by everything that the request caused.
    pub correlation: CommandId,
    /// The sender of the command: the token of its subject, or `<kind>/<key>` of the entity that mailed it.
    /// `None` for timers, leases and claims.
    pub caller: Option<&'a SmolStr>,
    /// The trace of the request that began the entity, or of the command. Only for messages that are sent:
    /// its span differs when the command is decided again.
    pub trace: Option<TraceContext>,
}

impl Context<'_> {
    /// The sender of the command, as events name it.
    pub fn by(&self) -> String {
        self.caller.map_or(Caller::UNNAMED.as_str(), SmolStr::as_str).to_owned()
    }
    /// Whether a pause that ends at `at` is over. Only for pauses that are counted from an event: a time that a
    /// person named is compared with `now`.
    pub fn is_due(&self, at: Timestamp) -> bool {
        self.by_timer || self.now >= at
    }
    /// An id that is the same whenever this command is decided again. `purpose` and `index` distinguish
    /// several ids of one decision.
    pub fn id(&self, purpose: &str, index: u32) -> CommandId {
        self.command.derive(purpose, index)
    }
}
