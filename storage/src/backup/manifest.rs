//! A backup's manifest and its files: hashed while they are written, synced, and checked before they are
//! read.

use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};

use bus_client::backup::{Held, Snapshot, Totals, count};
use serde::{Deserialize, Serialize};

use crate::{Advice, Sort};

/// The layout version of a backup: raised when an older program could not read it.
pub const SCHEMA: u16 = 1;
/// The name of the manifest; a directory without one is no backup.
const FILE: &str = "manifest.json";
/// The directory of archive files in a backup.
pub const ARCHIVE: &str = "archive";
/// Bytes read at once.
const BUFFER_BYTES: usize = 1024 * 1024;

/// Why a file cannot be written, or a backup's file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be written, or not be read back.
    #[error("writing `{}`: {reason}", .path.display())]
    Unwritable { path: PathBuf, reason: String },
    /// The manifest is missing.
    #[error("reading `{}`: {reason}", .path.display())]
    NoManifest { path: PathBuf, reason: String },
    /// The manifest is invalid.
    #[error("reading `{}`: {reason}", .path.display())]
    Unreadable { path: PathBuf, reason: String },
    /// The backup was written by a later program.
    #[error("reading `{}`: its layout is {found}, and this program reads {SCHEMA}", .path.display())]
    Layout { path: PathBuf, found: String },
    /// A file that the manifest names cannot be read.
    #[error("`{}` cannot be read: {reason}", .path.display())]
    Missing { path: PathBuf, reason: String },
    /// The file has another length than the manifest says.
    #[error("`{}` has {bytes} bytes, and the manifest says {wanted}", .path.display())]
    Truncated { path: PathBuf, bytes: u64, wanted: u64 },
    /// The file has another hash than the manifest says.
    #[error("`{}` is not what the manifest says: its hash differs", .path.display())]
    Changed { path: PathBuf },
    /// The file lacks messages that the server announced.
    #[error("reading `{}` back: {reason}", .path.display())]
    Lacking { path: PathBuf, reason: String },
}

impl Error {
    /// A file that cannot be written.
    pub fn unwritable(path: &Path, reason: impl std::fmt::Display) -> Self {
        Self::Unwritable { path: path.to_owned(), reason: reason.to_string() }
    }
    /// A file that cannot be read.
    pub fn missing(path: &Path, reason: impl std::fmt::Display) -> Self {
        Self::Missing { path: path.to_owned(), reason: reason.to_string() }
    }
    /// A file that lacks messages.
    pub fn lacking(path: &Path, reason: impl std::fmt::Display) -> Self {
        Self::Lacking { path: path.to_owned(), reason: reason.to_string() }
    }
    /// What to tell whoever meets the error.
    pub fn advice(&self) -> Advice {
        match self {
            Self::Unwritable { .. } => Advice::new(
                "output-unwritable",
                Sort::Unwritable,
                "free disk space, mend permissions, or choose another directory",
            ),
            Self::NoManifest { .. } => Advice::new(
                "backup-unreadable",
                Sort::NotFound,
                "name the directory that `orrery backup` wrote; one that was interrupted is no backup",
            ),
            Self::Unreadable { .. } => Advice::new(
                "backup-unreadable",
                Sort::Data,
                "name the directory that `orrery backup` wrote; one that was interrupted is no backup",
            ),
            Self::Layout { .. } => {
                Advice::new("backup-unreadable", Sort::Data, "use the version that wrote it")
            }
            Self::Missing { .. } => Advice::new(
                "backup-file-missing",
                Sort::Data,
                "nothing was changed; use another copy of the backup",
            ),
            Self::Truncated { .. } => Advice::new(
                "backup-file-truncated",
                Sort::Data,
                "nothing was changed; use another copy of the backup",
            ),
            Self::Changed { .. } => Advice::new(
                "backup-file-changed",
                Sort::Data,
                "nothing was changed; use another copy of the backup",
            ),
            Self::Lacking { .. } => Advice::new(
                "backup-unreadable",
                Sort::Data,
                "take the backup again; `orrery doctor` says whether the server is of a known version",
            ),
        }
    }
}

/// The content of a backup.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The layout version: 1.
    pub schema: u16,
    /// The version of Orrery that wrote the backup.
    pub orrery_version: String,
    /// The NATS server's version.
    pub server_version: String,
    /// The durability profile: `durable`, `replicated` or `fast`.
    pub profile: String,
    /// The first token of every subject.
    pub subject_prefix: String,
    /// When the backup began, in RFC 3339.
    pub begun_at: String,
    /// The partitions, in order.
    pub partitions: Vec<Partition>,
    /// Streams, and the streams below buckets and object stores.
    pub streams: Vec<StreamFile>,
    /// Archive files.
    pub archives: Vec<Stored>,
}

/// A partition in a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// The number of the partition.
    pub partition: u16,
    /// The last record whose dead letters are all in their stream.
    pub dead_out: u64,
    /// The inbox sequence of the last durable command that the log has applied.
    pub inbox: u64,
    /// The partition's snapshot, if there was one.
    pub snapshot: Option<Stored>,
}

/// A stream in a backup.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StreamFile {
    /// The stream's file.
    pub stored: Stored,
    /// The stream's settings, and the content of the file.
    pub snapshot: Snapshot,
    /// The content of the restored stream: a log ends where all logs agree.
    pub restored: Totals,
}

impl StreamFile {
    /// The stream's name.
    pub fn name(&self) -> &str {
        self.snapshot.config["name"].as_str().unwrap_or_default()
    }
}

/// A file of a backup or an archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// The path in the directory.
    pub file: String,
    /// The length in bytes.
    pub bytes: u64,
    /// The BLAKE3 hash of the content: 64 hexadecimal digits.
    pub blake3: String,
}

impl Manifest {
    /// Writes the manifest atomically.
    pub fn write(&self, directory: &Path) -> Result<(), Error> {
        write_json(&directory.join(FILE), self)
    }

    /// Whether a directory is a backup.
    pub fn is_in(directory: &Path) -> bool {
        directory.join(FILE).is_file()
    }

    /// Reads the manifest of a directory.
    pub fn read(directory: &Path) -> Result<Self, Error> {
        let path = directory.join(FILE);
        let text = std::fs::read_to_string(&path)
            .map_err(|error| Error::NoManifest { path: path.clone(), reason: error.to_string() })?;
        let unreadable =
            |error: serde_json::Error| Error::Unreadable { path: path.clone(), reason: error.to_string() };
        let manifest: serde_json::Value = serde_json::from_str(&text).map_err(unreadable)?;
        // A later layout may differ in everything but this field.
        if manifest["schema"] != SCHEMA {
            return Err(Error::Layout { found: manifest["schema"].to_string(), path });
        }
        let manifest: Self = serde_json::from_value(manifest).map_err(unreadable)?;
        match manifest.count() {
            Some(_) => Ok(manifest),
            None => Err(Error::Unreadable { path, reason: "the manifest names no partitions".to_owned() }),
        }
    }

    fn count(&self) -> Option<NonZeroU16> {
        NonZeroU16::new(u16::try_from(self.partitions.len()).ok()?)
    }

    /// The number of partitions.
    pub fn partitions(&self) -> NonZeroU16 {
        self.count().expect("a manifest that names none is not read")
    }

    /// Every file that the manifest names.
    pub fn files(&self) -> impl Iterator<Item = &Stored> {
        let streams = self.streams.iter().map(|stream| &stream.stored);
        let snapshots = self.partitions.iter().filter_map(|partition| partition.snapshot.as_ref());
        streams.chain(snapshots).chain(&self.archives)
    }

    /// Commit records in all logs.
    pub fn records(&self) -> u64 {
        let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let log = |stream: &&StreamFile| {
            stream.name().rsplit_once("_LOG_").is_some_and(|(_, partition)| number(partition))
        };
        self.streams.iter().filter(log).map(|stream| stream.restored.messages).sum()
    }

    /// Checks the hash of every file. `read` is told the number of bytes read.
    pub fn check(&self, directory: &Path, read: impl Fn(u64)) -> Result<(), Error> {
        self.files().try_for_each(|file| file.check(directory, &read))
    }
}

impl Stored {
    /// Checks the length and the hash of the file.
    pub fn check(&self, directory: &Path, read: impl Fn(u64)) -> Result<(), Error> {
        let path = directory.join(&self.file);
        let unreadable = |error: std::io::Error| Error::missing(&path, error);
        let mut file = File::open(&path).map_err(unreadable)?;
        let (mut hasher, mut bytes) = (blake3::Hasher::new(), 0);
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let count = file.read(&mut buffer).map_err(unreadable)?;
            if count == 0 {
                break;
            }
            hasher.update(&buffer[..count]);
            bytes += count as u64;
            read(count as u64);
        }
        if bytes != self.bytes {
            return Err(Error::Truncated { path, bytes, wanted: self.bytes });
        }
        match hasher.finalize().to_hex().as_str() == self.blake3 {
            true => Ok(()),
            false => Err(Error::Changed { path }),
        }
    }
}

/// Reads a stream's file back and returns its content.
pub fn held(path: &Path) -> Result<Held, Error> {
    let file = File::open(path).map_err(|error| Error::unwritable(path, error))?;
    count(BufReader::with_capacity(BUFFER_BYTES, file)).map_err(|error| Error::lacking(path, error))
}

/// A file that is being written.
pub struct Writer {
    path: PathBuf,
    file: File,
    hasher: blake3::Hasher,
    bytes: u64,
    failure: Option<String>,
}

impl Writer {
    /// Creates a file.
    pub fn create(path: &Path) -> Result<Self, Error> {
        let file = File::create_new(path).map_err(|error| Error::unwritable(path, error))?;
        Ok(Self { path: path.to_owned(), file, hasher: blake3::Hasher::new(), bytes: 0, failure: None })
    }
    /// The error of the last write, if it failed.
    pub fn failure(&self) -> Option<Error> {
        self.failure.as_ref().map(|reason| Error::unwritable(&self.path, reason))
    }
    /// Syncs the file. `file` is its path for the manifest.
    pub fn finish(self, file: &str) -> Result<Stored, Error> {
        self.file.sync_all().map_err(|error| Error::unwritable(&self.path, error))?;
        let blake3 = self.hasher.finalize().to_hex().to_string();
        Ok(Stored { file: file.to_owned(), bytes: self.bytes, blake3 })
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.file.write(bytes).inspect_err(|error| self.failure = Some(error.to_string()))?;
        self.hasher.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

/// Writes plain data as JSON, atomically and synced.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<(), Error> {
    let half = path.with_extension("half");
    let text = serde_json::to_string_pretty(value).expect("manifests are plain data") + "\n";
    let written = File::create(&half).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&half, path)
    });
    written.map_err(|error| Error::unwritable(path, error))?;
    sync_directory(path.parent().unwrap_or(Path::new(".")))
}

/// Syncs a directory: only then is a new file's name on disk.
pub fn sync_directory(directory: &Path) -> Result<(), Error> {
    let synced = File::open(directory).and_then(|file| file.sync_all());
    synced.map_err(|error| Error::unwritable(directory, error))
}
