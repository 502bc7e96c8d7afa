//! The questions of a newcomer, and the characteristics of their answers.

use std::sync::LazyLock;

use serde::Deserialize;

/// A standard question with the words that its answers use; `questions.toml` says what they mean.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Question {
    pub(super) id: String,
    pub(super) text: String,
    pub(super) headings: Vec<String>,
    #[serde(default)]
    pub(super) files: Vec<String>,
    pub(super) words: Vec<String>,
    #[serde(default)]
    pub(super) commands: Vec<String>,
    #[serde(default)]
    pub(super) by_example: bool,
}

/// In the order a newcomer asks them.
pub(super) static QUESTIONS: LazyLock<Vec<Question>> = LazyLock::new(|| {
    #[derive(Deserialize)]
    struct File {
        question: Vec<Question>,
    }
    toml::from_str::<File>(include_str!("questions.toml")).expect("a constant of this program").question
});

/// The question that a README's first words answer.
pub(super) const PURPOSE: &str = "purpose";
