//! Systems whose agents run programs in the sandbox, on an engine of the tests.

#[path = "../../actors/sandbox/tests/escapes/engine.rs"]
pub mod engine;

use std::path::PathBuf;
use std::sync::Arc;

use actors_agents::{Sandboxes, Tools};
use actors_host::Running;
use actors_sandbox::{Image, Kind};

use crate::Server;

/// A sandbox with the images of `make tools`.
pub fn sandboxes(installation: &str) -> Arc<Sandboxes> {
    actors_sandbox::keep_by(crate::process::program());
    sandboxes_at(installation, engine::socket())
}

/// The same at an engine that another process has started. This one is its own keeper's program.
pub fn sandboxes_at(installation: &str, socket: String) -> Arc<Sandboxes> {
    Arc::new(of(installation, socket, None))
}

/// The same, with a file of advisories and the Python image as a base image.
pub fn provided(installation: &str, advisories: PathBuf) -> Arc<Sandboxes> {
    actors_sandbox::keep_by(crate::process::program());
    Arc::new(of(installation, engine::socket(), Some(base())).advisories_of(Some(advisories)))
}

/// The name that the engine has for the Python image.
pub fn base() -> String {
    let image = Image::open(&engine::images(), Kind::Python).expect("`make tools` builds the images");
    format!("orrery-sandbox/python:{}", &image.hash[..32])
}

fn of(installation: &str, socket: String, base_image: Option<String>) -> Sandboxes {
    let images = [Kind::Python, Kind::Node];
    let images =
        images.map(|kind| (Image::open(&engine::images(), kind).expect("`make tools` builds the images"), 0));
    Sandboxes::new(actors_sandbox::Config {
        socket: Some(socket),
        installation: installation.to_owned(),
        capacity: 4,
        images: images.to_vec(),
        base_image,
    })
}

/// A system whose agents have a sandbox.
pub async fn system(server: &Server, installation: &str) -> Running {
    server.host_of("a", &Tools { sandboxes: sandboxes(installation), ..Tools::default() }).await
}
