//! Events of `settings`. Subject `<prefix>.evt.settings.<name>`, ordered per name. Consumers: hosts, which
//! apply their settings without a restart. Since v0.2.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use smol_str::SmolStr;

use crate::ids::{Key, Kind, Timestamp};

/// An event of settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::IntoStaticStr)]
#[serde(tag = "type", rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Event {
    /// A version was proposed; it is not active yet.
    Proposed {
        /// The number of the version, from 1.
        version: u64,
        /// The document.
        value: Value,
        /// The reason.
        reason: String,
        /// The caller who asked for it.
        by: String,
        /// The time of the event.
        at: Timestamp,
    },
    /// A version was activated in place of the former one.
    Activated {
        /// The active version; 0 for the defaults.
        version: u64,
        /// The version that was active before.
        former: u64,
        /// The reason.
        reason: String,
        /// The caller who asked for it.
        by: String,
        /// The time of the event.
        at: Timestamp,
    },
    /// A rollback activated the previously active version again.
    RolledBack {
        /// The active version; 0 for the defaults.
        version: u64,
        /// The version that was active before.
        former: u64,
        /// The reason.
        reason: String,
        /// The caller who asked for it.
        by: String,
        /// The time of the event.
        at: Timestamp,
    },
    /// An entity is told of activations from now on.
    Watched {
        /// The kind of the entity.
        kind: Kind,
        /// The key of the entity.
        key: Key,
        /// The time of the event.
        at: Timestamp,
    },
    /// An entity is no longer told of activations.
    Unwatched {
        /// The kind of the entity.
        kind: Kind,
        /// The key of the entity.
        key: Key,
        /// The time of the event.
        at: Timestamp,
    },
    /// A host runs another version than before, or failed to.
    Applied {
        /// The host.
        host: SmolStr,
        /// The version that it was told to run.
        version: u64,
        /// Why it could not and still runs the previous one; empty if it could.
        problem: String,
        /// The time of the event.
        at: Timestamp,
    },
}
crate::wire::wire_event!(Event, "settings", 1);
