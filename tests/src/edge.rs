//! A gateway for tests, and a client that reads its answers and its event streams.

use std::path::Path;

use bus_client::Bus;
use futures::StreamExt;
use gateway::{Config, Gateway};
use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::{PATIENCE, eventually};

/// A gateway that runs.
pub struct Edge {
    /// Where it is.
    pub url: String,
    gateway: Gateway,
    stop: CancellationToken,
    client: Client,
}

/// One server-sent event.
#[derive(Debug, Clone, PartialEq)]
pub struct Sent {
    /// Where it stands; none for output and for the end.
    pub id: Option<String>,
    /// `<kind>.<type>`, `output` or `end`.
    pub name: String,
    /// Its data.
    pub data: Value,
}

impl Edge {
    /// Starts a gateway with a read model in `data_dir`.
    pub async fn start(bus: &Bus, data_dir: &Path) -> Self {
        let config = Config { listen: ([127, 0, 0, 1], 0).into(), data_dir: data_dir.to_owned() };
        let stop = CancellationToken::new();
        let gateway = gateway::serve(bus.clone(), config, stop.clone()).await.expect("a gateway starts");
        let url = format!("http://{}", gateway.address);
        Self { url, gateway, stop, client: Client::new() }
    }
    /// Stops it in good order.
    pub async fn stop(self) {
        self.stop.cancel();
        self.gateway.stopped().await.expect("a gateway ends well");
    }
    /// Ends it without waiting for anything.
    pub fn abandon(self) {
        self.stop.cancel();
    }
    /// A request to a path by the caller `ada`.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.request_as("ada", method, path)
    }
    fn request_as(&self, caller: &str, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url)).header("Orrery-Caller", caller)
    }
    /// Gets a path: status and JSON.
    pub async fn get(&self, path: &str) -> (u16, Value) {
        answer(self.request(Method::GET, path)).await
    }
    /// Posts JSON: status and JSON.
    pub async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        answer(self.request(Method::POST, path).json(body)).await
    }
    /// Posts under a caller's name: status and JSON.
    pub async fn post_as(&self, caller: &str, path: &str, body: &Value) -> (u16, Value) {
        answer(self.request_as(caller, Method::POST, path).json(body)).await
    }
    /// Submits a task under an `Idempotency-Key`: status and JSON.
    pub async fn submit(&self, idempotency_key: &str, body: &Value) -> (u16, Value) {
        let request = self.request(Method::POST, "/v1/tasks").header("Idempotency-Key", idempotency_key);
        answer(request.json(body)).await
    }
    /// A task, once it is in this state.
    pub async fn until_state(&self, id: &str, state: &str) -> Value {
        eventually(&format!("`{id}` being {state}"), || async {
            let (_, task) = self.get(&format!("/v1/tasks/{id}")).await;
            (task["state"] == state).then_some(task)
        })
        .await
    }
    /// Waits until everything that is in the event stream now can be read here.
    pub async fn caught_up(&self, bus: &Bus) {
        let wanted = bus.events_state().await.expect("the event stream").last_sequence;
        eventually("a read model without lag", || async {
            let (_, ready) = self.get("/ready").await;
            (ready["projection"]["applied"].as_u64()? >= wanted).then_some(())
        })
        .await;
    }
    /// A task's events after `last`, until `enough` says so or the stream ends.
    pub async fn events(
        &self,
        path: &str,
        last: Option<&str>,
        enough: impl FnMut(&Sent) -> bool,
    ) -> Vec<Sent> {
        events(&self.url, path, last, enough).await
    }
}

/// The events that a gateway sends after `last`, until `enough` says so or the stream ends.
pub async fn events(
    url: &str,
    path: &str,
    last: Option<&str>,
    mut enough: impl FnMut(&Sent) -> bool,
) -> Vec<Sent> {
    let mut request = Client::new().get(format!("{url}{path}"));
    if let Some(last) = last {
        request = request.header("Last-Event-ID", last);
    }
    let response = request.send().await.expect("an answer");
    assert_eq!(response.status(), 200, "{}", response.text().await.unwrap_or_default());
    let (mut bytes, mut text, mut sent) = (response.bytes_stream(), String::new(), Vec::new());
    loop {
        let chunk = tokio::time::timeout(PATIENCE, bytes.next()).await;
        let Some(chunk) = chunk.expect("a stream goes on or ends") else { return sent };
        // A gateway that is killed cuts the connection.
        let Ok(chunk) = chunk else { return sent };
        text.push_str(std::str::from_utf8(&chunk).expect("text"));
        while let Some((block, rest)) = text.split_once("\n\n") {
            let event = parse(block);
            text = rest.to_owned();
            let Some(event) = event else { continue };
            let is_enough = enough(&event);
            sent.push(event);
            if is_enough {
                return sent;
            }
        }
    }
}

/// The status and the JSON of an answer.
pub async fn answer(request: RequestBuilder) -> (u16, Value) {
    let response = request.send().await.expect("an answer");
    let status = response.status().as_u16();
    let text = response.text().await.expect("a body");
    (status, serde_json::from_str(&text).unwrap_or_else(|error| panic!("{status} {error}: {text}")))
}

/// One event; none for a comment that keeps the connection alive.
fn parse(block: &str) -> Option<Sent> {
    let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    let data = serde_json::from_str(field("data")?).expect("JSON");
    Some(Sent { id: field("id").map(str::to_owned), name: field("event")?.to_owned(), data })
}
