//! Jobs that are stopped from outside: canceled, not renewed, late, or by a worker that leaves.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use actors_agents::report::{self, Watch};
use actors_agents::{Done, Failure};
use bus_schemas::Timestamp;
use serde_json::json;
use tokio::time::Instant;

use crate::host::{Answer, Told};
use crate::stage::{Stage, job, key};

/// When the first renewal of a long lease comes, less some time for a busy machine.
const RENEWAL: Duration = Duration::from_secs(9);

/// Refuses renewals: the task does not want the work any more.
fn unwanted(told: &Told) -> Answer {
    if told.name == "renew-lease" { Answer::Refuse("task-canceled") } else { Answer::Accept }
}

/// Works on a thread until it is told to stop, as every analysis does.
fn until_canceled(watch: &Watch) -> Result<Done, report::Error> {
    loop {
        watch.check()?;
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The lease is a minute long, so it is the event that brings the cancellation, also to work on a thread of its own.
#[tokio::test]
async fn a_cancellation_reaches_running_work_at_once() {
    let stage = Stage::new().await;
    let _worker = stage.worker("w1", 1, |work| async move {
        work.output("begun").await;
        work.blocking(until_canceled).await
    });
    stage.host.give(&job("t1"), None).await;
    stage.host.expect("t1", "start-job").await;
    stage.host.answer(unwanted);
    let canceled = Instant::now();
    stage.host.publish_event(&key("t1"), "canceled").await;
    let told = stage.host.expect("t1", "fail-job").await;
    assert!(canceled.elapsed() < RENEWAL, "a renewal brought it, and not the event");
    assert_eq!((&told.command["class"], &told.command["code"]), (&json!("canceled"), &json!("canceled")));
    stage.no_jobs_left().await;
}

/// An event from before a retry says nothing about this attempt: the task renews, and the work goes on.
#[tokio::test]
async fn an_old_event_does_not_stop_wanted_work() {
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
    stage.host.give(&job("t1"), None).await;
    stage.host.expect("t1", "start-job").await;
    stage.host.publish_event(&key("t1"), "failed").await;
    stage.host.expect("t1", "renew-lease").await;
    go.cancel();
    assert_eq!(stage.host.expect("t1", "complete-job").await.command["result"], json!(false));
}

/// Without any event a refused renewal ends the work.
#[tokio::test]
async fn a_refused_renewal_stops_the_work() {
    let stage = Stage::new().await;
    stage.host.answer(unwanted);
    let _worker = stage.worker("w1", 1, |work| async move {
        work.canceled().cancelled().await;
        Err(Failure::canceled())
    });
    let mut job = job("t1");
    job.lease_ms = 300;
    stage.host.give(&job, None).await;
    assert_eq!(stage.host.expect("t1", "fail-job").await.command["code"], json!("canceled"));
    stage.no_jobs_left().await;
}

/// A task that can not be reached for a whole lease has given the attempt up: the work ends without a report, and the
/// queue delivers the job again.
#[tokio::test]
async fn a_lost_lease_stops_the_work_and_keeps_the_job() {
    let stage = Stage::new().await;
    let mut starts = 0;
    stage.host.answer(move |told| {
        starts += usize::from(told.name == "start-job");
        if told.name == "renew-lease" && starts == 1 { Answer::Silence } else { Answer::Accept }
    });
    let runs = AtomicUsize::new(0);
    let _worker = stage.worker("w1", 1, move |work| {
        let is_first = runs.fetch_add(1, Ordering::SeqCst) == 0;
        async move {
            if is_first {
                work.canceled().cancelled().await;
                return Err(Failure::canceled());
            }
            Ok(Done::default())
        }
    });
    let mut job = job("t1");
    job.lease_ms = 300;
    stage.host.give(&job, None).await;
    stage.host.expect("t1", "complete-job").await;
    assert_eq!(stage.host.names("t1"), ["start-job", "start-job", "complete-job"]);
    stage.no_jobs_left().await;
}

/// A deadline that has passed ends the work with its own code.
#[tokio::test]
async fn a_deadline_is_enforced() {
    let stage = Stage::new().await;
    let _worker = stage.worker("w1", 1, |work| async move { work.blocking(until_canceled).await });
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    let mut job = job("t1");
    job.deadline = Some(Timestamp(now.as_millis() as u64).plus_ms(300));
    stage.host.give(&job, None).await;
    let told = stage.host.expect("t1", "fail-job").await;
    assert_eq!(
        (&told.command["class"], &told.command["code"]),
        (&json!("permanent"), &json!("deadline-exceeded"))
    );
    stage.no_jobs_left().await;
}

/// A worker that leaves gives its running job back, and another one does it.
#[tokio::test]
async fn a_worker_that_stops_gives_its_jobs_back() {
    let stage = Stage::new().await;
    let leaving = stage.worker("w1", 1, |work| async move { work.blocking(until_canceled).await });
    stage.host.give(&job("t1"), None).await;
    stage.host.expect("t1", "start-job").await;
    leaving.stop().await.expect("a good end");
    assert_eq!(stage.host.names("t1"), ["start-job"], "nothing may be reported");
    stage.host.expect("scripted", "deregister").await;

    let _worker = stage.worker("w2", 1, |_| async { Ok(Done::default()) });
    assert_eq!(stage.host.expect_nth("t1", "start-job", 2).await.command["worker"], json!("w2"));
    stage.host.expect("t1", "complete-job").await;
    stage.no_jobs_left().await;
}
