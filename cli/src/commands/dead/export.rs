//! `orrery dead export`: dead letters with their payloads as JSON lines.

use std::io::Write;
use std::path::PathBuf;

use super::Whole;
use super::filter::Filter;
use crate::failure::{Failure, exit};
use crate::gateway::{lines, query, read};
use crate::output::Output;
use crate::session::Session;

/// What to write, and where.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    filter: Filter,
    /// `waiting`, `redriving`, `redriven` or `dropped`
    #[arg(long)]
    state: Option<String>,
    /// Write into this file and not to stdout
    #[arg(long)]
    output: Option<PathBuf>,
}

/// Writes them, newest first.
pub(super) async fn run(session: &Session, arguments: Arguments, output: Output) -> Result<(), Failure> {
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
    let mut parts = filter.parts();
    parts.push(("state", state));
    let mut lines = lines(session, &format!("/v1/dead-letters/export?{}", query(&parts))).await?;
    let mut count = 0_u64;
    while let Some(line) = lines.next().await? {
        let mut whole: Whole = read(line)?;
        whole.decode();
        let line = serde_json::to_string(&whole).expect("output types have string keys") + "\n";
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
