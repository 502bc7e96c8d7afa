//! Good answers of each format, in the pieces in which they arrive.

use actors_models::{
    Call, Completion, Fault, Format, Message, ModelProvider, Parameters, Provider, Secret, Usage,
};
use serde_json::{Value, json};

use crate::server::{Act, Scripted, head};

/// The formats, each once.
pub const FORMATS: [Format; 4] = [Format::Chat, Format::Responses, Format::Messages, Format::Ollama];

/// The key of every test.
pub const KEY: &str = "sk-hunter2-hunter2";

/// A call without tools.
pub fn call() -> Call {
    Call::new("m", vec![Message::system("be brief"), Message::user("hello?")], Parameters::repeatable(64, 7))
}

/// A provider at a scripted server.
pub fn provider(format: Format, server: &Scripted) -> Provider {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("key");
    std::fs::write(&path, KEY).expect("a file");
    Provider::new(format, &server.url, Some(Secret::from_file(&path).expect("a key"))).expect("a URL")
}

/// Asks a server that plays this script.
pub async fn ask(format: Format, script: Vec<Act>) -> Result<Completion, Fault> {
    let server = Scripted::start(vec![script]).await;
    provider(format, &server).complete(&call(), &mut |_| {}).await
}

/// The media type of a streamed answer.
pub fn media(format: Format) -> &'static str {
    if format == Format::Ollama { "application/x-ndjson" } else { "text/event-stream" }
}

/// A frame with JSON, as the format writes it.
pub fn frame(format: Format, data: &Value) -> String {
    match format {
        Format::Ollama => format!("{data}\n"),
        Format::Responses | Format::Messages => {
            format!("event: {}\ndata: {data}\n\n", data["type"].as_str().expect("a type"))
        }
        Format::Chat | Format::CompatibleChat => format!("data: {data}\n\n"),
    }
}

/// A streamed answer: what comes first, what ends it, and the terminal marker where that is a frame of its own.
pub struct Answer {
    pub first: Vec<Value>,
    pub end: Vec<Value>,
    pub marker: Option<String>,
}

impl Answer {
    /// The frames, as text.
    pub fn frames(&self, format: Format) -> Vec<String> {
        let frames = self.first.iter().chain(&self.end).map(|data| frame(format, data));
        frames.chain(self.marker.clone()).collect()
    }

    /// The whole response.
    pub fn script(&self, format: Format) -> Vec<Act> {
        stream(format, &self.frames(format))
    }
}

/// A streamed response of these frames, which then ends.
pub fn stream(format: Format, frames: &[String]) -> Vec<Act> {
    vec![head("200 OK", media(format), ""), Act::Write(frames.concat().into_bytes())]
}

/// The tokens that every good answer counts.
pub const USAGE: Usage = Usage { input: 11, cached: 0, output: 5 };

fn chat_end(reason: &str) -> Vec<Value> {
    vec![
        json!({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}),
        json!({"choices": [], "usage": {"prompt_tokens": 11, "completion_tokens": 5}}),
    ]
}

fn response(status: &str, output: &Value, more: &Value) -> Value {
    let mut response = json!({"model": "m-1", "status": status, "output": output,
                              "usage": {"input_tokens": 11, "output_tokens": 5}});
    for (name, value) in more.as_object().into_iter().flatten() {
        response[name] = value.clone();
    }
    response
}

/// An answer that says "Hello", and ended for this reason: `stop`, `length` or `refusal`.
pub fn hello(format: Format, reason: &str) -> Answer {
    let is_refusal = reason == "refusal";
    match format {
        Format::Chat | Format::CompatibleChat => {
            let said = |text: &str| {
                let field = if is_refusal { "refusal" } else { "content" };
                json!({"model": "m-1", "choices": [{"index": 0, "delta": {field: text}}]})
            };
            let reason = if is_refusal { "content_filter" } else { reason };
            Answer {
                first: vec![said("Hel"), said("lo")],
                end: chat_end(reason),
                marker: Some("data: [DONE]\n\n".into()),
            }
        }
        Format::Responses => {
            let said = |text: &str| json!({"type": "response.output_text.delta", "delta": text});
            let part = match is_refusal {
                true => json!({"type": "refusal", "refusal": "Hello"}),
                false => json!({"type": "output_text", "text": "Hello"}),
            };
            let output = json!([{"type": "message", "content": [part]}]);
            let (status, more) = match reason {
                "length" => ("incomplete", json!({"incomplete_details": {"reason": "max_output_tokens"}})),
                _ => ("completed", json!({})),
            };
            let response = response(status, &output, &more);
            let end = json!({"type": format!("response.{status}"), "response": response});
            Answer { first: vec![said("Hel"), said("lo")], end: vec![], marker: Some(frame(format, &end)) }
        }
        Format::Messages => {
            let reason = match reason {
                "stop" => "end_turn",
                "length" => "max_tokens",
                other => other,
            };
            let said = |text: &str| json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}});
            let start = json!({"model": "m-1", "usage": {"input_tokens": 11, "output_tokens": 1}});
            Answer {
                first: vec![
                    json!({"type": "message_start", "message": start}),
                    json!({"type": "ping"}),
                    said("Hel"),
                    said("lo"),
                ],
                end: vec![
                    json!({"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 5}}),
                ],
                marker: Some(frame(format, &json!({"type": "message_stop"}))),
            }
        }
        Format::Ollama => {
            let said = |text: &str| json!({"model": "m-1", "message": {"role": "assistant", "content": text}, "done": false});
            let end = json!({"model": "m-1", "message": {"role": "assistant", "content": ""}, "done": true,
                             "done_reason": reason, "prompt_eval_count": 11, "eval_count": 5});
            Answer { first: vec![said("Hel"), said("lo")], end: vec![], marker: Some(frame(format, &end)) }
        }
    }
}

/// An answer that asks for the tool `add` with these pieces of arguments.
pub fn tool(format: Format, pieces: &[&str]) -> Answer {
    let all = pieces.concat();
    match format {
        Format::Chat | Format::CompatibleChat => {
            let delta = |call: Value| json!({"model": "m-1", "choices": [{"delta": {"tool_calls": [call]}}]});
            let begin = delta(
                json!({"index": 0, "id": "c1", "type": "function", "function": {"name": "add", "arguments": ""}}),
            );
            let rest =
                pieces.iter().map(|piece| delta(json!({"index": 0, "function": {"arguments": piece}})));
            Answer {
                first: std::iter::once(begin).chain(rest).collect(),
                end: chat_end("tool_calls"),
                marker: Some("data: [DONE]\n\n".into()),
            }
        }
        Format::Responses => {
            let output = json!([{"type": "function_call", "call_id": "c1", "name": "add", "arguments": all}]);
            let end =
                json!({"type": "response.completed", "response": response("completed", &output, &json!({}))});
            Answer { first: vec![], end: vec![], marker: Some(frame(format, &end)) }
        }
        Format::Messages => {
            let block = json!({"type": "tool_use", "id": "c1", "name": "add", "input": {}});
            let mut first = vec![
                json!({"type": "message_start", "message": {"model": "m-1", "usage": {"input_tokens": 11}}}),
                json!({"type": "content_block_start", "index": 1, "content_block": block}),
            ];
            first.extend(pieces.iter().map(|piece| {
                let delta = json!({"type": "input_json_delta", "partial_json": piece});
                json!({"type": "content_block_delta", "index": 1, "delta": delta})
            }));
            Answer { first, ..hello(format, "tool_use") }
        }
        Format::Ollama => {
            let arguments: Value = serde_json::from_str(&all).unwrap_or(Value::String(all));
            let call = json!({"function": {"name": "add", "arguments": arguments}});
            let first = vec![
                json!({"model": "m-1", "message": {"content": "", "tool_calls": [call]}, "done": false}),
            ];
            Answer { first, ..hello(format, "stop") }
        }
    }
}

/// The good answer as one body.
pub fn body(format: Format) -> Value {
    match format {
        Format::Chat | Format::CompatibleChat => json!({
            "model": "m-1",
            "choices": [{"message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 11, "completion_tokens": 5},
        }),
        Format::Responses => {
            let output = json!([{"type": "message", "content": [{"type": "output_text", "text": "Hello"}]}]);
            response("completed", &output, &json!({}))
        }
        Format::Messages => json!({
            "model": "m-1",
            "content": [{"type": "text", "text": "Hello"}],
            "stop_reason": "end_turn",
            "usage": {"input_tokens": 11, "output_tokens": 5},
        }),
        Format::Ollama => json!({
            "model": "m-1",
            "message": {"role": "assistant", "content": "Hello"},
            "done": true,
            "done_reason": "stop",
            "prompt_eval_count": 11,
            "eval_count": 5,
        }),
    }
}
