//! Which decision a thread is making, so that whoever hears of a panic can name the command, and
//! knows that it is caught and only that command is lost.

use std::cell::RefCell;

use bus_schemas::record::Command;
use bus_schemas::{CommandId, EntityAddress, TraceContext};

thread_local! {
    static CURRENT: RefCell<Option<Deciding>> = const { RefCell::new(None) };
}

/// A decision that is being made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deciding {
    /// Who decides.
    pub entity: EntityAddress,
    /// What it is told.
    pub command: CommandId,
    /// What everything caused by one request shares.
    pub correlation: CommandId,
    /// The trace, if there is one.
    pub trace: Option<TraceContext>,
}

/// The decision that this thread is making; none outside of decisions.
pub fn current() -> Option<Deciding> {
    // A panic while it was being set is no decision's.
    CURRENT.with(|current| current.try_borrow().ok().and_then(|current| current.clone()))
}

/// Says that this thread decides until the guard is dropped.
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

/// The time of a decision.
#[derive(Debug)]
pub(crate) struct Guard;

impl Drop for Guard {
    fn drop(&mut self) {
        CURRENT.set(None);
    }
}
