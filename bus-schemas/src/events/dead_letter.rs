//! Events of `dead-letter`. Subject `<prefix>.evt.dead-letter.<entry>`, ordered per entry. Consumers:
//! projections, the sender of notifications.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::commands::dead_letter::Entry;
use crate::ids::{CommandId, EntityAddress, Key, Timestamp};
use crate::payload::Payload;

/// An event of a dead letter.
#[expect(
    clippy::large_enum_variant,
    reason = "one lives for a moment, and boxes would show in the schema's users"
)]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::IntoStaticStr)]
#[serde(tag = "type", rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Event {
    /// The dead letter was recorded.
    Recorded {
        /// What could not be done, why, and where it came from.
        entry: Entry,
    },
    /// Its payload was edited. Since v0.2.
    Edited {
        /// The number of the edit, from 1.
        version: u32,
        /// The payload to send.
        payload: Payload,
        /// The receiver, if it was changed.
        to: Option<EntityAddress>,
        /// The caller who asked for it.
        by: String,
        /// The reason.
        reason: String,
        /// The time of the event.
        at: Timestamp,
    },
    /// The command was sent again. Since v0.2.
    RedriveStarted {
        /// The id of this try.
        redrive: CommandId,
        /// The number of this try, from 1.
        number: u32,
        /// The receiver: from the entry, or from an edit.
        to: EntityAddress,
        /// The redrive it is part of, if there is one.
        in_redrive: Option<Key>,
        /// The caller who asked for it.
        by: String,
        /// The reason.
        reason: String,
        /// The time of the event.
        at: Timestamp,
    },
    /// The command was done: final unless it fails again. Since v0.2.
    Redriven {
        /// The time of the event.
        at: Timestamp,
    },
    /// The command failed again, and the dead letter waits. Since v0.2.
    Returned {
        /// A stable code for programs.
        code: SmolStr,
        /// The reason, for people.
        reason: String,
        /// How many attempts were made this time.
        attempts: u32,
        /// The time of the event.
        at: Timestamp,
    },
    /// The dead letter was given up: final unless it fails again. Since v0.2.
    Dropped {
        /// The caller who asked for it.
        by: String,
        /// The reason.
        reason: String,
        /// The time of the event.
        at: Timestamp,
    },
}
crate::wire::wire_event!(Event, "dead-letter", 1);
