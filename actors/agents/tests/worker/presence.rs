//! Who is there: registration, heartbeats that nobody knows, leaving.

use actors_agents::{Done, WorkerError};
use serde_json::json;

use crate::host::Answer;
use crate::stage::{AGENT, Stage};

/// An installation that forgot the worker hears of it again; one that stops says good-bye.
#[tokio::test]
async fn a_worker_registers_again_when_its_heartbeat_is_refused() {
    let stage = Stage::new().await;
    let mut heartbeats = 0;
    stage.host.answer(move |told| {
        heartbeats += usize::from(told.name == "heartbeat");
        if told.name == "heartbeat" && heartbeats == 1 {
            Answer::Refuse("unknown-worker")
        } else {
            Answer::Accept
        }
    });
    let worker = stage.worker("w1", 3, |_| async { Ok(Done::default()) });
    let told = stage.host.expect_nth(AGENT, "register", 2).await;
    assert_eq!((&told.command["worker"], &told.command["capacity"]), (&json!("w1"), &json!(3)));
    assert_eq!(told.command["card"]["name"], json!(AGENT));
    worker.stop().await.expect("a good end");
    assert_eq!(stage.host.names(AGENT), ["register", "register", "deregister"]);
}

/// A worker that is not taken ends, so that its supervisor can decide.
#[tokio::test]
async fn a_worker_whose_registration_is_refused_ends() {
    let stage = Stage::new().await;
    stage.host.answer(|_| Answer::Refuse("invalid-card"));
    let worker = stage.worker("w1", 1, |_| async { Ok(Done::default()) });
    let error = worker.end().await.expect_err("it was refused");
    assert!(matches!(error, WorkerError::Refused { refusal, .. } if refusal.code == "invalid-card"));
}
