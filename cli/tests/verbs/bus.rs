//! What no verb can send: commands of agents, and poison. Sent over the bus, as any client could.

use std::cell::RefCell;
use std::collections::HashMap;

use bus_client::claims::{ClaimConnection, Heard};
use bus_client::{Ask, Bus};
use bus_schemas::claims::Claim;
use bus_schemas::commands::{agent, probe, task};
use bus_schemas::jobs::EffectStep;
use bus_schemas::wire::WireCommand;
use bus_schemas::{Body, CommandId, ContentType, EntityAddress, Hash, Key, Refusal, Reply};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::world::{PATIENCE, World};

/// A client of a world's bus.
pub struct Client {
    runtime: tokio::runtime::Runtime,
    bus: Bus,
    /// The tokens of the attempts that it has begun, by task.
    tokens: RefCell<HashMap<String, String>>,
}

impl Client {
    /// Connects.
    pub fn connect(world: &World) -> Self {
        let runtime = tokio::runtime::Runtime::new().expect("threads");
        let config = world.nats();
        let bus = runtime.block_on(Bus::connect_only(&config)).expect("a connection");
        Self { runtime, bus, tokens: RefCell::default() }
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
    /// Asks a query, as JSON.
    pub fn query(&self, entity: &str, query: &str) -> Result<Value, Refusal> {
        let body = Body { content_type: ContentType::Json, bytes: query.to_owned().into() };
        let ask = Ask::new(entity.parse().expect("an address"), body);
        match self.runtime.block_on(self.bus.query(&ask, PATIENCE)).expect("an answer") {
            Reply::Accepted { result, .. } => Ok(result),
            Reply::Refused { refusal, .. } => Err(refusal),
        }
    }
    /// Where each log ends, and the stream of durable commands.
    pub fn ends(&self) -> Vec<u64> {
        let topology = self.bus.topology();
        let streams = topology.all_partitions().map(|partition| topology.log(partition));
        let end = |stream: String| {
            let state = self.runtime.block_on(self.bus.state_of(&stream)).expect("a stream");
            state.last_sequence
        };
        streams.chain(topology.inboxes()).map(end).collect()
    }
    /// Makes a dead letter with a payload.
    pub fn poison(&self) {
        assert_eq!(self.ask("p", &probe::Command::Panic), Err("poison".to_owned()));
    }
    /// An agent `oracle` with the skill `oracle` and one worker.
    pub fn oracle(&self) {
        let command = json!({
            "type": "register",
            "worker": "delphi",
            "card": {
                "name": "oracle", "description": "knows", "version": "1",
                "skills": [{ "id": "oracle", "name": "Oracle" }],
            },
            "capacity": 3,
        });
        let command: agent::Command = serde_json::from_value(command).expect("a command");
        self.ask("oracle", &command).expect("it may join");
    }
    /// Begins the first attempt of a task as the oracle would, once the task has been given to it.
    pub fn begin(&self, task: &str) {
        let token = self.runtime.block_on(async {
            tokio::time::timeout(PATIENCE, self.claim(task)).await.expect("the job comes in time")
        });
        self.tokens.borrow_mut().insert(task.to_owned(), token.clone());
        let token = token.as_str().into();
        let to = EntityAddress::new(task::Command::KIND, Key::parse(task).expect("a key"));
        let renew = task::Query::Renew { attempt: 1, token, progressed: false };
        let ask = Ask::new(to, Body::json(&renew));
        let reply = self.runtime.block_on(self.bus.query(&ask, PATIENCE)).expect("an answer");
        assert!(matches!(reply, Reply::Accepted { .. }), "the attempt is its own: {reply:?}");
    }
    async fn connection(&self) -> ClaimConnection {
        let agent = Key::parse("oracle").expect("a key");
        ClaimConnection::open(&self.bus, &agent).await.expect("a subscription")
    }
    /// Offers a place of the oracle, and does not listen for a job.
    pub fn offer(&self) {
        self.runtime.block_on(async {
            self.connection().await.send(CommandId(Uuid::now_v7()), &one_place()).await;
            self.bus.flush().await;
        });
    }
    /// Claims until the job of a task comes; gives its token.
    async fn claim(&self, task: &str) -> String {
        let mut connection = self.connection().await;
        loop {
            connection.send(CommandId(Uuid::now_v7()), &one_place()).await;
            let (_, heard) = connection.next().await.expect("a connection");
            let jobs = match heard {
                Heard::Jobs { jobs, .. } => jobs,
                Heard::ComeAgain => continue,
                other => panic!("the claim of `{task}` led to {other:?}"),
            };
            let found = jobs.into_iter().find(|(job, _)| job.task.key.as_str() == task);
            if let Some((job, _)) = found {
                return job.token.to_string();
            }
        }
    }
    /// Records the progress of an effect of the oracle.
    pub fn effect(&self, task: &str, effect: &str, step: EffectStep, result: Value) {
        let token = self.tokens.borrow()[task].as_str().into();
        let (effect, detail) = (effect.to_owned(), "pays".to_owned());
        let key = (step == EffectStep::Intended).then(|| "key-1".into());
        let command = task::Command::RecordEffect { attempt: 1, token, effect, step, detail, key, result };
        self.ask(task, &command).expect("it works on it");
    }
    /// Ends the oracle's work.
    pub fn complete(&self, task: &str) {
        let token = self.tokens.borrow()[task].as_str().into();
        let (steps, artifacts, result, plan) = (vec![], vec![], Value::Null, None);
        let command = task::Command::CompleteJob { attempt: 1, token, steps, artifacts, result, plan };
        self.ask(task, &command).expect("it works on it");
    }
    /// Asks the oracle's question.
    pub fn question(&self, task: &str, prompt: &str) {
        let token = self.tokens.borrow()[task].as_str().into();
        let (prompt, authorization) = (prompt.to_owned(), false);
        let command =
            task::Command::RequireInput { attempt: 1, token, prompt, authorization, approval: None };
        self.ask(task, &command).expect("it works on it");
    }
}

/// A claim of the oracle's worker.
fn one_place() -> Claim {
    Claim {
        worker: "delphi".into(),
        incarnation: 0,
        skills: vec!["oracle".into()],
        token: Hash::default(),
        places: 1,
        repeated: false,
        lanes: vec![Key::parse("default").expect("a key")],
    }
}
