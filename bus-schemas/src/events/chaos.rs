//! Events of `chaos`. Subject `<prefix>.evt.chaos.<experiment>`, ordered per experiment. Consumers: hosts and
//! workers, which make the disturbance while the experiment lasts. Since v0.2.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::commands::chaos::{Ended, Experiment};
use crate::ids::Timestamp;

/// An event of an experiment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::IntoStaticStr)]
#[serde(tag = "type", rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Event {
    /// The experiment began.
    Started {
        /// The disturbance.
        experiment: Experiment,
        /// The reason.
        reason: String,
        /// The caller who asked for it.
        by: String,
        /// When it began.
        at: Timestamp,
        /// When it ends, at the latest.
        until: Timestamp,
    },
    /// The experiment ended.
    Ended(Ended),
}
crate::wire::wire_event!(Event, "chaos", 1);
