//! chaos: each experiment disturbs what it says, nothing acknowledged is lost or done twice meanwhile,
//! and it is over by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actors_host::{Config, Running, config};
use actors_runtime::supervision::{Child, Intensity, Restart, Supervisor, Work};
use actors_worker::{Agent, Done, Failure, Work as Job, Worker};
use bus_client::{Ask, Bus, EventQuery, Profile};
use bus_schemas::commands::agent::{AgentCard, Skill};
use bus_schemas::commands::breaker::{self, Phase};
use bus_schemas::commands::chaos::{Command, Delayed, Description, EndCause, Experiment, Query};
use bus_schemas::commands::task::{Command as Task, Submit};
use bus_schemas::events::healer;
use bus_schemas::events::task::Event as TaskEvent;
use bus_schemas::wire::{WireCommand, WireEvent};
use bus_schemas::{EntityAddress, Key, PartitionId, Revision, Timestamp, upcast};
use futures::TryStreamExt;
use futures::future::BoxFuture;
use system_tests::agents::settled;
use system_tests::load::{Load, Random, kept};
use system_tests::{
    Server, accepted, command, eventually, query, refused, touch, touch_all, until_held, view,
};
use tokio::time::Instant;

/// How long an experiment of a test goes on: some renewals of a lease, and some repeats of an ask.
const TIME: Duration = Duration::from_secs(4);
/// Longer than a lease: others have taken over by then.
const LONG: Duration = Duration::from_secs(12);
/// Callers under an experiment.
const CALLERS: usize = 8;

/// A host that takes part in experiments.
async fn host(server: &Server, name: &str, agents: bool) -> Running {
    host_under(server, name, agents, config::Chaos::Switch(true)).await
}

async fn host_under(server: &Server, name: &str, agents: bool, chaos: config::Chaos) -> Running {
    let config = Config {
        data_dir: server.directory().join(name),
        nats: server.config(),
        host_name: Some(name.to_owned()),
        agents,
        chaos,
        ..Config::default()
    };
    let running = actors_host::start(&config, actors_agents::shipped(&actors_agents::Tools::default()))
        .await
        .expect("the host starts");
    running.ready().await.expect("every partition answers");
    running
}

fn key(text: &str) -> Key {
    Key::parse(text).expect("a test's key")
}

fn start(name: &str, experiment: Experiment, time: Duration) -> Ask {
    let for_ms = time.as_millis() as u64;
    command(name, &Command::Start { experiment, for_ms, reason: "a test".into() }).caller("ada")
}

fn stop(name: &str) -> Ask {
    command(name, &Command::Stop { reason: "seen enough".into() })
}

async fn describe(bus: &Bus, name: &str) -> Option<Description> {
    view(bus, &query(name, &Query::Describe)).await
}

/// Waits until an experiment is over by itself.
async fn over(bus: &Bus, name: &str) {
    eventually(&format!("the end of `{name}`"), || async {
        let ended = describe(bus, name).await?.ended?;
        assert_eq!(ended.cause, EndCause::TimeOver, "{ended:?}");
        Some(())
    })
    .await;
}

/// How long a command of a caller takes.
async fn taken(bus: &Bus, key: &str) -> Duration {
    let began = Instant::now();
    accepted(bus, &touch(key)).await;
    began.elapsed()
}

/// Waits until commands take as short as ever.
async fn undisturbed(bus: &Bus) {
    eventually("undisturbed answers", || async {
        (taken(bus, "calm").await < Duration::from_millis(200)).then_some(())
    })
    .await;
}

/// Goal: nobody disturbs a system whose settings do not say that they may, by any way. Method: no
/// setting; one that does not name the profile; an ask, and a command that is handed over.
#[tokio::test(flavor = "multi_thread")]
async fn experiments_are_refused_where_the_settings_do_not_allow_them() {
    let delay = Experiment::Delay { by_ms: 100, of: Delayed::Answers, host: None };
    for (profile, chaos) in [
        (Profile::Fast, config::Chaos::Switch(false)),
        (Profile::Durable, config::Chaos::Switch(true)),
        (Profile::Durable, config::Chaos::Under(Profile::Fast)),
    ] {
        let server = Server::start(profile).await;
        let host = host_under(&server, "a", false, chaos).await;
        let bus = host.bus();
        assert_eq!(refused(bus, &start("one", delay.clone(), TIME)).await, "chaos-not-allowed");
        bus.hand_over(&start("one", delay.clone(), TIME)).await.expect("the inbox takes it");
        eventually("its dead letter", || async {
            let subject = bus.subjects().events(Some(&bus_schemas::Kind::from_static("dead-letter")));
            let letters = bus.latest_events(&subject).await.ok()?;
            (!letters.is_empty()).then_some(())
        })
        .await;
        assert_eq!(refused(bus, &stop("one")).await, "experiment-not-found", "it never began");
        host.stop().await;
    }
    let server = Server::start(Profile::Durable).await;
    let host = host_under(&server, "a", false, config::Chaos::Under(Profile::Durable)).await;
    accepted(host.bus(), &start("one", delay, TIME)).await;
    host.stop().await;
}

/// Goal: callers whose answers are lost ask again and hear the first answer; nothing is done twice.
/// Method: half of the answers, under callers that repeat themselves.
#[tokio::test(flavor = "multi_thread")]
async fn dropped_answers_are_asked_for_again() {
    let server = Server::start(Profile::Fast).await;
    let host = host(&server, "a", false).await;
    let bus = server.bus().await;
    let load = Load::start(&server.config(), CALLERS, &mut Random(11)).await;
    accepted(&bus, &start("drop", Experiment::DropAcks { percent: 50, host: None }, TIME)).await;
    eventually("a dropped answer", || async {
        (taken(&bus, "waits").await > Duration::from_millis(190)).then_some(())
    })
    .await;
    load.go_on("with half of the answers").await;
    over(&bus, "drop").await;
    load.go_on("when it is over").await;
    let acknowledged = load.end().await;
    kept(&bus, &acknowledged).await;
    undisturbed(&bus).await;
    host.stop().await;
}

/// Goal: late answers and late commands are late, in order and complete; an experiment is stopped
/// early, and can be stopped when its own answers are late. Method: both delays, and durable commands
/// whose order is known.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_late_comes_all_the_same_and_in_order() {
    let server = Server::start(Profile::Fast).await;
    let host = host(&server, "a", false).await;
    let bus = server.bus().await;
    for (round, of) in (1..).zip([Delayed::Answers, Delayed::Inbox]) {
        let name = format!("late-{of}");
        accepted(&bus, &start(&name, Experiment::Delay { by_ms: 400, of, host: None }, TIME)).await;
        let late = Duration::from_millis(400);
        eventually("a late answer", || async { (taken(&bus, "waits").await >= late).then_some(()) }).await;
        let ids: Vec<_> = (0..20).map(|_| touch(&format!("order-{of}"))).collect();
        for ask in &ids {
            bus.hand_over(ask).await.expect("the inbox takes it");
        }
        if round == 1 {
            over(&bus, &name).await;
        } else {
            let began = Instant::now();
            accepted(&bus, &stop(&name)).await;
            assert!(began.elapsed() < late, "its own commands are spared");
            assert_eq!(refused(&bus, &stop(&name)).await, "experiment-over");
        }
        let entity = system_tests::probe(&format!("order-{of}"));
        system_tests::until_revision(&bus, &entity, Revision(20)).await;
        let history = bus.history(&entity, Revision(0), 0).await.expect("a history");
        let applied: Vec<_> = history.iter().map(|stored| stored.event.revision).collect();
        assert_eq!(applied, (1..=20).map(Revision).collect::<Vec<_>>());
        undisturbed(&bus).await;
    }
    let load = Load::start(&server.config(), CALLERS, &mut Random(12)).await;
    let delay = Experiment::Delay { by_ms: 150, of: Delayed::Inbox, host: None };
    accepted(&bus, &start("both", delay, TIME)).await;
    load.go_on("late").await;
    over(&bus, "both").await;
    load.go_on("in time").await;
    let acknowledged = load.end().await;
    kept(&bus, &acknowledged).await;
    host.stop().await;
}

/// Goal: a full queue tells callers that it is busy, keeps what was handed over, and can be emptied by
/// hand; commands that fill it change nothing. Method: the queue of the experiment's own partition, and
/// then a rate for all.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_inbox_turns_callers_away_and_loses_nothing() {
    let server = Server::start(Profile::Fast).await;
    let host = host(&server, "a", false).await;
    let bus = server.bus().await;
    let full = EntityAddress::new(Command::KIND, key("full")).partition(bus.topology().partitions);
    let inside = (0..).map(|number| format!("p{number}"));
    let inside = inside.filter(|name| system_tests::probe(name).partition(8) == full).take(2);
    let inside: Vec<String> = inside.collect();
    let fill = Experiment::FillInbox { partition: Some(full), per_second: None };
    accepted(&bus, &start("full", fill, LONG)).await;
    eventually("a caller being turned away", || async {
        let told = bus.ask(&touch(&inside[0]), Duration::from_millis(300)).await;
        told.is_err_and(|error| error.to_string().contains("queue is full")).then_some(())
    })
    .await;
    bus.hand_over(&touch(&inside[1])).await.expect("the inbox takes it");
    let other = (0..).map(|number| format!("q{number}"));
    let mut other = other.filter(|name| system_tests::probe(name).partition(8) != full);
    accepted(&bus, &touch(&other.next().expect("another partition"))).await;
    accepted(&bus, &stop("full")).await;
    system_tests::until_revision(&bus, &system_tests::probe(&inside[1]), Revision(1)).await;
    undisturbed(&bus).await;

    let load = Load::start(&server.config(), CALLERS, &mut Random(13)).await;
    let flood = Experiment::FillInbox { partition: None, per_second: Some(300) };
    accepted(&bus, &start("flood", flood, TIME)).await;
    load.go_on("with a flood").await;
    over(&bus, "flood").await;
    let acknowledged = load.end().await;
    kept(&bus, &acknowledged).await;
    assert!(fillings(&bus, full).await > 100, "commands were put into the queue");
    host.stop().await;
}

/// How many commands that lead to nothing are in a log.
async fn fillings(bus: &Bus, partition: PartitionId) -> usize {
    let mut records = bus.records_after(partition, bus_schemas::LogSequence(0)).await.expect("the log");
    let mut count = 0;
    while let Some(entry) = records.try_next().await.expect("a record") {
        let record = bus_schemas::record::CommitRecord::decode(&entry.record).expect("a readable record");
        let filling = |turn: &&bus_schemas::record::Turn| turn.entity.key.as_str().starts_with("fill-");
        count += record.turns.iter().filter(filling).count();
    }
    count
}

/// Goal: a paused host loses its partitions, callers go on, and when it wakes it writes nothing that is
/// not its own to write. Method: one of two hosts under load, past its lease, and who wrote what.
#[tokio::test(flavor = "multi_thread")]
async fn a_paused_host_is_followed_and_wakes_as_no_zombie() {
    let server = Server::start(Profile::Fast).await;
    let first = host(&server, "a", false).await;
    let second = host(&server, "b", false).await;
    let bus = server.bus().await;
    until_held(&bus, "b", 4).await;
    let load = Load::start(&server.config(), CALLERS, &mut Random(14)).await;
    load.go_on("at first").await;
    accepted(&bus, &start("pause", Experiment::PauseHost { host: key("a") }, LONG)).await;
    until_held(&bus, "b", 8).await;
    load.go_on("without the paused host").await;
    over(&bus, "pause").await;
    until_held(&bus, "a", 4).await;
    load.go_on("with both").await;
    let acknowledged = load.end().await;
    let logged = kept(&bus, &acknowledged).await;
    assert!(logged.handed_on() >= 8, "four went to the other host, and four came back");
    first.stop().await;
    second.stop().await;
}

/// Goal: the only host can be paused, and comes back by itself. Method: nobody takes over.
#[tokio::test(flavor = "multi_thread")]
async fn the_only_host_wakes_by_itself() {
    let server = Server::start(Profile::Fast).await;
    let host = host(&server, "a", false).await;
    let bus = server.bus().await;
    touch_all(&bus, 16, 1).await;
    accepted(&bus, &start("pause", Experiment::PauseHost { host: key("a") }, TIME)).await;
    eventually("silence", || async {
        bus.ask(&touch("silent"), Duration::from_millis(500)).await.is_err().then_some(())
    })
    .await;
    touch_all(&bus, 16, 2).await;
    over(&bus, "pause").await;
    host.stop().await;
}

/// Goal: what depends on a tripped breaker waits no longer than the experiment, and what a person
/// tripped stays tripped. Method: one after the other.
#[tokio::test(flavor = "multi_thread")]
async fn a_tripped_breaker_is_let_go_of_and_nobody_elses() {
    let server = Server::start(Profile::Fast).await;
    let host = host(&server, "a", false).await;
    let bus = host.bus();
    let phase = |dependency: &'static str| async move {
        let describe = query(dependency, &breaker::Query::Describe);
        view::<breaker::Description>(bus, &describe).await.map(|now| now.phase)
    };
    let trip = |dependency| Experiment::TripBreaker { dependency: key(dependency) };
    accepted(bus, &start("trip", trip("tool.git"), TIME)).await;
    eventually("the trip", || async { (phase("tool.git").await? == Phase::Open).then_some(()) }).await;
    eventually("who tripped it", || async {
        let tripped = EntityAddress::new(breaker::Command::KIND, key("tool.git"));
        let stored = bus.history(&tripped, Revision(0), 0).await.ok()?;
        let mut bodies = stored.iter().filter_map(|each| serde_json::from_slice(&each.event.body).ok());
        bodies.any(|body: serde_json::Value| body["by"] == "chaos/trip").then_some(())
    })
    .await;
    over(bus, "trip").await;
    eventually("the end of it", || async { (phase("tool.git").await? == Phase::Closed).then_some(()) }).await;

    let by_hand = breaker::Command::Trip { reason: "an outage".into() };
    accepted(bus, &command("tool.x", &by_hand)).await;
    accepted(bus, &start("vain", trip("tool.x"), TIME)).await;
    accepted(bus, &stop("vain")).await;
    let untripped = async || {
        // Whatever the end of the experiment sent is in the breaker's mailbox, in front of this.
        let marker = breaker::Command::Trip { reason: "still an outage".into() };
        accepted(bus, &command("tool.x", &marker)).await;
        phase("tool.x").await
    };
    assert_eq!(untripped().await, Some(Phase::Open), "a person's trip is a person's");
    host.stop().await;
}

/// Goal: a shipped agent's worker that dies again and again is mended by its supervisor, the healer
/// tells, and every task is done once. Method: tasks one after the other while it dies.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_dies_again_and_again_is_mended() {
    let server = Server::start(Profile::Fast).await;
    let host = host(&server, "a", true).await;
    let bus = host.bus();
    let kill = Experiment::KillWorker { agent: key("no-op"), host: None, every_ms: Some(1_000) };
    accepted(bus, &start("kill", kill, TIME)).await;
    let mut tasks = 0;
    while describe(bus, "kill").await.is_some_and(|now| now.ended.is_none()) {
        tasks += 1;
        let submit = Submit { skill: "noop".into(), ..Submit::new("nothing") };
        accepted(bus, &command(&format!("t{tasks}"), &Task::Submit(submit))).await;
        tokio::task::yield_now().await;
    }
    for task in 1..=tasks {
        let end = settled(bus, &format!("t{task}")).await;
        assert!(matches!(end, TaskEvent::Completed { .. }), "t{task}: {end:?}");
    }
    let told = eventually("what the healer tells", || async {
        let subjects = vec![bus.subjects().events(Some(&healer::Event::KIND))];
        let events = bus.events_until_now(EventQuery { subjects, from: 0 }).await.ok()?;
        let events: Vec<_> = events.try_collect().await.ok()?;
        let is_kill = |stored: &bus_client::StoredEvent| {
            let event = &stored.event;
            let event: healer::Event = upcast::read(&event.event_type, event.schema, &event.body).ok()?;
            let healer::Event::Acted(act) = event else { return None };
            act.reason.contains("was killed by the experiment `kill`").then_some(())
        };
        let kills = events.iter().filter_map(is_kill).count();
        (kills >= 2).then_some(kills)
    })
    .await;
    assert!(told <= 5, "no more than one a second: {told}");
    host.stop().await;
}

/// An agent whose first run never ends.
struct Stuck {
    runs: Arc<AtomicUsize>,
}

impl Agent for Stuck {
    fn card(&self) -> AgentCard {
        let skill = Skill { id: "stuck".into(), name: "Stuck".into(), ..Skill::default() };
        AgentCard {
            name: key("stuck"),
            description: "stands still once".into(),
            version: "1".into(),
            skills: vec![skill],
            dependencies: vec![],
        }
    }
    fn run(&self, _: Job) -> BoxFuture<'static, Result<Done, Failure>> {
        let run = self.runs.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            if run == 0 {
                std::future::pending::<()>().await;
            }
            Ok(Done::default())
        })
    }
}

/// A worker below a supervisor of its own.
async fn supervised(bus: &Bus, runs: &Arc<AtomicUsize>) -> Supervisor {
    let intensity = Intensity { failures: 8, within: Duration::from_secs(60) };
    let root = Supervisor::root("test", intensity).await.expect("a supervisor");
    let (bus, runs) = (bus.clone(), Arc::clone(runs));
    let work: Work = Arc::new(move |stop| {
        let agent = Arc::new(Stuck { runs: Arc::clone(&runs) });
        let worker = Worker::new(bus.clone(), agent, "stuck-1", 1);
        Box::pin(async move { worker.run(stop).await.map_err(|error| error.to_string().into()) })
    });
    root.start(Child { name: "stuck".into(), restart: Restart::Always, work });
    root
}

/// Goal: what a killed worker was doing is done by the one that follows, and no attempt is counted
/// twice. Method: a job that never ends, a kill in the middle of it, and the task's end.
#[tokio::test(flavor = "multi_thread")]
async fn the_job_of_a_killed_worker_is_done_by_the_next() {
    let server = Server::start(Profile::Fast).await;
    let host = host(&server, "a", false).await;
    let bus = server.bus().await;
    let (disturbed, conductor) = actors_host::chaos::follow(&bus, "a").await.expect("the experiments");
    let following = tokio::spawn(conductor.run());
    let runs = Arc::new(AtomicUsize::new(0));
    let root = supervised(&disturbed, &runs).await;
    let submit = Submit { skill: "stuck".into(), ..Submit::new("stand still") };
    accepted(&bus, &command("t", &Task::Submit(submit))).await;
    eventually("the first run", || async { (runs.load(Ordering::SeqCst) == 1).then_some(()) }).await;
    let kill = Experiment::KillWorker { agent: key("stuck"), host: Some(key("a")), every_ms: None };
    accepted(&bus, &start("kill", kill, TIME)).await;
    let end = settled(&bus, "t").await;
    assert!(matches!(end, TaskEvent::Completed { .. }), "{end:?}");
    assert_eq!(runs.load(Ordering::SeqCst), 2, "it was begun twice and ended once");
    let began = describe(&bus, "kill").await.expect("it is known");
    assert!(began.since > Timestamp(0) && began.by == "ada" && began.reason == "a test", "{began:?}");
    root.shutdown(Duration::from_secs(5)).await;
    following.abort();
    host.stop().await;
}
