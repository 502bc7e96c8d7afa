//! Crash points of the worker: named places at which a test kills the process, to check that the job is still
//! done, and counted once.
//!
//! They are compiled in only with the feature `crash-points`, and follow `ORRERY_CRASH_AT=<name>:<n>`, as
//! those of `actors-runtime` do, on which this crate does not depend.

/// The crash points that every job passes, in their order.
pub const POINTS: [&str; 4] = ["before-start", "after-start", "before-report", "after-report"];
/// The crash points of a step: when it was done and is not recorded, and when it is.
pub const STEP_POINTS: [&str; 2] = ["after-step", "after-record"];
/// The crash points of an effect, in their order: before and after its intention is recorded, when it may begin, when
/// it was done, and when that is recorded.
pub const EFFECT_POINTS: [&str; 5] =
    ["before-intent", "after-intent", "before-call", "after-call", "after-effect"];

/// Aborts the process if a test asked for it here.
#[cfg(feature = "crash-points")]
pub(crate) fn point(name: &str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    static WANTED: OnceLock<Option<(String, u64)>> = OnceLock::new();
    static PASSED: AtomicU64 = AtomicU64::new(0);
    let wanted = WANTED.get_or_init(|| {
        let text = std::env::var("ORRERY_CRASH_AT").ok()?;
        let (place, pass) = text.split_once(':')?;
        Some((place.to_owned(), pass.parse().ok()?))
    });
    if let Some((place, pass)) = wanted
        && place == name
        && PASSED.fetch_add(1, Ordering::SeqCst) + 1 == *pass
    {
        std::process::abort();
    }
}

/// Does nothing: crash points are for tests.
#[cfg(not(feature = "crash-points"))]
#[inline]
pub(crate) fn point(_: &str) {}
