//! Given, when, then for `settings`, and its invariants under random commands.

mod properties;

use crate::testing::scenario::{Given, Outcome, given};
use actors_core::Timestamp;
use actors_core::decision::Timer;
use bus_schemas::commands::settings::{Active, Command, Description, History, Query, SettingsAction};
use bus_schemas::events::settings::Event;
use bus_schemas::settings::{ApplySettings, VALUE_BYTES_MAX};
use bus_schemas::{Body, EntityAddress};
use serde_json::{Value, json};

use super::Settings;
use crate::testing::{address, key};

/// The time at which every scenario begins.
const NOW: Timestamp = Timestamp(1_000_000);

fn new(name: &str) -> Given<Settings> {
    given::<Settings>(&address(&format!("settings/{name}")), []).called_by("ada")
}

fn propose(value: Value) -> Command {
    Command::Propose { value, reason: "too much waits".into() }
}

fn activate(version: u64) -> Command {
    Command::Activate { version, reason: "reviewed".into() }
}

fn rollback() -> Command {
    Command::Rollback { reason: "it got worse".into() }
}

fn watch(watcher: &str) -> Command {
    let EntityAddress { kind, key } = address(watcher);
    Command::Watch { kind, key }
}

fn activated(version: u64, former: u64) -> Event {
    Event::Activated { version, former, reason: "reviewed".into(), by: "ada".into(), at: NOW }
}

fn rolled_back(version: u64, former: u64) -> Event {
    Event::RolledBack { version, former, reason: "it got worse".into(), by: "ada".into(), at: NOW }
}

/// A queue length, as `limits`.
fn queue(length: u32) -> Value {
    json!({ "inbox_queue": length })
}

/// The messages for the watchers.
fn told(outcome: &Outcome<Settings>) -> Vec<(String, Body)> {
    let sends = outcome.decision().sends.iter();
    sends.map(|send| (send.to.to_string(), send.body.clone())).collect()
}

fn apply(name: &str, version: u64, value: Value) -> Body {
    ApplySettings { name: name.into(), version, value }.body()
}

/// The message of a refusal.
fn refusal(outcome: &Outcome<Settings>) -> String {
    outcome.result.as_ref().expect_err("a refusal").message.clone()
}

fn description(given: Given<Settings>, version: Option<u64>) -> Description {
    let reply = given.ask(Query::Describe { version }).expect("it answers").value;
    serde_json::from_value(reply).expect("a description")
}

#[test]
fn a_name_that_there_is_not_takes_nothing() {
    for command in [propose(json!({})), activate(0), rollback(), watch("lane/a")] {
        let outcome = new("colours").when(command);
        assert!(refusal(&outcome).contains("`colours`"));
        outcome.then_refused("unknown-settings");
    }
    for query in [Query::History, Query::Describe { version: None }] {
        assert_eq!(new("colours").ask(query).unwrap_err().code, "unknown-settings");
    }
}

#[test]
fn a_version_is_proposed_activated_and_replaced_in_one_event() {
    let outcome = new("limits").when(propose(queue(100)));
    assert_eq!(outcome.decision().reply, json!({"version": 1}));
    let (reason, by) = ("too much waits".to_owned(), "ada".to_owned());
    let given = outcome.then([Event::Proposed { version: 1, value: queue(100), reason, by, at: NOW }]);
    assert_eq!(given.state().active, 0, "nothing holds that was not activated");
    let outcome = given.when(activate(1));
    assert_eq!(outcome.decision().reply, json!(Active { version: 1, former: 0 }));
    let given = outcome.then([activated(1, 0)]).when(activate(1)).then([]);
    let given = given.when(propose(queue(200))).given.when(activate(2)).then([activated(2, 1)]);
    assert_eq!((given.state().active, given.state().former.clone()), (2, vec![0, 1]));
    given.when(activate(3)).then_refused("settings-version-not-found");
}

#[test]
fn a_rollback_goes_further_back_each_time_and_never_forth() {
    let mut given = new("limits").when(rollback()).then_refused("no-former-version");
    for version in 1..=3 {
        given = given.when(propose(queue(100 + version))).given.when(activate(version.into())).given;
    }
    let given = given.when(rollback()).then([rolled_back(2, 3)]);
    let given = given.when(rollback()).then([rolled_back(1, 2)]);
    let given = given.when(activate(3)).then([activated(3, 1)]);
    let given = given.when(rollback()).then([rolled_back(1, 3)]);
    let given = given.when(rollback()).then([rolled_back(0, 1)]);
    given.when(rollback()).then_refused("no-former-version");
}

#[test]
fn a_document_with_mistakes_never_becomes_a_version() {
    let wrong = json!({"inbox_queue": 1, "log_filter": 3, "more": true});
    let outcome = new("limits").when(propose(wrong));
    for place in ["3 mistakes", "`/inbox_queue`", "`/log_filter`", "`/more`"] {
        assert!(refusal(&outcome).contains(place), "{place} is not in {}", refusal(&outcome));
    }
    let given = outcome.then_refused("invalid-settings");
    let long = json!({ "log_filter": "x".repeat(VALUE_BYTES_MAX) });
    let given = given.when(propose(long)).then_refused("invalid-settings");
    let nameless = Command::Propose { value: queue(100), reason: " ".into() };
    let given = given.when(nameless).then_refused("invalid-reason");
    assert_eq!(given.state().newest, 0);
}

#[test]
fn maintenance_windows_must_come_some_day() {
    let lanes = |cron: &str| json!({"lanes": {"night": {"maintenance": [{"cron": cron, "duration": "1h"}]}}});
    for cron in ["rubbish", "0 0 31 2 *", "99 * * * *"] {
        let outcome = new("lanes").when(propose(lanes(cron)));
        assert!(refusal(&outcome).contains("/lanes/night/maintenance/0/cron"), "{}", refusal(&outcome));
        outcome.then_refused("invalid-settings");
    }
    new("lanes").when(propose(lanes("0 3 * * SUN"))).decision();
    let windows = json!([{"cron": "rubbish", "duration": "1h"}, {"cron": 7, "duration": "8d"}]);
    let wrong = json!({"default": {"ageing": "1ms", "colour": 1, "maintenance": windows}});
    let outcome = new("lanes").when(propose(wrong));
    let told = refusal(&outcome);
    let places = ["colour", "ageing", "maintenance/0/cron", "maintenance/1/cron", "maintenance/1/duration"];
    for place in places.map(|place| format!("`/default/{place}`")) {
        assert!(told.contains(&place), "all at once, and {place} is missing: {told}");
    }
    assert!(told.contains("has 5 mistakes"), "{told}");
}

/// Goal: a document that was valid when it was proposed and no longer is cannot be activated. Method:
/// versions of a program with a setting that this one does not know.
#[test]
fn a_version_that_is_no_longer_good_can_not_be_activated() {
    let proposed = |version, value| Event::Proposed {
        version,
        value,
        reason: "then it was good".into(),
        by: "ada".into(),
        at: NOW,
    };
    let old = json!({"colour": "blue"});
    let history = [proposed(1, old.clone()), activated(1, 0), proposed(2, queue(100)), activated(2, 1)];
    let given = given::<Settings>(&address("settings/limits"), history).called_by("ada");
    let given = given.when(activate(1)).then_refused("invalid-settings");
    let given = given.when(rollback()).then_refused("invalid-settings");
    assert_eq!(given.state().active, 2);
    given.when(activate(0)).then([activated(0, 2)]);
}

#[test]
fn watchers_are_told_at_once_and_at_each_activation() {
    let defaults = json!({"default": lane(), "lanes": {}});
    let outcome = new("lanes").when(watch("lane/b"));
    assert_eq!(told(&outcome), [("lane/b".to_owned(), apply("lanes", 0, defaults.clone()))]);
    let watched = |name: &str| Event::Watched { kind: address(name).kind, key: address(name).key, at: NOW };
    let given = outcome.then([watched("lane/b")]).when(watch("lane/a")).then([watched("lane/a")]);
    let outcome = given.when(watch("lane/b"));
    assert_eq!(told(&outcome).len(), 1, "whoever asks again is told again");
    let value = json!({"default": {"concurrent": 2}});
    let outcome = outcome.then([]).when(propose(value.clone())).given.when(activate(1));
    let both = |version, value: &Value| {
        ["lane/a", "lane/b"].map(|name| (name.to_owned(), apply("lanes", version, value.clone())))
    };
    assert_eq!(told(&outcome), both(1, &value));
    let outcome = outcome.given.when(rollback());
    assert_eq!(told(&outcome), both(0, &defaults));
    let unwatch = || Command::Unwatch { kind: address("lane/a").kind, key: key("a") };
    let gone = Event::Unwatched { kind: address("lane/a").kind, key: key("a"), at: NOW };
    let outcome = outcome.given.when(unwatch()).then([gone]).when(unwatch()).then([]).when(activate(1));
    assert_eq!(told(&outcome), [("lane/b".to_owned(), apply("lanes", 1, value))]);
}

/// The rules of a lane without rules of its own.
fn lane() -> Value {
    json!({
        "concurrent": null, "per_minute": null, "per_day": null, "weights": {}, "ageing": null,
        "maintenance": [], "order": "host", "paused": false,
    })
}

/// Goal: with any number of watchers, each is told once and no record grows without bound. Method: more
/// watchers than one decision tells; the timer tells the rest, unless another version is active by then.
#[test]
fn many_watchers_are_told_part_by_part() {
    let mut given = new("lanes");
    for number in 0..600 {
        given = given.when(watch(&format!("lane/l{number:03}"))).given;
    }
    let mut outcome = given.when(propose(json!({}))).given.when(activate(1));
    let mut heard = Vec::new();
    loop {
        let part = told(&outcome);
        assert!(!part.is_empty() && part.len() <= 256, "{}", part.len());
        heard.extend(part.into_iter().map(|(name, _)| name));
        let set = outcome.decision().timers.iter().find_map(|timer| match timer {
            Timer::Set { name, at, body } => {
                assert_eq!((name.as_str(), *at), ("tell", NOW));
                Some(body.read::<Command>().expect("a command"))
            }
            Timer::Cancel { .. } => None,
        });
        let Some(next) = set else { break };
        let stale = Command::Tell { version: 0, after: address("lane/l000") };
        outcome = outcome.given.when(stale).then([]).when(next);
    }
    let expected: Vec<String> = (0..600).map(|number| format!("lane/l{number:03}")).collect();
    assert_eq!(heard, expected);
}

#[test]
fn hosts_say_what_they_run() {
    let report = |host: &str, version, problem: &str| Command::ReportApplied {
        host: host.into(),
        version,
        problem: problem.into(),
    };
    let given = new("limits").when(propose(queue(100))).given.when(activate(1)).given;
    let given = given.when(report("a", 1, "")).then([Event::Applied {
        host: "a".into(),
        version: 1,
        problem: String::new(),
        at: NOW,
    }]);
    let given = given.when(report("a", 1, "")).then([]);
    let given = given.when(report("b", 1, "`/colour` is unknown here")).given;
    let given = given.when(report("b", 2, "")).then_refused("settings-version-not-found");
    let given = given.when(report("", 1, "")).then_refused("invalid-report");
    let outcome = given.when(report("c", 1, &"x".repeat(100_000)));
    let [Event::Applied { problem, .. }] = &outcome.decision().events[..] else {
        panic!("{:?}", outcome.decision())
    };
    assert!(problem.len() <= 4_096 && problem.ends_with('…'), "{} bytes", problem.len());
    let given = outcome.given;
    let described = description(given, None);
    let hosts: Vec<_> = described
        .hosts
        .iter()
        .map(|host| (host.host.as_str(), host.version, host.problem.is_empty()))
        .collect();
    assert_eq!(hosts, [("a", 1, true), ("b", 1, false), ("c", 1, false)]);
}

#[test]
fn everything_that_was_done_can_be_looked_up() {
    let given = new("limits").when(propose(queue(100))).given.when(propose(queue(200))).given;
    let given = given.when(activate(2)).given.when(activate(1)).given.when(rollback()).given;
    let view = given.ask(Query::History).expect("it answers");
    let history: History = serde_json::from_value(view.value).expect("a history");
    let actions: Vec<_> =
        history.changes.iter().map(|each| (each.action, each.version, each.former, each.kept)).collect();
    let expected = [
        (SettingsAction::Proposed, 1, 0, true),
        (SettingsAction::Proposed, 2, 0, true),
        (SettingsAction::Activated, 2, 0, true),
        (SettingsAction::Activated, 1, 2, true),
        (SettingsAction::RolledBack, 2, 1, true),
    ];
    assert_eq!(actions, expected);
    assert_eq!(
        (history.changes[0].word.by.as_str(), history.changes[4].word.reason.as_str()),
        ("ada", "it got worse")
    );
    let described = description(given, Some(1));
    let numbers = (described.active, described.former, described.newest, described.version);
    assert_eq!((numbers, described.value), ((2, Some(0), 2, 1), queue(100)));
    assert_eq!(described.proposed.map(|word| word.by).as_deref(), Some("ada"));
    let untouched = description(new("limits"), None);
    assert_eq!(
        (untouched.active, untouched.proposed, untouched.value["inbox_queue"].clone()),
        (0, None, json!(8192))
    );
    let refusal = new("limits").ask(Query::Describe { version: Some(1) }).unwrap_err();
    assert_eq!(refusal.code, "settings-version-not-found");
}

#[test]
fn old_documents_go_and_those_that_may_come_back_stay() {
    let mut given = new("limits").when(propose(queue(100))).given.when(activate(1)).given;
    given = given.when(propose(queue(200))).given.when(activate(2)).given;
    for _ in 0..200 {
        given = given.when(propose(queue(300))).given;
    }
    let state = given.state();
    assert_eq!((state.versions.len(), state.newest), (64, 202));
    assert!(state.versions.contains_key(&1) && state.versions.contains_key(&2));
    let outcome = given.when(activate(3));
    assert!(refusal(&outcome).contains("no longer kept"), "{}", refusal(&outcome));
    outcome.then_refused("settings-version-not-found").when(rollback()).then([rolled_back(1, 2)]);
}
