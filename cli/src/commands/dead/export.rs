//! `orrery dead export`: dead letters with their payloads as JSON lines.

use std::io::Write;
use std::path::PathBuf;

use super::filter::Filter;
use super::{Page, find};
use crate::failure::{Failure, exit};
use crate::gateway::{query, read, view};
use crate::output::Output;
use crate::session::Session;

/// Rows of one request.
const ROWS: &str = "200";

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
    let (mut cursor, mut count) = (None, 0_u64);
    loop {
        let mut parts = filter.parts();
        parts.extend([("state", state.clone()), ("limit", Some(ROWS.to_owned())), ("cursor", cursor)]);
        let page: Page = read(view(session, &format!("/v1/dead-letters?{}", query(&parts))).await?)?;
        for letter in &page.dead_letters {
            let whole = find(session, &letter.entry).await?;
            let line = serde_json::to_string(&whole).expect("output types have string keys") + "\n";
            match &mut file {
                Some(file) => file.write_all(line.as_bytes()).map_err(unwritable)?,
                None => output.bytes(line.as_bytes()),
            }
            count += 1;
        }
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    if let Some(file) = &mut file {
        file.flush().map_err(unwritable)?;
    }
    output.say(&format!("{count} dead letters"));
    Ok(())
}
