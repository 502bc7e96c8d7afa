//! Jobs that are stopped from outside: canceled, not renewed, late, or by a worker that leaves.

use std::time::Duration;

use actors_worker::{Done, Failure, Watch};
use bus_schemas::jobs::Job;
use serde_json::json;
use tokio::time::Instant;

use crate::host::{Answer, Received};
use crate::stage::{AGENT, Stage, attempt, job, key};

/// When the first renewal of a long lease comes, less some time for a busy machine.
const RENEWAL: Duration = Duration::from_secs(9);

/// Refuses renewals: the task does not want the work any more.
fn unwanted(told: &Received) -> Answer {
    if told.name == "renew" { Answer::Refuse("task-canceled") } else { Answer::Accept }
}

/// Works on a thread until it is told to stop, as every analysis does.
fn until_canceled(watch: Watch) -> Result<Done, Failure> {
    while !watch.is_canceled() {
        std::thread::sleep(Duration::from_millis(1));
    }
    Err(Failure::canceled())
}

/// The lease is a minute long, so it is the host's word that brings the cancellation, also to work on a thread of its
/// own.
#[tokio::test]
async fn a_cancellation_reaches_running_work_at_once() {
    let stage = Stage::new().await;
    let _worker = stage.worker("w1", 1, |work| async move { work.blocking(until_canceled).await });
    stage.host.give(&job("t1")).await;
    stage.host.expect("t1", "renew").await;
    stage.host.answer(unwanted);
    let canceled = Instant::now();
    stage.bus.stop_job(&key(AGENT), "w1", "t1/1").await;
    let told = stage.host.expect("t1", "fail-job").await;
    assert!(canceled.elapsed() < RENEWAL, "a renewal brought it, and not the word");
    assert_eq!((&told.command["class"], &told.command["code"]), (&json!("canceled"), &json!("canceled")));
}

/// A word alone stops nothing, since it may be old: the worker asks the task, and wanted work goes on.
#[tokio::test]
async fn an_old_word_does_not_stop_wanted_work() {
    let stage = Stage::new().await;
    let go = tokio_util::sync::CancellationToken::new();
    let wait = go.clone();
    let _worker = stage.worker("w1", 1, move |work| {
        let wait = wait.clone();
        async move {
            wait.cancelled().await;
            Ok(Done::with(Vec::new(), json!(work.canceled().is_cancelled())))
        }
    });
    stage.host.give(&job("t1")).await;
    stage.host.expect("t1", "renew").await;
    stage.bus.stop_job(&key(AGENT), "w1", "t1/1").await;
    stage.host.expect_nth("t1", "renew", 2).await;
    go.cancel();
    assert_eq!(stage.host.expect("t1", "complete-job").await.command["result"], json!(false));
}

/// Without any word a refused renewal ends the work.
#[tokio::test]
async fn a_refused_renewal_stops_the_work() {
    let stage = Stage::new().await;
    let mut renewals = 0;
    stage.host.answer(move |told| {
        renewals += usize::from(told.name == "renew");
        if renewals > 1 { unwanted(told) } else { Answer::Accept }
    });
    let _worker = stage.worker("w1", 1, |work| async move {
        work.canceled().cancelled().await;
        Err(Failure::canceled())
    });
    stage.host.give(&Job { lease_ms: 300, ..job("t1") }).await;
    assert_eq!(stage.host.expect("t1", "fail-job").await.command["code"], json!("canceled"));
}

/// A task that a halt of which the worker has not heard covers gets its job back, before it is begun or while it runs.
#[tokio::test]
async fn a_job_under_a_halt_is_given_back() {
    for begun in [0, 1] {
        let stage = Stage::new().await;
        let mut renewals = 0;
        stage.host.answer(move |told| {
            renewals += usize::from(told.name == "renew");
            if told.name == "renew" && renewals > begun { Answer::Refuse("halted") } else { Answer::Accept }
        });
        let _worker = stage.worker("w1", 1, |work| async move {
            work.canceled().cancelled().await;
            Err(Failure::canceled())
        });
        stage.host.give(&Job { lease_ms: 300, ..job("t1") }).await;
        let told = stage.host.expect("t1", "give-back").await;
        assert_eq!(told.command["token"].as_str().map(str::len), Some(32));
        assert!(told.command["reason"].as_str().is_some_and(|reason| reason.starts_with("halted")));
    }
}

/// A task that cannot be reached for a whole lease has given the attempt up: the work ends without a report, and its
/// place is free for the next attempt.
#[tokio::test]
async fn a_lost_lease_stops_the_work_without_a_report() {
    let stage = Stage::new().await;
    let mut renewals = 0;
    stage.host.answer(move |told| {
        let is_first = told.name == "renew" && told.command["attempt"] == json!(1);
        renewals += usize::from(is_first);
        if is_first && renewals > 1 { Answer::Silence } else { Answer::Accept }
    });
    let _worker = stage.worker("w1", 1, |work| async move {
        if work.job.attempt == 1 {
            work.canceled().cancelled().await;
            return Err(Failure::canceled());
        }
        Ok(Done::default())
    });
    stage.host.give(&Job { lease_ms: 300, ..job("t1") }).await;
    stage.host.give(&attempt("t1", 2)).await;
    assert_eq!(stage.host.expect("t1", "complete-job").await.command["attempt"], json!(2));
    assert_eq!(stage.host.names("t1"), ["complete-job"], "nothing may be reported of the first");
}

/// A deadline that has passed ends the work with its own code.
#[tokio::test]
async fn a_deadline_is_enforced() {
    let stage = Stage::new().await;
    let _worker = stage.worker("w1", 1, |work| async move { work.blocking(until_canceled).await });
    let mut job = job("t1");
    job.deadline = Some(bus_client::now().plus_ms(300));
    stage.host.give(&job).await;
    let told = stage.host.expect("t1", "fail-job").await;
    assert_eq!(
        (&told.command["class"], &told.command["code"]),
        (&json!("permanent"), &json!("deadline-exceeded"))
    );
}

/// A worker that leaves gives its running job back, and another one does the next attempt.
#[tokio::test]
async fn a_worker_that_stops_gives_its_jobs_back() {
    let stage = Stage::new().await;
    let leaving = stage.worker("w1", 1, |work| async move { work.blocking(until_canceled).await });
    stage.host.give(&job("t1")).await;
    stage.host.expect("t1", "renew").await;
    leaving.stop().await.expect("a good end");
    assert_eq!(stage.host.names("t1"), ["give-back"]);
    assert_eq!(stage.host.names(AGENT), ["register", "deregister"]);

    let _worker = stage.worker("w2", 1, |_| async { Ok(Done::default()) });
    stage.host.give(&attempt("t1", 2)).await;
    stage.host.expect("t1", "complete-job").await;
}

/// A worker that is stopped before its task has said that the attempt is its own gives it back without doing anything.
#[tokio::test]
async fn a_worker_that_stops_gives_back_what_it_has_not_begun() {
    let stage = Stage::new().await;
    stage.host.answer(|told| if told.name == "renew" { Answer::Silence } else { Answer::Accept });
    let leaving = stage.worker("w1", 1, |_| async { panic!("it must not be run") });
    stage.host.give(&job("t1")).await;
    stage.host.expect("t1", "renew").await;
    leaving.stop().await.expect("a good end");
    assert_eq!(stage.host.names("t1"), ["give-back"]);
}

/// A job that is on its way to a worker while that one is stopped comes back at once, and not when its lease lapses.
#[tokio::test]
async fn a_worker_that_stops_gives_back_what_is_on_its_way() {
    let stage = Stage::new().await;
    let leaving = stage.worker("w1", 1, |work| async move { work.blocking(until_canceled).await });
    let claim = stage.host.next_claim(&key(AGENT)).await;
    stage.host.issue(&claim, &job("t1"), None).await;
    leaving.stop().await.expect("a good end");
    assert_eq!(stage.host.names("t1"), ["give-back"]);
    assert_eq!(stage.host.names(AGENT), ["register", "deregister"]);
}
