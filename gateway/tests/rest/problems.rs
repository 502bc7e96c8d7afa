//! Bad requests: each is a problem with a code, and none reaches the bus.

use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;

use crate::json;
use crate::world::World;

async fn problem(request: RequestBuilder) -> (u16, String) {
    let response = request.send().await.expect("an answer");
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let problem: Value = serde_json::from_str(&response.text().await.unwrap()).expect("a problem");
    assert_eq!(headers["content-type"], "application/problem+json", "{problem}");
    assert!(!headers["x-request-id"].is_empty());
    assert_eq!(problem["status"], status);
    assert_eq!(problem["type"], format!("/errors/{}", problem["code"].as_str().unwrap()));
    let detail = problem["detail"].as_str().unwrap();
    assert!(
        !problem["title"].as_str().unwrap().is_empty() && (1..=2_048).contains(&detail.len()),
        "{problem}"
    );
    (status, problem["code"].as_str().unwrap().to_owned())
}

/// Goal: every kind of bad request is told apart. Method: one request for each.
#[tokio::test]
async fn every_bad_request_is_a_problem() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let client = Client::new();
    let to = |method: Method, path: &str| client.request(method, format!("{}{path}", gateway.url));
    let tasks = |body: &str| {
        to(Method::POST, "/v1/tasks").header("content-type", "application/json").body(body.to_owned())
    };
    let typed = |of: &str| to(Method::POST, "/v1/tasks").header("content-type", of.to_owned()).body("{}");
    let large = format!(r#"{{"goal":"{}"}}"#, "x".repeat(1024 * 1024));
    let cases = [
        (to(Method::GET, "/nothing"), 404, "route-not-found"),
        (to(Method::DELETE, "/v1/tasks"), 405, "method-not-allowed"),
        (to(Method::POST, "/v1/tasks").body("{}"), 415, "unsupported-media-type"),
        (typed("application/problem+json"), 415, "unsupported-media-type"),
        (typed("application/jsonp"), 415, "unsupported-media-type"),
        (typed("Application/JSON; charset=utf-8"), 422, "invalid-body"),
        (tasks(r#"{"goal":"#), 400, "malformed-json"),
        (tasks(""), 400, "malformed-json"),
        (tasks(r#"{"goal":"x"} {}"#), 400, "malformed-json"),
        (tasks("{}"), 422, "invalid-body"),
        (tasks(r#"{"goal":7}"#), 422, "invalid-body"),
        (tasks(r#"{"goal":"x","gaol":"y"}"#), 422, "invalid-body"),
        (tasks(r#"{"goal":"x","lane":"a b"}"#), 422, "invalid-body"),
        (tasks(r#"{"goal":"x","deadline_ms":0}"#), 422, "invalid-body"),
        (tasks(r#"{"goal":"x"}"#).header("idempotency-key", "a b"), 400, "invalid-idempotency-key"),
        (tasks(r#"{"goal":"x"}"#).header("orrery-caller", "orrery-system"), 400, "invalid-caller"),
        (tasks(&large), 413, "body-too-large"),
        (to(Method::POST, "/v1/tasks/t/cancel").body(large.clone()), 413, "body-too-large"),
        (to(Method::POST, "/v1/tasks/t/cancel").body("reason=x"), 415, "unsupported-media-type"),
        (to(Method::GET, "/v1/tasks?limit=0"), 400, "invalid-query"),
        (to(Method::GET, "/v1/tasks?limit=201"), 400, "invalid-query"),
        (to(Method::GET, "/v1/tasks?limit=many"), 400, "invalid-query"),
        (to(Method::GET, "/v1/tasks?state=asleep"), 400, "invalid-query"),
        (to(Method::GET, "/v1/tasks?colour=red"), 400, "invalid-query"),
        (to(Method::GET, "/v1/tasks?root=true&parent=t"), 400, "invalid-query"),
        (to(Method::GET, "/v1/tasks?cursor=77"), 400, "invalid-cursor"),
        (to(Method::GET, "/v1/tasks/a%20b"), 400, "invalid-id"),
        (to(Method::GET, "/v1/tasks/t.%3E"), 400, "invalid-id"),
        (to(Method::GET, "/v1/tasks/%ff"), 400, "invalid-id"),
        (to(Method::GET, "/v1/tasks/nothing"), 404, "task-not-found"),
        (to(Method::GET, "/v1/tasks/nothing/artifacts/a"), 404, "task-not-found"),
        (to(Method::GET, "/health").header("host", "evil.example"), 403, "foreign-origin"),
        (to(Method::GET, "/health").header("origin", "http://evil.example"), 403, "foreign-origin"),
    ];
    for (request, status, code) in cases {
        let what = format!("{request:?}");
        assert_eq!(problem(request).await, (status, code.to_owned()), "{what}");
    }
    let started = std::time::Instant::now();
    assert_eq!(problem(to(Method::GET, "/v1/tasks/unknown")).await.1, "task-not-found");
    assert_eq!(problem(to(Method::GET, "/v1/tasks/unknown/events")).await.1, "task-not-found");
    let waited = started.elapsed();
    assert!(waited < std::time::Duration::from_millis(1_500), "nobody submitted it: {waited:?}");
    // What a problem points to is there, and is shown by a browser.
    let page = to(Method::GET, "/errors/task-not-found").send().await.unwrap();
    assert_eq!(
        (page.status().as_u16(), &page.headers()["content-type"]),
        (200, &"text/markdown; charset=utf-8".parse().unwrap())
    );
    assert!(page.text().await.unwrap().starts_with("# task-not-found\n"));
    let page = to(Method::GET, "/errors/busy").header("accept", "text/html").send().await.unwrap();
    assert_eq!(page.headers()["content-type"], "text/plain; charset=utf-8");
    assert_eq!(problem(to(Method::GET, "/errors/nonsense")).await, (404, "route-not-found".to_owned()));
    let allowed = to(Method::DELETE, "/v1/tasks").send().await.unwrap();
    assert!(allowed.headers()["allow"].to_str().unwrap().contains("POST"), "{allowed:?}");
    // A page of the gateway itself may ask.
    let own = to(Method::GET, "/health").header("origin", gateway.url.clone()).send().await.unwrap();
    assert_eq!(own.status(), 200);
    gateway.stopped().await;
}

/// Goal: what only looks like a request, and numbers beyond what the document says, are refused. Method: lists
/// for objects at every depth, a name of any length, and numbers and times out of range.
#[tokio::test]
async fn what_only_looks_like_a_request_is_refused() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let client = Client::new();
    let to = |method: Method, path: &str| client.request(method, format!("{}{path}", gateway.url));
    let tasks = |body: &str| {
        to(Method::POST, "/v1/tasks").header("content-type", "application/json").body(body.to_owned())
    };
    let cases = [
        (tasks(r#"{"goal":"x","deadline_ms":9007199254740991}"#), 422, "invalid-body"),
        (tasks(r#"["x","me",5,"default","plan",{},null,1000,1,null]"#), 422, "invalid-body"),
        (tasks(r#"{"goal":"x","plan":{"steps":[["a","g","s",{},[],false]]}}"#), 422, "invalid-body"),
        (tasks(r#"{"goal":"x","plan":[[]]}"#), 422, "invalid-body"),
        (tasks(r#"{"goal":"x","budget":[1,1,1,"1s",1]}"#), 422, "invalid-body"),
        (tasks(r#"{"goal":"x","budget":{"tokens":9223372036854775808}}"#), 422, "invalid-body"),
        (tasks(&format!(r#"{{"goal":"x","{}":1}}"#, "y".repeat(100_000))), 422, "invalid-body"),
        (
            to(Method::POST, "/v1/tasks/t/cancel")
                .header("content-type", "application/json")
                .body(r#"["why"]"#),
            422,
            "invalid-body",
        ),
        (to(Method::GET, "/v1/dead-letters?since=9223372036854775808"), 400, "invalid-query"),
        (to(Method::GET, "/v1/dead-letters?before=253402300800000"), 400, "invalid-query"),
        (to(Method::GET, "/v1/dead-letters/export?since=253402300800000"), 400, "invalid-query"),
        (to(Method::GET, "/v1/settings/lanes?version=9223372036854775808"), 400, "invalid-query"),
    ];
    for (request, status, code) in cases {
        let what = format!("{request:?}");
        assert_eq!(problem(request).await, (status, code.to_owned()), "{what}");
    }
    gateway.stopped().await;
}

/// Goal: a mistake is named in the words of JSON, with its place. Method: arrays for objects, at the top and below,
/// and a number where a word is expected.
#[tokio::test]
async fn a_wrong_body_is_explained_without_the_names_of_rust() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    for (body, expected) in [
        (r#"["x","me",5,"default","plan",{}]"#, "the body must be an object, and is an array"),
        ("7", "the body must be an object, and is a number"),
        (r#"{"goal":"x","plan":[[]]}"#, "`plan` must be an object, and is an array"),
        (r#"{"goal":"x","priority":"high"}"#, "expected a whole number"),
        (r#"{"goal":"x","plan":{"steps":[{"step":"a"}]}}"#, "`plan.steps[0]`: missing field `goal`"),
        (r#"{"goal":"x","budget":[1,1]}"#, "`budget`"),
    ] {
        let request = Client::new().post(format!("{}/v1/tasks", gateway.url));
        let request = request.header("content-type", "application/json").body(body);
        let (status, problem) = json(request.send().await.unwrap()).await;
        let detail = problem["detail"].as_str().unwrap();
        assert_eq!((status, problem["code"].as_str()), (422, Some("invalid-body")), "{problem}");
        assert!(detail.contains(expected), "{body}: {detail}");
        assert!(!["struct", "enum", "element", "Rust"].iter().any(|word| detail.contains(word)), "{detail}");
    }
    gateway.stopped().await;
}
