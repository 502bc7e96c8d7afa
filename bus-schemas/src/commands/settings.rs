//! Commands for `settings`: settings that change while the system runs. The key is their name, one of
//! [`crate::settings::names`].

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use smol_str::SmolStr;
use strum::{Display, IntoStaticStr, VariantNames};

use crate::ids::{EntityAddress, Key, Kind, Timestamp};

/// A command for settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Command {
    /// Adds a new version, which is not used until it is activated. The reply is a [`Proposed`].
    Propose {
        /// The document.
        value: Value,
        /// The reason.
        reason: String,
    },
    /// Makes a version the active one. The reply is an [`Active`].
    Activate {
        /// The version; 0 for the defaults.
        version: u64,
        /// The reason.
        reason: String,
    },
    /// Activates the previously active version again. The reply is an [`Active`].
    Rollback {
        /// The reason.
        reason: String,
    },
    /// From an entity: it wants to be told by `apply-settings`, now and at each activation. A repeat tells it
    /// once more.
    Watch {
        /// The kind of the entity.
        kind: Kind,
        /// The key of the entity.
        key: Key,
    },
    /// Ends a watch.
    Unwatch {
        /// The kind of the entity.
        kind: Kind,
        /// The key of the entity.
        key: Key,
    },
    /// From a host: the version that it runs.
    ReportApplied {
        /// The host.
        host: SmolStr,
        /// The version that it was told to run.
        version: u64,
        /// Why it could not and still runs the previous one; empty if it could.
        #[serde(default)]
        problem: String,
    },
    /// Timer: goes on telling watchers, of which there are more than one record should hold.
    Tell {
        /// The version that they are told.
        version: u64,
        /// The last watcher that was told.
        after: EntityAddress,
    },
}
crate::wire::wire_command!(Command, "settings");

/// A query of settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, VariantNames)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
#[strum(serialize_all = "kebab-case")]
pub enum Query {
    /// Answers with a [`Description`].
    Describe {
        /// The version whose document is wanted; the active one if absent.
        #[serde(default)]
        version: Option<u64>,
    },
    /// Answers with a [`History`].
    #[serde(deserialize_with = "crate::wire::no_fields")]
    History,
}
crate::wire::wire_query!(Query, "settings");

/// The result in the reply to [`Command::Propose`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Proposed {
    /// The new version.
    pub version: u64,
}

/// The result in the reply to [`Command::Activate`] and [`Command::Rollback`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Active {
    /// The active version; 0 for the defaults.
    pub version: u64,
    /// The version that was active before.
    pub former: u64,
}

/// The current state of settings, and the document of one version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Settings")]
pub struct Description {
    /// The name of the settings.
    pub name: SmolStr,
    /// The active version; 0 for the defaults.
    pub active: u64,
    /// The version that a rollback would activate; `null` if there is none.
    pub former: Option<u64>,
    /// The newest version, whether it was ever active or not; 0 if there is none.
    pub newest: u64,
    /// The version whose document this is.
    pub version: u64,
    /// The document as proposed: a missing field has its default.
    pub value: Value,
    /// Who proposed it, why and when; `null` for the defaults.
    pub proposed: Option<Word>,
    /// The version of each host, by host name. Only hosts that apply these settings themselves.
    pub hosts: Vec<HostVersion>,
    /// How many entities are told of each activation.
    pub watchers: u64,
}

/// Who made a change, why and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Word {
    /// The caller who asked for it.
    pub by: String,
    /// The reason.
    pub reason: String,
    /// When: milliseconds since 1970.
    pub at: Timestamp,
}

/// The version that a host runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HostVersion {
    /// The host.
    pub host: SmolStr,
    /// The version that it was told to run.
    pub version: u64,
    /// Why it could not and still runs the previous one; empty if it could.
    #[serde(default)]
    pub problem: String,
    /// When the host reported it, in milliseconds since 1970.
    pub at: Timestamp,
}

/// The answer to [`Query::History`]: the last 256 changes of settings, oldest first. All changes are events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "SettingsHistory")]
pub struct History {
    /// The name of the settings.
    pub name: SmolStr,
    /// The active version; 0 for the defaults.
    pub active: u64,
    /// The changes.
    pub changes: Vec<Change>,
}

/// One change of settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "SettingsChange")]
pub struct Change {
    /// The action.
    pub action: SettingsAction,
    /// The version; 0 for the defaults.
    pub version: u64,
    /// The version that was active before.
    pub former: u64,
    /// Whether the documents of both versions are still kept, so that they can be compared.
    #[serde(default)]
    pub kept: bool,
    /// Who made it, why and when.
    #[serde(flatten)]
    pub word: Word,
}

/// An action on a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, IntoStaticStr, Display)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum SettingsAction {
    /// A caller proposed the version.
    Proposed,
    /// A caller activated the version.
    Activated,
    /// A rollback activated the version in place of a later one.
    RolledBack,
}
