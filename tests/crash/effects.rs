//! A kill at every boundary of a step and of an effect, counted by what they left outside.

use actors_worker::crash::{EFFECT_POINTS, POINTS, STEP_POINTS};
use bus_client::Profile;
use bus_schemas::commands::task::{Command as Task, Submit};
use bus_schemas::record::Event;
use futures::StreamExt;
use serde_json::Value;
use system_tests::agents::lines;
use system_tests::{Server, accepted, command};

use crate::check::{logs_until, whole};
use crate::process::Process;

/// Systems side by side: they wait for the leases of lost workers most of the time.
const SIDE_BY_SIDE: usize = 12;

/// What a task left.
#[derive(Debug)]
struct Left {
    /// The lines outside.
    entered: usize,
    /// The runs of the step outside.
    looked: usize,
    /// The last event.
    end: String,
    /// The records of the step.
    recorded: usize,
    /// The states of the effect, in order.
    effect: Vec<String>,
}

fn body(event: &Event) -> Value {
    serde_json::from_slice(&event.body).expect("JSON")
}

/// Does the task of a clerk whose host is killed at a place, once.
async fn left(place: &str, skill: &str) -> Left {
    let server = Server::start(Profile::Fast).await;
    let mut host = Process::begin(&server, "host", true, Some(&format!("{place}:1")));
    let bus = server.bus().await;
    let file = server.directory().join("ledger");
    let mut submit = Submit::new(file.to_str().expect("UTF-8"));
    submit.skill = skill.into();
    accepted(&bus, &command("t", &Task::Submit(submit))).await;
    assert!(host.aborted().await, "`{place}` was passed and killed the host: {}", host.log());
    host.restart().await;
    let has_ended = |events: &Vec<Event>| {
        events.last().is_some_and(|event| {
            ["completed", "failed", "input-required"].contains(&event.event_type.as_str())
        })
    };
    logs_until(&bus, "the end of the task", |logged| logged.events.get("task/t").is_some_and(has_ended))
        .await;
    let logged = whole(&bus).await;
    let events = &logged.events["task/t"];
    let of = |kind: &'static str| events.iter().filter(move |event| event.event_type == kind);
    let state = |event: &Event| body(event)["step"].as_str().expect("a step").to_owned();
    Left {
        entered: lines(&file).len(),
        looked: lines(&file.with_extension("looks")).len(),
        end: events.last().expect("an event").event_type.to_string(),
        recorded: of("step-recorded").count(),
        effect: of("effect-recorded").map(state).collect(),
    }
}

/// Goal: wherever the process dies, an effect that can be looked for is done once, one that cannot is done at most once
/// and its uncertainty is visible, and a step is recorded once. Method: a kill at each boundary; the lines of a file
/// outside are counted.
#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_every_boundary_of_an_effect_is_counted_outside() {
    let places = STEP_POINTS.into_iter().chain(EFFECT_POINTS).chain(POINTS);
    let runs = places.flat_map(|place| ["enter", "enter-blindly"].map(|skill| (place, skill)));
    let mut runs = futures::stream::iter(
        runs.map(|(place, skill)| async move { (place, skill, left(place, skill).await) }),
    )
    .buffer_unordered(SIDE_BY_SIDE);
    while let Some((place, skill, left)) = runs.next().await {
        let at = format!("killed at `{place}` with the skill `{skill}`: {left:?}");
        assert_eq!(left.recorded, 1, "{at}");
        assert!((1..=2).contains(&left.looked), "{at}");
        assert_eq!(
            left.looked == 2,
            place == "after-step",
            "only a step that was not recorded is done again: {at}"
        );
        // Between its begin and its recorded end nobody knows whether it was done.
        let is_unknown = ["before-call", "after-call"].contains(&place);
        let is_seen = left.effect.iter().any(|state| state == "ambiguous");
        assert_eq!(is_seen, is_unknown, "{at}");
        match skill {
            "enter-blindly" if is_unknown => {
                assert_eq!(
                    (left.end.as_str(), left.entered),
                    ("input-required", usize::from(place == "after-call")),
                    "{at}"
                );
            }
            _ => assert_eq!((left.end.as_str(), left.entered), ("completed", 1), "{at}"),
        }
    }
}
