//! Answers by a schema: asked for in the provider's own way, and checked here whatever the provider promises.

use jsonschema::Validator;
use serde_json::Value;

use crate::call::{Call, Completion, Message, Usage};
use crate::fault::{Fault, Kind};
use crate::provider::ModelProvider;

/// How often a model is asked again after an answer that the schema refuses.
pub const REASKS_MAX: u32 = 2;
/// The factor by which the bound of an answer grows, once, when it was too small.
pub(crate) const LARGER: u32 = 4;
/// The most mistakes that the model is told.
const MISTAKES_MAX: usize = 5;
/// The most bytes of a refused answer that the model is shown again.
const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// An answer that its schema accepts.
#[derive(Debug, Clone, PartialEq)]
pub struct Structured {
    /// The answer.
    pub value: Value,
    /// The tokens of all calls.
    pub usage: Usage,
    /// How often the model was asked again because of the schema.
    pub reasks: u32,
    /// How often the bound of the answer was too small.
    pub truncations: u32,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Invalid {
    /// The schema itself is wrong.
    #[error("the schema is invalid: {0}")]
    Schema(String),
    /// A call failed.
    #[error(transparent)]
    Call(#[from] Fault),
    /// No answer was accepted.
    #[error("the model gave no answer that fits the schema in {asked} calls; of the last one: {mistakes}")]
    Output { asked: u32, mistakes: String, usage: Usage },
}

impl Invalid {
    /// A stable code with an entry in `docs/errors/`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Schema(_) => "invalid-schema",
            Self::Call(fault) => fault.kind.code(),
            Self::Output { .. } => "invalid-output",
        }
    }
}

/// Asks until an answer fits `call.schema`: at most [`REASKS_MAX`] times again with the mistakes, and once with a
/// larger bound when the bound was too small. Nothing is repaired: an answer fits, or it does not count.
pub async fn structured(provider: &dyn ModelProvider, call: &Call) -> Result<Structured, Invalid> {
    let schema = call.schema.as_ref().ok_or_else(|| Invalid::Schema("the call has none".to_owned()))?;
    let validator = jsonschema::validator_for(&schema.schema);
    let validator = validator.map_err(|error| Invalid::Schema(error.to_string()))?;
    let mut call = call.clone();
    let (mut usage, mut reasks, mut truncations) = (Usage::default(), 0, 0);
    loop {
        let completion = match provider.complete(&call, &mut |_| {}).await {
            Ok(completion) => completion,
            Err(fault) if fault.kind == Kind::OutputLimit && truncations == 0 => {
                truncations += 1;
                add(&mut usage, fault.usage.unwrap_or_default());
                call.parameters.max_tokens = call.parameters.max_tokens.saturating_mul(LARGER);
                continue;
            }
            Err(mut fault) => {
                add(&mut usage, fault.usage.unwrap_or_default());
                if truncations > 0 && fault.kind == Kind::InvalidCall {
                    // The larger bound is more than the model has: the smaller one was the fault.
                    fault.kind = Kind::OutputLimit;
                }
                return Err(Fault { usage: Some(usage), ..fault }.into());
            }
        };
        add(&mut usage, completion.usage);
        let mistakes = match check(&validator, &completion) {
            Ok(value) => return Ok(Structured { value, usage, reasks, truncations }),
            Err(mistakes) => mistakes,
        };
        if reasks == REASKS_MAX {
            return Err(Invalid::Output { asked: reasks + 1, mistakes, usage });
        }
        reasks += 1;
        let text = bus_schemas::text::cut(&completion.text, ANSWER_BYTES_MAX);
        call.messages.push(Message::Assistant { text, tool_calls: Vec::new() });
        let again = format!("This does not fit the schema: {mistakes}. Answer again, with the JSON alone.");
        call.messages.push(Message::user(again));
    }
}

/// The value of an answer, or its mistakes.
fn check(validator: &Validator, completion: &Completion) -> Result<Value, String> {
    let value: Value = serde_json::from_str(unfenced(&completion.text))
        .map_err(|error| format!("the answer is no JSON: {error}"))?;
    match mistakes(validator, &value) {
        None => Ok(value),
        Some(mistakes) => Err(mistakes),
    }
}

/// What is wrong in a value by a schema, in words for a model; `None` if nothing is.
pub(crate) fn mistakes(validator: &Validator, value: &Value) -> Option<String> {
    let mistakes: Vec<String> = validator
        .iter_errors(value)
        .take(MISTAKES_MAX)
        .map(|error| {
            format!(
                "at `{}`: {}",
                error.instance_path(),
                bus_schemas::text::cut(&error.masked().to_string(), 200)
            )
        })
        .collect();
    (!mistakes.is_empty()).then(|| mistakes.join("; "))
}

/// The text without a fence of Markdown around all of it.
fn unfenced(text: &str) -> &str {
    let text = text.trim();
    let inner = text.strip_prefix("```").and_then(|rest| rest.strip_suffix("```"));
    let inner = inner.and_then(|inner| inner.split_once('\n'));
    // Another first line is part of the answer, which is then no JSON.
    inner.filter(|(first, _)| ["", "json"].contains(&first.trim())).map_or(text, |(_, inner)| inner.trim())
}

pub(crate) fn add(sum: &mut Usage, usage: Usage) {
    *sum = Usage {
        input: sum.input.saturating_add(usage.input),
        cached: sum.cached.saturating_add(usage.cached),
        output: sum.output.saturating_add(usage.output),
    };
}
