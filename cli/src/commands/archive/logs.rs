//! Commit records in the archive: what was cut off the logs, byte for byte.
//!
//! A file holds consecutive records of one partition, each a MessagePack array of its sequence and its
//! bytes. The files of a partition follow one another from its first record on.

use std::fs::File;
use std::io::{BufRead, BufReader};

use bus_client::log::LogEntry;
use bus_schemas::record::CommitRecord;
use bus_schemas::{Hash, LogSequence, PartitionId};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::files::{Archive, New, damaged};
use crate::commands::backup::manifest::Stored;
use crate::failure::Failure;

/// A file of commit records.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LogFile {
    /// Whose log.
    pub partition: PartitionId,
    /// The record before the first one.
    pub after: LogSequence,
    /// The first record.
    pub first: LogSequence,
    /// The last record.
    pub last: LogSequence,
    /// The hash of the last record: what the next one calls `previous`.
    pub hash: Hash,
    /// The file.
    #[serde(flatten)]
    pub stored: Stored,
}

/// A file of records that is being written.
pub struct NewLog {
    new: New,
    partition: PartitionId,
    /// What it has; none before the first record.
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
    pub fn add(&mut self, entry: &LogEntry) -> Result<(), Failure> {
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
    /// Up to which record of a partition the archive reaches from the first one on, and that record's hash.
    pub fn log_end(&self, partition: PartitionId) -> (LogSequence, Hash) {
        let files = self.logs().iter().filter(|file| file.partition == partition);
        files.fold((LogSequence(0), Hash::default()), |(end, hash), file| {
            if file.after <= end && file.last > end { (file.last, file.hash) } else { (end, hash) }
        })
    }

    /// The archived records of a partition up to one, in order; each file is held against its hash first.
    pub fn records(
        &self,
        partition: PartitionId,
        upto: LogSequence,
    ) -> impl Iterator<Item = Result<LogEntry, Failure>> + Send + use<> {
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

    fn read_log(&self, file: &LogFile) -> Box<dyn Iterator<Item = Result<LogEntry, Failure>> + Send> {
        let path = self.directory().join(&file.stored.file);
        let opened = self
            .check_file(&file.stored)
            .and_then(|()| File::open(&path).map_err(|error| damaged(&path, &error.to_string())));
        let mut reader = match opened {
            Ok(opened) => BufReader::new(opened),
            Err(failure) => return Box::new(std::iter::once(Err(failure))),
        };
        Box::new(std::iter::from_fn(move || match reader.fill_buf() {
            Ok([]) => None,
            Ok(_) => Some(
                rmp_serde::from_read::<_, (LogSequence, u64, Bytes)>(&mut reader)
                    .map(|(sequence, foreign, record)| LogEntry { sequence, record, foreign })
                    .map_err(|error| damaged(&path, &error.to_string())),
            ),
            Err(error) => Some(Err(damaged(&path, &error.to_string()))),
        }))
    }

    /// A new file for the records of a partition behind those that are here.
    pub fn begin_log(&self, partition: PartitionId) -> Result<NewLog, Failure> {
        let number = self.logs().iter().filter(|file| file.partition == partition).count() + 1;
        let new = self.create(format!("log-{partition}-{number:06}.records"))?;
        Ok(NewLog { new, partition, range: None })
    }

    /// Takes a file of records in, synced and read back along the chain of hashes.
    pub fn add_records(&mut self, new: NewLog) -> Result<(), Failure> {
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
            let record = record.map_err(|error| damaged(&path, &error.to_string()))?;
            if entry.follows() != end || record.previous != link {
                let reason = format!("record {} does not follow record {end}", entry.sequence);
                return Err(damaged(&path, &reason));
            }
            (end, link) = (entry.sequence, Hash::of(&entry.record));
        }
        if (end, link) != (last, hash) {
            return Err(damaged(&path, &format!("it ends at record {end}, and record {last} was written")));
        }
        self.add_log(file)
    }
}
