//! projections: a view is what the log says, from wherever it is built, and damage is named.

use actors_core::Entity;
use actors_logic::task::{self, Task};
use bus_client::{Bus, Profile};
use bus_schemas::commands::task::Command;
use bus_schemas::record::CommitRecord;
use bus_schemas::{EntityAddress, LogSequence, upcast};
use futures::TryStreamExt;
use serde_json::{Value, json};
use system_tests::agents::{planned, settled, step, task as address};
use system_tests::edge::Edge;
use system_tests::raw::Raw;
use system_tests::{Server, accepted, command};

/// A task as the commit records of its partition tell it.
async fn told_by_the_log(bus: &Bus, entity: &EntityAddress) -> Value {
    let mut records = bus
        .records_after(entity.partition(bus.topology().partitions), LogSequence(0))
        .await
        .expect("the log");
    let mut state = task::State::default();
    while let Some(entry) = records.try_next().await.expect("a record") {
        let record = CommitRecord::decode(&entry.record).expect("a record");
        for turn in record.turns.iter().filter(|turn| turn.entity == *entity) {
            for event in &turn.events {
                let event = upcast::read(&event.event_type, event.schema, &event.body).expect("an event");
                Task::fold(&mut state, &event);
            }
        }
    }
    serde_json::to_value(task::view(&state, &entity.key)).expect("a view")
}

/// Several trees and single tasks that end in every way: completed, failed, canceled.
async fn stories(bus: &Bus) -> Vec<String> {
    let mut single = bus_schemas::commands::task::Submit::new("nothing");
    single.skill = "noop".into();
    accepted(bus, &command("single", &Command::Submit(single))).await;
    let tree = planned(vec![step("one", "noop", &[]), step("two", "noop", &["one"])]);
    accepted(bus, &command("tree", &Command::Submit(tree))).await;
    let mut broken = bus_schemas::commands::task::Submit::new("nothing");
    (broken.skill, broken.input) = ("inventory".into(), json!({"repo": "relative"}));
    accepted(bus, &command("broken", &Command::Submit(broken))).await;
    let mut canceled = bus_schemas::commands::task::Submit::new("nothing");
    canceled.skill = "nobody-has-this".into();
    accepted(bus, &command("canceled", &Command::Submit(canceled))).await;
    accepted(bus, &command("canceled", &Command::Cancel { reason: "enough".into() })).await;
    for key in ["single", "tree", "broken", "canceled"] {
        settled(bus, key).await;
    }
    ["single", "tree", "tree.one", "tree.two", "broken", "canceled"].map(str::to_owned).into()
}

/// Goal: what a client sees of a task is what its log says, also from a read model that is built
/// anew. Method: fold the commit records ourselves; compare with a gateway that followed and with
/// one that came later.
#[tokio::test(flavor = "multi_thread")]
async fn a_view_is_what_the_log_says() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("a", true).await;
    let bus = host.bus();
    let followed = Edge::start(bus, &server.directory().join("followed")).await;
    let keys = stories(bus).await;
    let built = Edge::start(bus, &server.directory().join("built")).await;
    for edge in [&followed, &built] {
        edge.caught_up(bus).await;
    }
    for key in &keys {
        let log = told_by_the_log(bus, &address(key)).await;
        assert_eq!(log["id"], key.as_str(), "the log tells of it");
        for edge in [&followed, &built] {
            let (status, shown) = edge.get(&format!("/v1/tasks/{key}")).await;
            assert_eq!(status, 200, "{shown}");
            assert_eq!(shown, log, "{key}");
        }
    }
    for path in ["/v1/tasks", "/v1/agents", "/v1/dead-letters", "/v1/redrives", "/v1/schedules"] {
        assert_eq!(followed.get(path).await, built.get(path).await, "{path}");
    }
    for edge in [followed, built] {
        edge.stop().await;
    }
    host.stop().await;
}

/// Goal: a read model that was lost or damaged comes back by itself. Method: stop the gateway, write
/// garbage over its file, start it again.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_read_model_is_built_anew() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("a", true).await;
    let directory = server.directory().join("gateway");
    let edge = Edge::start(host.bus(), &directory).await;
    stories(host.bus()).await;
    edge.caught_up(host.bus()).await;
    let before = edge.get("/v1/tasks").await;
    assert_eq!(before.1["tasks"].as_array().map(Vec::len), Some(6));
    edge.stop().await;
    std::fs::write(directory.join("read-model.sqlite"), "no database at all").unwrap();
    let edge = Edge::start(host.bus(), &directory).await;
    edge.caught_up(host.bus()).await;
    assert_eq!(edge.get("/v1/tasks").await, before);
    edge.stop().await;
    host.stop().await;
}

/// Goal: an event that this program cannot read stops the view of its own entity, is named where
/// operators look, and nothing else stops. Method: an event of a future version and a message that
/// is no event, put into the stream behind the back of the hosts; then tasks as before.
#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_event_is_named_and_stops_nothing_else() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("a", true).await;
    let bus = host.bus();
    let edge = Edge::start(bus, &server.directory().join("gateway")).await;
    let raw = Raw::insider(&server).await;
    let headers = [
        ("ce-type", "orrery.task.submitted"),
        ("ce-time", "2030-01-01T00:00:00.000Z"),
        ("Orrery-Revision", "1"),
        ("Orrery-Schema", "99"),
        ("Orrery-Hash", &"0".repeat(64)),
        ("Orrery-Cursor", "0.1.0"),
    ];
    let body = r#"{"type":"submitted","dream":"unknown"}"#;
    let future = raw.store("orrery.evt.task.future", &headers, body).await.expect("it is stored");
    let stray = raw.store("orrery.evt.task.stray", &[], "hello").await.expect("it is stored");
    stories(bus).await;
    edge.caught_up(bus).await;
    let (status, ready) = edge.get("/ready").await;
    assert_eq!((status, &ready["projection"]["unreadable"]), (200, &2.into()), "{ready}");
    let named = ready["projection"]["unreadable_first"].as_array().expect("a list");
    for (sequence, subject, reason) in
        [(future, "task/future/1", "schema version 99"), (stray, "orrery.evt.task.stray", "ce-type")]
    {
        let named = named.iter().find(|one| one["sequence"] == sequence).expect("it is named");
        assert_eq!(named["subject"], subject);
        assert!(named["reason"].as_str().is_some_and(|text| text.contains(reason)), "{named}");
    }
    let (status, problem) = edge.get("/v1/tasks/future").await;
    assert_eq!((status, &problem["code"]), (404, &"task-not-found".into()));
    let (_, tree) = edge.get("/v1/tasks/tree").await;
    assert_eq!(tree["state"], "completed");
    edge.stop().await;
    host.stop().await;
}
