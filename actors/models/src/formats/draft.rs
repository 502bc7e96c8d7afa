//! An answer under way, and the rules by which it becomes a completion.

use std::collections::BTreeMap;

use bus_schemas::text;
use serde_json::Value;

use crate::call::{Chunk, Completion, ToolCall, Usage};
use crate::fault::{Fault, Kind};

/// The most bytes of an answer, with the arguments of its tool calls.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The most bytes of the name of a model.
const MODEL_BYTES_MAX: usize = 128;
/// The most tool calls of an answer.
const TOOL_CALLS_MAX: usize = 128;

/// How an answer ended, by the provider's terminal marker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// The model had said everything, or asks for tools.
    Done,
    /// The bound of the answer, or the end of the context.
    Length,
    /// The model or a filter refused.
    Refused,
}

/// A tool call under way.
#[derive(Debug, Default)]
struct Asked {
    id: String,
    name: String,
    arguments: String,
}

/// An answer under way.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) text: String,
    pub(super) usage: Usage,
    pub(super) model: String,
    pub(super) stop: Option<Stop>,
    /// What the model says when it refuses.
    refusal: String,
    tools: BTreeMap<u64, Asked>,
    bytes: usize,
}

impl Draft {
    /// Adds text, and shows it.
    pub(super) fn say(&mut self, text: &str, show: &mut (dyn FnMut(Chunk) + Send)) -> Result<(), Fault> {
        if text.is_empty() {
            return Ok(());
        }
        self.grow(text)?;
        self.text.push_str(text);
        show(Chunk::Text(text.to_owned()));
        Ok(())
    }

    /// Adds to the words of a refusal.
    pub(super) fn refuse(&mut self, text: &str) -> Result<(), Fault> {
        self.grow(text)?;
        self.refusal.push_str(text);
        Ok(())
    }

    /// Begins the tool call at a place of the answer, or continues it.
    pub(super) fn ask(&mut self, place: u64, id: &str, name: &str, arguments: &str) -> Result<(), Fault> {
        self.grow(arguments)?;
        if !self.tools.contains_key(&place) && self.tools.len() >= TOOL_CALLS_MAX {
            let message = format!("the answer asks for more than {TOOL_CALLS_MAX} tools");
            return Err(Fault::new(Kind::TooLarge, message).counted(self.usage));
        }
        let asked = self.tools.entry(place).or_default();
        for (known, said, what) in [(&mut asked.id, id, "id"), (&mut asked.name, name, "name")] {
            if known.is_empty() {
                said.clone_into(known);
            } else if !said.is_empty() && *known != said {
                return Err(Fault::malformed(format!("a tool call has two {what}s")).counted(self.usage));
            }
        }
        asked.arguments.push_str(arguments);
        Ok(())
    }

    fn grow(&mut self, text: &str) -> Result<(), Fault> {
        self.bytes += text.len();
        if self.bytes > ANSWER_BYTES_MAX {
            let message = format!("the answer has more than {ANSWER_BYTES_MAX} bytes");
            return Err(Fault::new(Kind::TooLarge, message).counted(self.usage));
        }
        Ok(())
    }

    /// The completion, if the terminal marker came and the answer is whole.
    pub(super) fn complete(self, is_terminated: bool) -> Result<Completion, Fault> {
        let fault = |kind, message: String| Fault::new(kind, message).counted(self.usage);
        let Some(stop) = self.stop.filter(|_| is_terminated) else {
            let message = format!("the answer ended after {} bytes without its end mark", self.bytes);
            return Err(fault(Kind::Truncated, message));
        };
        match stop {
            Stop::Length => {
                return Err(fault(Kind::OutputLimit, "the answer ran into its bound of tokens".into()));
            }
            Stop::Refused => {
                let said = if self.refusal.is_empty() { "without a reason" } else { &self.refusal };
                return Err(fault(Kind::Refused, format!("the model refuses to answer: {said}")));
            }
            // Some providers end a refusal as they end an answer.
            Stop::Done if !self.refusal.is_empty() => {
                return Err(fault(Kind::Refused, format!("the model refuses to answer: {}", self.refusal)));
            }
            Stop::Done => {}
        }
        let mut tool_calls = Vec::new();
        for (place, Asked { id, name, arguments }) in self.tools {
            let arguments = if arguments.trim().is_empty() { "{}" } else { &arguments };
            let parsed = serde_json::from_str(arguments).ok().filter(Value::is_object);
            let Some(arguments) = parsed.filter(|_| !name.is_empty()) else {
                let message =
                    format!("the tool call at place {place} has no name, or its arguments are no object");
                return Err(Fault::malformed(message).counted(self.usage));
            };
            let id = if id.is_empty() { format!("call-{place}") } else { id };
            tool_calls.push(ToolCall { id, name, arguments });
        }
        let model = text::cut(&text::one_line(&self.model), MODEL_BYTES_MAX);
        Ok(Completion { text: self.text, tool_calls, usage: self.usage, model })
    }
}
