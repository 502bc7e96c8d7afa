//! What does not go on in the partitions of a host: said by whoever tries again, and told to whoever asks
//! whether the system is ready.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bus_client::Trouble;
use bus_schemas::{PartitionId, text};
use tokio::time::Instant;

/// What lasts no longer is a hiccup, or a takeover as they all are.
const HICCUP: Duration = Duration::from_secs(2);
/// An attempt that takes so long is slow: a server on a busy disk answers within tens of milliseconds.
const SLOW: Duration = Duration::from_secs(1);
/// Of each reason: a host says it with every renewal.
const REASON_BYTES_MAX: usize = 256;
/// The first pause before a record, an event or a job is tried again.
pub const PAUSE_MIN: Duration = Duration::from_millis(50);
/// The longest one: work goes on within that once the server takes it.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Since when a stage of a partition does not go on, and why.
type Stages = BTreeMap<(PartitionId, &'static str), (Instant, String)>;

/// What does not go on, by partition and stage. Cheap to clone; all clones see the same.
#[derive(Debug, Clone, Default)]
pub struct Stuck(Arc<Mutex<Stages>>);

impl Stuck {
    /// A stage of a partition does not go on; since when is what it was at first.
    pub(crate) fn note(&self, partition: PartitionId, stage: &'static str, reason: &str) {
        if let Ok(mut stages) = self.0.lock() {
            let (_, said) =
                stages.entry((partition, stage)).or_insert_with(|| (Instant::now(), String::new()));
            *said = text::cut(reason, REASON_BYTES_MAX);
        }
    }

    /// It goes on.
    pub(crate) fn clear(&self, partition: PartitionId, stage: &'static str) {
        if let Ok(mut stages) = self.0.lock() {
            stages.remove(&(partition, stage));
        }
    }

    /// The partitions in which something has not gone on for longer than a hiccup, and why.
    pub(crate) fn all(&self) -> BTreeMap<PartitionId, String> {
        let Ok(stages) = self.0.lock() else { return BTreeMap::new() };
        let lasting = stages.iter().filter(|(_, (since, _))| since.elapsed() > HICCUP);
        lasting.map(|((partition, stage), (_, reason))| (*partition, format!("{stage}: {reason}"))).collect()
    }
}

/// Something of a partition that is tried until it is done.
#[derive(Debug)]
pub(crate) struct Attempts {
    partition: PartitionId,
    stage: &'static str,
    stuck: Stuck,
    trouble: Trouble,
    noted: bool,
}

impl Attempts {
    /// None has failed yet.
    pub(crate) fn new(partition: PartitionId, stage: &'static str, stuck: &Stuck) -> Self {
        let trouble = Trouble::new(format!("{stage} of partition {partition}"), PAUSE_MIN, PAUSE_MAX);
        Self { partition, stage, stuck: stuck.clone(), trouble, noted: false }
    }

    /// Makes an attempt; one that takes longer than it should is noted before it has failed.
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

    /// One failed: waits until the next.
    pub(crate) async fn wait(&mut self, reason: &(dyn Display + Sync)) {
        self.note(&reason.to_string());
        self.trouble.wait(reason).await;
    }

    /// One succeeded.
    pub(crate) fn over(&mut self) {
        self.trouble.over();
        if std::mem::take(&mut self.noted) {
            self.stuck.clear(self.partition, self.stage);
        }
    }
}

impl Drop for Attempts {
    fn drop(&mut self) {
        // Whoever goes on with the partition has attempts of its own.
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
