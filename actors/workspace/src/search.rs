//! Searching the files of a workspace for a text or a pattern.

use std::io::Read as _;

use regex::bytes::{Regex, RegexBuilder};
use serde::Serialize;

use crate::folder::{Folder, Kind, Visited};
use crate::path::DEPTH_MAX;
use crate::{Error, Stop, WorkspacePath};

/// The most matches of a search.
pub const MATCHES_MAX: usize = 1_000;
/// The largest file that is searched: a larger one is a data dump.
const FILE_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// The most files that are looked at, and the most bytes of all of them.
const FILES_MAX: u64 = 200_000;
const BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// The longest part of a line that is shown.
const LINE_BYTES_MAX: usize = 512;
/// The longest pattern, and what its automaton may take.
const PATTERN_BYTES_MAX: usize = 1_024;
const AUTOMATON_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes at the beginning of a file in which a zero byte means that it is no text.
const BINARY_WITHIN: usize = 8 * 1024;

/// What is searched for. A pattern takes time linear in the text, whatever it is.
#[derive(Debug, Clone)]
pub struct Query {
    pattern: Regex,
    matches_max: usize,
}

impl Query {
    /// A text, or a pattern in the syntax of the crate `regex`, which is found within lines.
    pub fn new(text: &str, is_pattern: bool, ignore_case: bool, matches_max: usize) -> Result<Self, Error> {
        if text.is_empty() || text.len() > PATTERN_BYTES_MAX {
            return Err(Error::invalid(
                "the text to search for",
                format!("1 to {PATTERN_BYTES_MAX} bytes are allowed"),
            ));
        }
        let source = if is_pattern { text.to_owned() } else { regex::escape(text) };
        let mut builder = RegexBuilder::new(&source);
        builder.case_insensitive(ignore_case).size_limit(AUTOMATON_BYTES_MAX).multi_line(true);
        let pattern = builder.build().map_err(|error| Error::invalid("the pattern", error.to_string()))?;
        Ok(Self { pattern, matches_max: matches_max.min(MATCHES_MAX) })
    }
}

/// A line that matches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Match {
    /// The file.
    pub path: String,
    /// The line, from 1 on.
    pub line: u64,
    /// The byte in the line at which the match begins, from 1 on.
    pub column: u64,
    /// The line, cut after 512 bytes.
    pub text: String,
}

/// What a search found, in the order of paths.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Found {
    /// The matches.
    pub matches: Vec<Match>,
    /// Whether there are more, or more files than are looked at.
    pub truncated: bool,
    /// Files that were searched.
    pub files: u64,
    /// Files that were not: no text, too large, with more than one name, or gone.
    pub skipped: u64,
    #[serde(skip)]
    bytes: u64,
}

impl Folder {
    /// Searches the files below a folder, line by line. Symbolic links and protected names are left out.
    pub fn search(&self, at: Option<&WorkspacePath>, query: &Query, stop: Stop<'_>) -> Result<Found, Error> {
        let mut found = Found::default();
        let top = at.map_or_else(String::new, |path| format!("{path}/"));
        let folder = at.map_or_else(|| self.again(), |path| self.descend(path))?;
        folder.walk(&top, DEPTH_MAX, &mut |folder, visited| {
            if stop() {
                return Err(Error::Canceled);
            }
            if visited.entry.kind == Kind::File {
                match text(folder, visited) {
                    Some(text) => found.add(&visited.entry.path, &text, query),
                    None => found.skipped += 1,
                }
            }
            let seen = found.files + found.skipped;
            found.truncated |= seen >= FILES_MAX || found.bytes >= BYTES_MAX;
            Ok(!found.truncated)
        })?;
        Ok(found)
    }
}

impl Found {
    fn add(&mut self, path: &str, text: &[u8], query: &Query) {
        self.files += 1;
        self.bytes += text.len() as u64;
        let (mut line, mut counted) = (1, 0);
        let mut from = 0;
        while let Some(hit) = query.pattern.find_at(text, from) {
            if self.matches.len() == query.matches_max {
                self.truncated = true;
                return;
            }
            line += text[counted..hit.start()].iter().filter(|byte| **byte == b'\n').count() as u64;
            counted = hit.start();
            let begins = text[..hit.start()].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            let ends = text[hit.start()..].iter().position(|byte| *byte == b'\n');
            let ends = ends.map_or(text.len(), |at| hit.start() + at);
            let shown = String::from_utf8_lossy(&text[begins..ends]);
            let shown = bus_schemas::text::cut(&bus_schemas::text::one_line(&shown), LINE_BYTES_MAX);
            let column = (hit.start() - begins) as u64 + 1;
            self.matches.push(Match { path: path.to_owned(), line, column, text: shown });
            // One match for each line, and an end where the last line has been.
            from = ends + 1;
            if from >= text.len() {
                return;
            }
        }
    }
}

/// The text of a file; `None` where it has none.
fn text(folder: &Folder, visited: Visited<'_>) -> Option<Vec<u8>> {
    if visited.entry.refused.is_some() || visited.entry.bytes > FILE_BYTES_MAX {
        return None;
    }
    let (file, _) = folder.file(visited.name.to_str().ok()?, &visited.entry.path).ok()?;
    let mut text = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut text).ok()?;
    let is_binary = text[..text.len().min(BINARY_WITHIN)].contains(&0);
    (text.len() as u64 <= FILE_BYTES_MAX && !is_binary).then_some(text)
}
