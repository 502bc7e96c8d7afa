//! Crash points: named places where a test kills the process, to see what recovery makes of it.
//!
//! They are compiled in with the feature `crash-points` only. `ORRERY_CRASH_AT=<name>:<n>` aborts
//! the process when the `n`th execution passes the place.

/// All places, in the order of the flow.
pub const POINTS: [&str; 9] = [
    "after-takeover",
    "after-decide",
    "before-append",
    "after-append",
    "after-reply",
    "before-events",
    "after-events",
    "before-jobs",
    "after-jobs",
];

/// Aborts the process if a test asked for it here.
#[cfg(feature = "crash-points")]
pub fn point(name: &str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    static WANTED: OnceLock<Option<(String, u64)>> = OnceLock::new();
    static PASSED: AtomicU64 = AtomicU64::new(0);
    let wanted = WANTED.get_or_init(|| {
        let text = std::env::var("ORRERY_CRASH_AT").ok()?;
        let (name, count) = text.split_once(':')?;
        Some((name.to_owned(), count.parse().ok()?))
    });
    if let Some((place, count)) = wanted
        && place == name
        && PASSED.fetch_add(1, Ordering::SeqCst) + 1 == *count
    {
        std::process::abort();
    }
}

/// Nothing: crash points are for tests.
#[cfg(not(feature = "crash-points"))]
#[inline]
pub fn point(_: &str) {}
