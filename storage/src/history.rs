//! Reads a partition's records from the first one on: the archived ones, then the log's.

use std::path::{Path, PathBuf};

use bus_client::Bus;
use bus_client::events::StreamState;
use bus_client::log::LogEntry;
use bus_schemas::record::{self, CommitRecord};
use bus_schemas::{Hash, LogSequence, PartitionId};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};

use crate::archive::{Archive, expect_own};
use crate::backup::manifest;
use crate::{Advice, Progress, Sort, Unit};

/// Why history cannot be read, or an archive cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of the archive is damaged.
    #[error("reading the archive file `{}`: {reason}", .path.display())]
    Damaged { path: PathBuf, reason: String },
    /// The archive was written by a later program.
    #[error("reading the archive file `{}`: {reason}", .path.display())]
    Layout { path: PathBuf, reason: String },
    /// The archive belongs to another history than the installation's.
    #[error("the archive at `{}` is not of this installation: {reason}", .directory.display())]
    Foreign { directory: PathBuf, reason: String },
    /// Another process writes the archive.
    #[error("another process holds `{}`", .path.display())]
    InUse { path: PathBuf },
    /// The archive lacks records that were cut from the log.
    #[error("the log of partition {partition} was cut behind record {cut}, and the archive at `{}` has its records up to {end}", .directory.display())]
    Cut { partition: PartitionId, cut: LogSequence, directory: PathBuf, end: LogSequence },
    /// The log was cut while it was read.
    #[error("the log of partition {partition} was cut while it was read")]
    CutMeanwhile { partition: PartitionId },
    /// A record is damaged, or of a later version.
    #[error("reading record {sequence} of partition {partition}")]
    Record { partition: PartitionId, sequence: LogSequence, source: record::Error },
    /// An error of writing a file, or reading one of a backup.
    #[error(transparent)]
    File(#[from] manifest::Error),
    /// An error of the servers.
    #[error(transparent)]
    Bus(#[from] bus_client::Error),
}

impl Error {
    /// The error for a damaged file of the archive.
    pub fn damaged(path: &Path, reason: impl std::fmt::Display) -> Self {
        Self::Damaged { path: path.to_owned(), reason: reason.to_string() }
    }
    /// The error for a log that does not continue a record of the archive.
    pub(crate) fn unlinked(archive: &Archive, partition: PartitionId, sequence: LogSequence) -> Self {
        archive.foreign(format!("the log of partition {partition} does not go on with its record {sequence}"))
    }
    /// What to tell whoever meets the error.
    pub fn advice(&self) -> Advice {
        match self {
            Self::Damaged { .. } => Advice::new(
                "archive-damaged",
                Sort::Data,
                "bring the file back from a backup; for a file of events `orrery rebuild events` does, which writes all of them into the stream again from the logs",
            ),
            Self::Layout { .. } => {
                Advice::new("archive-damaged", Sort::Data, "use the version that wrote it")
            }
            Self::Foreign { .. } => Advice::new(
                "archive-foreign",
                Sort::Data,
                "nothing was taken out or cut; name this installation's own archive, or bring it back from its backup",
            ),
            Self::InUse { .. } => Advice::new(
                "archive-in-use",
                Sort::Unavailable,
                "wait until that `orrery archive` or `orrery backup` is done",
            ),
            Self::Cut { .. } => Advice::new(
                "log-cut",
                Sort::Data,
                "name the directory that was given as `--dir` to `orrery archive` with `--archive DIR`, or bring the files back from a backup",
            ),
            Self::CutMeanwhile { .. } => {
                Advice::new("log-cut", Sort::Unavailable, "try again when `orrery archive` has ended")
            }
            Self::Record { .. } => Advice::new(
                "record-unreadable",
                Sort::Data,
                "the event is damaged, or of a later version; `orrery verify --all` finds what else is",
            ),
            Self::File(error) => error.advice(),
            Self::Bus(error) => error.into(),
        }
    }
}

/// A record with its position.
#[derive(Debug)]
pub struct Entry {
    /// The record's sequence in the log.
    pub sequence: LogSequence,
    /// The sequence of the record before it.
    pub follows: LogSequence,
    /// The hash of the record's bytes: the `previous` of the next one.
    pub hash: Hash,
    /// The record, with large bodies in place.
    pub record: CommitRecord,
}

/// The records of a partition, in order.
pub struct Records<'a> {
    bus: Bus,
    archive: Archive,
    partition: PartitionId,
    entries: BoxStream<'static, Result<LogEntry, Error>>,
    /// The last record read, and its hash.
    last: (LogSequence, Hash),
    /// Records read from the archive.
    pub archived: u64,
    /// The last record that comes from the archive.
    cut: LogSequence,
    progress: &'a dyn Progress,
}

/// Reads all records that a partition has now.
pub async fn records<'a>(
    bus: &Bus,
    archive: &Archive,
    partition: PartitionId,
    progress: &'a dyn Progress,
) -> Result<Records<'a>, Error> {
    let state = bus.state_of(&bus.topology().log(partition)).await?;
    let cut = covered(archive, partition, &state)?;
    if cut.0 > 0 {
        expect_own(bus, archive).await?;
    }
    progress.begin(&format!("partition {partition}"), cut.0 + state.messages, Unit::Records);
    let logged = bus.records_after(partition, cut).await?.map_err(Error::from);
    let entries = stream::iter(archive.records(partition, cut)).chain(logged).boxed();
    let (archive, last, archived) = (archive.clone(), (LogSequence(0), Hash::default()), 0);
    Ok(Records { bus: bus.clone(), archive, partition, entries, last, archived, cut, progress })
}

/// The last record that was cut from a log, all of which the archive must have.
pub(crate) fn covered(
    archive: &Archive,
    partition: PartitionId,
    log: &StreamState,
) -> Result<LogSequence, Error> {
    let cut = LogSequence(log.first_sequence.saturating_sub(1));
    let (end, _) = archive.log_end(partition);
    match end >= cut {
        true => Ok(cut),
        false => Err(Error::Cut { partition, cut, directory: archive.directory().to_owned(), end }),
    }
}

impl Records<'_> {
    /// The next record as in the log; `None` at the end.
    pub async fn next_stored(&mut self) -> Result<Option<LogEntry>, Error> {
        let entry = self.entries.try_next().await?;
        let Some(entry) = entry else {
            self.progress.end();
            return Ok(None);
        };
        let (last, hash) = self.last;
        if entry.follows() > last {
            self.expect_uncut().await?;
        }
        // An unreadable record says nothing about the one before it.
        if last == self.cut
            && last.0 > 0
            && CommitRecord::decode(&entry.record).is_ok_and(|record| record.previous != hash)
        {
            return Err(Error::unlinked(&self.archive, self.partition, last));
        }
        self.last = (entry.sequence, if entry.sequence <= self.cut { Hash::of(&entry.record) } else { hash });
        self.archived += u64::from(entry.sequence <= self.cut);
        self.progress.advance(1);
        Ok(Some(entry))
    }

    /// A gap is damage, unless the log is being cut while it is read.
    async fn expect_uncut(&self) -> Result<(), Error> {
        let state = self.bus.state_of(&self.bus.topology().log(self.partition)).await?;
        match state.first_sequence <= self.cut.next().0 {
            true => Ok(()),
            false => Err(Error::CutMeanwhile { partition: self.partition }),
        }
    }

    /// The next record; `None` at the end. An unreadable record is an error.
    pub async fn next(&mut self) -> Result<Option<Entry>, Error> {
        let Some(entry) = self.next_stored().await? else { return Ok(None) };
        let (sequence, follows, partition) = (entry.sequence, entry.follows(), self.partition);
        let mut record = CommitRecord::decode(&entry.record).map_err(|source| Error::Record {
            partition,
            sequence,
            source,
        })?;
        self.bus.attach_blobs(&mut record).await?;
        Ok(Some(Entry { sequence, follows, hash: Hash::of(&entry.record), record }))
    }
}

impl std::fmt::Debug for Records<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Records").field("partition", &self.partition).finish_non_exhaustive()
    }
}
