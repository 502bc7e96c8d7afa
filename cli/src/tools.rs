//! What the agents in this process use: the models, the sandbox and the workspaces.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use actors_agents::{CodeWrite, Sandboxes, Tools, Workspaces};
use actors_host::{Config, ConfigError};
use actors_models::{Cache, Library, Models};
use actors_sandbox::{Image, Keeper, Kind};
use actors_web::Web;
use bus_schemas::Hash;

/// Programs that run in the sandbox at once.
const CAPACITY: u16 = 4;
/// Characters of the name of an installation at the engine.
const NAME_CHARACTERS: usize = 16;

/// Reads the file of the models with the keys that it names, and the prompts, and looks at the images of the sandbox.
/// Reports every mistake.
pub fn load(config: &Config) -> Result<Tools, Vec<ConfigError>> {
    load_as(config, installation(config))
}

/// The name of an installation at the engine.
pub fn installation(config: &Config) -> String {
    let data_dir = config.data_dir.canonicalize().unwrap_or_else(|_| config.data_dir.clone());
    Hash::of(data_dir.as_os_str().as_encoded_bytes()).to_hex()[..NAME_CHARACTERS].to_owned()
}

/// As [`load`], with the name of the installation at the engine: a process removes there what has its name.
pub fn load_as(config: &Config, installation: String) -> Result<Tools, Vec<ConfigError>> {
    let models = match (models(config), library(config), cache(config)) {
        (Ok(models), Ok(library), Ok(cache)) => {
            Ok(models.with_prompts(library).cached_in(cache).screening(config.defence.detector))
        }
        (models, library, cache) => {
            Err([models.err(), library.err(), cache.err()].into_iter().flatten().flatten().collect())
        }
    };
    let sandboxes = sandboxes(config, installation).map_err(|error| vec![error]);
    let workspaces = Workspaces::new(&config.workspace.roots, &config.data_dir)
        .map_err(|error| vec![mistake("workspace.roots", bus_schemas::chain(&error), error.hint())]);
    let code_write = code_write(config).map_err(|error| vec![error]);
    let web = web(config).map_err(|error| vec![error]);
    match (models, sandboxes, workspaces, code_write, web) {
        (Ok(models), Ok(sandboxes), Ok(workspaces), Ok(code_write), Ok(web)) => Ok(Tools {
            models: Arc::new(models),
            sandboxes: Arc::new(sandboxes),
            workspaces: Arc::new(match code_write {
                Some(rules) => workspaces.writable(rules),
                None => workspaces,
            }),
            web: Arc::new(web),
        }),
        (models, sandboxes, workspaces, code_write, web) => {
            let mistakes = [models.err(), sandboxes.err(), workspaces.err(), code_write.err(), web.err()];
            Err(mistakes.into_iter().flatten().flatten().collect())
        }
    }
}

/// The rules of changes that people approve; none where there are no changes.
fn code_write(config: &Config) -> Result<Option<CodeWrite>, ConfigError> {
    let settings = &config.code_write;
    if !settings.enabled {
        return Ok(None);
    }
    let rules = CodeWrite::new(&settings.allowed, &settings.forbidden, settings.file_bytes_max)
        .and_then(|rules| rules.owning(&settings.own))
        .map_err(|error| mistake("code_write", bus_schemas::chain(&error), error.hint()))?;
    Ok(Some(rules.answered_by(settings.approvers.clone(), settings.answer_within.as_ms())))
}

/// The web, as far as the settings allow it.
fn web(config: &Config) -> Result<Web, ConfigError> {
    let settings = actors_web::Settings {
        search_url: config.web.search_url.clone(),
        fetch: config.web.fetch,
        allowed_hosts: config.web.allowed_hosts.clone(),
        cache_age: Duration::from_millis(config.web.cache_age.as_ms()),
    };
    let hint = "docs/configuration.md says what the setting can be";
    Web::new(&settings).map_err(|(setting, reason)| mistake(setting, reason, hint))
}

fn models(config: &Config) -> Result<Models, Vec<ConfigError>> {
    let Some(path) = &config.models else { return Ok(Models::default()) };
    let hint = "correct the file that the setting names; docs/guides/use-models.md has an example";
    Models::load(path).map_err(|reasons| mistakes("models", reasons, hint))
}

/// The prompts that the program ships, and those in the folder of the operator.
pub fn library(config: &Config) -> Result<Library, Vec<ConfigError>> {
    let hint = "correct the folder that the setting names; docs/guides/use-models.md says what is in it";
    let read = Library::load(&actors_agents::prompts(), config.prompts.as_deref());
    read.map_err(|reasons| mistakes("prompts", reasons, hint))
}

fn cache(config: &Config) -> Result<Cache, Vec<ConfigError>> {
    let hint = "docs/configuration.md says what the setting can be";
    let (mut setting, mut url) = ("cache.redis_url", config.cache.redis_url.clone());
    if let Some(path) = &config.cache.redis_url_file {
        setting = "cache.redis_url_file";
        let read = std::fs::read_to_string(path);
        let text = read.map_err(|error| {
            mistakes(setting, vec![format!("`{}` cannot be read: {error}", path.display())], hint)
        })?;
        url = Some(text.lines().next().unwrap_or_default().trim().to_owned());
    }
    let age = Duration::from_millis(config.cache.age.as_ms());
    Cache::new(url.as_deref(), age).map_err(|reason| mistakes(setting, vec![reason], hint))
}

fn mistakes(setting: &str, reasons: Vec<String>, hint: &str) -> Vec<ConfigError> {
    reasons.into_iter().map(|reason| mistake(setting, reason, hint)).collect()
}

/// The sandbox of a keeper: that of the setting, or one of this process where there are images. The engine is looked for
/// when the first program is to run.
fn sandboxes(config: &Config, installation: String) -> Result<Sandboxes, ConfigError> {
    let keeper = match (&config.sandbox.keeper, &config.sandbox.images) {
        (Some(socket), _) => Keeper::At(socket.clone()),
        (None, Some(folder)) => keeper(config, folder, installation)?.into(),
        (None, None) => return Ok(Sandboxes::default()),
    };
    if let Some(path) = config.sandbox.advisories.as_ref().filter(|path| !path.is_file()) {
        let reason = format!("there is no file `{}`", path.display());
        let hint = "name a file of OSV, or none; docs/guides/use-the-sandbox.md says where to get one";
        return Err(mistake("sandbox.advisories", reason, hint));
    }
    Ok(Sandboxes::new(keeper).advisories_of(config.sandbox.advisories.clone()))
}

/// What a keeper of the images in a folder needs to know.
pub fn keeper(
    config: &Config,
    folder: &Path,
    installation: String,
) -> Result<actors_sandbox::Config, ConfigError> {
    let open = |kind| Image::open(folder, kind);
    let python =
        open(Kind::Python).map_err(|error| mistake("sandbox.images", error.to_string(), error.hint()))?;
    // The image for Node is optional: without it, projects of Node have no tests that could run.
    let images = [Some((python, 1)), open(Kind::Node).ok().map(|node| (node, 0))];
    Ok(actors_sandbox::Config {
        socket: config.sandbox.socket.clone(),
        installation,
        capacity: CAPACITY,
        images: images.into_iter().flatten().collect(),
        base_image: config.sandbox.base_image.clone(),
    })
}

fn mistake(setting: &str, reason: String, hint: &str) -> ConfigError {
    ConfigError { setting: setting.to_owned(), reason, hint: hint.to_owned() }
}
