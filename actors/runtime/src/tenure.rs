//! How long a host may answer queries: as long as its lease of the partition is valid for sure.
//!
//! A host that was frozen and wakes behind a takeover finds its lease over on a clock that never goes
//! back, and answers no query from a memory that somebody else's commits have overtaken. One whose connection
//! was lost may have been taken for dead before its lease ran out: it answers when it was renewed on the
//! new one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bus_client::Connects;

/// Until when a lease is valid, in milliseconds on the clock that never goes back. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Tenure {
    until: Arc<AtomicU64>,
    /// The connection on which it was renewed.
    renewed_on: Arc<AtomicU64>,
    connects: Connects,
}

impl Tenure {
    /// A lease that is over until it is renewed.
    pub fn over(connects: Connects) -> Self {
        Self { until: Arc::default(), renewed_on: Arc::default(), connects }
    }
    /// A lease without end, for a partition that nobody else can take.
    pub fn endless() -> Self {
        Self { until: Arc::new(AtomicU64::new(u64::MAX)), ..Self::over(Connects::default()) }
    }
    /// It is valid until then, and on that connection: both as they were before it was asked for.
    pub fn renew(&self, until: u64, on: u64) {
        self.renewed_on.store(on, Ordering::Release);
        self.until.store(until, Ordering::Release);
    }
    /// It is over.
    pub fn end(&self) {
        self.until.store(0, Ordering::Release);
    }
    /// Whether it is valid.
    pub fn holds(&self, now: u64) -> bool {
        now < self.until.load(Ordering::Acquire)
            && self.renewed_on.load(Ordering::Acquire) == self.connects.count()
    }
}
