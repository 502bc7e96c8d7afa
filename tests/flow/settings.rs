//! config: settings that change while the system runs reach every host, and nothing bad ever holds.

use bus_client::{Ask, Bus, Profile};
use bus_schemas::Caller;
use bus_schemas::commands::probe::Command as Probe;
use bus_schemas::commands::settings::{Command, Description, History, Query, SettingsAction};
use futures::future::join_all;
use reqwest::{Client, Method};
use serde_json::{Value, json};
use system_tests::edge::{Edge, answer};
use system_tests::process::Process;
use system_tests::raw::Raw;
use system_tests::{Server, accepted, command, eventually, query, refused, touch, view};

/// What the runtime logs for each task that it begins, when it logs everything.
const TRACED: &str = "task spawned";

fn propose(value: Value) -> Ask {
    command("limits", &Command::Propose { value, reason: "a test".into() })
}

fn activate(version: u64) -> Ask {
    command("limits", &Command::Activate { version, reason: "a test".into() })
}

fn rollback() -> Ask {
    command("limits", &Command::Rollback { reason: "it got worse".into() })
}

async fn described(bus: &Bus) -> Description {
    view(bus, &query("limits", &Query::Describe { version: None })).await.expect("the settings")
}

/// Waits until each of these hosts says that it runs a version.
async fn until_run(bus: &Bus, version: u64, hosts: &[&str]) {
    eventually(&format!("version {version} on {hosts:?}"), || async {
        let described = described(bus).await;
        let runs = |name: &&str| {
            described.hosts.iter().any(|host| {
                assert_eq!(host.problem, "", "{host:?}");
                host.host == **name && host.version == version
            })
        };
        hosts.iter().all(runs).then_some(())
    })
    .await;
}

/// Gives every partition something to do that it logs when it logs everything.
async fn busy(bus: &Bus) {
    for key in 0..32 {
        bus.hand_over(&touch(&format!("p{key}"))).await.expect("it is stored");
    }
}

fn traced(host: &Process) -> usize {
    host.log().matches(TRACED).count()
}

/// Waits until both hosts have logged more of what is only logged when everything is.
async fn until_traced(bus: &Bus, hosts: [&Process; 2]) {
    let before = hosts.map(traced);
    busy(bus).await;
    eventually("the lines of both hosts", || async {
        (0..2).all(|host| traced(hosts[host]) > before[host]).then_some(())
    })
    .await;
}

/// Goal: a change holds on every host without a restart, is reported by each, can be taken back, and
/// survives the death of all of them; a document with mistakes changes nothing. Method: two processes
/// and their logs, which grow or not as the log filter says.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_reaches_every_host_without_a_restart() {
    let server = Server::start(Profile::Fast).await;
    let mut first = Process::start(&server, "first", false).await;
    let mut second = Process::start(&server, "second", false).await;
    let (bus, names) = (server.bus().await, ["first", "second"]);
    system_tests::until_held(&bus, "second", 4).await;
    busy(&bus).await;
    assert_eq!((traced(&first), traced(&second)), (0, 0), "nobody has asked for it yet");
    assert!(described(&bus).await.hosts.is_empty(), "whoever runs the defaults says nothing");

    accepted(&bus, &propose(json!({"log_filter": "info,actors_runtime=trace"}))).await;
    assert_eq!(described(&bus).await.active, 0);
    accepted(&bus, &activate(1)).await;
    until_run(&bus, 1, &names).await;
    until_traced(&bus, [&first, &second]).await;

    for wrong in [json!({"log_filter": "loud"}), json!({"inbox_queue": "many"}), json!({"colour": 1})] {
        assert_eq!(refused(&bus, &propose(wrong)).await, "invalid-settings");
    }
    assert_eq!(refused(&bus, &activate(2)).await, "settings-version-not-found");
    let now = described(&bus).await;
    assert_eq!((now.active, now.newest), (1, 1), "nothing bad was made, and nothing bad holds");

    accepted(&bus, &propose(json!({"log_filter": "off"}))).await;
    accepted(&bus, &activate(2)).await;
    until_run(&bus, 2, &names).await;
    let quiet = (first.log().len(), second.log().len());
    busy(&bus).await;
    accepted(&bus, &touch("p0")).await;
    assert_eq!((first.log().len(), second.log().len()), quiet, "nothing at all is logged");

    accepted(&bus, &rollback()).await;
    until_run(&bus, 1, &names).await;
    until_traced(&bus, [&first, &second]).await;

    first.kill().await;
    second.kill().await;
    first.restart().await;
    second.restart().await;
    system_tests::until_held(&bus, "first", 4).await;
    until_traced(&bus, [&first, &second]).await;
    let history: History = view(&bus, &query("limits", &Query::History)).await.expect("their history");
    let actions: Vec<_> = history.changes.iter().map(|each| (each.action, each.version)).collect();
    let expected = [
        (SettingsAction::Proposed, 1),
        (SettingsAction::Activated, 1),
        (SettingsAction::Proposed, 2),
        (SettingsAction::Activated, 2),
        (SettingsAction::RolledBack, 1),
    ];
    assert_eq!((history.active, actions), (1, expected.to_vec()));
    first.kill().await;
    second.kill().await;
}

/// How many of a flood of asks are told that their partition is busy.
async fn busy_of(raw: &Raw, bus: &Bus, count: usize) -> usize {
    let entity = system_tests::probe("flood");
    let subject = bus.subjects().ask(entity.partition(bus.topology().partitions), &Caller::UNNAMED, &entity);
    let body = serde_json::to_vec(&Probe::Touch { note: String::new() }).expect("plain data");
    let asks = (0..count).map(|_| raw.request(&subject, &[], body.clone()));
    join_all(asks).await.iter().filter(|answer| answer.code() == "busy").count()
}

/// Goal: the bound of the inbox is what the settings say, from one moment to the next. Method: floods
/// of asks for one partition, before, while and after its queue is made short.
#[tokio::test(flavor = "multi_thread")]
async fn the_bound_of_the_inbox_changes_while_it_is_used() {
    const FLOOD: usize = 2_000;
    let server = Server::start(Profile::Fast).await;
    let host = server.host("a", false).await;
    let (bus, raw) = (host.bus(), Raw::connect(&server).await);
    assert_eq!(busy_of(&raw, bus, FLOOD).await, 0, "there is room for all of them");
    accepted(bus, &propose(json!({"inbox_queue": 16}))).await;
    accepted(bus, &activate(1)).await;
    until_run(bus, 1, &["a"]).await;
    eventually("a caller for whom there is no room", || async {
        (busy_of(&raw, bus, FLOOD).await > 0).then_some(())
    })
    .await;
    accepted(bus, &rollback()).await;
    until_run(bus, 0, &["a"]).await;
    assert_eq!(busy_of(&raw, bus, FLOOD).await, 0, "there is room for all of them again");
    host.stop().await;
}

/// Goal: the same over HTTP, with codes that a program can tell apart. Method: every route, good and
/// bad.
#[tokio::test(flavor = "multi_thread")]
async fn settings_change_over_http() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("a", false).await;
    let edge = Edge::start(host.bus(), &server.directory().join("gateway")).await;
    let path = "/v1/settings/lanes";
    let (status, shown) = edge.get(path).await;
    assert_eq!((status, &shown["active"], &shown["newest"]), (200, &json!(0), &json!(0)), "{shown}");
    let put = async |name: &str, body: Value| {
        let url = format!("{}/v1/settings/{name}", edge.url);
        answer(Client::new().request(Method::PUT, url).header("Orrery-Caller", "ada").json(&body)).await
    };
    let wrong = json!({"value": {"default": {"concurrent": 0}, "lane": {}}, "reason": "a test"});
    let (status, problem) = put("lanes", wrong).await;
    assert_eq!((status, &problem["code"]), (422, &json!("invalid-settings")));
    let detail = problem["detail"].as_str().expect("words");
    assert!(detail.contains("`/default/concurrent`") && detail.contains("`/lane`"), "{detail}");
    let (status, problem) = put("colours", json!({"value": {}, "reason": "a test"})).await;
    assert_eq!((status, &problem["code"]), (404, &json!("unknown-settings")));

    let good = |concurrent| json!({"value": {"default": {"concurrent": concurrent}}, "reason": "a test"});
    let (status, made) = put("lanes", good(4)).await;
    assert_eq!(
        (status, made),
        (201, json!({"name": "lanes", "version": 1, "active": false, "former": null}))
    );
    let mut at_once = good(8);
    at_once["activate"] = json!(true);
    let (status, made) = put("lanes", at_once).await;
    assert_eq!((status, made), (201, json!({"name": "lanes", "version": 2, "active": true, "former": 0})));
    let (status, changed) =
        edge.post(&format!("{path}/activate"), &json!({"version": 1, "reason": "less"})).await;
    assert_eq!((status, &changed["former"]), (200, &json!(2)), "{changed}");
    let (status, changed) = edge.post(&format!("{path}/rollback"), &json!({"reason": "more"})).await;
    assert_eq!((status, &changed["version"]), (200, &json!(2)), "{changed}");
    let (_, shown) = edge.get(&format!("{path}?version=1")).await;
    assert_eq!(
        (&shown["active"], &shown["value"]["default"]["concurrent"]),
        (&json!(2), &json!(4)),
        "{shown}"
    );
    assert_eq!(shown["proposed"]["by"], "ada");

    let (_, history) = edge.get(&format!("{path}/history")).await;
    let changes = history["changes"].as_array().expect("a list");
    let actions: Vec<&str> = changes.iter().map(|each| each["action"].as_str().expect("a word")).collect();
    assert_eq!(actions, ["proposed", "proposed", "activated", "activated", "rolled-back"]);
    assert_eq!((&changes[4]["by"], &changes[4]["reason"]), (&json!("ada"), &json!("more")));
    let (status, problem) =
        edge.post(&format!("{path}/activate"), &json!({"version": 9, "reason": "x"})).await;
    assert_eq!((status, &problem["code"]), (404, &json!("settings-version-not-found")));
    let (status, problem) = edge.post(&format!("{path}/rollback"), &json!({"reason": ""})).await;
    assert_eq!((status, &problem["code"]), (422, &json!("invalid-reason")));
    edge.stop().await;
    host.stop().await;
}
