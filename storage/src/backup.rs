//! Backup: an installation as files, written while it runs or while it is down.
//!
//! **Order.** The streams are read one after the other while hosts go on, so each shows another moment. What
//! a takeover completes may be older than the logs; what the logs refer to must not be:
//!
//! 1. What derives from the logs comes first: entity snapshots, then the event stream (a snapshot
//!    names a place in it, so the stream must not end before that place), dead letters and the
//!    partitions' snapshots. The inbox belongs here as well: a command that is trimmed later is in the
//!    logs, which are read later. The server may show the event stream in the middle of a batch, whose
//!    mark says that all of it is there: half a batch is left out.
//! 2. Then the logs, each up to a cut. Mail ties them together: a receiver's log says how far it has
//!    applied a sender's mail, a sender's how far its mail was received, and either is wrong without
//!    the other. [`cut`] finds the earliest places behind the current ends at which all of them
//!    agree; mail that is on its way there is sent again from the sender's log, as after any crash.
//!    Everything acknowledged before the backup began is before the cut.
//! 3. Objects come last: they are stored before the record that names them.
//!
//! The server sends a stream's messages up to the last one at the time of the request, without those deleted
//! while it sends. Logs and events are never deleted; other streams may lack what was trimmed, taken or
//! replaced meanwhile, which later steps have. Snapshots of entities are then read again, since an archived
//! entity needs its own.
//!
//! The restore corrects three things. Jobs and dead letters of records that were not published when their
//! streams were read are published again: a job may arrive twice, as after any crash. The inbox continues
//! behind every log's position; otherwise new commands would get sequences that count as applied. Partition
//! snapshots lie among the objects, where they may be newer than the logs: those that were read earlier replace
//! them. Leases are not in a backup: no host holds one after it.

mod cut;
pub mod manifest;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bus_client::Bus;
use bus_client::backup::{Snapshot, Totals};
use bus_schemas::record::CommitRecord;
use bus_schemas::topology::Store;
use bus_schemas::{LogSequence, PartitionId, Timestamp};
use schemars::JsonSchema;
use serde::Serialize;

use self::manifest::{Manifest, Partition, Stored, StreamFile, sync_directory};
use crate::archive::{self, Archive};
use crate::{Advice, Progress, Sort, Unit, history};

/// How often entity snapshots are read until none was replaced meanwhile: a bucket of them is sent in less
/// time than a host takes between two snapshots of one entity, and a missing one only makes loading slower.
const TRIES_MAX: u32 = 5;

/// Why a backup failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directory is not empty.
    #[error("`{}` has files in it, and a backup needs a directory of its own", .directory.display())]
    NotEmpty { directory: PathBuf },
    /// The logs have no positions that agree.
    #[error("the logs name mail that none of them has sent or applied")]
    Disagree,
    /// An error of writing files, or reading them back.
    #[error(transparent)]
    File(#[from] manifest::Error),
    /// An error of reading logs or the archive.
    #[error(transparent)]
    History(#[from] history::Error),
}

impl From<bus_client::Error> for Error {
    fn from(error: bus_client::Error) -> Self {
        history::Error::from(error).into()
    }
}

impl Error {
    /// What to tell whoever meets the error.
    pub fn advice(&self) -> Advice {
        match self {
            Self::NotEmpty { .. } => Advice::new(
                "directory-not-empty",
                Sort::Usage,
                "name a directory that is empty or does not exist yet",
            ),
            Self::Disagree => {
                Advice::new("logs-disagree", Sort::Data, "`orrery verify --all` says what is damaged")
            }
            Self::File(error) => error.advice(),
            Self::History(error) => error.advice(),
        }
    }
}

/// The source and the target of a backup.
#[derive(Debug)]
pub struct Request {
    /// The target: an empty directory, or one that does not exist yet.
    pub directory: PathBuf,
    /// The directory of the archive files.
    pub archive: PathBuf,
    /// The time at which the backup began.
    pub begun_at: Timestamp,
}

/// The result of a backup.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Written {
    /// The directory of the backup.
    pub directory: PathBuf,
    /// When the backup began, in RFC 3339: it has everything acknowledged before.
    pub begun_at: String,
    /// The number of streams, buckets and object stores.
    pub streams: u64,
    /// Messages in all of them.
    pub messages: u64,
    /// Commit records among the messages.
    pub records: u64,
    /// Bytes of all files.
    pub bytes: u64,
}

/// Writes a backup; the manifest last, so that an interrupted backup is none.
pub async fn run(bus: &Bus, request: &Request, progress: &dyn Progress) -> Result<Written, Error> {
    let Request { directory, archive: archives, begun_at } = request;
    bus.check_installation().await?;
    empty(directory)?;
    // While events move into archive files, neither the stream nor the files have all of them.
    let _lock = archive::files::lock(archives)?;
    expect_complete(bus, &Archive::open(archives)?).await?;
    let manifest = Backup { bus, directory, progress }.take(*begun_at).await?;
    let copied = archive::files::copy(archives, &directory.join(manifest::ARCHIVE))?;
    let manifest = Manifest { archives: copied, ..manifest };
    sync_directory(directory)?;
    manifest.write(directory)?;
    // The backup is complete without this note; only monitoring would miss it.
    if let Err(error) = bus.note_backup(*begun_at).await {
        tracing::warn!(%error, "hosts do not know of this backup");
    }
    Ok(Written {
        directory: directory.clone(),
        begun_at: manifest.begun_at.clone(),
        streams: manifest.streams.len() as u64,
        messages: manifest.streams.iter().map(|stream| stream.restored.messages).sum(),
        records: manifest.records(),
        bytes: manifest.files().map(|file| file.bytes).sum(),
    })
}

/// Refuses an archive of another installation, and one that lacks records cut from the logs: nothing could be
/// verified.
async fn expect_complete(bus: &Bus, archive: &Archive) -> Result<(), Error> {
    archive::expect_own(bus, archive).await?;
    for partition in bus.topology().all_partitions() {
        history::covered(archive, partition, &bus.state_of(&bus.topology().log(partition)).await?)?;
    }
    Ok(())
}

/// Creates the directory, or refuses one that is not empty.
fn empty(directory: &Path) -> Result<(), Error> {
    let unusable = |error: std::io::Error| manifest::Error::unwritable(directory, error);
    std::fs::create_dir_all(directory).map_err(unusable)?;
    match std::fs::read_dir(directory).map_err(unusable)?.next() {
        None => Ok(()),
        Some(_) => Err(Error::NotEmpty { directory: directory.to_owned() }),
    }
}

/// A backup that is being written.
struct Backup<'a> {
    bus: &'a Bus,
    directory: &'a Path,
    progress: &'a dyn Progress,
}

impl Backup<'_> {
    async fn take(&self, begun_at: Timestamp) -> Result<Manifest, Error> {
        let (bus, topology) = (self.bus, self.bus.topology());
        let mut streams = Vec::new();
        let mut dead_out = BTreeMap::new();
        for partition in topology.all_partitions() {
            dead_out.insert(partition, self.dead_out(partition).await?);
        }
        let table = |name: String| format!("KV_{name}");
        let settings = table(topology.settings());
        for stream in [table(topology.snapshots()), settings] {
            streams.push(self.stream(&stream, None).await?);
        }
        let first_inbox = streams.len();
        for stream in topology.inboxes() {
            streams.push(self.stream(&stream, None).await?);
        }
        for stream in [topology.dead(), topology.events()] {
            streams.push(self.stream(&stream, None).await?);
        }
        let mut partitions = Vec::new();
        for partition in topology.all_partitions() {
            let snapshot = self.partition_snapshot(partition).await?;
            let dead_out = dead_out[&partition];
            partitions.push(Partition { partition: partition.0, dead_out: dead_out.0, inbox: 0, snapshot });
        }
        let places = cut::find(bus).await?;
        for partition in &mut partitions {
            let place = &places[usize::from(partition.partition)];
            partition.inbox = place.inbox;
            let log = topology.log(PartitionId(partition.partition));
            streams.push(self.stream(&log, Some(place.sequence)).await?);
        }
        for (inbox, partition) in streams[first_inbox..].iter_mut().zip(&partitions) {
            go_on_behind(&mut inbox.restored, partition.inbox);
        }
        let objects = Store::ALL.map(|store| format!("OBJ_{}", topology.objects(store)));
        for stream in std::iter::once(topology.output()).chain(objects) {
            streams.push(self.stream(&stream, None).await?);
        }
        Ok(Manifest {
            schema: manifest::SCHEMA,
            orrery_version: env!("CARGO_PKG_VERSION").to_owned(),
            server_version: bus.server_version(),
            profile: bus.profile().to_string(),
            subject_prefix: bus.subjects().prefix().to_owned(),
            begun_at: begun_at.to_rfc3339(),
            partitions,
            streams,
            archives: Vec::new(),
        })
    }

    /// The last record of a partition whose dead letters are all published.
    async fn dead_out(&self, partition: PartitionId) -> Result<LogSequence, Error> {
        let Some(entry) = self.bus.last_record(partition).await? else { return Ok(LogSequence(0)) };
        match CommitRecord::decode(&entry.record) {
            Ok(record) => Ok(LogSequence(record.dead_out)),
            Err(source) => Err(history::Error::Record { partition, sequence: entry.sequence, source }.into()),
        }
    }

    /// Writes a stream into a file of its name; a log only up to its cut.
    async fn stream(&self, name: &str, upto: Option<LogSequence>) -> Result<StreamFile, Error> {
        let topology = self.bus.topology();
        let whole = upto.is_some() || name == topology.events();
        let again = name == format!("KV_{}", topology.snapshots());
        let path = self.directory.join(file_name(name));
        let mut tries = 1..TRIES_MAX;
        loop {
            let (stored, snapshot) = self.file(name, &path).await?;
            let held = manifest::held(&path)?;
            let lacks = snapshot.totals.messages.saturating_sub(held.totals.messages);
            if lacks > 0 && whole {
                return Err(manifest::Error::lacking(&path, format!("{lacks} messages are missing")).into());
            }
            if lacks > 0 && again && tries.next().is_some() {
                std::fs::remove_file(&path).map_err(|error| manifest::Error::unwritable(&path, error))?;
                continue;
            }
            let end = held.totals.last_sequence.saturating_sub(held.unfinished);
            let restored = cut_off(held.totals, upto.map_or(end, |upto| upto.0.min(end)));
            return Ok(StreamFile { stored, snapshot, restored });
        }
    }

    async fn file(&self, name: &str, path: &Path) -> Result<(Stored, Snapshot), Error> {
        let expected = self.bus.totals(name).await?.map_or(0, |totals| totals.bytes);
        self.progress.begin(name, expected, Unit::Bytes);
        let mut writer = manifest::Writer::create(path)?;
        let taken = self.bus.snapshot_stream(name, &mut writer, |bytes| self.progress.advance(bytes)).await;
        self.progress.end();
        let snapshot = match (taken, writer.failure()) {
            (Ok(snapshot), _) => snapshot,
            (Err(_), Some(error)) => return Err(error.into()),
            (Err(error), None) => return Err(error.into()),
        };
        Ok((writer.finish(&file_name(name))?, snapshot))
    }

    async fn partition_snapshot(&self, partition: PartitionId) -> Result<Option<Stored>, Error> {
        let name = actors_runtime::takeover::snapshot_name(partition);
        let Some(bytes) = self.bus.get_named(&name).await? else { return Ok(None) };
        let path = self.directory.join(&name);
        let mut writer = manifest::Writer::create(&path)?;
        std::io::Write::write_all(&mut writer, &bytes)
            .map_err(|error| manifest::Error::unwritable(&path, error))?;
        Ok(Some(writer.finish(&name)?))
    }
}

fn file_name(stream: &str) -> String {
    format!("{stream}.stream")
}

/// The totals of a stream that is cut at a sequence. The removed part has no gaps: a log never has any, and a
/// batch is contiguous.
fn cut_off(totals: Totals, upto: u64) -> Totals {
    let left_out = totals.last_sequence.saturating_sub(upto);
    Totals {
        messages: totals.messages.saturating_sub(left_out),
        last_sequence: totals.last_sequence.min(upto),
        ..totals
    }
}

/// Makes new messages of a stream get sequences behind this one.
fn go_on_behind(totals: &mut Totals, place: u64) {
    totals.last_sequence = totals.last_sequence.max(place);
    if totals.messages == 0 {
        totals.first_sequence = totals.last_sequence + 1;
    }
}
