//! Approvals on a real server: one outcome each, whoever is first.

use std::time::Duration;

use bus_client::{Ask, Bus, Profile};
use bus_schemas::commands::approval::{BaseCheck, Call, Command, Grounds, Request};
use bus_schemas::{Body, EntityAddress, Key, Reply, Revision};
use futures::future::join_all;
use serde_json::{Value, json};
use smol_str::SmolStr;
use system_tests::{PATIENCE, Server, accepted, command, eventually};

/// The events of an entity.
pub async fn events(bus: &Bus, kind: &'static str, key: &str) -> Vec<Value> {
    let entity: EntityAddress = format!("{kind}/{key}").parse().expect("an address");
    let history = bus.history(&entity, Revision(0), 0).await.expect("a history");
    history.iter().map(|stored| serde_json::from_slice(&stored.event.body).expect("JSON")).collect()
}

/// The names of the events of an approval.
pub async fn names(bus: &Bus, key: &str) -> Vec<String> {
    let events = events(bus, "approval", key).await;
    events.iter().map(|event| event["type"].as_str().expect("a name").to_owned()).collect()
}

/// The ids of the calls of an approval, once it is requested.
pub async fn ids(bus: &Bus, key: &str) -> Vec<SmolStr> {
    let first = eventually(&format!("the request `{key}`"), || async {
        events(bus, "approval", key).await.into_iter().next()
    })
    .await;
    let tools = first["tools"].as_array().expect("calls");
    tools.iter().map(|call| call["id"].as_str().expect("an id").into()).collect()
}

/// An answer of a person.
pub fn by_person(key: &str, answer: &Command) -> Ask {
    command(key, answer).caller("ann")
}

fn request(key: &str, answer_within_ms: u64) -> Request {
    Request {
        hint: None,
        tools: vec![Call { call_id: "1".into(), name: "shell".into(), args: json!({"command": key}) }],
        grounds: Grounds { base: "".into(), policy_version: "1".into(), settings_version: "1".into() },
        base_check: BaseCheck::TouchedFiles,
        task: Key::parse("t").expect("a key"),
        approvers: Vec::new(),
        answer_within_ms,
        use_within_ms: 60_000,
    }
}

/// The outcomes, of which a request has one.
const OUTCOMES: [&str; 4] = ["approved", "rejected", "timed-out", "canceled"];
/// The races, so many at once.
const WAVES: usize = 10;
const AT_ONCE: usize = 100;

/// Asks for an approval, and lets two people and the clock race for its outcome. Gives the names of what was accepted.
async fn race(bus: &Bus, key: &str, number: usize) -> Vec<&'static str> {
    let reply =
        bus.ask(&command(key, &Command::Request(request(key, 1_000))), PATIENCE).await.expect("a reply");
    let Reply::Accepted { result, .. } = reply else { panic!("{reply:?}") };
    let ids = vec![result[0]["id"].as_str().expect("an id").into()];
    // Around the time at which the request is over, some before it and some after it.
    tokio::time::sleep(Duration::from_millis(940 + (number * 7 % 100) as u64)).await;
    let answers = [
        ("approved", Command::Approve { ids }),
        ("rejected", Command::Reject { rejection_reason: "no".into() }),
        ("canceled", Command::Cancel { reason: "enough".into() }),
    ];
    let sent = answers.iter().map(|(name, answer)| async move {
        let reply = bus.ask(&by_person(key, answer), PATIENCE).await.expect("a reply");
        // A cancellation of what is over is accepted and changes nothing.
        matches!(reply, Reply::Accepted { events: 1.., .. }).then_some(*name)
    });
    join_all(sent).await.into_iter().flatten().collect()
}

/// Goal: of approve, reject, cancel and the end of the time exactly one is the outcome. Method: a thousand requests
/// that end within a second, and all three commands at that moment.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_races_have_one_outcome_each() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("a", false).await;
    let bus = server.bus().await;
    let mut seen = std::collections::BTreeMap::new();
    for wave in 0..WAVES {
        let keys: Vec<String> = (0..AT_ONCE).map(|number| format!("r-{wave}-{number}")).collect();
        let races = keys.iter().enumerate().map(|(number, key)| race(&bus, key, number));
        let accepted = join_all(races).await;
        for (key, accepted) in keys.iter().zip(accepted) {
            let names = eventually("an outcome", || async {
                let names = names(&bus, key).await;
                (names.len() > 1).then_some(names)
            })
            .await;
            let outcomes: Vec<&String> =
                names.iter().filter(|name| OUTCOMES.contains(&name.as_str())).collect();
            assert_eq!(outcomes.len(), 1, "`{key}`: {names:?}");
            // Who was told that an answer counts was told the truth; a cancellation may still revoke an approval.
            let told: Vec<_> = accepted.into_iter().filter(|name| *name != "canceled").collect();
            assert!(told.iter().all(|name| name == outcomes[0]), "`{key}`: told {told:?}, is {names:?}");
            *seen.entry(outcomes[0].clone()).or_insert(0) += 1;
        }
    }
    assert_eq!(seen.values().sum::<i32>(), 1_000, "{seen:?}");
    assert!(seen.len() > 1, "nobody raced: {seen:?}");
    host.stop().await;
}

/// Complaint 9: a request that nobody answers ends by itself, and no person is said to have decided.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_nobody_answers_times_out() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("a", false).await;
    let bus = server.bus().await;
    accepted(&bus, &command("a", &Command::Request(request("a", 1_000)))).await;
    let last = eventually("the end of the request", || async {
        events(&bus, "approval", "a").await.into_iter().nth(1)
    })
    .await;
    assert_eq!((&last["type"], &last["by"]), (&json!("timed-out"), &Value::Null));
    let late = Body::json(&Command::Approve { ids: ids(&bus, "a").await });
    let late = Ask::new("approval/a".parse().expect("an address"), late).caller("ann");
    let Reply::Refused { refusal, .. } = bus.ask(&late, PATIENCE).await.expect("a reply") else {
        panic!("it counts")
    };
    assert_eq!(refusal.code, "approval-over");
    host.stop().await;
}
