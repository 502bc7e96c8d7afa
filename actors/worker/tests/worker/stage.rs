//! What a test needs: a server, a host, an agent that follows a script, and workers.

use std::sync::Arc;
use std::time::Duration;

use actors_worker::{Agent, Done, Failure, Work, Worker, WorkerError};
use bus_client::Bus;
use bus_schemas::commands::agent::{AgentCard, Skill};
use bus_schemas::jobs::Job;
use bus_schemas::{CommandId, EntityAddress, Key, Kind};
use futures::future::BoxFuture;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::host::Host;
use crate::server::{PATIENCE, Server};

/// The name of the scripted agent.
pub const AGENT: &str = "scripted";

/// Everything a test plays with.
pub struct Stage {
    pub bus: Bus,
    pub host: Host,
    _server: Server,
}

/// A worker that runs.
pub struct Running {
    stop: CancellationToken,
    task: JoinHandle<Result<(), WorkerError>>,
}

/// An agent that does what the test says.
struct Scripted<F>(F);

impl<F, R> Agent for Scripted<F>
where
    F: Fn(Work) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Done, Failure>> + Send + 'static,
{
    fn card(&self) -> AgentCard {
        let skill = Skill { id: "play".into(), name: "Play".into(), ..Skill::default() };
        AgentCard {
            name: key(AGENT),
            description: "plays".into(),
            version: "0".into(),
            skills: vec![skill],
            dependencies: vec![],
        }
    }
    fn run(&self, work: Work) -> BoxFuture<'static, Result<Done, Failure>> {
        Box::pin((self.0)(work))
    }
}

/// An agent that follows a script.
pub fn scripted<F, R>(script: F) -> Arc<dyn Agent>
where
    F: Fn(Work) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Done, Failure>> + Send + 'static,
{
    Arc::new(Scripted(script))
}

impl Stage {
    pub async fn new() -> Self {
        let server = Server::start().await;
        let bus = server.connect().await;
        let host = Host::start(&bus).await;
        Self { bus, host, _server: server }
    }

    /// Starts a worker of the scripted agent.
    pub fn worker<F, R>(&self, name: &str, capacity: usize, script: F) -> Running
    where
        F: Fn(Work) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Done, Failure>> + Send + 'static,
    {
        self.start(scripted(script), name, capacity)
    }

    /// Starts a worker of any agent. Running jobs get no time when it stops.
    pub fn start(&self, agent: Arc<dyn Agent>, name: &str, capacity: usize) -> Running {
        let stop = CancellationToken::new();
        let worker = Worker::new(self.bus.clone(), agent, name, capacity).drain(Duration::ZERO);
        Running { task: tokio::spawn(worker.run(stop.clone())), stop }
    }
}

impl Running {
    /// Stops it and waits for its end.
    pub async fn stop(self) -> Result<(), WorkerError> {
        self.stop.cancel();
        self.end().await
    }
    /// Waits for its end.
    pub async fn end(self) -> Result<(), WorkerError> {
        timeout(PATIENCE, self.task).await.expect("the worker ends").expect("the worker does not panic")
    }
}

pub fn key(text: &str) -> Key {
    Key::parse(text).expect("a key")
}

/// The first attempt at a task, for the scripted agent.
pub fn job(task: &str) -> Job {
    attempt(task, 1)
}

/// An attempt at a task, for the scripted agent.
pub fn attempt(task: &str, attempt: u32) -> Job {
    Job {
        lane: key("default"),
        id: format!("{task}/{attempt}").into(),
        task: EntityAddress::new(Kind::from_static("task"), key(task)),
        attempt,
        token: format!("token-{attempt}").into(),
        agent: key(AGENT),
        skill: "play".into(),
        goal: "play".into(),
        input: Value::Null,
        inputs: Vec::new(),
        answers: Vec::new(),
        deadline: None,
        lease_ms: 60_000,
        effects: Vec::new(),
        steps: 0,
        metered: false,
        correlation: CommandId::from_text("correlation"),
    }
}
