//! Chat Completions: <https://platform.openai.com/docs/api-reference/chat>.
//!
//! The terminal marker of a stream is `[DONE]` after a `finish_reason`; that of a body is its `finish_reason`.

use serde_json::{Map, Value, json};

use super::draft::{Draft, Stop};
use super::{Reader, arguments, json, relaxed, text, vector};
use crate::call::{Call, Chunk, Completion, Embeddings, Message, ToolCall, ToolChoice, Usage};
use crate::fault::Fault;
use crate::frames::Frame;

/// The field of the most tokens in the format of OpenAI itself.
pub(super) const ORIGINAL_BOUND: &str = "max_completion_tokens";

/// The body of a call; `bound` is the field of the most tokens.
pub(super) fn body(call: &Call, stream: bool, bound: &str) -> Value {
    let parameters = &call.parameters;
    let mut body = Map::new();
    let mut set = |name: &str, value: Value| drop(body.insert(name.to_owned(), value));
    set("model", call.model.as_str().into());
    set("messages", call.messages.iter().map(message).collect());
    set(bound, parameters.max_tokens.into());
    if stream {
        set("stream", true.into());
        set("stream_options", json!({"include_usage": true}));
    }
    sampling(call, &mut set);
    if !parameters.stop.is_empty() {
        set("stop", json!(parameters.stop));
    }
    if let Some(schema) = &call.schema {
        // Those who imitate the format enforce bounds of values, or ignore the schema.
        let is_original = bound == ORIGINAL_BOUND;
        let sent = if is_original { relaxed(&schema.schema) } else { schema.schema.clone() };
        let schema = json!({"name": schema.name, "schema": sent, "strict": true});
        set("response_format", json!({"type": "json_schema", "json_schema": schema}));
    }
    if !call.tools.is_empty() {
        set("tools", call.tools.iter().map(|tool| json!({"type": "function", "function": tool})).collect());
        set(
            "tool_choice",
            match &call.tool_choice {
                ToolChoice::Named(name) => json!({"type": "function", "function": {"name": name}}),
                choice => word(choice).into(),
            },
        );
    }
    Value::Object(body)
}

/// The parameters of the sampling that were given.
pub(super) fn sampling(call: &Call, set: &mut impl FnMut(&str, Value)) {
    let parameters = &call.parameters;
    for (name, value) in [("temperature", parameters.temperature), ("top_p", parameters.top_p)] {
        if let Some(value) = value {
            set(name, value.into());
        }
    }
    if let Some(seed) = parameters.seed {
        set("seed", seed.into());
    }
}

/// The word of OpenAI for a choice.
pub(super) fn word(choice: &ToolChoice) -> &'static str {
    match choice {
        ToolChoice::Auto | ToolChoice::Named(_) => "auto",
        ToolChoice::None => "none",
        ToolChoice::Required => "required",
    }
}

fn message(message: &Message) -> Value {
    match message {
        Message::System { text } => json!({"role": "system", "content": text}),
        Message::User { text } => json!({"role": "user", "content": text}),
        Message::Assistant { text, tool_calls } if tool_calls.is_empty() => {
            json!({"role": "assistant", "content": text})
        }
        Message::Assistant { text, tool_calls } => {
            let called = |ToolCall { id, name, arguments }: &ToolCall| {
                let function = json!({"name": name, "arguments": arguments.to_string()});
                json!({"id": id, "type": "function", "function": function})
            };
            let calls: Vec<_> = tool_calls.iter().map(called).collect();
            json!({"role": "assistant", "content": text, "tool_calls": calls})
        }
        Message::Tool { call_id, text, .. } => {
            json!({"role": "tool", "tool_call_id": call_id, "content": text})
        }
    }
}

/// A streamed answer.
#[derive(Debug, Default)]
pub(super) struct Stream {
    draft: Draft,
    is_terminated: bool,
}

impl Reader for Stream {
    fn read(&mut self, frame: &Frame, show: &mut (dyn FnMut(Chunk) + Send)) -> Result<bool, Fault> {
        if frame.data.trim() == "[DONE]" {
            self.is_terminated = true;
            return Ok(true);
        }
        let chunk = json(frame).map_err(|fault| fault.counted(self.draft.usage))?;
        if !chunk["error"].is_null() {
            return Err(Fault::of_event(&chunk["error"]).counted(self.draft.usage));
        }
        take(&mut self.draft, &chunk, "delta", show)?;
        Ok(false)
    }

    fn finish(self: Box<Self>) -> Result<Completion, Fault> {
        self.draft.complete(self.is_terminated)
    }
}

/// The completion of a body.
pub(super) fn whole(body: &Value) -> Result<Completion, Fault> {
    let mut draft = Draft::default();
    if !body["error"].is_null() {
        return Err(Fault::of_event(&body["error"]));
    }
    take(&mut draft, body, "message", &mut |_| {})?;
    draft.complete(true)
}

/// Takes over a chunk of a stream, or a body: they differ in the name of the field that holds the message.
fn take(
    draft: &mut Draft,
    from: &Value,
    field: &str,
    show: &mut (dyn FnMut(Chunk) + Send),
) -> Result<(), Fault> {
    if !from.is_object() {
        return Err(Fault::malformed("the answer is no object").counted(draft.usage));
    }
    if draft.model.is_empty() {
        text(&from["model"]).clone_into(&mut draft.model);
    }
    if from["usage"].is_object() {
        draft.usage = usage(&from["usage"]);
    }
    let choice = &from["choices"][0];
    let said = &choice[field];
    for name in ["reasoning_content", "reasoning"] {
        if let Some(reasoning) = said[name].as_str().filter(|reasoning| !reasoning.is_empty()) {
            show(Chunk::Reasoning(reasoning.to_owned()));
        }
    }
    if !(said["content"].is_string() || said["content"].is_null()) {
        return Err(Fault::malformed("the text of the answer is no text").counted(draft.usage));
    }
    draft.say(text(&said["content"]), show)?;
    draft.refuse(text(&said["refusal"]))?;
    for (place, call) in said["tool_calls"].as_array().into_iter().flatten().enumerate() {
        let place = call["index"].as_u64().unwrap_or(place as u64);
        let function = &call["function"];
        draft.ask(place, text(&call["id"]), text(&function["name"]), &arguments(&function["arguments"])?)?;
    }
    if !choice["error"].is_null() {
        return Err(Fault::of_event(&choice["error"]).counted(draft.usage));
    }
    if let Some(reason) = choice["finish_reason"].as_str() {
        draft.stop = match reason {
            "stop" | "tool_calls" | "function_call" => Some(Stop::Done),
            "length" | "model_length" => Some(Stop::Length),
            "content_filter" => Some(Stop::Refused),
            // Whatever else ends an answer is not known to leave it whole.
            _ => None,
        };
    }
    Ok(())
}

fn usage(of: &Value) -> Usage {
    let number = |value: &Value| value.as_u64().unwrap_or_default();
    Usage {
        input: number(&of["prompt_tokens"]),
        cached: number(&of["prompt_tokens_details"]["cached_tokens"]),
        output: number(&of["completion_tokens"]),
    }
}

/// The vectors of an answer, in the order of the texts.
pub(super) fn embeddings(body: &Value) -> Result<Embeddings, Fault> {
    let no_vectors = || Fault::malformed("the answer has no vectors");
    let mut data: Vec<&Value> = body["data"].as_array().ok_or_else(no_vectors)?.iter().collect();
    data.sort_by_key(|one| one["index"].as_u64());
    // A repeated or missing index would give a text the vector of another one.
    let at = |(place, one): (usize, &Value)| vector(&one["embedding"]).filter(|_| one["index"] == place);
    let vectors = data.into_iter().enumerate().map(at).collect::<Option<_>>();
    Ok(Embeddings { vectors: vectors.ok_or_else(no_vectors)?, usage: usage(&body["usage"]) })
}
