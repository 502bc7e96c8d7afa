//! `orrery backup`: an installation as files, written while it runs or while it is down.

use std::path::PathBuf;

use bus_client::now;
use orrery_storage::backup::{self, Request, Written};

use super::archive::Location;
use crate::bar::Bar;
use crate::failure::Failure;
use crate::output::{Output, Show};
use crate::session::Session;

/// The target of the backup.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The target: an empty directory, or one that does not exist yet
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    #[command(flatten)]
    archive: Location,
}

impl Show for Written {
    fn text(&self) -> String {
        let Self { directory, streams, messages, records, bytes, .. } = self;
        format!(
            "{streams} streams with {messages} messages, {records} of them commit records, in {bytes} bytes at `{}`\n`orrery restore {}` brings them into an empty installation",
            directory.display(),
            directory.display()
        )
    }
}

/// Writes a backup.
pub async fn run(session: &Session, arguments: Arguments, output: Output) -> Result<(), Failure> {
    let archive = arguments.archive.open(&session.config)?.directory().to_owned();
    let request = Request { directory: arguments.directory, archive, begun_at: now() };
    output.show(&backup::run(&session.bus, &request, &Bar::new(output)).await?);
    Ok(())
}
