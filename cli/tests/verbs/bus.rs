//! What no verb can send: commands of agents, and poison. Sent over the bus, as any client could.

use std::time::Duration;

use bus_client::{Ask, Bus, NatsConfig};
use bus_schemas::commands::{agent, probe, task};
use bus_schemas::wire::WireCommand;
use bus_schemas::{Body, EntityAddress, Key, Reply};
use serde_json::json;

use crate::world::{PATIENCE, World, eventually};

/// A client of a world's bus.
pub struct Client {
    runtime: tokio::runtime::Runtime,
    bus: Bus,
}

impl Client {
    /// Connects.
    pub fn connect(world: &World) -> Self {
        let runtime = tokio::runtime::Runtime::new().expect("threads");
        let config = NatsConfig { url: Some(world.address("nats_url").to_owned()), ..NatsConfig::default() };
        let bus = runtime.block_on(Bus::connect_only(&config)).expect("a connection");
        Self { runtime, bus }
    }
    /// Asks, and gives the code of a refusal.
    pub fn ask<C: WireCommand>(&self, key: &str, command: &C) -> Result<(), String> {
        let to = EntityAddress::new(C::KIND, Key::parse(key).expect("a key"));
        let ask = Ask::new(to, Body::json(command));
        match self.runtime.block_on(self.bus.ask(&ask, PATIENCE)).expect("an answer") {
            Reply::Accepted { .. } => Ok(()),
            Reply::Refused { refusal, .. } => Err(refusal.code.to_string()),
        }
    }
    /// Makes a dead letter with a payload.
    pub fn poison(&self) {
        assert_eq!(self.ask("p", &probe::Command::Panic), Err("poison".to_owned()));
    }
    /// An agent `oracle` with the skill `oracle` and one worker, which is never lost in a test.
    pub fn oracle(&self) {
        let command = json!({
            "type": "register",
            "worker": "delphi",
            "card": {
                "name": "oracle", "description": "knows", "version": "1",
                "skills": [{ "id": "oracle", "name": "Oracle" }],
            },
            "capacity": 3,
            "heartbeat_ms": Duration::from_secs(3_600).as_millis(),
        });
        let command: agent::Command = serde_json::from_value(command).expect("a command");
        self.ask("oracle", &command).expect("it may join");
    }
    /// Begins the first attempt of a task as the oracle would, once the task has been given to it.
    pub fn begin(&self, task: &str) {
        let command = task::Command::StartJob { attempt: 1, worker: "delphi".to_owned() };
        eventually("the job", || self.ask(task, &command).ok());
    }
    /// Asks the oracle's question.
    pub fn question(&self, task: &str, prompt: &str) {
        let command =
            task::Command::RequireInput { attempt: 1, prompt: prompt.to_owned(), authorization: false };
        self.ask(task, &command).expect("it works on it");
    }
}
