//! The policy for commands that cannot be delivered and whose failure no caller would see. The runtime asks
//! it, and records the result in the same commit record.

use std::fmt::Debug;

use bus_schemas::record::{Command, DeadLetter, Turn};
use bus_schemas::{EntityAddress, Refusal};
use smol_str::SmolStr;

use crate::decision::Send;

/// A command that cannot be delivered.
#[derive(Debug, Clone, Copy)]
pub struct Lost<'a> {
    /// Its turn, with the refusal.
    pub turn: &'a Turn,
    /// The entity that it was addressed to.
    pub about: &'a EntityAddress,
    /// The subject it came on, if the subject is what is wrong.
    pub subject: Option<&'a SmolStr>,
}

/// Decides what happens to such commands. Pure: the same command always gives the same dead letter.
pub trait Undeliverable: Debug + std::marker::Send + Sync {
    /// The entity for the turn of a message whose subject names none.
    fn nowhere(&self) -> EntityAddress;

    /// The dead letter of a command, and the message about it.
    fn bury(&self, lost: &Lost<'_>) -> (DeadLetter, Option<Send>);

    /// The message with a command's outcome to its sender; `None` if the sender does not wait for it.
    fn settle(&self, sender: EntityAddress, command: &Command, refusal: Option<&Refusal>) -> Option<Send>;
}
