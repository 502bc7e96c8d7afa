//! Commands for `schedule`: goals that recur. The key is the schedule's name.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::commands::task::Submit;
use crate::ids::Timestamp;

/// What a schedule can be told.
#[allow(clippy::large_enum_variant, reason = "schedules are few, and a box would show in every match")]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Command {
    /// Makes or replaces it.
    Create {
        /// When it fires.
        recurrence: Recurrence,
        /// The task that it submits.
        task: Submit,
    },
    /// It does not fire until resumed.
    #[serde(deserialize_with = "crate::wire::no_fields")]
    Pause,
    /// It fires again, from now on; what was missed is not made up for.
    #[serde(deserialize_with = "crate::wire::no_fields")]
    Resume,
    /// It never fires again.
    #[serde(deserialize_with = "crate::wire::no_fields")]
    Delete,
    /// Timer: it is due.
    Fire {
        /// When it was to fire.
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
        /// When.
        at: Timestamp,
    },
    /// Again and again.
    Every {
        /// Milliseconds between two, at least 1,000.
        #[schemars(range(min = 1000))]
        every_ms: u64,
    },
    /// By a cron expression of five or six fields, in UTC.
    Cron {
        /// The expression.
        expression: String,
    },
}
