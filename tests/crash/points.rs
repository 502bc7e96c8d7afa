//! A kill at every step of the loop: what is recovered is what an uninterrupted run comes to.

use std::collections::BTreeMap;
use std::time::Duration;

use actors_runtime::crash::POINTS;
use bus_client::{Ask, Bus, Profile};
use bus_schemas::commands::probe::Command as Probe;
use bus_schemas::commands::task::{Command as Task, Plan, PlanStep, Submit};
use bus_schemas::{CommandId, Key, Reply};
use futures::StreamExt;
use serde_json::Value;
use system_tests::{PATIENCE, Server, command, eventually};

use crate::check::whole;
use crate::process::Process;

/// Which passes of a place kill: the first, and one in the middle of the work.
const PASSES: [u32; 2] = [1, 3];
/// Systems side by side: they wait for timers and deliveries most of the time.
const SIDE_BY_SIDE: usize = 6;
/// The pause between two looks at all logs.
const LOOK: Duration = Duration::from_millis(500);
/// Probes that are touched.
const PROBES: usize = 12;

/// Commands whose effect does not depend on time: touches, mail to other partitions, timers, a
/// plan of three steps.
fn script() -> Vec<Ask> {
    let mut asks = Vec::new();
    for round in 0..3 {
        for index in 0..PROBES {
            let key = format!("p{index}");
            let touch = match round {
                1 => Probe::Forward { to: Key::parse(&format!("q{index}")).expect("a key") },
                _ => Probe::Touch { note: format!("{round}") },
            };
            asks.push(command(&key, &touch));
        }
    }
    asks.push(command("late", &Probe::TouchLater { after_ms: 200 }));
    let step = |name: &str, after: &[&str]| PlanStep {
        step: name.into(),
        goal: "nothing".into(),
        skill: "noop".into(),
        input: Value::Null,
        after: after.iter().map(|name| (*name).into()).collect(),
        optional: false,
    };
    let plan = Plan { steps: vec![step("a", &[]), step("b", &["a"]), step("c", &["b"])] };
    let submit = Submit { plan: Some(plan), ..Submit::new("three steps") };
    asks.push(command("task", &Task::Submit(submit)));
    let named = |(index, ask): (usize, Ask)| ask.with_id(CommandId::from_text(&format!("step {index}")));
    asks.into_iter().enumerate().map(named).collect()
}

/// Plays the script; every command twice, as a caller does that did not hear the first answer.
async fn play(bus: &Bus) {
    for ask in script() {
        let first = bus.ask(&ask, PATIENCE).await.expect("an answer");
        let second = bus.ask(&ask, PATIENCE).await.expect("the same answer");
        assert!(matches!(first, Reply::Accepted { .. }), "{first:?}");
        assert_eq!(format!("{first:?}"), format!("{second:?}"));
    }
}

/// What every probe came to, and how the tasks ended.
async fn outcome(bus: &Bus) -> BTreeMap<String, Vec<String>> {
    eventually("the end of the task, the mail and the timer", || async {
        // Each look makes a consumer for each log, and a server has a bound on them.
        tokio::time::sleep(LOOK).await;
        let logged = crate::check::logs(bus).await.events;
        let ended = |key: &str| {
            logged.get(key).is_some_and(|events| events.iter().any(|event| event.event_type == "completed"))
        };
        let tasks = ["task/task", "task/task.a", "task/task.b", "task/task.c"].iter().all(|key| ended(key));
        let mail = (0..PROBES).all(|index| logged.contains_key(&format!("probe/q{index}")));
        (tasks && mail && logged.contains_key("probe/late")).then_some(())
    })
    .await;
    let mut outcome = BTreeMap::new();
    for (entity, events) in whole(bus).await.events {
        if entity.starts_with("probe/") {
            let body = |event: &bus_schemas::record::Event| String::from_utf8_lossy(&event.body).into_owned();
            outcome.insert(entity, events.iter().map(body).collect());
        } else if entity.starts_with("task/") {
            // Times and attempts differ, ends do not.
            let last = events.last().map(|event| event.event_type.to_string());
            outcome.insert(entity, last.into_iter().collect());
        }
    }
    outcome
}

async fn run(crash_at: Option<String>) -> BTreeMap<String, Vec<String>> {
    let server = Server::start(Profile::Fast).await;
    let mut host = Process::begin(&server, "host", true, crash_at.as_deref());
    let bus = server.bus().await;
    let playing = play(&bus);
    let Some(place) = crash_at else {
        playing.await;
        return outcome(&bus).await;
    };
    let dying = async {
        assert!(host.aborted().await, "`{place}` was passed and killed the host");
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
    let places = POINTS.iter().flat_map(|point| PASSES.map(|pass| format!("{point}:{pass}")));
    let mut runs =
        futures::stream::iter(places.map(|place| async move { (place.clone(), run(Some(place)).await) }))
            .buffer_unordered(SIDE_BY_SIDE);
    while let Some((place, found)) = runs.next().await {
        assert_eq!(found, expected, "after a kill at `{place}`");
    }
}
