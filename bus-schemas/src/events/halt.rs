//! Events of `halt`. Subject `<prefix>.evt.halt.<scope>`, ordered per scope. Consumers: workers, which stop
//! their work before their lane tells them to; hosts and gateways, which refuse new work.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::{Key, Timestamp};

/// An event of a halt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::IntoStaticStr)]
#[serde(tag = "type", rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Event {
    /// The scope is halted.
    Halted {
        /// The reason.
        reason: String,
        /// The caller who asked for it.
        by: String,
        /// How long running work has to end by itself, in milliseconds.
        grace_ms: u64,
        /// The time of the event.
        at: Timestamp,
    },
    /// The halt ended.
    Resumed {
        /// The reason.
        reason: String,
        /// The caller who asked for it.
        by: String,
        /// Jobs per minute that may begin at first, in each lane.
        per_minute: Option<u32>,
        /// The time of the event.
        at: Timestamp,
    },
    /// A lane is told of this halt.
    Watched {
        /// The lane.
        lane: Key,
    },
}
crate::wire::wire_event!(Event, "halt", 1);
