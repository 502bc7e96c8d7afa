//! journal: one writer; a former owner is refused by the log itself.

use std::sync::Arc;

use actors_runtime::core::{Core, Settings};
use actors_runtime::journal::{Fate, append};
use actors_runtime::takeover::TakeoverError;
use actors_runtime::tenure::Tenure;
use actors_runtime::{partition, takeover};
use bus_client::Profile;
use bus_schemas::commands::task::{Command as Task, Plan, PlanStep, Submit};
use bus_schemas::record::CommitRecord;
use bus_schemas::{EntityAddress, Hash, Key, Kind, LogSequence, PartitionId, Revision};
use futures::TryStreamExt;
use system_tests::{Server, accepted, command, eventually, probe, refused, touch};

/// Goal: a host that lost its partition cannot write. Method: a second takeover behind the back of
/// the first, whose next commit must lose and whose caller is served by the new owner.
#[tokio::test(flavor = "multi_thread")]
async fn a_former_owner_can_not_write() {
    let server = Server::start(Profile::Fast).await;
    let bus = server.bus().await;
    let registry = Arc::new(actors_logic::registry());
    let settings = |host: &str| Settings::new(PartitionId(0), 8, host, 1 << 19);
    let mut first =
        takeover::take_over(&bus, &registry, &settings("first"), partition::moment).await.unwrap();
    let second = takeover::take_over(&bus, &registry, &settings("second"), partition::moment).await.unwrap();
    assert_eq!(second.core.state.epoch.0, first.core.state.epoch.0 + 1);
    let stale = first.core.take_over(partition::moment());
    assert!(matches!(append(&bus, &stale).await, Fate::Lost(_)), "the zombie wrote");
    let last = bus.last_record(PartitionId(0)).await.unwrap().unwrap();
    assert_eq!(CommitRecord::decode(&last.record).unwrap().host, "second");
}

/// Goal: a host that stood still while it took a partition over, and has lost its lease meanwhile, fences
/// nobody: whoever has the partition by then answers queries. Method: a takeover under a lease that is over.
#[tokio::test(flavor = "multi_thread")]
async fn a_takeover_without_a_lease_fences_nobody() {
    let server = Server::start(Profile::Fast).await;
    let bus = server.bus().await;
    let registry = Arc::new(actors_logic::registry());
    let mut settings = Settings::new(PartitionId(0), 8, "late", 1 << 19);
    settings.tenure = Tenure::over(bus.connects());
    let late = takeover::take_over(&bus, &registry, &settings, partition::moment).await;
    assert!(matches!(late, Err(TakeoverError::Lost { .. })));
    assert!(bus.last_record(PartitionId(0)).await.unwrap().is_none(), "it wrote");
}

/// Goal: large bodies lie in the blob store, once, and nobody notices. Method: a task with a large
/// input goes through command, event, mail and job; then a fresh owner goes on with it.
#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_are_kept_beside_the_log() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("a", true).await;
    let input = serde_json::json!("x".repeat(100_000));
    let step = |name: &str, after: &[&str]| PlanStep {
        step: name.into(),
        goal: "nothing".into(),
        skill: "noop".into(),
        input: input.clone(),
        after: after.iter().map(|name| (*name).into()).collect(),
        optional: false,
    };
    let plan = Plan { steps: vec![step("one", &[]), step("two", &["one"])] };
    accepted(
        host.bus(),
        &command("large", &Task::Submit(Submit { plan: Some(plan), ..Submit::new("a goal") })),
    )
    .await;
    let task = EntityAddress::new(Kind::from_static("task"), Key::parse("large").unwrap());
    let child = EntityAddress::new(task.kind.clone(), Key::parse("large.two").unwrap());
    let bus = server.bus().await;
    eventually("the end of the task", || async {
        let history = bus.history(&task, Revision(0), 0).await.unwrap();
        history.iter().any(|stored| stored.event.event_type == "completed").then_some(())
    })
    .await;
    host.stop().await;
    let mut records = bus.records_after(task.partition(8), LogSequence(0)).await.unwrap();
    let mut detached = 0;
    while let Some(entry) = records.try_next().await.unwrap() {
        assert!(entry.record.len() < 100_000, "record {} has {} bytes", entry.sequence, entry.record.len());
        detached += CommitRecord::decode(&entry.record).unwrap().detached.len();
    }
    assert!(detached >= 6, "commands, events and jobs of a tree: {detached}");
    let fresh = server.host("b", false).await;
    let submitted = &bus.history(&child, Revision(0), 0).await.unwrap()[0];
    assert!(submitted.event.body.len() > 100_000);
    assert_eq!(
        refused(fresh.bus(), &command("large", &Task::Cancel { reason: String::new() })).await,
        "task-final"
    );
    fresh.stop().await;
}

/// Goal: the log is a chain that a fresh reader can follow. Method: load, then read it all back.
#[tokio::test(flavor = "multi_thread")]
async fn records_are_chained_and_recover_the_state() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("a", false).await;
    for index in 0..50 {
        accepted(host.bus(), &touch(&format!("p{}", index % 5))).await;
    }
    let bus = server.bus().await;
    let id = probe("p1").partition(8);
    let registry = Arc::new(actors_logic::registry());
    let mut core = Core::new(Settings::new(id, 8, "reader", 1 << 19), registry, None);
    let mut records = bus.records_after(id, LogSequence(0)).await.unwrap();
    let (mut previous, mut touched) = (Hash::default(), 0);
    while let Some(entry) = records.try_next().await.unwrap() {
        let record = CommitRecord::decode(&entry.record).unwrap();
        assert_eq!(record.previous, previous);
        previous = Hash::of(&entry.record);
        core.recover(entry.sequence, previous, &record).unwrap();
        touched += record.turns.iter().filter(|turn| turn.entity == probe("p1")).count();
    }
    assert_eq!(touched, 10);
    assert_eq!(accepted(host.bus(), &touch("p1")).await, Revision(11));
    host.stop().await;
}
