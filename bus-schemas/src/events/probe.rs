//! Events of `probe`. Subject `<prefix>.evt.probe.<key>`, ordered per key.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What happened to a probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::IntoStaticStr)]
#[serde(tag = "type", rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Event {
    /// It counted one.
    Touched {
        /// How often it was touched so far.
        count: u64,
    },
}
crate::wire::wire_event!(Event, "probe", 1);
