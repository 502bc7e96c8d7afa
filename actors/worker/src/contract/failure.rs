//! Failures of an attempt, in the classes that a task understands.

use bus_schemas::commands::task;
use bus_schemas::jobs::FailureClass;
use bus_schemas::{Key, text};
use serde_json::{Value, json};

/// Bytes of a message or a hint in a report: a sentence for people, not a log.
const MESSAGE_BYTES_MAX: usize = 4 * 1024;
/// Bytes of a code: a word for programs.
const CODE_BYTES_MAX: usize = 128;

/// Why an attempt ended without a result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The work was not done.
    #[error("the attempt failed ({}): {}", .0.code, .0.message)]
    Failed(task::Failure),
    /// The work needs an answer from a person; the next attempt finds it in `job.answers`.
    #[error("the attempt needs an answer: {prompt}")]
    InputRequired {
        /// The question.
        prompt: String,
        /// Whether the question asks for an authorization.
        authorization: bool,
        /// The approval whose outcome is the answer.
        approval: Option<Key>,
    },
}

impl Failure {
    /// A failure of any class.
    pub fn new(class: FailureClass, code: impl Into<String>, message: impl Into<String>) -> Self {
        let code = text::cut(&code.into(), CODE_BYTES_MAX);
        let message = text::cut(&message.into(), MESSAGE_BYTES_MAX);
        Self::Failed(task::Failure { class, code, message, hint: None, dependency: None })
    }
    /// A failure that a retry may resolve.
    pub fn transient(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(FailureClass::Transient, code, message)
    }
    /// A failure that a retry cannot resolve.
    pub fn permanent(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(FailureClass::Permanent, code, message)
    }
    /// A side effect has begun, and its outcome is unknown.
    pub fn ambiguous(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(FailureClass::Ambiguous, code, message)
    }
    /// The work was canceled.
    pub fn canceled() -> Self {
        Self::new(FailureClass::Canceled, "canceled", "the work was stopped")
    }
    /// A question for a person.
    pub fn input_required(prompt: impl Into<String>) -> Self {
        Self::InputRequired { prompt: prompt.into(), authorization: false, approval: None }
    }
    /// The work goes on when a person has answered the request for an approval.
    pub fn approval_required(approval: &Key) -> Self {
        let prompt = format!(
            "A person must approve what is about to be done: `orrery approvals show {approval}` shows it."
        );
        Self::InputRequired { prompt, authorization: true, approval: Some(approval.clone()) }
    }
    /// Adds the next step for people. A question has no hint: the question is the next step.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        if let Self::Failed(failure) = &mut self {
            failure.hint = Some(text::cut(&hint.into(), MESSAGE_BYTES_MAX));
        }
        self
    }
    /// Adds the dependency because of which the work failed, unless one was named already: the task is
    /// retried when the dependency answers again.
    #[must_use]
    pub fn depends_on(mut self, dependency: &Key) -> Self {
        if let Self::Failed(failure) = &mut self {
            failure.dependency.get_or_insert_with(|| dependency.clone());
        }
        self
    }
    /// The failure as it is reported; null for a question.
    pub(crate) fn as_json(&self) -> Value {
        match self {
            Self::Failed(failure) => json!(failure),
            Self::InputRequired { .. } => Value::Null,
        }
    }
    /// The class of the failure; `None` for a question.
    pub fn class(&self) -> Option<FailureClass> {
        match self {
            Self::Failed(failure) => Some(failure.class),
            Self::InputRequired { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_and_marked() {
        let long = "ä".repeat(MESSAGE_BYTES_MAX);
        let Failure::Failed(failure) = Failure::permanent(&long, &long).hint(&long) else {
            panic!("a failure is no question")
        };
        let hint = failure.hint.expect("it was given");
        for (text, bytes_max) in
            [(failure.code, CODE_BYTES_MAX), (failure.message, MESSAGE_BYTES_MAX), (hint, MESSAGE_BYTES_MAX)]
        {
            assert!(text.len() <= bytes_max && text.ends_with("ä…"), "{text}");
        }
    }
}
