//! Many dead letters redriven at a rate.

use std::collections::BTreeSet;

use bus_client::{Bus, Profile};
use bus_schemas::commands::redrive::Command;
use bus_schemas::events::redrive::Event;
use bus_schemas::wire::WireCommand;
use bus_schemas::{EntityAddress, Key, Revision, upcast};
use serde_json::{Value, json};
use system_tests::edge::Edge;
use system_tests::{Server, eventually};

use super::poison;

/// Everything that has happened to a redrive.
async fn history(bus: &Bus, name: &str) -> Vec<Event> {
    let redrive = EntityAddress::new(Command::KIND, Key::parse(name).expect("a test's key"));
    let stored = bus.history(&redrive, Revision(0), 0).await.expect("the events");
    let read =
        |event: &bus_schemas::record::Event| upcast::read(&event.event_type, event.schema, &event.body);
    stored.iter().map(|stored| read(&stored.event).expect("a known event")).collect()
}

/// A redrive, once it is as wanted.
async fn until(edge: &Edge, name: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    eventually(&format!("`{name}` to be {what}"), || async {
        let (_, redrive) = edge.get(&format!("/v1/redrives/{name}")).await;
        wanted(&redrive).then_some(redrive)
    })
    .await
}

/// Goal: a redrive survives its host, and neither loses an entry nor sends one twice, nor is faster
/// than it was told. Method: poison of two keys; one key's are redriven at five a second; it is paused
/// in the middle, its host ends, another one comes, and it is resumed.
#[tokio::test(flavor = "multi_thread")]
async fn a_redrive_survives_its_host_and_keeps_its_rate() {
    let server = Server::start(Profile::Durable).await;
    let first = server.host("a", false).await;
    let bus = server.bus().await;
    let edge = Edge::start(&bus, &server.directory().join("gateway")).await;
    let mut meant = BTreeSet::new();
    for number in 0..12 {
        meant.insert(poison(&bus, &format!("meant-{number}")).await);
    }
    let other = poison(&bus, "other").await;
    edge.caught_up(&bus).await;
    let body = json!({"name": "c", "class": "poison", "kind": "probe", "key": "meant-", "rate": 5});
    let (status, started) = edge.post("/v1/redrives", &body).await;
    assert_eq!((status, &started["rate"]), (201, &5.into()), "{started}");
    let (status, _) = edge.post("/v1/redrives", &body).await;
    assert_eq!(status, 200, "the same again is the same one");
    until(&edge, "c", "begun", |redrive| redrive["sent"].as_u64() >= Some(2)).await;
    let (status, paused) = edge.post("/v1/redrives/c/pause", &json!({})).await;
    assert_eq!((status, &paused["state"]), (200, &"paused".into()), "{paused}");
    let sent = until(&edge, "c", "at rest", |redrive| redrive["returned"] == redrive["sent"]).await;
    first.stop().await;
    let second = server.host("b", false).await;
    let (_, still) = edge.get("/v1/redrives/c").await;
    assert_eq!((&still["state"], &still["sent"]), (&"paused".into(), &sent["sent"]), "{still}");
    assert!(still["sent"].as_u64() < Some(12), "it was paused in the middle: {still}");
    let (status, _) = edge.post("/v1/redrives/c/resume", &json!({})).await;
    assert_eq!(status, 200);
    let done = until(&edge, "c", "completed", |redrive| redrive["state"] == "completed").await;
    assert_eq!((&done["entries"], &done["returned"]), (&12.into(), &12.into()), "{done}");

    let mut times = Vec::new();
    let mut entries = BTreeSet::new();
    for event in history(&bus, "c").await {
        if let Event::EntriesSent { entries: some, at } = event {
            assert_eq!(some.len(), 1);
            times.push(at.0);
            assert!(some.iter().all(|entry| entries.insert(entry.to_string())), "sent twice: {some:?}");
        }
    }
    assert_eq!(entries, meant);
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= 200), "five a second: {times:?}");
    let (_, other) = edge.get(&format!("/v1/dead-letters/{other}")).await;
    assert_eq!((&other["redrives"], &other["state"]), (&0.into(), &"waiting".into()), "{other}");
    edge.stop().await;
    second.stop().await;
}

/// Goal: over HTTP as on the bus: edit, redrive, drop, and a redrive that is canceled. Method: each
/// once, with the answers that a client sees.
#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_worked_with_over_http() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("a", false).await;
    let edge = Edge::start(host.bus(), &server.directory().join("gateway")).await;
    let (one, two) = (poison(host.bus(), "p").await, poison(host.bus(), "p").await);
    edge.caught_up(host.bus()).await;
    let path = format!("/v1/dead-letters/{one}");
    let edit = edge.request(reqwest::Method::PUT, &format!("{path}/payload"));
    let edit = edit.json(&json!({"json": {"type": "touch"}, "reason": "mended"}));
    let (status, edited) = system_tests::edge::answer(edit).await;
    assert_eq!((status, &edited["edits"]), (200, &1.into()), "{edited}");
    let (_, shown) = edge.get(&path).await;
    let content = |name: &str| shown[name]["content"].clone();
    assert_eq!(
        (content("payload"), content("edited")),
        (json!(r#"{"type":"panic"}"#), json!(r#"{"type":"touch"}"#))
    );
    let (status, _) = edge.post(&format!("{path}/redrive"), &json!({})).await;
    assert_eq!(status, 200);
    let done = eventually("the redrive", || async {
        let (_, letter) = edge.get(&path).await;
        (letter["state"] == "redriven").then_some(letter)
    })
    .await;
    assert_eq!(done["by"], "ada", "{done}");
    let (status, problem) = edge.post(&format!("{path}/redrive"), &json!({})).await;
    assert_eq!((status, &problem["code"]), (409, &"not-waiting".into()), "{problem}");
    let (status, dropped) = edge.post(&format!("/v1/dead-letters/{two}/drop"), &json!({})).await;
    assert_eq!((status, &dropped["state"]), (200, &"dropped".into()), "{dropped}");
    let export = edge.request(reqwest::Method::GET, "/v1/dead-letters/export?class=poison").send().await;
    let export = export.expect("an answer");
    assert_eq!(
        (export.status().as_u16(), &export.headers()["content-type"]),
        (200, &"application/x-ndjson".parse().unwrap())
    );
    let text = export.text().await.expect("a whole answer");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let known: Vec<&Value> = lines.iter().map(|line| &line["entry"]).collect();
    assert_eq!(known, [&two, &one], "newest first");
    assert_eq!(lines[1]["edited"]["content"], r#"{"type":"touch"}"#, "{text}");
    assert_eq!(lines[1]["payload"]["content"], r#"{"type":"panic"}"#, "{text}");
    let (status, problem) = edge.get("/v1/dead-letters/export?colour=red").await;
    assert_eq!((status, &problem["code"]), (400, &"invalid-query".into()), "{problem}");
    let (status, problem) = edge.post("/v1/dead-letters/nothing/redrive", &json!({})).await;
    assert_eq!((status, &problem["code"]), (404, &"dead-letter-not-found".into()), "{problem}");

    let (status, problem) = edge.post("/v1/redrives", &json!({})).await;
    assert_eq!((status, &problem["code"]), (422, &"invalid-body".into()), "{problem}");
    let (status, problem) = edge.post("/v1/redrives", &json!({"all": true, "rate": 1_001})).await;
    assert_eq!((status, &problem["code"]), (422, &"invalid-rate".into()), "{problem}");
    let (_, empty) = edge.post("/v1/redrives", &json!({"all": true})).await;
    let id = empty["id"].as_str().expect("a name");
    let ended = until(&edge, id, "completed", |redrive| redrive["state"] == "completed").await;
    assert_eq!(ended["entries"], 0, "nothing waits: {ended}");
    let (status, problem) = edge.post(&format!("/v1/redrives/{id}/cancel"), &json!({})).await;
    assert_eq!((status, &problem["code"]), (409, &"redrive-final".into()), "{problem}");
    let (_, list) = edge.get("/v1/redrives").await;
    assert_eq!(list["redrives"].as_array().map(Vec::len), Some(1), "{list}");
    edge.stop().await;
    host.stop().await;
}
