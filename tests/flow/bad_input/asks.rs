//! Asks, by `request` and directly to the partition: every mistake has its code.

use std::collections::BTreeMap;

use bus_client::{Bus, Profile};
use bus_schemas::{Body, CommandId, ContentType, EntityAddress, Reply, Revision, TraceContext};
use bytes::Bytes;
use futures::StreamExt;
use system_tests::raw::{Answer, Headers, Raw};
use system_tests::{PATIENCE, Server, eventually, probe, until_revision};
use uuid::Uuid;

use super::{COMMAND_BYTES_MAX, TOUCH, bad_entities, events, goes_on, nested, touch_of};

/// What is wrong, the headers, the body, and the code of the refusal.
type Case<'a> = (&'a str, Headers<'a>, Bytes, &'a str);

/// The two subjects on which an entity is asked.
fn ways(bus: &Bus, kind: &str, key: &str) -> [String; 2] {
    let partition = probe(key).partition(bus.topology().partitions);
    [format!("orrery.request.test.{kind}.{key}"), format!("orrery.ask.{partition}.test.{kind}.{key}")]
}

/// Asks until somebody listens: a host begins to forward a moment after it serves.
async fn code(raw: &Raw, subject: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> String {
    let body = body.into();
    eventually(&format!("an answer on `{subject}`"), || async {
        let answer = raw.request(subject, headers, body.clone()).await;
        (answer != Answer::Nobody).then(|| answer.code())
    })
    .await
}

/// Goal: a body that is no command is refused under one code whichever way it comes, and changes
/// nothing. Method: one request for each mistake on both ways, then a good one.
#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_no_command_are_refused() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("a", false).await;
    let (raw, bus) = (Raw::connect(&server).await, host.bus());
    let json = ("Content-Type", "application/json");
    let msgpack = ("Content-Type", "application/msgpack");
    let (own, line) = (("Content-Type", "application/x-msgpack"), ("Content-Type", "x/y; a=b"));
    let packed = rmp_serde::to_vec_named(&serde_json::json!({"type": "touch", "note": 7})).unwrap();
    let nan = [b"\x81\xa5input\xcb".as_slice(), &f64::NAN.to_be_bytes()].concat();
    let behind =
        [rmp_serde::to_vec_named(&serde_json::json!({"type": "touch"})).unwrap(), vec![0xff; 3]].concat();
    let cases: [Case<'_>; 22] = [
        ("nothing", &[], Bytes::new(), "malformed-command"),
        ("half of JSON", &[json], r#"{"type":"#.into(), "malformed-command"),
        ("two values", &[json], r#"{"type":"touch"} {}"#.into(), "malformed-command"),
        ("no object", &[json], "[]".into(), "malformed-command"),
        ("a list for an object", &[json], r#"["touch","n"]"#.into(), "malformed-command"),
        ("a field of a command without", &[json], r#"{"type":"panic","x":1}"#.into(), "malformed-command"),
        ("bytes behind MessagePack", &[msgpack], behind.into(), "malformed-command"),
        ("a number for a name", &[msgpack], Bytes::from_static(b"\x81\xa4type\x00"), "malformed-command"),
        ("a content type of its own", &[own], TOUCH.into(), "unsupported-content-type"),
        (
            "no UTF-8",
            &[json],
            Bytes::from_static(b"{\"type\":\"touch\",\"note\":\"\xff\"}"),
            "malformed-command",
        ),
        ("deep JSON", &[json], "[".repeat(100_000).into(), "malformed-command"),
        ("JSON one level too deep", &[json], nested(65).into(), "malformed-command"),
        (
            "MessagePack one level too deep",
            &[msgpack],
            [vec![0x91; 65], vec![0xc0]].concat().into(),
            "malformed-command",
        ),
        ("no number", &[msgpack], nan.into(), "malformed-command"),
        ("unknown command", &[json], r#"{"type":"fly"}"#.into(), "malformed-command"),
        ("unknown field", &[json], r#"{"type":"touch","extra":1}"#.into(), "malformed-command"),
        (
            "MessagePack that never ends",
            &[msgpack],
            Bytes::from_static(b"\xdf\xff\xff\xff\xff"),
            "malformed-command",
        ),
        ("MessagePack of another type", &[msgpack], packed.into(), "malformed-command"),
        ("JSON as MessagePack", &[msgpack], TOUCH.into(), "malformed-command"),
        ("one byte too many", &[], touch_of(COMMAND_BYTES_MAX + 1).into(), "too-large"),
        ("another content type", &[("Content-Type", "text/xml")], TOUCH.into(), "unsupported-content-type"),
        ("a content type with a line", &[line], TOUCH.into(), "unsupported-content-type"),
    ];
    for subject in ways(bus, "probe", "p") {
        for (what, headers, body, wanted) in &cases {
            assert_eq!(code(&raw, &subject, headers, body.clone()).await, *wanted, "{what} on `{subject}`");
        }
    }
    for subject in ways(bus, "unicorn", "p") {
        assert_eq!(code(&raw, &subject, &[], TOUCH).await, "unknown-kind", "{subject}");
    }
    assert!(events(bus, &probe("p")).await.is_empty(), "nothing happened");
    for (revision, subject) in (1..).zip(ways(bus, "probe", "p")) {
        let body = touch_of(COMMAND_BYTES_MAX);
        assert_eq!(code(&raw, &subject, &[], body).await, "accepted", "the largest command on `{subject}`");
        until_revision(bus, &probe("p"), Revision(revision)).await;
    }
    goes_on(bus, "p", 3).await;
    host.stop().await;
}

/// Goal: no text in a subject reaches another entity, or a place that is none. Method: each bad
/// entity on both ways; every answer is a refusal, and no stream has a new message.
#[tokio::test(flavor = "multi_thread")]
async fn subjects_that_name_no_entity_are_refused() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("a", false).await;
    let (raw, bus) = (Raw::insider(&server).await, host.bus());
    assert_eq!(code(&raw, "orrery.request.test.probe.p", &[], TOUCH).await, "accepted");
    until_revision(bus, &probe("p"), Revision(1)).await;
    let before = bus.events_state().await.unwrap().last_sequence;
    for entity in bad_entities() {
        for way in ["request.test", "ask.0.test"] {
            let subject = format!("orrery.{way}.{entity}");
            let answer = raw.request(&subject, &[], TOUCH).await.code();
            assert!(["bad-subject", "unsendable"].contains(&answer.as_str()), "{answer} on `{subject}`");
        }
    }
    for caller in ["", "*", "ä", "a$b", "dead-letter/x", &"c".repeat(65)] {
        for way in ["request", "ask.0"] {
            let answer = raw.request(&format!("orrery.{way}.{caller}.probe.p"), &[], TOUCH).await.code();
            // The server itself passes no empty token on.
            assert!(
                ["bad-subject", "unsendable", "nobody"].contains(&answer.as_str()),
                "{answer} for `{caller}`"
            );
        }
    }
    for subject in [
        "orrery.ask.0.test.",
        "orrery.request.test.probe.",
        "orrery.request.test..p",
        "orrery.request.test.probe.p..q",
    ] {
        let said = raw.protocol(&format!("PUB {subject} inbox {}\r\n{TOUCH}\r\n", TOUCH.len())).await;
        assert!(said.contains("PONG") || said.contains("-ERR"), "`{subject}`: {said}");
    }
    let injected = format!("PUB orrery.request.test.probe.a b c {}\r\n{TOUCH}\r\n", TOUCH.len());
    let said = raw.protocol(&injected).await;
    assert!(!said.contains("PONG"), "the server ends the connection of a subject with spaces: {said}");
    let wrong = (probe("p").partition(8).0 + 1) % 8;
    let elsewhere = raw.request(&format!("orrery.ask.{wrong}.test.probe.p"), &[], TOUCH).await;
    assert_eq!(elsewhere.code(), "wrong-partition", "another partition does not answer for `p`");
    assert_eq!(bus.events_state().await.unwrap().last_sequence, before, "nothing happened");
    goes_on(bus, "p", 2).await;
    host.stop().await;
}

/// Goal: an id names one command for ever, whichever way it comes; without an id every ask is a new
/// one. Method: the same id with other bodies on both ways, in both headers, and none at all.
#[tokio::test(flavor = "multi_thread")]
async fn ids_are_kept_and_may_be_missing() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("a", false).await;
    let (raw, bus) = (Raw::connect(&server).await, host.bus());
    let [request, ask] = ways(bus, "probe", "p");
    let revision = |answer: Answer| match answer {
        Answer::Reply(Reply::Accepted { revision, .. }) => revision.0,
        other => panic!("not accepted: {other:?}"),
    };
    for (number, header) in (1..).zip(["Orrery-Command-Id", "Nats-Msg-Id"]) {
        let id = [(header, "order 66/ä")];
        let id = if number == 1 { id } else { [(header, "another order")] };
        assert_eq!(code(&raw, &request, &id, TOUCH).await, "accepted");
        assert_eq!(revision(raw.request(&ask, &id, TOUCH).await), number, "the first answer again");
        let other = r#"{"type":"touch","note":"other"}"#;
        for way in [&request, &ask] {
            assert_eq!(raw.request(way, &id, other).await.code(), "command-id-reused", "{header} on `{way}`");
        }
    }
    for (number, way) in (3..).zip([&request, &ask, &request]) {
        assert_eq!(revision(raw.request(way, &[], TOUCH).await), number, "without id on `{way}`");
    }
    host.stop().await;
}

/// Goal: a malformed `traceparent` is as good as none, as W3C wants it, and a good one is kept.
/// Method: one ask for each mistake; the events tell.
#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_traceparent_is_ignored() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("a", false).await;
    let (raw, bus) = (Raw::connect(&server).await, host.bus());
    let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let bad = [
        "nonsense",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
    ];
    for trace in bad.into_iter().chain([good]) {
        for subject in ways(bus, "probe", "p") {
            assert_eq!(code(&raw, &subject, &[("traceparent", trace)], TOUCH).await, "accepted", "{trace}");
        }
    }
    until_revision(bus, &probe("p"), Revision(16)).await;
    let kept: Vec<_> = bus
        .history(&probe("p"), Revision(0), 0)
        .await
        .unwrap()
        .into_iter()
        .map(|stored| stored.traceparent)
        .collect();
    assert_eq!(kept[..14], vec![None; 14]);
    assert_eq!(kept[14..], vec![Some(good.to_owned()); 2]);
    host.stop().await;
}

/// One ask in a message of several, as docs/protocol.md describes it.
type Entry = (CommandId, EntityAddress, bool, Body, Option<CommandId>, Option<TraceContext>);

fn entry(key: &str, body: &str) -> Entry {
    let body = Body { content_type: ContentType::Json, bytes: Bytes::copy_from_slice(body.as_bytes()) };
    (CommandId(Uuid::now_v7()), probe(key), false, body, None, None)
}

/// The codes of all replies to a message, by command.
async fn codes(raw: &Raw, subject: &str, payload: Vec<u8>, count: usize) -> BTreeMap<CommandId, String> {
    let inbox = raw.client.new_inbox();
    let mut messages = raw.client.subscribe(inbox.clone()).await.expect("an inbox");
    raw.request_to(subject, &inbox, payload).await;
    let mut codes = BTreeMap::new();
    while codes.len() < count {
        let message =
            tokio::time::timeout(PATIENCE, messages.next()).await.expect("in time").expect("a reply");
        let replies: Vec<Reply> = serde_json::from_slice(&message.payload).expect("an array of replies");
        codes.extend(replies.into_iter().map(|reply| (reply.command_id(), Answer::Reply(reply).code())));
    }
    codes
}

/// Goal: asks that share a message are taken as if each had come alone, and what is wrong with a message is said.
/// Method: good and bad ones in one message, one of another partition, then messages that are no asks.
#[tokio::test(flavor = "multi_thread")]
async fn asks_that_share_a_message_are_asks_of_their_own() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("a", false).await;
    let raw = Raw::connect(&server).await;
    let elsewhere = (0..).map(|number| format!("elsewhere-{number}"));
    let elsewhere = elsewhere.into_iter().find(|key| probe(key).partition(8) != probe("p").partition(8));
    let subject = format!("orrery.batch.{}.me", probe("p").partition(8));
    let asks = [
        entry("p", TOUCH),
        entry("p", "rubbish"),
        entry(&elsewhere.expect("eight partitions fill up"), TOUCH),
        entry("p", TOUCH),
        entry("p", &touch_of(COMMAND_BYTES_MAX + 1)),
    ];
    let payload = rmp_serde::to_vec(&asks).expect("plain data");
    let codes_of = codes(&raw, &subject, payload, asks.len()).await;
    let said: Vec<&str> = asks.iter().map(|(id, ..)| codes_of[id].as_str()).collect();
    assert_eq!(said, ["accepted", "malformed-command", "wrong-partition", "accepted", "too-large"]);
    let many: Vec<Entry> = (0..257).map(|_| entry("p", TOUCH)).collect();
    let many = rmp_serde::to_vec(&many).expect("plain data");
    for payload in [many, b"rubbish".to_vec(), Vec::new()] {
        let said = codes(&raw, &subject, payload, 1).await;
        assert_eq!(said.into_values().collect::<Vec<_>>(), ["malformed-command"]);
    }
    goes_on(host.bus(), "p", 3).await;
    host.stop().await;
}
