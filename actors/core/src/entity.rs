//! What the author of an entity writes, and the context of one decision.

use bus_schemas::halts::Halts;
use bus_schemas::wire::{WireCommand, WireEvent};
use bus_schemas::{CommandId, EntityAddress, Refusal, Revision, Timestamp, TraceContext};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
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

    /// Applies an event. Total and infallible: the event has happened.
    fn fold(state: &mut Self::State, event: &Self::Event);
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
