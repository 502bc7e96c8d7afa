//! What was read a short while ago, bounded by number, bytes and age.

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use lru::LruCache;

/// The most entries: what one research task reads, and some.
const ENTRIES_MAX: NonZeroUsize = NonZeroUsize::new(512).expect("it is not 0");
/// The most bytes of all entries.
const BYTES_MAX: usize = 32 * 1024 * 1024;

/// A cache. The clock is its caller's.
#[derive(Debug)]
pub(crate) struct Cache<T> {
    entries: LruCache<String, Entry<T>>,
    bytes: usize,
}

#[derive(Debug)]
struct Entry<T> {
    value: T,
    bytes: usize,
    since: Instant,
    age_max: Duration,
}

impl<T> Default for Cache<T> {
    fn default() -> Self {
        Self { entries: LruCache::new(ENTRIES_MAX), bytes: 0 }
    }
}

impl<T: Clone> Cache<T> {
    /// An entry that is not too old, with its age.
    pub(crate) fn get(&mut self, key: &str, now: Instant) -> Option<(T, Duration)> {
        let entry = self.entries.get(key)?;
        let age = now.saturating_duration_since(entry.since);
        if age < entry.age_max {
            return Some((entry.value.clone(), age));
        }
        let old = self.entries.pop(key)?;
        self.bytes -= old.bytes;
        None
    }

    /// Keeps a value for a while; the entry that was used least recently makes room.
    pub(crate) fn put(&mut self, key: String, value: T, bytes: usize, now: Instant, age_max: Duration) {
        let bytes = bytes + key.len();
        if age_max.is_zero() || bytes > BYTES_MAX {
            return;
        }
        self.bytes += bytes;
        let entry = Entry { value, bytes, since: now, age_max };
        if let Some((_, replaced)) = self.entries.push(key, entry) {
            self.bytes -= replaced.bytes;
        }
        while self.bytes > BYTES_MAX {
            let Some((_, oldest)) = self.entries.pop_lru() else { break };
            self.bytes -= oldest.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_lasts_for_its_time_and_all_of_them_within_the_bound() {
        let (mut cache, now, minute) = (Cache::default(), Instant::now(), Duration::from_secs(60));
        cache.put("a".to_owned(), 1, 10, now, minute);
        cache.put("a".to_owned(), 2, 10, now, minute);
        let later = now + Duration::from_secs(59);
        assert_eq!(cache.get("a", later), Some((2, Duration::from_secs(59))));
        assert_eq!(cache.get("a", now + minute), None);
        assert_eq!(cache.bytes, 0, "what is gone is not counted");

        cache.put("never".to_owned(), 0, 1, now, Duration::ZERO);
        cache.put("huge".to_owned(), 0, BYTES_MAX, now, minute);
        assert!(cache.get("never", now).is_none() && cache.get("huge", now).is_none());
        for number in 0..40 {
            cache.put(format!("{number}"), number, 1024 * 1024, now, minute);
        }
        assert!(cache.bytes <= BYTES_MAX && cache.get("39", now).is_some() && cache.get("0", now).is_none());
        for number in 0..2_000 {
            cache.put(format!("n{number}"), number, 1, now, minute);
        }
        assert_eq!(cache.entries.len(), ENTRIES_MAX.get());
    }
}
