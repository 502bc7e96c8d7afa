//! The gateway against a real nats-server: what it shows, what it streams, what it refuses.

mod server;
mod world;

mod budgets;
mod clients;
mod commands;
mod halts;
mod lanes;
mod openapi;
mod operations;
mod pages;
mod problems;
mod read_model;
mod streams;

use reqwest::Response;
use serde_json::Value;

/// Gets a path and reads its JSON, whatever the status.
async fn get(url: &str, path: &str) -> (u16, Value) {
    json(reqwest::get(format!("{url}{path}")).await.expect("an answer")).await
}

/// The status and the JSON of an answer.
async fn json(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let text = response.text().await.expect("a body");
    let value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{status} {error}: {text}"));
    (status, value)
}
