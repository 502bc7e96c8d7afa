//! Output: one JSON object per line with `--json`, otherwise text for people.
//!
//! Results go to stdout, progress and failures to stderr. A closed stdout ends the verb quietly, as
//! `orrery events | head` expects, and with it the server that it has started.
//!
//! All text for people passes through one filter: data from elsewhere may hold control characters, and a
//! terminal obeys them.

use std::io::{ErrorKind, IsTerminal, Write};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU8, Ordering};

use bus_schemas::text::{cut, one_line, prose};
use bus_schemas::views::silent::Silent;
use schemars::JsonSchema;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::called;
use crate::failure::{Failure, exit};

/// A result that prints as JSON and as text.
pub trait Show: Serialize + JsonSchema {
    /// The text for people, without the final line break.
    fn text(&self) -> String;
}

/// The output of this invocation.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    json: bool,
}

impl Output {
    /// Prints JSON, or text for people.
    pub fn new(json: bool) -> Self {
        Self { json }
    }
    /// Whether the output is JSON, for programs.
    pub fn json(self) -> bool {
        self.json
    }
    /// Whether stderr is a terminal, on which progress may be drawn.
    pub fn watched(self) -> bool {
        !self.json && std::io::stderr().is_terminal()
    }
    /// Prints one result.
    pub fn show(self, value: &impl Show) {
        self.changed(value, &value.text());
    }
    /// Prints the resource that a command changed: the whole resource as JSON, or one line for people.
    pub fn changed(self, resource: &impl Serialize, line: &str) {
        if self.json {
            let line = serde_json::to_string(resource).expect("output types have string keys");
            write((line + "\n").as_bytes());
        } else {
            write((prose(line) + "\n").as_bytes());
        }
    }
    /// Prints bytes as they are, whatever the output format.
    pub fn bytes(self, bytes: &[u8]) {
        write(bytes);
    }
    /// Prints a line for the person who waits; programs do not get it.
    pub fn say(self, line: &str) {
        if !self.json {
            eprintln!("{}", prose(line));
        }
    }
    /// Prints a failure to stderr.
    pub fn fail(self, failure: &Failure) {
        let next = failure.next.as_deref().map(called::advice);
        let failure = &Failure { next, ..failure.clone() };
        if self.json {
            let line = serde_json::json!({ "error": failure });
            eprintln!("{line}");
        } else {
            eprintln!("{}", prose(&failure.to_string()));
        }
    }
}

/// Cancelled when stdout cannot be written any more.
static CLOSED: LazyLock<CancellationToken> = LazyLock::new(CancellationToken::new);
/// The exit code once stdout cannot be written any more.
static CLOSED_CODE: AtomicU8 = AtomicU8::new(0);

/// Resolves when stdout cannot be written any more.
pub async fn closed() {
    CLOSED.cancelled().await;
}

/// The exit code, if stdout could not be written: 0 where its reader left.
pub fn closed_with() -> Option<u8> {
    CLOSED.is_cancelled().then(|| CLOSED_CODE.load(Ordering::Relaxed))
}

/// Writes to stdout, unless that has failed before.
fn write(bytes: &[u8]) {
    if CLOSED.is_cancelled() {
        return;
    }
    let mut stdout = std::io::stdout().lock();
    let Err(error) = stdout.write_all(bytes).and_then(|()| stdout.flush()) else { return };
    if error.kind() != ErrorKind::BrokenPipe {
        eprintln!(
            "error[output-unwritable]: writing to stdout: {error}\n next: free disk space or choose another file"
        );
        CLOSED_CODE.store(exit::FILE, Ordering::Relaxed);
    }
    CLOSED.cancel();
}

/// The entities that did not answer, a line each.
pub fn silent_lines(silent: &[Silent]) -> impl Iterator<Item = String> {
    silent.iter().map(|Silent { entity, code, reason }| {
        format!("{entity} does not answer: {code}: {}", one_line(reason))
    })
}

/// Bytes of a cell: more than the longest name.
const CELL_BYTES_MAX: usize = 200;

/// Aligns columns; the first row is the heading. Cells are cut to one short line; empty ones stay empty.
pub fn table(heading: &[&str], rows: &[Vec<String>]) -> String {
    let cells = |row: &Vec<String>| row.iter().map(|cell| cut(&one_line(cell), CELL_BYTES_MAX)).collect();
    let rows: Vec<Vec<String>> = rows.iter().map(cells).collect();
    let mut widths: Vec<usize> = heading.iter().map(|cell| cell.chars().count()).collect();
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded: Vec<String> = cells.zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        padded.join("  ").trim_end().to_owned()
    };
    let mut lines = vec![line(&mut heading.iter().copied())];
    lines.extend(rows.iter().map(|row| line(&mut row.iter().map(String::as_str))));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = vec![vec!["a".to_owned(), "long".to_owned()], vec!["bcd".to_owned(), String::new()]];
        assert_eq!(super::table(&["k", "v"], &rows), "k    v\na    long\nbcd");
    }

    #[test]
    fn a_cell_is_one_short_line_whatever_it_holds() {
        let row = |cell: &str| vec![vec![cell.to_owned(), "end".to_owned()]];
        let table = super::table(&["k", "v"], &row("\u{1b}[2Ja\nb\u{202e}"));
        assert_eq!(table, "k         v\n\u{fffd}[2Ja b\u{fffd}  end");
        let table = super::table(&["k"], &row(&"x".repeat(100_000)));
        assert!(table.len() < 500, "{} bytes", table.len());
    }
}
