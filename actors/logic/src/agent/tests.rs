//! Given, when, then for `agent`.

use crate::testing::scenario::{Given, given};
use actors_core::Timestamp;
use bus_schemas::commands::agent::{AgentCard, Command, Query, Registration, Skill};
use bus_schemas::commands::lane;
use bus_schemas::events::agent::Event;
use bus_schemas::manifests::AgentManifest;

use super::Agent;
use crate::testing::{address, key, sent};

const NOW: Timestamp = Timestamp(1_000_000);

fn agent(events: impl IntoIterator<Item = Event>) -> Given<Agent> {
    given(&address("agent/coder"), events)
}

fn card() -> AgentCard {
    let skill = |id: &str| Skill { id: id.into(), name: id.into(), ..Skill::default() };
    AgentCard {
        name: key("coder"),
        description: "writes code".into(),
        version: "1".into(),
        skills: vec![skill("test"), skill("code")],
        dependencies: vec![],
    }
}

fn register_with(worker: &str, capacity: u32, lanes: &[&str], card: AgentCard) -> Command {
    let lanes = lanes.iter().map(|lane| key(lane)).collect();
    Command::Register { worker: worker.into(), card, capacity, lanes }
}

fn register(worker: &str, capacity: u32, lanes: &[&str]) -> Command {
    register_with(worker, capacity, lanes, card())
}

fn registered(worker: &str, capacity: u32, lanes: &[&str]) -> Event {
    let lanes = lanes.iter().map(|lane| key(lane)).collect();
    Event::WorkerRegistered { worker: worker.into(), card: card(), capacity, lanes, at: NOW }
}

fn offer(lane: &str, capacity: u32) -> actors_core::decision::Send {
    let skills = vec!["code".into(), "test".into()];
    sent(
        &format!("lane/{lane}"),
        &lane::Command::OfferAgent {
            agent: key("coder"),
            skills,
            capacity,
            dependencies: vec![key("agent.coder")],
        },
    )
}

#[test]
fn workers_add_up_in_each_lane_they_serve() {
    let outcome =
        agent([registered("w1", 2, &["default"])]).when(register("w2", 3, &["fast", "default", "fast"]));
    assert_eq!(outcome.decision().sends, [offer("default", 5), offer("fast", 3)]);
    assert!(outcome.decision().timers.is_empty(), "its claims and renewals say that it lives");
    outcome.then([registered("w2", 3, &["default", "fast"])]);
}

#[test]
fn the_same_registration_is_no_event_and_offers_again() {
    let outcome = agent([registered("w1", 2, &["default"])]).when(register("w1", 2, &["default"]));
    assert_eq!(outcome.decision().sends, [offer("default", 2)]);
    outcome.then([]);
}

#[test]
fn a_lane_that_is_served_no_more_is_offered_nothing() {
    let outcome = agent([registered("w1", 2, &["default"])]).when(register("w1", 2, &["fast"]));
    assert_eq!(outcome.decision().sends, [offer("default", 0), offer("fast", 2)]);
}

#[test]
fn an_agent_says_what_it_is_and_who_lives() {
    let described = |given: &Given<Agent>| -> Registration {
        serde_json::from_value(given.ask(Query::Describe).expect("it answers").value).expect("a view")
    };
    assert_eq!(described(&agent([])), Registration { card: None, workers: [].into(), declared: None });
    let given = agent([registered("w2", 2, &["default"]), registered("w1", 2, &["default"])]);
    let found = described(&given);
    let skills = || vec!["code".into(), "test".into()];
    let workers = [("w1".into(), skills()), ("w2".into(), skills())].into();
    assert_eq!((found.card, found.workers), (Some(card()), workers));
    let given = given.when(Command::LoseWorker { worker: "w1".into() }).given;
    assert_eq!(described(&given).workers, [("w2".into(), skills())].into());
}

/// A worker of an older version that registers last takes no skill away from the others.
#[test]
fn a_skill_belongs_to_the_workers_that_have_it() {
    let mut older = card();
    older.skills.retain(|skill| skill.id == "code");
    let given = agent([registered("new", 2, &["default"])]);
    let outcome = given.when(register_with("old", 1, &["default"], older.clone()));
    assert_eq!(outcome.decision().sends, [offer("default", 3)], "both skills are offered still");
    let given = outcome.given;
    let found = given.ask(Query::Describe).expect("it answers").value;
    assert_eq!(found["workers"], serde_json::json!({"new": ["code", "test"], "old": ["code"]}));
    let outcome = given.when(Command::LoseWorker { worker: "new".into() });
    let [sent] = &outcome.decision().sends[..] else { panic!("one lane hears of it") };
    let sent: serde_json::Value = serde_json::from_slice(&sent.body.bytes).expect("a command");
    assert_eq!(sent["skills"], serde_json::json!(["code"]), "nobody has the other one");
}

#[test]
fn who_leaves_or_is_lost_takes_the_capacity_along() {
    let past = [registered("w1", 2, &["default"]), registered("w2", 3, &["default"])];
    let leave = Command::Deregister { worker: "w1".into(), reason: "drained".into() };
    let outcome = agent(past).when(leave.clone());
    assert_eq!(outcome.decision().sends, [offer("default", 3)]);
    let left = Event::WorkerDeregistered { worker: "w1".into(), reason: "drained".into(), at: NOW };
    let lost = Command::LoseWorker { worker: "w2".into() };
    let outcome = outcome.then([left]).when(leave).then([]).when(lost.clone());
    assert_eq!(outcome.decision().sends, [offer("default", 0)]);
    outcome.then([Event::WorkerLost { worker: "w2".into(), at: NOW }]).when(lost).then([]);
}

#[test]
fn a_lane_without_workers_hears_of_the_end_of_a_hold() {
    let (cause, reason) = ("halt/agent.coder", "fire".to_owned());
    let hold = Command::Hold { cause: cause.into(), reason: reason.clone(), grace_ms: 0 };
    let held = Event::Held { cause: cause.into(), reason, at: NOW };
    let lost = Event::WorkerLost { worker: "w".into(), at: NOW };
    let ease = lane::Command::Ease { cause: cause.into(), per_minute: None };
    let easing = |past: Vec<Event>| agent(past).when(Command::Ease { cause: cause.into() });
    agent([registered("w", 1, &["default"])]).when(hold).then([held.clone()]);
    let before = easing(vec![registered("w", 1, &["default"]), held.clone(), lost.clone()]);
    assert_eq!(before.decision().sends, [sent("lane/default", &ease)], "told before the worker was lost");
    let after = easing(vec![held, registered("w", 1, &["fast"]), lost]);
    assert_eq!(after.decision().sends, [sent("lane/fast", &ease)], "told when the worker came");
}

#[test]
fn an_agent_is_held_back_by_its_own_breaker_and_by_those_of_its_card() {
    let offered = |dependencies: Vec<&str>| {
        let card = AgentCard { dependencies: dependencies.into_iter().map(key).collect(), ..card() };
        let outcome = agent([]).when(register_with("w1", 1, &["default"], card));
        match outcome.decision().sends[0].body.read() {
            Ok(lane::Command::OfferAgent { dependencies, .. }) => dependencies,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(offered(vec![]), [key("agent.coder")]);
    assert_eq!(offered(vec!["tool.git", "agent.coder"]), [key("agent.coder"), key("tool.git")]);
}

#[test]
fn an_end_that_is_said_again_is_handed_on() {
    let ease = lane::Command::Ease { cause: "halt/agent.coder".into(), per_minute: None };
    let outcome =
        agent([registered("w", 1, &["default"])]).when(Command::Ease { cause: "halt/agent.coder".into() });
    assert_eq!(outcome.decision().sends, [sent("lane/default", &ease)]);
    outcome.then([]);
}

#[test]
fn unsound_registrations_are_refused() {
    let nameless = AgentCard { skills: vec![], ..card() };
    let schema = |schema| {
        let mut card = card();
        card.skills[0].input = schema;
        card
    };
    let twice = AgentCard { skills: [card().skills, card().skills].concat(), ..card() };
    let cases = [
        ("name-mismatch", register_with("w", 1, &["default"], AgentCard { name: key("other"), ..card() })),
        ("invalid-capacity", register("w", 0, &["default"])),
        ("invalid-capacity", register("w", 10_001, &["default"])),
        ("invalid-lanes", register("w", 1, &[])),
        ("invalid-lanes", register("w", 1, &["default", &"l".repeat(129)])),
        ("invalid-worker", register("", 1, &["default"])),
        ("invalid-worker", register("a b", 1, &["default"])),
        ("invalid-worker", register(&"w".repeat(65), 1, &["default"])),
        ("invalid-skills", register_with("w", 1, &["default"], nameless)),
        ("invalid-skills", register_with("w", 1, &["default"], schema(serde_json::json!("text")))),
        (
            "invalid-skills",
            register_with("w", 1, &["default"], schema(serde_json::json!({"x": "y".repeat(70_000)}))),
        ),
        ("invalid-skills", register_with("w", 1, &["default"], twice)),
        (
            "invalid-card",
            register_with("w", 1, &["default"], AgentCard { version: "1\u{1b}[2J".into(), ..card() }),
        ),
        ("invalid-card", register_with("w", 1, &["default"], AgentCard { version: "1\n2".into(), ..card() })),
        (
            "invalid-card",
            register_with("w", 1, &["default"], AgentCard { version: "1".repeat(257), ..card() }),
        ),
        (
            "invalid-card",
            register_with("w", 1, &["default"], AgentCard { description: "a\u{202e}".into(), ..card() }),
        ),
        (
            "invalid-card",
            register_with("w", 1, &["default"], AgentCard { version: "v".repeat(5_000), ..card() }),
        ),
    ];
    for (code, command) in cases {
        agent([]).when(command).then_refused(code);
    }
}

fn manifest(version: &str, orrery: &str) -> Box<AgentManifest> {
    let manifest = serde_json::json!({
        "name": "coder", "version": version, "description": "says what a change is for", "orrery": orrery,
        "skill": "explain", "prompt": "Explain: {{ goal }}", "output": {"type": "object"}
    });
    Box::new(serde_json::from_value(manifest).expect("a manifest"))
}

fn load(version: &str) -> Command {
    Command::Load { manifest: manifest(version, ">=0.1.0") }
}

fn loaded(number: u32, version: &str) -> Event {
    let manifest = manifest(version, ">=0.1.0");
    Event::ManifestLoaded { number, manifest, by: "ada".into(), at: NOW }
}

#[test]
fn the_versions_of_a_manifest_only_go_up() {
    let given = agent([]).called_by("ada");
    let given = given.when(load("1.0.0")).then([loaded(1, "1.0.0")]);
    let given = given.when(load("1.0.0")).then([]);
    let changed = Command::Load { manifest: manifest("1.0.0", ">=0.1") };
    let given = given.when(changed).then_refused("manifest-version-not-above");
    let given = given.when(load("0.9.0")).then_refused("manifest-version-not-above");
    let given = given.when(load("1.1.0")).then([loaded(2, "1.1.0")]);
    let unload = || Command::Unload { reason: "done".into() };
    let unloaded = Event::ManifestUnloaded { reason: "done".into(), by: "ada".into(), at: NOW };
    let given = given.when(unload()).then([unloaded]).when(unload()).then([]);
    let given = given.when(load("1.0.0")).then_refused("manifest-version-not-above");
    given.when(load("1.1.0")).then([loaded(3, "1.1.0")]);
}

#[test]
fn a_manifest_that_cannot_declare_the_agent_is_refused() {
    let bad = |change: fn(&mut AgentManifest)| {
        let mut manifest = manifest("1.0.0", ">=0.1.0");
        change(&mut manifest);
        Command::Load { manifest }
    };
    for (code, command) in [
        ("name-mismatch", bad(|manifest| manifest.name = key("other"))),
        ("invalid-manifest", bad(|manifest| manifest.prompt = "{{ secret }}".into())),
        ("invalid-manifest", bad(|manifest| manifest.version = "1".into())),
        ("manifest-incompatible", bad(|manifest| manifest.orrery = ">=1000".into())),
        ("manifest-not-found", Command::Unload { reason: String::new() }),
    ] {
        agent([]).called_by("ada").when(command).then_refused(code);
    }
    agent([registered("w1", 2, &["default"])]).when(load("1.0.0")).then_refused("agent-name-taken");
    let shipped = bad(|manifest| manifest.name = key("research"));
    given::<Agent>(&address("agent/research"), []).when(shipped).then_refused("agent-name-taken");
    let check = Query::CheckManifest { manifest: manifest("1.0.0", ">=0.1.0") };
    assert!(agent([]).ask(check.clone()).is_ok());
    assert_eq!(agent([loaded(1, "2.0.0")]).ask(check).unwrap_err().code, "manifest-version-not-above");
}

#[test]
fn hosts_report_of_the_manifest_in_force() {
    let report = |number: u32, problem: &str| Command::ReportHealth {
        host: "h".into(),
        number,
        problem: problem.into(),
    };
    let reported =
        |problem: &str| Event::HealthReported { host: "h".into(), problem: problem.into(), at: NOW };
    let given = agent([loaded(1, "1.0.0")]).when(report(1, "no model")).then([reported("no model")]);
    let given = given.when(report(1, "no model")).then([]).when(report(2, "")).then([]);
    let given = given.when(report(1, "")).then([reported("")]);
    let health = &given.state().declared.as_ref().expect("it is declared").health;
    assert_eq!((health.len(), health["h"].problem.as_str()), (1, ""));
    agent([]).when(report(1, "")).then([]);
}
