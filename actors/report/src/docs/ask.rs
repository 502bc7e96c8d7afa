//! Chooses the sections that answer a question.
//!
//! Evidence is added up, and weighted by the place of the document: a heading or a file that names the
//! subject, a command that answers, the number of the subject's words in one paragraph, and their rarity. One
//! word that happens to occur is no evidence.

use std::collections::{BTreeMap, BTreeSet};

use super::index::Index;
use super::passage::{Paragraph, commanding, densest, paragraphs, passage};
use super::questions::{PURPOSE, QUESTIONS, Question};
use super::weight::{self, file_name, is_readme};
use super::{Answer, GOAL_WORDS_MAX, Indexed, PASSAGES_MAX, Passage, stems};
use crate::{Error, Watch};

/// The share of the best score below which a passage adds more noise than knowledge.
const WORTH_QUOTING: f32 = 0.4;
/// The score below which no section is an answer: no answer is better than a wrong one.
const SCORE_MIN: f32 = 0.8;

/// The weights of evidence. A heading weighs most; a word in the text least.
const NAMED: f32 = 2.0;
const FILED: f32 = 1.5;
const COMMANDS: f32 = 1.0;
const EXAMPLE: f32 = 0.8;
const WORD: f32 = 0.25;
const RARITY: f32 = 0.5;
/// The start of a document on the subject introduces it.
const FIRST: f32 = 1.0;
/// The weight of a heading further up, relative to a section's own.
const ABOVE: f32 = 0.6;
/// The weight of the start of a README, which says what a project is for, whatever its words.
const OPENING: f32 = 6.0;

/// Words of the subject that count in one paragraph; more add nothing.
const WORDS_COUNTED_MAX: usize = 4;
/// Words of the subject in one paragraph that are no accident, unless the document is far down.
const WORDS_MIN: usize = 3;
const WEIGHT_MIN: f32 = 0.6;
/// For a goal of one word: the section's subject must be the word, or the word must occur this often, or in
/// this few sections.
const MENTIONS_MIN: usize = 3;
const RARE_SECTIONS_MAX: usize = 3;
/// Words of a goal that a section must have at most: a long goal never matches in full.
const GOAL_WORDS_NEEDED_MAX: usize = 4;

/// All sections, indexed.
pub(super) struct Library<'a> {
    sections: &'a [Indexed],
    index: Index,
    /// The weight of each section's document.
    weights: Vec<f32>,
    /// The first section with text in the README nearest to the top.
    opening: Option<usize>,
}

/// The evidence for a section.
struct Fit {
    position: usize,
    score: f32,
    around: Option<Paragraph>,
}

impl<'a> Library<'a> {
    /// Indexes the sections, which stand in the order of their documents.
    pub(super) fn new(sections: &'a [Indexed], watch: &Watch) -> Result<Self, Error> {
        let weights = weight::of(sections.iter().map(|one| one.file.as_str()));
        Ok(Self { sections, index: Index::build(sections, watch)?, weights, opening: opening(sections) })
    }

    /// Answers a standard question from sections whose heading, file, commands or words name its subject.
    pub(super) fn standard(&self, question: &Question) -> Result<Answer, Error> {
        let subject = Subject::new(question);
        let words: Vec<&str> = subject.words.iter().map(String::as_str).collect();
        let mut scores = self.index.search(&words)?;
        let most = scores.values().copied().fold(1.0, f32::max);
        // Sections at the top, or in a file on the subject, are considered whatever their words.
        let top = (0..self.sections.len())
            .filter(|at| self.weights[*at] >= 1.0 || filed(question, &self.sections[*at]));
        for at in top {
            scores.entry(at).or_default();
        }
        let fits = scores.into_iter().filter_map(|(at, score)| self.fit(&subject, at, score / most));
        Ok(Answer {
            id: question.id.clone(),
            question: question.text.clone(),
            passages: self.best(fits.collect()),
        })
    }

    fn fit(&self, subject: &Subject<'_>, at: usize, rarity: f32) -> Option<Fit> {
        let (section, weight) = (&self.sections[at], self.weights[at]);
        let question = subject.question;
        if question.id == PURPOSE && self.opening == Some(at) {
            return Some(Fit { position: at, score: OPENING * weight, around: None });
        }
        let lines: Vec<&str> = section.body.lines().collect();
        let named = named(&subject.headings, section);
        let filed = filed(question, section);
        let commands = commanding(&lines, &question.commands);
        let example = question.by_example && is_readme(&section.file);
        let example = example.then(|| paragraphs(&lines).into_iter().find(|one| one.is_code)).flatten();
        let (dense, words) = densest(&lines, &subject.words);
        let is_top = weight >= 1.0;
        let many = words.len() >= WORDS_MIN && !words.is_disjoint(&subject.headings);
        // A command in the middle of a sentence may be about something else.
        let commanded = commands.is_some_and(|one| one.is_code || self.opening == Some(at));
        let by_text = (commanded || example.is_some()) && is_top || many && weight >= WEIGHT_MIN;
        if named == 0.0 && !filed && (!by_text || question.id == PURPOSE) {
            return None;
        }
        let is_first = at == 0 || self.sections[at - 1].file != section.file;
        let evidence = NAMED * named
            + if filed { FILED } else { 0.0 }
            + if commands.is_some() { COMMANDS } else { 0.0 }
            + if example.is_some() { EXAMPLE } else { 0.0 }
            + if filed && is_first { FIRST } else { 0.0 }
            + WORD * words.len().min(WORDS_COUNTED_MAX) as f32
            + RARITY * rarity;
        let around = commands.or(example).or(dense);
        Some(Fit { position: at, score: evidence * weight, around })
    }

    /// The passages that match the user's goal best; empty when none is close.
    pub(super) fn goal(&self, goal: &str) -> Result<Option<Answer>, Error> {
        let telling: BTreeSet<String> = stems::telling(goal).into_iter().take(GOAL_WORDS_MAX).collect();
        let passages = match standard_for(goal, &telling) {
            Some(question) => self.standard(question)?.passages,
            None if telling.is_empty() => Vec::new(),
            None => self.nearest(&telling)?,
        };
        let answer = Answer { id: "goal".to_owned(), question: goal.trim().to_owned(), passages };
        Ok((!answer.passages.is_empty()).then_some(answer))
    }

    fn nearest(&self, telling: &BTreeSet<String>) -> Result<Vec<Passage>, Error> {
        let words: Vec<&str> = telling.iter().map(String::as_str).collect();
        let scores = self.index.search(&words)?;
        let most = scores.values().copied().fold(1.0, f32::max);
        let rare = scores.len() <= RARE_SECTIONS_MAX;
        let needed = telling.len().div_ceil(2).min(GOAL_WORDS_NEEDED_MAX);
        let fits = scores.into_iter().filter_map(|(at, score)| {
            let section = &self.sections[at];
            let heading: BTreeSet<String> = stems::of_heading(&section.section.heading).into_iter().collect();
            let mut mentions: BTreeMap<String, usize> = BTreeMap::new();
            let words = stems::of(&section.section.heading).chain(stems::of(&section.body));
            words
                .filter(|word| telling.contains(word))
                .for_each(|word| *mentions.entry(word).or_default() += 1);
            let in_heading = !heading.is_disjoint(telling);
            let told = mentions.len() > 1
                || in_heading
                || rare
                || mentions.values().any(|count| *count >= MENTIONS_MIN);
            if mentions.len() < needed || !told {
                return None;
            }
            let lines: Vec<&str> = section.body.lines().collect();
            let (around, together) = densest(&lines, telling);
            if !in_heading && together.len() < needed.min(2) {
                return None;
            }
            let share = |count: usize| count as f32 / telling.len() as f32;
            let evidence = NAMED
                * if in_heading { share(heading.intersection(telling).count()) } else { 0.0 }
                + share(mentions.len())
                + share(together.len())
                + score / most;
            // A requested subject may well be covered further down.
            Some(Fit { position: at, score: evidence * self.weights[at].sqrt(), around })
        });
        Ok(self.best(fits.collect()))
    }

    fn best(&self, mut fits: Vec<Fit>) -> Vec<Passage> {
        fits.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.position.cmp(&b.position)));
        let least = fits.first().map_or(0.0, |best| best.score * WORTH_QUOTING).max(SCORE_MIN);
        let mut passages: Vec<Passage> = Vec::new();
        for fit in fits {
            if passages.len() == PASSAGES_MAX || fit.score < least {
                break;
            }
            let Some(found) = passage(&self.sections[fit.position], fit.around, fit.score) else { continue };
            // Two licences or two copies of a README repeat each other.
            if passages.iter().all(|passage| passage.text != found.text) {
                passages.push(found);
            }
        }
        passages
    }
}

/// A question with its words in the form in which they are compared.
struct Subject<'a> {
    question: &'a Question,
    headings: BTreeSet<String>,
    /// Those of headings too.
    words: BTreeSet<String>,
}

impl<'a> Subject<'a> {
    fn new(question: &'a Question) -> Self {
        let stem = |word: &String| stems::stem(word);
        let headings: BTreeSet<String> = question.headings.iter().map(stem).collect();
        let words = headings.iter().cloned().chain(question.words.iter().map(stem)).collect();
        Self { question, headings, words }
    }
}

/// The standard question that a goal asks in other words.
fn standard_for(goal: &str, telling: &BTreeSet<String>) -> Option<&'static Question> {
    if telling.is_empty() {
        let lower = goal.to_lowercase();
        let mut words = lower.split(|c: char| !c.is_alphanumeric());
        let purpose = words.any(|word| matches!(word, "what" | "why" | "about" | "describe" | "explain"));
        return QUESTIONS.iter().find(|question| purpose && question.id == PURPOSE);
    }
    QUESTIONS.iter().find(|question| {
        let subject = Subject::new(question);
        telling.is_subset(&subject.words) && !telling.is_disjoint(&subject.headings)
    })
}

/// The share of a section's heading, or of one above it, that is the subject: 0 to 1.
fn named(subject: &BTreeSet<String>, section: &Indexed) -> f32 {
    let share = |heading: &str| {
        let words = stems::of_heading(heading);
        let about = words.iter().filter(|word| subject.contains(*word)).count();
        about as f32 / words.len().max(1) as f32
    };
    // A README's title names the project, which may have any name.
    let title = usize::from(is_readme(&section.file));
    let above = section.section.above.iter().skip(title).map(|heading| ABOVE * share(heading));
    above.fold(share(&section.section.heading), f32::max)
}

fn filed(question: &Question, section: &Indexed) -> bool {
    let name = file_name(&section.file).replace(['-', '_'], "");
    question.files.iter().any(|start| name.starts_with(start.as_str()))
}

fn opening(sections: &[Indexed]) -> Option<usize> {
    let readmes = sections.iter().enumerate().filter(|(_, one)| is_readme(&one.file));
    let readable = readmes.filter(|(_, one)| passage(one, None, 0.0).is_some());
    readable
        .min_by_key(|(position, one)| (one.file.matches('/').count(), *position))
        .map(|(position, _)| position)
}
