//! `orrery dead-letters export`: dead letters with their payloads as JSON lines.

use std::io::Write;
use std::path::PathBuf;

use gateway_api::dead_letters::DeadLetterState;
use gateway_api::routes;

use super::filter::Filter;
use super::{Decoded, state_parser};
use crate::client::{Client, Lines, malformed};
use crate::failure::{Failure, exit};
use crate::output::Output;

/// What to export, and where to.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    filter: Filter,
    /// In this state
    #[arg(long, value_parser = state_parser())]
    state: Option<DeadLetterState>,
    /// Write to this file instead of stdout
    #[arg(long)]
    output: Option<PathBuf>,
}

/// Exports dead letters, newest first.
pub(super) async fn run(client: &Client, arguments: Arguments, output: Output) -> Result<(), Failure> {
    let Arguments { filter, state, output: path } = arguments;
    let unwritable = |error: std::io::Error| {
        let name = path.as_deref().map(|path| path.display().to_string()).unwrap_or_default();
        Failure::new("output-unwritable", format!("writing `{name}`: {error}"))
            .next("free disk space or choose another file")
            .exit(exit::FILE)
    };
    let mut file = match &path {
        Some(path) => Some(std::io::BufWriter::new(std::fs::File::create(path).map_err(unwritable)?)),
        None => None,
    };
    let mut lines = Lines::of(client.open(routes::ExportDeadLetters, &[], &filter.of(state)).await?);
    let mut count = 0_u64;
    while let Some(line) = lines.next().await? {
        let whole = serde_json::from_str(&line).map_err(|error| malformed(&error))?;
        let line = serde_json::to_string(&Decoded::of(whole)).expect("output types have string keys") + "\n";
        match &mut file {
            Some(file) => file.write_all(line.as_bytes()).map_err(unwritable)?,
            None => output.bytes(line.as_bytes()),
        }
        count += 1;
    }
    if let Some(file) = &mut file {
        file.flush().map_err(unwritable)?;
    }
    output.say(&format!("{count} dead letters"));
    Ok(())
}
