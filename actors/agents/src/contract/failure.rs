//! Why an attempt gave no result, in the words that a task understands.

use std::error::Error as StdError;

use bus_schemas::Key;
use bus_schemas::commands::task;
use bus_schemas::jobs::FailureClass;

use crate::report;

/// The longest message that is reported: a sentence for people, not a log.
const MESSAGE_BYTES_MAX: usize = 4 * 1024;

/// How an attempt ended without a result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// It was not done.
    #[error("the attempt failed ({}): {}", .0.code, .0.message)]
    Failed(task::Failure),
    /// It can not go on without an answer from a person; the next attempt finds it in `job.answers`.
    #[error("the attempt needs an answer: {prompt}")]
    InputRequired {
        /// The question.
        prompt: String,
        /// Whether it is an authorization that is missing.
        authorization: bool,
    },
}

impl Failure {
    /// A failure of any class.
    pub fn new(class: FailureClass, code: impl Into<String>, message: impl Into<String>) -> Self {
        let mut message: String = message.into();
        message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
        Self::Failed(task::Failure { class, code: code.into(), message, hint: None, dependency: None })
    }
    /// Trying again may help.
    pub fn transient(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(FailureClass::Transient, code, message)
    }
    /// Trying again can not help.
    pub fn permanent(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(FailureClass::Permanent, code, message)
    }
    /// A side effect has begun and nobody knows how it ended.
    pub fn ambiguous(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(FailureClass::Ambiguous, code, message)
    }
    /// Somebody stopped it.
    pub fn canceled() -> Self {
        Self::new(FailureClass::Canceled, "canceled", "the work was stopped")
    }
    /// A question for a person.
    pub fn input_required(prompt: impl Into<String>) -> Self {
        Self::InputRequired { prompt: prompt.into(), authorization: false }
    }
    /// Adds what to do next. A question has no hint: the question is the next step.
    #[must_use]
    pub fn hint(mut self, text: impl Into<String>) -> Self {
        if let Self::Failed(failure) = &mut self {
            failure.hint = Some(text.into());
        }
        self
    }
    /// Adds what the work depends on and failed by, where nothing nearer said so: when that answers
    /// again, the task is tried again.
    #[must_use]
    pub fn depends_on(mut self, dependency: &Key) -> Self {
        if let Self::Failed(failure) = &mut self {
            failure.dependency.get_or_insert_with(|| dependency.clone());
        }
        self
    }
    /// What sort of failure; none for a question.
    pub fn class(&self) -> Option<FailureClass> {
        match self {
            Self::Failed(failure) => Some(failure.class),
            Self::InputRequired { .. } => None,
        }
    }
}

/// An error and everything below it, in one line: `Display` of a layer leaves its source out.
pub(crate) fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let said = error.to_string();
        // Some errors say their cause themselves.
        if !text.ends_with(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        source = error.source();
    }
    text
}

impl From<report::Error> for Failure {
    fn from(error: report::Error) -> Self {
        let class = match &error {
            report::Error::Canceled => FailureClass::Canceled,
            // Memory that is short gets better by itself; a repository that git can not read does not.
            report::Error::Index { .. } => FailureClass::Transient,
            _ => FailureClass::Permanent,
        };
        Self::new(class, error.code(), chain(&error)).hint(error.hint())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_analysis_error_keeps_its_code_its_cause_and_its_hint() {
        let source = std::io::Error::other("no permission");
        let error = report::Error::RepositoryUnreadable { path: "/secret".into(), source };
        let Failure::Failed(failure) = Failure::from(error) else { panic!("an error is no question") };
        assert_eq!(failure.class, FailureClass::Permanent);
        assert_eq!(failure.code, "repository-unreadable");
        assert_eq!(failure.message, "could not read `/secret`: no permission");
        assert!(failure.hint.is_some());
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let Failure::Failed(failure) = Failure::permanent("long", "ä".repeat(MESSAGE_BYTES_MAX)) else {
            panic!("a failure is no question")
        };
        assert_eq!(failure.message.len(), MESSAGE_BYTES_MAX);
    }
}
