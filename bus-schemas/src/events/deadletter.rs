//! Events of `deadletter`. Subject `<prefix>.evt.deadletter.<entry>`, ordered per entry.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::commands::deadletter::Entry;

/// What happened to a dead letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::IntoStaticStr)]
#[serde(tag = "type", rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Event {
    /// It arrived.
    Recorded {
        /// What, why, and from where.
        entry: Entry,
    },
}
crate::wire::wire_event!(Event, "deadletter", 1);
