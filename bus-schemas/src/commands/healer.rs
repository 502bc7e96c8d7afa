//! Commands for `healer`: what was done to keep the system well, and what is kept apart.
//!
//! The key `<host>` notes what the healer of a host does; `log` notes what entities do by themselves,
//! such as a breaker that opens; `quarantine` knows which entities take no commands.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::ids::{EntityAddress, Timestamp};

/// The healer that notes what entities do by themselves.
pub const LOG: &str = "log";
/// The healer that knows which entities take no commands.
pub const QUARANTINE: &str = "quarantine";

/// What a healer can be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Command {
    /// Something was done, or seen.
    Note(Act),
    /// Keeps an entity from commands until it is released. Accepted by `healer/quarantine` only.
    Quarantine {
        /// The entity.
        entity: EntityAddress,
        /// Why.
        reason: String,
        /// Who.
        #[serde(default)]
        by: String,
        /// What it was concluded from.
        #[serde(default)]
        evidence: BTreeMap<SmolStr, String>,
    },
    /// Lets an entity take commands again.
    Release {
        /// The entity.
        entity: EntityAddress,
        /// Why.
        #[serde(default)]
        reason: String,
        /// Who.
        #[serde(default)]
        by: String,
    },
}
crate::wire::wire_command!(Command, "healer");

/// One thing that was done or seen, with the reason for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Act {
    /// What was done.
    pub action: Action,
    /// To whom: an entity, a supervised worker, a disk.
    pub subject: String,
    /// Why, for people.
    pub reason: String,
    /// What it was concluded from.
    #[serde(default)]
    pub evidence: BTreeMap<SmolStr, String>,
    /// When.
    pub at: Timestamp,
}

/// What a healer does.
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
    strum::IntoStaticStr,
    strum::Display,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Action {
    /// A supervised worker failed and is started again.
    Restart,
    /// A supervisor gave up, and the one above it decides.
    Escalate,
    /// Work is held back: a breaker opened.
    Hold,
    /// A few calls are tried: a breaker is half-open.
    Probe,
    /// Work goes on: a breaker closed.
    Ease,
    /// Dead letters of a dependency that is back are redriven.
    Drain,
    /// A worker was silent and its jobs are given to others.
    Replace,
    /// An entity takes no commands.
    Quarantine,
    /// An entity takes commands again.
    Release,
    /// Something passed a threshold, or is amiss and was not mended; nothing was done.
    Warn,
    /// What passed a threshold is below it again, or what was amiss is well.
    Clear,
    /// A task that waited for nobody was told to say again what it waits for.
    Sweep,
}
