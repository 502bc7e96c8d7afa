//! Crash points: named places where a test kills the process, to check the recovery.
//!
//! They are compiled only with the feature `crash-points`. `ORRERY_CRASH_AT=<name>:<n>` aborts the process
//! when it passes the place for the `n`th time. `ORRERY_CRASH_AT=<name>:<n>:<ms>` first blocks the place for
//! `ms` milliseconds while everything else runs on, which shows what is sent too early.
//!
//! The worker has crash points of its own, in `actors-worker`.

/// All crash points, in the order of the flow.
pub const POINTS: [&str; 26] = [
    "after-acquire",
    "before-renewal",
    "after-renewal",
    "after-takeover",
    "after-decide",
    "before-append",
    "after-append",
    "after-reply",
    "before-issue",
    "after-issue",
    "before-parcel",
    "before-receipt",
    "after-receipt",
    "before-entity-snapshot",
    "after-entity-snapshot",
    "before-events",
    "after-events",
    "before-dead",
    "after-dead",
    "before-trim",
    "after-trim",
    "before-snapshot",
    "after-snapshot",
    "before-last-snapshot",
    "before-release",
    "after-release",
];

#[cfg(feature = "crash-points")]
mod wanted {
    //! The crash point that the test asked for, read once.

    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    /// Records between two partition snapshots in a process that is to crash: few enough that the script of a
    /// test passes the crash points around a snapshot.
    const SNAPSHOT_RECORDS: u64 = 8;

    /// The place at which the process crashes.
    struct Wanted {
        place: String,
        pass: u64,
        /// How long the place blocks before the crash.
        stands: Duration,
    }

    fn wanted() -> Option<&'static Wanted> {
        static WANTED: OnceLock<Option<Wanted>> = OnceLock::new();
        let read = || {
            let text = std::env::var("ORRERY_CRASH_AT").ok()?;
            let mut parts = text.split(':');
            let (place, pass) = (parts.next()?.to_owned(), parts.next()?.parse().ok()?);
            let stands = parts.next().map_or(Some(0), |part| part.parse().ok())?;
            Some(Wanted { place, pass, stands: Duration::from_millis(stands) })
        };
        WANTED.get_or_init(read).as_ref()
    }

    /// Aborts the process if a test asked for this crash point.
    #[expect(clippy::disallowed_methods, reason = "only tests stand here, in a thread that tokio has let go")]
    pub fn point(name: &str) {
        static PASSED: AtomicU64 = AtomicU64::new(0);
        if let Some(wanted) = wanted()
            && wanted.place == name
            && PASSED.fetch_add(1, Ordering::SeqCst) + 1 == wanted.pass
        {
            if !wanted.stands.is_zero() {
                // The other tasks of this thread move to another thread.
                tokio::task::block_in_place(|| std::thread::sleep(wanted.stands));
            }
            std::process::abort();
        }
    }

    /// Records between two partition snapshots: `usual`, or fewer in a process that is to crash.
    pub fn snapshot_records(usual: u64) -> u64 {
        if wanted().is_some() { SNAPSHOT_RECORDS } else { usual }
    }
}

#[cfg(feature = "crash-points")]
pub use wanted::{point, snapshot_records};

/// Does nothing: crash points are for tests.
#[cfg(not(feature = "crash-points"))]
#[inline]
pub fn point(_: &str) {}

/// Returns `usual`: crash points are for tests.
#[cfg(not(feature = "crash-points"))]
#[inline]
pub fn snapshot_records(usual: u64) -> u64 {
    usual
}
