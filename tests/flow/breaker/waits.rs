//! What waits for a breaker, what that costs it, and what is tried where nothing waits.

use bus_schemas::commands::dead_letter;
use bus_schemas::commands::lane;
use bus_schemas::events::dead_letter::Event as LetterEvent;
use bus_schemas::views::lane::{Limit, Waiting};

use super::*;

/// An agent that calls what its card does not name, and fails as long as the test says so.
#[derive(Clone, Default)]
struct Plain {
    flaky: Flaky,
    /// Whether it calls the dependency; it fails by itself otherwise.
    calls: bool,
}

impl Agent for Plain {
    fn card(&self) -> AgentCard {
        AgentCard { dependencies: vec![], ..self.flaky.card() }
    }
    fn run(&self, work: Work) -> BoxFuture<'static, Result<Done, Failure>> {
        if self.calls {
            return self.flaky.run(work);
        }
        let Flaky { down, calls } = self.flaky.clone();
        Box::pin(async move {
            calls.fetch_add(1, Ordering::SeqCst);
            match down.load(Ordering::SeqCst) {
                true => Err(Failure::transient("flaky-down", "the agent is not well")),
                false => Ok(Done::default()),
            }
        })
    }
}

/// A worker of it, until it is told to stop.
fn serve(bus: &Bus, agent: &Plain) -> Running {
    let stop = CancellationToken::new();
    let worker = Worker::new(bus.clone(), Arc::new(agent.clone()), "plain-1", 4);
    let stopped = stop.clone();
    let worker = tokio::spawn(async move { worker.run(stopped).await.expect("the worker ends well") });
    Running { stop, worker }
}

async fn tell(bus: &Bus, dependency: &str, told: &Command) {
    accepted(bus, &command(dependency, told)).await;
}

fn trip() -> Command {
    Command::Trip { reason: "an outage".into() }
}

fn reset() -> Command {
    Command::Reset { reason: "it is back".into() }
}

/// Opens after so many failures, is tried soon, and closes with one success.
fn quick(consecutive_failures: u32) -> Command {
    let policy = Policy {
        consecutive_failures,
        open_ms_min: 500,
        open_ms_max: 500,
        jitter_percent: 0,
        probes: 1,
        successes: 1,
        probe_timeout_ms: 1_000,
        ..Policy::default()
    };
    Command::Configure { policy }
}

async fn submit_once(bus: &Bus, key: &str) {
    let submit = Submit { skill: SKILL.into(), attempts_max: Some(1), ..Submit::new("call it") };
    accepted(bus, &command(key, &Task::Submit(submit))).await;
}

async fn described(bus: &Bus, dependency: &str) -> Option<Description> {
    view(bus, &query(dependency, &Query::Describe)).await
}

async fn watched(bus: &Bus, dependency: &str) {
    eventually("the lane to watch", || async {
        (!described(bus, dependency).await?.lanes.is_empty()).then_some(())
    })
    .await;
}

/// Whether the task's history has an event of this name.
async fn has_event(bus: &Bus, key: &str, name: &str) -> bool {
    let events = bus.history(&task(key), Revision(0), 0).await.expect("the event stream");
    events.iter().any(|event| event.event.event_type == name)
}

/// Goal: an agent can be taken out by its own breaker. Method: trip `agent.<name>`, a task, what the
/// lane says of it, reset.
#[tokio::test(flavor = "multi_thread")]
async fn work_waits_for_an_agent_whose_breaker_is_open() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("host", false).await;
    let bus = host.bus().clone();
    let agent = Plain::default();
    let worker = serve(&bus, &agent);
    watched(&bus, "agent.flaky").await;
    tell(&bus, "agent.flaky", &trip()).await;
    eventually("the lane to hold", || async {
        let lane: Value = view(&bus, &query("default", &lane::Query::Describe)).await?;
        lane.to_string().contains("breaker/agent.flaky").then_some(())
    })
    .await;
    submit_once(&bus, "patient").await;
    let waits: Waiting = eventually("the task to wait", || async {
        let explain = lane::Query::Explain { task: task("patient").key, skill: "flaky".into() };
        view(&bus, &query("default", &explain)).await.filter(|waiting: &Waiting| waiting.waits)
    })
    .await;
    let block = &waits.blocks[0];
    assert_eq!((block.what, block.cause.as_deref()), (Limit::Held, Some("breaker/agent.flaky")));
    assert!(block.reason.contains("an outage"), "{block:?}");
    assert_eq!(agent.flaky.calls.load(Ordering::SeqCst), 0, "the agent was not given it");
    tell(&bus, "agent.flaky", &reset()).await;
    assert!(matches!(settled(&bus, "patient").await, TaskEvent::Completed { .. }));
    worker.stop().await;
    host.stop().await;
}

/// Goal: an agent that fails again and again is given probes until it is well. Method: an agent that
/// fails by itself, until its breaker has opened twice; then it is well.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_fails_is_tried_until_it_is_well() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("host", false).await;
    let bus = host.bus().clone();
    tell(&bus, "agent.flaky", &quick(3)).await;
    let agent = Plain::default();
    agent.flaky.down.store(true, Ordering::SeqCst);
    let worker = serve(&bus, &agent);
    watched(&bus, "agent.flaky").await;
    for key in ["a", "b", "c"] {
        submit(&bus, key).await;
    }
    eventually("a probe that fails", || async {
        (described(&bus, "agent.flaky").await?.times >= 2).then_some(())
    })
    .await;
    agent.flaky.down.store(false, Ordering::SeqCst);
    for key in ["a", "b", "c"] {
        let end = settled(&bus, key).await;
        assert!(matches!(end, TaskEvent::Completed { .. }), "`{key}`: {end:?}");
    }
    eventually("the breaker to close", || async {
        (described(&bus, "agent.flaky").await?.phase == Phase::Closed).then_some(())
    })
    .await;
    worker.stop().await;
    host.stop().await;
}

/// Goal: an outage does not use attempts up, also of work whose agent does not name what it calls.
/// Method: one attempt, a dependency that is taken out for longer than two pauses, and given back.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_refused_costs_no_attempt() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("host", false).await;
    let bus = host.bus().clone();
    tell(&bus, DEPENDENCY, &trip()).await;
    let agent = Plain { calls: true, ..Plain::default() };
    let worker = serve(&bus, &agent);
    submit_once(&bus, "patient").await;
    eventually("the second refusal", || async {
        let events = bus.history(&task("patient"), Revision(0), 0).await.ok()?;
        let refused = events.iter().filter(|event| event.event.event_type == "attempt-withdrawn");
        (refused.count() >= 2).then_some(())
    })
    .await;
    assert!(!has_event(&bus, "patient", "attempt-failed").await);
    tell(&bus, DEPENDENCY, &reset()).await;
    assert!(matches!(settled(&bus, "patient").await, TaskEvent::Completed { .. }));
    assert_eq!(agent.flaky.calls.load(Ordering::SeqCst), 1);
    worker.stop().await;
    host.stop().await;
}

/// Goal: a dependency mends although no work waits for it. Method: its only task fails for good and
/// opens the breaker; it is back; nobody does anything.
#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_waits_a_dead_letter_is_the_probe() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("host", false).await;
    let bus = host.bus().clone();
    tell(&bus, DEPENDENCY, &quick(1)).await;
    let agent = Flaky::default();
    agent.down.store(true, Ordering::SeqCst);
    let worker = Running::start(&bus, &agent);
    watched(&bus, DEPENDENCY).await;
    submit_once(&bus, "lost").await;
    until_phase(&bus, Phase::Open).await;
    assert!(matches!(settled(&bus, "lost").await, TaskEvent::Failed { .. }));
    agent.down.store(false, Ordering::SeqCst);
    until_phase(&bus, Phase::Closed).await;
    eventually("the task to be done after all", || async {
        has_event(&bus, "lost", "completed").await.then_some(())
    })
    .await;
    let query =
        EventQuery { subjects: vec![bus.subjects().events(Some(&dead_letter::Command::KIND))], from: 0 };
    eventually("the entry to be redriven", || async {
        let events = bus.events_until_now(query.clone()).await.ok()?;
        let events: Vec<StoredEvent> = events.try_collect().await.ok()?;
        let read = |stored: &StoredEvent| -> LetterEvent {
            upcast::read(&stored.event.event_type, stored.event.schema, &stored.event.body).expect("known")
        };
        events.iter().any(|stored| matches!(read(stored), LetterEvent::Redriven { .. })).then_some(())
    })
    .await;
    let log = healed(&bus).await;
    let tried = &log[&format!("probe breaker/{DEPENDENCY}")];
    assert!(tried.contains("dead letters are redriven to find out"), "{log:?}");
    worker.stop().await;
    host.stop().await;
}
