//! Plays the host: hears every ask of the only partition, keeps it, and answers by a rule.

use std::sync::{Arc, Mutex};

use bus_client::Bus;
use bus_client::asks::Incoming;
use bus_client::events::{Cursor, Mark, OutgoingEvent};
use bus_schemas::jobs::Job;
use bus_schemas::{
    Body, CommandId, EntityAddress, Hash, Key, Kind, LogSequence, PartitionId, Refusal, Reply, Revision,
    Timestamp, TraceContext, record,
};
use bytes::Bytes;
use futures::StreamExt;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::server::PATIENCE;

/// What the host does with a command.
pub enum Answer {
    /// Applies it.
    Accept,
    /// Refuses it with this code.
    Refuse(&'static str),
    /// Says nothing: the answer is lost.
    Silence,
}

/// One command that was heard.
#[derive(Debug, Clone)]
pub struct Told {
    /// For whom.
    pub to: EntityAddress,
    /// Under which id.
    pub id: CommandId,
    /// From which span.
    pub trace: Option<TraceContext>,
    /// Its name.
    pub name: String,
    /// The command.
    pub command: Value,
}

type Rule = Box<dyn FnMut(&Told) -> Answer + Send>;

/// The host. Stops with the test's runtime.
pub struct Host {
    bus: Bus,
    heard: watch::Receiver<Vec<Told>>,
    rule: Arc<Mutex<Rule>>,
}

impl Host {
    /// Begins to listen; accepts everything.
    pub async fn start(bus: &Bus) -> Self {
        let subject = bus.subjects().asks(PartitionId(0));
        let mut asks = bus.incoming(subject, None).await.expect("a subscription");
        bus.flush().await;
        let (tell, heard) = watch::channel(Vec::new());
        let rule: Arc<Mutex<Rule>> = Arc::new(Mutex::new(Box::new(|_| Answer::Accept)));
        let (host, rules) = (bus.clone(), rule.clone());
        tokio::spawn(async move {
            while let Some(incoming) = asks.next().await {
                let reply_to = incoming.reply_to.clone().expect("an ask wants an answer");
                let told = read(&host, incoming);
                let answer = (rules.lock().expect("no rule panics"))(&told);
                let reply = reply(&told, answer);
                tell.send_modify(|heard| heard.push(told));
                if let Some(reply) = reply {
                    let body = serde_json::to_vec(&reply).expect("a reply is plain data");
                    host.answer(reply_to, body.into()).await;
                }
            }
        });
        Self { bus: bus.clone(), heard, rule }
    }

    /// Answers by this rule from now on.
    pub fn answer(&self, rule: impl FnMut(&Told) -> Answer + Send + 'static) {
        *self.rule.lock().expect("no rule panics") = Box::new(rule);
    }

    /// Everything heard so far, without renewals, heartbeats and what breakers are told.
    pub fn heard(&self) -> Vec<Told> {
        self.heard.borrow().iter().filter(|told| !is_upkeep(told)).cloned().collect()
    }

    /// What one entity was told, by name.
    pub fn names(&self, key: &str) -> Vec<String> {
        self.heard().into_iter().filter(|told| told.to.key.as_str() == key).map(|told| told.name).collect()
    }

    /// Waits until `key` was told `name` for the `count`th time.
    pub async fn expect_nth(&self, key: &str, name: &str, count: usize) -> Told {
        let fits = |told: &&Told| told.to.key.as_str() == key && told.name == name;
        let mut heard = self.heard.clone();
        let found = timeout(PATIENCE, heard.wait_for(|all| all.iter().filter(fits).count() >= count)).await;
        match found {
            Ok(all) => {
                all.expect("the host listens").iter().filter(fits).nth(count - 1).expect("counted").clone()
            }
            Err(_) => panic!("`{key}` was never told `{name}` {count} times; heard {:#?}", self.heard()),
        }
    }

    /// Waits until `key` was told `name`.
    pub async fn expect(&self, key: &str, name: &str) -> Told {
        self.expect_nth(key, name, 1).await
    }

    /// Puts a job into its agent's queue.
    pub async fn give(&self, job: &Job, trace: Option<TraceContext>) {
        let body = Bytes::from(serde_json::to_vec(job).expect("a job is plain data"));
        self.give_bytes(&job.id, &job.agent, body, trace).await;
    }

    /// Puts anything into an agent's queue.
    pub async fn give_bytes(&self, id: &str, agent: &Key, body: Bytes, trace: Option<TraceContext>) {
        let job = record::Job { id: id.into(), agent: agent.clone(), body };
        self.bus.publish_job(&job, trace).await.expect("the queue takes the job");
    }

    /// Fans out the first event of a task.
    pub async fn publish_event(&self, task: &Key, event_type: &'static str) {
        let entity = EntityAddress::new(Kind::from_static("task"), task.clone());
        let event = record::Event {
            revision: Revision(1),
            event_type: event_type.into(),
            schema: 1,
            hash: Hash::default(),
            body: Bytes::from_static(b"{}"),
        };
        let id = CommandId::from_text("event");
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
            },
            at: Timestamp(0),
            events: Vec::new(),
            refusal: None,
            sends: Vec::new(),
            timers: Vec::new(),
            jobs: Vec::new(),
            reply: Bytes::new(),
            dead: None,
        };
        let cursor = Cursor { partition: PartitionId(0), record: LogSequence(1), index: 0 };
        let outgoing = OutgoingEvent { entity: &entity, event: &event, cursor, turn: &turn, first: true };
        let events = [outgoing];
        let published = self.bus.publish_events(PartitionId(0), Mark::default(), LogSequence(1), 0, &events);
        published.await.expect("the stream takes the event");
    }
}

fn is_upkeep(told: &Told) -> bool {
    matches!(told.name.as_str(), "renew-lease" | "heartbeat") || told.to.kind.as_str() == "breaker"
}

fn read(bus: &Bus, incoming: Incoming) -> Told {
    let command: Value = serde_json::from_slice(&incoming.payload).expect("workers write JSON");
    Told {
        to: bus.subjects().entity(&incoming.subject).expect("an ask names an entity"),
        id: incoming.id.expect("an ask has an id"),
        trace: incoming.trace,
        name: command["type"].as_str().expect("a command has a name").to_owned(),
        command,
    }
}

fn reply(told: &Told, answer: Answer) -> Option<Reply> {
    let command_id = told.id;
    match answer {
        Answer::Accept => Some(Reply::Accepted {
            command_id,
            entity: told.to.clone(),
            revision: Revision(1),
            events: 1,
            result: Value::Null,
        }),
        Answer::Refuse(code) => {
            Some(Reply::Refused { command_id, refusal: Refusal::new(code, "by the rule of the test") })
        }
        Answer::Silence => None,
    }
}
