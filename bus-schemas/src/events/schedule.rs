//! Events of `schedule`. Subject `<prefix>.evt.schedule.<name>`, ordered per schedule.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::commands::schedule::Recurrence;
use crate::commands::task::Submit;
use crate::ids::{Key, Timestamp};

/// An event of a schedule.
#[allow(clippy::large_enum_variant, reason = "schedules are few, and a box would show in every match")]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, strum::IntoStaticStr)]
#[serde(tag = "type", rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Event {
    /// The schedule was created or replaced.
    Created {
        /// When it fires.
        recurrence: Recurrence,
        /// What it submits.
        task: Submit,
        /// When it fires next.
        next: Option<Timestamp>,
    },
    /// The schedule fired.
    Fired {
        /// The time for which it was due.
        due: Timestamp,
        /// The task that it submitted.
        task: Key,
        /// When it fires next.
        next: Option<Timestamp>,
    },
    /// The schedule was paused.
    Paused,
    /// The schedule was resumed.
    Resumed {
        /// When it fires next.
        next: Option<Timestamp>,
    },
    /// The clock was set back: the next time is computed again.
    Moved {
        /// When it fires next.
        next: Option<Timestamp>,
    },
    /// The schedule was deleted: it never fires again.
    Deleted,
}
crate::wire::wire_event!(Event, "schedule", 1);
