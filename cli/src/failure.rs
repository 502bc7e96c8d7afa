//! Why a verb failed: a stable code, the cause, the next step and the exit code.

use std::fmt;

use bus_schemas::text::{cut, one_line};
use bus_schemas::{Refusal, chain};
use orrery_storage::backup::manifest;
use orrery_storage::{Sort, archive, backup, history, ledger, rebuild, replay, restore, verify};
use schemars::JsonSchema;
use serde::Serialize;

use crate::commands::explain;

/// Exit codes, those of sysexits.h where it has one.
pub mod exit {
    /// The command ran, and the result is negative: a task failed, a check found something.
    pub const NO: u8 = 1;
    /// Wrong arguments or settings (`EX_USAGE`).
    pub const USAGE: u8 = 64;
    /// Invalid input (`EX_DATAERR`).
    pub const DATA: u8 = 65;
    /// Not found (`EX_NOINPUT`).
    pub const NOT_FOUND: u8 = 66;
    /// The system does not run or does not answer (`EX_UNAVAILABLE`).
    pub const UNAVAILABLE: u8 = 69;
    /// An internal error (`EX_SOFTWARE`).
    pub const SOFTWARE: u8 = 70;
    /// A file cannot be written (`EX_CANTCREAT`).
    pub const FILE: u8 = 73;
    /// Interrupted by the user: 128 plus SIGINT.
    pub const INTERRUPTED: u8 = 130;
}

/// Bytes of a text shown to people.
const TEXT_BYTES_MAX: usize = 4_096;

/// A failed command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Failure {
    /// A stable code with an entry in `docs/errors/`.
    pub code: String,
    /// What was attempted, and the cause.
    pub message: String,
    /// The next step.
    pub next: Option<String>,
    /// The exit code of the process.
    #[serde(skip)]
    pub exit: u8,
}

impl Failure {
    /// A failure with exit code 1: the command ran, and the result is negative.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), next: None, exit: exit::NO }
    }
    /// Adds the next step.
    #[must_use]
    pub fn next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }
    /// Sets another exit code; see [`exit`].
    #[must_use]
    pub fn exit(mut self, exit: u8) -> Self {
        self.exit = exit;
        self
    }
    /// Makes a failure of an error; the chain of its causes becomes the message.
    pub fn of(code: &str, error: &dyn std::error::Error) -> Self {
        Self::new(code, chain(error))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The message may repeat what was typed or sent, at any length.
        write!(f, "error[{}]: {}", self.code, cut(&one_line(&self.message), TEXT_BYTES_MAX))?;
        match &self.next {
            Some(next) => write!(f, "\n next: {}", cut(next, TEXT_BYTES_MAX)),
            None => Ok(()),
        }
    }
}

impl From<bus_client::Error> for Failure {
    fn from(error: bus_client::Error) -> Self {
        let status = match &error {
            bus_client::Error::Setting { .. } => exit::USAGE,
            _ => exit::UNAVAILABLE,
        };
        Self::of(error.code(), &error).next(error.hint()).exit(status)
    }
}

impl From<bus_client::AskError> for Failure {
    fn from(error: bus_client::AskError) -> Self {
        let code = match &error {
            bus_client::AskError::Unanswered { .. } => "no-answer",
            bus_client::AskError::Malformed { .. } => "malformed-answer",
        };
        Self::of(code, &error)
            .next("`orrery doctor` shows which partition does not answer; the same command again is safe")
            .exit(exit::UNAVAILABLE)
    }
}

impl From<actors_host::StartError> for Failure {
    fn from(error: actors_host::StartError) -> Self {
        let status = match error {
            actors_host::StartError::Config(_) => exit::USAGE,
            actors_host::StartError::DataDir { .. } => exit::FILE,
            actors_host::StartError::Interrupted => exit::INTERRUPTED,
            actors_host::StartError::Bus(error) => return error.into(),
            _ => exit::UNAVAILABLE,
        };
        Self::of(error.code(), &error).next(error.hint()).exit(status)
    }
}

impl From<gateway::Error> for Failure {
    fn from(error: gateway::Error) -> Self {
        Self::of(error.code(), &error).next(error.hint()).exit(exit::UNAVAILABLE)
    }
}

/// Converts errors of work on stored data, each with the exit code of its sort.
macro_rules! of_stored_data {
    ($($error:ty),+) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                let advice = error.advice();
                let status = match advice.sort {
                    Sort::No => exit::NO,
                    Sort::Usage => exit::USAGE,
                    Sort::Data => exit::DATA,
                    Sort::NotFound => exit::NOT_FOUND,
                    Sort::Unavailable => exit::UNAVAILABLE,
                    Sort::Unwritable => exit::FILE,
                    Sort::Interrupted => exit::INTERRUPTED,
                };
                Self::of(advice.code, &error).next(advice.hint).exit(status)
            }
        })+
    };
}

of_stored_data!(
    archive::Error,
    backup::Error,
    history::Error,
    ledger::Error,
    manifest::Error,
    rebuild::Error,
    replay::Error,
    restore::Error,
    verify::Error
);

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let missing = refusal.code.ends_with("-not-found") || refusal.code == "unknown-settings";
        let exit = if missing { exit::NOT_FOUND } else { exit::DATA };
        let next = Some(refusal.hint.unwrap_or_else(|| explain::advice(&refusal.code)));
        Self { code: refusal.code.to_string(), message: refusal.message, next, exit }
    }
}

impl From<bus_schemas::ids::Error> for Failure {
    fn from(error: bus_schemas::ids::Error) -> Self {
        Self::of("invalid-key", &error)
            .next("keys are printed by `orrery tasks list` and `orrery events`")
            .exit(exit::USAGE)
    }
}
