//! Who is there: registration, claims of a worker that nobody knows, leaving.

use actors_worker::{Done, WorkerError};
use serde_json::json;

use crate::host::{Answer, Received};
use crate::stage::{AGENT, Stage, job};

/// Knows nobody until the second registration, which is answered so.
fn forgetful(second: fn() -> Answer) -> impl FnMut(&Received) -> Answer {
    let mut registrations = 0;
    move |told| {
        registrations += usize::from(told.name == "register");
        match told.name.as_str() {
            "claim" if registrations < 2 => Answer::Refuse("unknown-worker"),
            "register" if registrations > 1 => second(),
            _ => Answer::Accept,
        }
    }
}

/// An installation that forgot the worker hears of it again, and has work for it; one that stops says good-bye.
#[tokio::test]
async fn a_worker_registers_again_when_its_claim_is_refused() {
    let stage = Stage::new().await;
    stage.host.answer(forgetful(|| Answer::Accept));
    let worker = stage.worker("w1", 1, |_| async { Ok(Done::default()) });
    let told = stage.host.expect_nth(AGENT, "register", 2).await;
    assert_eq!((&told.command["worker"], &told.command["capacity"]), (&json!("w1"), &json!(1)));
    assert_eq!(told.command["card"]["name"], json!(AGENT));
    stage.host.give(&job("t1")).await;
    stage.host.expect("t1", "complete-job").await;
    worker.stop().await.expect("a good end");
    assert_eq!(stage.host.names(AGENT), ["register", "register", "deregister"]);
}

/// An installation that forgot the worker and takes it no longer has one worker less, and its supervisor hears why.
#[tokio::test]
async fn a_worker_that_is_not_taken_again_ends() {
    let stage = Stage::new().await;
    stage.host.answer(forgetful(|| Answer::Refuse("invalid-card")));
    let worker = stage.worker("w1", 1, |_| async { Ok(Done::default()) });
    let error = worker.end().await.expect_err("it was refused");
    assert!(matches!(error, WorkerError::Refused { refusal, .. } if refusal.code == "invalid-card"));
}

/// A worker that waits for the answer to its registration can be stopped all the same.
#[tokio::test]
async fn a_worker_that_registers_again_can_be_stopped() {
    let stage = Stage::new().await;
    stage.host.answer(forgetful(|| Answer::Silence));
    let worker = stage.worker("w1", 1, |_| async { Ok(Done::default()) });
    stage.host.expect_nth(AGENT, "register", 2).await;
    worker.stop().await.expect("a good end");
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
