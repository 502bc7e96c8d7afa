//! Stages of a host's partitions that make no progress: noted by the code that retries, and reported to
//! health checks.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bus_client::Trouble;
use bus_schemas::{PartitionId, text};
use tokio::time::Instant;

/// A stage that is stuck for less time is not reported: a hiccup, or an ordinary takeover.
const HICCUP: Duration = Duration::from_secs(2);
/// An attempt that takes longer is slow: a server with a busy disk answers within tens of milliseconds.
const SLOW: Duration = Duration::from_secs(1);
/// The most bytes of a reason: a host repeats it with every renewal.
const REASON_BYTES_MAX: usize = 256;
/// The first pause before a record, an event or a job is tried again.
pub const PAUSE_MIN: Duration = Duration::from_millis(50);
/// The longest pause: work resumes within it once the server accepts messages again.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// The stuck stages of partitions, each with its beginning and reason.
type Stages = BTreeMap<(PartitionId, &'static str), (Instant, String)>;

/// The stuck stages, by partition and stage. Cheap to clone; all clones share the content.
#[derive(Debug, Clone, Default)]
pub struct Stuck(Arc<Mutex<Stages>>);

impl Stuck {
    /// Notes a stuck stage. If it is noted already, its beginning stays.
    pub(crate) fn note(&self, partition: PartitionId, stage: &'static str, reason: &str) {
        if let Ok(mut stages) = self.0.lock() {
            let (_, said) =
                stages.entry((partition, stage)).or_insert_with(|| (Instant::now(), String::new()));
            *said = text::cut(reason, REASON_BYTES_MAX);
        }
    }

    /// Removes a stage that makes progress again.
    pub(crate) fn clear(&self, partition: PartitionId, stage: &'static str) {
        if let Ok(mut stages) = self.0.lock() {
            stages.remove(&(partition, stage));
        }
    }

    /// Whether every stage makes progress.
    pub fn is_empty(&self) -> bool {
        self.0.lock().is_ok_and(|stages| stages.is_empty())
    }

    /// The partitions with a stage that is stuck for longer than [`HICCUP`], with the reason.
    pub(crate) fn all(&self) -> BTreeMap<PartitionId, String> {
        let Ok(stages) = self.0.lock() else { return BTreeMap::new() };
        let lasting = stages.iter().filter(|(_, (since, _))| since.elapsed() > HICCUP);
        lasting.map(|((partition, stage), (_, reason))| (*partition, format!("{stage}: {reason}"))).collect()
    }
}

/// The retries of one stage of a partition.
#[derive(Debug)]
pub(crate) struct Attempts {
    partition: PartitionId,
    stage: &'static str,
    stuck: Stuck,
    trouble: Trouble,
    noted: bool,
}

impl Attempts {
    /// Retries of a stage, none of which has failed yet.
    pub(crate) fn new(partition: PartitionId, stage: &'static str, stuck: &Stuck) -> Self {
        let trouble = Trouble::new(format!("{stage} of partition {partition}"), PAUSE_MIN, PAUSE_MAX);
        Self { partition, stage, stuck: stuck.clone(), trouble, noted: false }
    }

    /// Makes an attempt; one that is slow is noted before it has ended.
    pub(crate) async fn make<T>(&mut self, attempt: impl Future<Output = T>) -> T {
        let mut attempt = std::pin::pin!(attempt);
        match tokio::time::timeout(SLOW, attempt.as_mut()).await {
            Ok(made) => made,
            Err(_) => {
                self.note("no answer yet");
                attempt.await
            }
        }
    }

    fn note(&mut self, reason: &str) {
        self.noted = true;
        self.stuck.note(self.partition, self.stage, reason);
    }

    /// Notes a failed attempt, and waits until the next one.
    pub(crate) async fn wait(&mut self, reason: &(dyn Display + Sync)) {
        self.note(&reason.to_string());
        self.trouble.wait(reason).await;
    }

    /// Notes a successful attempt.
    pub(crate) fn over(&mut self) {
        self.trouble.over();
        if std::mem::take(&mut self.noted) {
            self.stuck.clear(self.partition, self.stage);
        }
    }
}

impl Drop for Attempts {
    fn drop(&mut self) {
        // The next owner of the partition has retries of its own.
        self.over();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_lasts_is_named_until_it_goes_on() {
        let stuck = Stuck::default();
        let mut attempts = Attempts::new(PartitionId(3), "jobs", &stuck);
        attempts.wait(&"refused").await;
        assert!(stuck.all().is_empty(), "a hiccup");
        for _ in 0..10 {
            attempts.wait(&"refused").await;
        }
        let named = BTreeMap::from([(PartitionId(3), "jobs: refused".to_owned())]);
        assert_eq!(stuck.all(), named);
        attempts.over();
        assert!(stuck.all().is_empty());
        attempts.wait(&"refused").await;
        drop(attempts);
        tokio::time::advance(HICCUP * 2).await;
        assert!(stuck.all().is_empty(), "it was given up");
    }
}
