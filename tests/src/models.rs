//! Systems whose agents ask models that a test plays.

#[path = "../../actors/models/tests/wire/server.rs"]
pub mod scripted;

use std::fmt::Write;
use std::sync::Arc;

use actors_agents::Tools;
use actors_host::Running;
use actors_models::Models;
use serde_json::{Value, json};

use self::scripted::{Act, Scripted, head};
use crate::Server;

/// The key of every provider.
pub const KEY: &str = "sk-hunter2-hunter2";

/// Models that are these servers, in order.
pub fn models(server: &Server, models: &[&Scripted]) -> Arc<Models> {
    let key = server.directory().join("key");
    std::fs::write(&key, KEY).expect("a file");
    let mut file = String::new();
    for (number, model) in models.iter().enumerate() {
        let _ = write!(
            file,
            "[[provider]]\nname = \"m{number}\"\nformat = \"chat\"\nurl = \"{}\"\nmodel = \"m\"\n\
             max_tokens = 100\ninput_price = 1.0\noutput_price = 2.0\nkey_file = \"{}\"\n",
            model.url,
            key.display()
        );
    }
    let path = server.directory().join("models.toml");
    std::fs::write(&path, file).expect("a file");
    Arc::new(Models::load(&path).expect("a file of providers"))
}

/// A system whose agents ask these servers.
pub async fn system(server: &Server, servers: &[&Scripted]) -> Running {
    server.host_of("a", &Tools { models: models(server, servers), ..Tools::default() }).await
}

/// A model that says this.
pub fn says(answer: &Value) -> Vec<Act> {
    let body = json!({"model": "m-1", "choices": [{"index": 0, "delta": {"content": answer.to_string()}}]});
    let end = json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]});
    let usage = json!({"choices": [], "usage": {"prompt_tokens": 20, "completion_tokens": 7}});
    let frames = [body, end, usage].map(|frame| format!("data: {frame}\n\n")).concat();
    vec![
        head("200 OK", "text/event-stream", ""),
        Act::Write(format!("{frames}data: [DONE]\n\n").into_bytes()),
    ]
}
