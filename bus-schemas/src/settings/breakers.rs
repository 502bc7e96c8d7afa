//! `breakers`: when the breaker of a dependency opens, for how long, and what closes it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::{Duration, Mistake, Setting, Unfit, pointer};
use crate::commands::breaker;
use crate::ids::Key;

/// The most patterns in one document.
const PATTERNS_MAX: usize = 256;

/// The policies of all breakers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Breakers {
    /// Policies by pattern: the key of a breaker (`model.openai`), a prefix (`model.*`), or `*`. The longest
    /// matching pattern applies as a whole: a missing field has the default of the field. A breaker without a
    /// matching pattern has the defaults.
    pub policies: BTreeMap<SmolStr, BreakerPolicy>,
}

/// The policy of a breaker: when it opens, for how long, and when it closes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BreakerPolicy {
    /// The length of the window of calls, `1s` to `1h`. Default: `30s`.
    pub window: Duration,
    /// Number of buckets in which the window advances, 1 to 60. Default: 10.
    #[schemars(range(min = 1, max = 60))]
    pub buckets: u32,
    /// Fewest calls in the window for which rates count, 1 to 1,000,000. Default: 10.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub calls_min: u32,
    /// Percentage of failed calls at which it opens, 1 to 100. Default: 50.
    #[schemars(range(min = 1, max = 100))]
    pub failure_percent: u32,
    /// Duration above which a call is slow, `1ms` to `1h`. Default: `1m`.
    pub slow_call: Duration,
    /// Percentage of slow calls at which it opens, 1 to 100. Default: 90.
    #[schemars(range(min = 1, max = 100))]
    pub slow_percent: u32,
    /// Number of failures in a row at which it opens, 1 to 1,000,000. Default: 5.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub consecutive_failures: u32,
    /// How long it stays open the first time, `100ms` to `1d`. Doubles each time it opens again without
    /// closing. Default: `5s`.
    pub open_min: Duration,
    /// The longest open time, `open_min` to `1d`. Default: `5m`.
    pub open_max: Duration,
    /// Jitter of the open time, as a percentage up or down, 0 to 50. Default: 20.
    #[schemars(range(max = 50))]
    pub jitter_percent: u32,
    /// Most concurrent probes while half-open, 1 to 1,000. Default: 3.
    #[schemars(range(min = 1, max = 1_000))]
    pub probes: u32,
    /// Successful probes after which it closes, 1 to 1,000. Default: 2.
    #[schemars(range(min = 1, max = 1_000))]
    pub successes: u32,
    /// Time after which a probe without a report counts as lost, `100ms` to `1h`. Default: `1m`.
    pub probe_timeout: Duration,
}

impl Default for BreakerPolicy {
    fn default() -> Self {
        // From the breaker's own defaults, so that they are defined once.
        let policy = breaker::Policy::default();
        Self {
            window: Duration::from_ms(policy.window_ms),
            buckets: policy.buckets,
            calls_min: policy.calls_min,
            failure_percent: policy.failure_percent,
            slow_call: Duration::from_ms(policy.slow_call_ms),
            slow_percent: policy.slow_percent,
            consecutive_failures: policy.consecutive_failures,
            open_min: Duration::from_ms(policy.open_ms_min),
            open_max: Duration::from_ms(policy.open_ms_max),
            jitter_percent: policy.jitter_percent,
            probes: policy.probes,
            successes: policy.successes,
            probe_timeout: Duration::from_ms(policy.probe_timeout_ms),
        }
    }
}

impl Breakers {
    /// The policy of a dependency; `None` if no pattern matches.
    pub fn policy(&self, dependency: &Key) -> Option<breaker::Policy> {
        let fitting = self.policies.iter().filter(|(pattern, _)| fits(pattern, dependency.as_str()));
        // A key matches better than a prefix of the same length.
        let best = fitting.max_by_key(|(pattern, _)| (!pattern.ends_with('*'), pattern.len()));
        best.map(|(_, policy)| policy.policy())
    }
}

fn fits(pattern: &str, dependency: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == dependency, |beginning| dependency.starts_with(beginning))
}

/// Whether a pattern can match any key.
fn is_pattern(pattern: &str) -> bool {
    let beginning = pattern.strip_suffix('*').unwrap_or(pattern);
    let key = beginning.strip_suffix('.').unwrap_or(beginning);
    pattern == "*" || Key::parse(key).is_ok()
}

impl BreakerPolicy {
    fn policy(&self) -> breaker::Policy {
        breaker::Policy {
            window_ms: self.window.as_ms(),
            buckets: self.buckets,
            calls_min: self.calls_min,
            failure_percent: self.failure_percent,
            slow_call_ms: self.slow_call.as_ms(),
            slow_percent: self.slow_percent,
            consecutive_failures: self.consecutive_failures,
            open_ms_min: self.open_min.as_ms(),
            open_ms_max: self.open_max.as_ms(),
            jitter_percent: self.jitter_percent,
            probes: self.probes,
            successes: self.successes,
            probe_timeout_ms: self.probe_timeout.as_ms(),
        }
    }

    fn mistakes(&self, place: &str, unfit: &Unfit) -> Vec<Mistake> {
        let (hour, day) = (Duration::from_secs(3_600), Duration::from_secs(86_400));
        let short = Duration::from_ms(100);
        let is_min_known = !unfit.has(place, "open_min");
        let open_max_least = if is_min_known { self.open_min.clamp(short, day) } else { short };
        let bounds = [
            ("window", self.window, Duration::from_secs(1), hour),
            ("slow_call", self.slow_call, Duration::from_ms(1), hour),
            ("open_min", self.open_min, short, day),
            ("open_max", self.open_max, open_max_least, day),
            ("probe_timeout", self.probe_timeout, short, hour),
        ];
        let wrong = bounds.into_iter().filter(|(_, found, min, max)| !(min..=max).contains(&found));
        let told = |(field, found, min, max): (&str, Duration, Duration, Duration)| {
            Mistake::new(pointer(place, field), format!("is {found}, and must be {min} to {max}"))
        };
        wrong.map(told).collect()
    }
}

impl Setting for Breakers {
    const NAME: &'static str = "breakers";

    fn mistakes(&self, unfit: &Unfit) -> Vec<Mistake> {
        let mut mistakes = Vec::new();
        if self.policies.len() > PATTERNS_MAX {
            let reason = format!("has {} entries; at most {PATTERNS_MAX} are taken", self.policies.len());
            mistakes.push(Mistake::new("/policies", reason));
        }
        for (pattern, policy) in &self.policies {
            let place = pointer("/policies", pattern);
            if !is_pattern(pattern) {
                let reason =
                    "is no pattern: the key of a breaker, the beginning of one with `*` behind it, or `*`";
                mistakes.push(Mistake::new(&place, reason));
            }
            mistakes.extend(policy.mistakes(&place, unfit));
        }
        mistakes
    }
}
