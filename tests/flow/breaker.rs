//! Circuit breakers and the healer: a dependency fails, work waits, and everything goes on by itself.

mod waits;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use actors_worker::{Agent, Done, Failure, Work, Worker};
use bus_client::{Bus, EventQuery, Profile, StoredEvent};
use bus_schemas::commands::agent::{AgentCard, Skill};
use bus_schemas::commands::breaker::{Command, Description, Phase, Policy, Query};
use bus_schemas::commands::healer;
use bus_schemas::commands::probe::Command as Probe;
use bus_schemas::commands::task::{Command as Task, Submit};
use bus_schemas::events::healer::Event as Healed;
use bus_schemas::events::task::Event as TaskEvent;
use bus_schemas::wire::WireCommand;
use bus_schemas::{EntityAddress, Key, Reply, Revision, Timestamp, upcast};
use futures::TryStreamExt;
use futures::future::BoxFuture;
use serde_json::{Value, json};
use system_tests::agents::{settled, task};
use system_tests::edge::Edge;
use system_tests::process::Process;
use system_tests::{PATIENCE, Server, accepted, command, eventually, probe, query, refused, view};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// What the agent depends on, and its skill.
const DEPENDENCY: &str = "tool.flaky";
const SKILL: &str = "flaky";

/// An agent whose dependency fails as long as the test says so.
#[derive(Clone, Default)]
struct Flaky {
    down: Arc<AtomicBool>,
    calls: Arc<AtomicUsize>,
}

impl Agent for Flaky {
    fn card(&self) -> AgentCard {
        let skill = Skill { id: SKILL.into(), name: "Flaky".into(), ..Skill::default() };
        let key = |text| Key::parse(text).expect("a constant");
        AgentCard {
            name: key(SKILL),
            description: "calls a dependency".into(),
            version: "1".into(),
            skills: vec![skill],
            dependencies: vec![key(DEPENDENCY)],
        }
    }

    fn run(&self, work: Work) -> BoxFuture<'static, Result<Done, Failure>> {
        let Self { down, calls } = self.clone();
        Box::pin(async move {
            let breakers = work.breakers().clone();
            let called = breakers.call(DEPENDENCY, || async move {
                calls.fetch_add(1, Ordering::SeqCst);
                match down.load(Ordering::SeqCst) {
                    true => Err(Failure::transient("flaky-down", "the dependency does not answer")),
                    false => Ok(()),
                }
            });
            called.await.map(|()| Done::default())
        })
    }
}

struct Running {
    stop: CancellationToken,
    worker: JoinHandle<()>,
}

impl Running {
    fn start(bus: &Bus, agent: &Flaky) -> Self {
        let stop = CancellationToken::new();
        let worker = Worker::new(bus.clone(), Arc::new(agent.clone()), "flaky-1", 4);
        let stopped = stop.clone();
        let worker = tokio::spawn(async move { worker.run(stopped).await.expect("the worker ends well") });
        Self { stop, worker }
    }
    async fn stop(self) {
        self.stop.cancel();
        self.worker.await.expect("the worker does not panic");
    }
}

fn breaker() -> EntityAddress {
    EntityAddress::new(Command::KIND, Key::parse(DEPENDENCY).expect("a constant"))
}

/// Opens after three failures, and stays open long enough for a host to be killed meanwhile.
async fn configure(bus: &Bus, open_ms: u64) {
    let policy = Policy {
        consecutive_failures: 3,
        open_ms_min: open_ms,
        jitter_percent: 0,
        probes: 1,
        successes: 1,
        probe_timeout_ms: 2_000,
        ..Policy::default()
    };
    accepted(bus, &command(DEPENDENCY, &Command::Configure { policy })).await;
}

async fn submit(bus: &Bus, key: &str) {
    let submit = Submit { skill: SKILL.into(), attempts_max: Some(20), ..Submit::new("call it") };
    accepted(bus, &command(key, &Task::Submit(submit))).await;
}

async fn describe(bus: &Bus) -> Option<Description> {
    view(bus, &query(DEPENDENCY, &Query::Describe)).await
}

async fn until_phase(bus: &Bus, phase: Phase) {
    eventually(&format!("the breaker to be {phase}"), || async {
        (describe(bus).await?.phase == phase).then_some(())
    })
    .await;
}

/// The names of the breaker's events, in order, without reports.
async fn changes(bus: &Bus) -> Vec<StoredEvent> {
    let events = bus.history(&breaker(), Revision(0), 0).await.expect("the event stream");
    let is_change =
        |event: &StoredEvent| ["opened", "half-opened", "closed"].contains(&event.event.event_type.as_str());
    events.into_iter().filter(is_change).collect()
}

/// What the log of the healer says that was done, with its reasons.
async fn healed(bus: &Bus) -> BTreeMap<String, String> {
    let query = EventQuery { subjects: vec![bus.subjects().events(Some(&healer::Command::KIND))], from: 0 };
    let events = bus.events_until_now(query).await.expect("the event stream");
    let events: Vec<StoredEvent> = events.try_collect().await.expect("readable events");
    let read = |stored: &StoredEvent| {
        upcast::read(&stored.event.event_type, stored.event.schema, &stored.event.body).expect("known")
    };
    let acts = events.iter().filter_map(|stored| match read(stored) {
        Healed::Acted(act) => Some((format!("{} {}", act.action, act.subject), act.reason)),
        Healed::Quarantined { .. } | Healed::Released { .. } => None,
    });
    acts.collect()
}

fn time(stored: &StoredEvent) -> Timestamp {
    Timestamp::parse_rfc3339(&stored.time).expect("events have a time")
}

/// Goal: a dependency that fails stops nobody for good and fails no task; the host may be killed
/// meanwhile. Method: an agent whose dependency is down, a host that is killed while the breaker is
/// open, another one; then the dependency is back.
#[tokio::test(flavor = "multi_thread")]
async fn work_waits_for_a_dependency_that_is_down_and_goes_on_when_it_is_back() {
    let server = Server::start(Profile::Fast).await;
    let mut first = Process::start(&server, "first", false).await;
    let bus = server.bus().await;
    configure(&bus, 3_000).await;
    let agent = Flaky::default();
    agent.down.store(true, Ordering::SeqCst);
    let worker = Running::start(&bus, &agent);
    for key in ["a", "b", "c"] {
        submit(&bus, key).await;
    }
    until_phase(&bus, Phase::Open).await;
    first.kill().await;
    let second = Process::start(&server, "second", false).await;
    submit(&bus, "late").await;
    eventually("a probe that fails", || async {
        let opened = |event: &&StoredEvent| event.event.event_type == "opened";
        (changes(&bus).await.iter().filter(opened).count() >= 2).then_some(())
    })
    .await;
    agent.down.store(false, Ordering::SeqCst);
    for key in ["a", "b", "c", "late"] {
        let end = settled(&bus, key).await;
        assert!(matches!(end, TaskEvent::Completed { .. }), "`{key}` waits and is done: {end:?}");
    }
    until_phase(&bus, Phase::Closed).await;
    let changes = changes(&bus).await;
    let names: Vec<&str> = changes.iter().map(|event| event.event.event_type.as_str()).collect();
    assert!(names.starts_with(&["opened", "half-opened", "opened"]), "{names:?}");
    assert!(names.ends_with(&["half-opened", "closed"]), "{names:?}");
    let (half_opened, late) = (time(&changes[1]), bus.history(&task("late"), Revision(0), 0).await.unwrap());
    let begun = late.iter().find(|event| event.event.event_type == "job-issued").expect("it was begun");
    assert!(time(begun) >= half_opened, "what came while it was open was begun before it was half-open");
    let failed_calls = names.iter().filter(|name| **name == "opened").count();
    let calls = agent.calls.load(Ordering::SeqCst);
    assert!(calls <= 3 + failed_calls + 8, "{calls} calls: it was called while it was open");
    let log = eventually("the log of the healer", || async {
        let log = healed(&bus).await;
        log.contains_key("ease breaker/tool.flaky").then_some(log)
    })
    .await;
    let told = |action: &str| log[&format!("{action} breaker/{DEPENDENCY}")].as_str();
    assert!(told("hold").contains("the dependency does not answer"), "{log:?}");
    assert!(told("probe").starts_with("half-open") && told("ease").starts_with("closed"), "{log:?}");
    assert!(!log.contains_key("drain breaker/tool.flaky"), "nothing was left behind: {log:?}");
    worker.stop().await;
    drop((first, second));
}

/// Goal: an operator can take a dependency out and give it back. Method: trip, a task, reset.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_tripped_waits_until_it_is_reset() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("host", false).await;
    let bus = host.bus().clone();
    configure(&bus, 100).await;
    let agent = Flaky::default();
    let worker = Running::start(&bus, &agent);
    eventually("the lane to watch", || async { (!describe(&bus).await?.lanes.is_empty()).then_some(()) })
        .await;
    let trip = Command::Trip { reason: "an outage".into() };
    accepted(&bus, &command(DEPENDENCY, &trip)).await;
    submit(&bus, "patient").await;
    // Its own timers pass meanwhile: what was tripped does not end by itself.
    let waiting = settled(&bus, "patient");
    let waited = tokio::time::timeout(std::time::Duration::from_secs(2), waiting).await;
    assert!(waited.is_err(), "it was done although its dependency is taken out: {waited:?}");
    assert_eq!(agent.calls.load(Ordering::SeqCst), 0);
    let reset = Command::Reset { reason: "it is back".into() };
    accepted(&bus, &command(DEPENDENCY, &reset)).await;
    assert!(matches!(settled(&bus, "patient").await, TaskEvent::Completed { .. }));
    worker.stop().await;
    host.stop().await;
}

/// Goal: an entity that breaks whatever it is told is kept apart, and says why; a restart changes
/// nothing; a release does. Method: poison, until it is refused under another code.
#[tokio::test(flavor = "multi_thread")]
async fn an_entity_that_poisons_is_quarantined_until_it_is_released() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("host", false).await;
    let bus = host.bus().clone();
    eventually("the quarantine", || async {
        (refused(&bus, &command("bad", &Probe::Panic)).await == "entity-quarantined").then_some(())
    })
    .await;
    assert_eq!(accepted(&bus, &system_tests::touch("good")).await, Revision(1), "others go on");
    host.stop().await;
    let host = server.host("host", false).await;
    let bus = host.bus().clone();
    assert_eq!(refused(&bus, &system_tests::touch("bad")).await, "entity-quarantined", "it was restarted");
    let release = healer::Command::Release { entity: probe("bad"), reason: "mended".into() };
    accepted(&bus, &command(healer::QUARANTINE, &release)).await;
    eventually("the release", || async {
        let reply = bus.ask(&system_tests::touch("bad"), PATIENCE).await.ok()?;
        matches!(reply, Reply::Accepted { .. }).then_some(())
    })
    .await;
    host.stop().await;
}

/// Goal: over HTTP as on the bus: breakers are listed, shown, tripped and reset. Method: each once, with
/// the answers that a client sees.
#[tokio::test(flavor = "multi_thread")]
async fn breakers_are_worked_with_over_http() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("a", false).await;
    let edge = Edge::start(host.bus(), &server.directory().join("gateway")).await;
    let (_, none) = edge.get("/v1/breakers").await;
    assert_eq!(none, json!({"breakers": [], "next_cursor": null, "silent": []}));
    let reason = json!({"reason": "it is being moved"});
    for (path, code) in
        [("/v1/breakers/tool.git", "breaker-not-found"), ("/v1/breakers/tool..git", "invalid-id")]
    {
        let (_, problem) = edge.get(path).await;
        assert_eq!(problem["code"], code, "{problem}");
    }
    let (status, problem) = edge.post("/v1/breakers/tool.git/reset", &reason).await;
    assert_eq!((status, &problem["code"]), (404, &"breaker-not-found".into()), "{problem}");
    let (status, problem) = edge.post("/v1/breakers/tool.git/trip", &json!({})).await;
    assert_eq!((status, &problem["code"]), (422, &"invalid-body".into()), "{problem}");
    // What a change answers says besides whether anything was heard of it before.
    let told = |mut breaker: Value| {
        let known = breaker.as_object_mut().and_then(|fields| fields.remove("known"));
        (breaker, known)
    };
    let (status, open) = edge.post("/v1/breakers/tool.git/trip", &reason).await;
    let (open, known) = told(open);
    assert_eq!(known, Some(json!(false)));
    assert_eq!((status, &open["phase"], &open["until"]), (200, &"open".into(), &Value::Null), "{open}");
    assert!(open["reason"].as_str().is_some_and(|why| why.contains("it is being moved")), "{open}");
    let (_, list) = edge.get("/v1/breakers").await;
    assert_eq!(list, json!({"breakers": [open], "next_cursor": null, "silent": []}));
    let (status, closed) = edge.post("/v1/breakers/tool.git/reset", &reason).await;
    let (closed, known) = told(closed);
    assert_eq!(known, Some(json!(true)));
    assert_eq!((status, &closed["phase"]), (200, &"closed".into()), "{closed}");
    let (status, shown) = edge.get("/v1/breakers/tool.git").await;
    assert_eq!((status, &shown), (200, &closed));
    edge.stop().await;
    host.stop().await;
}
