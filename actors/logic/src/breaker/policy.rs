//! The checks of a policy, and its arithmetic. Pure numbers.

use actors_core::{Context, Refusal};
use bus_schemas::commands::breaker::Policy;
use bus_schemas::events::breaker::OpenCause;

use super::state::{Counts, State};

/// The most doublings: more would exceed a day from any minimum, and the shift must not overflow.
const DOUBLINGS_MAX: u32 = 20;

/// Checks the bounds of a policy's fields.
pub(super) fn check(policy: &Policy) -> Result<(), Refusal> {
    let bounds = [
        ("window_ms", policy.window_ms, 1_000, 3_600_000),
        ("buckets", policy.buckets.into(), 1, 60),
        ("calls_min", policy.calls_min.into(), 1, 1_000_000),
        ("failure_percent", policy.failure_percent.into(), 1, 100),
        ("slow_call_ms", policy.slow_call_ms, 1, 3_600_000),
        ("slow_percent", policy.slow_percent.into(), 1, 100),
        ("consecutive_failures", policy.consecutive_failures.into(), 1, 1_000_000),
        ("open_ms_min", policy.open_ms_min, 100, 86_400_000),
        ("open_ms_max", policy.open_ms_max, policy.open_ms_min, 86_400_000),
        ("jitter_percent", policy.jitter_percent.into(), 0, 50),
        ("probes", policy.probes.into(), 1, 1_000),
        ("successes", policy.successes.into(), 1, 1_000),
        ("probe_timeout_ms", policy.probe_timeout_ms, 100, 3_600_000),
    ];
    match bounds.into_iter().find(|(_, value, min, max)| !(min..=max).contains(&value)) {
        None => Ok(()),
        Some((name, value, min, max)) => {
            let message = format!("`{name}` must be {min} to {max}, is {value}");
            Err(Refusal::new("invalid-policy", message).hint("give every field within its bounds"))
        }
    }
}

/// Why a closed breaker with these counts must open, if it must.
pub(super) fn verdict(state: &State, counts: Counts) -> Option<(OpenCause, String)> {
    let policy = &state.policy;
    let within = policy.window_ms / 1_000;
    let Counts { calls, failed, slow } = counts;
    if failed > 0 && state.consecutive_failed >= policy.consecutive_failures {
        let reason = format!("{} calls failed one after the other", state.consecutive_failed);
        return Some((OpenCause::ConsecutiveFailures, reason));
    }
    if calls < policy.calls_min {
        return None;
    }
    if reaches(failed, calls, policy.failure_percent) {
        return Some((OpenCause::FailureRate, format!("{failed} of {calls} calls failed within {within} s")));
    }
    if reaches(slow, calls, policy.slow_percent) {
        return Some((OpenCause::SlowRate, format!("{slow} of {calls} calls were slow within {within} s")));
    }
    None
}

/// Whether `part` of `whole` is `percent` or more.
pub(super) fn reaches(part: u32, whole: u32, percent: u32) -> bool {
    whole > 0 && u64::from(part) * 100 >= u64::from(whole) * u64::from(percent)
}

/// How long it stays open, in milliseconds, when it opens for the `times`th time in succession.
pub(super) fn open_ms(policy: &Policy, times: u32, context: &Context<'_>) -> u64 {
    let doublings = times.saturating_sub(1).min(DOUBLINGS_MAX);
    let base = policy.open_ms_min.saturating_mul(1 << doublings).min(policy.open_ms_max);
    // An id of this decision serves as a random number, and is the same when the command is decided again.
    let id = context.id("open-time", 0);
    let bytes = id.0.as_bytes();
    let drawn = u64::from(u16::from_be_bytes([bytes[0], bytes[1]]));
    let jitter = u64::from(policy.jitter_percent);
    base.saturating_mul(100 - jitter + drawn % (2 * jitter + 1)) / 100
}
