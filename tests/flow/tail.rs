//! gateway: the tail of the whole installation, and what became of a command.

use std::collections::BTreeSet;

use bus_client::{Ask, Profile};
use bus_schemas::commands::probe::Command as Probe;
use bus_schemas::{Body, CommandId, EntityAddress, Key, Kind};
use serde_json::{Value, json};
use system_tests::edge::Edge;
use system_tests::{Server, accepted, eventually, probe, refused, touch};
use uuid::Uuid;

/// Every event from a cursor on, page by page.
async fn pages(edge: &Edge, filter: &str, mut after: String) -> (Vec<Value>, String) {
    let mut events = Vec::new();
    loop {
        let (status, page) = edge.get(&format!("/v1/events?limit=3{filter}&after={after}")).await;
        assert_eq!(status, 200, "{page}");
        events.extend(page["events"].as_array().expect("a list").iter().cloned());
        page["cursor"].as_str().expect("a cursor").clone_into(&mut after);
        if page["more"] == false {
            return (events, after);
        }
    }
}

/// Goal: everything that happens can be read once and in order, from any gateway, and a cursor stays good when
/// the event stream is written anew. Method: probes in all partitions are touched, the tail is read in pages,
/// more happens, and the rest is read from the cursor, once with the place in the stream made wrong.
#[tokio::test(flavor = "multi_thread")]
async fn the_tail_of_the_installation_is_resumed() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("a", false).await;
    let edge = Edge::start(host.bus(), &server.directory().join("gateway")).await;
    let tell = async |number: u32| {
        accepted(host.bus(), &touch(&format!("p{number}"))).await;
    };
    for number in 0..10 {
        tell(number).await;
    }
    let count = async |edge: &Edge| pages(edge, "&kind=probe", String::new()).await.0.len();
    eventually("ten events", || async { (count(&edge).await == 10).then_some(()) }).await;
    let (first, cursor) = pages(&edge, "", String::new()).await;
    let entities: BTreeSet<&str> = first.iter().filter_map(|event| event["entity"].as_str()).collect();
    assert!((0..10).all(|number| entities.contains(format!("probe/p{number}").as_str())), "{entities:?}");
    let (none, _) = pages(&edge, "&kind=probe&type=nonsense", String::new()).await;
    assert_eq!(none.len(), 0);

    for number in 5..15 {
        tell(number).await;
    }
    eventually("twenty events", || async { (count(&edge).await == 20).then_some(()) }).await;
    let elsewhere = Edge::start(host.bus(), &server.directory().join("another")).await;
    let (_, places) = cursor.split_once(';').expect("places behind the sequence");
    for after in [cursor.clone(), format!("1;{places}")] {
        let (rest, _) = pages(&elsewhere, "&kind=probe", after).await;
        let of: Vec<_> =
            rest.iter().map(|event| (event["entity"].clone(), event["revision"].clone())).collect();
        let wanted: BTreeSet<String> = (5..15).map(|number| format!("probe/p{number}")).collect();
        let found: BTreeSet<String> =
            of.iter().filter_map(|(entity, _)| entity.as_str().map(str::to_owned)).collect();
        assert_eq!((found, of.len()), (wanted, 10), "{of:?}");
    }
    let now = bus_client::now().0 + 3_600_000;
    assert_eq!(pages(&edge, &format!("&since={now}"), String::new()).await.0.len(), 0);
    assert_eq!(pages(&edge, "&kind=probe&since=1000", String::new()).await.0.len(), 20);

    for (query, code) in [
        ("after=9;0.999999.0", "invalid-event-id"),
        ("after=nonsense", "invalid-event-id"),
        ("kind=probe&tree=t", "invalid-query"),
        ("kind=a%20b", "invalid-query"),
        ("limit=0", "invalid-query"),
    ] {
        let (status, problem) = edge.get(&format!("/v1/events?{query}")).await;
        assert_eq!((status, problem["code"].as_str()), (400, Some(code)), "{query}: {problem}");
    }
    elsewhere.stop().await;
    edge.stop().await;
    host.stop().await;
}

/// Goal: whoever lost an answer learns what became of the command. Method: one that is taken, one that is refused,
/// one that is handed over and refused, and one that never came; asked with and without the entity.
#[tokio::test(flavor = "multi_thread")]
async fn what_became_of_a_command_is_told() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("a", false).await;
    let edge = Edge::start(host.bus(), &server.directory().join("gateway")).await;
    let ask = touch("p1");
    accepted(host.bus(), &ask).await;
    let (status, shown) = edge.get(&format!("/v1/commands/{}", ask.id)).await;
    assert_eq!((status, &shown["state"]), (200, &json!("accepted")), "{shown}");
    assert_eq!((&shown["entity"], &shown["revision"]), (&json!("probe/p1"), &json!(1)), "{shown}");
    let (_, same) = edge.get(&format!("/v1/commands/{}?entity=probe/p1", ask.id)).await;
    assert_eq!(same, shown);

    let wrong = Ask::new(probe("p1"), Body::json(&json!({"type": "no-such-word"})));
    refused(host.bus(), &wrong).await;
    let (_, shown) = edge.get(&format!("/v1/commands/{}", wrong.id)).await;
    assert_eq!(shown["state"], "unknown", "what cannot be read leaves no trace: {shown}");

    let nowhere = EntityAddress::new(Kind::from_static("task"), Key::parse("nowhere").expect("a key"));
    let cancel = Ask::new(nowhere, Body::json(&json!({"type": "cancel", "reason": "a test"})));
    let code = refused(host.bus(), &cancel).await;
    let (_, shown) = edge.get(&format!("/v1/commands/{}", cancel.id)).await;
    assert_eq!((&shown["state"], &shown["code"]), (&json!("refused"), &json!(code)), "{shown}");
    assert_eq!(shown["entity"], "task/nowhere", "{shown}");

    let panics = Ask::new(probe("p2"), Body::json(&Probe::Panic));
    host.bus().hand_over(&panics).await.expect("it is stored");
    let shown = eventually("the command that was handed over", || async {
        let (_, shown) = edge.get(&format!("/v1/commands/{}", panics.id)).await;
        (shown["state"] == "refused").then_some(shown)
    })
    .await;
    let letter = Key::parse(shown["dead_letter"].as_str().expect("a dead letter")).expect("a key");
    eventually("the dead letter", || async {
        (edge.get(&format!("/v1/dead-letters/{letter}")).await.0 == 200).then_some(())
    })
    .await;

    let nobody = CommandId(Uuid::now_v7());
    let (_, shown) = edge.get(&format!("/v1/commands/{nobody}")).await;
    assert_eq!((&shown["state"], &shown["silent"]), (&json!("unknown"), &json!([])), "{shown}");
    let (status, problem) = edge.get(&format!("/v1/commands/{nobody}?entity=probe")).await;
    assert_eq!((status, &problem["code"]), (400, &json!("invalid-query")));
    edge.stop().await;
    host.stop().await;
}
