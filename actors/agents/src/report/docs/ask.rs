//! The questions, and how the sections that answer them are chosen.

use std::collections::BTreeSet;

use super::index::Index;
use super::{Answer, GOAL_WORDS_MAX, Indexed, PASSAGES_MAX, Passage, passage};
use crate::report::Error;

/// The share of the best score below which a passage adds more noise than knowledge.
const WORTH_QUOTING: f32 = 0.35;

/// What a section gains by being where an answer is expected.
const FILE_NAMED: f32 = 2.5;
const HEADING_NAMED: f32 = 2.0;
const TOP_README: f32 = 1.6;
const OPENING: f32 = 6.0;

/// What a section loses for every folder it lies below the top.
const PER_FOLDER: f32 = 0.85;

/// Words too frequent to find anything with.
const STOP_WORDS: &[&str] = &[
    "a",
    "an",
    "and",
    "are",
    "as",
    "at",
    "be",
    "by",
    "can",
    "do",
    "does",
    "for",
    "from",
    "give",
    "has",
    "have",
    "how",
    "i",
    "in",
    "is",
    "it",
    "its",
    "me",
    "my",
    "of",
    "on",
    "or",
    "our",
    "please",
    "report",
    "repository",
    "repo",
    "should",
    "show",
    "tell",
    "that",
    "the",
    "their",
    "there",
    "this",
    "to",
    "was",
    "we",
    "what",
    "when",
    "where",
    "which",
    "who",
    "why",
    "will",
    "with",
    "you",
    "your",
];

/// A standard question with the words that its answers use.
pub(super) struct Question {
    id: &'static str,
    text: &'static str,
    /// Words in a heading that make a section an answer.
    headings: &'static [&'static str],
    /// The start of a file name that makes every section in it an answer.
    files: &'static [&'static str],
    /// Further words to search for.
    words: &'static [&'static str],
}

/// In the order a newcomer asks them.
pub(super) const QUESTIONS: &[Question] = &[
    Question {
        id: "purpose",
        text: "What is it for?",
        headings: &["about", "introduction", "overview", "purpose", "motivation", "why", "what", "features"],
        files: &[],
        words: &["is", "project", "provides", "library", "tool", "designed"],
    },
    Question {
        id: "install",
        text: "How is it installed or built?",
        headings: &[
            "install",
            "installing",
            "installation",
            "build",
            "building",
            "setup",
            "compile",
            "compiling",
        ],
        files: &["install"],
        words: &["requirements", "prerequisites", "cargo", "npm", "pip", "make", "docker", "brew"],
    },
    Question {
        id: "usage",
        text: "How is it used?",
        headings: &[
            "usage",
            "use",
            "using",
            "quickstart",
            "quick",
            "start",
            "started",
            "example",
            "examples",
            "tutorial",
        ],
        files: &["usage", "quickstart", "tutorial"],
        words: &["run", "command", "guide"],
    },
    Question {
        id: "configuration",
        text: "How is it configured?",
        headings: &[
            "configuration",
            "configure",
            "configuring",
            "config",
            "settings",
            "options",
            "environment",
        ],
        files: &["config"],
        words: &["variable", "variables", "default", "file", "setting"],
    },
    Question {
        id: "architecture",
        text: "How is it made?",
        headings: &[
            "architecture",
            "design",
            "internals",
            "structure",
            "layout",
            "components",
            "modules",
            "overview",
        ],
        files: &["architecture", "design"],
        words: &["crate", "package", "module", "layer", "folder", "directory"],
    },
    Question {
        id: "testing",
        text: "How is it tested?",
        headings: &["test", "tests", "testing", "ci", "coverage", "benchmarks"],
        files: &["test"],
        words: &["cargo", "pytest", "suite", "run"],
    },
    Question {
        id: "contributing",
        text: "How does one contribute?",
        headings: &[
            "contribute",
            "contributing",
            "contribution",
            "contributions",
            "contributors",
            "development",
        ],
        files: &["contributing", "hacking"],
        words: &["pull", "request", "issue", "issues", "commit", "review"],
    },
    Question {
        id: "licence",
        text: "Under which licence?",
        headings: &["license", "licence", "licensing", "licences", "licenses", "copyright"],
        files: &["license", "licence", "copying"],
        words: &["licensed", "mit", "apache", "gpl", "bsd"],
    },
];

/// Answers a standard question from the sections whose heading or file names its subject.
pub(super) fn standard(question: &Question, index: &Index, sections: &[Indexed]) -> Result<Answer, Error> {
    let words: Vec<&str> = question.headings.iter().chain(question.words).copied().collect();
    let mut scores = index.search(&words)?;
    if question.id == "purpose"
        && let Some(opening) = opening(sections)
    {
        // What a project is for stands at the start of its README, whatever words that uses.
        let best = scores.values().copied().fold(1.0, f32::max);
        scores.insert(opening, best * OPENING);
    }
    let ranked = scores.into_iter().filter_map(|(position, score)| {
        let section = sections.get(position)?;
        let named = heading_names(question, section);
        let filed = file_names(question, section);
        let opens = question.id == "purpose" && Some(position) == opening(sections);
        // A section that merely contains the words is not an answer to a question with a name.
        (named || filed || opens).then(|| {
            let by_place = if named { HEADING_NAMED } else { 1.0 } * if filed { FILE_NAMED } else { 1.0 };
            (position, score * by_place * standing(&section.file))
        })
    });
    Ok(Answer {
        id: question.id.to_owned(),
        question: question.text.to_owned(),
        passages: best(ranked.collect(), sections),
    })
}

/// The passages nearest to the words of the user's goal.
pub(super) fn goal(goal: &str, index: &Index, sections: &[Indexed]) -> Result<Answer, Error> {
    let lower = goal.to_lowercase();
    let words: BTreeSet<&str> = lower
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| word.len() > 1 && !STOP_WORDS.contains(word))
        .take(GOAL_WORDS_MAX)
        .collect();
    let words: Vec<&str> = words.into_iter().collect();
    let scores = if words.is_empty() { Default::default() } else { index.search(&words)? };
    let ranked = scores.into_iter().filter_map(|(position, score)| {
        let section = sections.get(position)?;
        Some((position, score * standing(&section.file) * coverage(&words, section)))
    });
    Ok(Answer {
        id: "goal".to_owned(),
        question: goal.trim().to_owned(),
        passages: best(ranked.collect(), sections),
    })
}

/// The share of the words that a section contains: one that has them all beats one that repeats the rarest.
fn coverage(words: &[&str], section: &Indexed) -> f32 {
    let text = format!("{} {}", section.section.heading, section.body).to_lowercase();
    let present: BTreeSet<&str> = text.split(|c: char| !c.is_alphanumeric()).collect();
    words.iter().filter(|word| present.contains(**word)).count() as f32 / words.len().max(1) as f32
}

fn best(mut ranked: Vec<(usize, f32)>, sections: &[Indexed]) -> Vec<Passage> {
    ranked.sort_by(|(a, a_score), (b, b_score)| b_score.total_cmp(a_score).then(a.cmp(b)));
    let least = ranked.first().map_or(0.0, |(_, score)| score * WORTH_QUOTING);
    let mut passages: Vec<Passage> = Vec::new();
    for (position, score) in ranked {
        if passages.len() == PASSAGES_MAX || score < least {
            break;
        }
        let Some(found) = sections.get(position).and_then(|section| passage(section, score)) else {
            continue;
        };
        // Two licences or two copies of a README say the same thing twice.
        if passages.iter().all(|passage| passage.text != found.text) {
            passages.push(found);
        }
    }
    passages
}

/// The first section with text of the README nearest to the top.
fn opening(sections: &[Indexed]) -> Option<usize> {
    let readmes = sections.iter().enumerate().filter(|(_, one)| file_stem(&one.file).starts_with("readme"));
    let readable = readmes.filter(|(_, one)| passage(one, 0.0).is_some());
    readable
        .min_by_key(|(position, one)| (one.file.matches('/').count(), *position))
        .map(|(position, _)| position)
}

fn heading_names(question: &Question, section: &Indexed) -> bool {
    let heading = section.section.heading.to_lowercase();
    heading.split(|c: char| !c.is_alphanumeric()).any(|word| question.headings.contains(&word))
}

fn file_names(question: &Question, section: &Indexed) -> bool {
    let stem = file_stem(&section.file);
    question.files.iter().any(|start| stem.starts_with(start))
}

fn file_stem(path: &str) -> String {
    path.rsplit('/').next().unwrap_or(path).to_lowercase()
}

/// How much a document's place speaks for it: the top README most, vendored depths least.
fn standing(path: &str) -> f32 {
    let depth = path.matches('/').count().min(8) as i32;
    let readme = if depth == 0 && file_stem(path).starts_with("readme") { TOP_README } else { 1.0 };
    readme * PER_FOLDER.powi(depth)
}
