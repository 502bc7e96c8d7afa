//! Lists and views, over restarts, rebuilds and events that cannot be read.

use bus_schemas::Timestamp;
use bus_schemas::commands::agent::AgentCard;
use bus_schemas::commands::dead_letter::Entry;
use bus_schemas::events::{agent, dead_letter, lane, task::Event};
use bus_schemas::{CommandId, Key, PartitionId};
use serde_json::Value;

use crate::get;
use crate::server::eventually;
use crate::world::{Raw, Running, World};

fn ids(page: &Value) -> Vec<String> {
    let tasks = page["tasks"].as_array().unwrap_or_else(|| panic!("no tasks in {page}"));
    tasks.iter().map(|task| task["id"].as_str().unwrap().to_owned()).collect()
}

async fn all(gateway: &Running) -> Vec<String> {
    ids(&get(&gateway.url, "/v1/tasks?limit=200").await.1)
}

async fn shows(gateway: &Running, count: usize) {
    eventually(&format!("{count} tasks"), async || (all(gateway).await.len() == count).then_some(())).await;
}

/// Goal: lists are filtered and paged without repeating or leaving out a task, also while tasks come.
/// Method: seven tasks of two owners with a child, read page by page with one more in between.
#[tokio::test]
async fn lists_are_filtered_and_paged() {
    let world = World::new().await;
    for number in 1..=6 {
        world.submit(&format!("t{number}"), if number % 2 == 0 { "even" } else { "odd" }).await;
    }
    world.submit("t1.step-1", "odd").await;
    world.happen("t2", Event::Canceled { reason: "enough".into(), at: Timestamp(9) }).await;
    let gateway = world.gateway().await;
    shows(&gateway, 7).await;

    for (query, expected) in [
        ("owner=even", vec!["t6", "t4", "t2"]),
        ("owner=even&state=canceled", vec!["t2"]),
        ("parent=t1", vec!["t1.step-1"]),
        ("root=false", vec!["t1.step-1"]),
        ("root=true&limit=2", vec!["t6", "t5"]),
        ("lane=default&owner=nobody", vec![]),
    ] {
        let (status, page) = get(&gateway.url, &format!("/v1/tasks?{query}")).await;
        assert_eq!(
            (status, ids(&page)),
            (200, expected.iter().map(ToString::to_string).collect()),
            "{query}"
        );
    }

    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let (_, page) = get(&gateway.url, &format!("/v1/tasks?limit=3{cursor}")).await;
        seen.extend(ids(&page));
        world.submit(&format!("late{}", seen.len()), "late").await;
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, ["t1.step-1", "t6", "t5", "t4", "t3", "t2", "t1"]);

    let (status, child) = get(&gateway.url, "/v1/tasks/t1.step-1").await;
    assert_eq!((status, child["parent"].as_str()), (200, Some("t1")));
    gateway.stopped().await;
}

/// Goal: a restarted gateway goes on where it was, and one with a foreign, corrupt or no file begins
/// anew. Method: stop, publish, start; then the same file over another installation; then garbage.
#[tokio::test]
async fn a_read_model_goes_on_or_is_rebuilt() {
    let world = World::new().await;
    world.submit("first", "me").await;
    let gateway = world.gateway().await;
    shows(&gateway, 1).await;
    gateway.stopped().await;
    world.submit("second", "me").await;
    let gateway = world.gateway().await;
    shows(&gateway, 2).await;
    gateway.stopped().await;

    // Longer than the first installation's stream: only the event at the place tells them apart.
    let other = World::new().await;
    for number in 0..4 {
        other.submit(&format!("other{number}"), "you").await;
    }
    let gateway = other.gateway_at(world.data.path()).await;
    shows(&gateway, 4).await;
    assert!(all(&gateway).await.iter().all(|id| id.starts_with("other")));
    gateway.stopped().await;

    // Shorter: the stream ends before the place.
    let gateway = world.gateway().await;
    shows(&gateway, 2).await;
    gateway.stopped().await;

    std::fs::write(world.data.path().join("read-model.sqlite"), b"no database at all, but some bytes")
        .unwrap();
    let gateway = world.gateway().await;
    shows(&gateway, 2).await;
    gateway.stopped().await;
}

/// Goal: an event of the future stops nothing, and is named. Method: an unknown type, a later schema
/// and an unknown kind between good events.
#[tokio::test]
async fn what_can_not_be_read_is_named_and_the_rest_is_shown() {
    let world = World::new().await;
    world.submit("good", "me").await;
    let unknown = Raw { event_type: "vanished".into(), schema: 1, body: br#"{"type":"vanished"}"#.to_vec() };
    world.record(vec![("task/good", unknown)]).await;
    let future = Raw { event_type: "submitted".into(), schema: 99, body: b"{}".to_vec() };
    world.record(vec![("task/future", future)]).await;
    let kind = Raw { event_type: "grown".into(), schema: 1, body: b"\xff".to_vec() };
    world.record(vec![("plant/p", kind)]).await;
    let capped: Raw = lane::Event::CapSet { concurrent: None }.into();
    world.record(vec![("lane/default", capped)]).await;
    world.happen("good", Event::Canceled { reason: "enough".into(), at: Timestamp(9) }).await;

    // Marks come before the events that they cover, and may be the last message of all.
    world.mark(PartitionId(1)).await;
    world.mark(PartitionId(0)).await;

    let gateway = world.gateway().await;
    let canceled = async || {
        let (_, task) = get(&gateway.url, "/v1/tasks/good").await;
        (task["state"] == "canceled").then_some(())
    };
    eventually("the event after the bad ones", canceled).await;
    let caught_up = async || {
        let (_, ready) = get(&gateway.url, "/ready").await;
        let projection = ready["projection"].clone();
        (projection["lag"] == 0 && projection["caught_up"] == true).then_some(projection)
    };
    let projection = eventually("a read model without lag", caught_up).await;
    // The three, and the gap that the unknown type left.
    assert_eq!(projection["unreadable"], 4, "{projection}");
    let reasons = projection["unreadable_first"].to_string();
    for word in ["vanished", "schema version 99", "`plant`", "revision 3 follows 1"] {
        assert!(reasons.contains(word), "{word} is not in {reasons}");
    }
    gateway.stopped().await;
}

/// Goal: agents and dead letters are shown with all that people need to act. Method: one of each.
#[tokio::test]
async fn agents_and_dead_letters_are_shown() {
    let world = World::new().await;
    world.serve_asks().await;
    let card = AgentCard {
        name: Key::parse("counter").unwrap(),
        description: "counts".into(),
        version: "1".into(),
        skills: vec![],
        dependencies: vec![],
    };
    let joined = agent::Event::WorkerRegistered {
        worker: "w1".into(),
        card: card.clone(),
        capacity: 3,
        lanes: vec![],
        at: Timestamp(1),
    };
    world.record(vec![("agent/counter", joined.into())]).await;
    let ids = (CommandId::from_text("c"), CommandId::from_text("c"));
    let entry = Entry::new("poison", "the decision panicked", ("probe", "p"), ids, Timestamp(5));
    world.bus.publish_dead("probe", "d-1", "the decision panicked", vec![0xff, 0].into()).await.unwrap();
    world.record(vec![("dead-letter/d-1", dead_letter::Event::Recorded { entry }.into())]).await;

    let gateway = world.gateway().await;
    let dead = eventually("the dead letter", async || {
        let (status, dead) = get(&gateway.url, "/v1/dead-letters/d-1").await;
        (status == 200).then_some(dead)
    })
    .await;
    assert_eq!((&dead["class"], &dead["payload"]["content"]), (&"poison".into(), &"/wA=".into()), "{dead}");
    let (_, list) = get(&gateway.url, "/v1/dead-letters?class=poison&state=waiting&kind=probe&key=p").await;
    assert_eq!(list["dead_letters"].as_array().unwrap().len(), 1);
    let (_, agents) = get(&gateway.url, "/v1/agents").await;
    assert_eq!(agents["agents"][0]["capacity"], 3, "{agents}");

    // A halt of an agent of which nothing was heard is shown, and hurts nothing.
    let held = |at| agent::Event::Held { cause: "halt/agent.ghost".into(), reason: "a leak".into(), at };
    let eased = agent::Event::Eased { cause: "halt/agent.ghost".into(), at: Timestamp(8) };
    world.record(vec![("agent/ghost", held(Timestamp(7)).into()), ("agent/ghost", eased.into())]).await;
    world.record(vec![("agent/ghost", held(Timestamp(9)).into())]).await;
    let ghost = eventually("the ghost", async || {
        let (_, agents) = get(&gateway.url, "/v1/agents").await;
        let ghost = agents["agents"].as_array()?.iter().find(|agent| agent["name"] == "ghost").cloned()?;
        (ghost["revision"] == 3).then_some(ghost)
    })
    .await;
    assert_eq!((&ghost["card"], &ghost["capacity"]), (&Value::Null, &0.into()), "{ghost}");
    assert_eq!(ghost["holds"][0]["reason"], "a leak", "{ghost}");
    let (_, ready) = get(&gateway.url, "/ready").await;
    assert_eq!(ready["projection"]["unreadable"], 0, "{ready}");
    let card = AgentCard { name: Key::parse("ghost").unwrap(), ..card };
    let joined = agent::Event::WorkerRegistered {
        worker: "w".into(),
        card,
        capacity: 2,
        lanes: vec![],
        at: Timestamp(10),
    };
    world.record(vec![("agent/ghost", joined.into())]).await;
    eventually("the halt of an agent that registers", async || {
        let (_, agents) = get(&gateway.url, "/v1/agents").await;
        let ghost = agents["agents"].as_array()?.iter().find(|agent| agent["name"] == "ghost").cloned()?;
        (ghost["capacity"] == 2 && ghost["holds"][0]["cause"] == "halt/agent.ghost").then_some(())
    })
    .await;
    assert_eq!(get(&gateway.url, "/v1/dead-letters/d-2").await.1["code"], "dead-letter-not-found");
    gateway.stopped().await;
}
