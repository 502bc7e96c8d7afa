//! Counting: what a task writes. One record more is a synced write more on everybody's path.

use system_tests::agents::{planned, step as planned_step};

use super::*;

/// How many records the log of a task's partition holds.
async fn records(bus: &Bus, name: &str) -> u64 {
    let partition = task(name).partition(bus.topology().partitions);
    bus.state_of(&bus.topology().log(partition)).await.expect("a log").last_sequence
}

/// Waits until nothing more is written anywhere for a while, and says how much every stream holds.
async fn all(bus: &Bus) -> Vec<(String, u64)> {
    let topology = bus.topology();
    let logs = topology.all_partitions().map(|partition| topology.log(partition));
    let mut all = Vec::new();
    for name in logs.chain(topology.inboxes()).chain([topology.dead(), topology.output()]) {
        let state = bus.state_of(&name).await.expect("a stream");
        all.push((name, state.last_sequence));
    }
    all
}

/// Two tasks of one partition: the first one makes its queue, and the second one is counted.
fn neighbours(partitions: u16) -> (String, String) {
    let home = task("warm").partition(partitions);
    let other = (0..).map(|number| format!("counted-{number}"));
    let mut other = other.filter(|name| task(name).partition(partitions) == home);
    ("warm".to_owned(), other.next().expect("some name falls into each partition"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_of_three_recorded_steps_writes_four_records() {
    let server = Server::start(Profile::Durable).await;
    let running = server.host("host-1", false).await;
    let bus = server.bus().await;
    register(&bus, WORKER).await;
    let (warm, name) = neighbours(bus.topology().partitions);
    let mut connection = connection(&bus).await;
    submit(&bus, &warm).await;
    let job = next_job(&mut connection, WORKER).await;
    accepted(&bus, task(&warm), &complete(&job)).await;
    // An idle worker waits before the task comes.
    connection.send(CommandId(Uuid::now_v7()), &claim(WORKER, 1)).await;
    let before = (records(&bus, &name).await, all(&bus).await);
    submit(&bus, &name).await;
    let heard =
        tokio::time::timeout(PATIENCE, connection.next()).await.expect("an answer").expect("a connection").1;
    let Heard::Jobs { mut jobs, .. } = heard else { panic!("{heard:?}") };
    let job = jobs.remove(0).0;
    assert!(matches!(query(&bus, task(&name), &renew(&job)).await, Reply::Accepted { .. }));
    for (number, name_of_step) in (0..).zip(["one", "two"]) {
        let steps = vec![step(name_of_step, "", json!(number))];
        let record = Task::RecordStep { attempt: 1, token: job.token.clone(), steps };
        accepted(&bus, task(&name), &record).await;
    }
    let Task::CompleteJob { attempt, token, artifacts, result, plan, .. } = complete(&job) else {
        panic!("a constant")
    };
    let steps = vec![step("three", "", json!(3))];
    let done = Task::CompleteJob { attempt, token, steps, artifacts, result, plan };
    accepted(&bus, task(&name), &done).await;
    until_state(&bus, &name, "completed").await;
    assert_eq!(records(&bus, &name).await - before.0, 4, "submission with issue, two steps, step with end");
    let elsewhere = |all: Vec<(String, u64)>| -> Vec<(String, u64)> {
        let log = bus.topology().log(task(&name).partition(bus.topology().partitions));
        all.into_iter().filter(|(stream, _)| *stream != log).collect()
    };
    assert_eq!(elsewhere(all(&bus).await), elsewhere(before.1), "and nothing anywhere else");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_of_three_children_writes_four_records() {
    let server = Server::start(Profile::Durable).await;
    let running = server.host("host-1", false).await;
    let bus = server.bus().await;
    register(&bus, WORKER).await;
    let (warm, name) = neighbours(bus.topology().partitions);
    let mut connection = connection(&bus).await;
    submit(&bus, &warm).await;
    let job = next_job(&mut connection, WORKER).await;
    accepted(&bus, task(&warm), &complete(&job)).await;
    connection.send(CommandId(Uuid::now_v7()), &claim(WORKER, 1)).await;
    let before = records(&bus, &name).await;
    let steps = vec![
        planned_step("one", AGENT, &[]),
        planned_step("two", AGENT, &["one"]),
        planned_step("three", AGENT, &["two"]),
    ];
    accepted(&bus, task(&name), &Task::Submit(planned(steps))).await;
    for _ in 0..3 {
        let heard = tokio::time::timeout(PATIENCE, connection.next())
            .await
            .expect("an answer")
            .expect("a connection")
            .1;
        let Heard::Jobs { mut jobs, .. } = heard else { panic!("{heard:?}") };
        let job = jobs.remove(0).0;
        // Idle again before the step ends.
        connection.send(CommandId(Uuid::now_v7()), &claim(WORKER, 1)).await;
        assert!(matches!(query(&bus, job.task.clone(), &renew(&job)).await, Reply::Accepted { .. }));
        accepted(&bus, job.task.clone(), &complete(&job)).await;
    }
    until_state(&bus, &name, "completed").await;
    assert_eq!(records(&bus, &name).await - before, 4, "submission with issue, and three completions");
    running.stop().await;
}
