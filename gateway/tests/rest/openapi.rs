//! The OpenAPI document against what the gateway takes and returns.

use serde_json::{Value, json};

use crate::get;
use crate::server::eventually;
use crate::world::World;

/// The OpenAPI document, as the gateway serves it.
struct Document(Value);

impl Document {
    async fn of(url: &str) -> Self {
        Self(get(url, "/v1/openapi.json").await.1)
    }

    /// Checks a value against a schema, whose references lead into the document.
    fn check(&self, schema: &Value, value: &Value, what: &str) {
        let whole = json!({"components": self.0["components"], "allOf": [schema]});
        let validator = jsonschema::validator_for(&whole).expect("the schema is sound");
        let errors: Vec<String> = validator.iter_errors(value).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{what}: {errors:?} in {value}");
    }

    /// Gets a page and checks it, the parameters of its query and the status against the document.
    async fn page(&self, url: &str, path: &str, query: &[(&str, &str)]) -> Value {
        let operation = &self.0["paths"][path]["get"];
        let parameters = operation["parameters"].as_array().expect("parameters");
        for (name, text) in query {
            let named = |parameter: &&Value| parameter["name"] == *name && parameter["in"] == "query";
            let parameter = parameters.iter().find(named).unwrap_or_else(|| panic!("{path} takes no {name}"));
            let value = match parameter["schema"]["type"].as_str() {
                Some("string") => json!(text),
                _ => serde_json::from_str(text).expect("a number or a word of JSON"),
            };
            self.check(&parameter["schema"], &value, &format!("{path}?{name}"));
        }
        let asked: Vec<String> = query.iter().map(|(name, text)| format!("{name}={text}")).collect();
        let (status, page) = get(url, &format!("{path}?{}", asked.join("&"))).await;
        let response = &operation["responses"][status.to_string()];
        self.check(&response["content"]["application/json"]["schema"], &page, path);
        page
    }
}

/// Goal: a client that checks by the document accepts what the gateway returns, and may send it back. Method:
/// pages of tasks and of events, and the next pages with the cursors of the first.
#[tokio::test]
async fn what_is_returned_is_within_the_document() {
    let world = World::new().await;
    for number in 1..=3 {
        world.submit(&format!("t{number}"), "me").await;
    }
    let gateway = world.gateway().await;
    eventually("three tasks", async || {
        let (_, page) = get(&gateway.url, "/v1/tasks").await;
        (page["tasks"].as_array()?.len() == 3).then_some(())
    })
    .await;
    let document = Document::of(&gateway.url).await;
    for (path, next, sent) in [("/v1/tasks", "next_cursor", "cursor"), ("/v1/events", "cursor", "after")] {
        let first = document.page(&gateway.url, path, &[("limit", "2")]).await;
        let cursor = first[next].as_str().unwrap_or_else(|| panic!("no cursor in {first}"));
        let second = document.page(&gateway.url, path, &[("limit", "2"), (sent, cursor)]).await;
        let rows = second.as_object().expect("a page").values().find_map(Value::as_array);
        assert_eq!(rows.map(Vec::len), Some(1), "{second}");
    }
    gateway.stopped().await;
}
