//! An installation without a runtime: events are published as a fan-out would, and asks are answered
//! by a stand-in for a host, so that the gateway is tested against the bus alone.

use std::collections::HashMap;
use std::sync::Arc;

use bus_client::Bus;
use bus_client::events::{Cursor, Mark, OutgoingEvent};
use bus_schemas::commands::{halt, lane, queue, schedule, task};
use bus_schemas::events::halt::Event as HaltEvent;
use bus_schemas::events::schedule::Event as ScheduleEvent;
use bus_schemas::events::task::Event as TaskEvent;
use bus_schemas::record::{self, Source, Turn};
use bus_schemas::wire::WireEvent;
use bus_schemas::{
    Body, CommandId, EntityAddress, Hash, Key, LogSequence, PartitionId, Refusal, Reply, Revision, Timestamp,
    TraceContext,
};
use futures::StreamExt;
use gateway::{Config, Gateway};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::server::{PARTITIONS, Server};

/// 2026-11-21T00:00:00Z: when the first event of every test happens.
const BEGIN: Timestamp = Timestamp(1_795_219_200_000);

/// A bus, what was published on it, and a gateway over it.
pub struct World {
    pub bus: Bus,
    pub data: TempDir,
    pub log: Arc<Mutex<Log>>,
    pub server: Server,
}

/// What a host would know.
#[derive(Default)]
pub struct Log {
    marks: HashMap<PartitionId, Mark>,
    heads: HashMap<EntityAddress, (Revision, Hash)>,
    records: u64,
    answered: HashMap<CommandId, (Body, Reply)>,
    submitted: HashMap<EntityAddress, Body>,
    /// The traces of the asks that came.
    pub traces: Vec<Option<TraceContext>>,
    /// Entities that answer no query, as on a partition without a host that can be reached.
    pub dumb: Vec<EntityAddress>,
}

/// An event of any kind, as bytes.
pub struct Raw {
    pub event_type: String,
    pub schema: u16,
    pub body: Vec<u8>,
}

impl<E: WireEvent> From<E> for Raw {
    fn from(event: E) -> Self {
        let body = serde_json::to_vec(&event).expect("an event is plain data");
        Self { event_type: event.event_type().to_owned(), schema: E::SCHEMA, body }
    }
}

/// A gateway that is stopped by hand or with the test.
pub struct Running {
    pub gateway: Gateway,
    pub stop: CancellationToken,
    pub url: String,
}

impl Running {
    /// Stops it and waits for its end.
    pub async fn stopped(self) {
        self.stop.cancel();
        self.gateway.stopped().await.expect("a gateway ends well");
    }
}

impl World {
    pub async fn new() -> Self {
        let server = Server::start().await;
        let bus = server.connect().await;
        let data = tempfile::tempdir().expect("a temporary folder");
        Self { bus, data, log: Arc::default(), server }
    }

    /// Starts a gateway on the world's read model.
    pub async fn gateway(&self) -> Running {
        self.gateway_at(self.data.path()).await
    }

    /// Starts a gateway with a read model in `data`.
    pub async fn gateway_at(&self, data: &std::path::Path) -> Running {
        let config = Config { listen: ([127, 0, 0, 1], 0).into(), data_dir: data.to_owned() };
        let stop = CancellationToken::new();
        let gateway = gateway::serve(self.bus.clone(), config, stop.clone()).await.expect("a gateway starts");
        let url = format!("http://{}", gateway.address);
        Running { gateway, stop, url }
    }

    /// Publishes events of one record, each with its entity.
    pub async fn record(&self, events: Vec<(&str, Raw)>) {
        let events = events.into_iter().map(|(entity, raw)| (entity.parse().expect("an address"), raw));
        self.log.lock().await.publish(&self.bus, events.collect()).await;
    }

    /// Publishes an event of a task.
    pub async fn happen(&self, key: &str, event: TaskEvent) {
        self.record(vec![(&format!("task/{key}"), event.into())]).await;
    }

    /// Publishes a mark without events, as after a record that led to none.
    pub async fn mark(&self, partition: PartitionId) {
        let mut log = self.log.lock().await;
        let mark = log.marks.get(&partition).copied().unwrap_or_default();
        let mark = self.bus.publish_events(partition, mark, mark.upto.next(), 0, &[]).await.expect("a mark");
        log.marks.insert(partition, mark);
    }

    /// Publishes the beginning of a task.
    pub async fn submit(&self, key: &str, owner: &str) {
        let mut submission = task::Submit::new(format!("goal of {key}"));
        submission.owner = owner.into();
        submission.parent = Key::parse(key).expect("a key").parent();
        let at = Timestamp(BEGIN.0 + self.log.lock().await.records);
        self.happen(key, TaskEvent::Submitted { submission, at }).await;
    }

    /// Answers asks and queries as a host would, until the test ends.
    pub async fn serve_asks(&self) {
        for partition in (0..PARTITIONS).map(PartitionId) {
            let (bus, log) = (self.bus.clone(), self.log.clone());
            let mut asks = bus.asks(partition).await.expect("a subscription for asks");
            bus.flush().await;
            tokio::spawn(async move {
                while let Some(ask) = asks.next().await {
                    let (caller, to) = bus.subjects().spoken(&ask.subject).expect("an entity");
                    let mut log = log.lock().await;
                    let id = ask.id.expect("asks carry an id");
                    let body = Body { content_type: Default::default(), bytes: ask.payload };
                    let reply = match bus.subjects().is_query(&ask.subject) {
                        true if log.dumb.contains(&to) => continue,
                        true => log.view(id, to, &body),
                        false => {
                            log.traces.push(ask.trace);
                            log.answer(&bus, id, caller.as_str(), to, body).await
                        }
                    };
                    let reply = serde_json::to_vec(&reply).expect("a reply is plain data");
                    bus.answer(ask.reply_to.expect("somebody waits"), reply.into()).await;
                }
            });
        }
    }
}

impl Log {
    fn view(&self, command_id: CommandId, entity: EntityAddress, query: &Body) -> Reply {
        let revision = self.heads.get(&entity).map_or(Revision(0), |(revision, _)| *revision);
        match viewed(&entity, revision, query) {
            Ok(result) => Reply::Accepted { command_id, entity, revision, events: 0, result },
            Err(refusal) => Reply::Refused { command_id, refusal },
        }
    }

    async fn answer(&mut self, bus: &Bus, id: CommandId, by: &str, to: EntityAddress, body: Body) -> Reply {
        if let Some((known, reply)) = self.answered.get(&id) {
            if *known == body {
                return reply.clone();
            }
            let refusal = Refusal::new("command-id-reused", "this command id was used with another body");
            return Reply::Refused { command_id: id, refusal };
        }
        let known = self.heads.get(&to).map_or(0, |(revision, _)| revision.0);
        let repeated = self.submitted.get(&to).is_some_and(|first| *first == body);
        let decided = if repeated { Ok(None) } else { decide(by, &to, known, &body) };
        if known == 0 {
            self.submitted.insert(to.clone(), body.clone());
        }
        let reply = match decided {
            Err(refusal) => Reply::Refused { command_id: id, refusal },
            Ok(event) => {
                let events = u32::from(event.is_some());
                if let Some(event) = event {
                    self.publish(bus, vec![(to.clone(), event)]).await;
                }
                let revision = self.heads.get(&to).map_or(Revision(0), |(revision, _)| *revision);
                Reply::Accepted { command_id: id, entity: to, revision, events, result: Value::Null }
            }
        };
        self.answered.insert(id, (body, reply.clone()));
        reply
    }

    async fn publish(&mut self, bus: &Bus, events: Vec<(EntityAddress, Raw)>) {
        self.records += 1;
        let at = Timestamp(BEGIN.0 + self.records);
        let partition = events[0].0.partition(PARTITIONS);
        let events: Vec<(EntityAddress, record::Event)> = events
            .into_iter()
            .map(|(entity, raw)| {
                let (revision, hash) = self.heads.entry(entity.clone()).or_default();
                *revision = revision.next();
                *hash = hash.link(*revision, &raw.event_type, raw.schema, &raw.body);
                let (revision, hash) = (*revision, *hash);
                let (event_type, schema) = (raw.event_type.into(), raw.schema);
                (entity, record::Event { revision, event_type, schema, hash, body: raw.body.into() })
            })
            .collect();
        let turn = turn(&events[0].0, at);
        let outgoing: Vec<OutgoingEvent<'_>> = (0..)
            .zip(&events)
            .map(|(index, (entity, event))| OutgoingEvent {
                entity,
                event,
                cursor: Cursor { partition, record: LogSequence(self.records), index },
                turn: &turn,
                first: false,
            })
            .collect();
        let mark = self.marks.get(&partition).copied().unwrap_or_default();
        let mark = bus
            .publish_events(partition, mark, LogSequence(self.records), 0, &outgoing)
            .await
            .expect("events are stored");
        self.marks.insert(partition, mark);
    }
}

/// What an entity says to a query: as much as the gateway's handlers need.
fn viewed(entity: &EntityAddress, revision: Revision, query: &Body) -> Result<Value, Refusal> {
    let block = |what: &str| json!([{"what": what, "reason": "nobody has the skill"}]);
    match entity.kind.as_str() {
        "task" if revision == Revision(0) => Err(Refusal::new("task-not-found", "there is no such task")),
        "task" => Ok(match query.read().expect("a query of a task") {
            task::Query::Explain => json!({
                "task": entity.key, "state": "submitted", "waits_for": "lane", "reason": "it waits",
                "moves": "an agent", "since": BEGIN, "lane": "default", "skill": "plan",
            }),
            // Further than the read model, whose events nobody publishes.
            task::Query::Describe => json!({
                "id": entity.key, "state": "input-required", "goal": "count", "owner": "me", "priority": 5,
                "lane": "default", "skill": "plan", "children": [], "attempt": 1, "submitted_at": BEGIN,
                "updated_at": BEGIN, "question": "of what?", "question_id": 7, "artifacts": [],
                "result": null, "revision": 7,
            }),
            query => panic!("a gateway does not ask a task for {query:?}"),
        }),
        "queue" => Ok(match query.read().expect("a query of a queue") {
            queue::Query::Explain { .. } => {
                json!({"waits": true, "attempt": 1, "agent": null, "since": BEGIN, "ahead": 2, "blocks": []})
            }
            queue::Query::Describe => json!({
                "waiting": 3, "oldest": BEGIN, "running": {"git": 1}, "governed": false, "trees_held": 0,
            }),
        }),
        "lane" => Ok(match query.read().expect("a query of a lane") {
            lane::Query::Explain { skill, .. } => {
                assert_eq!(skill, "plan");
                json!({"waits": false, "attempt": 0, "agent": null, "since": null, "ahead": 0,
                    "blocks": block("no-agent")})
            }
            lane::Query::Describe => json!({
                "id": entity.key, "waiting": 0, "oldest": null, "running": 0,
                "limits": lane::Limits::default(), "version": 0, "revision": revision, "begun_in_minute": 0, "begun_in_day": 0,
                "blocks": [], "governed": false, "partitions": [0, 1],
                "agents": [{"agent": "git", "capacity": 4, "running": 0, "free": 4}],
            }),
        }),
        "settings" => Ok(json!({
            "name": entity.key, "active": 0, "former": null, "newest": 0, "version": 0, "value": {},
            "proposed": null, "hosts": [], "watchers": 0,
        })),
        "breaker" => Ok(json!({
            "phase": "closed", "since": null, "until": null, "reason": "", "times": 0, "calls": 1, "failed": 0,
            "slow": 0, "consecutive_failed": 0, "last_error": "", "lanes": [], "probing": 0,
            "policy": {}, "version": 0, "revision": revision,
        })),
        // Its payload is not text, and lies in the stream of dead letters alone.
        "dead-letter" => Ok(json!({"recorded": null, "edited": null})),
        kind => panic!("a gateway asks nothing of `{kind}`"),
    }
}

/// As much of the entities as the gateway's handlers need.
fn decide(by: &str, to: &EntityAddress, known: u64, body: &Body) -> Result<Option<Raw>, Refusal> {
    if to.kind.as_str() == "schedule" {
        return Ok(match body.read().expect("a command of a schedule") {
            schedule::Command::Create { recurrence, task } => {
                Some(ScheduleEvent::Created { recurrence, task, next: Some(BEGIN) }.into())
            }
            schedule::Command::Pause => Some(ScheduleEvent::Paused.into()),
            schedule::Command::Resume => Some(ScheduleEvent::Resumed { next: None }.into()),
            _ => Some(ScheduleEvent::Deleted.into()),
        });
    }
    if to.kind.as_str() == "halt" {
        return halted(by, to, known, body);
    }
    match body.read().expect("a command of a task") {
        task::Command::Submit(submission) if known == 0 => {
            Ok(Some(TaskEvent::Submitted { submission, at: BEGIN }.into()))
        }
        _ if known == 0 => Err(Refusal::new("task-not-found", "there is no such task")),
        task::Command::Cancel { reason, .. } if known == 1 => {
            Ok(Some(TaskEvent::Canceled { reason, at: BEGIN }.into()))
        }
        task::Command::ExtendBudget { extend: budget, reason } => {
            Ok(Some(TaskEvent::BudgetExtended { budget, reason, by: by.to_owned(), at: BEGIN }.into()))
        }
        task::Command::Submit(_) => Err(Refusal::new("task-exists", "it was submitted with other words")),
        _ => Err(Refusal::new("task-final", "the task has ended")),
    }
}

/// A halt stands after every odd event of these tests.
fn halted(by: &str, to: &EntityAddress, known: u64, body: &Body) -> Result<Option<Raw>, Refusal> {
    if !["all", "lane.night"].contains(&to.key.as_str()) {
        return Err(Refusal::new("unknown-scope", "it is no scope"));
    }
    let stands = known % 2 == 1;
    Ok(match body.read().expect("a command of a halt") {
        halt::Command::Halt { reason, .. } if reason.trim().is_empty() => {
            return Err(Refusal::new("reason-missing", "say why"));
        }
        halt::Command::Halt { reason, grace_ms } => {
            (!stands).then(|| HaltEvent::Halted { reason, by: by.to_owned(), grace_ms, at: BEGIN }.into())
        }
        halt::Command::Resume { .. } if !stands => {
            return Err(Refusal::new("not-halted", "nothing halts it"));
        }
        halt::Command::Resume { revision: Some(revision), .. } if revision.0 < known => {
            return Err(Refusal::new("changed-since", "it was halted anew"));
        }
        halt::Command::Resume { reason, per_minute, .. } => {
            Some(HaltEvent::Resumed { reason, by: by.to_owned(), per_minute, at: BEGIN }.into())
        }
        halt::Command::Watch { lane } => Some(HaltEvent::Watched { lane }.into()),
        halt::Command::Confirm { .. } => None,
    })
}

fn turn(entity: &EntityAddress, at: Timestamp) -> Turn {
    let id = CommandId::from_text("a test");
    let command = record::Command {
        id,
        body: Body::default(),
        cause: None,
        correlation: id,
        trace: None,
        caller: None,
        settles: false,
    };
    Turn {
        source: Source::Ask,
        entity: entity.clone(),
        command,
        at,
        events: Vec::new(),
        refusal: None,
        sends: Vec::new(),
        timers: Vec::new(),
        leases: Vec::new(),
        jobs: Vec::new(),
        stops: Vec::new(),
        is_open: false,
        reply: Default::default(),
        dead: None,
    }
}
