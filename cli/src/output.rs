//! What commands print: one JSON object a line with `--json`, otherwise text for people.
//!
//! Results go to stdout, progress and failures to stderr. A closed stdout ends the process
//! quietly, as `orrery events | head` expects.
//!
//! All text for people passes through one filter: what others wrote may hold anything, and a terminal obeys.

use std::io::{ErrorKind, IsTerminal, Write};

use bus_schemas::text::{cut, one_line, prose};
use schemars::JsonSchema;
use serde::Serialize;

use crate::called;
use crate::failure::Failure;

/// Something that can be printed both ways.
pub trait Show: Serialize + JsonSchema {
    /// For people: without the final line break.
    fn text(&self) -> String;
}

/// How this invocation prints.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    json: bool,
}

impl Output {
    /// JSON, or text for people.
    pub fn new(json: bool) -> Self {
        Self { json }
    }
    /// Whether programs read this.
    pub fn json(self) -> bool {
        self.json
    }
    /// Whether a person watches stderr: then progress may be drawn there.
    pub fn watched(self) -> bool {
        !self.json && std::io::stderr().is_terminal()
    }
    /// Prints one result.
    pub fn show(self, value: &impl Show) {
        if self.json {
            let line = serde_json::to_string(value).expect("output types have string keys");
            write((line + "\n").as_bytes());
        } else {
            write((prose(&value.text()) + "\n").as_bytes());
        }
    }
    /// Prints bytes as they are: the content of something, whatever form is asked for.
    pub fn bytes(self, bytes: &[u8]) {
        write(bytes);
    }
    /// Says something to the person who waits; programs do not get it.
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

/// Writes to stdout.
fn write(bytes: &[u8]) {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => {
            eprintln!(
                "error[output-unwritable]: writing to stdout: {error}\n next: free disk space or choose another file"
            );
            std::process::exit(i32::from(crate::failure::exit::FILE));
        }
    }
}

/// Bytes of a cell: the longest name of anything, and some more.
const CELL_BYTES_MAX: usize = 200;

/// Aligns columns; the first row is the heading. Empty cells stay empty, and each is one short line.
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
