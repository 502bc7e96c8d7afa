//! Verification: hash chains, gaps, and the log against the streams derived from it.

mod audit;
mod base;

use bus_schemas::EntityAddress;
use schemars::JsonSchema;
use serde::Serialize;

pub use self::audit::audit;
pub use self::base::lacking;
use crate::{Advice, Sort, history};

/// Why a verification failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The verification has findings.
    #[error("{0} findings")]
    Findings(u64),
    /// The entity has no events.
    #[error("`{0}` has no events")]
    NotFound(EntityAddress),
    /// An error of reading logs, streams or the archive.
    #[error(transparent)]
    History(#[from] history::Error),
}

impl Error {
    /// What to tell whoever meets the error.
    pub fn advice(&self) -> Advice {
        match self {
            Self::Findings(_) => Advice::new(
                "verification-failed",
                Sort::No,
                "`orrery rebuild events` writes the event stream again from the log; a broken log needs a backup",
            ),
            Self::NotFound(_) => {
                Advice::new("entity-not-found", Sort::NotFound, "`orrery events` shows what there is")
            }
            Self::History(error) => error.advice(),
        }
    }
}

/// A deviation from what must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Finding {
    /// A stable word: `chain-broken`, `revision-gap`, `event-missing`, `event-extra`,
    /// `event-differs`, `event-unreadable`, `order-broken`, `record-unreadable`, `log-chain-broken`,
    /// `log-gap`, `log-foreign`, `epoch-fell`, `mail-gap`, `position-fell`, `mark-ahead`, `snapshot-differs`,
    /// `blob-missing`, `archive-damaged`; of logs that were cut `base-missing`, `mark-behind`,
    /// `log-emptied`.
    pub finding: String,
    /// The place: an entity, a partition or a snapshot.
    pub place: String,
    /// What was expected and what was found.
    pub detail: String,
}

/// The summary of a verification.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct Summary {
    /// Commit records that were read.
    pub records: u64,
    /// Records among these that were read from archive files, because the logs were cut.
    pub records_archived: u64,
    /// Events read from the logs.
    pub events_in_log: u64,
    /// Events read from the event stream.
    pub events_in_stream: u64,
    /// Events read from archive files.
    pub events_archived: u64,
    /// Entities seen.
    pub entities: u64,
    /// Snapshots that were compared.
    pub snapshots: u64,
    /// Findings, of which the first twenty were printed.
    pub findings: u64,
}

impl Summary {
    /// Fails when there are findings.
    pub fn expect_complete(&self) -> Result<(), Error> {
        if self.findings == 0 { Ok(()) } else { Err(Error::Findings(self.findings)) }
    }

    /// Fails when nothing was seen of an entity.
    pub fn expect_seen(&self, entity: &EntityAddress) -> Result<(), Error> {
        let seen = self.entities > 0 || self.findings > 0;
        if seen { Ok(()) } else { Err(Error::NotFound(entity.clone())) }
    }
}
