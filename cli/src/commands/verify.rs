//! `orrery verify`: checks hash chains, gaps, and the log against the streams derived from it.

use orrery_storage::verify::{self, Finding, Summary};

use super::archive::Location;
use super::tasks::one_line;
use crate::address;
use crate::bar::Bar;
use crate::failure::Failure;
use crate::output::{Output, Show};
use crate::session::Session;

/// What to verify.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Verify only the events of this entity: `<kind>/<key>`
    #[arg(value_name = "ENTITY", conflicts_with = "all")]
    entity: Option<String>,
    /// Verify every log and every derived stream; the default
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    archive: Location,
}

impl Show for Finding {
    fn text(&self) -> String {
        format!("{}  {}  {}", self.finding, self.place, one_line(&self.detail))
    }
}

impl Show for Summary {
    fn text(&self) -> String {
        let Self { records, events_in_log, events_in_stream, events_archived, entities, snapshots, .. } =
            self;
        let archived = match self.records_archived {
            0 => String::new(),
            many => format!(" ({many} of them archived)"),
        };
        let verdict = match self.findings {
            0 => "everything agrees".to_owned(),
            many => format!("{many} findings"),
        };
        format!(
            "{records} records{archived}, {events_in_log} events in the log, {events_in_stream} in the stream, {events_archived} archived, {entities} entities, {snapshots} snapshots: {verdict}"
        )
    }
}

/// Verifies, and fails when there are findings.
pub async fn run(session: &Session, arguments: Arguments, output: Output) -> Result<(), Failure> {
    let only = arguments.entity.as_deref().map(address::known).transpose()?;
    let archive = arguments.archive.open(&session.config)?;
    let mut show = |finding: Finding| output.show(&finding);
    let summary = verify::audit(&session.bus, only.as_ref(), &archive, &Bar::new(output), &mut show).await?;
    if let Some(entity) = &only {
        summary.expect_seen(entity)?;
    }
    output.show(&summary);
    Ok(summary.expect_complete()?)
}
