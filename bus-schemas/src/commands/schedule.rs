//! Commands for `schedule`: recurring goals. The key is the schedule's name.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::commands::task::Submit;
use crate::ids::Timestamp;

/// A command for a schedule.
#[allow(clippy::large_enum_variant, reason = "schedules are few, and a box would show in every match")]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Command {
    /// Creates or replaces the schedule.
    Create {
        /// When it fires.
        recurrence: Recurrence,
        /// The task that it submits.
        task: Submit,
    },
    /// Stops firing until it is resumed.
    #[serde(deserialize_with = "crate::wire::no_fields")]
    Pause,
    /// Fires again from now on; missed times are not made up for.
    #[serde(deserialize_with = "crate::wire::no_fields")]
    Resume,
    /// Deletes the schedule: it never fires again.
    #[serde(deserialize_with = "crate::wire::no_fields")]
    Delete,
    /// Timer: the schedule is due.
    Fire {
        /// The time for which it was due.
        due: Timestamp,
    },
}
crate::wire::wire_command!(Command, "schedule");

/// When a schedule fires.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "rule", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Recurrence {
    /// Once.
    Once {
        /// The time.
        at: Timestamp,
    },
    /// At a fixed interval.
    Every {
        /// The interval in milliseconds, at least 1,000.
        #[schemars(range(min = 1000))]
        every_ms: u64,
    },
    /// By a cron expression of five or six fields, in UTC.
    Cron {
        /// The expression.
        expression: String,
    },
}
