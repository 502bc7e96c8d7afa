//! Jobs that come to their end: done, failed, refused, unreadable.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actors_agents::{Done, Failure};
use bus_schemas::{CommandId, Hash, TraceContext};
use bytes::Bytes;
use futures::StreamExt;
use serde_json::json;
use tokio::sync::Barrier;
use tokio::time::timeout;

use crate::host::Answer;
use crate::server::PATIENCE;
use crate::stage::{AGENT, Stage, job, key};

/// The task hears of the start and of the result under ids that follow from the job, in the job's trace; the output is
/// numbered; the artifact can be read; and only then is the queue empty.
#[tokio::test]
async fn a_job_that_is_done_is_reported_once_and_leaves_the_queue() {
    let stage = Stage::new().await;
    let worker = stage.worker("w1", 1, |work| async move {
        work.output("hello ").await;
        work.progress(1, Some(2), "half").await;
        work.progress(2, Some(2), "all").await;
        let artifact = work.put_artifact("a.txt", "text/plain", Bytes::from_static(b"bytes")).await?;
        assert_eq!(work.get_artifact(&artifact).await?, Bytes::from_static(b"bytes"));
        let seven = work.blocking(|_| Ok::<_, Failure>(7)).await?;
        Ok(Done::with(vec![artifact], json!({ "seven": seven })))
    });
    let trace = TraceContext { trace_id: [7; 16], span_id: [8; 8], flags: 1 };
    stage.host.give(&job("t1.step"), Some(trace)).await;

    let told = stage.host.expect("t1.step", "complete-job").await;
    assert_eq!(told.id, CommandId::from_text("t1.step/1").derive("complete", 0));
    assert_eq!(told.trace, Some(trace));
    assert_eq!(told.command["result"], json!({ "seven": 7 }));
    let artifact = &told.command["artifacts"][0];
    assert_eq!((&artifact["name"], &artifact["bytes"]), (&json!("a.txt"), &json!(5)));
    assert_eq!((&artifact["step"], &artifact["hash"]), (&json!(""), &json!(Hash::of(b"bytes").to_hex())));
    stage.no_jobs_left().await;
    assert_eq!(stage.host.names("t1.step"), ["start-job", "complete-job"]);

    let chunks = stage.bus.output(&key("t1")).await.expect("the output stream").take(3);
    let chunks: Vec<_> = timeout(PATIENCE, chunks.collect()).await.expect("three pieces");
    let chunks: Vec<_> = chunks.into_iter().map(|chunk| chunk.expect("a piece").1).collect();
    assert_eq!(chunks.iter().map(|chunk| chunk.number).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(chunks[0].text, "hello ");
    assert_eq!(chunks[2].progress.as_ref().map(|progress| progress.done), Some(2));
    worker.stop().await.expect("a good end");
}

/// A task that refuses the start does not get its work done, and the queue forgets the job.
#[tokio::test]
async fn a_job_whose_start_is_refused_is_never_run() {
    let stage = Stage::new().await;
    stage.host.answer(|told| match told.name.as_str() {
        "start-job" => Answer::Refuse("stale-attempt"),
        _ => Answer::Accept,
    });
    let _worker = stage.worker("w1", 1, |_| async { panic!("it must not be run") });
    stage.host.give(&job("t1"), None).await;
    stage.host.expect("t1", "start-job").await;
    stage.no_jobs_left().await;
    assert_eq!(stage.host.names("t1"), ["start-job"]);
}

/// A panic is the task's failure and not the worker's: the next job is done.
#[tokio::test]
async fn a_panic_is_reported_as_poison_and_the_worker_goes_on() {
    let stage = Stage::new().await;
    let _worker = stage.worker("w1", 1, |work| async move {
        match work.job.task.key.as_str() {
            "t1" => panic!("a script went wrong"),
            "t2" => work.blocking(|_| -> Result<Done, Failure> { panic!("on a thread") }).await,
            _ => Ok(Done::default()),
        }
    });
    for task in ["t1", "t2", "t3"] {
        stage.host.give(&job(task), None).await;
    }
    for (task, words) in [("t1", "a script went wrong"), ("t2", "on a thread")] {
        let told = stage.host.expect(task, "fail-job").await;
        assert_eq!(
            (&told.command["class"], &told.command["code"]),
            (&json!("poison"), &json!("agent-panicked"))
        );
        assert!(told.command["message"].as_str().is_some_and(|message| message.ends_with(words)));
    }
    stage.host.expect("t3", "complete-job").await;
    stage.no_jobs_left().await;
}

/// A failure keeps its class, code and hint; a question is no failure.
#[tokio::test]
async fn a_failure_and_a_question_are_reported_as_they_are() {
    let stage = Stage::new().await;
    let _worker = stage.worker("w1", 1, |work| async move {
        match work.job.task.key.as_str() {
            "t1" => Err(Failure::transient("no-route", "the line is down").hint("wait")),
            _ => Err(Failure::input_required("which one?")),
        }
    });
    stage.host.give(&job("t1"), None).await;
    stage.host.give(&job("t2"), None).await;
    let told = stage.host.expect("t1", "fail-job").await;
    let expected = json!({
        "type": "fail-job", "attempt": 1, "class": "transient", "code": "no-route",
        "message": "the line is down", "hint": "wait",
    });
    assert_eq!(told.command, expected);
    let told = stage.host.expect("t2", "require-input").await;
    assert_eq!(told.command["prompt"], json!("which one?"));
    stage.no_jobs_left().await;
}

/// What nobody can read is kept byte for byte among the dead letters, and does not come again.
#[tokio::test]
async fn an_unreadable_job_becomes_a_dead_letter() {
    let stage = Stage::new().await;
    let _worker = stage.worker("w1", 1, |_| async { Ok(Done::default()) });
    for (id, body) in [("x/1", "{ not a job"), ("x/2", r#"{"id":"x/2"}"#), ("x/3", "")] {
        let body = Bytes::from_static(body.as_bytes());
        stage.host.give_bytes(id, &key(AGENT), body.clone(), None).await;
        stage.no_jobs_left().await;
        let kept = stage.bus.dead_payload("job", &Hash::of(&body).to_hex()).await.expect("the stream");
        assert_eq!(kept, Some(body));
    }
    // Nobody stored this one's blob, so it can not be read either.
    stage.host.give_bytes("x/4", &key(AGENT), Bytes::from(vec![b'x'; 70_000]), None).await;
    stage.no_jobs_left().await;
    let told = stage.bus.state_of(&stage.bus.topology().inbox()).await.expect("the inbox");
    assert_eq!(told.messages, 3, "the dead-letter entities are told");
    stage.host.give(&job("t1"), None).await;
    stage.host.expect("t1", "complete-job").await;
}

/// A result that the task does not take must not leave it waiting for the lease to run out.
#[tokio::test]
async fn a_refused_result_is_followed_by_a_failure() {
    let stage = Stage::new().await;
    stage.host.answer(|told| match told.name.as_str() {
        "complete-job" => Answer::Refuse("too-many-artifacts"),
        _ => Answer::Accept,
    });
    let _worker = stage.worker("w1", 1, |_| async { Ok(Done::default()) });
    stage.host.give(&job("t1"), None).await;
    let told = stage.host.expect("t1", "fail-job").await;
    assert_eq!(told.command["code"], json!("too-many-artifacts"));
    stage.no_jobs_left().await;
}

/// A report that nobody answers keeps the job in the queue: it is delivered again, and done again.
#[tokio::test]
async fn a_report_without_answer_keeps_the_job() {
    let stage = Stage::new().await;
    let mut starts = 0;
    stage.host.answer(move |told| {
        starts += usize::from(told.name == "start-job");
        if told.name == "complete-job" && starts == 1 { Answer::Silence } else { Answer::Accept }
    });
    let _worker = stage.worker("w1", 1, |_| async { Ok(Done::default()) });
    let mut job = job("t1");
    job.lease_ms = 100;
    stage.host.give(&job, None).await;
    let first = stage.host.expect_nth("t1", "start-job", 1).await;
    let second = stage.host.expect_nth("t1", "start-job", 2).await;
    assert_ne!(first.id, second.id, "the second start must be decided anew");
    stage.no_jobs_left().await;
}

/// Two places, four jobs: two at once, and never three.
#[tokio::test]
async fn a_worker_does_as_many_jobs_at_once_as_it_has_places() {
    let stage = Stage::new().await;
    let (meet, now, most) =
        (Arc::new(Barrier::new(2)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let peak = most.clone();
    let _worker = stage.worker("w1", 2, move |_| {
        let (meet, now, most) = (meet.clone(), now.clone(), most.clone());
        async move {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            meet.wait().await;
            now.fetch_sub(1, Ordering::SeqCst);
            Ok(Done::default())
        }
    });
    for task in ["t1", "t2", "t3", "t4"] {
        stage.host.give(&job(task), None).await;
    }
    stage.no_jobs_left().await;
    assert_eq!(peak.load(Ordering::SeqCst), 2);
}
