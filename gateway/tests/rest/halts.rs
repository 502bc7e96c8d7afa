//! Halts over HTTP: listed from the read model, made and ended by command.

use reqwest::Client;
use serde_json::{Value, json};

use crate::world::{Running, World};
use crate::{get, json as read};

async fn post(gateway: &Running, path: &str, body: &Value) -> (u16, Value) {
    let request =
        Client::new().post(format!("{}{path}", gateway.url)).header("Orrery-Caller", "ada").json(body);
    read(request.send().await.expect("an answer")).await
}

/// Goal: whoever asks sees what stands still and why, as soon as it was acknowledged, and no more when it
/// goes on. Method: two halts, one of them twice, then the resume; what a refusal says comes through.
#[tokio::test]
async fn what_stands_still_is_listed_until_it_goes_on() {
    let world = World::new().await;
    world.serve_asks().await;
    let gateway = world.gateway().await;
    assert_eq!(get(&gateway.url, "/v1/halts").await, (200, json!({"halts": [], "next_cursor": null})));

    let body = json!({"scope": "lane.night", "reason": "a leak", "grace_ms": 100});
    let (status, halt) = post(&gateway, "/v1/halts", &body).await;
    assert_eq!((status, &halt["halted"], &halt["by"]), (201, &json!(true), &json!("ada")), "{halt}");
    let (status, again) = post(&gateway, "/v1/halts", &body).await;
    assert_eq!((status, &again), (200, &halt), "it stood still already");
    let (status, all) = post(&gateway, "/v1/halts", &json!({"scope": "all", "reason": "a fire"})).await;
    assert_eq!((status, &all["by"], &all["grace_ms"]), (201, &json!("ada"), &json!(5_000)), "{all}");
    let (_, list) = get(&gateway.url, "/v1/halts").await;
    let listed = |mut halt: Value| {
        let fields = halt.as_object_mut().expect("an object");
        let said = (fields.remove("known"), fields.remove("already_resumed"));
        assert_eq!(fields.remove("ended"), Some(Value::Null));
        (halt, said)
    };
    let ((all, of_all), (halt, of_lane)) = (listed(all), listed(halt));
    assert_eq!(list, json!({"halts": [all, halt], "next_cursor": null}));
    assert_eq!(of_all, (Some(json!(true)), Some(json!(false))));
    assert_eq!(of_lane, (Some(json!(false)), Some(json!(false))), "nothing was heard of that lane");

    let (status, problem) = post(&gateway, "/v1/halts/all/resume", &json!({"revision": 0})).await;
    assert_eq!((status, &problem["code"]), (409, &json!("changed-since")), "{problem}");
    let (status, ended) = post(&gateway, "/v1/halts/all/resume", &json!({"per_minute": 9})).await;
    assert_eq!((status, &ended["halted"], &ended["per_minute"]), (200, &json!(false), &json!(9)), "{ended}");
    let (_, list) = get(&gateway.url, "/v1/halts").await;
    assert_eq!(list["halts"].as_array().map(Vec::len), Some(1), "{list}");
    let (status, problem) = post(&gateway, "/v1/halts/all/resume", &json!({})).await;
    assert_eq!((status, &problem["code"]), (409, &json!("not-halted")));

    for (body, code) in [
        (json!({"scope": "everything", "reason": "x"}), "unknown-scope"),
        (json!({"scope": "all", "reason": " "}), "reason-missing"),
        (json!({"scope": "all"}), "invalid-body"),
        (json!({"scope": "a b", "reason": "x"}), "invalid-body"),
    ] {
        let (status, problem) = post(&gateway, "/v1/halts", &body).await;
        assert_eq!((status, problem["code"].as_str()), (422, Some(code)), "{problem}");
    }
    gateway.stopped().await;
}
