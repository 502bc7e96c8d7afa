//! Reading a partition's log from its beginning: decoded, whole, with progress.

use bus_client::Bus;
use bus_client::log::LogEntry;
use bus_schemas::record::CommitRecord;
use bus_schemas::{Hash, LogSequence, PartitionId};
use futures::TryStreamExt;
use futures::stream::BoxStream;
use indicatif::{ProgressBar, ProgressStyle};

use crate::failure::{Failure, exit};
use crate::output::Output;

/// A record with its place.
#[derive(Debug)]
pub struct Entry {
    /// Its sequence in the log.
    pub sequence: LogSequence,
    /// The hash of its bytes: what the next record calls `previous`.
    pub hash: Hash,
    /// The record, large bodies in their places.
    pub record: CommitRecord,
}

/// The records of a partition, one after the other.
pub struct Records {
    bus: Bus,
    partition: PartitionId,
    entries: BoxStream<'static, Result<LogEntry, bus_client::Error>>,
    bar: ProgressBar,
}

/// All records that a partition has now.
pub async fn records(bus: &Bus, partition: PartitionId, output: Output) -> Result<Records, Failure> {
    let state = bus.state_of(&bus.topology().log(partition)).await?;
    let bar = if output.watched() { ProgressBar::new(state.messages) } else { ProgressBar::hidden() };
    let style = ProgressStyle::with_template("{prefix} {wide_bar} {pos}/{len} records");
    bar.set_style(style.expect("the template is a constant"));
    bar.set_prefix(format!("partition {partition}"));
    let entries = bus.records_after(partition, LogSequence(0)).await?;
    Ok(Records { bus: bus.clone(), partition, entries: Box::pin(entries), bar })
}

impl Records {
    /// The next record as it lies in the log; none behind the last one.
    pub async fn next_stored(&mut self) -> Result<Option<LogEntry>, Failure> {
        let entry = self.entries.try_next().await?;
        match entry {
            Some(_) => self.bar.inc(1),
            None => self.bar.finish_and_clear(),
        }
        Ok(entry)
    }

    /// The next record; none behind the last one. One that can not be read is a failure.
    pub async fn next(&mut self) -> Result<Option<Entry>, Failure> {
        let Some(entry) = self.next_stored().await? else { return Ok(None) };
        let (sequence, partition) = (entry.sequence, self.partition);
        let mut record = CommitRecord::decode(&entry.record).map_err(|error| {
            Failure::of("record-unreadable", &error)
                .next(format!(
                    "record {sequence} of partition {partition} is damaged, or of a later version; `orrery verify` finds what else is"
                ))
                .exit(exit::DATA)
        })?;
        self.bus.attach_blobs(&mut record).await?;
        Ok(Some(Entry { sequence, hash: Hash::of(&entry.record), record }))
    }
}

impl std::fmt::Debug for Records {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Records").field("partition", &self.partition).finish_non_exhaustive()
    }
}
