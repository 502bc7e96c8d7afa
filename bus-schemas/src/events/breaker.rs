//! Events of `breaker`. Subject `<prefix>.evt.breaker.<dependency>`, ordered per breaker. Consumers: workers,
//! for their local fast path; projections. Since v0.2.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use strum::{Display, IntoStaticStr};

use crate::commands::breaker::Policy;
use crate::ids::{Key, Timestamp};

/// An event of a breaker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, IntoStaticStr)]
#[serde(tag = "type", rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Event {
    /// The policy changed, and the window is empty.
    Configured {
        /// The policy.
        policy: Policy,
        /// The caller who asked for it.
        by: String,
        /// The version of the settings `breakers`; `null` if a person set the policy.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<u64>,
        /// The time of the event.
        at: Timestamp,
    },
    /// Calls were reported; they count in the window while closed and as probes while half-open.
    Reported {
        /// The worker.
        reporter: SmolStr,
        /// Calls that succeeded.
        succeeded: u32,
        /// Calls that failed.
        failed: u32,
        /// Succeeded and failed calls that were slow.
        slow: u32,
        /// How many calls of this worker failed in a row since its last success.
        consecutive_failed: u32,
        /// The message of the last failure.
        last_error: String,
        /// The time of the event.
        at: Timestamp,
    },
    /// A lane is told when the breaker opens and closes.
    Watched {
        /// The lane.
        lane: Key,
        /// The time of the event.
        at: Timestamp,
    },
    /// The breaker opened: no call is allowed.
    Opened {
        /// What opened it.
        cause: OpenCause,
        /// The reason, for people.
        reason: String,
        /// The caller who did it; empty if none did.
        by: String,
        /// The calls in the window.
        calls: u32,
        /// Failed calls in the window.
        failed: u32,
        /// How many times it opened without closing in between.
        times: u32,
        /// When the open phase ends; `null` if it stays open until it is reset.
        until: Option<Timestamp>,
        /// The time of the event.
        at: Timestamp,
    },
    /// The breaker is half-open: a few calls are allowed as probes.
    HalfOpened {
        /// Most concurrent probes.
        probes: u32,
        /// The time of the event.
        at: Timestamp,
    },
    /// A worker may try one call.
    ProbeGranted {
        /// The worker.
        reporter: SmolStr,
        /// The number of the permit: 1, 2, 3 … for ever.
        permit: u64,
        /// The time by which the probe must be reported.
        until: Timestamp,
        /// The time of the event.
        at: Timestamp,
    },
    /// A probe was not reported in time.
    ProbeExpired {
        /// The number of the permit.
        permit: u64,
        /// The time of the event.
        at: Timestamp,
    },
    /// The breaker closed: all calls are allowed.
    Closed {
        /// What closed it.
        cause: CloseCause,
        /// The reason, for people.
        reason: String,
        /// The caller who did it; empty if none did.
        by: String,
        /// The time of the event.
        at: Timestamp,
    },
    /// A dead letter that the dependency caused waits.
    LetterNoted {
        /// The dead letter.
        entry: Key,
        /// The time of the event.
        at: Timestamp,
    },
    /// No work waited that could serve as probes: these dead letters are redriven instead.
    LettersTried {
        /// The dead letters.
        entries: Vec<Key>,
        /// The redrive.
        redrive: Key,
        /// The time of the event.
        at: Timestamp,
    },
}
crate::wire::wire_event!(Event, "breaker", 1);

/// What opened a breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, IntoStaticStr, Display)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum OpenCause {
    /// The failure rate in the window reached the limit.
    FailureRate,
    /// The rate of slow calls in the window reached the limit.
    SlowRate,
    /// The number of failures in a row reached the limit.
    ConsecutiveFailures,
    /// A call failed while it was half-open.
    ProbeFailed,
    /// A caller opened it, until it is reset.
    Tripped,
}

/// What closed a breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, IntoStaticStr, Display)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum CloseCause {
    /// Enough calls succeeded while it was half-open.
    Probed,
    /// A caller reset it.
    Reset,
}
