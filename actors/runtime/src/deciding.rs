//! The decision that a thread is making, so that a panic hook can name the command, and knows that the panic
//! is caught and costs only that command.

use std::cell::RefCell;

use bus_schemas::record::Command;
use bus_schemas::{CommandId, EntityAddress, TraceContext};

thread_local! {
    static CURRENT: RefCell<Option<Deciding>> = const { RefCell::new(None) };
}

/// A decision in progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deciding {
    /// The entity that decides.
    pub entity: EntityAddress,
    /// The command's id.
    pub command: CommandId,
    /// The correlation of the request.
    pub correlation: CommandId,
    /// The trace, if there is one.
    pub trace: Option<TraceContext>,
}

/// The decision that this thread is making; `None` outside of decisions.
pub fn current() -> Option<Deciding> {
    // A panic during `begin` belongs to no decision.
    CURRENT.with(|current| current.try_borrow().ok().and_then(|current| current.clone()))
}

/// Marks this thread as deciding until the guard is dropped.
#[must_use]
pub(crate) fn begin(entity: &EntityAddress, command: &Command) -> Guard {
    let deciding = Deciding {
        entity: entity.clone(),
        command: command.id,
        correlation: command.correlation,
        trace: command.trace,
    };
    CURRENT.set(Some(deciding));
    Guard
}

/// Ends the mark when dropped.
#[derive(Debug)]
pub(crate) struct Guard;

impl Drop for Guard {
    fn drop(&mut self) {
        CURRENT.set(None);
    }
}
