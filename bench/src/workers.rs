//! Agents that exist for one benchmark only, and their workers.

use std::sync::Arc;
use std::time::Duration;

use actors_worker::{Agent, Worker, WorkerError};
use bus_client::{Ask, Bus};
use bus_schemas::commands::agent::{AgentCard, Skill};
use bus_schemas::envelope::code;
use bus_schemas::wire::WireCommand;
use bus_schemas::{Body, EntityAddress, Key, Reply};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::error::Error;
use crate::installation::Installation;

/// Timeout of any wait, after which the benchmark fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// The polling interval for running jobs and the state of tasks.
const LOOK: Duration = Duration::from_millis(1);

/// The card of an agent with one skill of the same name.
pub(crate) fn card(name: &str, description: &str) -> AgentCard {
    AgentCard {
        name: Key::parse(name).expect("a constant that is a key"),
        description: description.to_owned(),
        version: "1".to_owned(),
        skills: vec![Skill { id: name.into(), name: name.to_owned(), ..Skill::default() }],
        dependencies: Vec::new(),
    }
}

/// A key that was never used.
pub(crate) fn new_key() -> Key {
    Key::parse(&Uuid::now_v7().simple().to_string()).expect("digits are a key")
}

/// Running workers of one agent.
pub(crate) struct Workers {
    stop: CancellationToken,
    workers: Vec<JoinHandle<Result<(), WorkerError>>>,
}

impl Workers {
    /// Starts `count` workers with so many places each, each on its own connection.
    pub async fn start(
        installation: &Installation,
        agent: Arc<dyn Agent>,
        count: usize,
        places: usize,
    ) -> Result<Self, Error> {
        let (stop, mut workers) = (CancellationToken::new(), Vec::new());
        for _ in 0..count {
            let name = new_key();
            let worker = Worker::new(installation.bus().await?, Arc::clone(&agent), name.as_str(), places);
            workers.push(tokio::spawn(worker.run(stop.clone())));
        }
        Ok(Self { stop, workers })
    }

    /// Stops the workers; fails if one had ended early.
    pub async fn stop(self) -> Result<(), Error> {
        self.stop.cancel();
        for worker in self.workers {
            let ended = worker.await.map_err(|error| Error::answer("running a worker", error))?;
            ended.map_err(|error| Error::answer("running a worker", error))?;
        }
        Ok(())
    }
}

/// Sends an entity a command that it must accept. A host that has not received the end of a halt yet refuses
/// new work, and is asked again.
pub(crate) async fn told<C: WireCommand>(bus: &Bus, to: &EntityAddress, command: &C) -> Result<Value, Error> {
    let failed = |reason: &dyn std::fmt::Display| Error::answer("telling an entity", reason);
    until("a host that has heard of the end of the halt", async || {
        let ask = Ask::new(to.clone(), Body::json(command)).caller("bench");
        match bus.ask(&ask, PATIENCE).await.map_err(|error| failed(&error))? {
            Reply::Accepted { result, .. } => Ok(Some(result)),
            Reply::Refused { refusal, .. } if refusal.code == code::HALTED => Ok(None),
            Reply::Refused { refusal, .. } => Err(failed(&refusal.message)),
        }
    })
    .await
}

/// Looks until there is something.
pub(crate) async fn until<T>(
    what: &'static str,
    look: impl AsyncFn() -> Result<Option<T>, Error>,
) -> Result<T, Error> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        if Instant::now() >= deadline {
            return Err(Error::Late { what, seconds: PATIENCE.as_secs() });
        }
        tokio::time::sleep(LOOK).await;
    }
}
