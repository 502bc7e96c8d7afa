//! Server-sent events: everything once, in order, over any number of interruptions.

use std::time::{Duration, Instant};

use bus_schemas::commands::schedule::Recurrence;
use bus_schemas::commands::task::Submit;
use bus_schemas::events::schedule;
use bus_schemas::events::task::Event;
use bus_schemas::jobs::OutputChunk;
use bus_schemas::{Hash, Key, Timestamp};
use futures::StreamExt;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::get;
use crate::server::PATIENCE;
use crate::world::World;

/// One event as it came.
#[derive(Debug, Clone, PartialEq)]
struct Received {
    id: Option<String>,
    name: String,
    data: serde_json::Value,
}

/// Reads a stream until it ends or `enough` came.
async fn read(url: &str, path: &str, after: Option<&str>, enough: usize) -> Vec<Received> {
    read_and_tell(url, path, after, enough, mpsc::unbounded_channel().0).await
}

/// Like [`read`], and tells of each event.
async fn read_and_tell(
    url: &str,
    path: &str,
    after: Option<&str>,
    enough: usize,
    tell: mpsc::UnboundedSender<Received>,
) -> Vec<Received> {
    let mut request = reqwest::Client::new().get(format!("{url}{path}"));
    if let Some(after) = after {
        request = request.header("Last-Event-ID", after);
    }
    let response = request.send().await.expect("an answer");
    assert_eq!(response.status(), 200, "{}", response.text().await.unwrap_or_default());
    let (mut bytes, mut text, mut received) = (response.bytes_stream(), String::new(), Vec::new());
    while received.len() < enough {
        let chunk =
            tokio::time::timeout(PATIENCE, bytes.next()).await.expect("a stream that goes on or ends");
        let Some(chunk) = chunk else { break };
        text.push_str(std::str::from_utf8(&chunk.expect("a whole chunk")).expect("text"));
        while let Some((block, rest)) = text.split_once("\n\n") {
            if let Some(event) = parse(block) {
                // Most readers have nobody who listens.
                tell.send(event.clone()).ok();
                received.push(event);
            }
            text = rest.to_owned();
        }
    }
    received
}

fn parse(block: &str) -> Option<Received> {
    let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    let data = serde_json::from_str(field("data")?).expect("JSON");
    Some(Received { id: field("id").map(str::to_owned), name: field("event")?.to_owned(), data })
}

fn names(received: &[Received]) -> Vec<&str> {
    received.iter().map(|event| event.name.as_str()).collect()
}

/// A failed and retried task with one child, beside another task: nine events, the last one final.
async fn story(world: &World) {
    let at = Timestamp(9);
    let (agent, worker) = (Key::parse("git").unwrap(), "w".into());
    let issued = Event::JobIssued { attempt: 1, agent, worker, token: Hash::of(b"secret"), at };
    world.submit("other", "me").await;
    world.submit("t", "me").await;
    world
        .record(vec![
            ("task/t", Event::ChildStarted { step: "a".into(), child: Key::parse("t.a").unwrap() }.into()),
            ("task/t.a", Event::Queued { attempt: 1, at }.into()),
            ("task/t.a", issued.into()),
        ])
        .await;
    world.submit("tt", "me").await;
    world.happen("t", Event::Canceled { reason: "first".into(), at }).await;
    world.happen("t", Event::Retried { by: "me".into(), at }).await;
    world.happen("t", Event::Queued { attempt: 2, at }).await;
    world.happen("t.a", Event::Completed { artifacts: vec![], result: 1.into(), at }).await;
    world.happen("t", Event::Completed { artifacts: vec![], result: 2.into(), at }).await;
}

/// Goal: whatever event a client saw last, it gets exactly the rest, also from a gateway that never
/// saw it before. Method: the whole stream once, then again after each of its events, each time from
/// another gateway with a read model of its own.
#[tokio::test]
async fn a_stream_resumes_after_any_event_in_any_gateway() {
    let world = World::new().await;
    story(&world).await;
    let gateway = world.gateway().await;
    let whole = read(&gateway.url, "/v1/tasks/t/events", None, usize::MAX).await;
    assert_eq!(
        names(&whole),
        [
            "task.submitted",
            "task.child-started",
            "task.queued",
            "task.job-issued",
            "task.canceled",
            "task.retried",
            "task.queued",
            "task.completed",
            "task.completed",
            "end"
        ]
    );
    assert_eq!((&whole[2].data["entity"], &whole[2].data["revision"]), (&"task/t.a".into(), &1.into()));
    assert_eq!(whole[8].data["event"]["result"], 2);
    gateway.stopped().await;

    // Who has everything is told not to come back.
    let last = whole[whole.len() - 2].id.clone().expect("every event but the end has an id");
    let gateway = world.gateway().await;
    for follow in [true, false] {
        let url = format!("{}/v1/tasks/t/events?after={last}&follow={follow}", gateway.url);
        let answer = reqwest::get(url).await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.text().await.unwrap().as_str()), (204, ""));
    }
    gateway.stopped().await;

    for seen in 1..whole.len() - 1 {
        let data = tempfile::tempdir().unwrap();
        let gateway = world.gateway_at(data.path()).await;
        let after = whole[seen - 1].id.as_deref().expect("every event but the end has an id");
        let rest = read(&gateway.url, "/v1/tasks/t/events", Some(after), usize::MAX).await;
        assert_eq!(rest, whole[seen..], "after {after}");
        let rest = read(&gateway.url, &format!("/v1/tasks/t/events?after={after}"), None, usize::MAX).await;
        assert_eq!(rest, whole[seen..], "after {after}");
        gateway.stopped().await;
    }
}

/// Goal: events come as they happen and the stream ends after the final one; without following it
/// ends at what exists. Method: read while publishing, and compare.
#[tokio::test]
async fn a_stream_follows_and_ends() {
    let world = World::new().await;
    world.submit("t", "me").await;
    let gateway = world.gateway().await;
    let now = read(&gateway.url, "/v1/tasks/t/events?follow=false", None, usize::MAX).await;
    assert_eq!(names(&now), ["task.submitted"]);

    let url = gateway.url.clone();
    let following =
        tokio::spawn(async move { read(&url, "/v1/tasks/t/events?output=true", None, usize::MAX).await });
    let chunk = OutputChunk { attempt: 1, number: 1, text: "half".into(), progress: None };
    world.bus.publish_output(&Key::parse("t.a").unwrap(), &chunk).await;
    world.bus.flush().await;
    // A second reader shows that the first one is not alone, and that the output has come.
    let some = read(&gateway.url, "/v1/tasks/t/events?output=true", None, 2).await;
    let output = some.iter().find(|event| event.name == "output").expect("output");
    assert_eq!((output.id.as_ref(), &output.data["text"]), (None, &"half".into()));
    assert_eq!(output.data["task"], "t.a");

    world.happen("t", Event::Queued { attempt: 1, at: Timestamp(9) }).await;
    world.happen("t", Event::Canceled { reason: "enough".into(), at: Timestamp(9) }).await;
    let events = following.await.unwrap();
    let without_output: Vec<&str> = names(&events).into_iter().filter(|name| *name != "output").collect();
    assert_eq!(without_output, ["task.submitted", "task.queued", "task.canceled", "end"]);
    gateway.stopped().await;
}

/// Goal: a gateway that stops ends its streams at once and loses nothing. Method: a reader of a task
/// that never ends; stop; then the rest from another gateway.
#[tokio::test]
async fn a_stopping_gateway_ends_its_streams() {
    let world = World::new().await;
    world.submit("t", "me").await;
    let gateway = world.gateway().await;
    let url = gateway.url.clone();
    let (tell, mut told) = mpsc::unbounded_channel();
    let reading =
        tokio::spawn(async move { read_and_tell(&url, "/v1/tasks/t/events", None, usize::MAX, tell).await });
    let first = told.recv().await.expect("the first event");
    let stopping = Instant::now();
    gateway.stopped().await;
    assert!(stopping.elapsed() < Duration::from_secs(4), "the stop waited for {:?}", stopping.elapsed());
    let received = reading.await.unwrap();
    assert_eq!(names(&received), ["task.submitted"], "no `end`: the task goes on");

    world.happen("t", Event::Canceled { reason: "enough".into(), at: Timestamp(9) }).await;
    let gateway = world.gateway().await;
    let rest = read(&gateway.url, "/v1/tasks/t/events", first.id.as_deref(), usize::MAX).await;
    assert_eq!(names(&rest), ["task.canceled", "end"]);
    gateway.stopped().await;
}

/// Goal: a browser's `EventSource` survives what passes, and ends when all is over: any status but 200 ends it
/// for good. Method: what one sends, to a gateway whose server is away, and the beginning of a stream.
#[tokio::test]
async fn an_event_source_is_told_when_to_come_back() {
    let mut world = World::new().await;
    world.submit("t", "me").await;
    let gateway = world.gateway().await;
    let path = "/v1/tasks/t/events?follow=false";
    let ask = async |accept: &str| {
        let request = reqwest::Client::new().get(format!("{}{path}", gateway.url)).header("accept", accept);
        let answer = request.send().await.expect("an answer");
        (answer.status().as_u16(), answer.text().await.expect("text"))
    };
    let (status, text) = ask("text/event-stream").await;
    assert_eq!(status, 200);
    assert!(text.starts_with("retry: 2000\n") && text.contains("event: task.submitted"), "{text}");
    world.server.kill();
    let (status, text) = ask("text/event-stream").await;
    assert_eq!(status, 200, "{text}");
    assert!(text.contains("retry: 2000\n") && text.contains("event: not-ready\n"), "{text}");
    let said = text.lines().find_map(|line| line.strip_prefix("data: ")).expect("an event");
    let problem: serde_json::Value = serde_json::from_str(said).expect("a problem");
    assert_eq!(problem["status"], 503, "{problem}");
    assert_eq!(ask("*/*").await.0, 503, "whoever is no `EventSource` hears the status");
    // What does not pass ends it.
    let lost = format!("{}/v1/tasks/t/events?after=nonsense", gateway.url);
    let request = reqwest::Client::new().get(lost).header("accept", "text/event-stream");
    assert_eq!(request.send().await.unwrap().status(), 400);
    gateway.stopped().await;
}

/// Goal: an id that is none is refused before anything is streamed. Method: each kind of bad id.
#[tokio::test]
async fn bad_event_ids_and_unknown_tasks_are_refused() {
    let world = World::new().await;
    story(&world).await;
    let gateway = world.gateway().await;
    let known = read(&gateway.url, "/v1/tasks/t/events?follow=false", None, 1).await;
    let id = known[0].id.clone().unwrap();
    let other = if id.starts_with('0') { "1.1.0" } else { "0.1.0" };
    let (partition, _) = id.split_once('.').unwrap();
    // Beyond the end, and between two events: of another task, or from before a restore.
    let beyond =
        [format!("{partition}.999999999.0"), format!("{id}7"), format!("{partition}.{}.0", u64::MAX)];
    let beyond = beyond.iter().map(String::as_str);
    for bad in ["nonsense", "1.2", "1.2.3.4", "-1.2.3", "99999.1.0", other].into_iter().chain(beyond) {
        let (status, problem) = get(&gateway.url, &format!("/v1/tasks/t/events?after={bad}")).await;
        assert_eq!((status, &problem["code"]), (400, &"invalid-event-id".into()), "{bad}");
    }
    let (status, problem) = get(&gateway.url, "/v1/tasks/nothing/events").await;
    assert_eq!((status, &problem["code"]), (404, &"task-not-found".into()));
    gateway.stopped().await;
}

/// Goal: whoever polls for something that is rare does not read the whole stream each time. Method: a filter that
/// matches nothing, whose cursor is that of the last event, and an event after it.
#[tokio::test]
async fn a_page_of_nothing_leads_to_the_end_of_the_stream() {
    let world = World::new().await;
    world.serve_asks().await;
    world.submit("a", "me").await;
    world.submit("b", "me").await;
    let gateway = world.gateway().await;
    let (_, whole) = get(&gateway.url, "/v1/events").await;
    let end = |page: &Value| page["cursor"].as_str().expect("a cursor").to_owned();
    let sequence = |page: &Value| end(page).split(';').next().expect("a sequence").to_owned();
    assert_eq!(whole["events"].as_array().map(Vec::len), Some(2), "{whole}");
    for filter in ["kind=schedule", "tree=nobody", "type=vanished", "since=4000000000000"] {
        let (_, page) = get(&gateway.url, &format!("/v1/events?{filter}")).await;
        assert_eq!((&page["events"], sequence(&page)), (&json!([]), sequence(&whole)), "{filter}: {page}");
        let (_, again) = get(&gateway.url, &format!("/v1/events?{filter}&after={}", end(&page))).await;
        assert_eq!(end(&again), end(&page), "{filter}");
    }
    let (_, before) = get(&gateway.url, "/v1/events?kind=schedule").await;
    let created = schedule::Event::Created {
        recurrence: Recurrence::Every { every_ms: 1_000 },
        task: Submit::new("count"),
        next: None,
    };
    world.record(vec![("schedule/nightly", created.into())]).await;
    world.submit("c", "me").await;
    let (_, page) = get(&gateway.url, &format!("/v1/events?kind=schedule&after={}", end(&before))).await;
    assert_eq!(page["events"][0]["entity"], "schedule/nightly", "{page}");
    assert_eq!(page["events"].as_array().map(Vec::len), Some(1), "{page}");
    gateway.stopped().await;
}
