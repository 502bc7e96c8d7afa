//! Events of `halt`. Subject `<prefix>.evt.halt.<scope>`, ordered per scope. Consumers: workers,
//! which stop what they do before their lane tells them to; hosts and gateways, which refuse new work.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::{Key, Timestamp};

/// What happened to a halt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::IntoStaticStr)]
#[serde(tag = "type", rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Event {
    /// The scope stands still.
    Halted {
        /// Why.
        reason: String,
        /// Who.
        by: String,
        /// How long running work has to end by itself, in milliseconds.
        grace_ms: u64,
        /// When.
        at: Timestamp,
    },
    /// Work goes on.
    Lifted {
        /// Why.
        reason: String,
        /// Who.
        by: String,
        /// Jobs that may begin in a minute, in each lane, at first.
        per_minute: Option<u32>,
        /// When.
        at: Timestamp,
    },
    /// A lane wants to hear of it.
    Watched {
        /// The lane.
        lane: Key,
    },
}
crate::wire::wire_event!(Event, "halt", 1);
