//! The effect ledger: what is written around a deed, and when the deed is not done.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actors_agents::{Done, Effect, Failure};
use serde_json::{Value, json};

use crate::host::{Answer, Told};
use crate::stage::{Running, Stage, job};

/// A worker whose agent does one deed, and how often it was done.
fn worker(stage: &Stage, outcome: fn() -> Result<(), Failure>) -> (Running, Arc<AtomicUsize>) {
    let deeds = Arc::new(AtomicUsize::new(0));
    let count = deeds.clone();
    let worker = stage.worker("w1", 1, move |work| {
        let deeds = count.clone();
        async move {
            let deed = |_| async {
                deeds.fetch_add(1, Ordering::SeqCst);
                outcome()
            };
            work.effect(Effect::new("send").detail("a letter"), deed).await?;
            Ok(Done::default())
        }
    });
    (worker, deeds)
}

fn steps(stage: &Stage) -> Vec<Value> {
    stage.host.heard().into_iter().filter(is_entry).map(|told| told.command["step"].clone()).collect()
}

fn is_entry(told: &Told) -> bool {
    told.name == "record-effect"
}

/// The ledger hears of the deed before, while and after it.
#[tokio::test]
async fn a_deed_is_recorded_around() {
    let stage = Stage::new().await;
    let (_worker, deeds) = worker(&stage, || Ok(()));
    stage.host.give(&job("t1")).await;
    stage.host.expect("t1", "complete-job").await;
    assert_eq!(steps(&stage), [json!("intended"), json!("started"), json!("completed")]);
    assert_eq!(deeds.load(Ordering::SeqCst), 1);
}

/// A deed that failed for sure is `failed`; one whose end is unknown is `ambiguous`.
#[tokio::test]
async fn a_deed_that_was_not_done_is_recorded_as_what_it_is() {
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
async fn a_deed_that_somebody_has_begun_is_not_done_again() {
    let stage = Stage::new().await;
    stage.host.answer(|told| match told.command["step"].as_str() {
        Some("started") => Answer::Refuse("illegal-effect-step"),
        _ => Answer::Accept,
    });
    let (_worker, deeds) = worker(&stage, || Ok(()));
    stage.host.give(&job("t1")).await;
    let told = stage.host.expect("t1", "fail-job").await;
    assert_eq!(told.command["class"], json!("ambiguous"));
    assert_eq!(deeds.load(Ordering::SeqCst), 0);
}

/// A deed that was done and could not be recorded is not reported as done.
#[tokio::test]
async fn a_deed_that_is_not_in_the_ledger_is_ambiguous() {
    let stage = Stage::new().await;
    stage.host.answer(|told| match told.command["step"].as_str() {
        Some("completed") => Answer::Refuse("stale-attempt"),
        _ => Answer::Accept,
    });
    let (_worker, deeds) = worker(&stage, || Ok(()));
    stage.host.give(&job("t1")).await;
    let told = stage.host.expect("t1", "fail-job").await;
    assert_eq!(told.command["class"], json!("ambiguous"));
    assert_eq!(deeds.load(Ordering::SeqCst), 1);
}
