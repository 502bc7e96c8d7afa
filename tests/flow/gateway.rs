//! gateway: tasks over HTTP against a real runtime, streams that survive their gateway, problems.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use futures::StreamExt;
use reqwest::Method;
use serde_json::{Value, json};
use system_tests::agents::{GATE, Gate, Seen, planned, small_repository, step};
use system_tests::edge::{self, Edge, Sent, answer};
use system_tests::{Installation, PATIENCE, accepted, command};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use bus_client::Profile;
use bus_schemas::commands::task::Command;
use system_tests::Server;

/// By then a reader that stopped must have made room for others.
const ROOM_BY: Duration = Duration::from_secs(45);

fn read_model(directory: &Path, name: &str) -> std::path::PathBuf {
    directory.join(format!("gateway-{name}"))
}

/// Goal: a client that does not know whether its request came may send it again. Method: the same
/// key with the same body, with another body, and from another gateway.
#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_submission_is_one_task() {
    let installation = Installation::start().await;
    let home = installation.server.directory();
    let edge = Edge::start(installation.bus(), &read_model(home, "a")).await;
    let body = json!({"goal": "nothing", "skill": "noop"});
    let (status, first) = edge.submit("key-1", &body).await;
    assert_eq!(status, 201, "{first}");
    let (status, again) = edge.submit("key-1", &body).await;
    assert_eq!((status, &again["id"]), (200, &first["id"]), "{again}");
    let other = json!({"goal": "something", "skill": "noop"});
    let (status, conflict) = edge.submit("key-1", &other).await;
    assert_eq!((status, &conflict["code"]), (422, &"idempotency-key-reused".into()), "{conflict}");
    let elsewhere = Edge::start(installation.bus(), &read_model(home, "b")).await;
    // Whether or not its read model knows the task.
    let (status, again) = elsewhere.submit("key-1", &body).await;
    assert_eq!((status, &again["id"]), (200, &first["id"]), "{again}");
    let (status, another) = edge.submit("key-2", &body).await;
    assert_eq!(status, 201);
    assert_ne!(another["id"], first["id"]);
    let id = first["id"].as_str().unwrap();
    for id in [id, another["id"].as_str().unwrap()] {
        edge.until_state(id, "completed").await;
    }
    let (_, list) = edge.get("/v1/tasks?owner=ada").await;
    assert_eq!(list["tasks"].as_array().map(Vec::len), Some(2), "{list}");
    elsewhere.stop().await;
    edge.stop().await;
    installation.stop().await;
}

/// Every task that a list shows, page by page.
async fn all_pages(edge: &Edge, filter: &str, limit: usize) -> Vec<Value> {
    let (mut tasks, mut cursor) = (Vec::new(), String::new());
    loop {
        let (status, page) = edge.get(&format!("/v1/tasks?{filter}&limit={limit}{cursor}")).await;
        assert_eq!(status, 200, "{page}");
        let rows = page["tasks"].as_array().expect("a page").clone();
        assert!(rows.len() <= limit, "{page}");
        tasks.extend(rows);
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return tasks,
        }
    }
}

/// Goal: lists show what was asked for, each row once, newest first. Method: tasks of two owners, one
/// with children; every filter; pages of one and of two.
#[tokio::test(flavor = "multi_thread")]
async fn lists_are_filtered_and_paged() {
    let installation = Installation::start().await;
    let edge = Edge::start(installation.bus(), &read_model(installation.server.directory(), "a")).await;
    let mut ids = Vec::new();
    for number in 0..5 {
        let owner = if number % 2 == 0 { "ada" } else { "bob" };
        let (status, task) =
            edge.post_as(owner, "/v1/tasks", &json!({"goal": "nothing", "skill": "noop"})).await;
        assert_eq!(status, 201, "{task}");
        ids.push(task["id"].as_str().unwrap().to_owned());
    }
    let steps = json!([
        {"step": "one", "goal": "nothing", "skill": "noop"},
        {"step": "two", "goal": "nothing", "skill": "noop", "after": ["one"]}
    ]);
    let (_, tree) =
        edge.post_as("ada", "/v1/tasks", &json!({"goal": "both", "plan": {"steps": steps}})).await;
    let tree = tree["id"].as_str().unwrap().to_owned();
    for id in ids.iter().chain([&tree]) {
        edge.until_state(id, "completed").await;
    }
    edge.caught_up(installation.bus()).await;
    let names = |tasks: &[Value]| -> BTreeSet<String> {
        tasks.iter().map(|task| task["id"].as_str().unwrap().to_owned()).collect()
    };
    for limit in [1, 2, 200] {
        let roots = all_pages(&edge, "root=true", limit).await;
        assert_eq!((roots.len(), names(&roots).len()), (6, 6), "each once with pages of {limit}");
        let times: Vec<u64> = roots.iter().map(|task| task["submitted_at"].as_u64().unwrap()).collect();
        assert!(times.is_sorted_by(|newer, older| newer >= older), "newest first: {times:?}");
    }
    let children = all_pages(&edge, &format!("parent={tree}"), 1).await;
    assert_eq!(names(&children), BTreeSet::from([format!("{tree}.one"), format!("{tree}.two")]));
    assert_eq!(all_pages(&edge, "owner=bob&state=completed", 50).await.len(), 2);
    assert!(all_pages(&edge, "state=failed", 50).await.is_empty());
    assert!(all_pages(&edge, "lane=elsewhere", 50).await.is_empty());
    let (_, shown) = edge.get(&format!("/v1/tasks/{tree}")).await;
    assert_eq!(shown["children"], json!([format!("{tree}.one"), format!("{tree}.two")]));
    edge.stop().await;
    installation.stop().await;
}

/// Goal: cancel reaches everything below, and the work that runs. Method: one child at work, one that
/// waits for it; cancel the root over HTTP; the agent is told, and nothing is left open.
#[tokio::test(flavor = "multi_thread")]
async fn cancel_reaches_children_and_running_jobs() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("a", false).await;
    let mut gate = Gate::start(host.bus());
    let edge = Edge::start(host.bus(), &read_model(server.directory(), "a")).await;
    let plan = planned(vec![step("runs", GATE, &[]), step("waits", GATE, &["runs"])]);
    accepted(host.bus(), &command("tree", &Command::Submit(plan))).await;
    gate.until("tree.runs", Seen::Started).await;
    let (status, canceled) = edge.post("/v1/tasks/tree/cancel", &json!({"reason": "enough"})).await;
    assert_eq!(status, 200, "{canceled}");
    gate.until("tree.runs", Seen::Canceled).await;
    for id in ["tree", "tree.runs"] {
        edge.until_state(id, "canceled").await;
    }
    let (_, open) = edge.get("/v1/tasks?state=working").await;
    assert_eq!(open["tasks"], json!([]));
    let (status, again) = edge.post("/v1/tasks/tree/cancel", &json!({})).await;
    assert_eq!((status, &again["state"]), (200, &"canceled".into()), "a repeat changes nothing");
    gate.open();
    accepted(host.bus(), &command("done", &Command::Submit(planned(vec![step("it", GATE, &[])])))).await;
    edge.until_state("done", "completed").await;
    let (status, problem) = edge.post("/v1/tasks/done/cancel", &json!({})).await;
    assert_eq!((status, &problem["code"]), (409, &"task-final".into()), "{problem}");
    gate.stop().await;
    edge.stop().await;
    host.stop().await;
}

/// Goal: what an agent made can be downloaded as it is. Method: one analysis of a small repository,
/// its artifact, the same with its tag, and one that is not there.
#[tokio::test(flavor = "multi_thread")]
async fn artifacts_are_downloaded() {
    let installation = Installation::start().await;
    let edge = Edge::start(installation.bus(), &read_model(installation.server.directory(), "a")).await;
    let repository = tempfile::tempdir().unwrap();
    small_repository(repository.path());
    let body = json!({"goal": "count", "skill": "inventory", "input": {"repo": repository.path()}});
    let (_, task) = edge.post("/v1/tasks", &body).await;
    let id = task["id"].as_str().unwrap();
    let done = edge.until_state(id, "completed").await;
    assert_eq!(done["artifacts"][0]["name"], "inventory.json", "{done}");
    let path = format!("/v1/tasks/{id}/artifacts/inventory.json");
    let response = edge.request(Method::GET, &path).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let headers = response.headers().clone();
    assert_eq!(headers["content-type"], "application/json");
    assert_eq!(headers["etag"].to_str().unwrap().trim_matches('"'), done["artifacts"][0]["hash"]);
    let bytes = response.bytes().await.unwrap();
    assert_eq!(Some(bytes.len() as u64), done["artifacts"][0]["bytes"].as_u64());
    assert!(String::from_utf8_lossy(&bytes).contains("Python"), "the inventory names the language");
    let again = edge.request(Method::GET, &path).header("If-None-Match", &headers["etag"]);
    assert_eq!(again.send().await.unwrap().status(), 304);
    let (status, problem) = edge.get(&format!("/v1/tasks/{id}/artifacts/nothing")).await;
    assert_eq!((status, &problem["code"]), (404, &"artifact-not-found".into()));
    edge.stop().await;
    installation.stop().await;
}

/// Goal: a stream that is cut by the end of its gateway goes on at another one, without loss and
/// without a repeat. Method: a task that stands still at a gate while its gateway is ended; then one
/// reader resumes at a gateway that knows nothing, another at one on the old read model.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_survives_its_gateway() {
    let installation = Installation::start().await;
    let (bus, home) = (installation.bus(), installation.server.directory());
    let mut gate = Gate::start(bus);
    let plan = planned(vec![
        step("first", "noop", &[]),
        step("gate", GATE, &["first"]),
        step("last", "noop", &["gate"]),
    ]);
    accepted(bus, &command("tree", &Command::Submit(plan))).await;
    gate.until("tree.gate", Seen::Started).await;

    const PATH: &str = "/v1/tasks/tree/events";
    let is_at_gate = |sent: &Sent| sent.name == "task.job-issued" && sent.data["entity"] == "task/tree.gate";
    let old = Edge::start(bus, &read_model(home, "old")).await;
    let before = old.events(PATH, None, is_at_gate).await;
    let also_before = old.events(PATH, None, is_at_gate).await;
    old.stop().await;
    let cut = Edge::start(bus, &read_model(home, "cut")).await;
    let (at_gate, mut reached) = tokio::sync::mpsc::unbounded_channel();
    let url = cut.url.clone();
    let reading = tokio::spawn(async move {
        let tell = |sent: &Sent| is_at_gate(sent) && at_gate.send(()).is_err();
        edge::events(&url, PATH, None, tell).await
    });
    reached.recv().await.expect("the reader comes to the gate");
    cut.abandon();
    assert_eq!(reading.await.unwrap(), before, "the open stream ends where it was");
    gate.open();

    let last = before.last().and_then(|sent| sent.id.clone()).expect("events have ids");
    let fresh = Edge::start(bus, &read_model(home, "fresh")).await;
    let after = fresh.events(PATH, Some(&last), |_| false).await;
    let known = Edge::start(bus, &read_model(home, "old")).await;
    let also_after = known.events(PATH, Some(&last), |_| false).await;

    let whole = fresh.events(PATH, None, |_| false).await;
    assert_eq!([before, after].concat(), whole, "at a gateway that knows nothing");
    assert_eq!([also_before, also_after].concat(), whole, "at one on the old read model");
    assert_eq!(whole.last().map(|sent| sent.name.as_str()), Some("end"));
    let ids: BTreeSet<_> = whole.iter().filter_map(|sent| sent.id.as_ref()).collect();
    assert_eq!(ids.len(), whole.len() - 1, "every event but the end once");
    let completed = whole.iter().filter(|sent| sent.name == "task.completed").count();
    assert_eq!(completed, 4, "three steps and the whole");
    for edge in [fresh, known] {
        edge.stop().await;
    }
    gate.stop().await;
    installation.stop().await;
}

/// Goal: whatever is wrong, the client hears a code as `application/problem+json`, and the system
/// goes on. Method: one bad request of each sort against the whole system.
#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_are_problems() {
    let installation = Installation::start().await;
    let edge = Edge::start(installation.bus(), &read_model(installation.server.directory(), "a")).await;
    let post = |media_type: &str, body: String| {
        edge.request(Method::POST, "/v1/tasks").header("content-type", media_type).body(body)
    };
    let goal = |bytes: usize| format!(r#"{{"goal":"x","skill":"noop","input":"{}"}}"#, "x".repeat(bytes));
    let cases = [
        (post("application/json", r#"{"goal":"#.into()), 400, "malformed-json"),
        (post("text/plain", r#"{"goal":"x"}"#.into()), 415, "unsupported-media-type"),
        (post("application/json", r#"{"goal":"x","colour":1}"#.into()), 422, "invalid-body"),
        (post("application/json", goal(2 << 20)), 413, "body-too-large"),
        (post("application/json", goal(300 << 10)), 413, "too-large"),
        (post("application/json", r#"{"goal":""}"#.into()), 422, "invalid-goal"),
        (edge.request(Method::GET, "/v1/tasks/nothing"), 404, "task-not-found"),
        (edge.request(Method::POST, "/v1/tasks/nothing/cancel"), 404, "task-not-found"),
        (edge.request(Method::GET, "/v1/tasks?cursor=zz"), 400, "invalid-cursor"),
        (edge.request(Method::GET, "/v1/tasks/a%20b"), 400, "invalid-id"),
        (edge.request(Method::GET, "/nothing"), 404, "route-not-found"),
    ];
    for (request, status, code) in cases {
        let response = request.send().await.unwrap();
        let (found, headers) = (response.status(), response.headers().clone());
        let problem: Value = response.json().await.unwrap();
        assert_eq!((found.as_u16(), &problem["code"]), (status, &code.into()), "{problem}");
        assert_eq!(headers["content-type"], "application/problem+json");
        assert_eq!(problem["type"], format!("/errors/{code}"));
    }
    let (status, task) = edge.post("/v1/tasks", &json!({"goal": "nothing", "skill": "noop"})).await;
    assert_eq!(status, 201, "{task}");
    edge.until_state(task["id"].as_str().unwrap(), "completed").await;
    edge.stop().await;
    installation.stop().await;
}

/// Goal: operators see whether it lives, whether it is ready and what it does. Method: the three
/// paths while a host serves, then readiness after it left.
#[tokio::test(flavor = "multi_thread")]
async fn operators_see_how_it_is() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("a", true).await;
    let bus = server.bus().await;
    let edge = Edge::start(&bus, &read_model(server.directory(), "a")).await;
    let (_, task) = edge.post("/v1/tasks", &json!({"goal": "nothing", "skill": "noop"})).await;
    edge.until_state(task["id"].as_str().unwrap(), "completed").await;
    let (status, health) = edge.get("/health").await;
    assert_eq!((status, &health["status"]), (200, &"ok".into()));
    edge.caught_up(&bus).await;
    let (status, ready) = edge.get("/ready").await;
    assert_eq!((status, &ready["ready"], &ready["partitions"]["owned"]), (200, &true.into(), &8.into()));
    let text = edge.request(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    for name in
        ["orrery_gateway_http_requests_total{", "orrery_decide_turns_total{", "orrery_lease_takeovers"]
    {
        assert!(text.contains(name), "no `{name}` in {text}");
    }
    host.stop().await;
    let (status, ready) = answer(edge.request(Method::GET, "/ready")).await;
    assert_eq!((status, &ready["ready"]), (503, &false.into()), "{ready}");
    assert_eq!(ready["partitions"]["unowned"].as_array().map(Vec::len), Some(8), "{ready}");
    edge.stop().await;
}

/// Opens a stream and reads the status of the answer, and nothing more: the connection stays open.
async fn stopped_reader(address: std::net::SocketAddr, path: &str) -> (u16, TcpStream) {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let head = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.expect("it is sent");
    let mut status = [0; "HTTP/1.1 200".len()];
    stream.read_exact(&mut status).await.expect("an answer");
    let text = std::str::from_utf8(&status).expect("text");
    (text.rsplit(' ').next().and_then(|code| code.parse().ok()).expect("a status"), stream)
}

/// Goal: readers that stopped reading hold streams of nobody else, and not for ever. Method: two hundred of
/// them at one address; a client at another address, which is served at once; and one at theirs, which
/// is told to wait, and served when the first of them has had its time.
#[tokio::test(flavor = "multi_thread")]
async fn stopped_readers_keep_nobody_out() {
    let installation = Installation::start().await;
    let edge = Edge::start(installation.bus(), &read_model(installation.server.directory(), "a")).await;
    let (status, task) = edge.submit("t", &json!({"goal": "waits", "skill": "nobody-has-this"})).await;
    assert_eq!(status, 201, "{task}");
    let path = format!("/v1/tasks/{}/events", task["id"].as_str().expect("an id"));
    let address = edge.url.strip_prefix("http://").expect("an address").parse().expect("an address");
    let mut stopped = Vec::new();
    for _ in 0..200 {
        stopped.push(stopped_reader(address, &path).await);
    }
    let held = stopped.iter().filter(|(status, _)| *status == 200).count();
    assert_eq!(held, 100, "one client has half of the streams");

    let url = format!("{}{path}", edge.url);
    let elsewhere = reqwest::Client::builder().local_address(std::net::IpAddr::from([127, 0, 0, 2]));
    let elsewhere = elsewhere.build().expect("a client");
    let mut events = elsewhere.get(&url).send().await.expect("an answer").bytes_stream();
    let mut heard = String::new();
    while !heard.contains("task.submitted") {
        let chunk = tokio::time::timeout(PATIENCE, events.next()).await.expect("another client is served");
        heard += &String::from_utf8_lossy(&chunk.expect("a stream that goes on").expect("a whole chunk"));
    }

    let (status, refused) = edge.get(&path).await;
    assert_eq!((status, &refused["code"]), (503, &"too-many-streams".into()), "{refused}");
    let served = async {
        while stopped_reader(address, &path).await.0 != 200 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(ROOM_BY, served).await.expect("the oldest stopped reader makes room");
    drop((stopped, events));
    edge.stop().await;
    installation.stop().await;
}
