//! Plays the host: hears every command, query and claim, keeps what it heard, and answers by a rule.
//!
//! Claims wait until the test has a job for them.

use std::sync::{Arc, Mutex};

use bus_client::asks::Incoming;
use bus_client::{Bus, ReplyTo};
use bus_schemas::claims::{self, Claim, Issued};
use bus_schemas::commands::task::{Holder, Renewal};
use bus_schemas::jobs::Job;
use bus_schemas::{CommandId, EntityAddress, Key, Kind, PartitionId, Refusal, Reply, Revision, TraceContext};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::select;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::server::PATIENCE;

/// What the host does with what it hears.
pub enum Answer {
    /// Applies it; a claim waits.
    Accept,
    /// Refuses it with this code.
    Refuse(&'static str),
    /// Says nothing: the answer is lost.
    Silence,
}

/// One command, query or claim that was heard.
#[derive(Debug, Clone)]
pub struct Received {
    /// For whom; a claim is for its agent.
    pub to: EntityAddress,
    /// Under which id.
    pub id: CommandId,
    /// From which span.
    pub trace: Option<TraceContext>,
    /// Its name; `claim` for a claim.
    pub name: String,
    /// What was said.
    pub command: Value,
}

/// A claim that waits for a job.
#[derive(Debug, Clone)]
pub struct Waiting {
    pub id: CommandId,
    pub agent: Key,
    pub claim: Claim,
    reply_to: ReplyTo,
}

type Rule = Box<dyn FnMut(&Received) -> Answer + Send>;
type Claims = watch::Sender<Vec<Waiting>>;

/// The host. Stops with the test's runtime.
pub struct Host {
    bus: Bus,
    heard: watch::Receiver<Vec<Received>>,
    claims: Claims,
    rule: Arc<Mutex<Rule>>,
}

impl Host {
    /// Begins to listen; accepts everything.
    pub async fn start(bus: &Bus) -> Self {
        let asks = bus.asks(PartitionId(0)).await.expect("a subscription");
        let claims = bus.incoming(bus.subjects().claims(), None).await.expect("a subscription");
        bus.flush().await;
        let mut all = select(asks, claims);
        let (tell, heard) = watch::channel(Vec::new());
        let claims = Claims::default();
        let rule: Arc<Mutex<Rule>> = Arc::new(Mutex::new(Box::new(|_| Answer::Accept)));
        let (host, waiting, rules) = (bus.clone(), claims.clone(), rule.clone());
        tokio::spawn(async move {
            while let Some(incoming) = all.next().await {
                let reply_to = incoming.reply_to.clone().expect("whoever speaks wants an answer");
                let told = read(&host, incoming);
                let answer = (rules.lock().expect("no rule panics"))(&told);
                let reply = match answer {
                    Answer::Accept if told.name == "claim" => {
                        keep(&waiting, &told, reply_to.clone());
                        None
                    }
                    answer => reply(&told, answer),
                };
                forget_who_left(&waiting, &told);
                tell.send_modify(|heard| heard.push(told));
                if let Some(reply) = reply {
                    let body = serde_json::to_vec(&reply).expect("a reply is plain data");
                    host.answer(reply_to, body.into()).await;
                }
            }
        });
        Self { bus: bus.clone(), heard, claims, rule }
    }

    /// Answers by this rule from now on.
    pub fn answer(&self, rule: impl FnMut(&Received) -> Answer + Send + 'static) {
        *self.rule.lock().expect("no rule panics") = Box::new(rule);
    }

    /// Everything heard so far, without renewals, claims and what breakers are told.
    pub fn heard(&self) -> Vec<Received> {
        self.heard.borrow().iter().filter(|told| !is_upkeep(told)).cloned().collect()
    }

    /// What one entity was told, by name.
    pub fn names(&self, key: &str) -> Vec<String> {
        self.heard().into_iter().filter(|told| told.to.key.as_str() == key).map(|told| told.name).collect()
    }

    /// Waits until `key` was told `name` for the `count`th time.
    pub async fn expect_nth(&self, key: &str, name: &str, count: usize) -> Received {
        let fits = |told: &&Received| told.to.key.as_str() == key && told.name == name;
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
    pub async fn expect(&self, key: &str, name: &str) -> Received {
        self.expect_nth(key, name, 1).await
    }

    /// Gives a job to the worker of its agent whose claim waits longest.
    pub async fn give(&self, job: &Job) {
        self.give_traced(job, None).await;
    }

    /// Gives a job that was issued in this span.
    pub async fn give_traced(&self, job: &Job, trace: Option<TraceContext>) {
        let claim = self.next_claim(&job.agent).await;
        self.issue(&claim, job, trace).await;
    }

    /// Waits for a claim of an agent's worker, and takes it out of those that wait.
    pub async fn next_claim(&self, agent: &Key) -> Waiting {
        let mut claims = self.claims.subscribe();
        let mut taken = None;
        let found = async {
            claims.wait_for(|claims| claims.iter().any(|claim| claim.agent == *agent)).await.map(drop)
        };
        match timeout(PATIENCE, found).await {
            Ok(found) => found.expect("the host listens"),
            Err(_) => panic!("no worker of agent `{agent}` has a place"),
        }
        self.claims.send_modify(|claims| {
            let first = claims.iter().position(|claim| claim.agent == *agent);
            taken = first.map(|first| claims.remove(first));
        });
        taken.expect("only the test takes claims")
    }

    /// Answers a claim with a job.
    pub async fn issue(&self, claim: &Waiting, job: &Job, trace: Option<TraceContext>) {
        let traceparent = trace.map(|trace| trace.to_traceparent());
        let job = Issued { job: Some(Box::new(job.clone())), blob: None, traceparent };
        self.issue_as(claim, job).await;
    }

    /// Answers a claim with a job that is written in this way.
    pub async fn issue_as(&self, claim: &Waiting, job: Issued) {
        let answer = claims::Answer::Issued { claim: claim.id, jobs: vec![job], more: false };
        self.say(claim, serde_json::to_vec(&answer).expect("an answer is plain data").into()).await;
    }

    /// Answers a claim with anything.
    pub async fn say(&self, claim: &Waiting, answer: Bytes) {
        self.bus.answer(claim.reply_to.clone(), answer).await;
        // When the server answers, it has sent the answer on to the worker.
        self.bus.events_state().await.expect("the server answers");
    }
}

/// Keeps a claim; the same again takes the place of the former.
fn keep(claims: &Claims, told: &Received, reply_to: ReplyTo) {
    let claim = serde_json::from_value(told.command.clone()).expect("workers write claims");
    let waiting = Waiting { id: told.id, agent: told.to.key.clone(), claim, reply_to };
    claims.send_modify(|claims| {
        claims.retain(|known| known.id != waiting.id);
        claims.push(waiting);
    });
}

/// Drops the claims of a worker that says good-bye.
fn forget_who_left(claims: &Claims, told: &Received) {
    if told.name == "deregister" {
        let is_left = |claim: &Waiting| {
            claim.agent == told.to.key && told.command["worker"] == json!(claim.claim.worker)
        };
        claims.send_modify(|claims| claims.retain(|claim| !is_left(claim)));
    }
}

fn is_upkeep(told: &Received) -> bool {
    matches!(told.name.as_str(), "renew" | "claim") || told.to.kind.as_str() == "breaker"
}

fn read(bus: &Bus, incoming: Incoming) -> Received {
    let command: Value = serde_json::from_slice(&incoming.payload).expect("workers write JSON");
    let (to, name) = match bus.subjects().claimant(&incoming.subject) {
        Ok(agent) => (EntityAddress::new(Kind::from_static("agent"), agent), "claim".to_owned()),
        Err(_) => {
            let (_, to) = bus.subjects().spoken(&incoming.subject).expect("an ask names an entity");
            (to, command["type"].as_str().expect("a command has a name").to_owned())
        }
    };
    Received { to, id: incoming.id.expect("it has an id"), trace: incoming.trace, name, command }
}

fn reply(told: &Received, answer: Answer) -> Option<Reply> {
    let command_id = told.id;
    match answer {
        Answer::Accept => {
            let (events, result) = match told.name.as_str() {
                "renew" => (0, json!(Renewal { attempt: Holder::Yours, lease_ms: 60_000 })),
                _ => (1, Value::Null),
            };
            Some(Reply::Accepted {
                command_id,
                entity: told.to.clone(),
                revision: Revision(1),
                events,
                result,
            })
        }
        Answer::Refuse(code) => {
            Some(Reply::Refused { command_id, refusal: Refusal::new(code, "by the rule of the test") })
        }
        Answer::Silence => None,
    }
}
