//! Who hears within this process of what its partitions commit. Whoever needs no more than that follows no
//! stream for it.

use std::fmt::Debug;
use std::sync::Arc;

use bus_schemas::PartitionId;
use bus_schemas::record::CommitRecord;

/// Hears of the partitions of one host. Called from their loops, so it returns at once.
pub trait CommitObserver: Debug + Send + Sync {
    /// A partition is served from here on: its earlier events are in the event stream.
    fn began(&self, partition: PartitionId);
    /// A record is in the log.
    fn committed(&self, record: &CommitRecord);
    /// A partition is not served here any more.
    fn ended(&self, partition: PartitionId);
}

/// A partition that is served; dropped when it no longer is, however that came.
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
