//! Events of `breaker`. Subject `<prefix>.evt.breaker.<dependency>`, ordered per breaker. Consumers:
//! workers, for their local fast path; projections. Since v0.2.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::commands::breaker::Policy;
use crate::ids::{Key, Timestamp};

/// What happened to a breaker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::IntoStaticStr)]
#[serde(tag = "type", rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Event {
    /// It has another policy and an empty window.
    Configured {
        /// The policy.
        policy: Policy,
        /// Who.
        by: String,
        /// The version of the settings `breakers` that it is of; none where a person configured it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<u64>,
        /// When.
        at: Timestamp,
    },
    /// Calls were made; they count in the window while closed and as probes while half-open.
    Reported {
        /// The worker.
        reporter: SmolStr,
        /// Calls that succeeded.
        succeeded: u32,
        /// Calls that failed.
        failed: u32,
        /// Calls of both sorts that were slow.
        slow: u32,
        /// How many failed since the last one that succeeded, of this worker.
        consecutive_failed: u32,
        /// What the last failure said.
        last_error: String,
        /// When.
        at: Timestamp,
    },
    /// A lane hears of it.
    Watched {
        /// The lane.
        lane: Key,
        /// When.
        at: Timestamp,
    },
    /// Nothing may be called.
    Opened {
        /// What opened it.
        cause: OpenCause,
        /// Why, for people.
        reason: String,
        /// Who, where somebody did.
        by: String,
        /// The calls in the window.
        calls: u32,
        /// Those of them that failed.
        failed: u32,
        /// How many times it opened in succession.
        times: u32,
        /// Until when; none until it is reset.
        until: Option<Timestamp>,
        /// When.
        at: Timestamp,
    },
    /// A few calls may be tried.
    HalfOpened {
        /// How many at once.
        probes: u32,
        /// When.
        at: Timestamp,
    },
    /// A worker may try one call.
    ProbeGranted {
        /// The worker.
        reporter: SmolStr,
        /// Which permit: 1, 2, 3 … for ever.
        permit: u64,
        /// Until when something must be heard.
        until: Timestamp,
        /// When.
        at: Timestamp,
    },
    /// Nothing was heard of a probe.
    ProbeExpired {
        /// Which permit.
        permit: u64,
        /// When.
        at: Timestamp,
    },
    /// Everything may be called.
    Closed {
        /// What closed it.
        cause: CloseCause,
        /// Why, for people.
        reason: String,
        /// Who, where somebody did.
        by: String,
        /// When.
        at: Timestamp,
    },
    /// A dead letter waits that the dependency caused.
    LetterNoted {
        /// The letter.
        entry: Key,
        /// When.
        at: Timestamp,
    },
    /// No work waited that could be tried: these dead letters are redriven instead.
    LettersTried {
        /// The letters.
        entries: Vec<Key>,
        /// The campaign that redrives them.
        campaign: Key,
        /// When.
        at: Timestamp,
    },
}
crate::wire::wire_event!(Event, "breaker", 1);

/// What opened a breaker.
#[derive(
    Debug,
    Clone,
    Copy,
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
pub enum OpenCause {
    /// Too many calls of the window failed.
    FailureRate,
    /// Too many calls of the window were slow.
    SlowRate,
    /// Too many calls failed one after the other.
    ConsecutiveFailures,
    /// A call failed while it was half-open.
    ProbeFailed,
    /// Somebody opened it, until it is reset.
    Tripped,
}

/// What closed a breaker.
#[derive(
    Debug,
    Clone,
    Copy,
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
pub enum CloseCause {
    /// Enough calls succeeded while it was half-open.
    Probed,
    /// Somebody reset it.
    Reset,
}
