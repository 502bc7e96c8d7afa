//! Steps of an attempt: recorded once, and not done again by the attempts after it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actors_worker::{Done, Failure};
use bus_client::events::{Cursor, Mark, OutgoingEvent};
use bus_schemas::events::task::Event;
use bus_schemas::jobs::Job;
use bus_schemas::wire::WireEvent;
use bus_schemas::{
    Body, CommandId, EntityAddress, Hash, Key, Kind, LogSequence, PartitionId, Revision, Timestamp, record,
};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::host::Received;
use crate::stage::{Running, Stage, attempt, job, key};

/// What was recorded by a command, by name.
fn names(told: &Received) -> Vec<&str> {
    let steps = told.command["steps"].as_array().expect("steps");
    steps.iter().map(|step| step["name"].as_str().expect("a name")).collect()
}

/// Publishes the events of steps that a host was told of, as its fan-out does.
async fn publish_steps(stage: &Stage, task: &Key, steps: &Value) {
    let entity = EntityAddress::new(Kind::from_static("task"), task.clone());
    let id = CommandId::from_text("steps");
    let event = |(index, step): (usize, &Value)| {
        let mut body = json!({ "type": "step-recorded", "attempt": 1 });
        let fields = body.as_object_mut().expect("an object");
        fields.extend(step.as_object().expect("a step").clone());
        record::Event {
            revision: Revision(index as u64 + 1),
            event_type: "step-recorded".into(),
            schema: Event::SCHEMA,
            hash: Hash::default(),
            body: Bytes::from(body.to_string()),
        }
    };
    let events: Vec<_> = steps.as_array().expect("steps").iter().enumerate().map(event).collect();
    let turn = record::Turn {
        source: record::Source::Ask,
        entity: entity.clone(),
        command: record::Command {
            id,
            body: Body::default(),
            cause: None,
            correlation: id,
            trace: None,
            caller: None,
            settles: false,
        },
        at: Timestamp(0),
        events: Vec::new(),
        refusal: None,
        sends: Vec::new(),
        timers: Vec::new(),
        leases: Vec::new(),
        jobs: Vec::new(),
        stops: Vec::new(),
        is_open: false,
        reply: Bytes::new(),
        dead: None,
    };
    let outgoing = events.iter().zip(0..).map(|(event, index)| {
        let cursor = Cursor { partition: PartitionId(0), record: LogSequence(1), index };
        OutgoingEvent { entity: &entity, event, cursor, turn: &turn, first: index == 0 }
    });
    let outgoing: Vec<_> = outgoing.collect();
    let published =
        stage.bus.publish_events(PartitionId(0), Mark::default(), LogSequence(1), 0, &outgoing).await;
    published.expect("the stream takes the events");
}

/// A worker whose agent reads a page, which is large in the second case, then counts it; its first attempt fails
/// between the two. Counts how often the page was read.
fn reader(stage: &Stage, letters: usize) -> (Running, Arc<AtomicUsize>) {
    let reads = Arc::new(AtomicUsize::new(0));
    let count = reads.clone();
    let worker = stage.worker("w1", 1, move |work| {
        let reads = count.clone();
        async move {
            let read = || async {
                reads.fetch_add(1, Ordering::SeqCst);
                Ok("x".repeat(letters))
            };
            let page: String = work.step("read", &json!({ "page": work.job.input }), read).await?;
            if work.job.attempt == 1 {
                return Err(Failure::transient("no-route", "the line is down"));
            }
            let length = work.step("count", &page, || async { Ok(page.len()) }).await?;
            Ok(Done::with(Vec::new(), json!(length)))
        }
    });
    (worker, reads)
}

/// The first attempt fails after a step, which is recorded all the same. The second one gets what it gave, and does only
/// what is new, which goes with its report.
#[tokio::test]
async fn a_step_that_is_recorded_is_not_done_again() {
    for letters in [7, 200_000] {
        let stage = Stage::new().await;
        let (_worker, reads) = reader(&stage, letters);
        stage.host.give(&job("t1")).await;
        let told = stage.host.expect("t1", "record-step").await;
        assert_eq!(names(&told), ["read"]);
        assert_eq!(told.command["token"].as_str().map(str::len), Some(32));
        stage.host.expect("t1", "fail-job").await;
        publish_steps(&stage, &key("t1"), &told.command["steps"]).await;

        stage.host.give(&Job { steps: 1, ..attempt("t1", 2) }).await;
        let told = stage.host.expect("t1", "complete-job").await;
        assert_eq!(told.command["result"], json!(letters));
        assert_eq!(names(&told), ["count"]);
        assert_eq!(reads.load(Ordering::SeqCst), 1);
        assert_eq!(stage.host.names("t1"), ["record-step", "fail-job", "complete-job"]);
    }
}

/// A step that comes again with another input is no longer the same: the attempt fails, and what was recorded is not
/// given for it.
#[tokio::test]
async fn a_step_that_was_changed_fails() {
    let stage = Stage::new().await;
    let (_worker, reads) = reader(&stage, 7);
    stage.host.give(&job("t1")).await;
    let told = stage.host.expect("t1", "record-step").await;
    stage.host.expect("t1", "fail-job").await;
    publish_steps(&stage, &key("t1"), &told.command["steps"]).await;

    stage.host.give(&Job { steps: 1, input: json!("another"), ..attempt("t1", 2) }).await;
    let told = stage.host.expect_nth("t1", "fail-job", 2).await;
    assert_eq!(told.command["code"], json!("step-changed"));
    assert_eq!(reads.load(Ordering::SeqCst), 1);
}
