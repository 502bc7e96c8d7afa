//! Repeats whose replies are in the log: read from it beside the loop.

use bus_client::{Bus, Error};
use bus_schemas::record::CommitRecord;
use bus_schemas::{LogSequence, PartitionId};
use futures::FutureExt;

use super::Partition;

/// Records read at once: a repeat that memory no longer answers is rare, and a record may have some
/// megabytes.
const READS_MAX: usize = 8;

/// A record that was read.
pub(super) type Read = (LogSequence, Result<Option<CommitRecord>, Error>);

impl Partition {
    /// Starts reading the next records for repeats.
    pub(super) fn read_repeats(&mut self) {
        let room = READS_MAX.saturating_sub(self.repeats.len());
        for sequence in self.core.take_records_to_read(room) {
            let (bus, partition) = (self.bus.clone(), self.core.partition());
            self.repeats.push(async move { (sequence, read(&bus, partition, sequence).await) }.boxed());
        }
    }

    /// Answers the repeats of a record. Callers whose record could not be read ask again.
    pub(super) fn take_repeats(
        &mut self,
        sequence: LogSequence,
        record: Result<Option<CommitRecord>, Error>,
    ) {
        match record {
            Ok(record) => self.core.answer_repeats(sequence, record.as_ref()),
            Err(error) => {
                self.core.drop_repeats(sequence);
                let partition = self.core.partition();
                tracing::warn!(%partition, record = %sequence, %error, "reading the answers to repeated commands");
            }
        }
    }
}

/// A record without its bodies in the blob store: a reply is never there. `None` if the record is gone or
/// cannot be decoded, which a retry would not change.
async fn read(
    bus: &Bus,
    partition: PartitionId,
    sequence: LogSequence,
) -> Result<Option<CommitRecord>, Error> {
    let entry = bus.record(partition, sequence).await?;
    Ok(entry.and_then(|entry| CommitRecord::decode(&entry.record).ok()))
}
