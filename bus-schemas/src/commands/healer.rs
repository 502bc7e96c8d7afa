//! Commands for `healer`: the record of healing actions, and the quarantine.
//!
//! The key `<host>` records the actions of a host's healer; `log` records what entities do by themselves,
//! such as a breaker that opens; `quarantine` holds the entities that take no commands.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use strum::{Display, IntoStaticStr};

use crate::ids::{EntityAddress, Timestamp};

/// The key of the healer that records what entities do by themselves.
pub const LOG: &str = "log";
/// The key of the healer that holds the quarantined entities.
pub const QUARANTINE: &str = "quarantine";

/// A command for a healer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Command {
    /// Records an action or an observation.
    Note(Act),
    /// Keeps commands from an entity until it is released. Accepted by `healer/quarantine` only.
    Quarantine {
        /// The entity.
        entity: EntityAddress,
        /// The reason.
        reason: String,
        /// The evidence for it.
        #[serde(default)]
        evidence: BTreeMap<SmolStr, String>,
    },
    /// Ends the quarantine of an entity.
    Release {
        /// The entity.
        entity: EntityAddress,
        /// The reason.
        #[serde(default)]
        reason: String,
    },
}
crate::wire::wire_command!(Command, "healer");

/// An action or an observation, with its reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Act {
    /// The action.
    pub action: Action,
    /// The subject: an entity, a supervised worker, a disk.
    pub subject: String,
    /// The reason, for people.
    pub reason: String,
    /// The evidence for it.
    #[serde(default)]
    pub evidence: BTreeMap<SmolStr, String>,
    /// The time of the action.
    pub at: Timestamp,
}

/// An action of a healer.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    JsonSchema,
    IntoStaticStr,
    Display,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Action {
    /// A supervised worker failed and is restarted.
    Restart,
    /// A supervisor gave up, and its own supervisor decides.
    Escalate,
    /// Work is held because a breaker opened.
    Hold,
    /// A few calls are tried because a breaker is half-open.
    Probe,
    /// Work resumes because a breaker closed.
    Ease,
    /// Dead letters of a dependency that works again are redriven.
    Drain,
    /// A worker was silent, and its jobs go to others.
    Replace,
    /// An entity is quarantined.
    Quarantine,
    /// An entity is released from quarantine.
    Release,
    /// A measure passed its threshold, or something is wrong and was not repaired; nothing was done.
    Warn,
    /// A measure is back below its threshold, or what was wrong is well again.
    Clear,
    /// A task that waited for nothing was told to repeat its requests.
    Sweep,
}
