//! Lanes and breakers over HTTP: how each one stands is asked, and whoever does not answer is named.

use bus_schemas::events::{breaker, lane};
use bus_schemas::{PartitionId, Timestamp};
use serde_json::json;

use crate::get;
use crate::server::{PARTITIONS, eventually};
use crate::world::World;

/// Two lanes and a breaker of which something was heard.
async fn story(world: &World) {
    for lane in ["lane/default", "lane/night"] {
        let joined = lane::Event::Joined { partition: PartitionId(0) };
        world.record(vec![(lane, joined.into())]).await;
    }
    world.record(vec![("breaker/tool.git", reported().into())]).await;
}

fn reported() -> breaker::Event {
    breaker::Event::Reported {
        reporter: "w".into(),
        succeeded: 1,
        failed: 0,
        slow: 0,
        consecutive_failed: 0,
        last_error: String::new(),
        at: Timestamp(1),
    }
}

/// Goal: a list of settings asks a bounded number of entities, however many somebody made, and says how many it left
/// out. Method: more breakers than it asks, all of which would answer.
#[tokio::test]
async fn a_list_of_settings_asks_no_more_than_a_page_of_entities() {
    let world = World::new().await;
    world.serve_asks().await;
    story(&world).await;
    let names: Vec<String> = (0..205).map(|number| format!("breaker/tool.{number:03}")).collect();
    world.record(names.iter().map(|name| (name.as_str(), reported().into())).collect()).await;
    let gateway = world.gateway().await;
    let all = eventually("all breakers", async || {
        let (_, all) = get(&gateway.url, "/v1/settings").await;
        (all["left_out"] == 6).then_some(all)
    })
    .await;
    let run = |name: &str| {
        let settings = all["settings"].as_array().into_iter().flatten();
        settings
            .filter(|settings| settings["name"] == name)
            .map(|settings| settings["entities"].clone())
            .next()
    };
    let breakers = run("breakers").expect("the settings of breakers");
    assert_eq!(breakers.as_array().map(Vec::len), Some(200), "{breakers}");
    assert_eq!((&breakers[0]["entity"], &all["silent"]), (&json!("breaker/tool.000"), &json!([])));
    assert_eq!(run("lanes").and_then(|lanes| lanes.as_array().map(Vec::len)), Some(2));
    gateway.stopped().await;
}

/// Goal: a lane is shown with all that its queues say, and one entity that does not answer takes nothing away
/// from the others: it is named. Method: two lanes with two queues each, first with everybody there, then
/// with one queue, one lane and a breaker that say nothing.
#[tokio::test]
async fn what_answers_is_shown_and_what_does_not_is_named() {
    let world = World::new().await;
    world.serve_asks().await;
    story(&world).await;
    let gateway = world.gateway().await;
    let all = eventually("both lanes", async || {
        let (_, all) = get(&gateway.url, "/v1/lanes").await;
        (all["lanes"].as_array().map(Vec::len) == Some(2)).then_some(all)
    })
    .await;
    assert_eq!(all["silent"], json!([]));
    let lane = &all["lanes"][0];
    assert_eq!(
        (&lane["id"], &lane["waiting"], &lane["running"], &lane["agents"][0]["free"]),
        (&json!("default"), &json!(6), &json!(2), &json!(2)),
        "both queues count: {lane}"
    );
    eventually("the breaker", async || {
        let (_, breakers) = get(&gateway.url, "/v1/breakers").await;
        (breakers["breakers"][0]["dependency"] == "tool.git").then_some(())
    })
    .await;

    let queue = format!("queue/{}.default", PartitionId(1).token(PARTITIONS));
    let dumb = [queue.as_str(), "lane/night", "breaker/tool.git", "settings/lanes"];
    world.log.lock().await.dumb = dumb.map(|entity| entity.parse().expect("an address")).to_vec();
    let (status, all) = get(&gateway.url, "/v1/lanes").await;
    assert_eq!((status, all["lanes"].as_array().map(Vec::len)), (200, Some(1)), "{all}");
    let (lane, silent) = (&all["lanes"][0], &all["silent"]);
    assert_eq!((&lane["waiting"], &lane["silent"][0]["entity"]), (&json!(3), &json!(queue)), "{lane}");
    assert_eq!((&silent[0]["entity"], &silent[0]["code"]), (&json!("settings/lanes"), &json!("no-answer")));
    assert_eq!((&silent[1]["entity"], &silent[2]), (&json!("lane/night"), &json!(null)), "{silent}");
    let (status, breakers) = get(&gateway.url, "/v1/breakers").await;
    assert_eq!((status, &breakers["silent"][0]["entity"]), (200, &json!("breaker/tool.git")), "{breakers}");
    gateway.stopped().await;
}

/// Goal: reading sends no command. Method: every resource is read, and whoever takes commands hears nothing.
#[tokio::test]
async fn reading_sends_no_command() {
    let world = World::new().await;
    world.serve_asks().await;
    story(&world).await;
    world.submit("t", "me").await;
    let gateway = world.gateway().await;
    let paths = [
        "/v1/tasks",
        "/v1/tasks/t",
        "/v1/tasks/t/why",
        "/v1/tasks/nobody/why",
        "/v1/agents",
        "/v1/schedules",
        "/v1/dead-letters",
        "/v1/redrives",
        "/v1/halts",
        "/v1/lanes",
        "/v1/lanes/default",
        "/v1/breakers",
        "/v1/breakers/tool.git",
        "/v1/breakers/unheard-of",
        "/v1/settings/lanes",
        "/ready",
    ];
    for path in paths {
        get(&gateway.url, path).await;
    }
    assert_eq!(world.log.lock().await.traces.len(), 0, "no command came");
    assert_eq!(world.bus.inbox_waiting().await.expect("the inboxes"), 0);
    gateway.stopped().await;
}
