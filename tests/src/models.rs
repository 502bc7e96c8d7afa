//! Systems whose agents ask models that a test plays.

#[path = "../../actors/models/tests/wire/server.rs"]
pub mod scripted;

use std::fmt::Write;
use std::sync::Arc;

use actors_host::{Config, Running};
use actors_models::Models;
use serde_json::{Value, json};

use self::scripted::{Act, Scripted, head};
use crate::Server;

/// The key of every provider.
pub const KEY: &str = "sk-hunter2-hunter2";

/// A system whose agents ask these servers, in order.
pub async fn system(server: &Server, models: &[&Scripted]) -> Running {
    actors_report::parse_by(crate::process::program());
    let key = server.directory().join("key");
    std::fs::write(&key, KEY).expect("a file");
    let mut file = String::new();
    for (number, model) in models.iter().enumerate() {
        let _ = write!(
            file,
            "[[provider]]\nname = \"m{number}\"\nformat = \"chat\"\nurl = \"{}\"\nmodel = \"m\"\n\
             max_tokens = 100\ninput_price = 1.0\noutput_price = 2.0\n\
             key_file = \"{}\"\n",
            model.url,
            key.display()
        );
    }
    let path = server.directory().join("models.toml");
    std::fs::write(&path, file).expect("a file");
    let models = Arc::new(Models::load(&path).expect("a file of providers"));
    let tools = actors_agents::Tools { models, ..actors_agents::Tools::default() };
    let config = Config {
        data_dir: server.directory().join("a"),
        nats: server.config(),
        host_name: Some("a".to_owned()),
        ..Config::default()
    };
    let running = actors_host::start(&config, actors_agents::shipped(&tools)).await.expect("the host starts");
    running.ready().await.expect("every partition answers");
    running
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
