//! What is handed over and cannot be done: nobody waits for an answer, so it becomes a dead letter.

use bus_client::{Bus, Profile};
use bus_schemas::{CommandId, Revision};
use bytes::Bytes;
use system_tests::raw::{Headers, Raw, dead_letter, dead_payload};
use system_tests::{Server, accepted, probe, until_revision};

use super::{COMMAND_BYTES_MAX, TOUCH, bad_entities, events, goes_on, neighbour, touch_of};

/// The id, the entity, the headers, the body, the dead letter's class, and the kind its bytes lie under.
type Case<'a> = (&'a str, &'a str, Headers<'a>, Bytes, &'a str, &'a str);

/// Asserts that a command lies among the dead letters, under its class and with its bytes.
async fn is_dead(bus: &Bus, id: &str, class: &str, kind: &str, payload: &[u8]) {
    let id = CommandId::from_text(id);
    let letter = dead_letter(bus, id).await;
    assert_eq!((letter.class.as_str(), letter.command_id), (class, id), "{}", letter.reason);
    assert!(!letter.reason.is_empty());
    let kept = dead_payload(bus, kind, &id.0.simple().to_string()).await;
    assert!(kept == payload, "{} bytes are kept of {}", kept.len(), payload.len());
}

/// Goal: nothing that JetStream acknowledged is lost, however wrong it is. Method: each mistake once,
/// between good commands; every one is found again by its id, with its class and its bytes.
#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_done_becomes_a_dead_letter() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("a", false).await;
    let (raw, bus) = (Raw::connect(&server).await, host.bus());
    let msgpack = ("Content-Type", "application/msgpack");
    let cases: [Case<'_>; 13] = [
        ("half", "probe.p", &[], r#"{"type":"#.into(), "malformed-command", "probe"),
        ("list", "probe.p", &[], r#"["touch","n"]"#.into(), "malformed-command", "probe"),
        (
            "behind",
            "probe.p",
            &[msgpack],
            Bytes::from_static(b"\x81\xa4type\xa5touch\xff\xff\xff"),
            "malformed-command",
            "probe",
        ),
        ("empty", "probe.p", &[], Bytes::new(), "malformed-command", "probe"),
        ("unknown", "probe.p", &[], r#"{"type":"fly"}"#.into(), "malformed-command", "probe"),
        ("packed", "probe.p", &[msgpack], Bytes::from_static(b"\xc1"), "malformed-command", "probe"),
        ("child", "probe.p.q", &[], "[]".into(), "malformed-command", "probe"),
        ("kind", "unicorn.p", &[], TOUCH.into(), "unknown-kind", "unknown"),
        (
            "xml",
            "probe.p",
            &[("Content-Type", "text/xml")],
            "<touch/>".into(),
            "unsupported-content-type",
            "unknown",
        ),
        ("large", "probe.p", &[], touch_of(COMMAND_BYTES_MAX + 1).into(), "too-large", "unknown"),
        ("poison", "probe.p", &[], r#"{"type":"panic"}"#.into(), "poison", "probe"),
        ("letter", "dead-letter.d", &[], r#"{"type":"fly"}"#.into(), "malformed-command", "dead-letter"),
        ("nobody", "dead-letter.e", &[], r#"{"type":"drop"}"#.into(), "refused", "dead-letter"),
    ];
    for (revision, (name, entity, headers, body, _, _)) in (1..).zip(&cases) {
        let headers = [&[("Orrery-Command-Id", *name)], *headers].concat();
        raw.store(&format!("orrery.do.test.{entity}"), &headers, body.clone()).await.expect("it is stored");
        raw.store("orrery.do.test.probe.p", &[], TOUCH).await.expect("it is stored");
        until_revision(bus, &probe("p"), Revision(revision)).await;
    }
    for (name, entity, _, body, class, kind) in &cases {
        is_dead(bus, name, class, kind, body).await;
        let letter = dead_letter(bus, CommandId::from_text(name)).await;
        assert_eq!(format!("{}.{}", letter.kind, letter.key), *entity, "{name}: whom it was meant for");
    }
    assert_eq!(events(bus, &probe("p")).await, vec!["touched"; cases.len()]);
    goes_on(bus, "p", cases.len() as u64 + 1).await;
    host.stop().await;
}

/// Goal: a subject that names no entity is kept with its payload, and opens no way to others. Method:
/// each bad entity once; those that the server stores are dead letters, and the others were refused.
#[tokio::test(flavor = "multi_thread")]
async fn bad_subjects_become_dead_letters() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("a", false).await;
    let (raw, bus) = (Raw::connect(&server).await, host.bus());
    let mut kept = 0;
    for (number, entity) in bad_entities().iter().enumerate() {
        let id = format!("bad {number}");
        let body = format!(r#"{{"type":"touch","note":"{number}"}}"#);
        let headers = [("Orrery-Command-Id", id.as_str())];
        if raw.store(&format!("orrery.do.test.{entity}"), &headers, body.clone()).await.is_some() {
            is_dead(bus, &id, "bad-subject", "unknown", body.as_bytes()).await;
            kept += 1;
        }
    }
    assert!(kept >= 6, "only {kept} were stored");
    let before = stored(bus).await;
    for subject in [
        "orrery.do.test.",
        "orrery.do.test..p",
        "orrery.do.test.probe.",
        "orrery.do.test.probe..p",
        "orrery.do.test.probe.p q r",
    ] {
        let said = raw.protocol(&format!("PUB {subject} inbox {}\r\n{TOUCH}\r\n", TOUCH.len())).await;
        assert!(!said.contains("\"seq\""), "`{subject}` was acknowledged: {said}");
    }
    assert_eq!(stored(bus).await, before, "none was stored");
    for key in ["p", "a"] {
        assert!(events(bus, &probe(key)).await.is_empty());
        goes_on(bus, key, 1).await;
    }
    host.stop().await;
}

/// Goal: a message that the client library cannot read, and closes the connection on, stops no partition and is lost
/// nowhere. Method: bad headers and a bad subject between good commands, before and while a host runs.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_client_library_cannot_read_stops_nothing() {
    let server = Server::start(Profile::Fast).await;
    server.host("first", false).await.stop().await;
    let (raw, bus) = (Raw::connect(&server).await, server.bus().await);
    let hand_over = async |subject: &[u8], headers: &[u8]| {
        let headers = [b"NATS/1.0", headers, b"\r\n\r\n"].concat();
        let lengths = format!(" {} {}\r\n", headers.len(), headers.len() + TOUCH.len());
        let parts: [&[u8]; 6] =
            [b"HPUB orrery.do.test.probe.", subject, lengths.as_bytes(), &headers, TOUCH.as_bytes(), b"\r\n"];
        assert!(!raw.protocol(parts.concat()).await.contains("-ERR"));
    };
    let bad: [&[u8]; 5] =
        [b"\r\nNote: caf\xe9", b"\r\ncaf\xe9: x", b"\r\nno colon", b"\r\ntwo words: x", b" what"];
    for headers in bad {
        hand_over(b"p", headers).await;
    }
    hand_over(b"caf\xe9", b"\r\nOrrery-Command-Id: before").await;
    let host = server.host("a", false).await;
    until_revision(&bus, &probe("p"), Revision(5)).await;
    is_dead(&bus, "before", "bad-subject", "unknown", TOUCH.as_bytes()).await;
    for headers in bad {
        hand_over(b"p", headers).await;
        hand_over(b"p", b"\r\nNote: good").await;
    }
    hand_over(b"caf\xe9", b"\r\nOrrery-Command-Id: meanwhile").await;
    until_revision(&bus, &probe("p"), Revision(15)).await;
    is_dead(&bus, "meanwhile", "bad-subject", "unknown", TOUCH.as_bytes()).await;
    goes_on(&bus, "p", 16).await;
    host.stop().await;
}

/// How many commands were ever stored.
async fn stored(bus: &Bus) -> u64 {
    let mut stored = 0;
    for inbox in bus.topology().inboxes() {
        stored += bus.state_of(&inbox).await.unwrap().last_sequence;
    }
    stored
}

/// Goal: an id is applied once, and what came under a used id is kept. Method: the same id twice as
/// JetStream sees it, then behind its back with the same and with another body, and no id at all.
#[tokio::test(flavor = "multi_thread")]
async fn ids_of_durable_commands() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("a", false).await;
    let (raw, bus) = (Raw::connect(&server).await, host.bus());
    let both = [("Nats-Msg-Id", "one")];
    let first = raw.store("orrery.do.test.probe.p", &both, TOUCH).await;
    assert_eq!(raw.store("orrery.do.test.probe.p", &both, TOUCH).await, first, "JetStream drops the repeat");
    until_revision(bus, &probe("p"), Revision(1)).await;
    let own = [("Orrery-Command-Id", "one")];
    raw.store("orrery.do.test.probe.p", &own, TOUCH).await.expect("it is stored");
    let other = r#"{"type":"touch","note":"other"}"#;
    let place = raw.store("orrery.do.test.probe.p", &own, other).await.expect("it is stored");
    let partition = probe("p").partition(bus.topology().partitions);
    is_dead(bus, &format!("inbox {partition} {place}"), "command-id-reused", "probe", other.as_bytes()).await;
    for _ in 0..2 {
        raw.store("orrery.do.test.probe.p", &[], TOUCH).await.expect("it is stored");
    }
    until_revision(bus, &probe("p"), Revision(3)).await;
    goes_on(bus, "p", 4).await;
    let first =
        bus_client::Ask::new(probe("p"), bus_schemas::Body::json(&serde_json::json!({"type": "touch"})));
    let repeated = first.with_id(CommandId::from_text("one"));
    assert_eq!(accepted(bus, &repeated).await, Revision(1), "the id still has its first answer");
    host.stop().await;
}

/// Goal: a dead letter survives its host as everything does. Method: bad and good commands wait while
/// no host is there; the host that comes deals with all of them in order.
#[tokio::test(flavor = "multi_thread")]
async fn bad_commands_wait_for_a_host_too() {
    let server = Server::start(Profile::Fast).await;
    let (raw, bus) = (Raw::connect(&server).await, server.bus().await);
    let other = neighbour("p");
    for number in 0..10 {
        let id = format!("bad {number}");
        raw.store("orrery.do.test.probe.p", &[("Orrery-Command-Id", &id)], "{").await.expect("it is stored");
        raw.store(&format!("orrery.do.test.probe.{other}"), &[], TOUCH).await.expect("it is stored");
    }
    let host = server.host("a", false).await;
    until_revision(&bus, &probe(&other), Revision(10)).await;
    for number in 0..10 {
        is_dead(&bus, &format!("bad {number}"), "malformed-command", "probe", b"{").await;
    }
    goes_on(&bus, "p", 1).await;
    host.stop().await;
}
