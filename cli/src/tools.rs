//! What the agents in this process use: the models, the sandbox and the workspaces.

use std::path::Path;
use std::sync::Arc;

use actors_agents::{Sandboxes, Tools, Workspaces};
use actors_host::{Config, ConfigError};
use actors_models::Models;
use actors_sandbox::{Image, Kind};
use bus_schemas::Hash;

/// Programs that run in the sandbox at once.
const CAPACITY: u16 = 4;
/// Characters of the name of an installation at the engine.
const NAME_CHARACTERS: usize = 16;

/// Reads the file of the models, with the keys that it names, and looks at the images of the sandbox. Reports every
/// mistake.
pub fn load(config: &Config) -> Result<Tools, Vec<ConfigError>> {
    let models = match &config.models {
        None => Ok(Models::default()),
        Some(path) => Models::load(path).map_err(|reasons| {
            let hint = "correct the file that the setting names; docs/guides/use-models.md has an example";
            reasons.into_iter().map(|reason| mistake("models", reason, hint)).collect::<Vec<_>>()
        }),
    };
    let sandboxes = match &config.sandbox.images {
        None => Ok(Sandboxes::default()),
        Some(folder) => sandboxes(config, folder).map_err(|error| vec![error]),
    };
    let workspaces = Workspaces::new(&config.workspace.roots, &config.data_dir)
        .map_err(|error| vec![mistake("workspace.roots", bus_schemas::chain(&error), error.hint())]);
    match (models, sandboxes, workspaces) {
        (Ok(models), Ok(sandboxes), Ok(workspaces)) => Ok(Tools {
            models: Arc::new(models),
            sandboxes: Arc::new(sandboxes),
            workspaces: Arc::new(workspaces),
        }),
        (models, sandboxes, workspaces) => {
            Err([models.err(), sandboxes.err(), workspaces.err()].into_iter().flatten().flatten().collect())
        }
    }
}

/// The sandbox of the images in a folder. The engine is looked for when the first program is to run.
fn sandboxes(config: &Config, folder: &Path) -> Result<Sandboxes, ConfigError> {
    let open = |kind| Image::open(folder, kind);
    let python =
        open(Kind::Python).map_err(|error| mistake("sandbox.images", error.to_string(), error.hint()))?;
    // The image for Node is optional: without it, projects of Node have no tests that could run.
    let images = [Some((python, 1)), open(Kind::Node).ok().map(|node| (node, 0))];
    let data_dir = config.data_dir.canonicalize().unwrap_or_else(|_| config.data_dir.clone());
    let installation =
        Hash::of(data_dir.as_os_str().as_encoded_bytes()).to_hex()[..NAME_CHARACTERS].to_owned();
    Ok(Sandboxes::new(actors_sandbox::Config {
        socket: config.sandbox.socket.clone(),
        installation,
        capacity: CAPACITY,
        images: images.into_iter().flatten().collect(),
    }))
}

fn mistake(setting: &str, reason: String, hint: &str) -> ConfigError {
    ConfigError { setting: setting.to_owned(), reason, hint: hint.to_owned() }
}
