//! Systems whose agents run programs in the sandbox, on an engine of the tests.

#[path = "../../actors/sandbox/tests/escapes/engine.rs"]
pub mod engine;

use std::sync::Arc;

use actors_agents::{Sandboxes, Tools};
use actors_host::{Config, Running};
use actors_sandbox::{Image, Kind};

use crate::Server;

/// A system whose agents have a sandbox.
pub async fn system(server: &Server, installation: &str) -> Running {
    actors_report::parse_by(crate::process::program());
    let images = [Kind::Python, Kind::Node];
    let images =
        images.map(|kind| (Image::open(&engine::images(), kind).expect("`make tools` builds the images"), 0));
    let sandboxes = Sandboxes::new(actors_sandbox::Config {
        socket: Some(engine::socket()),
        installation: installation.to_owned(),
        capacity: 4,
        images: images.to_vec(),
    });
    let tools = Tools { sandboxes: Arc::new(sandboxes), ..Tools::default() };
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
