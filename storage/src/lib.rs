//! Operators' work on stored data: archive, backup, restore, verify, rebuild, replay and the ledger for auditors.
//!
//! It gets a connection, directories and times, returns typed results and errors, and reports its progress by
//! [`Progress`]. It never reads arguments or settings, prints, or ends the process.

mod advice;
mod progress;

pub mod history;

pub mod archive;
pub mod backup;
pub mod restore;

pub mod ledger;
pub mod rebuild;
pub mod replay;
pub mod verify;

pub use advice::{Advice, Sort};
pub use progress::{Progress, Unit};
