//! Repeats whose answers are in the log: read from there, beside everything else.

use bus_client::{Bus, Error};
use bus_schemas::record::CommitRecord;
use bus_schemas::{LogSequence, PartitionId};
use futures::FutureExt;

use super::Partition;
use crate::core::Repeat;

/// Records that are read at once: repeats are rare, and a record may have some megabytes.
const READS_MAX: usize = 8;

/// A repeat, and the record of its answer.
pub(super) type Read = (Repeat, Result<Option<CommitRecord>, Error>);

impl Partition {
    /// Sends for the records of the next repeats.
    pub(super) fn read_repeats(&mut self) {
        let room = READS_MAX.saturating_sub(self.repeats.len());
        for repeat in self.core.take_repeats(room) {
            let (bus, partition) = (self.bus.clone(), self.core.partition());
            self.repeats.push(
                async move {
                    let record = read(&bus, partition, repeat.record).await;
                    (repeat, record)
                }
                .boxed(),
            );
        }
    }

    /// A record is there. A caller whose record could not be had asks once more.
    pub(super) fn take_repeat(&mut self, repeat: Repeat, record: Result<Option<CommitRecord>, Error>) {
        match record {
            Ok(record) => self.core.answer_repeat(repeat, record.as_ref()),
            Err(error) => {
                let (partition, record) = (self.core.partition(), repeat.record);
                tracing::warn!(%partition, %record, %error, "reading the answer to a repeated command");
            }
        }
    }
}

/// A record, without what lies in the blob store: an answer never does. None where it is gone or cannot
/// be read, which would be the same again.
async fn read(
    bus: &Bus,
    partition: PartitionId,
    sequence: LogSequence,
) -> Result<Option<CommitRecord>, Error> {
    let entry = bus.record(partition, sequence).await?;
    Ok(entry.and_then(|entry| CommitRecord::decode(&entry.record).ok()))
}
