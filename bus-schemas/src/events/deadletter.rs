//! Events of `deadletter`. Subject `<prefix>.evt.deadletter.<entry>`, ordered per entry. Consumers:
//! projections, the sender of notifications.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::commands::deadletter::Entry;
use crate::ids::{CommandId, EntityAddress, Key, Timestamp};
use crate::payload::Payload;

/// What happened to a dead letter.
#[expect(
    clippy::large_enum_variant,
    reason = "one lives for a moment, and boxes would show in the schema's users"
)]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::IntoStaticStr)]
#[serde(tag = "type", rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Event {
    /// It arrived.
    Recorded {
        /// What, why, and from where.
        entry: Entry,
    },
    /// Something else is sent from now on. Since v0.2.
    Edited {
        /// Which edit, from 1.
        version: u32,
        /// What is sent.
        payload: Payload,
        /// For whom, where that was changed.
        to: Option<EntityAddress>,
        /// Who.
        by: String,
        /// Why.
        reason: String,
        /// When.
        at: Timestamp,
    },
    /// It is on its way again. Since v0.2.
    RedriveStarted {
        /// Names this redrive.
        redrive: CommandId,
        /// Which redrive, from 1.
        number: u32,
        /// To whom; kind and key as the entry has them, or as an edit changed them.
        to: EntityAddress,
        /// The campaign, if it belongs to one.
        campaign: Option<Key>,
        /// Who.
        by: String,
        /// Why.
        reason: String,
        /// When.
        at: Timestamp,
    },
    /// It was done after all: final unless it fails again. Since v0.2.
    Redriven {
        /// When.
        at: Timestamp,
    },
    /// It failed again, and waits. Since v0.2.
    Returned {
        /// Why, for programs.
        code: SmolStr,
        /// Why, for people.
        reason: String,
        /// How often it was tried this time.
        attempts: u32,
        /// When.
        at: Timestamp,
    },
    /// It was given up: final unless it fails again. Since v0.2.
    Dropped {
        /// Who.
        by: String,
        /// Why.
        reason: String,
        /// When.
        at: Timestamp,
    },
}
crate::wire::wire_event!(Event, "deadletter", 1);
