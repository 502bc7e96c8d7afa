//! Observers within this process of what its partitions commit, for users that need no stream.

use std::fmt::Debug;
use std::sync::Arc;

use bus_schemas::PartitionId;
use bus_schemas::record::CommitRecord;

/// Observes the partitions of one host. Called from their loops, so it must return at once.
pub trait CommitObserver: Debug + Send + Sync {
    /// A partition is served from here on; its earlier events are in the event stream.
    fn began(&self, partition: PartitionId);
    /// A record is committed.
    fn committed(&self, record: &CommitRecord);
    /// A partition is no longer served here.
    fn ended(&self, partition: PartitionId);
}

/// A partition that is served; dropped when it no longer is, for whatever reason.
#[derive(Debug)]
pub(crate) struct Observed {
    observer: Option<Arc<dyn CommitObserver>>,
    partition: PartitionId,
}

impl Observed {
    pub(crate) fn begin(observer: Option<Arc<dyn CommitObserver>>, partition: PartitionId) -> Self {
        observer.iter().for_each(|observer| observer.began(partition));
        Self { observer, partition }
    }
    pub(crate) fn committed(&self, record: &CommitRecord) {
        self.observer.iter().for_each(|observer| observer.committed(record));
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        self.observer.iter().for_each(|observer| observer.ended(self.partition));
    }
}
