//! A worker that speaks the protocol of claims and nothing more, as one in any language could.

use bus_client::Bus;
use bus_client::claims::{ClaimConnection, Heard};
use bus_schemas::claims::Claim;
use bus_schemas::commands::agent::{AgentCard, Command as Agent, Skill};
use bus_schemas::commands::task::{Command, Query};
use bus_schemas::jobs::Job;
use bus_schemas::{CommandId, Hash, Key};
use serde_json::Value;
use uuid::Uuid;

use crate::{PATIENCE, accepted, command};

/// The agent, and its only skill.
pub const AGENT: &str = "plain";
/// The worker.
pub const WORKER: &str = "plain-1";

fn key(text: &str) -> Key {
    Key::parse(text).expect("a constant of a test")
}

/// A claim of a worker of the plain agent.
pub fn claim(worker: &str, places: u32) -> Claim {
    claim_of(AGENT, worker, places)
}

/// A claim of a worker of an agent whose only skill has the agent's name.
pub fn claim_of(agent: &str, worker: &str, places: u32) -> Claim {
    Claim {
        worker: worker.into(),
        incarnation: 1,
        skills: vec![agent.into()],
        // The connection knows it.
        token: Hash::default(),
        places,
        repeated: false,
        lanes: vec![key("default")],
    }
}

/// Registers a worker of the plain agent.
pub async fn register(bus: &Bus, worker: &str) {
    register_with(bus, AGENT, worker).await;
}

/// Registers a worker of an agent whose only skill has the agent's name.
pub async fn register_with(bus: &Bus, agent: &str, worker: &str) {
    let skill = Skill { id: agent.into(), name: agent.into(), ..Skill::default() };
    let card = AgentCard {
        name: key(agent),
        description: "of a test".into(),
        version: "1".into(),
        skills: vec![skill],
        dependencies: vec![],
    };
    let register = Agent::Register { worker: worker.into(), card, capacity: 64, lanes: vec![key("default")] };
    accepted(bus, &command(agent, &register)).await;
}

/// The claim connection of the plain agent.
pub async fn connection(bus: &Bus) -> ClaimConnection {
    connection_of(bus, AGENT).await
}

/// The claim connection of an agent.
pub async fn connection_of(bus: &Bus, agent: &str) -> ClaimConnection {
    ClaimConnection::open(bus, &key(agent)).await.expect("a subscription")
}

/// Claims again and again until a job comes.
pub async fn next_job(connection: &mut ClaimConnection, worker: &str) -> Job {
    next_job_for(connection, &claim(worker, 1)).await
}

/// Sends a claim of one place again and again until a job comes.
pub async fn next_job_for(connection: &mut ClaimConnection, claim: &Claim) -> Job {
    loop {
        connection.send(CommandId(Uuid::now_v7()), claim).await;
        let heard = tokio::time::timeout(PATIENCE, connection.next()).await.expect("the claim is answered");
        match heard.expect("the connection stands").1 {
            Heard::Jobs { mut jobs, .. } => return jobs.remove(0).0,
            Heard::ComeAgain => {}
            other => panic!("the claim is answered with {other:?}"),
        }
    }
}

/// Says that a job is done.
pub fn complete(job: &Job) -> Command {
    Command::CompleteJob {
        attempt: job.attempt,
        token: job.token.clone(),
        steps: vec![],
        artifacts: vec![],
        result: Value::Null,
        plan: None,
    }
}

/// Says that the worker is at the job.
pub fn renew(job: &Job) -> Query {
    Query::Renew { attempt: job.attempt, token: job.token.clone(), progressed: false }
}
