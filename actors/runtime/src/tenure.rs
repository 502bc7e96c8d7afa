//! How long a host may answer queries: only while its lease of the partition is certainly valid.
//!
//! A host that was frozen through a takeover finds its lease expired on the monotonic clock, and does not
//! answer from outdated memory. A host that lost its connection may have been taken for dead before its lease
//! expired: it answers again after a renewal on the new connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bus_client::Connects;

/// The end of a lease's validity, in milliseconds on the monotonic clock. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Tenure {
    until: Arc<AtomicU64>,
    /// The connection on which the lease was renewed.
    renewed_on: Arc<AtomicU64>,
    connects: Connects,
}

impl Tenure {
    /// A lease that is invalid until its first renewal.
    pub fn over(connects: Connects) -> Self {
        Self { until: Arc::default(), renewed_on: Arc::default(), connects }
    }
    /// A lease without end, for a partition that no other host can take.
    pub fn endless() -> Self {
        Self { until: Arc::new(AtomicU64::new(u64::MAX)), ..Self::over(Connects::default()) }
    }
    /// Extends the lease to `until`, on connection `on`; both are measured before the renewal was requested.
    pub fn renew(&self, until: u64, on: u64) {
        self.renewed_on.store(on, Ordering::Release);
        self.until.store(until, Ordering::Release);
    }
    /// Ends the lease.
    pub fn end(&self) {
        self.until.store(0, Ordering::Release);
    }
    /// Whether the lease is valid.
    pub fn holds(&self, now: u64) -> bool {
        now < self.until.load(Ordering::Acquire)
            && self.renewed_on.load(Ordering::Acquire) == self.connects.count()
    }
}
