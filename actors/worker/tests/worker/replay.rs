//! Replay: an agent runs a recorded attempt again. Nothing is written, and nothing that was recorded is done again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actors_worker::replay::{Replayed, replay};
use actors_worker::{Compared, Done, Effect, Failure, Recording, Work};
use bus_schemas::Hash;
use bus_schemas::commands::task::Command;
use bus_schemas::jobs::{EffectStep, PastEffect, StepResult};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::stage::{Stage, job, scripted};

/// What the steps below were recorded with.
fn input(value: &Value) -> Hash {
    Hash::of(actors_worker::canonical(value).as_bytes())
}

fn step(name: &str, input_value: &Value, result: Value) -> StepResult {
    StepResult { name: name.into(), input: input(input_value), result }
}

/// A recording of `played`.
fn recording() -> Recording {
    let job = job("t1");
    let effect = Effect::new("pay").tool("bank", json!(7));
    let key = Some(effect.key(&job));
    let pay = PastEffect {
        effect: "pay".into(),
        step: EffectStep::Completed,
        detail: String::new(),
        key,
        result: json!("receipt"),
    };
    let steps =
        vec![step("read", &json!("page"), json!(["A", "B"])), step("count", &json!(["A", "B"]), json!(2))];
    Recording { job, steps, effects: vec![pay], failure: None, runs_steps: false }
}

/// Reads a page, pays, counts, and leaves an artifact. Counts what it really did.
async fn played(work: Work, done: Arc<AtomicUsize>, page: &'static str) -> Result<Done, Failure> {
    let did = || done.fetch_add(1, Ordering::SeqCst);
    let read: Vec<String> = work
        .step("read", page, async || {
            did();
            Ok(vec![page.to_owned()])
        })
        .await?;
    let pay = Effect::new("pay").tool("bank", json!(7));
    let receipt: String = work
        .effect(pay, async |_| {
            did();
            Ok("another".to_owned())
        })
        .await?;
    let count: usize = work
        .step("count", &read, async || {
            did();
            Ok(read.len())
        })
        .await?;
    let made = work.put_artifact("a.txt", "text/plain", Bytes::from(read.join(" "))).await?;
    assert_eq!(
        work.get_artifact(&made).await?,
        Bytes::from(read.join(" ")),
        "an artifact of its own is at hand"
    );
    Ok(Done::with(vec![made], json!({"count": count, "receipt": receipt})))
}

/// What was done for real, and what the replay says.
async fn run(stage: &Stage, recording: Recording, page: &'static str) -> (usize, Replayed) {
    let done = Arc::new(AtomicUsize::new(0));
    let count = done.clone();
    let agent = scripted(move |work| played(work, count.clone(), page));
    let replayed = replay(agent, &stage.bus, recording).await;
    (done.load(Ordering::SeqCst), replayed)
}

fn compared(replayed: &Replayed) -> Vec<(&str, bool)> {
    let request = |request: &'_ actors_worker::Request| request.compared == Compared::Same;
    replayed.requests.iter().map(|one| (one.name.as_str(), request(one))).collect()
}

/// The same agent asks for the same and decides the same, and does nothing.
#[tokio::test]
async fn recorded_results_are_given_and_nothing_is_done() {
    let stage = Stage::new().await;
    let (done, replayed) = run(&stage, recording(), "page").await;
    assert_eq!(done, 0);
    assert_eq!(compared(&replayed), [("read", true), ("pay", true), ("count", true)]);
    let Some(Command::CompleteJob { artifacts, result, .. }) = &replayed.report else {
        panic!("{:?}", replayed.report)
    };
    assert_eq!(result, &json!({"count": 2, "receipt": "receipt"}));
    let artifact = artifacts.first().expect("an artifact").hash;
    assert_eq!(artifact, Hash::of(b"A B"));
    assert!(stage.bus.get_blob(artifact).await.is_err(), "it was not stored");
    assert!(stage.host.names("t1").is_empty(), "nothing was told");
}

/// An agent that asks for something else stops there, with the name of the step.
#[tokio::test]
async fn a_changed_request_is_named_and_ends_the_replay() {
    let stage = Stage::new().await;
    let (done, replayed) = run(&stage, recording(), "another page").await;
    assert_eq!((done, replayed.report.is_none()), (0, true), "{replayed:?}");
    let Compared::Changed { recorded, requested } = &replayed.requests[0].compared else {
        panic!("{replayed:?}")
    };
    assert_eq!(recorded.as_str(), input(&json!("page")).to_hex().as_str());
    assert_eq!(requested.as_str(), input(&json!("another page")).to_hex().as_str());
}

/// With a change on purpose the steps that differ run, and effects are never done.
#[tokio::test]
async fn a_change_runs_steps_and_no_effects() {
    let stage = Stage::new().await;
    let changed = Recording { runs_steps: true, ..recording() };
    let (done, replayed) = run(&stage, changed.clone(), "another page").await;
    assert_eq!(compared(&replayed), [("read", false), ("pay", true), ("count", false)]);
    assert_eq!(done, 2, "the two steps");
    assert!(matches!(&replayed.report, Some(Command::CompleteJob { .. })), "{replayed:?}");
    let unpaid = Recording { effects: Vec::new(), ..changed };
    let (done, replayed) = run(&stage, unpaid, "page").await;
    assert_eq!((done, replayed.report.is_none()), (0, true), "{replayed:?}");
}

/// What has no record because it failed fails again, as the attempt did.
#[tokio::test]
async fn a_failure_of_the_outside_is_given_again() {
    let stage = Stage::new().await;
    let Failure::Failed(failure) = Failure::transient("no-route", "the line is down") else {
        panic!("a failure")
    };
    let mut failed = Recording { failure: Some(failure.clone()), ..recording() };
    failed.steps.pop();
    let (done, replayed) = run(&stage, failed, "page").await;
    assert_eq!(done, 0);
    assert_eq!(compared(&replayed), [("read", true), ("pay", true), ("count", false)]);
    let Some(Command::FailJob { code, message, .. }) = replayed.report else {
        panic!("{:?}", replayed.report)
    };
    assert_eq!((code, message), (failure.code, failure.message));
}

/// A panic is a decision like any other, and ends nothing else.
#[tokio::test]
async fn a_panic_is_told() {
    let stage = Stage::new().await;
    let agent = scripted(async |_| panic!("no hands"));
    let replayed = replay(agent, &stage.bus, recording()).await;
    let Some(Command::FailJob { code, message, .. }) = replayed.report else {
        panic!("{:?}", replayed.report)
    };
    assert_eq!(code, "agent-panicked");
    assert!(message.contains("no hands"), "{message}");
}

/// An effect that failed and was tried again gives its failure first, then its result.
#[tokio::test]
async fn an_effect_that_was_tried_again_fails_first() {
    let stage = Stage::new().await;
    let mut tried = recording();
    let Failure::Failed(busy) = Failure::transient("bank-busy", "come later") else { panic!("a failure") };
    let failed = PastEffect { step: EffectStep::Failed, result: json!(busy), ..tried.effects[0].clone() };
    tried.effects.insert(0, failed);
    let agent = scripted(async |work| {
        let pay = || work.effect(Effect::new("pay").tool("bank", json!(7)), async |_| Ok(String::new()));
        let code = match pay().await {
            Err(Failure::Failed(failure)) => failure.code,
            other => panic!("{other:?}"),
        };
        let receipt: String = pay().await?;
        Ok(Done::with(Vec::new(), json!([code, receipt])))
    });
    let replayed = replay(agent, &stage.bus, tried).await;
    let Some(Command::CompleteJob { result, .. }) = replayed.report else { panic!("{:?}", replayed.report) };
    assert_eq!(result, json!(["bank-busy", "receipt"]));
}
