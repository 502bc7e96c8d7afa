//! Claims and several hosts: a place finds its work wherever that lies.

use std::collections::{BTreeMap, BTreeSet};

use bus_schemas::record::CommitRecord;
use bus_schemas::{LogSequence, PartitionId};
use futures::TryStreamExt;
use system_tests::agents::{planned, step as planned_step};

use super::*;

/// How many commands each entity has done, by partition, as the logs say.
async fn commands(bus: &Bus) -> BTreeMap<PartitionId, BTreeMap<String, usize>> {
    let mut commands: BTreeMap<PartitionId, BTreeMap<String, usize>> = BTreeMap::new();
    for partition in bus.topology().all_partitions() {
        let mut records = bus.records_after(partition, LogSequence(0)).await.expect("the log");
        while let Some(entry) = records.try_next().await.expect("a record") {
            let record = CommitRecord::decode(&entry.record).expect("a readable record");
            for turn in record.turns {
                *commands.entry(partition).or_default().entry(turn.entity.to_string()).or_default() += 1;
            }
        }
    }
    commands
}

/// Goal: a lane is bound to no partition. Method: 64 tasks of three children each in one lane on two hosts; the
/// commands in the logs are counted by partition and by entity.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_work_of_a_lane_lies_in_all_partitions_alike() {
    const TASKS: usize = 64;
    let server = Server::start(Profile::Fast).await;
    let (one, two) = (server.host("host-1", false).await, server.host("host-2", false).await);
    system_tests::until_held(one.bus(), "host-2", 4).await;
    let bus = server.bus().await;
    register(&bus, WORKER).await;
    let names: Vec<String> = (0..TASKS).map(|number| format!("t-{number}")).collect();
    let steps = || ["one", "two", "three"].map(|name| planned_step(name, AGENT, &[])).to_vec();
    for name in &names {
        accepted(&bus, task(name), &Task::Submit(planned(steps()))).await;
    }
    let mut connection = connection(&bus).await;
    for _ in 0..TASKS * 3 {
        let job = next_job(&mut connection, WORKER).await;
        assert!(matches!(query(&bus, job.task.clone(), &renew(&job)).await, Reply::Accepted { .. }));
        accepted(&bus, job.task.clone(), &complete(&job)).await;
    }
    for name in &names {
        until_state(&bus, name, "completed").await;
    }
    let commands = commands(&bus).await;
    let partitions = commands.len();
    let all: usize = commands.values().flat_map(BTreeMap::values).sum();
    for (partition, entities) in &commands {
        let here: usize = entities.values().sum();
        assert!(here * partitions * 2 <= all * 3, "partition {partition} did {here} of {all} commands");
    }
    // Each queue hears of its own attempts, and the lane of its queues alone, each from time to time: not of an attempt.
    let of_lane: usize = commands.values().filter_map(|entities| entities.get("lane/default")).sum();
    assert!(of_lane <= TASKS * 3 / 4, "the lane's own entity did {of_lane} commands for {all}");
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_worker_serves_the_partitions_of_two_hosts() {
    let server = Server::start(Profile::Fast).await;
    let (one, two) = (server.host("host-1", false).await, server.host("host-2", false).await);
    system_tests::until_held(one.bus(), "host-2", 4).await;
    let bus = server.bus().await;
    register(&bus, WORKER).await;
    let names: Vec<String> = (0..16).map(|number| format!("spread-{number}")).collect();
    let partitions: BTreeSet<_> =
        names.iter().map(|name| task(name).partition(bus.topology().partitions)).collect();
    assert!(partitions.len() > 4, "the tasks lie on both hosts");
    for name in &names {
        submit(&bus, name).await;
    }
    let mut connection = connection(&bus).await;
    for _ in &names {
        let job = next_job(&mut connection, WORKER).await;
        assert!(matches!(query(&bus, job.task.clone(), &renew(&job)).await, Reply::Accepted { .. }));
        accepted(&bus, job.task.clone(), &complete(&job)).await;
    }
    for name in &names {
        until_state(&bus, name, "completed").await;
    }
    one.stop().await;
    two.stop().await;
}
