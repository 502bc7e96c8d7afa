//! The repository report: everything it says is computed from the files and the git history, without any model.
//!
//! Reading order is the order of the work: five artifacts are gathered, reviewed against each other, composed.
//!
//! ```text
//! inventory ─┐
//! history   ─┤
//! manifests ─┼─→ review ─→ compose ─→ Markdown, HTML
//! hotspots  ─┤
//! docs      ─┘
//! ```
//!
//! Every function is synchronous, reads one repository and nothing else, and gives the same result for the
//! same input: lists are sorted, there is no clock, and times are arguments. This crate must never write to
//! the repository, follow a symbolic link or leave the folder it was given, and never parse untrusted files
//! in its own process by code that is not memory-safe: see `hotspots::parser`.

pub mod compose;
pub mod docs;
pub mod error;
pub mod history;
pub mod hotspots;
pub mod inventory;
pub mod manifests;
pub mod review;
pub mod sources;

mod child;
mod files;
mod git;
mod languages;
mod manifest_formats;
mod sections;
mod text;
mod top;

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::compose::{Composed, Meta, compose};
pub use self::docs::{Docs, docs};
pub use self::error::Error;
pub use self::history::{History, check_repository, history};
pub use self::hotspots::parser::{parse_by, parsed_instead};
pub use self::hotspots::{Hotspots, hotspots};
pub use self::inventory::{Inventory, inventory};
pub use self::manifests::{Manifests, manifests};
pub use self::review::{Review, review};
pub use self::sources::{Source, sources};

/// Called with the units done, the total when it is known, and a short note on the current work.
pub type Progress = dyn Fn(u64, Option<u64>, &str) + Send + Sync;

/// How a caller watches and stops a long analysis.
pub struct Watch {
    progress: Box<Progress>,
    canceled: Box<dyn Fn() -> bool + Send + Sync>,
}

impl Watch {
    /// Reports to `progress` and stops with [`Error::Canceled`] soon after `canceled` first says `true`.
    pub fn new(
        progress: impl Fn(u64, Option<u64>, &str) + Send + Sync + 'static,
        canceled: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Self {
        Self { progress: Box::new(progress), canceled: Box::new(canceled) }
    }

    /// Reports to nobody and is never canceled.
    pub fn silent() -> Self {
        Self::new(|_, _, _| {}, || false)
    }

    /// Reports progress to the caller.
    pub fn progress(&self, done: u64, total: Option<u64>, note: &str) {
        (self.progress)(done, total, note);
    }

    /// Returns [`Error::Canceled`] once the caller no longer wants the answer.
    pub fn check(&self) -> Result<(), Error> {
        if self.is_canceled() { Err(Error::Canceled) } else { Ok(()) }
    }

    /// Whether the caller no longer wants the answer.
    pub fn is_canceled(&self) -> bool {
        (self.canceled)()
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Watch").finish_non_exhaustive()
    }
}

/// The five artifacts a review checks and a report is composed from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Inputs {
    pub inventory: Inventory,
    pub history: History,
    pub manifests: Manifests,
    pub hotspots: Hotspots,
    pub docs: Docs,
}
