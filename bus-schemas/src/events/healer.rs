//! Events of `healer`. Subject `<prefix>.evt.healer.<key>`, ordered per healer. Consumers: people, by
//! `orrery heal log`; every host, which keeps quarantined entities from commands. Since v0.2.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::commands::healer::Act;
use crate::ids::{EntityAddress, Timestamp};

/// What a healer did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::IntoStaticStr)]
#[serde(tag = "type", rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Event {
    /// Something was done, or seen.
    Acted(Act),
    /// An entity takes no commands.
    Quarantined {
        /// The entity.
        entity: EntityAddress,
        /// Why.
        reason: String,
        /// Who.
        by: String,
        /// What it was concluded from.
        evidence: BTreeMap<SmolStr, String>,
        /// When.
        at: Timestamp,
    },
    /// An entity takes commands again.
    Released {
        /// The entity.
        entity: EntityAddress,
        /// Why.
        reason: String,
        /// Who.
        by: String,
        /// When.
        at: Timestamp,
    },
}
crate::wire::wire_event!(Event, "healer", 1);
