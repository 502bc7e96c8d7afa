//! The archive's files: events as JSON lines and commit records as they lay in their logs, each file
//! with its hash in a manifest, none ever changed.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use bus_client::StoredEvent;
use bus_schemas::{CommandId, EntityAddress, Hash, Revision, record};
use serde::{Deserialize, Serialize};

use super::logs::LogFile;
use crate::commands::backup::manifest::{Stored, Writer, sync_directory, unwritable, write_json};
use crate::failure::{Failure, exit};

/// The layout of an archive: raised when an older program could not read it.
const SCHEMA: u16 = 2;
/// The layout of one without commit records, which older programs read.
const SCHEMA_OF_EVENTS: u16 = 1;
/// The manifest's file.
const FILE: &str = "manifest.json";
/// Locked by whoever writes, and by a backup.
const LOCK: &str = "lock";

/// What an archive holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Manifest {
    schema: u16,
    /// Whose history it is; none in one that was written before installations had ids.
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
struct Line {
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

/// The files of a directory.
#[derive(Debug, Clone)]
pub struct Archive {
    directory: PathBuf,
    manifest: Manifest,
}

impl Archive {
    /// The archive in a directory; an empty one where there is none.
    pub fn open(directory: &Path) -> Result<Self, Failure> {
        let path = directory.join(FILE);
        let manifest: Manifest = match std::fs::read(&path) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).map_err(|error| damaged(&path, &error.to_string()))?
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Manifest { schema: SCHEMA, installation: None, files: Vec::new(), logs: Vec::new() }
            }
            Err(error) => return Err(damaged(&path, &error.to_string())),
        };
        if manifest.schema > SCHEMA {
            let reason = format!("its layout is {}, and this program reads up to {SCHEMA}", manifest.schema);
            return Err(damaged(&path, &reason).next("use the version that wrote it"));
        }
        Ok(Self { directory: directory.to_owned(), manifest })
    }

    /// Refuses an archive of another installation. One that says nothing is judged by what is in it.
    pub fn expect_of(&self, installation: Option<&str>) -> Result<(), Failure> {
        match (self.manifest.installation.as_deref(), installation) {
            (Some(of), Some(here)) if of != here => Err(foreign(
                &self.directory,
                &format!("it is of the installation `{of}`, and this is `{here}`"),
            )),
            _ => Ok(()),
        }
    }

    /// Says whose archive it is from the next file on.
    pub fn claim(&mut self, installation: String) {
        self.manifest.installation = Some(installation);
    }

    /// The same without its events: for whoever has them from elsewhere.
    pub fn without_events(&self) -> Self {
        let manifest = Manifest { files: Vec::new(), ..self.manifest.clone() };
        Self { directory: self.directory.clone(), manifest }
    }

    /// Forgets the events, which are in the event stream again, and removes their files.
    pub fn drop_events(&mut self) -> Result<(), Failure> {
        let dropped = std::mem::take(&mut self.manifest.files);
        if dropped.is_empty() {
            return Ok(());
        }
        // First the manifest: a file that it does not name is nobody's.
        self.write()?;
        dropped.iter().for_each(|file| remove(&self.directory.join(&file.file)));
        Ok(())
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.manifest.stored().next().is_none()
    }

    /// Where it is.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The files of commit records, in the order in which they were written.
    pub fn logs(&self) -> &[LogFile] {
        &self.manifest.logs
    }

    /// Holds every file against its hash.
    pub fn check(&self) -> Result<(), Failure> {
        self.manifest.stored().try_for_each(|file| self.check_file(file))
    }

    /// Holds one file against its hash.
    pub fn check_file(&self, file: &Stored) -> Result<(), Failure> {
        let path = self.directory.join(&file.file);
        file.check(&self.directory, |_| {}).map_err(|failure| damaged(&path, &failure.message))
    }

    /// Every event, in the order in which they were archived. An entity that was archived twice, with
    /// the same events, has them once.
    pub fn events(&self) -> impl Iterator<Item = Result<StoredEvent, Failure>> + Send + use<> {
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

    /// The last revision of each entity, with the chain hash there.
    pub fn last_revisions(&self) -> Result<HashMap<EntityAddress, (Revision, Hash)>, Failure> {
        self.events()
            .map(|event| event.map(|event| (event.entity, (event.event.revision, event.event.hash))))
            .collect()
    }

    /// A new file of events.
    pub fn begin(&self) -> Result<New, Failure> {
        let number = self.manifest.files.len() + 1;
        self.create(format!("events-{number:06}.jsonl"))
    }

    /// A new file.
    pub fn create(&self, name: String) -> Result<New, Failure> {
        let path = self.directory.join(&name);
        // One that an interrupted run left is in no manifest.
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(unwritable(&path, &error));
            }
            _ => {}
        }
        Ok(New { writer: BufWriter::new(Writer::create(&path)?), name, path })
    }

    /// Takes a file of events in, synced, and gives its path.
    pub fn add(&mut self, new: New) -> Result<PathBuf, Failure> {
        let path = new.path.clone();
        self.manifest.files.push(new.finish()?);
        self.write()?;
        Ok(path)
    }

    /// Takes a file of commit records in.
    pub fn add_log(&mut self, log: LogFile) -> Result<(), Failure> {
        self.manifest.logs.push(log);
        self.write()
    }

    fn write(&self) -> Result<(), Failure> {
        sync_directory(&self.directory)?;
        let schema = if self.manifest.logs.is_empty() { SCHEMA_OF_EVENTS } else { SCHEMA };
        write_json(&self.directory.join(FILE), &Manifest { schema, ..self.manifest.clone() })
    }
}

/// Removes a file that no manifest names any more, or not yet: one that stays is in nobody's way.
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
    pub fn add(&mut self, stored: &StoredEvent) -> Result<(), Failure> {
        let event = &stored.event;
        let body = std::str::from_utf8(&event.body).map_err(|error| {
            let (entity, revision) = (&stored.entity, event.revision);
            Failure::new("event-unreadable", format!("event {revision} of `{entity}` is no text: {error}"))
                .next("`orrery verify --all` finds what else is damaged; nothing was taken out")
                .exit(exit::DATA)
        })?;
        let line = Line {
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
        self.write(line.as_bytes())
    }

    /// Adds bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.writer.write_all(bytes).map_err(|error| unwritable(&self.path, &error))
    }

    /// Syncs it.
    pub fn finish(self) -> Result<Stored, Failure> {
        let Self { writer, name, path } = self;
        writer.into_inner().map_err(|error| unwritable(&path, error.error()))?.finish(&name)
    }

    /// Forgets it; a file that stays is in no manifest.
    pub fn abandon(self) {
        remove(&self.path);
    }
}

fn read(path: PathBuf) -> Box<dyn Iterator<Item = Result<StoredEvent, Failure>> + Send> {
    let opened = match File::open(&path) {
        Ok(opened) => opened,
        Err(error) => return Box::new(std::iter::once(Err(damaged(&path, &error.to_string())))),
    };
    let lines = BufReader::new(opened).lines();
    Box::new(lines.enumerate().map(move |(number, line)| {
        let place = |reason: String| damaged(&path, &format!("line {}: {reason}", number + 1));
        let line = line.map_err(|error| place(error.to_string()))?;
        let line: Line = serde_json::from_str(&line).map_err(|error| place(error.to_string()))?;
        stored(line).map_err(|reason| place(reason.to_owned()))
    }))
}

fn stored(line: Line) -> Result<StoredEvent, &'static str> {
    Ok(StoredEvent {
        // It has no place in the stream any more.
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

/// Makes the directory.
pub fn make(directory: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(directory).map_err(|error| unwritable(directory, &error))
}

/// Takes the archive for this process; where there is none, nothing needs to be held.
pub fn lock(directory: &Path) -> Result<Option<File>, Failure> {
    if !directory.is_dir() {
        return Ok(None);
    }
    let path = directory.join(LOCK);
    let file = File::create(&path).map_err(|error| unwritable(&path, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(_) => Err(Failure::new("archive-in-use", format!("another process holds `{}`", path.display()))
            .next("wait until that `orrery archive` or `orrery backup` is done")
            .exit(exit::UNAVAILABLE)),
    }
}

/// Copies an archive to where none is, each file checked, the manifest last. Gives the files with their
/// paths below the parent of `to`.
pub fn copy(from: &Path, to: &Path) -> Result<Vec<Stored>, Failure> {
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
            .map_err(|error| unwritable(&path, &error))?;
        file.check(to, |_| {})?;
        copied.push(Stored { file: folder.join(&file.file).display().to_string(), ..file.clone() });
    }
    Archive { directory: to.to_owned(), ..archive }.write()?;
    Ok(copied)
}

/// Takes away what [`copy`] has made, or begun to make, of an archive.
pub fn remove_copy(from: &Path, to: &Path) {
    remove(&to.join(FILE));
    // One that can not be read was not copied.
    let files = Archive::open(from).map(|archive| archive.manifest);
    files.iter().flat_map(Manifest::stored).for_each(|file| remove(&to.join(&file.file)));
}

/// Refuses a directory that has anything of an archive in it, also files that no manifest names.
pub fn expect_none(directory: &Path) -> Result<(), Failure> {
    let mut entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(unwritable(directory, &error)),
    };
    let other = |entry: &std::io::Result<std::fs::DirEntry>| {
        entry.as_ref().map_or(true, |entry| entry.file_name() != LOCK)
    };
    match entries.find(other) {
        None => Ok(()),
        Some(_) => Err(Failure::new(
            "restore-not-empty",
            format!(
                "`{}` has files of an archive, and those of the backup would take their places",
                directory.display()
            ),
        )
        .next("restore into another data directory, or move that archive away; nothing was changed")
        .exit(exit::DATA)),
    }
}

/// The archive and the installation have two histories.
pub fn foreign(directory: &Path, reason: &str) -> Failure {
    Failure::new(
        "archive-foreign",
        format!("the archive at `{}` is not of this installation: {reason}", directory.display()),
    )
    .next("nothing was taken out or cut; name this installation's own archive, or bring it back from its backup")
    .exit(exit::DATA)
}

pub fn damaged(path: &Path, reason: &str) -> Failure {
    Failure::new("archive-damaged", format!("reading the archive file `{}`: {reason}", path.display()))
        .next("bring the file back from a backup; for a file of events `orrery rebuild events` does, which writes all of them into the stream again from the logs")
        .exit(exit::DATA)
}
