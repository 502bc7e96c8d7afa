//! Settings that apply while the system runs.

use bus_schemas::commands::settings::Description;
use bus_schemas::views::silent::Silent;
use bus_schemas::{EntityAddress, Key};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The version to show.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ShowSettings {
    /// The version; 0 for the defaults. Default: the active version.
    #[serde(deserialize_with = "bus_schemas::wire::int64", default)]
    pub version: Option<u64>,
}

/// A new version of settings.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewVersion {
    /// The document. What it leaves out has its default; durations are text, such as `30s`.
    pub value: Value,
    /// The reason, for people.
    pub reason: String,
    /// Whether to activate the version at once. Default: false.
    #[serde(default)]
    pub activate: bool,
}

/// The version to activate.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Activation {
    /// The version; 0 for the defaults.
    #[serde(deserialize_with = "bus_schemas::wire::some_int64")]
    pub version: u64,
    /// The reason, for people.
    pub reason: String,
}

/// The reason for activating the former version again.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rollback {
    /// The reason, for people.
    pub reason: String,
}

/// The result of a change.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct SettingsChanged {
    /// The name of the settings.
    pub name: Key,
    /// The version that was made or activated; 0 for the defaults.
    pub version: u64,
    /// Whether the version is active.
    pub active: bool,
    /// The version that was active before; null when nothing was activated.
    pub former: Option<u64>,
}

/// All settings with their active versions, and who runs which.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct SettingsList {
    /// The settings, by name.
    pub settings: Vec<RunningSettings>,
    /// Lanes, breakers and settings that did not answer.
    #[serde(default)]
    pub silent: Vec<Silent>,
    /// The number of lanes and breakers that were not asked: at most 200 of each are, by name.
    #[serde(default)]
    pub left_out: u64,
}

/// Settings, with the version that each host and entity runs.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct RunningSettings {
    /// The active version, and which host runs which.
    #[serde(flatten)]
    pub settings: Description,
    /// The version that each lane or breaker runs.
    pub entities: Vec<EntityVersion>,
}

/// The version that a lane or a breaker runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EntityVersion {
    /// The lane or the breaker, as `<kind>/<key>`.
    #[serde(with = "bus_schemas::address_text")]
    #[schemars(with = "String")]
    pub entity: EntityAddress,
    /// The version; 0 for the defaults, or for what was set by hand while the defaults are active; null for
    /// an entity that was not told a version yet.
    pub version: Option<u64>,
}
