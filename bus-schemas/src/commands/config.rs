//! Commands for `config`: settings that are changed while the system runs. The key is their name:
//! one of [`crate::settings::names`].

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use smol_str::SmolStr;

use crate::ids::{EntityAddress, Key, Kind, Timestamp};

/// What settings can be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Command {
    /// Makes a new version. Nothing runs with it until it is activated. The reply is a [`Proposed`].
    Propose {
        /// The document.
        value: Value,
        /// Why.
        reason: String,
        /// Who.
        #[serde(default)]
        by: String,
    },
    /// From now on this version holds, and the former one no longer. The reply is an [`Active`].
    Activate {
        /// Which; 0 for the defaults.
        version: u64,
        /// Why.
        reason: String,
        /// Who.
        #[serde(default)]
        by: String,
    },
    /// The version that held before the active one holds again. The reply is an [`Active`].
    Rollback {
        /// Why.
        reason: String,
        /// Who.
        #[serde(default)]
        by: String,
    },
    /// From an entity: it wants to be told by `apply-config`, now and at each activation. Once more,
    /// and it is told once more.
    Watch {
        /// Its kind.
        kind: Kind,
        /// Its key.
        key: Key,
    },
    /// It no longer wants to be told.
    Unwatch {
        /// Its kind.
        kind: Kind,
        /// Its key.
        key: Key,
    },
    /// From a host: which version it runs.
    ReportApplied {
        /// The host.
        host: SmolStr,
        /// What it was told to run.
        version: u64,
        /// Why it could not, and runs what it ran before; empty where it does.
        #[serde(default)]
        problem: String,
    },
    /// Timer: more watchers are to be told than one record should hold.
    Tell {
        /// The version that they are told.
        version: u64,
        /// The last one that was told.
        after: EntityAddress,
    },
}
crate::wire::wire_command!(Command, "config");

/// What settings answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::VariantNames)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
#[strum(serialize_all = "kebab-case")]
pub enum Query {
    /// Answers with a [`Description`].
    Describe {
        /// The version whose document is wanted; none for the active one.
        #[serde(default)]
        version: Option<u64>,
    },
    /// Answers with a [`History`].
    #[serde(deserialize_with = "crate::wire::no_fields")]
    History,
}
crate::wire::wire_query!(Query, "config");

/// The result in the reply to [`Command::Propose`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Proposed {
    /// The new version.
    pub version: u64,
}

/// The result in the reply to [`Command::Activate`] and [`Command::Rollback`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Active {
    /// The version that holds now; 0 for the defaults.
    pub version: u64,
    /// The one that held before.
    pub former: u64,
}

/// Settings as they are now, and the document of one version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Description {
    /// Their name.
    pub name: SmolStr,
    /// The version that holds; 0 for the defaults.
    pub active: u64,
    /// The version that a rollback brings back; none when there is nothing to go back to.
    pub former: Option<u64>,
    /// The newest version, whether it ever held or not; 0 when there is none.
    pub newest: u64,
    /// The version that is described here.
    pub version: u64,
    /// Its document, as it was proposed: what it leaves out has its default.
    pub value: Value,
    /// Who proposed it, why and when; none for the defaults.
    pub proposed: Option<Word>,
    /// Which host runs which version, by name. Only hosts that apply these settings themselves.
    pub hosts: Vec<HostVersion>,
    /// How many entities are told of each activation.
    pub watchers: u64,
}

/// Who did something, why and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Word {
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When: milliseconds since 1970.
    pub at: Timestamp,
}

/// What a host runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HostVersion {
    /// The host.
    pub host: SmolStr,
    /// What it was told to run.
    pub version: u64,
    /// Why it could not, and runs what it ran before; empty where it does.
    #[serde(default)]
    pub problem: String,
    /// When it said so: milliseconds since 1970.
    pub at: Timestamp,
}

/// The result in the reply to [`Query::History`]: what was done to settings, oldest first. The last
/// 256 changes; all of them are events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct History {
    /// Their name.
    pub name: SmolStr,
    /// The version that holds; 0 for the defaults.
    pub active: u64,
    /// What was done.
    pub changes: Vec<Change>,
}

/// One thing that was done to settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// What.
    pub deed: Deed,
    /// To which version; 0 for the defaults.
    pub version: u64,
    /// The version that held before.
    pub former: u64,
    /// Whether the documents of both versions are still kept, so that they can be compared.
    #[serde(default)]
    pub kept: bool,
    /// Who, why and when.
    #[serde(flatten)]
    pub word: Word,
}

/// What can be done to a version.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    JsonSchema,
    strum::IntoStaticStr,
    strum::Display,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Deed {
    /// It was made.
    Proposed,
    /// It was made the one that holds.
    Activated,
    /// It was brought back in place of a later one.
    RolledBack,
}
