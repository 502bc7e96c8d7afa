//! Commands for `breaker`: whether a dependency may be called. The key is the dependency:
//! `model.<name>`, `tool.<name>`, `engine.<name>`, `agent.<name>`, `webhook.<host>`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use strum::{Display, IntoStaticStr, VariantNames};

use crate::ids::{Key, Timestamp};
use crate::settings::ApplySettings;

/// The longest key of a breaker: the key of a redrive adds `drain-` and a revision of twenty digits to it.
pub const DEPENDENCY_BYTES_MAX: usize = 128;

/// The code of a failure of work whose call was refused by a breaker: it was not tried.
pub const BREAKER_OPEN: &str = "breaker-open";

/// The breaker of an agent, which counts how its jobs end; `None` if the name is too long for one.
pub fn of_agent(agent: &Key) -> Option<Key> {
    let key = format!("agent.{agent}");
    if key.len() <= DEPENDENCY_BYTES_MAX { Key::parse(&key).ok() } else { None }
}

/// A command for a breaker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Command {
    /// From a worker: the outcomes of its calls since its last report. At most one a second.
    Report {
        /// The worker.
        reporter: SmolStr,
        /// Calls that succeeded.
        #[serde(default)]
        succeeded: u32,
        /// Calls that failed.
        #[serde(default)]
        failed: u32,
        /// Succeeded and failed calls that took longer than the policy's `slow_call_ms`.
        #[serde(default)]
        slow: u32,
        /// How many calls failed in a row since the last success.
        #[serde(default)]
        consecutive_failed: u32,
        /// The message of the last failure.
        #[serde(default)]
        last_error: String,
    },
    /// From a lane: it wants to be told when to hold its work. A repeat changes nothing.
    Watch {
        /// The lane.
        lane: Key,
    },
    /// From a worker: asks to try one call while the breaker is half-open. The reply grants or refuses it.
    RequestProbe {
        /// The worker.
        reporter: SmolStr,
    },
    /// Opens the breaker until it is reset.
    Trip {
        /// The reason.
        reason: String,
    },
    /// Closes the breaker.
    Reset {
        /// The reason.
        reason: String,
    },
    /// From an experiment: closes the breaker if it is still open for the experiment's reason. A trip or
    /// reset by a person in the meantime stays.
    Untrip {
        /// The reason of the `trip`.
        tripped: String,
        /// The reason.
        reason: String,
    },
    /// Replaces the policy until settings are activated, and begins a new window.
    Configure {
        /// The new policy.
        policy: Policy,
    },
    /// From `settings/breakers`: the policies of all dependencies, of which this breaker takes its own. Until
    /// settings are activated it keeps its policy.
    ApplySettings(ApplySettings),
    /// Timer: the open time is over.
    #[serde(deserialize_with = "crate::wire::no_fields")]
    EndOpen,
    /// Timer: a worker with a probe permit has not reported in time.
    ExpireProbe {
        /// The number of the permit.
        permit: u64,
    },
    /// Timer: the work that lanes let through as probes had no outcome. Lanes may probe with more work, and
    /// dead letters of this dependency may be redriven as probes.
    #[serde(deserialize_with = "crate::wire::no_fields")]
    RenewProbes,
    /// From a dead letter that waits and was caused by this dependency. A repeat changes nothing.
    NoteLetter {
        /// The dead letter.
        entry: Key,
    },
}
crate::wire::wire_command!(Command, "breaker");

/// A query of a breaker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, VariantNames)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
#[strum(serialize_all = "kebab-case")]
pub enum Query {
    /// Answers with a [`Description`].
    #[serde(deserialize_with = "crate::wire::no_fields")]
    Describe,
}
crate::wire::wire_query!(Query, "breaker");

/// The policy of a breaker: when it opens, for how long, and when it closes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// The length of the window of calls, in milliseconds, 1,000 to 3,600,000. Default: 30,000.
    #[schemars(range(min = 1_000, max = 3_600_000))]
    pub window_ms: u64,
    /// Number of buckets in which the window advances, 1 to 60. Default: 10.
    #[schemars(range(min = 1, max = 60))]
    pub buckets: u32,
    /// Fewest calls in the window for which rates count, 1 to 1,000,000. Default: 10.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub calls_min: u32,
    /// Percentage of failed calls at which it opens, 1 to 100. Default: 50.
    #[schemars(range(min = 1, max = 100))]
    pub failure_percent: u32,
    /// Duration above which a call is slow, in milliseconds, 1 to 3,600,000. Default: 60,000.
    #[schemars(range(min = 1, max = 3_600_000))]
    pub slow_call_ms: u64,
    /// Percentage of slow calls at which it opens, 1 to 100. Default: 90.
    #[schemars(range(min = 1, max = 100))]
    pub slow_percent: u32,
    /// Number of failures in a row at which it opens, 1 to 1,000,000. Default: 5.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub consecutive_failures: u32,
    /// How long it stays open the first time, in milliseconds, 100 to 86,400,000. Doubles each time it opens
    /// again without closing. Default: 5,000.
    #[schemars(range(min = 100, max = 86_400_000))]
    pub open_ms_min: u64,
    /// The longest open time before jitter, in milliseconds, `open_ms_min` to 86,400,000. Default: 300,000.
    #[schemars(range(min = 100, max = 86_400_000))]
    pub open_ms_max: u64,
    /// Jitter of the open time, as a percentage up or down, 0 to 50, so that breakers that opened together do
    /// not probe together. Default: 20.
    #[schemars(range(max = 50))]
    pub jitter_percent: u32,
    /// Most concurrent probes while half-open, 1 to 1,000. Default: 3.
    #[schemars(range(min = 1, max = 1_000))]
    pub probes: u32,
    /// Successful probes after which it closes, 1 to 1,000. Default: 2.
    #[schemars(range(min = 1, max = 1_000))]
    pub successes: u32,
    /// Time after which a probe without a report counts as lost, in milliseconds, 100 to 3,600,000. Default:
    /// 60,000.
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
    /// Whether the call may be made.
    pub granted: bool,
    /// The number of the permit, if a half-open breaker grants it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permit: Option<u64>,
    /// The breaker's status.
    pub status: BreakerStatus,
}

/// The result in the reply to [`Command::Report`]: the status after the report.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BreakerStatus {
    /// Whether the dependency may be called.
    pub phase: Phase,
    /// When this phase began; `null` if it was always closed.
    pub since: Option<Timestamp>,
    /// The reason of this phase, for people.
    pub reason: String,
    /// Duration above which a call is slow, in milliseconds.
    pub slow_call_ms: u64,
}

/// Whether a dependency may be called.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, IntoStaticStr, Display,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Phase {
    /// All calls are allowed.
    #[default]
    Closed,
    /// No call is allowed.
    Open,
    /// A few calls are allowed as probes.
    HalfOpen,
}

/// The answer to [`Query::Describe`]: the current state of a breaker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Description {
    /// Whether the dependency may be called.
    pub phase: Phase,
    /// When this phase began; `null` if it was always closed.
    pub since: Option<Timestamp>,
    /// When the open phase ends; `null` if it is not open, or open until it is reset.
    pub until: Option<Timestamp>,
    /// The reason of this phase, for people.
    pub reason: String,
    /// How many times it opened without closing in between.
    pub times: u32,
    /// Calls in the window.
    pub calls: u32,
    /// Failed calls in the window.
    pub failed: u32,
    /// Slow calls in the window.
    pub slow: u32,
    /// Failures in a row.
    pub consecutive_failed: u32,
    /// The message of the last failure.
    pub last_error: String,
    /// The lanes that are told when it opens and closes.
    pub lanes: Vec<Key>,
    /// Probes without a report yet.
    pub probing: u32,
    /// The policy.
    pub policy: Policy,
    /// The version of the settings `breakers` of the policy; 0 for their defaults, absent for the built-in
    /// default or a policy set by a person.
    #[serde(default)]
    pub version: Option<u64>,
    /// The breaker's revision.
    pub revision: u64,
}
