//! What the author of an entity writes, and the context of one decision.

use bus_schemas::claims::Claim;
use bus_schemas::envelope::code;
use bus_schemas::halts::Halts;
use bus_schemas::wire::{WireCommand, WireEvent, WireQuery};
use bus_schemas::{CommandId, EntityAddress, Key, Refusal, Revision, Timestamp, TraceContext};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use smol_str::SmolStr;

use crate::decision::Decision;

/// An event-sourced actor.
///
/// `decide` checks a command against the state and says what happens; `fold` applies what has
/// happened. Neither does anything else: no clock, no randomness, no I/O.
pub trait Entity: Send + Sync + 'static {
    /// What the entity remembers. Written into snapshots; a change of its fields makes old
    /// snapshots unreadable, which costs a longer replay; an entity whose events were archived has
    /// its snapshot alone, and is stopped until they are back.
    type State: Default + Serialize + DeserializeOwned + Send + 'static;
    /// What it can be told.
    type Command: WireCommand;
    /// What can happen to it.
    type Event: WireEvent;
    /// What it can be asked.
    type Query: WireQuery;

    /// Whether everything about one entity belongs to the request that began it, whoever's command
    /// leads to it. False for entities that many requests share.
    const KEEPS_ORIGIN: bool = false;

    /// Whether its timers wait while everything is halted: those that lead to work do.
    const RESTS_UNDER_HALT: bool = false;

    /// Refuses a command from a caller that begins work which a halt covers, or goes on with it for
    /// longer than that allows. Asked before the command is decided, and not part of the decision:
    /// nothing of it is in the log.
    fn admit(
        _state: &Self::State,
        _command: &Self::Command,
        _halts: &Halts,
        _context: (&EntityAddress, Timestamp),
    ) -> Result<(), Refusal> {
        Ok(())
    }

    /// Refuses a query of a worker that would go on with work which a halt covers for longer than that
    /// allows.
    fn admit_query(
        _state: &Self::State,
        _query: &Self::Query,
        _halts: &Halts,
        _context: (&EntityAddress, Timestamp),
    ) -> Result<(), Refusal> {
        Ok(())
    }

    /// Whether some of its commands begin experiments: where not, none is asked.
    const EXPERIMENTS: bool = false;

    /// Whether a command disturbs the system on purpose, which only a configuration that says so
    /// allows. Asked before the command is decided, and not part of the decision.
    fn is_experiment(_command: &Self::Command) -> bool {
        false
    }

    /// What a command leads to, or why it is refused.
    fn decide(
        state: &Self::State,
        command: Self::Command,
        context: &Context<'_>,
    ) -> Result<Decision<Self::Event>, Refusal>;

    /// What a query is answered with. It is told after the commit of everything that the state holds, and
    /// nothing of it is in the log.
    fn view(_state: &Self::State, _query: Self::Query, context: &Context<'_>) -> Result<View, Refusal> {
        let message = format!("entities of kind `{}` answer no queries", context.entity.kind);
        Err(Refusal::new(code::UNKNOWN_QUERY, message))
    }

    /// The work that it has for workers who claim.
    fn openings(_state: &Self::State, _entity: &EntityAddress) -> Vec<Opening> {
        Vec::new()
    }

    /// The command with which a worker's claim takes some of that work.
    fn take(_taking: &Taking<'_>) -> Option<Self::Command> {
        None
    }

    /// Applies an event. Total and infallible: the event has happened.
    fn fold(state: &mut Self::State, event: &Self::Event);
}

/// The answer to a query.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    /// What is told.
    pub value: Value,
    /// Whether it is what the query waits for; where not, it is asked again after each turn of the entity.
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
    /// Nothing to tell yet.
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

/// Work that an entity has for workers who claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    /// The lane.
    pub lane: Key,
    /// The skill that it needs.
    pub skill: SmolStr,
    /// The agent whose worker it is for; none for anybody's.
    pub agent: Option<Key>,
    /// Where it stands among the work of all entities: the least goes first.
    pub rank: (u64, Timestamp),
}

/// A worker's claim that fits an opening.
#[derive(Debug, Clone, Copy)]
pub struct Taking<'a> {
    /// The claim's id.
    pub id: CommandId,
    /// The agent.
    pub agent: &'a Key,
    /// What the worker claims.
    pub claim: &'a Claim,
    /// Drawn at random.
    pub secret: &'a SmolStr,
}

/// The request that began an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// What everything caused by that request shares.
    pub correlation: CommandId,
    /// The trace that it belongs to, if there is one.
    pub trace: Option<TraceContext>,
}

/// Everything from outside that a decision may use.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The entity that decides.
    pub entity: &'a EntityAddress,
    /// How many partitions the installation has.
    pub partitions: u16,
    /// Its revision before the command.
    pub revision: Revision,
    /// The time, as the commit record will say.
    pub now: Timestamp,
    /// The command's id.
    pub command: CommandId,
    /// What everything caused by one request shares.
    pub correlation: CommandId,
    /// Who sent the command, if they said.
    pub caller: Option<&'a SmolStr>,
    /// The trace of the request that began the entity, or of the command. For what is sent alone: its span
    /// is another one when the command is decided again.
    pub trace: Option<TraceContext>,
}

impl Context<'_> {
    /// An id that is the same whenever this command is decided again; `purpose` and `index` tell
    /// several of one decision apart.
    pub fn id(&self, purpose: &str, index: u32) -> CommandId {
        self.command.derive(purpose, index)
    }
}
