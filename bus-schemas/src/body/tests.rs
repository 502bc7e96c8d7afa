//! Bodies that are accepted as commands, and bodies that only look like one.

use serde_json::json;

use super::*;
use crate::claims::Claim;
use crate::commands::{breaker, chaos, dead_letter, lane, probe, queue, redrive, schedule, task};

fn body(content_type: ContentType, bytes: impl Into<Bytes>) -> Body {
    Body { content_type, bytes: bytes.into() }
}

fn text(text: &str) -> Body {
    body(ContentType::Json, text.to_owned())
}

fn packed(value: &serde_json::Value) -> Vec<u8> {
    rmp_serde::to_vec(value).unwrap()
}

#[test]
fn what_only_looks_like_a_command_is_refused_in_both_languages() {
    let artifact = json!({"name": "a", "media_type": "text/plain", "hash": "00".repeat(32), "bytes": 1});
    let list = json!(["a", "text/plain", "00".repeat(32), 1, ""]);
    let complete =
        |artifact| json!({"type": "complete-job", "attempt": 1, "token": "t", "artifacts": [artifact]});
    let plan = |step| json!({"type": "submit", "goal": "g", "plan": {"steps": [step]}});
    let step = json!({"step": "a", "goal": "g", "skill": "s"});
    let mut coloured = artifact.clone();
    coloured["colour"] = 1.into();
    let fail = |class| json!({"type": "fail-job", "attempt": 1, "token": "t", "class": class, "code": "c", "message": "m"});
    let good = [complete(&artifact), plan(&step), fail(json!("transient"))];
    let bad = [
        json!(["sweep"]),
        json!(["submit", "g"]),
        json!(["submit", {"goal": "g"}]),
        json!({"type": 0, "goal": "g"}),
        json!({"type": "sweep", "colour": 1}),
        json!({"type": "expire-deadline", "attempt": 1}),
        json!({"type": "submit", "goal": "g", "colour": 1}),
        complete(&list),
        complete(&coloured),
        plan(&json!(["a", "g", "s", null, [], false])),
        fail(json!({"transient": null})),
        json!({"type": "reserve", "reservation": "r", "task": "t", "amount": [1, 2, 3, 4], "lease_ms": 1000}),
        json!({"type": "submit", "goal": "g", "budget": [null, null, null, null, null]}),
        json!({"type": "submit", "goal": "g", "plan": [[]]}),
    ];
    for value in &good {
        for body in [text(&value.to_string()), body(ContentType::Msgpack, packed(value))] {
            body.read_strictly::<task::Command>().unwrap_or_else(|error| panic!("{value}: {error}"));
        }
    }
    for value in &bad {
        for body in [text(&value.to_string()), body(ContentType::Msgpack, packed(value))] {
            let read = body.read_strictly::<task::Command>();
            assert!(read.is_err(), "{:?} is taken for {:?}", value, read);
        }
    }
    // A field of any JSON accepts any JSON.
    let any = json!({"type": "submit", "goal": "g", "input": [[{"a": [1, null]}], {"b": {}}]});
    assert!(text(&any.to_string()).read_strictly::<task::Command>().is_ok());
}

#[test]
fn commands_and_queries_without_fields_have_none() {
    fn check<T: Serialize + for<'de> Deserialize<'de>>(names: &[&str]) {
        for name in names {
            let alone = json!({ "type": name });
            let more = json!({"type": name, "colour": 1});
            for value in [&alone, &more] {
                for body in [text(&value.to_string()), body(ContentType::Msgpack, packed(value))] {
                    assert_eq!(body.read_strictly::<T>().is_ok(), value == &alone, "{value}");
                }
            }
        }
    }
    check::<task::Command>(&["expire-deadline", "expire-wall-clock", "expire-reservations", "sweep"]);
    check::<task::Query>(&["describe", "explain", "wait"]);
    check::<schedule::Command>(&["pause", "resume", "delete"]);
    check::<lane::Command>(&["wake"]);
    check::<lane::Query>(&["describe"]);
    check::<breaker::Command>(&["end-open", "renew-probes"]);
    check::<breaker::Query>(&["describe"]);
    check::<redrive::Command>(&["send-next"]);
    check::<chaos::Command>(&["fill", "end"]);
    check::<chaos::Query>(&["describe"]);
    check::<probe::Command>(&["panic", "touch"]);
    check::<queue::Query>(&["describe"]);
    check::<dead_letter::Query>(&["describe"]);
    check::<crate::commands::agent::Query>(&["describe"]);
    check::<crate::commands::settings::Query>(&["describe", "history"]);
}

#[test]
fn one_value_with_names_is_a_body() {
    let touch = packed(&json!({"type": "touch"}));
    let msgpack = |bytes: Vec<u8>| body(ContentType::Msgpack, bytes);
    assert!(msgpack(touch.clone()).read_strictly::<probe::Command>().is_ok());
    for (what, bytes) in [
        ("bytes behind it", [touch.clone(), vec![0xff; 3]].concat()),
        ("another value behind it", [touch.clone(), touch.clone()].concat()),
        ("a number for a name", b"\x82\xa4type\xa5touch\x00\xa1n".to_vec()),
        ("bytes for a name", b"\x81\xc4\x04type\xa5touch".to_vec()),
        ("a number for a word", b"\x81\xa4type\x00".to_vec()),
        ("an extension", b"\x82\xa4type\xa5touch\xa4note\xd4\x01\x00".to_vec()),
    ] {
        assert!(msgpack(bytes).read_strictly::<probe::Command>().is_err(), "{what}");
    }
    // Ids and hashes may be bytes.
    let hash = [b"\x85\xa4name\xa1a\xaamedia_type\xa1b\xa4hash\xc4\x20".as_slice(), &[7; 32]].concat();
    let artifact = [hash, b"\xa5bytes\x01\xa4step\xa0".to_vec()].concat();
    let complete =
        [b"\x84\xa4type\xaccomplete-job\xa7attempt\x01\xa5token\xa1t\xa9artifacts\x91".to_vec(), artifact]
            .concat();
    assert!(msgpack(complete).read_strictly::<task::Command>().is_ok());
    for bad in
        [r#"{"type":"touch"} {}"#, "\u{feff}{\"type\":\"touch\"}", r#"["touch"]"#, r#""touch""#, "7", "null"]
    {
        assert!(text(bad).read_strictly::<probe::Command>().is_err(), "{bad}");
    }
    let claim = json!(["w", 0, ["s"], 1, false, ["default"]]);
    assert!(text(&claim.to_string()).read_strictly::<Claim>().is_err(), "a list is no claim");
    for (name, known) in [
        ("application/json; charset=utf-8", Some(ContentType::Json)),
        ("Application/MsgPack", Some(ContentType::Msgpack)),
        ("application/x-msgpack", None),
        ("application/vnd.msgpack", None),
        ("text/json", None),
    ] {
        assert_eq!(ContentType::parse(name), known, "{name}");
    }
}

/// Goal: who sends a wrong body learns what is wrong, in the words of JSON. Method: a list for the whole body, and
/// wrong values below it, which the decoder or the comparison finds; in both languages.
#[test]
fn a_mistake_is_named_with_its_place_and_the_json_type() {
    let submit = |field: &str, value: serde_json::Value| json!({"type": "submit", "goal": "g", field: value});
    let steps = json!({"steps": [{"step": "a", "goal": "g", "skill": "s", "after": {}}]});
    let claim = json!({"worker": "w", "skills": ["s"], "places": "one", "lanes": ["default"]});
    let mistake = |value: &serde_json::Value| {
        [text(&value.to_string()), body(ContentType::Msgpack, packed(value))].map(|body| {
            let command = body.read_strictly::<task::Command>().expect_err("no command").to_string();
            (command, body.read_strictly::<Claim>().expect_err("no claim").to_string())
        })
    };
    for (value, words) in [
        (json!(["submit", "g"]), "the body must be an object, and is an array"),
        (json!("submit"), "the body must be an object, and is a string"),
        (submit("budget", json!([null, null])), "an object"),
        (submit("plan", steps), "expected an array"),
    ] {
        for (command, _) in mistake(&value) {
            assert!(command.contains(words), "{value}: {command}");
            assert!(
                !["struct", "enum", "element", "Submit"].iter().any(|word| command.contains(word)),
                "{command}"
            );
        }
    }
    let expected = ["expected a whole number", "another type is expected"];
    for ((_, claimed), expected) in mistake(&claim).iter().zip(expected) {
        assert!(claimed.starts_with("`places`: ") && claimed.contains(expected), "{claimed}");
    }
}
