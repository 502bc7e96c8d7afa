//! The effect ledger: what is written around a side effect, and when it is not done.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actors_worker::{Done, Effect, Failure};
use serde_json::{Value, json};

use crate::host::{Answer, Received};
use crate::stage::{Running, Stage, job};

/// A worker whose agent does one side effect, and how often it was done.
fn worker(stage: &Stage, outcome: fn() -> Result<(), Failure>) -> (Running, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = calls.clone();
    let worker = stage.worker("w1", 1, move |work| {
        let calls = count.clone();
        async move {
            let call = |_| async {
                calls.fetch_add(1, Ordering::SeqCst);
                outcome()
            };
            work.effect(Effect::new("send").detail("a letter"), call).await?;
            Ok(Done::default())
        }
    });
    (worker, calls)
}

fn steps(stage: &Stage) -> Vec<Value> {
    stage.host.heard().into_iter().filter(is_entry).map(|told| told.command["step"].clone()).collect()
}

fn is_entry(told: &Received) -> bool {
    told.name == "record-effect"
}

/// The ledger hears of the side effect before, while and after it.
#[tokio::test]
async fn a_side_effect_is_recorded_around() {
    let stage = Stage::new().await;
    let (_worker, calls) = worker(&stage, || Ok(()));
    stage.host.give(&job("t1")).await;
    stage.host.expect("t1", "complete-job").await;
    assert_eq!(steps(&stage), [json!("intended"), json!("started"), json!("completed")]);
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

/// A side effect that failed for sure is `failed`; one whose end is unknown is `ambiguous`.
#[tokio::test]
async fn a_side_effect_that_was_not_done_is_recorded_as_what_it_is() {
    for (outcome, last) in [
        ((|| Err(Failure::transient("no-route", "down"))) as fn() -> Result<(), Failure>, "failed"),
        (|| Err(Failure::ambiguous("broken", "no answer")), "ambiguous"),
    ] {
        let stage = Stage::new().await;
        let (_worker, _) = worker(&stage, outcome);
        stage.host.give(&job("t1")).await;
        stage.host.expect("t1", "fail-job").await;
        assert_eq!(steps(&stage).last(), Some(&json!(last)));
    }
}

/// A ledger that refuses says that somebody may have begun: nothing is done, and nobody tries again by himself.
#[tokio::test]
async fn a_side_effect_that_somebody_has_begun_is_not_done_again() {
    let stage = Stage::new().await;
    stage.host.answer(|told| match told.command["step"].as_str() {
        Some("started") => Answer::Refuse("illegal-effect-step"),
        _ => Answer::Accept,
    });
    let (_worker, calls) = worker(&stage, || Ok(()));
    stage.host.give(&job("t1")).await;
    let told = stage.host.expect("t1", "fail-job").await;
    assert_eq!(told.command["class"], json!("ambiguous"));
    assert_eq!(calls.load(Ordering::SeqCst), 0);
}

/// A side effect that was done and could not be recorded is not reported as done.
#[tokio::test]
async fn a_side_effect_that_is_not_in_the_ledger_is_ambiguous() {
    let stage = Stage::new().await;
    stage.host.answer(|told| match told.command["step"].as_str() {
        Some("completed") => Answer::Refuse("stale-attempt"),
        _ => Answer::Accept,
    });
    let (_worker, calls) = worker(&stage, || Ok(()));
    stage.host.give(&job("t1")).await;
    let told = stage.host.expect("t1", "fail-job").await;
    assert_eq!(told.command["class"], json!("ambiguous"));
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}
