//! Events of `schedule`. Subject `<prefix>.evt.schedule.<name>`, ordered per schedule.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::commands::schedule::Recurrence;
use crate::commands::task::Submit;
use crate::ids::{Key, Timestamp};

/// What happened to a schedule.
#[allow(clippy::large_enum_variant, reason = "schedules are few, and a box would show in every match")]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, strum::IntoStaticStr)]
#[serde(tag = "type", rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Event {
    /// It exists, or was replaced.
    Created {
        /// When it fires.
        recurrence: Recurrence,
        /// What it submits.
        task: Submit,
        /// When it fires next.
        next: Option<Timestamp>,
    },
    /// It fired.
    Fired {
        /// When it was to fire.
        due: Timestamp,
        /// The task that it submitted.
        task: Key,
        /// When it fires next.
        next: Option<Timestamp>,
    },
    /// It waits.
    Paused,
    /// It fires again.
    Resumed {
        /// When it fires next.
        next: Option<Timestamp>,
    },
    /// It never fires again.
    Deleted,
}
crate::wire::wire_event!(Event, "schedule", 1);
