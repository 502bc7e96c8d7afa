//! Agents whose names differ in one character of those that subjects and keys give a meaning.

use bus_schemas::commands::halt::Command as Halt;
use system_tests::plain::{claim_of, connection_of, next_job_for, register_with};

use super::*;

/// Names that became one name when their signs were exchanged for those of a stream, a consumer or a file.
const AGENTS: [&str; 4] = ["x.y", "x_y", "x-y", "X.y"];

/// Submits a task that only this agent can do.
async fn submit_to(bus: &Bus, agent: &str, name: &str) {
    let submit = Task::Submit(Submit { skill: agent.into(), ..Submit::new("a test") });
    accepted(bus, task(name), &submit).await;
}

/// Asserts that the agent's worker gets the task, and completes it.
async fn does(bus: &Bus, agent: &str, name: &str) {
    let mut connection = connection_of(bus, agent).await;
    let job = next_job_for(&mut connection, &claim_of(agent, WORKER, 1)).await;
    assert_eq!((job.agent.as_str(), &job.task), (agent, &task(name)), "each agent gets its own work");
    accepted(bus, task(name), &complete(&job)).await;
}

/// Goal: agents of similar names have queues, workers and halts of their own. Method: four of them, each with
/// a worker of the same name and a task; then the same again while one of them is halted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_of_similar_names_get_their_own_work() {
    let server = Server::start(Profile::Fast).await;
    let running = server.host("host-1", false).await;
    let bus = server.bus().await;
    for (number, agent) in AGENTS.into_iter().enumerate() {
        register_with(&bus, agent, WORKER).await;
        submit_to(&bus, agent, &format!("first-{number}")).await;
    }
    // The last one first: whoever shares a queue with an earlier one would find the earlier one's task.
    for (number, agent) in AGENTS.into_iter().enumerate().rev() {
        does(&bus, agent, &format!("first-{number}")).await;
    }
    let halted = EntityAddress::new(Halt::KIND, key("agent.x_y"));
    let halt = Halt::Halt { reason: "a test".into(), grace_ms: 0 };
    accepted(&bus, halted.clone(), &halt).await;
    for (number, agent) in AGENTS.into_iter().enumerate() {
        submit_to(&bus, agent, &format!("second-{number}")).await;
    }
    for (number, agent) in AGENTS.into_iter().enumerate().filter(|(_, agent)| *agent != "x_y") {
        does(&bus, agent, &format!("second-{number}")).await;
    }
    let mut connection = connection_of(&bus, "x_y").await;
    connection.send(CommandId(Uuid::now_v7()), &claim_of("x_y", WORKER, 1)).await;
    let heard = tokio::time::timeout(PATIENCE, connection.next()).await.expect("the claim is answered");
    assert!(matches!(heard, Some((_, Heard::ComeAgain))), "the halted one gets nothing: {heard:?}");
    accepted(&bus, halted, &Halt::Resume { reason: "it is over".into(), per_minute: None, revision: None })
        .await;
    does(&bus, "x_y", "second-1").await;
    running.stop().await;
}
