//! The repository's documentation: passages that answer standard questions and the user's own, found by a
//! text index and quoted word for word.
//!
//! Nothing is rephrased. A passage names its file and lines, so that a reviewer can look it up.

mod ask;
mod index;
mod passage;
mod questions;
mod stems;
mod weight;

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::ask::Library;
use self::questions::QUESTIONS;
use super::files::Tree;
use super::languages;
use super::sections::{self, MARKDOWN, RST, Section};
use super::{Error, Watch};

/// Bytes of a document: larger than any page that a person wrote. Beyond it are logs and dumps with a
/// document's extension.
pub const DOCUMENT_BYTES_MAX: u64 = 512 * 1024;

/// Bytes of all documents, which bounds the memory of the text and its index; further documents, in order of
/// path, are counted and not read.
pub const INDEXED_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// Sections of all documents, which bounds their memory beyond their text; a document whose sections would
/// exceed it is not read.
pub const SECTIONS_MAX: usize = 50_000;

/// Passages quoted for one question: an answer and two additions.
pub const PASSAGES_MAX: usize = 3;

/// The size of a passage: as much as a reader takes in at once.
pub const PASSAGE_LINES_MAX: usize = 14;
pub const PASSAGE_BYTES_MAX: usize = 1_600;

/// Words of the user's goal that are searched for; the later words of a longer goal only add noise.
pub const GOAL_WORDS_MAX: usize = 32;

/// Figures of the documentation, and the answers found in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Docs {
    pub documents: u64,
    pub sections: u64,
    pub bytes: u64,
    /// Documents not read: too large, beyond the limit, or unreadable.
    pub skipped: u64,
    /// The standard questions, in the order a newcomer asks them.
    pub answers: Vec<Answer>,
    /// The passages that match the user's goal best; absent when none is close.
    pub goal: Option<Answer>,
}

/// A question with the passages that answer it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Answer {
    /// A stable name, such as `install`.
    pub id: String,
    pub question: String,
    /// The passages, best first; empty when the documentation does not seem to have an answer.
    pub passages: Vec<Passage>,
}

/// Consecutive lines of a document, word for word.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Passage {
    pub file: String,
    pub heading: String,
    /// The first line, from 1; both ends are inclusive.
    pub start_line: u64,
    pub end_line: u64,
    /// The cited lines joined by line feeds; the last is cut when the passage would be too long.
    pub text: String,
    /// The score, comparable within one question only.
    pub score: f32,
}

/// A section in memory while questions are asked.
struct Indexed {
    file: String,
    section: Section,
    /// The lines under the heading, joined by line feeds.
    body: String,
}

/// Reads the documentation below `repo`, and answers the standard questions and, where it can, `goal`.
pub fn docs(repo: &Path, goal: &str, watch: &Watch) -> Result<Docs, Error> {
    let mut read = Docs { documents: 0, sections: 0, bytes: 0, skipped: 0, answers: Vec::new(), goal: None };
    let mut sections = Vec::new();
    let mut tree = Tree::read(repo, watch)?;
    tree.each("reading documentation", |tree, entry| {
        if !is_document(&entry.name) {
            return Ok(());
        }
        let room = DOCUMENT_BYTES_MAX.min(INDEXED_BYTES_MAX - read.bytes);
        match tree.text(&entry, room)? {
            Some(text) => {
                let mut found = indexed(&entry.name, &text);
                if sections.len() + found.len() > SECTIONS_MAX {
                    read.skipped += 1;
                    return Ok(());
                }
                read.documents += 1;
                read.bytes += entry.bytes.min(room);
                sections.append(&mut found);
            }
            None => read.skipped += 1,
        }
        Ok(())
    })?;
    read.sections = sections.len() as u64;
    let library = Library::new(&sections, watch)?;
    let questions = QUESTIONS.len() as u64;
    for (done, question) in QUESTIONS.iter().enumerate() {
        watch.check()?;
        watch.progress(done as u64, Some(questions), "searching documentation");
        read.answers.push(library.standard(question)?);
    }
    read.goal = library.goal(goal)?;
    watch.progress(questions, Some(questions), "searching documentation");
    Ok(read)
}

/// Markdown and reStructuredText anywhere, and the plain files that projects keep at hand.
fn is_document(path: &str) -> bool {
    if languages::by_path(path).is_some_and(|language| matches!(language.name, MARKDOWN | RST)) {
        return true;
    }
    let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
    match name.rsplit_once('.') {
        Some((stem, "txt")) => is_plain_document(stem),
        Some(_) => false,
        None => is_plain_document(&name),
    }
}

fn is_plain_document(stem: &str) -> bool {
    const STEMS: [&str; 9] = [
        "readme",
        "contributing",
        "license",
        "licence",
        "copying",
        "install",
        "usage",
        "hacking",
        "architecture",
    ];
    STEMS
        .iter()
        .any(|known| stem.strip_prefix(known).is_some_and(|rest| !rest.starts_with(char::is_alphanumeric)))
}

fn indexed(file: &str, text: &str) -> Vec<Indexed> {
    let lines: Vec<&str> = text.lines().collect();
    let sections = sections::split(file, text).into_iter();
    let with_text = sections.filter_map(|section| {
        let body = lines.get(section.body_line - 1..section.end_line)?.join("\n");
        (!body.trim().is_empty()).then(|| Indexed { file: file.to_owned(), section, body })
    });
    with_text.collect()
}

#[cfg(test)]
mod tests {
    use super::is_document;

    #[test]
    fn documents_are_known_by_name() {
        for (path, expected) in [
            ("a/b.md", true),
            ("a/B.MD", true),
            ("README", true),
            ("readme-first.txt", true),
            ("LICENSE-MIT", true),
            ("notes.txt", false),
            ("requirements.txt", false),
            ("installer", false),
        ] {
            assert_eq!(is_document(path), expected, "{path}");
        }
    }
}
