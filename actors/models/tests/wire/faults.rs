//! Answers that are not whole: each has its kind, its tokens are booked, and no text shows the key.

use std::time::{Duration, Instant};

use actors_models::{Completion, Fault, Format, Kind, ModelProvider, Timeouts};
use serde_json::json;

use crate::answers::{FORMATS, KEY, USAGE, ask, body, call, frame, hello, media, provider, stream, tool};
use crate::server::{Act, LONG, Scripted, head, whole};

/// The fault of an answer, which names no key.
fn fault(outcome: Result<Completion, Fault>, row: &str, format: Format) -> Fault {
    let fault = outcome.expect_err(&format!("{row} of {format:?} is no answer"));
    assert!(!format!("{fault} {fault:?}").contains(KEY), "{row} of {format:?}: {fault:?}");
    fault
}

async fn kind(row: &str, format: Format, script: Vec<Act>) -> Kind {
    fault(ask(format, script).await, row, format).kind
}

/// Goal: a status says what is wrong and when to come back, and a server that repeats the key does not spread it.
/// Method: statuses with every format, for streams and for bodies.
#[tokio::test]
async fn a_status_is_a_fault() {
    for format in FORMATS {
        let echo = format!(r#"{{"error":{{"message":"your key {KEY} may not"}}}}"#);
        for (status, wanted) in [
            ("401 Unauthorized", Kind::Unauthorized),
            ("404 Not Found", Kind::InvalidCall),
            ("429 Too Many Requests", Kind::RateLimited),
            ("500 Internal Server Error", Kind::Unavailable),
            ("529 Overloaded", Kind::Overloaded),
        ] {
            let script = whole(status, "application/json", "retry-after: 7\r\n", &echo);
            let server = Scripted::start(vec![script]).await;
            let streamed = provider(format, &server).complete(&call(), &mut |_| {}).await;
            let plain = provider(format, &server).in_one_piece().complete(&call(), &mut |_| {}).await;
            for outcome in [streamed, plain] {
                let fault = fault(outcome, status, format);
                assert_eq!(
                    (fault.kind, fault.retry_after),
                    (wanted, Some(Duration::from_secs(7))),
                    "{format:?}"
                );
                assert!(fault.message.contains("your key [key] may not"), "{fault}");
            }
        }
    }
}

/// Goal: an answer without its terminal marker is never taken for a whole one. Method: an end after each piece of a
/// good answer, as a clean end and as a reset, for every format.
#[tokio::test]
async fn an_answer_that_ends_early_is_truncated() {
    for format in FORMATS {
        let frames = hello(format, "stop").frames(format);
        for count in 0..frames.len() {
            let row = format!("{count} of {} frames", frames.len());
            let cut = stream(format, &frames[..count]);
            assert_eq!(kind(&row, format, cut.clone()).await, Kind::Truncated, "{row} of {format:?}");
            let reset = [cut, vec![Act::Reset]].concat();
            let broken = kind(&row, format, reset).await;
            // A reset may overtake the end of what was written before it.
            assert!(
                [Kind::Unavailable, Kind::Unreachable].contains(&broken),
                "{row} of {format:?}: {broken:?}"
            );
        }
        let text = body(format).to_string();
        let half = &text[..text.len() / 2];
        let script = vec![head("200 OK", "application/json", ""), Act::Write(half.into())];
        let server = Scripted::start(vec![script]).await;
        let outcome = provider(format, &server).in_one_piece().complete(&call(), &mut |_| {}).await;
        assert_eq!(fault(outcome, "half a body", format).kind, Kind::Truncated, "{format:?}");
    }
}

/// Goal: a terminal marker alone is no end either. Method: the marker without a reason, where the two are apart.
#[tokio::test]
async fn a_marker_without_a_reason_is_no_end() {
    for format in [Format::Chat, Format::Messages] {
        let answer = hello(format, "stop");
        let frames = answer.first.iter().map(|data| frame(format, data)).chain(answer.marker);
        let script = stream(format, &frames.collect::<Vec<_>>());
        assert_eq!(kind("no reason", format, script).await, Kind::Truncated, "{format:?}");
    }
    let end = json!({"type": "response.completed", "response": {"output": []}});
    let script = stream(Format::Responses, &[frame(Format::Responses, &end)]);
    assert_eq!(kind("no status", Format::Responses, script).await, Kind::Truncated);
}

/// Goal: the tokens of an answer that broke off are booked. Method: the format that counts them at the beginning, and
/// the two that may count them before the end.
#[tokio::test]
async fn the_tokens_of_a_broken_answer_are_booked() {
    let messages = hello(Format::Messages, "stop").frames(Format::Messages);
    let cut =
        fault(ask(Format::Messages, stream(Format::Messages, &messages[..3])).await, "cut", Format::Messages);
    assert_eq!(cut.usage.map(|usage| usage.input), Some(11));
    let chat = hello(Format::Chat, "stop").frames(Format::Chat);
    let cut =
        fault(ask(Format::Chat, stream(Format::Chat, &chat[..chat.len() - 1])).await, "cut", Format::Chat);
    assert_eq!(cut.usage, Some(USAGE));
}

/// Goal: an answer that ran into its bound, and one that is a refusal, are told apart from a whole one, with their
/// tokens. Method: both, where the format has them.
#[tokio::test]
async fn a_bound_and_a_refusal_are_faults() {
    for format in FORMATS {
        let outcome = ask(format, hello(format, "length").script(format)).await;
        let limit = fault(outcome, "length", format);
        assert_eq!((limit.kind, limit.usage), (Kind::OutputLimit, Some(USAGE)), "{format:?}");
        if format != Format::Ollama {
            let refused =
                fault(ask(format, hello(format, "refusal").script(format)).await, "refusal", format);
            assert_eq!((refused.kind, refused.usage), (Kind::Refused, Some(USAGE)), "{format:?}");
        }
    }
}

/// Goal: an end that is not known to leave an answer whole leaves none, and a refusal is one however it ends. Method: the
/// ends of several servers that imitate a format, and shapes that none should send.
#[tokio::test]
async fn an_end_that_is_not_known_is_no_end() {
    let chat = |reason: &str, delta: serde_json::Value| {
        let mut answer = hello(Format::Chat, "stop");
        answer.first.push(json!({"choices": [{"delta": delta}]}));
        answer.end[0] = json!({"choices": [{"delta": {}, "finish_reason": reason}]});
        answer.script(Format::Chat)
    };
    let nothing = || json!({});
    for (reason, delta, wanted) in [
        ("insufficient_system_resource", nothing(), Kind::Truncated),
        ("error", nothing(), Kind::Truncated),
        ("model_length", nothing(), Kind::OutputLimit),
        ("stop", json!({"refusal": "no"}), Kind::Refused),
        ("stop", json!({"content": [{"type": "text", "text": "x"}]}), Kind::Malformed),
        (
            "tool_calls",
            json!({"tool_calls": [{"index": 0, "function": {"name": "x", "arguments": 3}}]}),
            Kind::Malformed,
        ),
    ] {
        assert_eq!(kind(reason, Format::Chat, chat(reason, delta)).await, wanted, "{reason}");
    }
    let failed = json!({"choices": [{"delta": {}, "error": {"code": "overloaded", "message": "later"}}]});
    let script = stream(Format::Chat, &[frame(Format::Chat, &failed)]);
    assert_eq!(kind("an error in a choice", Format::Chat, script).await, Kind::Overloaded);
    for data in
        ["[]", "3", "\"x\"", "{\"response\":[]}", "{\"response\":{\"status\":\"completed\",\"output\":[]}}"]
    {
        let said = json!({"type": "response.output_text.delta", "delta": "Hello"});
        let frames =
            [frame(Format::Responses, &said), format!("event: response.completed\ndata: {data}\n\n")];
        let found = kind(data, Format::Responses, stream(Format::Responses, &frames)).await;
        assert!([Kind::Malformed, Kind::Truncated].contains(&found), "{data}: {found:?}");
    }
    let mut answer = hello(Format::Messages, "stop");
    answer.end = vec![json!({"type": "message_delta", "delta": {"stop_reason": "what_else"}})];
    assert_eq!(kind("an end", Format::Messages, answer.script(Format::Messages)).await, Kind::Truncated);
    let loaded = json!({"message": {"content": ""}, "done": true, "done_reason": "load"});
    let script = stream(Format::Ollama, &[frame(Format::Ollama, &loaded)]);
    assert_eq!(kind("load", Format::Ollama, script).await, Kind::Truncated);
}

/// Goal: counts of tokens that nobody can have overflow nothing, and later events do not lose the cached ones. Method:
/// the largest numbers, and an event without the counts of the cache.
#[tokio::test]
async fn counts_of_tokens_are_bounded() {
    let mut answer = hello(Format::Messages, "stop");
    let usage =
        json!({"input_tokens": u64::MAX, "cache_read_input_tokens": 4, "cache_creation_input_tokens": 2});
    answer.first[0] = json!({"type": "message_start", "message": {"usage": usage}});
    let usage = json!({"input_tokens": 1, "output_tokens": u64::MAX});
    answer.end = vec![json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage})];
    let usage = ask(Format::Messages, answer.script(Format::Messages)).await.expect("an answer").usage;
    assert_eq!((usage.input, usage.cached, usage.output), (u64::MAX, 4, u64::MAX));
}

/// Goal: no part of a key is left where a message is cut. Method: a refusal whose words reach the cut within the key.
#[tokio::test]
async fn a_cut_leaves_no_part_of_the_key() {
    for before in 400..512 {
        let body = format!(r#"{{"error":{{"message":"{}{KEY}"}}}}"#, "x".repeat(before));
        let server = Scripted::start(vec![whole("401 Unauthorized", "application/json", "", &body)]).await;
        let outcome = provider(Format::Chat, &server).complete(&call(), &mut |_| {}).await;
        let fault = fault(outcome, "a long refusal", Format::Chat);
        assert!(!fault.message.contains("sk-") && fault.message.len() <= 512, "{fault}");
    }
}

/// Goal: an error inside of an answer is one. Method: each format's own.
#[tokio::test]
async fn an_error_in_the_stream_is_a_fault() {
    for (format, error) in [
        (Format::Chat, json!({"error": {"type": "overloaded_error", "message": "later"}})),
        (Format::Responses, json!({"type": "error", "code": "overloaded", "message": "later"})),
        (
            Format::Messages,
            json!({"type": "error", "error": {"type": "overloaded_error", "message": "later"}}),
        ),
    ] {
        let mut frames = hello(format, "stop").frames(format);
        frames.insert(1, frame(format, &error));
        assert_eq!(kind("an error", format, stream(format, &frames)).await, Kind::Overloaded, "{format:?}");
    }
    let failed = json!({"status": "failed", "error": {"code": "rate_limit_exceeded", "message": "later"}});
    let failed = json!({"type": "response.failed", "response": failed});
    let script = stream(Format::Responses, &[frame(Format::Responses, &failed)]);
    assert_eq!(kind("failed", Format::Responses, script).await, Kind::RateLimited);
    let script = stream(Format::Ollama, &["{\"error\":\"out of memory\"}\n".to_owned()]);
    assert_eq!(kind("an error", Format::Ollama, script).await, Kind::Unavailable);
}

/// Goal: what is not of the format is no answer, however well it ends. Method: broken JSON, another media type, other
/// JSON, bytes that are not UTF-8.
#[tokio::test]
async fn what_is_not_of_the_format_is_malformed() {
    for format in FORMATS {
        let break_in = |what: &[u8]| {
            let frames = hello(format, "stop").frames(format);
            let mut bytes = frames[0].clone().into_bytes();
            bytes.extend_from_slice(what);
            bytes.extend_from_slice(frames[1..].concat().as_bytes());
            vec![head("200 OK", media(format), ""), Act::Write(bytes)]
        };
        let data: &[u8] = if format == Format::Ollama { b"" } else { b"data: " };
        for broken in [&b"{\"choices\":[\n\n"[..], b"\xff\xfe\n\n"] {
            let script = break_in(&[data, broken].concat());
            assert_eq!(kind("broken", format, script).await, Kind::Malformed, "{format:?}");
        }
        let page = whole("200 OK", "text/html; charset=utf-8", "", "<html>please log in</html>");
        assert_eq!(kind("a page", format, page).await, Kind::Malformed, "{format:?}");
        let server = Scripted::start(vec![whole("200 OK", "application/json", "", "[1]")]).await;
        let outcome = provider(format, &server).in_one_piece().complete(&call(), &mut |_| {}).await;
        let fault = fault(outcome, "a list", format);
        assert!([Kind::Malformed, Kind::Truncated].contains(&fault.kind), "{format:?}: {fault:?}");
    }
}

/// Goal: tool calls that are not whole are never done. Method: arguments that came twice, that are no object, that
/// break off; a call with two names; more calls than anybody asks for, at places far out.
#[tokio::test]
async fn a_tool_call_that_is_not_whole_is_malformed() {
    for format in FORMATS {
        for pieces in [&["{\"a\":1}", "{\"a\":1}"][..], &["[1]"], &["{\"a\":"], &["rm -rf"]] {
            let script = tool(format, pieces).script(format);
            assert_eq!(kind("arguments", format, script).await, Kind::Malformed, "{format:?} {pieces:?}");
        }
    }
    let call = |index: u64, id: &str, name: &str| {
        let call = json!({"index": index, "id": id, "function": {"name": name, "arguments": "{}"}});
        json!({"choices": [{"delta": {"tool_calls": [call]}}]})
    };
    for first in
        [vec![call(0, "a", "add"), call(0, "b", "add")], vec![call(0, "a", "add"), call(0, "a", "drop")]]
    {
        let answer = crate::answers::Answer { first, ..tool(Format::Chat, &[]) };
        assert_eq!(kind("two names", Format::Chat, answer.script(Format::Chat)).await, Kind::Malformed);
    }
    let first = (0..200).map(|number| call(u64::MAX - number, "a", "add")).collect();
    let answer = crate::answers::Answer { first, ..tool(Format::Chat, &[]) };
    assert_eq!(kind("many", Format::Chat, answer.script(Format::Chat)).await, Kind::TooLarge);
}

/// Goal: an answer without end takes no memory without end. Method: one line of 2 MiB, and text without end.
#[tokio::test]
async fn an_answer_without_end_is_too_large() {
    for format in FORMATS {
        let line = vec![b'x'; 2 * 1024 * 1024];
        let script = vec![head("200 OK", media(format), ""), Act::Write(line)];
        assert_eq!(kind("a line", format, script).await, Kind::TooLarge, "{format:?}");
        let answer = hello(format, "stop");
        let said = answer
            .first
            .last()
            .expect("text")
            .to_string()
            .replace("\"lo\"", &format!("\"{}\"", "x".repeat(500_000)));
        let said = frame(format, &serde_json::from_str(&said).expect("JSON"));
        assert_eq!(kind("text", format, stream(format, &vec![said; 12])).await, Kind::TooLarge, "{format:?}");
    }
}

/// Goal: a server that says nothing is not waited for. Method: silence before the head, after it and within the
/// answer, and an answer that never ends.
#[tokio::test]
async fn silence_ends_at_its_timeout() {
    for format in FORMATS {
        let first = hello(format, "stop").frames(format)[0].clone();
        let begun = vec![head("200 OK", media(format), ""), Act::Write(first.into_bytes())];
        let (short, long) = (Duration::from_millis(100), LONG);
        let head_only = Timeouts { head: short, idle: long, whole: long };
        let idle = Timeouts { head: long, idle: short, whole: long };
        let all = Timeouts { head: long, idle: long, whole: short };
        for (timeouts, script) in
            [(head_only, vec![]), (idle, begun.clone()), (idle, begun[..1].to_vec()), (all, begun)]
        {
            let server = Scripted::start(vec![[script, vec![Act::Wait]].concat()]).await;
            let outcome = provider(format, &server).within(timeouts).complete(&call(), &mut |_| {}).await;
            assert_eq!(fault(outcome, "silence", format).kind, Kind::Timeout, "{format:?} {timeouts:?}");
        }
    }
    let mut nobody = Scripted::start(vec![vec![]]).await;
    nobody.url = "http://127.0.0.1:1/v1".into();
    let outcome = provider(Format::Chat, &nobody).complete(&call(), &mut |_| {}).await;
    assert_eq!(fault(outcome, "nobody", Format::Chat).kind, Kind::Unreachable);
}

/// Goal: a call that is canceled is not paid for: its connection is closed at once. Method: calls that are dropped
/// while the answer is under way, and before it begins.
#[tokio::test]
async fn a_dropped_call_closes_its_connection() {
    for format in FORMATS {
        let first = hello(format, "stop").frames(format)[0].clone();
        let begun = vec![head("200 OK", media(format), ""), Act::Write(first.into_bytes()), Act::Wait];
        for script in [begun, vec![Act::Wait]] {
            let mut server = Scripted::start(vec![script]).await;
            let provider = provider(format, &server);
            let (call, mut ignore) = (call(), |_| {});
            let mut asking = provider.complete(&call, &mut ignore);
            while server.asked().is_empty() {
                let looked = tokio::time::timeout(Duration::from_millis(5), &mut asking).await;
                assert!(looked.is_err(), "the answer does not end: {looked:?}");
            }
            let dropped = Instant::now();
            drop(asking);
            tokio::time::timeout(LONG, server.closed.recv()).await.expect("it is closed").expect("a server");
            let after = dropped.elapsed();
            assert!(after < Duration::from_millis(250), "{format:?} is closed after {after:?}");
        }
    }
}
