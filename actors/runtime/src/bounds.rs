//! Bounds of a host's partitions that may change at run time.
//!
//! Cheap to clone; all clones share the numbers. They are read at each use, so a change holds from the next
//! command on. They do not influence the log: a partition with other bounds commits the same turns.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::inbox::QUEUE_ITEMS_MAX;

/// The bounds of each partition of a host.
#[derive(Debug, Clone)]
pub struct Bounds {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    queue_items: AtomicUsize,
    /// 0 until it is set.
    cache_entities: AtomicUsize,
}

impl Default for Bounds {
    fn default() -> Self {
        let (queue_items, cache_entities) = (AtomicUsize::new(QUEUE_ITEMS_MAX), AtomicUsize::new(0));
        Self { inner: Arc::new(Inner { queue_items, cache_entities }) }
    }
}

impl Bounds {
    /// The most commands that wait in one partition; further callers are refused as busy.
    pub fn queue_items(&self) -> usize {
        self.inner.queue_items.load(Ordering::Relaxed)
    }
    /// The most live entities of one partition; `None` until it is set.
    pub fn cache_entities(&self) -> Option<usize> {
        Some(self.inner.cache_entities.load(Ordering::Relaxed)).filter(|entities| *entities > 0)
    }
    /// Sets both bounds; each is at least 1.
    pub fn set(&self, queue_items: usize, cache_entities: usize) {
        self.inner.queue_items.store(queue_items.max(1), Ordering::Relaxed);
        self.inner.cache_entities.store(cache_entities.max(1), Ordering::Relaxed);
    }
}
