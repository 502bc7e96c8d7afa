//! `orrery verify`: hash chains, gaps, and the log against the streams that derive from it.

mod audit;
mod base;

use schemars::JsonSchema;
use serde::Serialize;

pub use self::audit::audit;
pub use self::base::lacking;
use super::archive::Location;
use super::task::one_line;
use crate::address;
use crate::failure::{Failure, exit};
use crate::output::{Output, Show};
use crate::session::Session;

/// What to verify.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Only the events of this entity: `<kind>/<key>`
    #[arg(value_name = "ENTITY", conflicts_with = "all")]
    entity: Option<String>,
    /// Every log and every stream that derives from them; the default
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    archive: Location,
}

/// Something that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Finding {
    /// A stable word: `chain-broken`, `revision-gap`, `event-missing`, `event-extra`,
    /// `event-differs`, `event-unreadable`, `order-broken`, `record-unreadable`, `log-chain-broken`,
    /// `log-gap`, `log-foreign`, `epoch-fell`, `mail-gap`, `position-fell`, `mark-ahead`, `snapshot-differs`,
    /// `blob-missing`, `archive-damaged`; of logs that were cut `base-missing`, `mark-behind`,
    /// `log-emptied`.
    pub finding: String,
    /// Where: an entity, a partition or a snapshot.
    pub place: String,
    /// What was expected and what was found.
    pub detail: String,
}

impl Show for Finding {
    fn text(&self) -> String {
        format!("{}  {}  {}", self.finding, self.place, one_line(&self.detail))
    }
}

/// What was looked at.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct Summary {
    /// Commit records read.
    pub records: u64,
    /// Those of them that were read in archive files, because the logs were cut behind them.
    pub records_archived: u64,
    /// Events read in the logs.
    pub events_in_log: u64,
    /// Events read in the event stream.
    pub events_in_stream: u64,
    /// Events read in archive files.
    pub events_archived: u64,
    /// Entities.
    pub entities: u64,
    /// Snapshots compared.
    pub snapshots: u64,
    /// Findings, of which the first twenty were printed.
    pub findings: u64,
}

impl Show for Summary {
    fn text(&self) -> String {
        let Self { records, events_in_log, events_in_stream, events_archived, entities, snapshots, .. } =
            self;
        let (findings, archived) = (
            self.findings,
            match self.records_archived {
                0 => String::new(),
                many => format!(" ({many} of them archived)"),
            },
        );
        let verdict = match findings {
            0 => "everything agrees".to_owned(),
            many => format!("{many} findings"),
        };
        format!(
            "{records} records{archived}, {events_in_log} events in the log, {events_in_stream} in the stream, {events_archived} archived, {entities} entities, {snapshots} snapshots: {verdict}"
        )
    }
}

/// Verifies, and fails when something is not as it must be.
pub async fn run(session: &Session, arguments: Arguments, output: Output) -> Result<(), Failure> {
    let only = arguments.entity.as_deref().map(address::known).transpose()?;
    let archive = arguments.archive.open(&session.config)?;
    let summary = audit(session, only.as_ref(), &archive, output).await?;
    if let Some(entity) = only
        && summary.entities == 0
        && summary.findings == 0
    {
        return Err(Failure::new("entity-not-found", format!("`{entity}` has no events"))
            .next("`orrery events` shows what there is")
            .exit(exit::NOT_FOUND));
    }
    output.show(&summary);
    whole(&summary)
}

/// A failure when something is not as it must be.
pub fn whole(summary: &Summary) -> Result<(), Failure> {
    match summary.findings {
        0 => Ok(()),
        many => Err(Failure::new("verification-failed", format!("{many} findings")).next(
            "`orrery rebuild events` writes the event stream again from the log; a broken log needs a backup",
        )),
    }
}
