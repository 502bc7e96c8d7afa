//! Answers by a schema: bad ones are never acted on, and asked for again a bounded number of times.

use actors_models::{Call, Format, Invalid, Kind, REASKS_MAX, Schema, structured};
use serde_json::json;

use crate::answers::{Answer, call, hello, provider};
use crate::server::{Act, Scripted, whole};

fn wanted() -> Call {
    let schema = json!({"type": "object", "properties": {"sum": {"type": "integer"}}, "required": ["sum"],
                        "additionalProperties": false});
    Call { schema: Some(Schema { name: "sum".into(), schema }), ..call() }
}

fn says(text: &str) -> Vec<Act> {
    let first = vec![json!({"model": "m-1", "choices": [{"delta": {"content": text}}]})];
    Answer { first, ..hello(Format::Chat, "stop") }.script(Format::Chat)
}

/// Goal: an answer fits the schema, or the model hears what is wrong. Method: a bad answer, then a good one in a fence.
#[tokio::test]
async fn a_model_is_told_its_mistakes() {
    let server = Scripted::start(vec![says(r#"{"sum":"3"}"#), says("```json\n{\"sum\": 3}\n```")]).await;
    let found = structured(&provider(Format::Chat, &server), &wanted()).await.expect("an answer");
    assert_eq!((found.value, found.reasks, found.truncations), (json!({"sum": 3}), 1, 0));
    assert_eq!((found.usage.input, found.usage.output), (22, 10), "both calls are paid for");
    let again = server.asked()[1].body["messages"].as_array().expect("messages").clone();
    assert_eq!(again.len(), 4, "the conversation goes on: {again:?}");
    let told = again[3]["content"].as_str().expect("text");
    assert!(told.contains("/sum") && told.contains("integer"), "{told}");
}

/// Goal: of a hundred bad answers none counts, and none is asked for without end. Method: a hundred, each other.
#[tokio::test]
async fn no_bad_answer_counts() {
    let bad = [
        "",
        "3",
        "[3]",
        "{",
        "{\"sum\":3",
        "{\"sum\":3}}",
        "{\"sum\":3,}",
        "{'sum':3}",
        "{\"sum\":3.5}",
        "{\"sum\":null}",
        "{\"sums\":3}",
        "{\"sum\":3,\"x\":1}",
        "the sum is 3",
        "```\n{\"sum\":\"3\"}\n```",
        "{\"sum\":3} {\"sum\":4}",
        "null",
        "true",
        "\"{\\\"sum\\\":3}\"",
        "{\"sum\":[3]}",
        "{\"sum\":{\"sum\":3}}",
    ];
    for round in 0..5 {
        for text in bad {
            let text = " ".repeat(round) + text;
            let server = Scripted::start(vec![says(&text)]).await;
            let invalid = structured(&provider(Format::Chat, &server), &wanted()).await.expect_err(&text);
            let Invalid::Output { asked, usage, .. } = &invalid else { panic!("{text}: {invalid:?}") };
            assert_eq!((*asked, server.asked().len()), (REASKS_MAX + 1, 3), "{text}");
            assert_eq!((usage.input, invalid.code()), (33, "invalid-output"), "{text}");
        }
    }
}

/// Goal: an answer that ran into its bound is asked for once more with a larger one, and is no mistake of the model's.
/// Method: a bound that is too small once, and one that always is.
#[tokio::test]
async fn a_bound_that_is_too_small_grows_once() {
    let short = hello(Format::Chat, "length").script(Format::Chat);
    let server = Scripted::start(vec![short.clone(), says("{\"sum\":3}")]).await;
    let found = structured(&provider(Format::Chat, &server), &wanted()).await.expect("an answer");
    assert_eq!((found.reasks, found.truncations, found.usage.output), (0, 1, 10));
    assert_eq!(server.asked()[1].body["max_completion_tokens"], 256);
    let server = Scripted::start(vec![short]).await;
    let invalid = structured(&provider(Format::Chat, &server), &wanted()).await.expect_err("it never fits");
    let Invalid::Call(fault) = &invalid else { panic!("{invalid:?}") };
    assert_eq!((fault.kind, fault.usage.map(|usage| usage.output)), (Kind::OutputLimit, Some(10)));
    assert_eq!(server.asked().len(), 2);
}

/// Goal: a fault is no bad answer, and a bad schema is said before anything is asked. Method: both.
#[tokio::test]
async fn faults_and_bad_schemas_are_told_apart() {
    let server = Scripted::start(vec![whole("401 Unauthorized", "application/json", "", "{}")]).await;
    let invalid = structured(&provider(Format::Chat, &server), &wanted()).await.expect_err("no key");
    assert_eq!((invalid.code(), server.asked().len()), ("model-unauthorized", 1));
    let mut call = wanted();
    call.schema = Some(Schema { name: "x".into(), schema: json!({"type": 3}) });
    for call in [call, Call { schema: None, ..wanted() }] {
        let invalid = structured(&provider(Format::Chat, &server), &call).await.expect_err("no schema");
        assert_eq!(invalid.code(), "invalid-schema");
    }
    assert_eq!(server.asked().len(), 1, "nothing was asked");
}
