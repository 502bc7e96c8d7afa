//! Events of `chaos`. Subject `<prefix>.evt.chaos.<experiment>`, ordered per experiment. Consumers:
//! hosts and workers, which do what the experiment says for as long as it says. Since v0.2.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::commands::chaos::{Ended, Experiment};
use crate::ids::Timestamp;

/// What happened to an experiment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::IntoStaticStr)]
#[serde(tag = "type", rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Event {
    /// It began.
    Started {
        /// What is disturbed, and how.
        experiment: Experiment,
        /// Why.
        reason: String,
        /// Who.
        by: String,
        /// Since when.
        at: Timestamp,
        /// It is over then, whatever happens.
        until: Timestamp,
    },
    /// It is over.
    Ended(Ended),
}
crate::wire::wire_event!(Event, "chaos", 1);
