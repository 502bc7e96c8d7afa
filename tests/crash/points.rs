//! A kill at every step of the loop and of the worker: what is recovered is what an uninterrupted run
//! comes to.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use actors_runtime::crash as runtime;
use actors_runtime::fold::SNAPSHOT_EVENTS;
use actors_worker::crash as worker;
use bus_client::{Ask, Bus, Profile};
use bus_schemas::commands::probe::Command as Probe;
use bus_schemas::commands::schedule::{Command as Schedule, Recurrence};
use bus_schemas::commands::task::{Command as Task, Plan, PlanStep, Submit};
use bus_schemas::record::Event;
use bus_schemas::{CommandId, Key, Reply};
use futures::StreamExt;
use serde_json::Value;
use system_tests::{PATIENCE, Server, command, eventually, repository};

use crate::check::{Logged, logs_until, whole};
use crate::process::Process;

/// Systems side by side: they wait for timers and deliveries most of the time.
const SIDE_BY_SIDE: usize = 12;
/// Probes that are touched.
const PROBES: usize = 12;
/// Probes that are touched by durable commands.
const DURABLE: usize = 4;
/// A probe that is touched so often that it gets a snapshot.
const OFTEN: &str = "often";
/// Events of a task that it has once, however many attempts it took.
const ONCE: [&str; 3] = ["submitted", "planned", "completed"];
/// The task of the script, and those of its plan.
const TASKS: [&str; 4] = ["task/task", "task/task.a", "task/task.b", "task/task.c"];
/// What the names of the schedule's tasks begin with.
const FIRED: &str = "task/nightly-";

/// Which passes of a place kill: the first, and some in the middle of the work. The first eight
/// appends of a host are its takeovers; the loop passes its decision also when nothing waits.
fn passes(point: &str) -> &'static [u32] {
    match point {
        "after-acquire" | "after-takeover" => &[1, 8],
        "after-decide" => &[1, 60],
        "before-append" | "after-append" => &[1, 10, 25],
        "before-entity-snapshot" | "after-entity-snapshot" => &[1],
        "before-trim" | "after-trim" => &[1, 2],
        "before-issue" | "after-issue" => &[1, 3],
        "before-dead" | "after-dead" => &[1],
        point if worker::POINTS.contains(&point) || is_drain(point) => &[1, 3],
        _ => &[1, 12],
    }
}

/// Whether a host passes this place only when it gives a partition away.
fn is_drain(point: &str) -> bool {
    ["before-last-snapshot", "before-release", "after-release"].contains(&point)
}

/// A submission of work that needs nothing.
fn noop(goal: &str, steps: &[(&str, &[&str])]) -> Submit {
    let step = |(name, after): &(&str, &[&str])| PlanStep {
        step: (*name).into(),
        goal: "nothing".into(),
        skill: "noop".into(),
        input: Value::Null,
        after: after.iter().map(|name| (*name).into()).collect(),
        optional: false,
    };
    Submit { plan: Some(Plan { steps: steps.iter().map(step).collect() }), ..Submit::new(goal) }
}

/// Commands whose effect does not depend on time: touches, mail to other partitions, a timer, a
/// schedule, a plan of three steps.
fn script() -> Vec<Ask> {
    let recurrence = Recurrence::Every { every_ms: 1_000 };
    let nightly = Schedule::Create { recurrence, task: noop("again", &[("only", &[])]) };
    let mut asks = vec![command("nightly", &nightly)];
    for round in 0..3 {
        for index in 0..PROBES {
            let touch = match round {
                1 => Probe::Forward { to: Key::parse(&format!("q{index}")).expect("a key") },
                _ => Probe::Touch { note: format!("{round}") },
            };
            asks.push(command(&format!("p{index}"), &touch));
        }
    }
    asks.push(command("late", &Probe::TouchLater { after_ms: 200 }));
    let steps = noop("three steps", &[("a", &[]), ("b", &["a"]), ("c", &["b"])]);
    asks.push(command("task", &Task::Submit(steps)));
    named("step", asks)
}

/// Gives commands ids of their own that are the same in every run.
fn named(name: &str, asks: impl IntoIterator<Item = Ask>) -> Vec<Ask> {
    let named = |(index, ask): (usize, Ask)| ask.with_id(CommandId::from_text(&format!("{name} {index}")));
    asks.into_iter().enumerate().map(named).collect()
}

/// A touch of a probe.
fn touched(key: &str) -> Ask {
    command(key, &Probe::Touch { note: "touched".into() })
}

/// Plays commands; every one twice, as a caller does that did not hear the first answer.
async fn play(bus: &Bus, asks: Vec<Ask>) {
    for ask in asks {
        let first = bus.ask(&ask, PATIENCE).await.expect("an answer");
        let second = bus.ask(&ask, PATIENCE).await.expect("the same answer");
        assert!(matches!(first, Reply::Accepted { .. }), "{first:?}");
        assert_eq!(format!("{first:?}"), format!("{second:?}"));
    }
}

/// Hands commands over; every one twice, as a caller does that did not hear that it was stored.
async fn hand_over(bus: &Bus) {
    let durable = named("durable", (0..DURABLE).map(|index| touched(&format!("d{index}"))));
    // Nobody can do this one: it becomes a dead letter.
    let vain = Task::Cancel { reason: String::new() };
    let vain = named("vain", [command("nobody", &vain)]);
    for ask in durable.iter().chain(&durable).chain(&vain).chain(&vain) {
        eventually("the inbox to take a command", || async { bus.hand_over(ask).await.ok() }).await;
    }
}

/// Everything that clients do.
async fn work(bus: &Bus) {
    play(bus, script()).await;
    hand_over(bus).await;
    let often = named("often", (0..SNAPSHOT_EVENTS + 2).map(|_| touched(OFTEN)));
    let answers = futures::future::join_all(often.iter().map(|ask| bus.ask(ask, PATIENCE))).await;
    let refused = answers.iter().find(|answer| !matches!(answer, Ok(Reply::Accepted { .. })));
    assert!(refused.is_none(), "{refused:?}");
}

/// Whether the last event of an entity says that it was completed.
fn is_completed(events: &[Event]) -> bool {
    events.last().is_some_and(|event| event.event_type == "completed")
}

/// Whether the task, the mail, the durable commands, the timer and the first task of the schedule came
/// to their end.
fn has_ended(logged: &Logged) -> bool {
    let completed = |key: &str| logged.events.get(key).is_some_and(|events| is_completed(events));
    let mail = (0..PROBES).all(|index| logged.events.contains_key(&format!("probe/q{index}")));
    let durable = (0..DURABLE).all(|index| logged.events.contains_key(&format!("probe/d{index}")));
    let fired = logged.events.iter().any(|(key, events)| key.starts_with(FIRED) && is_completed(events));
    TASKS.into_iter().all(completed) && mail && durable && fired && logged.events.contains_key("probe/late")
}

/// The task of each time at which the schedule fired.
fn fired_tasks(logged: &Logged) -> Vec<String> {
    let events = logged.events.get("schedule/nightly").into_iter().flatten();
    let named = |event: &Event| -> Value { serde_json::from_slice(&event.body).expect("JSON") };
    let fired = events.filter(|event| event.event_type == "fired").map(named);
    fired.map(|fired| format!("task/{}", fired["task"].as_str().expect("a key"))).collect()
}

/// Whether every task of the schedule is completed, also those that are still on their way to be one.
fn is_quiet(logged: &Logged) -> bool {
    let completed = |key: &String| logged.events.get(key).is_some_and(|events| is_completed(events));
    fired_tasks(logged).iter().all(completed)
}

/// Asserts that each time of the schedule submitted one task.
fn assert_fired_once(logged: &Logged) {
    let times = fired_tasks(logged);
    let once: BTreeSet<String> = times.iter().cloned().collect();
    assert_eq!(once.len(), times.len(), "a time fired twice: {times:?}");
    let tasks = logged.events.keys().filter(|key| key.starts_with(FIRED) && !key.ends_with(".only"));
    assert_eq!(tasks.cloned().collect::<BTreeSet<_>>(), once, "one task for each time");
}

/// What every probe came to, and how the tasks ended.
async fn outcome(bus: &Bus) -> BTreeMap<String, Vec<String>> {
    logs_until(bus, "the end of the task, the mail, the timer and the schedule's task", has_ended).await;
    // The last touch reads the probe from what the dead host left of its snapshot.
    play(bus, named("last", [command("nightly", &Schedule::Delete), touched(OFTEN)])).await;
    logs_until(bus, "the end of the schedule's tasks", is_quiet).await;
    let logged = whole(bus).await;
    assert_fired_once(&logged);
    let mut outcome = BTreeMap::new();
    for (entity, events) in logged.events {
        if entity.starts_with("probe/") {
            let body =
                |event: &Event| format!("{} {}", event.event_type, String::from_utf8_lossy(&event.body));
            outcome.insert(entity, events.iter().map(body).collect());
        } else if TASKS.contains(&entity.as_str()) {
            // Times and attempts differ, and these do not.
            let once = events.iter().map(|event| event.event_type.to_string());
            outcome.insert(entity, once.filter(|name| ONCE.contains(&name.as_str())).collect());
        }
    }
    outcome
}

async fn run(crash_at: Option<String>) -> BTreeMap<String, Vec<String>> {
    let server = Server::start(Profile::Fast).await;
    let mut host = Process::begin(&server, "host", true, crash_at.as_deref());
    let bus = server.bus().await;
    let working = work(&bus);
    let Some(place) = crash_at else {
        working.await;
        return outcome(&bus).await;
    };
    // Partitions are given away when there is somebody to have them: who comes when all are taken gets its share.
    let is_drain = is_drain(place.split(':').next().unwrap_or(&place));
    if is_drain {
        host = host.until_ready().await;
    }
    let _other = is_drain.then(|| Process::begin(&server, "other", true, None));
    let dying = async {
        assert!(host.aborted().await, "`{place}` was passed and killed the host: {}", host.log());
        host.restart().await;
    };
    // The callers go on meanwhile: they ask again until somebody answers.
    tokio::join!(working, dying);
    outcome(&bus).await
}

/// Goal: wherever the host dies, the system comes to the same end. Method: one run without a kill,
/// then one for each place and pass, whose probes and tasks must end alike.
#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_every_step_changes_nothing() {
    let expected = run(None).await;
    assert_eq!(expected["probe/p0"].len(), 3);
    assert_eq!(expected["task/task"], ONCE);
    assert_eq!(expected["probe/often"].len() as u64, SNAPSHOT_EVENTS + 3);
    let points = runtime::POINTS.into_iter().chain(worker::POINTS);
    let places = points.flat_map(|point| passes(point).iter().map(move |pass| format!("{point}:{pass}")));
    let mut runs =
        futures::stream::iter(places.map(|place| async move { (place.clone(), run(Some(place)).await) }))
            .buffer_unordered(SIDE_BY_SIDE);
    while let Some((place, found)) = runs.next().await {
        assert_eq!(found, expected, "after a kill at `{place}`");
    }
}

/// The places in the sources below a folder.
fn places(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).expect("the sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            places(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).expect("a source file");
            let calls = text.split("crash::point(\"").skip(1);
            found.extend(calls.filter_map(|rest| rest.split('"').next()).map(str::to_owned));
        }
    }
}

/// Goal: no step is left out above. Method: the places in the sources are those of the lists.
#[test]
fn every_place_is_listed() {
    let worker = [&worker::POINTS[..], &worker::STEP_POINTS, &worker::EFFECT_POINTS].concat();
    for (folder, listed) in [("actors/runtime/src", &runtime::POINTS[..]), ("actors/worker/src", &worker)] {
        let mut found = BTreeSet::new();
        places(&repository().join(folder), &mut found);
        assert_eq!(found, listed.iter().map(|point| (*point).to_owned()).collect(), "in {folder}");
    }
}
