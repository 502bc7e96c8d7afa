//! Events of `probe`. Subject `<prefix>.evt.probe.<key>`, ordered per key.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An event of a probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::IntoStaticStr)]
#[serde(tag = "type", rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Event {
    /// The count rose by one.
    Touched {
        /// The new count.
        count: u64,
    },
}
crate::wire::wire_event!(Event, "probe", 1);
