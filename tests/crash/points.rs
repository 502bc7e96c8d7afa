//! A kill at every step of the loop: what is recovered is what an uninterrupted run comes to.

use std::collections::{BTreeMap, BTreeSet};

use actors_runtime::crash::POINTS;
use bus_client::{Ask, Bus, Profile};
use bus_schemas::commands::probe::Command as Probe;
use bus_schemas::commands::schedule::{Command as Schedule, Recurrence};
use bus_schemas::commands::task::{Command as Task, Plan, PlanStep, Submit};
use bus_schemas::record::Event;
use bus_schemas::{CommandId, Key, Reply};
use futures::StreamExt;
use serde_json::Value;
use system_tests::{PATIENCE, Server, command, repository};

use crate::check::{Logged, logs_until, whole};
use crate::process::Process;

/// Systems side by side: they wait for timers and deliveries most of the time.
const SIDE_BY_SIDE: usize = 6;
/// Probes that are touched.
const PROBES: usize = 12;
/// The task of the script, and those of its plan.
const TASKS: [&str; 4] = ["task/task", "task/task.a", "task/task.b", "task/task.c"];
/// What the names of the schedule's tasks begin with.
const FIRED: &str = "task/nightly-";

/// Which passes of a place kill: the first, and some in the middle of the work. The first eight
/// appends of a host are its takeovers; the loop passes its decision also when nothing waits.
fn passes(point: &str) -> &'static [u32] {
    match point {
        "after-takeover" => &[1, 8],
        "after-decide" => &[1, 60],
        "before-append" | "after-append" => &[1, 10, 25],
        "before-jobs" | "after-jobs" => &[1, 3],
        _ => &[1, 12],
    }
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
    let named = |(index, ask): (usize, Ask)| ask.with_id(CommandId::from_text(&format!("step {index}")));
    asks.into_iter().enumerate().map(named).collect()
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

/// Whether the last event of an entity says that it was completed.
fn is_completed(events: &[Event]) -> bool {
    events.last().is_some_and(|event| event.event_type == "completed")
}

/// Whether the task, the mail, the timer and the first task of the schedule came to their end.
fn has_ended(logged: &Logged) -> bool {
    let completed = |key: &str| logged.events.get(key).is_some_and(|events| is_completed(events));
    let mail = (0..PROBES).all(|index| logged.events.contains_key(&format!("probe/q{index}")));
    let fired = logged.events.iter().any(|(key, events)| key.starts_with(FIRED) && is_completed(events));
    TASKS.into_iter().all(completed) && mail && fired && logged.events.contains_key("probe/late")
}

/// Whether every task of the schedule is completed.
fn is_quiet(logged: &Logged) -> bool {
    let mut fired = logged.events.iter().filter(|(key, _)| key.starts_with(FIRED));
    fired.all(|(_, events)| is_completed(events))
}

/// Asserts that each time of the schedule submitted one task.
fn assert_fired_once(logged: &Logged) {
    let fired = logged.events["schedule/nightly"].iter().filter(|event| event.event_type == "fired");
    let named = |event: &Event| -> Value { serde_json::from_slice(&event.body).expect("JSON") };
    let times: Vec<String> = fired.map(|event| format!("task/{}", named(event)["task"])).collect();
    let once: BTreeSet<String> = times.iter().map(|name| name.replace('"', "")).collect();
    assert_eq!(once.len(), times.len(), "a time fired twice: {times:?}");
    let tasks = logged.events.keys().filter(|key| key.starts_with(FIRED) && !key.ends_with(".only"));
    assert_eq!(tasks.cloned().collect::<BTreeSet<_>>(), once, "one task for each time");
}

/// What every probe came to, and how the tasks ended.
async fn outcome(bus: &Bus) -> BTreeMap<String, Vec<String>> {
    logs_until(bus, "the end of the task, the mail, the timer and the schedule's task", has_ended).await;
    play(bus, vec![command("nightly", &Schedule::Delete).with_id(CommandId::from_text("delete"))]).await;
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
            // Times and attempts differ, ends do not.
            outcome.insert(
                entity,
                events.last().map(|event| event.event_type.to_string()).into_iter().collect(),
            );
        }
    }
    outcome
}

async fn run(crash_at: Option<String>) -> BTreeMap<String, Vec<String>> {
    let server = Server::start(Profile::Fast).await;
    let mut host = Process::begin(&server, "host", true, crash_at.as_deref());
    let bus = server.bus().await;
    let playing = play(&bus, script());
    let Some(place) = crash_at else {
        playing.await;
        return outcome(&bus).await;
    };
    let dying = async {
        assert!(host.aborted().await, "`{place}` was passed and killed the host: {}", host.log());
        host.restart().await;
    };
    // The callers go on meanwhile: they ask again until somebody answers.
    tokio::join!(playing, dying);
    outcome(&bus).await
}

/// Goal: wherever the host dies, the system comes to the same end. Method: one run without a kill,
/// then one for each place and pass, whose probes and tasks must end alike.
#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_every_step_changes_nothing() {
    let expected = run(None).await;
    assert_eq!(expected["probe/p0"].len(), 3);
    assert_eq!(expected["task/task"], ["completed"]);
    let places =
        POINTS.iter().flat_map(|point| passes(point).iter().map(move |pass| format!("{point}:{pass}")));
    let mut runs =
        futures::stream::iter(places.map(|place| async move { (place.clone(), run(Some(place)).await) }))
            .buffer_unordered(SIDE_BY_SIDE);
    while let Some((place, found)) = runs.next().await {
        assert_eq!(found, expected, "after a kill at `{place}`");
    }
}

/// Goal: no step is left out above. Method: the places in the runtime's sources are those of the list.
#[test]
fn every_place_is_listed() {
    let mut places = BTreeSet::new();
    for entry in std::fs::read_dir(repository().join("actors/runtime/src")).expect("the sources") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("a source file");
        let calls = text.split("crash::point(\"").skip(1);
        places.extend(calls.filter_map(|rest| rest.split('"').next()).map(str::to_owned));
    }
    assert_eq!(places, POINTS.iter().map(|point| (*point).to_owned()).collect());
}
