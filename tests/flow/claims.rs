//! Claims: a worker of any language asks for jobs, and one step is one commit.
//!
//! The goal: what a worker author relies on. The method: a plain client speaks the protocol.

use std::time::Duration;

use bus_client::Bus;
use bus_client::claims::Heard;
use bus_client::{Ask, Profile};
use bus_schemas::claims::Claim;
use bus_schemas::commands::task::{Command as Task, Query, Submit};
use bus_schemas::jobs::StepResult;
use bus_schemas::wire::WireCommand;
use bus_schemas::{Body, CommandId, EntityAddress, Hash, Key, Reply};
use serde_json::{Value, json};
use system_tests::plain::{AGENT, WORKER, claim, complete, connection, next_job, register, renew};
use system_tests::raw::Raw;
use system_tests::{PATIENCE, Server, eventually};
use uuid::Uuid;

mod bad;
mod count;
mod hosts;
mod lost;
mod names;

fn key(text: &str) -> Key {
    Key::parse(text).expect("a constant of a test")
}

fn task(name: &str) -> EntityAddress {
    EntityAddress::new(Task::KIND, key(name))
}

async fn accepted<C: WireCommand>(bus: &Bus, to: EntityAddress, command: &C) -> Value {
    match bus.ask(&Ask::new(to.clone(), Body::json(command)), PATIENCE).await {
        Ok(Reply::Accepted { result, .. }) => result,
        other => panic!("`{to}` answers {other:?}"),
    }
}

async fn code<C: WireCommand>(bus: &Bus, to: EntityAddress, command: &C) -> String {
    match bus.ask(&Ask::new(to.clone(), Body::json(command)), PATIENCE).await {
        Ok(Reply::Refused { refusal, .. }) => refusal.code.to_string(),
        Ok(Reply::Accepted { .. }) => "accepted".to_owned(),
        other => panic!("`{to}` answers {other:?}"),
    }
}

async fn query(bus: &Bus, to: EntityAddress, query: &Query) -> Reply {
    bus.query(&Ask::new(to, Body::json(query)), PATIENCE).await.expect("the partition answers")
}

async fn submit(bus: &Bus, name: &str) {
    let submit = Task::Submit(Submit { skill: AGENT.into(), ..Submit::new("a test") });
    accepted(bus, task(name), &submit).await;
}

fn step(name: &str, input: &str, result: Value) -> StepResult {
    StepResult { name: name.into(), input: Hash::of(input.as_bytes()), result }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plain_worker_does_a_task_with_recorded_steps() {
    let server = Server::start(Profile::Durable).await;
    let running = server.host("host-1", false).await;
    let bus = server.bus().await;
    register(&bus, WORKER).await;
    submit(&bus, "first").await;
    let mut connection = connection(&bus).await;
    let job = next_job(&mut connection, WORKER).await;
    assert_eq!((job.task.clone(), job.attempt), (task("first"), 1));
    assert!(matches!(query(&bus, task("first"), &renew(&job)).await, Reply::Accepted { result, .. }
        if result["attempt"] == "yours"));
    let record = |steps| Task::RecordStep { attempt: 1, token: job.token.clone(), steps };
    accepted(&bus, task("first"), &record(vec![step("one", "a", json!(1))])).await;
    accepted(&bus, task("first"), &record(vec![step("one", "a", json!(1))])).await;
    assert_eq!(code(&bus, task("first"), &record(vec![step("one", "b", json!(1))])).await, "step-changed");
    let stale =
        Task::RecordStep { attempt: 1, token: "guessed".into(), steps: vec![step("x", "", json!(1))] };
    assert_eq!(code(&bus, task("first"), &stale).await, "stale-attempt");
    let waiting = tokio::spawn({
        let bus = bus.clone();
        async move { query(&bus, task("first"), &Query::Wait).await }
    });
    accepted(&bus, task("first"), &complete(&job)).await;
    let Reply::Accepted { result, .. } = waiting.await.expect("no panic") else { panic!("refused") };
    assert_eq!(result["state"], "completed");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_that_sees_nothing_is_told_to_come_again() {
    let server = Server::start(Profile::Fast).await;
    let running = server.host("host-1", false).await;
    let (bus, raw) = (server.bus().await, Raw::connect(&server).await);
    submit(&bus, "slow").await;
    let wait = raw.request("orrery.query.test.task.slow", &[], r#"{"type":"wait"}"#).await;
    assert_eq!(wait.code(), "come-again");
    let unknown = raw.request("orrery.query.test.task.nowhere", &[], r#"{"type":"wait"}"#).await;
    assert_eq!(unknown.code(), "task-not-found");
    let strange = raw.request("orrery.query.test.task.slow", &[], r#"{"type":"ponder"}"#).await;
    assert_eq!(strange.code(), "unknown-query");
    let probe = raw.request("orrery.query.test.probe.p", &[], r#"{"type":"wait"}"#).await;
    assert_eq!(probe.code(), "unknown-query");
    running.stop().await;
}

/// Waits until a task has this state.
async fn until_state(bus: &Bus, name: &str, state: &str) -> Value {
    eventually(&format!("`{name}` is {state}"), || async {
        match query(bus, task(name), &Query::Describe).await {
            Reply::Accepted { result, .. } if result["state"] == state => Some(result),
            _ => None,
        }
    })
    .await
}

const SOON: Duration = Duration::from_secs(1);
