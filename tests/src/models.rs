//! Systems whose agents ask models that a test plays.

#[path = "../../actors/models/tests/redis/server.rs"]
pub mod redis;

use std::fmt::Write;
use std::sync::Arc;

use actors_agents::Tools;
use actors_host::Running;
use actors_models::Models;
pub use actors_models::scripted;
use bus_client::Bus;
use bus_schemas::commands::task::Query;
use bus_schemas::events::task::Event;
use bus_schemas::jobs::StepResult;
use bus_schemas::views::task::Task;
use bus_schemas::{EntityAddress, Key, Kind, Revision, upcast};
use serde_json::{Value, json};

use self::scripted::{Act, Scripted};
use crate::{Server, query, until_revision, view};

/// The key of every provider.
pub const KEY: &str = "sk-hunter2-hunter2";

/// Models that are these servers, in order.
pub fn models(server: &Server, models: &[&Scripted]) -> Arc<Models> {
    Arc::new(models_of(server, models, ""))
}

/// Models that are these servers, each with more lines in its part of the file.
pub fn models_of(server: &Server, models: &[&Scripted], more: &str) -> Models {
    let key = server.directory().join("key");
    std::fs::write(&key, KEY).expect("a file");
    let mut file = String::new();
    for (number, model) in models.iter().enumerate() {
        let _ = write!(
            file,
            "[[provider]]\nname = \"m{number}\"\nformat = \"chat\"\nurl = \"{}\"\nmodel = \"m\"\n\
             max_tokens = 100\ninput_price = 1.0\noutput_price = 2.0\nkey_file = \"{}\"\n{more}",
            model.url,
            key.display()
        );
    }
    let path = server.directory().join("models.toml");
    std::fs::write(&path, file).expect("a file");
    Models::load(&path).expect("a file of providers")
}

/// A system whose agents ask these servers.
pub async fn system(server: &Server, servers: &[&Scripted]) -> Running {
    server.host_of("a", &Tools { models: models(server, servers), ..Tools::default() }).await
}

/// A model that says this.
pub fn says(answer: &Value) -> Vec<Act> {
    scripted::chat(&answer.to_string(), "stop")
}

/// A model that asks for these tools, each with its arguments.
pub fn asks(calls: &[(&str, Value)]) -> Vec<Act> {
    let calls = calls.iter().enumerate().map(|(index, (name, arguments))| {
        let function = json!({"name": name, "arguments": arguments.to_string()});
        json!({"index": index, "id": format!("call-{index}"), "type": "function", "function": function})
    });
    scripted::streamed(&json!({"tool_calls": calls.collect::<Vec<_>>()}), "tool_calls")
}

/// A model that runs into its bound.
pub fn is_cut() -> Vec<Act> {
    scripted::chat("{", "length")
}

/// The result of each recorded step of a task, as the log holds it.
pub async fn recorded(bus: &Bus, key: &str) -> Vec<StepResult> {
    let entity = EntityAddress::new(Kind::from_static("task"), Key::parse(key).expect("a test's key"));
    // A task answers before the event stream has its end.
    let task: Task = view(bus, &query(key, &Query::Describe)).await.expect("a task");
    until_revision(bus, &entity, task.revision).await;
    let events = bus.history(&entity, Revision(0), 0).await.expect("its events");
    let read = events.iter().map(|stored| {
        let event = &stored.event;
        upcast::read::<Event>(&event.event_type, event.schema, &event.body).expect("an event of ours")
    });
    let steps = read.filter_map(|event| match event {
        Event::StepRecorded { step, .. } => Some(step),
        _ => None,
    });
    steps.collect()
}
