//! The models of the agents in this process.

use std::sync::Arc;

use actors_host::{Config, ConfigError};
use actors_models::Models;

/// Reads the file that the setting `models` names, with the keys that the file names. Reports every mistake.
pub fn load(config: &Config) -> Result<Arc<Models>, Vec<ConfigError>> {
    let Some(path) = &config.models else { return Ok(Arc::default()) };
    let mistake = |reason| ConfigError {
        setting: "models".to_owned(),
        reason,
        hint: "correct the file that the setting names; docs/guides/use-models.md has an example".to_owned(),
    };
    let mistakes = |reasons: Vec<String>| reasons.into_iter().map(mistake).collect();
    Models::load(path).map(Arc::new).map_err(mistakes)
}
