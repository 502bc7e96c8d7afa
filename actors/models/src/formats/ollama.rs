//! Ollama's own API: <https://docs.ollama.com/api/chat>.
//!
//! The terminal marker is `"done": true`, in a stream and in a body.

use serde_json::{Map, Value, json};

use super::draft::{Draft, Stop};
use super::{Reader, arguments, chat, json, text, vector};
use crate::call::{Call, Chunk, Completion, Embeddings, Message, ToolCall, ToolChoice, Usage};
use crate::fault::Fault;
use crate::frames::Frame;

/// The body of a call. Ollama offers tools and cannot require them.
pub(super) fn body(call: &Call, stream: bool) -> Value {
    let mut options = Map::new();
    let mut set = |name: &str, value: Value| drop(options.insert(name.to_owned(), value));
    set("num_predict", call.parameters.max_tokens.into());
    chat::sampling(call, &mut set);
    if let Some(tokens) = call.parameters.num_ctx {
        set("num_ctx", tokens.into());
    }
    if !call.parameters.stop.is_empty() {
        set("stop", json!(call.parameters.stop));
    }
    let mut body = json!({
        "model": call.model,
        "messages": call.messages.iter().map(message).collect::<Vec<_>>(),
        "stream": stream,
        "options": options,
        // A conversation that is too long is refused, and not cut.
        "truncate": false,
        "shift": false,
    });
    if let Some(schema) = &call.schema {
        body["format"] = schema.schema.clone();
    }
    if !call.tools.is_empty() && call.tool_choice != ToolChoice::None {
        body["tools"] = call.tools.iter().map(|tool| json!({"type": "function", "function": tool})).collect();
    }
    body
}

fn message(message: &Message) -> Value {
    match message {
        Message::System { text } => json!({"role": "system", "content": text}),
        Message::User { text } => json!({"role": "user", "content": text}),
        Message::Assistant { text, tool_calls } => {
            let called = |ToolCall { name, arguments, .. }: &ToolCall| json!({"function": {"name": name, "arguments": arguments}});
            let calls: Vec<_> = tool_calls.iter().map(called).collect();
            json!({"role": "assistant", "content": text, "tool_calls": calls})
        }
        Message::Tool { name, text, .. } => json!({"role": "tool", "tool_name": name, "content": text}),
    }
}

/// A streamed answer.
#[derive(Debug, Default)]
pub(super) struct Stream {
    draft: Draft,
    is_terminated: bool,
    asked: u64,
}

impl Stream {
    fn take(&mut self, line: &Value, show: &mut (dyn FnMut(Chunk) + Send)) -> Result<bool, Fault> {
        let draft = &mut self.draft;
        if !line["error"].is_null() {
            return Err(Fault::of_event(&json!({"message": line["error"]})).counted(draft.usage));
        }
        if !line.is_object() {
            return Err(Fault::malformed("the answer is no object").counted(draft.usage));
        }
        text(&line["model"]).clone_into(&mut draft.model);
        let said = &line["message"];
        if let Some(reasoning) = said["thinking"].as_str().filter(|reasoning| !reasoning.is_empty()) {
            show(Chunk::Reasoning(reasoning.to_owned()));
        }
        draft.say(text(&said["content"]), show)?;
        for call in said["tool_calls"].as_array().into_iter().flatten() {
            let function = &call["function"];
            draft.ask(
                self.asked,
                text(&call["id"]),
                text(&function["name"]),
                &arguments(&function["arguments"])?,
            )?;
            self.asked += 1;
        }
        if line["done"] != true {
            return Ok(false);
        }
        let number = |name: &str| line[name].as_u64().unwrap_or_default();
        draft.usage = Usage { input: number("prompt_eval_count"), cached: 0, output: number("eval_count") };
        draft.stop = match line["done_reason"].as_str() {
            None | Some("stop") => Some(Stop::Done),
            Some("length") => Some(Stop::Length),
            // The server loaded or unloaded the model, and answered nothing.
            Some(_) => None,
        };
        self.is_terminated = true;
        Ok(true)
    }
}

impl Reader for Stream {
    fn read(&mut self, frame: &Frame, show: &mut (dyn FnMut(Chunk) + Send)) -> Result<bool, Fault> {
        let line = json(frame).map_err(|fault| fault.counted(self.draft.usage))?;
        self.take(&line, show)
    }

    fn finish(self: Box<Self>) -> Result<Completion, Fault> {
        self.draft.complete(self.is_terminated)
    }
}

/// The completion of a body.
pub(super) fn whole(body: &Value) -> Result<Completion, Fault> {
    let mut stream = Stream::default();
    stream.take(body, &mut |_| {})?;
    Box::new(stream).finish()
}

/// The vectors of an answer.
pub(super) fn embeddings(body: &Value) -> Result<Embeddings, Fault> {
    let vectors = body["embeddings"].as_array().and_then(|all| all.iter().map(vector).collect());
    let vectors = vectors.ok_or_else(|| Fault::malformed("the answer has no vectors"))?;
    let usage = Usage { input: body["prompt_eval_count"].as_u64().unwrap_or_default(), ..Usage::default() };
    Ok(Embeddings { vectors, usage })
}
