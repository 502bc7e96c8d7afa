//! Tasks that were changed through this gateway a moment ago: a request waits until the read model shows
//! them, and does not wait for any other unknown task.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use bus_schemas::Key;

use super::tasks::VISIBLE_PATIENCE;

/// Tasks that are kept before old ones are removed.
const KEYS_MAX: usize = 1_024;

/// Keys with the time of their last change.
#[derive(Debug, Default)]
pub struct Recent {
    keys: Mutex<HashMap<Key, Instant>>,
}

impl Recent {
    /// Remembers a task that was changed just now.
    pub fn note(&self, key: &Key) {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.len() >= KEYS_MAX {
            keys.retain(|_, at| at.elapsed() < VISIBLE_PATIENCE);
        }
        keys.insert(key.clone(), Instant::now());
    }

    /// Whether a task was changed so shortly ago that its events may not be shown yet.
    pub fn holds(&self, key: &Key) -> bool {
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.get(key).is_some_and(|at| at.elapsed() < VISIBLE_PATIENCE)
    }
}
