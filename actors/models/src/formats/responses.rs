//! OpenAI's Responses: <https://platform.openai.com/docs/api-reference/responses>.
//!
//! The terminal marker of a stream is one of `response.completed`, `response.incomplete` and `response.failed`,
//! which holds the whole response; that of a body is its `status`.

use serde_json::{Map, Value, json};

use super::draft::{Draft, Stop};
use super::{Reader, arguments, chat, json, relaxed, text};
use crate::call::{Call, Chunk, Completion, Message, ToolChoice, Usage};
use crate::fault::Fault;
use crate::frames::Frame;

/// The body of a call. The provider keeps nothing of it.
pub(super) fn body(call: &Call, stream: bool) -> Value {
    let mut body = Map::new();
    let mut set = |name: &str, value: Value| drop(body.insert(name.to_owned(), value));
    set("model", call.model.as_str().into());
    set("input", call.messages.iter().flat_map(items).collect());
    set("max_output_tokens", call.parameters.max_tokens.into());
    set("store", false.into());
    if stream {
        set("stream", true.into());
    }
    // This format has neither a seed nor texts that end the answer.
    for (name, value) in [("temperature", call.parameters.temperature), ("top_p", call.parameters.top_p)] {
        if let Some(value) = value {
            set(name, value.into());
        }
    }
    if let Some(schema) = &call.schema {
        let format = json!({"type": "json_schema", "name": schema.name, "schema": relaxed(&schema.schema), "strict": true});
        set("text", json!({"format": format}));
    }
    if !call.tools.is_empty() {
        let tool = |tool: &crate::Tool| {
            json!({"type": "function", "name": tool.name, "description": tool.description,
                   "parameters": tool.parameters, "strict": false})
        };
        set("tools", call.tools.iter().map(tool).collect());
        set(
            "tool_choice",
            match &call.tool_choice {
                ToolChoice::Named(name) => json!({"type": "function", "name": name}),
                choice => chat::word(choice).into(),
            },
        );
    }
    Value::Object(body)
}

fn items(message: &Message) -> Vec<Value> {
    let said = |role: &str, kind: &str, text: &str| json!({"type": "message", "role": role, "content": [{"type": kind, "text": text}]});
    match message {
        Message::System { text } => vec![said("system", "input_text", text)],
        Message::User { text } => vec![said("user", "input_text", text)],
        Message::Assistant { text, tool_calls } => {
            let words = (!text.is_empty()).then(|| said("assistant", "output_text", text));
            let calls = tool_calls.iter().map(|call| {
                json!({"type": "function_call", "call_id": call.id, "name": call.name,
                       "arguments": call.arguments.to_string()})
            });
            words.into_iter().chain(calls).collect()
        }
        Message::Tool { call_id, text, .. } => {
            vec![json!({"type": "function_call_output", "call_id": call_id, "output": text})]
        }
    }
}

/// A streamed answer. What its events say is shown; what counts is the response of the last one.
#[derive(Debug, Default)]
pub(super) struct Stream {
    response: Option<Value>,
    /// What was shown: bounded, and said when no terminal marker comes.
    shown: Draft,
}

impl Reader for Stream {
    fn read(&mut self, frame: &Frame, show: &mut (dyn FnMut(Chunk) + Send)) -> Result<bool, Fault> {
        if frame.data.trim() == "[DONE]" {
            return Ok(true);
        }
        let mut event = json(frame)?;
        let Some(fields) = event.as_object_mut() else {
            return Err(Fault::malformed("a piece of the answer is no object"));
        };
        // The data and not the name of the event counts, where both say what it is.
        let response = fields.remove("response");
        let kind = if frame.name.is_empty() { text(&event["type"]) } else { frame.name.as_str() }.to_owned();
        match kind.as_str() {
            "response.output_text.delta" => self.shown.say(text(&event["delta"]), show)?,
            "response.reasoning_text.delta" | "response.reasoning_summary_text.delta" => {
                show(Chunk::Reasoning(text(&event["delta"]).to_owned()));
            }
            "response.completed" | "response.incomplete" | "response.failed" => {
                self.response = response;
                return Ok(true);
            }
            "error" => {
                let error = if event["error"].is_object() { &event["error"] } else { &event };
                return Err(Fault::of_event(error));
            }
            _ => {}
        }
        Ok(false)
    }

    fn finish(self: Box<Self>) -> Result<Completion, Fault> {
        let Some(response) = self.response else { return self.shown.complete(false) };
        let completion = whole(&response)?;
        if completion.text.is_empty() && !self.shown.text.is_empty() {
            return Err(Fault::malformed("the answer was streamed, and its end has no text")
                .counted(completion.usage));
        }
        Ok(completion)
    }
}

/// The completion of a response.
pub(super) fn whole(response: &Value) -> Result<Completion, Fault> {
    let number = |value: &Value| value.as_u64().unwrap_or_default();
    let counted = &response["usage"];
    let usage = Usage {
        input: number(&counted["input_tokens"]),
        cached: number(&counted["input_tokens_details"]["cached_tokens"]),
        output: number(&counted["output_tokens"]),
    };
    let mut draft = Draft::default();
    (draft.usage, draft.model) = (usage, text(&response["model"]).to_owned());
    draft.stop = match (text(&response["status"]), text(&response["incomplete_details"]["reason"])) {
        ("completed", _) => Some(Stop::Done),
        ("incomplete", "content_filter") => Some(Stop::Refused),
        ("incomplete", _) => Some(Stop::Length),
        ("failed", _) => return Err(Fault::of_event(&response["error"]).counted(usage)),
        _ => None,
    };
    let output = response["output"].as_array();
    let output = output.ok_or_else(|| Fault::malformed("the answer has no output").counted(usage))?;
    for (place, item) in output.iter().enumerate() {
        match text(&item["type"]) {
            "message" => {
                for part in item["content"].as_array().into_iter().flatten() {
                    draft.say(text(&part["text"]), &mut |_| {})?;
                    if text(&part["type"]) == "refusal" {
                        draft.refuse(text(&part["refusal"]))?;
                        draft.stop = Some(Stop::Refused);
                    }
                }
            }
            "function_call" => {
                draft.ask(
                    place as u64,
                    text(&item["call_id"]),
                    text(&item["name"]),
                    &arguments(&item["arguments"])?,
                )?;
            }
            _ => {}
        }
    }
    draft.complete(true)
}
