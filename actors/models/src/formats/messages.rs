//! Anthropic's Messages: <https://platform.claude.com/docs/en/api/messages>.
//!
//! The terminal marker of a stream is `message_stop` after a `stop_reason`; that of a body is its `stop_reason`.

use serde_json::{Map, Value, json};

use super::draft::{Draft, Stop};
use super::{Reader, json, relaxed, text};
use crate::call::{Call, Chunk, Completion, Message, ToolChoice, Usage};
use crate::fault::Fault;
use crate::frames::Frame;

/// The body of a call.
pub(super) fn body(call: &Call, stream: bool) -> Value {
    let parameters = &call.parameters;
    let mut body = Map::new();
    let mut set = |name: &str, value: Value| drop(body.insert(name.to_owned(), value));
    set("model", call.model.as_str().into());
    set("max_tokens", parameters.max_tokens.into());
    let instructions: Vec<&str> = call
        .messages
        .iter()
        .filter_map(|message| match message {
            Message::System { text } => Some(text.as_str()),
            _ => None,
        })
        .collect();
    if !instructions.is_empty() {
        set("system", instructions.join("\n\n").into());
    }
    set("messages", turns(&call.messages));
    if stream {
        set("stream", true.into());
    }
    // This format has no seed.
    for (name, value) in [("temperature", parameters.temperature), ("top_p", parameters.top_p)] {
        if let Some(value) = value {
            set(name, value.into());
        }
    }
    if !parameters.stop.is_empty() {
        set("stop_sequences", json!(parameters.stop));
    }
    if let Some(schema) = &call.schema {
        set("output_config", json!({"format": {"type": "json_schema", "schema": relaxed(&schema.schema)}}));
    }
    if !call.tools.is_empty() {
        let tool = |tool: &crate::Tool| json!({"name": tool.name, "description": tool.description, "input_schema": tool.parameters});
        set("tools", call.tools.iter().map(tool).collect());
        set(
            "tool_choice",
            match &call.tool_choice {
                ToolChoice::Auto => json!({"type": "auto"}),
                ToolChoice::None => json!({"type": "none"}),
                ToolChoice::Required => json!({"type": "any"}),
                ToolChoice::Named(name) => json!({"type": "tool", "name": name}),
            },
        );
    }
    Value::Object(body)
}

/// The messages without instructions. Results of tools that follow one another are one turn of the user.
fn turns(messages: &[Message]) -> Value {
    let mut turns: Vec<(&str, Vec<Value>)> = Vec::new();
    for message in messages {
        let (role, blocks): (_, Vec<Value>) = match message {
            Message::System { .. } => continue,
            Message::User { text } => ("user", vec![json!({"type": "text", "text": text})]),
            Message::Assistant { text, tool_calls } => {
                let words = (!text.trim().is_empty()).then(|| json!({"type": "text", "text": text}));
                let calls = tool_calls.iter().map(|call| {
                    json!({"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments})
                });
                ("assistant", words.into_iter().chain(calls).collect())
            }
            Message::Tool { call_id, text, .. } => {
                ("user", vec![json!({"type": "tool_result", "tool_use_id": call_id, "content": text})])
            }
        };
        if blocks.is_empty() {
            continue;
        }
        match turns.last_mut() {
            Some((last, all)) if *last == role => all.extend(blocks),
            _ => turns.push((role, blocks)),
        }
    }
    turns.into_iter().map(|(role, content)| json!({"role": role, "content": content})).collect()
}

/// A streamed answer.
#[derive(Debug, Default)]
pub(super) struct Stream {
    draft: Draft,
    is_terminated: bool,
}

impl Reader for Stream {
    fn read(&mut self, frame: &Frame, show: &mut (dyn FnMut(Chunk) + Send)) -> Result<bool, Fault> {
        let event = json(frame).map_err(|fault| fault.counted(self.draft.usage))?;
        let draft = &mut self.draft;
        match text(&event["type"]) {
            "message_start" => {
                text(&event["message"]["model"]).clone_into(&mut draft.model);
                count(&mut draft.usage, &event["message"]["usage"]);
            }
            "content_block_start" => begin(draft, &event, show)?,
            "content_block_delta" => {
                let (place, delta) = (event["index"].as_u64().unwrap_or_default(), &event["delta"]);
                match text(&delta["type"]) {
                    "text_delta" => draft.say(text(&delta["text"]), show)?,
                    "thinking_delta" => show(Chunk::Reasoning(text(&delta["thinking"]).to_owned())),
                    "input_json_delta" => draft.ask(place, "", "", text(&delta["partial_json"]))?,
                    _ => {}
                }
            }
            "message_delta" => {
                count(&mut draft.usage, &event["usage"]);
                draft.stop = stop(&event["delta"]["stop_reason"]).or(draft.stop);
            }
            "message_stop" => {
                self.is_terminated = true;
                return Ok(true);
            }
            "error" => return Err(Fault::of_event(&event["error"]).counted(draft.usage)),
            _ => {}
        }
        Ok(false)
    }

    fn finish(self: Box<Self>) -> Result<Completion, Fault> {
        self.draft.complete(self.is_terminated)
    }
}

fn begin(draft: &mut Draft, event: &Value, show: &mut (dyn FnMut(Chunk) + Send)) -> Result<(), Fault> {
    let block = &event["content_block"];
    match text(&block["type"]) {
        "text" => draft.say(text(&block["text"]), show),
        // The input of a block that begins is an empty object, and its pieces follow as text; some send it whole.
        "tool_use" => {
            let is_empty = block["input"].as_object().is_none_or(serde_json::Map::is_empty);
            let input = if is_empty { String::new() } else { block["input"].to_string() };
            let place = event["index"].as_u64().unwrap_or_default();
            draft.ask(place, text(&block["id"]), text(&block["name"]), &input)
        }
        _ => Ok(()),
    }
}

/// The completion of a body.
pub(super) fn whole(body: &Value) -> Result<Completion, Fault> {
    let mut draft = Draft::default();
    text(&body["model"]).clone_into(&mut draft.model);
    count(&mut draft.usage, &body["usage"]);
    let blocks = body["content"].as_array();
    let blocks = blocks.ok_or_else(|| Fault::malformed("the answer has no content").counted(draft.usage))?;
    for (place, block) in blocks.iter().enumerate() {
        match text(&block["type"]) {
            "text" => draft.say(text(&block["text"]), &mut |_| {})?,
            "tool_use" => {
                let input = block["input"].to_string();
                draft.ask(place as u64, text(&block["id"]), text(&block["name"]), &input)?;
            }
            _ => {}
        }
    }
    draft.stop = stop(&body["stop_reason"]);
    draft.complete(true)
}

fn stop(reason: &Value) -> Option<Stop> {
    Some(match reason.as_str()? {
        "end_turn" | "stop_sequence" | "tool_use" => Stop::Done,
        // A paused turn is not whole either: the provider wants to be asked to go on.
        "max_tokens" | "model_context_window_exceeded" | "pause_turn" => Stop::Length,
        "refusal" => Stop::Refused,
        // Whatever else ends an answer is not known to leave it whole.
        _ => return None,
    })
}

/// Takes over the counts of an event: each has the sum until then, and may leave some out.
fn count(usage: &mut Usage, of: &Value) {
    let number = |name: &str| of[name].as_u64();
    let (read, written) = (number("cache_read_input_tokens"), number("cache_creation_input_tokens"));
    if let Some(fresh) = number("input_tokens") {
        // An event without the counts of the cache says nothing new about the input.
        let is_known = usage.input > 0 && read.is_none() && written.is_none();
        if !is_known {
            usage.cached = read.unwrap_or_default();
            usage.input = fresh.saturating_add(usage.cached).saturating_add(written.unwrap_or_default());
        }
    }
    usage.output = number("output_tokens").unwrap_or(usage.output);
}
