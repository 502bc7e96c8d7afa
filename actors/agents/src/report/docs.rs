//! What the repository says about itself: the passages of its documentation that answer standard questions and the
//! user's own, found by a text index and quoted word for word.
//!
//! Nothing is rephrased. A passage names its file and lines, so that a reviewer can look it up.

mod ask;
mod index;

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::index::Index;
use super::sections::{self, Section};
use super::{Error, Watch, files};

/// Larger than any page a person wrote; beyond it are logs and dumps with a document's ending.
pub const DOCUMENT_BYTES_MAX: u64 = 512 * 1024;

/// Bounds the text and the index of it in memory; further documents, in order of path, are counted and not read.
pub const INDEXED_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// Bounds what a section costs beyond its text; a document whose sections would exceed it is not read.
pub const SECTIONS_MAX: usize = 50_000;

/// Passages quoted for one question: one that answers and two that add to it.
pub const PASSAGES_MAX: usize = 3;

/// A passage is as long as a reader takes in at once.
pub const PASSAGE_LINES_MAX: usize = 14;
pub const PASSAGE_BYTES_MAX: usize = 1_600;

/// Words of the user's goal that are searched for; a longer goal is prose whose later words only add noise.
pub const GOAL_WORDS_MAX: usize = 32;

/// Documentation in numbers, and the answers found in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Docs {
    pub documents: u64,
    pub sections: u64,
    pub bytes: u64,
    /// Documents not read: too large, beyond the limit, or unreadable.
    pub skipped: u64,
    /// The standard questions, in the order a newcomer asks them.
    pub answers: Vec<Answer>,
    /// The passages nearest to the user's goal; absent when no goal was given.
    pub goal: Option<Answer>,
}

/// A question and where the documentation answers it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Answer {
    /// A stable name, such as `install`.
    pub id: String,
    pub question: String,
    /// Best first; none means that the documentation does not seem to say.
    pub passages: Vec<Passage>,
}

/// Consecutive lines of a document, word for word.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Passage {
    pub file: String,
    pub heading: String,
    /// From one, inclusive at both ends.
    pub start_line: u64,
    pub end_line: u64,
    /// The cited lines joined by line feeds; the last is cut short when it is longer than a passage may be.
    pub text: String,
    /// How well it fits, comparable within one question only.
    pub score: f32,
}

/// A section in memory while questions are asked.
struct Indexed {
    file: String,
    section: Section,
    /// The lines under the heading, joined by line feeds.
    body: String,
}

/// Reads the documentation below `repo` and answers the standard questions, and `goal` unless it is blank.
pub fn docs(repo: &Path, goal: &str, watch: &Watch) -> Result<Docs, Error> {
    let mut read = Docs { documents: 0, sections: 0, bytes: 0, skipped: 0, answers: Vec::new(), goal: None };
    let mut sections = Vec::new();
    files::walk(repo, watch, "reading documentation", |entry| {
        if !is_document(&entry.name) {
            return Ok(());
        }
        let room = DOCUMENT_BYTES_MAX.min(INDEXED_BYTES_MAX - read.bytes);
        match files::read_text(&entry.path, room) {
            Some(text) if !files::is_binary(text.as_bytes()) => {
                let mut found = indexed(&entry.name, &text);
                if sections.len() + found.len() > SECTIONS_MAX {
                    read.skipped += 1;
                    return Ok(());
                }
                read.documents += 1;
                read.bytes += entry.bytes.min(room);
                sections.append(&mut found);
            }
            _ => read.skipped += 1,
        }
        Ok(())
    })?;
    read.sections = sections.len() as u64;
    let index = Index::build(&sections, watch)?;
    let questions = ask::QUESTIONS.len() as u64;
    for (done, question) in ask::QUESTIONS.iter().enumerate() {
        watch.check()?;
        watch.progress(done as u64, Some(questions), "searching documentation");
        read.answers.push(ask::standard(question, &index, &sections)?);
    }
    if !goal.trim().is_empty() {
        read.goal = Some(ask::goal(goal, &index, &sections)?);
    }
    watch.progress(questions, Some(questions), "searching documentation");
    Ok(read)
}

/// Markdown and reStructuredText anywhere, and the plain files that projects keep at hand.
fn is_document(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
    match name.rsplit_once('.') {
        Some((_, "md" | "markdown" | "rst")) => true,
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

/// The start of a section's prose as a passage: whole lines from the first that says something.
fn passage(indexed: &Indexed, score: f32) -> Option<Passage> {
    let lines: Vec<&str> = indexed.body.lines().collect();
    let first = lines.iter().position(|line| !is_decoration(line))?;
    let mut text = String::new();
    let mut last = first;
    for (index, line) in lines.iter().enumerate().skip(first).take(PASSAGE_LINES_MAX) {
        let room = PASSAGE_BYTES_MAX.saturating_sub(text.len() + 1);
        if index > first {
            if line.len() > room || is_apparatus(line) {
                break;
            }
            text.push('\n');
        }
        text.push_str(files::clip(line, PASSAGE_BYTES_MAX));
        last = index;
    }
    let kept = text.trim_end().len();
    let blank_tail = text[kept..].matches('\n').count();
    text.truncate(kept);
    let line = |index: usize| (indexed.section.body_line + index) as u64;
    Some(Passage {
        file: indexed.file.clone(),
        heading: indexed.section.heading.clone(),
        start_line: line(first),
        end_line: line(last - blank_tail),
        text,
        score,
    })
}

/// Lines that look good on a project page and say nothing: blanks, badges, images, markup, comments, rules.
fn is_decoration(line: &str) -> bool {
    let line = line.trim();
    let starts = ["<", "-->", ".. image::", ".. |", ":target:", ":alt:", "---", "===", "***"];
    line.is_empty() || is_apparatus(line) || starts.iter().any(|start| line.starts_with(start))
}

/// Badges and the targets of links, which end what a passage has to say.
fn is_apparatus(line: &str) -> bool {
    let line = line.trim_start();
    let target =
        line.starts_with('[') && line.split_once("]: ").is_some_and(|(name, _)| !name.contains("]("));
    target || line.starts_with("[![") || line.starts_with("![")
}

#[cfg(test)]
mod tests {
    use super::{indexed, is_document, passage};

    #[test]
    fn documents_are_known_by_name() {
        for (path, expected) in [
            ("a/b.md", true),
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

    #[test]
    fn a_passage_starts_at_the_first_line_that_says_something() {
        let text = "# T\n\n[![badge](x)](y)\n\nIt does a thing.\nAnd more.\n\n\n";
        let sections = indexed("README.md", text);
        let passage = passage(&sections[0], 1.0).unwrap();
        assert_eq!((passage.start_line, passage.end_line), (5, 6));
        assert_eq!(passage.text, "It does a thing.\nAnd more.");
    }
}
