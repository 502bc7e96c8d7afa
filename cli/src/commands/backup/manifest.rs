//! A backup's manifest and its files: hashed while they are written, synced, and checked before they
//! are read.

use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::path::{Path, PathBuf};

use bus_client::backup::{Held, Snapshot, Totals, count};
use serde::{Deserialize, Serialize};

use crate::failure::{Failure, exit};

/// The layout of a backup: raised when an older program could not read it.
pub const SCHEMA: u16 = 1;
/// The manifest's file; what has none is no backup.
const FILE: &str = "manifest.json";
/// The folder of archive files in a backup.
pub const ARCHIVE: &str = "archive";
/// Bytes that are read at once.
const BUFFER_BYTES: usize = 1024 * 1024;

/// What a backup holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The layout: 1.
    pub schema: u16,
    /// The version that wrote it.
    pub orrery_version: String,
    /// The NATS server's version.
    pub server_version: String,
    /// `durable`, `replicated` or `fast`.
    pub profile: String,
    /// The first token of every subject.
    pub subject_prefix: String,
    /// When it began, RFC 3339.
    pub begun_at: String,
    /// Every partition, in order.
    pub partitions: Vec<Partition>,
    /// Streams, and the streams below buckets and object stores.
    pub streams: Vec<StreamFile>,
    /// Archive files.
    pub archives: Vec<Stored>,
}

/// A partition in a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// Which.
    pub partition: u16,
    /// The record up to which its dead letters are in their stream.
    pub dead_out: u64,
    /// The last durable command that its log has applied.
    pub inbox: u64,
    /// Its snapshot, if there was one.
    pub snapshot: Option<Stored>,
}

/// A stream in a backup.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StreamFile {
    /// Its file.
    pub stored: Stored,
    /// Its settings, and what the file holds.
    pub snapshot: Snapshot,
    /// What a restored stream holds: a log ends where all logs agree.
    pub restored: Totals,
}

impl StreamFile {
    /// The stream's name.
    pub fn name(&self) -> &str {
        self.snapshot.config["name"].as_str().unwrap_or_default()
    }
}

/// A file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// Its path in the directory.
    pub file: String,
    /// Its bytes.
    pub bytes: u64,
    /// The BLAKE3 hash of its content: 64 hexadecimal digits.
    pub blake3: String,
}

impl Manifest {
    /// Writes it, whole or not at all.
    pub fn write(&self, directory: &Path) -> Result<(), Failure> {
        write_json(&directory.join(FILE), self)
    }

    /// Whether a directory says that it is a backup.
    pub fn is_in(directory: &Path) -> bool {
        directory.join(FILE).is_file()
    }

    /// Reads the manifest of a directory.
    pub fn read(directory: &Path) -> Result<Self, Failure> {
        let path = directory.join(FILE);
        let no_backup = |reason: String, exit: u8| {
            Failure::new("backup-unreadable", format!("reading `{}`: {reason}", path.display()))
                .next("name the directory that `orrery backup` wrote; one that was interrupted is no backup")
                .exit(exit)
        };
        let text = std::fs::read_to_string(&path);
        let text = text.map_err(|error| no_backup(error.to_string(), exit::NOT_FOUND))?;
        let manifest: serde_json::Value =
            serde_json::from_str(&text).map_err(|error| no_backup(error.to_string(), exit::DATA))?;
        // A later layout may differ in everything but this.
        if manifest["schema"] != SCHEMA {
            let reason = format!("its layout is {}, and this program reads {SCHEMA}", manifest["schema"]);
            return Err(no_backup(reason, exit::DATA).next("use the version that wrote it"));
        }
        serde_json::from_value(manifest).map_err(|error| no_backup(error.to_string(), exit::DATA))
    }

    /// Every file of it.
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

    /// Holds every file against its hash. `read` hears of the bytes.
    pub fn check(&self, directory: &Path, read: impl Fn(u64)) -> Result<(), Failure> {
        self.files().try_for_each(|file| file.check(directory, &read))
    }
}

impl Stored {
    /// Holds the file against its length and hash.
    pub fn check(&self, directory: &Path, read: impl Fn(u64)) -> Result<(), Failure> {
        let path = directory.join(&self.file);
        let damaged = |failure: Failure| {
            failure.next("nothing was changed; use another copy of the backup").exit(exit::DATA)
        };
        let unreadable = |error: std::io::Error| {
            let message = format!("`{}` can not be read: {error}", path.display());
            damaged(Failure::new("backup-file-missing", message))
        };
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
            let (path, wanted) = (path.display(), self.bytes);
            let message = format!("`{path}` has {bytes} bytes, and the manifest says {wanted}");
            return Err(damaged(Failure::new("backup-file-truncated", message)));
        }
        if hasher.finalize().to_hex().as_str() != self.blake3 {
            let message = format!("`{}` is not what the manifest says: its hash differs", path.display());
            return Err(damaged(Failure::new("backup-file-changed", message)));
        }
        Ok(())
    }
}

/// What a stream's file holds, after it was read back.
pub fn held(path: &Path) -> Result<Held, Failure> {
    let file = File::open(path).map_err(|error| unwritable(path, &error))?;
    count(BufReader::with_capacity(BUFFER_BYTES, file)).map_err(|error| lacking(path, &error.to_string()))
}

/// A stream's file that does not hold what the server said that it would.
pub fn lacking(path: &Path, reason: &str) -> Failure {
    Failure::new("backup-unreadable", format!("reading `{}` back: {reason}", path.display()))
        .next("take the backup again; `orrery doctor` says whether the server is of a known version")
        .exit(exit::DATA)
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
    /// A new file.
    pub fn create(path: &Path) -> Result<Self, Failure> {
        let file = File::create_new(path).map_err(|error| unwritable(path, &error))?;
        Ok(Self { path: path.to_owned(), file, hasher: blake3::Hasher::new(), bytes: 0, failure: None })
    }
    /// Why the last write failed, if one did.
    pub fn failure(&self) -> Option<Failure> {
        self.failure.as_ref().map(|reason| unwritable(&self.path, &std::io::Error::other(reason.clone())))
    }
    /// Syncs it. `file` is its path for the manifest.
    pub fn finish(self, file: &str) -> Result<Stored, Failure> {
        self.file.sync_all().map_err(|error| unwritable(&self.path, &error))?;
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

/// Writes plain data as JSON, synced, whole or not at all.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<(), Failure> {
    let half = path.with_extension("half");
    let text = serde_json::to_string_pretty(value).expect("manifests are plain data") + "\n";
    let written = File::create(&half).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&half, path)
    });
    written.map_err(|error| unwritable(path, &error))?;
    sync_directory(path.parent().unwrap_or(Path::new(".")))
}

/// Syncs a directory: a new file's name is on disk only then.
pub fn sync_directory(directory: &Path) -> Result<(), Failure> {
    let synced = File::open(directory).and_then(|file| file.sync_all());
    synced.map_err(|error| unwritable(directory, &error))
}

/// A file that can not be written.
pub fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new("output-unwritable", format!("writing `{}`: {error}", path.display()))
        .next("free disk space, mend permissions, or choose another directory")
        .exit(exit::FILE)
}
