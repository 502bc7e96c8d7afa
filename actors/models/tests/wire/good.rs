//! Answers that are whole, and the requests that they answer.

use actors_models::{Call, Chunk, Format, Message, ModelProvider, Schema, Tool, ToolCall, ToolChoice};
use serde_json::{Value, json};

use crate::answers::{FORMATS, KEY, USAGE, ask, body, call, hello, media, provider, tool};
use crate::server::{Act, Scripted, head, whole};

/// Goal: a whole answer arrives as it was written, in pieces to be shown, with its tokens. Method: every format, as
/// a stream, as a stream of single bytes, and as one body.
#[tokio::test]
async fn a_whole_answer_is_a_completion() {
    for format in FORMATS {
        let frames = hello(format, "stop").frames(format).concat();
        let trickle = vec![head("200 OK", media(format), ""), Act::Trickle(frames.into_bytes())];
        for script in [hello(format, "stop").script(format), trickle] {
            let server = Scripted::start(vec![script]).await;
            let mut shown = String::new();
            let mut show = |chunk| {
                if let Chunk::Text(text) = chunk {
                    shown.push_str(&text);
                }
            };
            let completion = provider(format, &server).complete(&call(), &mut show).await.expect("an answer");
            assert_eq!((completion.text.as_str(), completion.model.as_str()), ("Hello", "m-1"), "{format:?}");
            assert_eq!((completion.usage, shown.as_str()), (USAGE, "Hello"), "{format:?}");
        }
        let server =
            Scripted::start(vec![whole("200 OK", "application/json", "", &body(format).to_string())]).await;
        let provider = provider(format, &server).in_one_piece();
        let completion = provider.complete(&call(), &mut |_| {}).await.expect("an answer");
        assert_eq!((completion.text.as_str(), completion.usage), ("Hello", USAGE), "{format:?}");
    }
}

/// Goal: cached tokens are counted apart. Method: each format that has them.
#[tokio::test]
async fn cached_tokens_are_counted() {
    let mut chat = body(Format::Chat);
    chat["usage"]["prompt_tokens_details"] = json!({"cached_tokens": 4});
    let mut responses = body(Format::Responses);
    responses["usage"]["input_tokens_details"] = json!({"cached_tokens": 4});
    let mut messages = body(Format::Messages);
    messages["usage"] = json!({"input_tokens": 5, "cache_read_input_tokens": 4, "cache_creation_input_tokens": 2,
                               "output_tokens": 5});
    for (format, body) in [(Format::Chat, chat), (Format::Responses, responses), (Format::Messages, messages)]
    {
        let server = Scripted::start(vec![whole("200 OK", "application/json", "", &body.to_string())]).await;
        let provider = provider(format, &server).in_one_piece();
        let usage = provider.complete(&call(), &mut |_| {}).await.expect("an answer").usage;
        assert_eq!((usage.input, usage.cached, usage.output), (11, 4, 5), "{format:?}");
    }
}

/// Goal: the arguments of a tool call arrive whole. Method: every format, in pieces.
#[tokio::test]
async fn a_tool_call_has_its_arguments() {
    for format in FORMATS {
        let answer = tool(format, &["{\"a\":", "1,", "\"b\":2}"]);
        let completion = ask(format, answer.script(format)).await.expect("an answer");
        let [ToolCall { name, arguments, .. }] = &completion.tool_calls[..] else { panic!("{completion:?}") };
        assert_eq!((name.as_str(), arguments), ("add", &json!({"a": 1, "b": 2})), "{format:?}");
    }
}

/// Goal: arguments that a server sends as an object are those arguments. Method: each format that has text instead.
#[tokio::test]
async fn arguments_may_be_an_object() {
    let call = json!({"index": 0, "id": "c1", "function": {"name": "add", "arguments": {"a": 1}}});
    let mut chat = tool(Format::Chat, &[]);
    chat.first = vec![json!({"choices": [{"delta": {"tool_calls": [call]}}]})];
    let mut messages = tool(Format::Messages, &[]);
    messages.first[1]["content_block"]["input"] = json!({"a": 1});
    for (format, answer) in [(Format::Chat, chat), (Format::Messages, messages)] {
        let completion = ask(format, answer.script(format)).await.expect("an answer");
        assert_eq!(completion.tool_calls[0].arguments, json!({"a": 1}), "{format:?}");
    }
}

/// Goal: bounds of values are not sent to those who refuse them. Method: a schema with bounds, one of which is the name of
/// a property.
#[tokio::test]
async fn strict_providers_get_a_schema_without_bounds() {
    let one = json!({"type": "string", "maxLength": 9});
    let schema = json!({"type": "object", "minProperties": 1, "properties": {"maximum": one}, "required": ["maximum"]});
    let call = Call { schema: Some(Schema { name: "x".into(), schema: schema.clone() }), ..call() };
    for (format, place, is_whole) in [
        (Format::Chat, "/response_format/json_schema/schema", false),
        (Format::CompatibleChat, "/response_format/json_schema/schema", true),
        (Format::Responses, "/text/format/schema", false),
        (Format::Messages, "/output_config/format/schema", false),
        (Format::Ollama, "/format", true),
    ] {
        let server = Scripted::start(vec![hello(format, "stop").script(format)]).await;
        provider(format, &server).complete(&call, &mut |_| {}).await.expect("an answer");
        let sent = server.asked().remove(0).body.pointer(place).cloned().expect("a schema");
        assert_eq!(sent == schema, is_whole, "{format:?}: {sent}");
        assert_eq!(sent["properties"]["maximum"]["type"], "string", "{format:?}: {sent}");
    }
}

fn full() -> Call {
    let earlier = ToolCall { id: "c1".into(), name: "add".into(), arguments: json!({"a": 1}) };
    let answered = Message::Assistant { text: "let me see".into(), tool_calls: vec![earlier] };
    let result = Message::Tool { call_id: "c1".into(), name: "add".into(), text: "2".into() };
    let mut call = call();
    call.messages.extend([answered, result]);
    call.tools =
        vec![Tool { name: "add".into(), description: "adds".into(), parameters: json!({"type": "object"}) }];
    call.tool_choice = ToolChoice::Named("add".into());
    call.schema = Some(Schema { name: "sum".into(), schema: json!({"type": "object"}) });
    call
}

/// Where a format says what: the request line, and values at places of the body.
fn places(format: Format) -> (&'static str, Vec<(&'static str, Value)>) {
    match format {
        Format::Chat | Format::CompatibleChat => (
            "POST /v1/chat/completions",
            vec![
                ("/max_completion_tokens", json!(64)),
                ("/temperature", json!(0.0)),
                ("/seed", json!(7)),
                ("/stream_options/include_usage", json!(true)),
                ("/messages/0", json!({"role": "system", "content": "be brief"})),
                ("/messages/2/tool_calls/0/function/arguments", json!("{\"a\":1}")),
                ("/messages/3/tool_call_id", json!("c1")),
                ("/tools/0/function/name", json!("add")),
                ("/tool_choice/function/name", json!("add")),
                ("/response_format/json_schema/schema", json!({"type": "object"})),
            ],
        ),
        Format::Responses => (
            "POST /v1/responses",
            vec![
                ("/max_output_tokens", json!(64)),
                ("/store", json!(false)),
                ("/input/0/content/0/text", json!("be brief")),
                ("/input/3/call_id", json!("c1")),
                ("/input/4", json!({"type": "function_call_output", "call_id": "c1", "output": "2"})),
                ("/tools/0/name", json!("add")),
                ("/tool_choice/name", json!("add")),
                ("/text/format/schema", json!({"type": "object"})),
            ],
        ),
        Format::Messages => (
            "POST /v1/messages",
            vec![
                ("/max_tokens", json!(64)),
                ("/system", json!("be brief")),
                ("/messages/0/role", json!("user")),
                ("/messages/1/content/1/input", json!({"a": 1})),
                ("/messages/2/content/0/tool_use_id", json!("c1")),
                ("/tools/0/input_schema", json!({"type": "object"})),
                ("/tool_choice", json!({"type": "tool", "name": "add"})),
                ("/output_config/format/schema", json!({"type": "object"})),
            ],
        ),
        Format::Ollama => (
            "POST /v1/api/chat",
            vec![
                ("/options/num_predict", json!(64)),
                ("/options/seed", json!(7)),
                ("/messages/2/tool_calls/0/function/arguments", json!({"a": 1})),
                ("/messages/3/tool_name", json!("add")),
                ("/tools/0/function/name", json!("add")),
                ("/format", json!({"type": "object"})),
            ],
        ),
    }
}

/// Goal: a provider gets everything that a call says, where its format has it. Method: a call with everything.
#[tokio::test]
async fn a_request_says_what_the_call_says() {
    for format in FORMATS {
        let (line, fields) = places(format);
        let server = Scripted::start(vec![hello(format, "stop").script(format)]).await;
        provider(format, &server).complete(&full(), &mut |_| {}).await.expect("an answer");
        let asked = server.asked().remove(0);
        assert!(asked.head.starts_with(line), "{}", asked.head);
        for (place, value) in fields {
            assert_eq!(asked.body.pointer(place), Some(&value), "{format:?} {place} in {}", asked.body);
        }
        let header = if format == Format::Messages { "x-api-key: " } else { "authorization: Bearer " };
        assert!(asked.head.contains(&format!("{header}{KEY}")), "{format:?}");
    }
    let server = Scripted::start(vec![hello(Format::Chat, "stop").script(Format::Chat)]).await;
    provider(Format::CompatibleChat, &server).complete(&full(), &mut |_| {}).await.expect("an answer");
    assert_eq!(server.asked()[0].body["max_tokens"], 64);
}

/// Goal: vectors come in the order of the texts. Method: both formats that have them, out of order where they may be.
#[tokio::test]
async fn embeddings_are_in_order() {
    let chat = json!({"data": [{"index": 1, "embedding": [3, 4.5]}, {"index": 0, "embedding": [1, 2]}],
                      "usage": {"prompt_tokens": 3}});
    let ollama = json!({"embeddings": [[1, 2], [3, 4.5]], "prompt_eval_count": 3});
    let texts = ["a".to_owned(), "b".to_owned()];
    for (format, body) in [(Format::Chat, chat), (Format::Ollama, ollama)] {
        let server = Scripted::start(vec![whole("200 OK", "application/json", "", &body.to_string())]).await;
        let found = provider(format, &server).embed("e", &texts).await.expect("vectors");
        assert_eq!(
            (found.vectors, found.usage.input),
            (vec![vec![1.0, 2.0], vec![3.0, 4.5]], 3),
            "{format:?}"
        );
        let few =
            provider(format, &server).embed("e", &texts[..1]).await.expect_err("two vectors for one text");
        assert_eq!(few.kind.code(), "model-answer-malformed");
    }
    let server = Scripted::start(vec![vec![]]).await;
    let none = provider(Format::Messages, &server).embed("e", &texts).await.expect_err("it has none");
    assert_eq!(none.kind.code(), "model-call-invalid");
}

/// Goal: the size of the context is sent to Ollama, which has a small one otherwise, and to nobody else. Method: every
/// format.
#[tokio::test]
async fn ollama_is_told_the_size_of_its_context() {
    for format in FORMATS {
        let server = Scripted::start(vec![hello(format, "stop").script(format)]).await;
        let mut call = call();
        call.parameters.num_ctx = Some(16_384);
        provider(format, &server).complete(&call, &mut |_| {}).await.expect("an answer");
        let body = server.asked().remove(0).body;
        assert_eq!(body["options"]["num_ctx"] == 16_384, format == Format::Ollama, "{format:?}: {body}");
        assert_eq!(body.to_string().contains("num_ctx"), format == Format::Ollama, "{format:?}: {body}");
    }
}
