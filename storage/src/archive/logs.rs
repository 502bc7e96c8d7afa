//! Commit records in the archive: those that were cut from the logs, byte for byte.
//!
//! A file holds consecutive records of one partition, each as a MessagePack array of its sequence and its
//! bytes. The files of a partition follow one another, from its first record on.

use std::fs::File;
use std::io::{BufRead, BufReader};

use bus_client::log::LogEntry;
use bus_schemas::record::CommitRecord;
use bus_schemas::{Hash, LogSequence, PartitionId};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::files::{Archive, New};
use crate::backup::manifest::Stored;
use crate::history::Error;

/// A file of commit records.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LogFile {
    /// The partition of the log.
    pub partition: PartitionId,
    /// The record before the first one.
    pub after: LogSequence,
    /// The first record.
    pub first: LogSequence,
    /// The last record.
    pub last: LogSequence,
    /// The hash of the last record: the `previous` of the next one.
    pub hash: Hash,
    /// The file.
    #[serde(flatten)]
    pub stored: Stored,
}

/// A file of records that is being written.
pub struct NewLog {
    new: New,
    partition: PartitionId,
    /// The records written so far; `None` before the first.
    range: Option<Range>,
}

/// The records of a file.
#[derive(Debug, Clone, Copy)]
struct Range {
    /// The record before the first one.
    after: LogSequence,
    first: LogSequence,
    last: LogSequence,
    /// The hash of the last one.
    hash: Hash,
}

impl NewLog {
    /// Adds a record.
    pub fn add(&mut self, entry: &LogEntry) -> Result<(), Error> {
        let framed = rmp_serde::to_vec(&(entry.sequence, entry.foreign, &entry.record));
        let framed = framed.expect("numbers and bytes");
        let (last, hash) = (entry.sequence, Hash::of(&entry.record));
        self.range = Some(match self.range {
            Some(range) => Range { last, hash, ..range },
            None => Range { after: entry.follows(), first: last, last, hash },
        });
        self.new.write(&framed)
    }
}

impl Archive {
    /// The last record that the archive has of a partition without gaps from the first one on, and that
    /// record's hash.
    pub fn log_end(&self, partition: PartitionId) -> (LogSequence, Hash) {
        let files = self.logs().iter().filter(|file| file.partition == partition);
        files.fold((LogSequence(0), Hash::default()), |(end, hash), file| {
            if file.after <= end && file.last > end { (file.last, file.hash) } else { (end, hash) }
        })
    }

    /// The archived records of a partition up to `upto`, in order; each file's hash is checked first.
    pub fn records(
        &self,
        partition: PartitionId,
        upto: LogSequence,
    ) -> impl Iterator<Item = Result<LogEntry, Error>> + Send + use<> {
        let archive = self.clone();
        let files: Vec<LogFile> =
            self.logs().iter().filter(|file| file.partition == partition).cloned().collect();
        let mut last = LogSequence(0);
        let entries = files.into_iter().flat_map(move |file| archive.read_log(&file));
        entries.filter(move |entry| {
            let Ok(entry) = entry else { return true };
            let news = entry.sequence > last && entry.sequence <= upto;
            last = last.max(entry.sequence);
            news
        })
    }

    fn read_log(&self, file: &LogFile) -> Box<dyn Iterator<Item = Result<LogEntry, Error>> + Send> {
        let path = self.directory().join(&file.stored.file);
        let opened = self
            .check_file(&file.stored)
            .and_then(|()| File::open(&path).map_err(|error| Error::damaged(&path, error)));
        let mut reader = match opened {
            Ok(opened) => BufReader::new(opened),
            Err(error) => return Box::new(std::iter::once(Err(error))),
        };
        Box::new(std::iter::from_fn(move || match reader.fill_buf() {
            Ok([]) => None,
            Ok(_) => Some(
                rmp_serde::from_read::<_, (LogSequence, u64, Bytes)>(&mut reader)
                    .map(|(sequence, foreign, record)| LogEntry { sequence, record, foreign })
                    .map_err(|error| Error::damaged(&path, error)),
            ),
            Err(error) => Some(Err(Error::damaged(&path, error))),
        }))
    }

    /// Creates a file for the records of a partition behind the archived ones.
    pub fn begin_log(&self, partition: PartitionId) -> Result<NewLog, Error> {
        let number = self.logs().iter().filter(|file| file.partition == partition).count() + 1;
        let new = self.create(format!("log-{partition}-{number:06}.records"))?;
        Ok(NewLog { new, partition, range: None })
    }

    /// Adds a file of records, synced and read back along the chain of hashes.
    pub fn add_records(&mut self, new: NewLog) -> Result<(), Error> {
        let NewLog { new, partition, range } = new;
        let Some(Range { after, first, last, hash }) = range else {
            new.abandon();
            return Ok(());
        };
        let file = LogFile { partition, after, first, last, hash, stored: new.finish()? };
        let (mut end, mut link) = self.log_end(partition);
        let path = self.directory().join(&file.stored.file);
        for entry in self.read_log(&file) {
            let entry = entry?;
            let record = CommitRecord::decode(&entry.record);
            let record = record.map_err(|error| Error::damaged(&path, error))?;
            if entry.follows() != end || record.previous != link {
                let reason = format!("record {} does not follow record {end}", entry.sequence);
                return Err(Error::damaged(&path, reason));
            }
            (end, link) = (entry.sequence, Hash::of(&entry.record));
        }
        if (end, link) != (last, hash) {
            return Err(Error::damaged(
                &path,
                format!("the file ends at record {end}, and record {last} was written"),
            ));
        }
        self.add_log(file)
    }
}
