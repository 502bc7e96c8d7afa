//! Hot spots: notes in comments, such as `TODO`, and long functions.
//!
//! Both come from syntax trees, so a marker inside a string is not a note and a long table is not a function.
//! The trees are made in a separate process, see [`parser`].

pub mod parser;
mod syntax;

use std::io::Read;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::parser::Parser;
use self::syntax::Parsed;
use super::files::{Entry, Tree};
use super::languages;
use super::top::Top;
use super::{Error, Watch, text};

/// Lines above which a function is long.
pub const LONG_FUNCTION_LINES: u64 = 70;

/// Notes that are listed; further ones are only counted.
pub const NOTES_LISTED: usize = 200;

/// Long functions that are listed; further ones are only counted.
pub const LONG_FUNCTIONS_LISTED: usize = 50;

/// Bytes of a source file: larger ones are generated, and parsing one takes seconds and a hundred times its
/// size in memory.
pub const SOURCE_BYTES_MAX: u64 = 1024 * 1024;

/// Bytes within which the first line of a script names its program.
const FIRST_LINE_BYTES_MAX: u64 = 256;

/// Names of skipped or broken files that are kept as evidence.
pub const PATHS_LISTED: usize = 20;

/// The findings in the syntax trees of a repository.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Hotspots {
    /// The languages, by name.
    pub languages: Vec<LanguageFunctions>,
    pub notes_total: u64,
    /// The first [`NOTES_LISTED`], by file and line.
    pub notes: Vec<Note>,
    /// Functions longer than [`LONG_FUNCTION_LINES`].
    pub long_functions_total: u64,
    /// Longest first.
    pub long_functions: Vec<LongFunction>,
    /// Files with syntax errors; the parts that could be parsed are counted.
    pub syntax_errors: PathList,
    /// Files larger than [`SOURCE_BYTES_MAX`] or unreadable.
    pub oversized: PathList,
    /// Files that ended the parser, by a fault of its own or by its limits; they count as parsed in no
    /// language.
    #[serde(default)]
    pub unparsed: PathList,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LanguageFunctions {
    pub language: String,
    pub files: u64,
    pub functions: u64,
    pub notes: u64,
}

/// A marker such as `TODO` in a comment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Note {
    pub marker: Marker,
    pub file: String,
    /// The line, from 1.
    pub line: u64,
    /// The text from the marker to the end of the line or of the comment.
    pub text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Marker {
    Fixme,
    Hack,
    Xxx,
    Todo,
}

impl Marker {
    pub const ALL: [Self; 4] = [Self::Fixme, Self::Hack, Self::Xxx, Self::Todo];

    /// The word as it stands in comments.
    pub fn word(self) -> &'static str {
        match self {
            Self::Fixme => "FIXME",
            Self::Hack => "HACK",
            Self::Xxx => "XXX",
            Self::Todo => "TODO",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LongFunction {
    pub name: String,
    pub file: String,
    /// The line of the function's first word, from one.
    pub start_line: u64,
    pub lines: u64,
}

/// A number of files, with the names of the first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PathList {
    pub total: u64,
    pub paths: Vec<String>,
}

impl PathList {
    fn push(&mut self, path: String) {
        self.total += 1;
        if self.paths.len() < PATHS_LISTED {
            self.paths.push(path);
        }
    }
}

/// Parses every Rust, Python, JavaScript, TypeScript and Go file below `repo`.
pub fn hotspots(repo: &Path, watch: &Watch) -> Result<Hotspots, Error> {
    let mut tally = Tally::new();
    let mut parser = Parser::default();
    Tree::read(repo, watch)?.each("parsing source files", |tree, entry| {
        let Some(language) = language(tree, &entry)? else { return Ok(()) };
        let Some(bytes) = tree.bytes(&entry, SOURCE_BYTES_MAX)? else {
            tally.oversized.push(entry.name);
            return Ok(());
        };
        // Some video files share an extension with TypeScript.
        let Some(text) = text::decode(bytes) else { return Ok(()) };
        match parser.parse(language, &text, watch)? {
            Some(parsed) => tally.add(language, entry.name, parsed),
            None => tally.unparsed.push(entry.name),
        }
        Ok(())
    })?;
    Ok(tally.finish())
}

/// The language of a file, if it has a grammar.
fn language(tree: &mut Tree<'_>, entry: &Entry) -> Result<Option<&'static str>, Error> {
    let language = match languages::by_path(&entry.name) {
        Some(language) => language,
        None => {
            let Some(reader) = tree.open(entry, FIRST_LINE_BYTES_MAX)? else { return Ok(None) };
            let mut start = Vec::new();
            // A file that cannot be read has no first line.
            let _ = reader.take(FIRST_LINE_BYTES_MAX).read_to_end(&mut start);
            let start = text::decode(start).unwrap_or_default();
            languages::detect(&entry.name, start.lines().next().unwrap_or_default())
        }
    };
    Ok(syntax::LANGUAGES.contains(&language.name).then_some(language.name))
}

struct Tally {
    languages: Vec<LanguageFunctions>,
    notes_total: u64,
    notes: Vec<Note>,
    long_total: u64,
    long: Top<u64, (String, u64, String)>,
    syntax_errors: PathList,
    oversized: PathList,
    unparsed: PathList,
}

impl Tally {
    fn new() -> Self {
        Self {
            languages: Vec::new(),
            notes_total: 0,
            notes: Vec::new(),
            long_total: 0,
            long: Top::new(LONG_FUNCTIONS_LISTED),
            syntax_errors: PathList::default(),
            oversized: PathList::default(),
            unparsed: PathList::default(),
        }
    }

    fn add(&mut self, language: &str, file: String, parsed: Parsed) {
        let row = match self.languages.iter_mut().position(|row| row.language == language) {
            Some(index) => &mut self.languages[index],
            None => {
                let language = language.to_owned();
                self.languages.push(LanguageFunctions { language, files: 0, functions: 0, notes: 0 });
                let last = self.languages.len() - 1;
                &mut self.languages[last]
            }
        };
        row.files += 1;
        row.functions += parsed.functions;
        row.notes += parsed.notes_total;
        self.notes_total += parsed.notes_total;
        let room = NOTES_LISTED - self.notes.len();
        self.notes.extend(parsed.notes.into_iter().take(room).map(|(marker, line, text)| Note {
            marker,
            file: file.clone(),
            line,
            text,
        }));
        self.long_total += parsed.long_total;
        for function in parsed.long_functions {
            self.long.push(function.lines, (file.clone(), function.start_line, function.name));
        }
        if parsed.syntax_error {
            self.syntax_errors.push(file);
        }
    }

    fn finish(mut self) -> Hotspots {
        self.languages.sort_by(|a, b| a.language.cmp(&b.language));
        let long_functions = self
            .long
            .into_sorted()
            .into_iter()
            .map(|(lines, (file, start_line, name))| LongFunction { name, file, start_line, lines });
        Hotspots {
            languages: self.languages,
            notes_total: self.notes_total,
            notes: self.notes,
            long_functions_total: self.long_total,
            long_functions: long_functions.collect(),
            syntax_errors: self.syntax_errors,
            oversized: self.oversized,
            unparsed: self.unparsed,
        }
    }
}
