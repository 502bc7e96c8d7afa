//! The archive's files: events as JSON lines, and commit records as in their logs. A manifest has the hash of
//! each file; files never change.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use bus_client::StoredEvent;
use bus_schemas::{CommandId, EntityAddress, Hash, Revision, record};
use serde::{Deserialize, Serialize};

use super::Error as ArchiveError;
use super::logs::LogFile;
use crate::backup::manifest::{self, Stored, Writer, sync_directory, write_json};
use crate::history::Error;

/// The layout version of an archive: raised when an older program could not read it.
const SCHEMA: u16 = 2;
/// The name of the manifest.
const FILE: &str = "manifest.json";
/// The lock file, held by a writer and by a backup.
pub(crate) const LOCK: &str = "lock";

/// The content of an archive.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Manifest {
    schema: u16,
    /// The id of the installation; absent while nothing is archived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    installation: Option<String>,
    files: Vec<Stored>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    logs: Vec<LogFile>,
}

impl Manifest {
    fn stored(&self) -> impl Iterator<Item = &Stored> {
        self.files.iter().chain(self.logs.iter().map(|log| &log.stored))
    }
}

/// An event in a file.
#[derive(Debug, Serialize, Deserialize)]
struct ArchivedEvent {
    entity: EntityAddress,
    revision: Revision,
    #[serde(rename = "type")]
    event_type: String,
    schema: u16,
    hash: Hash,
    cursor: String,
    time: String,
    cause: Option<CommandId>,
    correlation: Option<CommandId>,
    traceparent: Option<String>,
    /// Byte for byte, since the hash is of these bytes.
    body: String,
}

/// The archive in a directory.
#[derive(Debug, Clone)]
pub struct Archive {
    directory: PathBuf,
    manifest: Manifest,
}

impl Archive {
    /// Opens the archive in a directory; an empty one when there is none.
    pub fn open(directory: &Path) -> Result<Self, Error> {
        let path = directory.join(FILE);
        let manifest: Manifest = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| Error::damaged(&path, error))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Manifest { schema: SCHEMA, installation: None, files: Vec::new(), logs: Vec::new() }
            }
            Err(error) => return Err(Error::damaged(&path, error)),
        };
        if manifest.schema > SCHEMA {
            let reason = format!("its layout is {}, and this program reads up to {SCHEMA}", manifest.schema);
            return Err(Error::Layout { path, reason });
        }
        Ok(Self { directory: directory.to_owned(), manifest })
    }

    /// Refuses an archive of another installation.
    pub fn expect_of(&self, here: &str) -> Result<(), Error> {
        match self.manifest.installation.as_deref() {
            Some(of) if of != here => {
                Err(self.foreign(format!("the archive is of the installation `{of}`, and this is `{here}`")))
            }
            _ => Ok(()),
        }
    }

    /// The error for an archive of another history than the installation's.
    pub(crate) fn foreign(&self, reason: String) -> Error {
        Error::Foreign { directory: self.directory.clone(), reason }
    }

    /// Sets the installation's id, which the next file's manifest will have.
    pub fn claim(&mut self, installation: String) {
        self.manifest.installation = Some(installation);
    }

    /// The same archive without its events, for readers that get events from elsewhere.
    pub fn without_events(&self) -> Self {
        let manifest = Manifest { files: Vec::new(), ..self.manifest.clone() };
        Self { directory: self.directory.clone(), manifest }
    }

    /// Removes the events and their files: the event stream has them again.
    pub fn drop_events(&mut self) -> Result<(), Error> {
        let dropped = std::mem::take(&mut self.manifest.files);
        if dropped.is_empty() {
            return Ok(());
        }
        // The manifest first: a file that it does not name is ignored.
        self.write()?;
        dropped.iter().for_each(|file| remove(&self.directory.join(&file.file)));
        Ok(())
    }

    /// Whether the archive has no files.
    pub fn is_empty(&self) -> bool {
        self.manifest.stored().next().is_none()
    }

    /// The archive's directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The files of commit records, in the order in which they were written.
    pub fn logs(&self) -> &[LogFile] {
        &self.manifest.logs
    }

    /// Checks the hash of every file.
    pub fn check(&self) -> Result<(), Error> {
        self.manifest.stored().try_for_each(|file| self.check_file(file))
    }

    /// Checks the hash of a file.
    pub fn check_file(&self, file: &Stored) -> Result<(), Error> {
        let path = self.directory.join(&file.file);
        file.check(&self.directory, |_| {}).map_err(|error| Error::damaged(&path, error))
    }

    /// Every event, in the order of archiving. Events of an entity that was archived twice come once.
    pub fn events(&self) -> impl Iterator<Item = Result<StoredEvent, Error>> + Send + use<> {
        let mut seen: HashMap<EntityAddress, Revision> = HashMap::new();
        let Self { directory, manifest } = self.clone();
        let events = manifest.files.into_iter().flat_map(move |file| read(directory.join(file.file)));
        events.filter(move |event| {
            let Ok(event) = event else { return true };
            let last = seen.entry(event.entity.clone()).or_default();
            let news = event.event.revision > *last;
            *last = (*last).max(event.event.revision);
            news
        })
    }

    /// The last revision of each entity, with its chain hash.
    pub fn last_revisions(&self) -> Result<HashMap<EntityAddress, (Revision, Hash)>, Error> {
        self.events()
            .map(|event| event.map(|event| (event.entity, (event.event.revision, event.event.hash))))
            .collect()
    }

    /// Creates a file of events.
    pub fn begin(&self) -> Result<New, Error> {
        let number = self.manifest.files.len() + 1;
        self.create(format!("events-{number:06}.jsonl"))
    }

    /// Creates a file.
    pub fn create(&self, name: String) -> Result<New, Error> {
        let path = self.directory.join(&name);
        // An interrupted run may have left one, which no manifest names.
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(unwritable(&path, error));
            }
            _ => {}
        }
        Ok(New { writer: BufWriter::new(Writer::create(&path)?), name, path })
    }

    /// Adds a file of events, synced. Returns its path.
    pub fn add(&mut self, new: New) -> Result<PathBuf, Error> {
        let path = new.path.clone();
        self.manifest.files.push(new.finish()?);
        self.write()?;
        Ok(path)
    }

    /// Adds a file of commit records.
    pub fn add_log(&mut self, log: LogFile) -> Result<(), Error> {
        self.manifest.logs.push(log);
        self.write()
    }

    fn write(&self) -> Result<(), Error> {
        sync_directory(&self.directory)?;
        Ok(write_json(&self.directory.join(FILE), &self.manifest)?)
    }
}

fn unwritable(path: &Path, reason: impl std::fmt::Display) -> Error {
    manifest::Error::unwritable(path, reason).into()
}

/// Removes a file that no manifest names; if that fails, the file does no harm.
fn remove(path: &Path) {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(path = %path.display(), %error, "removing a file of the archive");
        }
        _ => {}
    }
}

/// A file that is being written.
pub struct New {
    writer: BufWriter<Writer>,
    name: String,
    path: PathBuf,
}

impl New {
    /// Adds an event.
    pub fn add(&mut self, stored: &StoredEvent) -> Result<(), ArchiveError> {
        let event = &stored.event;
        let body = std::str::from_utf8(&event.body).map_err(|source| ArchiveError::Text {
            entity: stored.entity.clone(),
            revision: event.revision,
            source,
        })?;
        let line = ArchivedEvent {
            entity: stored.entity.clone(),
            revision: event.revision,
            event_type: event.event_type.to_string(),
            schema: event.schema,
            hash: event.hash,
            cursor: stored.cursor.to_string(),
            time: stored.time.clone(),
            cause: stored.cause,
            correlation: stored.correlation,
            traceparent: stored.traceparent.clone(),
            body: body.to_owned(),
        };
        let line = serde_json::to_string(&line).expect("a line is plain data") + "\n";
        Ok(self.write(line.as_bytes())?)
    }

    /// Adds bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.writer.write_all(bytes).map_err(|error| unwritable(&self.path, error))
    }

    /// Syncs the file.
    pub fn finish(self) -> Result<Stored, Error> {
        let Self { writer, name, path } = self;
        let writer = writer.into_inner().map_err(|error| unwritable(&path, error.error()))?;
        Ok(writer.finish(&name)?)
    }

    /// Abandons the file; if it remains, no manifest names it.
    pub fn abandon(self) {
        remove(&self.path);
    }
}

fn read(path: PathBuf) -> Box<dyn Iterator<Item = Result<StoredEvent, Error>> + Send> {
    let opened = match File::open(&path) {
        Ok(opened) => opened,
        Err(error) => return Box::new(std::iter::once(Err(Error::damaged(&path, error)))),
    };
    let lines = BufReader::new(opened).lines();
    Box::new(lines.enumerate().map(move |(number, line)| {
        let place = |reason: String| Error::damaged(&path, format!("line {}: {reason}", number + 1));
        let line = line.map_err(|error| place(error.to_string()))?;
        let line: ArchivedEvent = serde_json::from_str(&line).map_err(|error| place(error.to_string()))?;
        stored(line).map_err(|reason| place(reason.to_owned()))
    }))
}

fn stored(line: ArchivedEvent) -> Result<StoredEvent, &'static str> {
    Ok(StoredEvent {
        // It is no longer in the stream.
        stream_sequence: 0,
        entity: line.entity,
        event: record::Event {
            revision: line.revision,
            event_type: line.event_type.into(),
            schema: line.schema,
            hash: line.hash,
            body: line.body.into(),
        },
        cursor: line.cursor.parse()?,
        time: line.time,
        cause: line.cause,
        correlation: line.correlation,
        traceparent: line.traceparent,
    })
}

/// Creates the directory.
pub fn make(directory: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(directory).map_err(|error| unwritable(directory, error))
}

/// Locks the archive for this process; a missing archive needs no lock.
pub fn lock(directory: &Path) -> Result<Option<File>, Error> {
    if !directory.is_dir() {
        return Ok(None);
    }
    let path = directory.join(LOCK);
    let file = File::create(&path).map_err(|error| unwritable(&path, error))?;
    file.try_lock().map_err(|_| Error::InUse { path })?;
    Ok(Some(file))
}

/// Copies an archive to a place without one, checking each file, the manifest last. Returns the files with
/// their paths below the parent of `to`.
pub fn copy(from: &Path, to: &Path) -> Result<Vec<Stored>, Error> {
    let archive = Archive::open(from)?;
    if archive.is_empty() {
        return Ok(Vec::new());
    }
    archive.check()?;
    make(to)?;
    let folder = to.file_name().map_or_else(PathBuf::new, PathBuf::from);
    let mut copied = Vec::new();
    for file in archive.manifest.stored() {
        let path = to.join(&file.file);
        std::fs::copy(from.join(&file.file), &path)
            .and_then(|_| File::open(&path)?.sync_all())
            .map_err(|error| unwritable(&path, error))?;
        file.check(to, |_| {})?;
        copied.push(Stored { file: folder.join(&file.file).display().to_string(), ..file.clone() });
    }
    Archive { directory: to.to_owned(), ..archive }.write()?;
    Ok(copied)
}

/// Removes what [`copy`] has copied of an archive.
pub fn remove_copy(from: &Path, to: &Path) {
    remove(&to.join(FILE));
    // An archive that cannot be read was not copied.
    let files = Archive::open(from).map(|archive| archive.manifest);
    files.iter().flat_map(Manifest::stored).for_each(|file| remove(&to.join(&file.file)));
}
