//! Requests that send a command, against a stand-in for a host.

use reqwest::{Client, Response};
use serde_json::{Value, json};

use crate::world::{Running, World};
use crate::{get, json as read};

async fn post(gateway: &Running, path: &str, key: Option<&str>, body: &Value) -> Response {
    let mut request = Client::new().post(format!("{}{path}", gateway.url)).json(body);
    if let Some(key) = key {
        request = request.header("Idempotency-Key", key);
    }
    request.send().await.expect("an answer")
}

/// Goal: a key stands for one task, for this gateway, after a restart, and with a deadline that every
/// request computes anew. Method: the same request again and again, then another body.
#[tokio::test]
async fn an_idempotency_key_stands_for_one_task() {
    let world = World::new().await;
    world.serve_asks().await;
    let gateway = world.gateway().await;
    let body = json!({"goal": "count", "deadline_ms": 60_000, "input": {"b": 1, "a": 2}});
    let first = post(&gateway, "/v1/tasks", Some("k-1"), &body).await;
    let location = first.headers()["location"].to_str().unwrap().to_owned();
    let (status, task) = read(first).await;
    assert_eq!((status, &task["state"]), (201, &"submitted".into()), "{task}");
    assert_eq!(location, format!("/v1/tasks/{}", task["id"].as_str().unwrap()));
    assert!(task["deadline"].is_u64());

    let (status, again) = read(post(&gateway, "/v1/tasks", Some("k-1"), &body).await).await;
    assert_eq!((status, &again), (200, &task));
    gateway.stopped().await;
    let gateway = world.gateway().await;
    let (status, again) = read(post(&gateway, "/v1/tasks", Some("k-1"), &body).await).await;
    assert_eq!((status, &again), (200, &task));

    let mut other = body.clone();
    other["goal"] = "count twice".into();
    let (status, problem) = read(post(&gateway, "/v1/tasks", Some("k-1"), &other).await).await;
    assert_eq!((status, &problem["code"]), (422, &"idempotency-key-reused".into()));
    // Keys belong to their caller, whose task it is.
    let yours = Client::new().post(format!("{}/v1/tasks", gateway.url)).header("orrery-caller", "you");
    let (status, yours) =
        read(yours.header("idempotency-key", "k-1").json(&other).send().await.unwrap()).await;
    assert_eq!(status, 201);
    // Whose it is nobody says but the caller's name.
    other["owner"] = "me".into();
    let (status, problem) = read(post(&gateway, "/v1/tasks", None, &other).await).await;
    assert_eq!((status, &problem["code"]), (422, &"invalid-body".into()), "{problem}");
    assert_ne!(yours["id"], task["id"]);
    // Without a key every request is a task of its own.
    let (_, one) = read(post(&gateway, "/v1/tasks", None, &body).await).await;
    let (_, two) = read(post(&gateway, "/v1/tasks", None, &body).await).await;
    assert_ne!(one["id"], two["id"]);
    let (_, list) = get(&gateway.url, "/v1/tasks").await;
    assert_eq!(list["tasks"].as_array().unwrap().len(), 4);
    gateway.stopped().await;
}

/// Goal: what was acknowledged is shown at once, refusals have their status, and the caller's trace
/// reaches the host. Method: submit, read, cancel, cancel again, and ask for what is not there.
#[tokio::test]
async fn a_task_is_read_and_canceled_right_after_it_was_submitted() {
    let world = World::new().await;
    world.serve_asks().await;
    let gateway = world.gateway().await;
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let response = Client::new()
        .post(format!("{}/v1/tasks", gateway.url))
        .header("traceparent", traceparent)
        .json(&json!({"goal": "count"}))
        .send()
        .await
        .unwrap();
    let (status, task) = read(response).await;
    assert_eq!(status, 201, "{task}");
    let trace = world.log.lock().await.traces[0].expect("the caller's trace");
    assert_eq!(trace.to_traceparent(), traceparent);

    let path = format!("/v1/tasks/{}", task["id"].as_str().unwrap());
    assert_eq!(get(&gateway.url, &path).await, (200, task));
    let cancel = format!("{path}/cancel");
    let (status, canceled) = read(post(&gateway, &cancel, None, &json!({"reason": "enough"})).await).await;
    assert_eq!((status, &canceled["state"]), (200, &"canceled".into()));
    // A body is not needed.
    let bare = Client::new().post(format!("{}{cancel}", gateway.url)).send().await.unwrap();
    let (status, problem) = read(bare).await;
    assert_eq!((status, &problem["code"]), (409, &"task-final".into()));
    for (path, body) in
        [("/v1/tasks/nothing/cancel", json!({})), ("/v1/tasks/nothing/retry", json!({"end": 1}))]
    {
        let (status, problem) = read(post(&gateway, path, None, &body).await).await;
        assert_eq!((status, &problem["code"]), (404, &"task-not-found".into()), "{path}");
    }
    // Which end a retry undoes is said, as which question an answer answers.
    for path in ["/v1/tasks/nothing/retry", "/v1/tasks/nothing/answer"] {
        let (status, problem) = read(post(&gateway, path, None, &json!({"answer": 1})).await).await;
        assert_eq!((status, &problem["code"]), (422, &"invalid-body".into()), "{path}");
        let bare = Client::new().post(format!("{}{path}", gateway.url)).send().await.unwrap();
        assert_eq!(bare.status(), 415, "{path}");
    }
    let (status, problem) =
        read(post(&gateway, "/v1/tasks/nothing/answer", None, &json!({"question": 1, "answer": 1})).await)
            .await;
    assert_eq!((status, &problem["code"]), (404, &"task-not-found".into()));
    gateway.stopped().await;
}

/// Goal: who needs a task as it is now gets it from its owner, also while the read model is behind.
/// Method: an owner that is further than the read model, asked both ways; a task that is not there; a flag that is none.
#[tokio::test]
async fn a_consistent_read_is_answered_by_the_owner() {
    let world = World::new().await;
    world.serve_asks().await;
    let gateway = world.gateway().await;
    let (_, task) = read(post(&gateway, "/v1/tasks", None, &json!({"goal": "count"})).await).await;
    let path = format!("/v1/tasks/{}", task["id"].as_str().unwrap());
    let (status, now) = get(&gateway.url, &format!("{path}?consistent=true")).await;
    assert_eq!((status, &now["question_id"], &now["state"]), (200, &7.into(), &"input-required".into()));
    for path in [path.clone(), format!("{path}?consistent=false")] {
        assert_eq!(get(&gateway.url, &path).await, (200, task.clone()));
    }
    for (path, status, code) in [
        ("/v1/tasks/nothing?consistent=true".to_owned(), 404, "task-not-found"),
        (format!("{path}?consistent=perhaps"), 400, "invalid-query"),
    ] {
        let (answered, problem) = get(&gateway.url, &path).await;
        assert_eq!((answered, &problem["code"]), (status, &code.into()), "{problem}");
    }
    gateway.stopped().await;
}

/// Goal: a schedule is made, replaced, paused, resumed and deleted, and each answer shows it as it is
/// then. Method: all of that in turn.
#[tokio::test]
async fn a_schedule_lives_and_goes() {
    let world = World::new().await;
    world.serve_asks().await;
    let gateway = world.gateway().await;
    let (client, url) = (Client::new(), format!("{}/v1/schedules/nightly", gateway.url));
    let body = json!({"recurrence": {"rule": "cron", "expression": "0 3 * * *"}, "task": {"goal": "report"}});
    let (status, schedule) = read(client.put(&url).json(&body).send().await.unwrap()).await;
    assert_eq!((status, &schedule["paused"]), (201, &false.into()), "{schedule}");
    assert_eq!(read(client.put(&url).json(&body).send().await.unwrap()).await.0, 200);
    let (status, paused) = read(post(&gateway, "/v1/schedules/nightly/pause", None, &json!({})).await).await;
    assert_eq!((status, &paused["paused"]), (200, &true.into()));
    let (_, resumed) = read(post(&gateway, "/v1/schedules/nightly/resume", None, &json!({})).await).await;
    assert_eq!(resumed["paused"], false);
    let (_, list) = get(&gateway.url, "/v1/schedules").await;
    assert_eq!(list["schedules"][0]["task"]["goal"], "report");
    for _ in 0..2 {
        let (status, deleted) = read(client.delete(&url).send().await.unwrap()).await;
        assert_eq!((status, &deleted["deleted"]), (200, &true.into()), "{deleted}");
    }
    assert_eq!(get(&gateway.url, "/v1/schedules").await.1, json!({"schedules": [], "next_cursor": null}));
    let bad = json!({"recurrence": {"rule": "hourly"}, "task": {"goal": "report"}});
    let (status, problem) = read(client.put(&url).json(&bad).send().await.unwrap()).await;
    assert_eq!((status, &problem["code"]), (422, &"invalid-body".into()));
    gateway.stopped().await;
}
