//! lanes: the rules of a lane are those that were activated, by command and over HTTP.

use bus_client::{Ask, Bus, Profile};
use bus_schemas::commands::lane;
use bus_schemas::commands::settings::Command as Config;
use bus_schemas::commands::task::{Command, Submit};
use bus_schemas::views::lane::{Lane, Limit};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use system_tests::agents::{GATE, Gate, Seen};
use system_tests::edge::{Edge, answer};
use system_tests::{Server, accepted, command, eventually, query, view};

fn propose(value: Value) -> Ask {
    command("lanes", &Config::Propose { value, reason: "a test".into() })
}

fn activate(version: u64) -> Ask {
    command("lanes", &Config::Activate { version, reason: "a test".into() })
}

fn submit(key: &str) -> Ask {
    let submission = Submit { skill: GATE.into(), ..Submit::new("wait at the gate") };
    command(key, &Command::Submit(submission))
}

async fn lane(bus: &Bus) -> Lane {
    view(bus, &query("default", &lane::Query::Describe)).await.expect("a lane")
}

/// Waits until the lane runs a version of the settings.
async fn until_told(bus: &Bus, version: u64) {
    eventually(&format!("version {version} in the lane"), || async {
        (lane(bus).await.version == Some(version)).then_some(())
    })
    .await;
}

/// Goal: rules that are activated hold in a lane that works, at once, on the next host, and can be taken
/// back. Method: jobs at a closed gate under a bound that grows, a new host, and a rollback.
#[tokio::test(flavor = "multi_thread")]
async fn activated_rules_hold_in_a_lane_that_works() {
    let server = Server::start(Profile::Fast).await;
    let mut host = server.host("a", false).await;
    let bus = server.bus().await;
    let mut gate = Gate::start(&bus);
    until_told(&bus, 0).await;
    accepted(&bus, &propose(json!({"default": {"concurrent": 1}}))).await;
    accepted(&bus, &activate(1)).await;
    until_told(&bus, 1).await;
    accepted(&bus, &submit("one")).await;
    gate.until("one", Seen::Started).await;
    accepted(&bus, &submit("two")).await;
    eventually("the second one waits", || async {
        let now = lane(&bus).await;
        (now.waiting == 1 && now.blocks[0].what == Limit::Concurrent).then_some(())
    })
    .await;
    host.stop().await;
    host = server.host("b", false).await;
    let now = lane(&bus).await;
    assert_eq!(
        (now.running, now.waiting, now.limits.concurrent),
        (1, 1, Some(1)),
        "the next host knows them"
    );
    accepted(&bus, &propose(json!({"lanes": {"default": {"concurrent": 2}}}))).await;
    accepted(&bus, &activate(2)).await;
    gate.until("two", Seen::Started).await;
    let back = Config::Rollback { reason: "too much".into() };
    accepted(&bus, &command("lanes", &back)).await;
    until_told(&bus, 1).await;
    assert_eq!(lane(&bus).await.running, 2, "what runs goes on");
    gate.open();
    gate.stop().await;
    host.stop().await;
}

/// Goal: whoever works over HTTP sees what limits a lane, changes its rules, and pauses it; a mistake
/// changes nothing. Method: every route, good and bad.
#[tokio::test(flavor = "multi_thread")]
async fn lanes_are_changed_over_http() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("a", false).await;
    let bus = host.bus().clone();
    let mut gate = Gate::start(&bus);
    until_told(&bus, 0).await;
    let edge = Edge::start(&bus, &server.directory().join("gateway")).await;
    let patch = async |lane: &str, body: Value| {
        let url = format!("{}/v1/lanes/{lane}", edge.url);
        answer(Client::new().request(Method::PATCH, url).json(&body)).await
    };
    eventually("the lane in the list", || async {
        let (status, list) = edge.get("/v1/lanes").await;
        assert_eq!(status, 200, "{list}");
        (list["lanes"][0]["id"] == "default").then_some(())
    })
    .await;
    let rules = json!({"rules": {"concurrent": 1, "weights": {"ada": 3}}, "reason": "a small machine"});
    let (status, shown) = patch("default", rules).await;
    assert_eq!(
        (status, &shown["limits"]["concurrent"], &shown["version"]),
        (200, &json!(1), &json!(1)),
        "{shown}"
    );
    accepted(&bus, &submit("one")).await;
    gate.until("one", Seen::Started).await;
    accepted(&bus, &submit("two")).await;
    eventually("what limits it", || async {
        let (_, shown) = edge.get("/v1/lanes/default").await;
        (shown["waiting"] == 1 && shown["blocks"][0]["what"] == "concurrent").then_some(())
    })
    .await;
    let pause = |body: Value| {
        let edge = &edge;
        async move { edge.post("/v1/lanes/default/pause", &body).await }
    };
    let (status, shown) = pause(json!({"reason": "a new disk"})).await;
    assert_eq!(
        (status, &shown["blocks"][0]["reason"]),
        (200, &json!("paused by ada: a new disk")),
        "{shown}"
    );
    let (status, shown) =
        patch("default", json!({"rules": {"concurrent": null}, "reason": "a new disk"})).await;
    assert_eq!((status, &shown["limits"]["concurrent"]), (200, &Value::Null), "{shown}");
    assert_eq!(shown["limits"]["weights"], json!({"ada": 3}), "what the patch does not name stays");
    let (status, _) = edge.post("/v1/lanes/default/resume", &json!({"per_minute": 9})).await;
    assert_eq!(status, 200);
    gate.open();
    gate.until("two", Seen::Started).await;

    let problem =
        |(status, body): (u16, Value)| (status, body["code"].as_str().unwrap_or_default().to_owned());
    let wrong = |code: &str, status: u16| (status, code.to_owned());
    let zero = json!({"rules": {"concurrent": 0}, "reason": "x"});
    assert_eq!(problem(patch("default", zero).await), wrong("invalid-settings", 422));
    let unknown = json!({"rules": {"concurrent": 2}, "reason": "x"});
    assert_eq!(problem(patch("defualt", unknown).await), wrong("lane-not-found", 404));
    assert_eq!(problem(edge.get("/v1/lanes/defualt").await), wrong("lane-not-found", 404));
    assert_eq!(problem(pause(json!({"reason": " "})).await), wrong("reason-missing", 422));
    assert_eq!(problem(pause(json!({})).await), wrong("invalid-body", 422));
    // What comes back at a rate may go on at once; then there is nothing left to say.
    let nothing = json!({});
    let resume = || edge.post("/v1/lanes/default/resume", &nothing);
    assert_eq!(resume().await.0, 200);
    assert_eq!(problem(resume().await), wrong("not-paused", 409));
    edge.stop().await;
    gate.stop().await;
    host.stop().await;
}
