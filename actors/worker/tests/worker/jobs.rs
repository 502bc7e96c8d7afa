//! Jobs that come to their end: done, failed, refused; and claims whose answers come twice or cannot be read.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actors_worker::{Done, Failure};
use bus_schemas::claims::Issued;
use bus_schemas::jobs::Job;
use bus_schemas::{CommandId, Hash, TraceContext};
use bytes::Bytes;
use futures::StreamExt;
use serde_json::json;
use tokio::sync::Barrier;
use tokio::time::timeout;

use crate::host::Answer;
use crate::server::PATIENCE;
use crate::stage::{AGENT, Stage, job, key};

/// The task hears of the result under an id that follows from the job, with its token and in its trace; the output is
/// numbered; the artifact can be read; and the place is free again.
#[tokio::test]
async fn a_job_that_is_done_is_reported_once_and_its_place_is_free_again() {
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
    stage.host.give_traced(&job("t1.step"), Some(trace)).await;

    let told = stage.host.expect("t1.step", "complete-job").await;
    assert_eq!(told.id, CommandId::from_text("t1.step/1").derive("complete", 0));
    assert_eq!(told.trace, Some(trace));
    assert_eq!(told.command["attempt"], json!(1));
    assert_eq!(told.command["token"].as_str().map(str::len), Some(32));
    assert_eq!(told.command["result"], json!({ "seven": 7 }));
    let artifact = &told.command["artifacts"][0];
    assert_eq!((&artifact["name"], &artifact["bytes"]), (&json!("a.txt"), &json!(5)));
    assert_eq!((&artifact["step"], &artifact["hash"]), (&json!(""), &json!(Hash::of(b"bytes").to_hex())));
    stage.host.give(&job("t2")).await;
    stage.host.expect("t2", "complete-job").await;

    let chunks = stage.bus.output(&key("t1")).await.expect("the output stream").take(3);
    let chunks: Vec<_> = timeout(PATIENCE, chunks.collect()).await.expect("three pieces");
    let chunks: Vec<_> = chunks.into_iter().map(|chunk| chunk.expect("a piece").1).collect();
    assert_eq!(chunks.iter().map(|chunk| chunk.number).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(chunks[0].text, "hello ");
    assert_eq!(chunks[2].progress.as_ref().map(|progress| progress.done), Some(2));
    worker.stop().await.expect("a good end");
    assert_eq!(stage.host.names("t1.step"), ["complete-job"]);
}

/// A task that says that the attempt is not this worker's does not get its work done, and the next one does.
#[tokio::test]
async fn a_job_that_its_task_does_not_want_is_never_run() {
    let stage = Stage::new().await;
    stage.host.answer(|told| match (told.name.as_str(), told.to.key.as_str()) {
        ("renew", "t1") => Answer::Refuse("stale-attempt"),
        _ => Answer::Accept,
    });
    let worker = stage.worker("w1", 1, |work| async move {
        assert_ne!(work.job.task.key.as_str(), "t1", "it must not be run");
        Ok(Done::default())
    });
    stage.host.give(&job("t1")).await;
    stage.host.give(&job("t2")).await;
    stage.host.expect("t2", "complete-job").await;
    worker.stop().await.expect("a good end");
    assert!(stage.host.names("t1").is_empty(), "nothing may be reported");
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
        stage.host.give(&job(task)).await;
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
    stage.host.give(&job("t1")).await;
    stage.host.give(&job("t2")).await;
    let told = stage.host.expect("t1", "fail-job").await;
    let expected = json!({
        "type": "fail-job", "attempt": 1, "token": told.command["token"], "class": "transient", "code": "no-route",
        "message": "the line is down", "hint": "wait",
    });
    assert_eq!(told.command, expected);
    let told = stage.host.expect("t2", "require-input").await;
    assert_eq!(told.command["prompt"], json!("which one?"));
}

/// The answer to a claim may come twice, as after a takeover: the job is done once, also when the second answer comes
/// after its end.
#[tokio::test]
async fn a_job_that_comes_twice_is_done_once() {
    let stage = Stage::new().await;
    let runs = Arc::new(AtomicUsize::new(0));
    let count = runs.clone();
    let worker = stage.worker("w1", 1, move |work| {
        count.fetch_add(usize::from(work.job.task.key.as_str() == "t1"), Ordering::SeqCst);
        async { Ok(Done::default()) }
    });
    let claim = stage.host.next_claim(&key(AGENT)).await;
    stage.host.issue(&claim, &job("t1"), None).await;
    stage.host.issue(&claim, &job("t1"), None).await;
    stage.host.expect("t1", "complete-job").await;
    stage.host.issue(&claim, &job("t1"), None).await;
    // Answers arrive in order: when this job is done, the worker has read the others.
    stage.host.give(&job("t2")).await;
    stage.host.expect("t2", "complete-job").await;
    worker.stop().await.expect("a good end");
    assert_eq!(runs.load(Ordering::SeqCst), 1);
    assert_eq!(stage.host.names("t1"), ["complete-job"]);
}

/// An answer that nobody can read is as good as none: the worker claims its place again, and the next job is done.
#[tokio::test]
async fn an_unreadable_answer_to_a_claim_is_survived() {
    let stage = Stage::new().await;
    let _worker = stage.worker("w1", 1, |_| async { Ok(Done::default()) });
    let claim = stage.host.next_claim(&key(AGENT)).await;
    for answer in ["{ no answer", "", r#"{"status":"issued"}"#, r#"{"status":"issued","jobs":[{}]}"#] {
        stage.host.say(&claim, Bytes::from_static(answer.as_bytes())).await;
    }
    // Nobody stored this one's job.
    let lost = Issued { blob: Some(Hash::of(b"lost")), ..Issued::default() };
    stage.host.issue_as(&claim, lost).await;
    // Whoever waits for an answer claims again; silence does the same after some seconds.
    stage.bus.tell_taken_over().await;
    let again = stage.host.next_claim(&key(AGENT)).await;
    assert_eq!((again.id, again.claim.repeated), (claim.id, true), "it must be the same claim");
    stage.host.issue(&again, &job("t1"), None).await;
    stage.host.expect("t1", "complete-job").await;
}

/// A large job lies in the blob store. While it is read from there, the worker hears other words, and keeps it.
#[tokio::test]
async fn a_large_job_is_done_whatever_else_is_heard_meanwhile() {
    let stage = Stage::new().await;
    let _worker = stage.worker("w1", 1, |work| async move {
        Ok(Done::with(Vec::new(), json!(work.job.input.as_str().map(str::len))))
    });
    let claim = stage.host.next_claim(&key(AGENT)).await;
    let large = Job { input: "x".repeat(200_000).into(), ..job("t1") };
    let bytes = serde_json::to_vec(&large).expect("a job is plain data");
    let blob = Some(stage.bus.put_blob(&bytes).await.expect("the blob store"));
    stage.host.issue_as(&claim, Issued { blob, ..Issued::default() }).await;
    for _ in 0..100 {
        stage.bus.stop_job(&key(AGENT), "w1", "another/1").await;
    }
    let told = stage.host.expect("t1", "complete-job").await.command;
    assert_eq!(told["result"], json!(200_000));
    let token = told["token"].as_str().expect("a token");
    assert_eq!((Hash::of_token(token), token.len()), (claim.claim.token, 32));
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
    stage.host.give(&job("t1")).await;
    let told = stage.host.expect("t1", "fail-job").await;
    assert_eq!(told.command["code"], json!("too-many-artifacts"));
}

/// A report that nobody answers is sent again under its id, so that it counts once; and when that is of no use, the
/// place is free for the next job.
#[tokio::test]
async fn a_report_without_answer_does_not_block_the_place() {
    let stage = Stage::new().await;
    stage.host.answer(|told| match (told.name.as_str(), told.to.key.as_str()) {
        ("complete-job", "t1") => Answer::Silence,
        _ => Answer::Accept,
    });
    let _worker = stage.worker("w1", 1, |_| async { Ok(Done::default()) });
    stage.host.give(&Job { lease_ms: 100, ..job("t1") }).await;
    stage.host.give(&job("t2")).await;
    stage.host.expect("t2", "complete-job").await;
    let reports: Vec<_> = stage.host.heard().into_iter().filter(|told| told.to.key == key("t1")).collect();
    assert!(reports.len() > 1, "it must be sent again");
    assert!(reports.iter().all(|told| told.id == reports[0].id), "it must keep its id");
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
        stage.host.give(&job(task)).await;
    }
    for task in ["t1", "t2", "t3", "t4"] {
        stage.host.expect(task, "complete-job").await;
    }
    assert_eq!(peak.load(Ordering::SeqCst), 2);
}
