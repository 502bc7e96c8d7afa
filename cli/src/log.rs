//! Reading a partition's records from the first one on: what the archive has of them, then the log.

use bus_client::Bus;
use bus_client::events::StreamState;
use bus_client::log::LogEntry;
use bus_schemas::record::CommitRecord;
use bus_schemas::{Hash, LogSequence, PartitionId};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use indicatif::{ProgressBar, ProgressStyle};

use crate::commands::archive::{Archive, expect_own, foreign};
use crate::failure::{Failure, exit};
use crate::output::Output;

/// A record with its place.
#[derive(Debug)]
pub struct Entry {
    /// Its sequence in the log.
    pub sequence: LogSequence,
    /// The record before it.
    pub follows: LogSequence,
    /// The hash of its bytes: what the next record calls `previous`.
    pub hash: Hash,
    /// The record, large bodies in their places.
    pub record: CommitRecord,
}

/// The records of a partition, one after the other.
pub struct Records {
    bus: Bus,
    archive: Archive,
    partition: PartitionId,
    entries: BoxStream<'static, Result<LogEntry, Failure>>,
    /// The last record that was read, and its hash.
    last: (LogSequence, Hash),
    /// How many were read from the archive.
    pub archived: u64,
    /// Up to which record they come from the archive.
    cut: LogSequence,
    bar: ProgressBar,
}

/// All records that a partition has now.
pub async fn records(
    bus: &Bus,
    archive: &Archive,
    partition: PartitionId,
    output: Output,
) -> Result<Records, Failure> {
    let state = bus.state_of(&bus.topology().log(partition)).await?;
    let cut = covered(archive, partition, &state)?;
    if cut.0 > 0 {
        expect_own(bus, archive).await?;
    }
    let bar = if output.watched() { ProgressBar::new(cut.0 + state.messages) } else { ProgressBar::hidden() };
    let style = ProgressStyle::with_template("{prefix} {wide_bar} {pos}/{len} records");
    bar.set_style(style.expect("the template is a constant"));
    bar.set_prefix(format!("partition {partition}"));
    let logged = bus.records_after(partition, cut).await?.map_err(Failure::from);
    let entries = stream::iter(archive.records(partition, cut)).chain(logged).boxed();
    let (archive, last, archived) = (archive.clone(), (LogSequence(0), Hash::default()), 0);
    Ok(Records { bus: bus.clone(), archive, partition, entries, last, archived, cut, bar })
}

/// Up to which record a log was cut. The archive must have all of those.
pub fn covered(archive: &Archive, partition: PartitionId, log: &StreamState) -> Result<LogSequence, Failure> {
    let cut = LogSequence(log.first_sequence.saturating_sub(1));
    let (end, _) = archive.log_end(partition);
    if end >= cut {
        return Ok(cut);
    }
    let place = archive.directory().display();
    Err(Failure::new(
        "log-cut",
        format!("the log of partition {partition} was cut behind record {cut}, and the archive at `{place}` has its records up to {end}"),
    )
    .next("name the directory that was given as `--dir` to `orrery archive` with `--archive DIR`, or bring the files back from a backup")
    .exit(exit::DATA))
}

/// The archive and the log have two histories.
pub fn unlinked(archive: &Archive, partition: PartitionId, sequence: LogSequence) -> Failure {
    let reason = format!("the log of partition {partition} does not go on with its record {sequence}");
    foreign(archive.directory(), &reason)
}

impl Records {
    /// The next record as it lies in the log; none behind the last one.
    pub async fn next_stored(&mut self) -> Result<Option<LogEntry>, Failure> {
        let entry = self.entries.try_next().await?;
        let Some(entry) = entry else {
            self.bar.finish_and_clear();
            return Ok(None);
        };
        let (last, hash) = self.last;
        if entry.follows() > last {
            self.expect_uncut().await?;
        }
        // One that can not be read says nothing of what stood before it.
        if last == self.cut
            && last.0 > 0
            && CommitRecord::decode(&entry.record).is_ok_and(|record| record.previous != hash)
        {
            return Err(unlinked(&self.archive, self.partition, last));
        }
        self.last = (entry.sequence, if entry.sequence <= self.cut { Hash::of(&entry.record) } else { hash });
        self.archived += u64::from(entry.sequence <= self.cut);
        self.bar.inc(1);
        Ok(Some(entry))
    }

    /// A gap is damage, unless the log is being cut while it is read.
    async fn expect_uncut(&self) -> Result<(), Failure> {
        let state = self.bus.state_of(&self.bus.topology().log(self.partition)).await?;
        if state.first_sequence <= self.cut.next().0 {
            return Ok(());
        }
        Err(Failure::new(
            "log-cut",
            format!("the log of partition {} was cut while it was read", self.partition),
        )
        .next("try again when `orrery archive` has ended")
        .exit(exit::UNAVAILABLE))
    }

    /// The next record; none behind the last one. One that can not be read is a failure.
    pub async fn next(&mut self) -> Result<Option<Entry>, Failure> {
        let Some(entry) = self.next_stored().await? else { return Ok(None) };
        let (sequence, follows, partition) = (entry.sequence, entry.follows(), self.partition);
        let mut record = CommitRecord::decode(&entry.record).map_err(|error| {
            Failure::of("record-unreadable", &error)
                .next(format!(
                    "record {sequence} of partition {partition} is damaged, or of a later version; `orrery verify` finds what else is"
                ))
                .exit(exit::DATA)
        })?;
        self.bus.attach_blobs(&mut record).await?;
        Ok(Some(Entry { sequence, follows, hash: Hash::of(&entry.record), record }))
    }
}

impl std::fmt::Debug for Records {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Records").field("partition", &self.partition).finish_non_exhaustive()
    }
}
