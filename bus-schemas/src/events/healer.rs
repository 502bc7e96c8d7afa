//! Events of `healer`. Subject `<prefix>.evt.healer.<key>`, ordered per healer. Consumers: people, with
//! `orrery heal log`; every host, which refuses commands for quarantined entities. Since v0.2.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::commands::healer::Act;
use crate::ids::{EntityAddress, Timestamp};

/// An event of a healer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::IntoStaticStr)]
#[serde(tag = "type", rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Event {
    /// An action or an observation.
    Acted(Act),
    /// An entity was quarantined: it takes no commands.
    Quarantined {
        /// The entity.
        entity: EntityAddress,
        /// The reason.
        reason: String,
        /// The caller who asked for it.
        by: String,
        /// The evidence for it.
        evidence: BTreeMap<SmolStr, String>,
        /// The time of the event.
        at: Timestamp,
    },
    /// An entity was released: it takes commands again.
    Released {
        /// The entity.
        entity: EntityAddress,
        /// The reason.
        reason: String,
        /// The caller who asked for it.
        by: String,
        /// The time of the event.
        at: Timestamp,
    },
}
crate::wire::wire_event!(Event, "healer", 1);
