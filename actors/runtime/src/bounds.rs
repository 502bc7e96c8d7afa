//! Bounds of a host's partitions that may change while they run.
//!
//! Cheap to clone; all clones see the same numbers. They are looked at whenever they matter, so a
//! change holds from the next command on. They decide nothing that is in a log: a partition with
//! other bounds commits the same turns.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::inbox::QUEUE_ITEMS_MAX;

/// What partitions hold at most.
#[derive(Debug, Clone)]
pub struct Bounds {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    queue_items: AtomicUsize,
    /// 0 as long as nobody has said anything.
    cache_entities: AtomicUsize,
}

impl Default for Bounds {
    fn default() -> Self {
        let (queue_items, cache_entities) = (AtomicUsize::new(QUEUE_ITEMS_MAX), AtomicUsize::new(0));
        Self { inner: Arc::new(Inner { queue_items, cache_entities }) }
    }
}

impl Bounds {
    /// Commands that wait in one partition before callers are told that it is busy.
    pub fn queue_items(&self) -> usize {
        self.inner.queue_items.load(Ordering::Relaxed)
    }
    /// Live entities that one partition keeps; none as long as nobody has said anything.
    pub fn cache_entities(&self) -> Option<usize> {
        Some(self.inner.cache_entities.load(Ordering::Relaxed)).filter(|entities| *entities > 0)
    }
    /// Changes both; each is at least 1.
    pub fn set(&self, queue_items: usize, cache_entities: usize) {
        self.inner.queue_items.store(queue_items.max(1), Ordering::Relaxed);
        self.inner.cache_entities.store(cache_entities.max(1), Ordering::Relaxed);
    }
}
