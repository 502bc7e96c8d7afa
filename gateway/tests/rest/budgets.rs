//! Budgets, and what a task waits for, over HTTP, against a stand-in for a host.

use reqwest::{Client, Response};
use serde_json::{Value, json};

use crate::world::{Running, World};
use crate::{get, json as read};

async fn post(gateway: &Running, path: &str, body: &Value) -> Response {
    Client::new().post(format!("{}{path}", gateway.url)).json(body).send().await.expect("an answer")
}

/// Goal: a budget is given with the task, shown with it, and extended. Method: one of each, with mistakes.
#[tokio::test]
async fn a_budget_is_given_shown_and_extended() {
    let world = World::new().await;
    world.serve_asks().await;
    let gateway = world.gateway().await;
    let body = json!({"goal": "count", "budget": {"tokens": 1_000, "wall_clock": "30m"}});
    let (status, task) = read(post(&gateway, "/v1/tasks", &body).await).await;
    assert_eq!(status, 201, "{task}");
    let budget = &task["budget"];
    assert_eq!(
        (&budget["limits"]["tokens"], &budget["limits"]["wall_clock"]),
        (&1_000.into(), &"30m".into())
    );
    assert_eq!((&budget["used"]["tokens"], &budget["reserved"]["jobs"]), (&0.into(), &0.into()), "{task}");

    let path = format!("/v1/tasks/{}/extend-budget", task["id"].as_str().expect("an id"));
    let more = json!({"extend": {"tokens": 5_000, "wall_clock": "1h"}, "reason": "worth it"});
    let (status, task) = read(post(&gateway, &path, &more).await).await;
    assert_eq!((status, &task["budget"]["limits"]["tokens"]), (200, &5_000.into()), "{task}");
    for wrong in [json!({}), json!({"extend": {"token": 5}}), json!({"extend": {"wall_clock": "soon"}})] {
        let (status, problem) = read(post(&gateway, &path, &wrong).await).await;
        assert_eq!((status, &problem["code"]), (422, &"invalid-body".into()), "{wrong}: {problem}");
    }
    let (status, problem) = read(post(&gateway, "/v1/tasks/nobody/extend-budget", &more).await).await;
    assert_eq!((status, &problem["code"]), (404, &"task-not-found".into()));

    let (_, plain) = read(post(&gateway, "/v1/tasks", &json!({"goal": "count"})).await).await;
    assert!(plain.get("budget").is_none(), "nothing bounds it: {plain}");
    gateway.stopped().await;
}

/// Goal: what a task waits for is asked of the task and of its lane. Method: one that waits in a lane, and
/// one that is not there.
#[tokio::test]
async fn a_task_says_what_it_waits_for() {
    let world = World::new().await;
    world.serve_asks().await;
    let gateway = world.gateway().await;
    let (_, task) = read(post(&gateway, "/v1/tasks", &json!({"goal": "count"})).await).await;
    let path = format!("/v1/tasks/{}/why", task["id"].as_str().expect("an id"));
    let (status, why) = get(&gateway.url, &path).await;
    assert_eq!((status, &why["task"], &why["waits_for"]), (200, &task["id"], &"lane".into()), "{why}");
    assert_eq!(
        (&why["in_lane"]["ahead"], &why["in_lane"]["blocks"][0]["what"]),
        (&2.into(), &"no-agent".into())
    );
    assert!(why["since"].is_u64() && why["until"].is_null() && why["children"] == json!([]), "{why}");
    let (status, problem) = get(&gateway.url, "/v1/tasks/nobody/why").await;
    assert_eq!((status, &problem["code"]), (404, &"task-not-found".into()), "{problem}");
    gateway.stopped().await;
}
