//! Events of `config`. Subject `<prefix>.evt.config.<name>`, ordered per name. Consumers: hosts, which
//! apply what is theirs without a restart. Since v0.2.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use smol_str::SmolStr;

use crate::ids::{Key, Kind, Timestamp};

/// What happened to settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::IntoStaticStr)]
#[serde(tag = "type", rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Event {
    /// There is a new version; nothing runs with it yet.
    Proposed {
        /// Its number: they count up from 1.
        version: u64,
        /// The document.
        value: Value,
        /// Why.
        reason: String,
        /// Who.
        by: String,
        /// When.
        at: Timestamp,
    },
    /// A version holds, and the former one no longer.
    Activated {
        /// Which holds; 0 for the defaults.
        version: u64,
        /// Which held before.
        former: u64,
        /// Why.
        reason: String,
        /// Who.
        by: String,
        /// When.
        at: Timestamp,
    },
    /// The version that held before the active one holds again.
    RolledBack {
        /// Which holds; 0 for the defaults.
        version: u64,
        /// Which held before.
        former: u64,
        /// Why.
        reason: String,
        /// Who.
        by: String,
        /// When.
        at: Timestamp,
    },
    /// An entity is told from now on.
    Watched {
        /// Its kind.
        kind: Kind,
        /// Its key.
        key: Key,
        /// When.
        at: Timestamp,
    },
    /// An entity is no longer told.
    Unwatched {
        /// Its kind.
        kind: Kind,
        /// Its key.
        key: Key,
        /// When.
        at: Timestamp,
    },
    /// A host runs another version than before, or can not.
    Applied {
        /// The host.
        host: SmolStr,
        /// What it was told to run.
        version: u64,
        /// Why it could not, and runs what it ran before; empty where it does.
        problem: String,
        /// When.
        at: Timestamp,
    },
}
crate::wire::wire_event!(Event, "config", 1);
