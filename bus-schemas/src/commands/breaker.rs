//! Commands for `breaker`: whether a dependency may be called. The key is the dependency:
//! `model.<name>`, `tool.<name>`, `engine.<name>`, `agent.<name>`, `webhook.<host>`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::ids::{Key, Timestamp};
use crate::settings::ApplyConfig;

/// The longest key of a breaker: a campaign's key has room for `drain-` and a revision of twenty digits
/// beside it.
pub const DEPENDENCY_BYTES_MAX: usize = 128;

/// The code of a failure of work that was refused a call: it has not been tried.
pub const BREAKER_OPEN: &str = "breaker-open";

/// The breaker of an agent, which counts how its jobs end; none for a name that is too long for one.
pub fn of_agent(agent: &Key) -> Option<Key> {
    let key = format!("agent.{agent}");
    if key.len() <= DEPENDENCY_BYTES_MAX { Key::parse(&key).ok() } else { None }
}

/// What a breaker can be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Command {
    /// From a worker: what came of its calls since it reported last. At most one a second.
    Report {
        /// The worker.
        reporter: SmolStr,
        /// Calls that succeeded.
        #[serde(default)]
        succeeded: u32,
        /// Calls that failed.
        #[serde(default)]
        failed: u32,
        /// Calls of both sorts that took longer than the policy's `slow_call_ms`.
        #[serde(default)]
        slow: u32,
        /// How many calls failed since the last one that succeeded.
        #[serde(default)]
        consecutive_failed: u32,
        /// What the last failure said.
        #[serde(default)]
        last_error: String,
    },
    /// From a lane: it wants to hear when it must hold its work back. Harmless twice.
    Watch {
        /// The lane: the key of its broker.
        lane: Key,
    },
    /// From a worker: may it try one call while the breaker is half-open? The reply says so.
    RequestProbe {
        /// The worker.
        reporter: SmolStr,
    },
    /// Opens it until it is reset.
    Trip {
        /// Why.
        reason: String,
        /// Who.
        #[serde(default)]
        by: String,
    },
    /// Closes it.
    Reset {
        /// Why.
        reason: String,
        /// Who.
        #[serde(default)]
        by: String,
    },
    /// From an experiment: closes it, if it is still open for the reason that the experiment gave. What
    /// a person tripped or reset in the meantime stays as it is.
    Untrip {
        /// The reason that `trip` gave.
        tripped: String,
        /// Why.
        reason: String,
        /// Who.
        #[serde(default)]
        by: String,
    },
    /// Replaces the policy, until settings are activated, and begins a new window.
    Configure {
        /// When it opens, for how long, and what closes it.
        policy: Policy,
        /// Who.
        #[serde(default)]
        by: String,
    },
    /// From `config/breakers`: the policies of all dependencies. This one takes its own; as long as
    /// nobody has activated anything it keeps what it has.
    ApplyConfig(ApplyConfig),
    /// Timer: the open time is over.
    #[serde(deserialize_with = "crate::wire::no_fields")]
    EndOpen,
    /// Timer: a worker that was allowed to probe has not reported in time.
    ExpireProbe {
        /// Which permit.
        permit: u64,
    },
    /// Timer: nothing came of the work that lanes let through; they may try with more, and so may dead
    /// letters that the dependency caused.
    #[serde(deserialize_with = "crate::wire::no_fields")]
    RenewProbes,
    /// From a dead letter: it waits, and this dependency caused it. Harmless twice.
    NoteLetter {
        /// The letter.
        entry: Key,
    },
}
crate::wire::wire_command!(Command, "breaker");

/// What a breaker answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::VariantNames)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
#[strum(serialize_all = "kebab-case")]
pub enum Query {
    /// Answers with a [`Description`].
    #[serde(deserialize_with = "crate::wire::no_fields")]
    Describe,
}
crate::wire::wire_query!(Query, "breaker");

/// When a breaker opens, for how long, and what closes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// How far back calls count, in milliseconds, 1,000 to 3,600,000. Default: 30,000.
    #[schemars(range(min = 1_000, max = 3_600_000))]
    pub window_ms: u64,
    /// Parts in which the window moves on, 1 to 60. Default: 10.
    #[schemars(range(min = 1, max = 60))]
    pub buckets: u32,
    /// Rates mean nothing below so many calls in the window, 1 to 1,000,000. Default: 10.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub calls_min: u32,
    /// It opens when so many of a hundred calls fail, 1 to 100. Default: 50.
    #[schemars(range(min = 1, max = 100))]
    pub failure_percent: u32,
    /// A call that takes longer is slow, in milliseconds, 1 to 3,600,000. Default: 60,000.
    #[schemars(range(min = 1, max = 3_600_000))]
    pub slow_call_ms: u64,
    /// It opens when so many of a hundred calls are slow, 1 to 100. Default: 90.
    #[schemars(range(min = 1, max = 100))]
    pub slow_percent: u32,
    /// It opens when so many calls fail one after the other, 1 to 1,000,000. Default: 5.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub consecutive_failures: u32,
    /// How long it stays open the first time, in milliseconds, 100 to 86,400,000. Doubles with each
    /// opening that follows. Default: 5,000.
    #[schemars(range(min = 100, max = 86_400_000))]
    pub open_ms_min: u64,
    /// The longest time before jitter, in milliseconds, `open_ms_min` to 86,400,000. Default: 300,000.
    #[schemars(range(min = 100, max = 86_400_000))]
    pub open_ms_max: u64,
    /// The open time is longer or shorter by up to so many of a hundred parts, so that breakers that
    /// opened together do not probe together; 0 to 50. Default: 20.
    #[schemars(range(max = 50))]
    pub jitter_percent: u32,
    /// Calls that may be tried at once while half-open, 1 to 1,000. Default: 3.
    #[schemars(range(min = 1, max = 1_000))]
    pub probes: u32,
    /// Successes after which it closes, 1 to 1,000. Default: 2.
    #[schemars(range(min = 1, max = 1_000))]
    pub successes: u32,
    /// A probe of which nothing is heard for so long counts as lost, in milliseconds, 100 to
    /// 3,600,000. Default: 60,000.
    #[schemars(range(min = 100, max = 3_600_000))]
    pub probe_timeout_ms: u64,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            window_ms: 30_000,
            buckets: 10,
            calls_min: 10,
            failure_percent: 50,
            slow_call_ms: 60_000,
            slow_percent: 90,
            consecutive_failures: 5,
            open_ms_min: 5_000,
            open_ms_max: 300_000,
            jitter_percent: 20,
            probes: 3,
            successes: 2,
            probe_timeout_ms: 60_000,
        }
    }
}

/// The result in the reply to [`Command::RequestProbe`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProbeAnswer {
    /// Whether one call may be tried.
    pub granted: bool,
    /// Which permit, when it is granted by a half-open breaker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permit: Option<u64>,
    /// How the breaker stands.
    pub standing: Standing,
}

/// The result in the reply to [`Command::Report`]: how the breaker stands after it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Standing {
    /// Whether it may be called.
    pub phase: Phase,
    /// Since when; none when it was always closed.
    pub since: Option<Timestamp>,
    /// Why it is so, for people.
    pub reason: String,
    /// A call that takes longer is slow, in milliseconds.
    pub slow_call_ms: u64,
}

/// Whether a dependency may be called.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    JsonSchema,
    strum::IntoStaticStr,
    strum::Display,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Phase {
    /// Everything may be called.
    #[default]
    Closed,
    /// Nothing may be called.
    Open,
    /// A few calls may be tried.
    HalfOpen,
}

/// The answer to [`Query::Describe`]: a breaker as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Description {
    /// Whether it may be called.
    pub phase: Phase,
    /// Since when; none when it was always closed.
    pub since: Option<Timestamp>,
    /// Until when it is open; none until it is reset, and none unless it is open.
    pub until: Option<Timestamp>,
    /// Why it is so, for people.
    pub reason: String,
    /// How many times it opened in succession.
    pub times: u32,
    /// Calls in the window.
    pub calls: u32,
    /// Those of them that failed.
    pub failed: u32,
    /// Those of them that were slow.
    pub slow: u32,
    /// How many failed one after the other.
    pub consecutive_failed: u32,
    /// What the last failure said.
    pub last_error: String,
    /// The lanes that hear of it.
    pub lanes: Vec<Key>,
    /// Probes of which nothing was heard yet.
    pub probing: u32,
    /// When it opens, for how long, and what closes it.
    pub policy: Policy,
    /// The version of the settings `breakers` that the policy is of; 0 for the defaults, none where it is
    /// the default or a person's.
    #[serde(default)]
    pub version: Option<u64>,
    /// How many events it has seen.
    pub revision: u64,
}
