//! Detection of instructions that somebody hid in a text: a signal, and no gate.
//!
//! ```text
//! text → length → characters → normal form → decoded pieces ─┬─→ patterns   ─┬─→ findings → score → verdict
//!                                                            └─→ classifier ─┘
//! ```
//!
//! A verdict says what a text looks like, and grants and forbids nothing: what a model may do after it has read the text
//! is decided by where texts come from, whatever the verdict is. Every step is bounded: bytes, depth and number of the
//! decoded pieces, findings.

mod classifier;
mod decode;
mod patterns;
mod plain;

use serde::{Deserialize, Serialize};

pub use classifier::{Classifier, Linear, ModelError};

/// The most bytes of a text that are looked at, half of them from its end: what a tool may answer.
pub const TEXT_BYTES_MAX: usize = 256 * 1024;
/// The most findings of a verdict: more of them say nothing new.
pub const FINDINGS_MAX: usize = 16;
/// The score from which a text is suspicious: one strong sign.
const SUSPICIOUS: f32 = 0.5;
/// The score from which a text is hostile: two strong signs that agree, or three.
const HOSTILE: f32 = 0.85;
/// The weight of the classifier's finding at its threshold, and how much a sure one has more.
const CLASSIFIED: f32 = 0.6;
const SURE: f32 = 0.3;
/// The weight of a finding in a text that was hidden, beside the finding itself.
const HIDDEN: f32 = 0.5;

/// What finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layer {
    Length,
    Characters,
    Normal,
    Decoded,
    Pattern,
    Classifier,
}

/// A sign of an instruction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// What found it.
    pub layer: Layer,
    /// The rule: the name of a pattern, of an encoding, of a kind of character.
    pub rule: String,
    /// The byte in the normal form of the text, or of the decoded piece.
    pub at: usize,
    /// How the text was hidden; empty for the text itself.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hidden: String,
    /// What it adds to the score, 0 to 1.
    pub weight: f32,
}

/// How a text looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    Clean,
    Suspicious,
    Hostile,
}

impl Level {
    /// The level's name in events, settings and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Suspicious => "suspicious",
            Self::Hostile => "hostile",
        }
    }
}

/// What was found in a text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// How it looks.
    pub level: Level,
    /// The chance, as the findings together have it, that it holds an instruction: 0 to 1.
    pub score: f32,
    /// The findings, the heaviest first.
    pub findings: Vec<Finding>,
    /// The normal form of the text, with a line for each decoded piece. No part of an event: the text is there already.
    #[serde(skip)]
    pub text: String,
}

/// The layers with a classifier.
#[derive(Debug)]
pub struct Detector<C = Linear> {
    classifier: C,
}

impl Default for Detector {
    fn default() -> Self {
        Self::new(Linear::small())
    }
}

impl<C: Classifier> Detector<C> {
    /// The layers with this classifier.
    pub fn new(classifier: C) -> Self {
        Self { classifier }
    }

    /// Looks at a text.
    pub fn screen(&self, text: &str) -> Verdict {
        let mut findings = Vec::new();
        let shown = within(text);
        if shown.len() < text.len() {
            findings.push(finding(Layer::Length, "text-too-long", 0.1));
        }
        let pieces = decode::pieces(&shown);
        let mut whole = String::new();
        for piece in &pieces {
            let hidden = &piece.hidden;
            let characters = piece.signs.iter().map(|(layer, rule, weight)| finding(*layer, rule, *weight));
            let mut found: Vec<Finding> = characters.collect();
            for (rule, at, weight) in patterns::found(&piece.views) {
                found.push(Finding { at, ..finding(Layer::Pattern, rule, weight) });
            }
            let score = self.classifier.score(&piece.text);
            if score > self.classifier.threshold() {
                let sure = (score - self.classifier.threshold()) / (1.0 - self.classifier.threshold());
                found.push(finding(Layer::Classifier, "learned", CLASSIFIED + SURE * sure));
            }
            if !hidden.is_empty() && found.iter().any(|each| each.weight >= SUSPICIOUS) {
                found.push(finding(Layer::Decoded, hidden, HIDDEN));
            }
            findings.extend(found.into_iter().map(|each| Finding { hidden: hidden.clone(), ..each }));
            whole.push_str(&piece.text);
            whole.push('\n');
        }
        let unlikely: f32 = findings.iter().map(|each| 1.0 - each.weight).product();
        findings.sort_by(|a, b| b.weight.total_cmp(&a.weight));
        findings.truncate(FINDINGS_MAX);
        let score = 1.0 - unlikely;
        let level = match score {
            score if score >= HOSTILE => Level::Hostile,
            score if score >= SUSPICIOUS => Level::Suspicious,
            _ => Level::Clean,
        };
        Verdict { level, score, findings, text: whole }
    }
}

fn finding(layer: Layer, rule: &str, weight: f32) -> Finding {
    Finding { layer, rule: rule.to_owned(), at: 0, hidden: String::new(), weight }
}

/// The beginning and the end of a text that is too long.
fn within(text: &str) -> std::borrow::Cow<'_, str> {
    if text.len() <= TEXT_BYTES_MAX {
        return text.into();
    }
    let (head, tail) = (TEXT_BYTES_MAX / 2, text.len() - TEXT_BYTES_MAX / 2 + 1);
    format!("{}\n{}", &text[..text.floor_char_boundary(head)], &text[text.ceil_char_boundary(tail)..]).into()
}

#[cfg(test)]
mod tests;
