//! Restore: an installation from the files of a backup, into servers without one.
//!
//! Everything is checked before anything is changed. The restored installation is audited as by `verify
//! --all`, and counted. [`super::backup`] says what is corrected here, and why.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::time::Duration;

use actors_runtime::fanout;
use actors_runtime::journal::Committed;
use actors_runtime::stuck::Stuck;
use bus_client::backup::Totals;
use bus_client::{Bus, NatsConfig, server};
use bus_schemas::record::CommitRecord;
use bus_schemas::{LogSequence, PartitionId};
use futures::TryStreamExt;
use schemars::JsonSchema;
use serde::Serialize;

use crate::archive::Archive;
use crate::archive::files::{self, LOCK};
use crate::backup::manifest::{self, ARCHIVE, Manifest, StreamFile};
use crate::{Advice, Progress, Sort, Unit, history, verify};

/// Timeout of the dead letters of one partition: some seconds of work at most, and a server that takes no
/// writes would otherwise be asked for ever.
const DEAD_PATIENCE: Duration = Duration::from_secs(120);

/// Timeout for servers without a leader: a cluster that was just started has one within seconds.
const CLUSTER_PATIENCE: Duration = Duration::from_secs(60);

/// Why a restore failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system runs there.
    #[error("{who}, and a backup is restored into an installation of its own")]
    Running { who: String },
    /// The installation is not empty.
    #[error("stream `{stream}` exists, and it has been written to")]
    StreamThere { stream: String },
    /// The directory has archive files already.
    #[error("`{}` has files of an archive, and those of the backup would take their places", .directory.display())]
    ArchiveThere { directory: PathBuf },
    /// The numbers of messages or records differ from the manifest.
    #[error("what was restored is not what the manifest says: {what}")]
    Differs { what: String },
    /// The servers accept no writes.
    #[error("the stream of dead letters took no writes for {DEAD_PATIENCE:?}")]
    NoWrites,
    /// The restore was interrupted.
    #[error("the restore was interrupted before it was complete")]
    Interrupted,
    /// An error of the backup's files, or of files that are written.
    #[error(transparent)]
    File(#[from] manifest::Error),
    /// An error of reading what was restored.
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
            Self::Running { .. } => Advice::new(
                "still-running",
                Sort::Unavailable,
                "name another `--data-dir`, or stop it first (`orrery down`)",
            ),
            Self::StreamThere { .. } => Advice::new(
                "restore-not-empty",
                Sort::Data,
                "restore into an empty data directory, another server, or one whose streams you have removed",
            ),
            Self::ArchiveThere { .. } => Advice::new(
                "restore-not-empty",
                Sort::Data,
                "restore into another data directory, or move that archive away; nothing was changed",
            ),
            Self::Differs { .. } => Advice::new(
                "restore-differs",
                Sort::Data,
                "`orrery doctor` says whether the server is of a known version; the backup is as it was",
            ),
            Self::NoWrites => Advice::new(
                "nats-call-failed",
                Sort::Unavailable,
                "`orrery doctor` shows what the server lacks",
            ),
            Self::Interrupted => Advice::new(
                "interrupted",
                Sort::Interrupted,
                "the same command again starts anew, and is safe",
            ),
            Self::File(error) => error.advice(),
            Self::History(error) => error.advice(),
        }
    }
}

/// The source and the target of a restore.
#[derive(Debug)]
pub struct Request {
    /// The directory of the backup.
    pub directory: PathBuf,
    /// The backup's manifest.
    pub manifest: Manifest,
    /// The target directory of the archive files.
    pub archive: PathBuf,
    /// The settings of the connection to the servers.
    pub nats: NatsConfig,
    /// Files derived from another event stream, which are removed.
    pub stale: Vec<PathBuf>,
}

/// The result of a restore, with the audit.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Restored {
    /// The directory of the backup.
    pub directory: PathBuf,
    /// When the backup began, in RFC 3339: everything acknowledged before is restored.
    pub begun_at: String,
    /// The number of streams, buckets and object stores.
    pub streams: u64,
    /// Messages, by the manifest and by the server's count.
    pub messages: u64,
    /// Commit records, by the manifest and by the audit's count.
    pub records: u64,
    /// Bytes of the streams' files.
    pub bytes: u64,
    /// The summary of `verify --all`.
    pub verified: verify::Summary,
}

/// Refuses a directory with archive files, also with files that no manifest names: they may be the only copy
/// of records that were cut from a log.
pub fn expect_no_archive(directory: &Path) -> Result<(), Error> {
    let mut entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(manifest::Error::unwritable(directory, error).into()),
    };
    let other = |entry: &std::io::Result<std::fs::DirEntry>| {
        entry.as_ref().map_or(true, |entry| entry.file_name() != LOCK)
    };
    match entries.find(other) {
        None => Ok(()),
        Some(_) => Err(Error::ArchiveThere { directory: directory.to_owned() }),
    }
}

/// Checks every file against the manifest.
pub fn check_files(
    manifest: &Manifest,
    directory: &Path,
    progress: &dyn Progress,
) -> Result<(), manifest::Error> {
    progress.begin("checking", manifest.files().map(|file| file.bytes).sum(), Unit::Bytes);
    manifest.check(directory, |bytes| progress.advance(bytes))?;
    progress.end();
    Ok(())
}

/// Restores into servers without anything under this prefix, audits and counts. `stop` ends it early;
/// everything restored until then is removed, as after any failure.
pub async fn run(
    bus: &Bus,
    request: &Request,
    progress: &dyn Progress,
    found: &mut (dyn FnMut(verify::Finding) + Send),
    stop: impl Future<Output = ()>,
) -> Result<Restored, Error> {
    let Request { directory, manifest, archive, nats, .. } = request;
    server::check(bus, nats).await?;
    bus.check_streams().await?;
    files::make(archive)?;
    let _lock = files::lock(archive)?;
    expect_no_archive(archive)?;
    make_room(bus, manifest).await?;
    let restored = tokio::select! {
        restored = fill(bus, request, progress, found) => restored,
        () = stop => Err(Error::Interrupted),
    };
    if restored.is_err() {
        // Half an installation would block the next try.
        progress.say("removing what was restored");
        for stream in &manifest.streams {
            // The first failure is reported; a stream that remains is named by the next try.
            let _ = bus.delete_stream(stream.name()).await;
        }
        files::remove_copy(&directory.join(ARCHIVE), archive);
    }
    restored
}

async fn fill(
    bus: &Bus,
    request: &Request,
    progress: &dyn Progress,
    found: &mut (dyn FnMut(verify::Finding) + Send),
) -> Result<Restored, Error> {
    let Request { directory, manifest, archive, nats, stale } = request;
    streams(bus, manifest, directory, progress).await?;
    // What is not in a backup, the leases, is created as for a new installation.
    let bus = Bus::connect_patiently(nats, Some(CLUSTER_PATIENCE)).await?;
    put_back_snapshots(&bus, manifest, directory).await?;
    publish_again(&bus, manifest).await?;
    files::copy(&directory.join(ARCHIVE), archive)?;
    stale.iter().try_for_each(|file| forget(file))?;
    progress.say("verifying what was restored");
    let verified = verify::audit(&bus, None, &Archive::open(archive)?, progress, found).await?;
    let records = manifest.records();
    let read = verified.records - verified.records_archived;
    if read != records {
        return Err(Error::Differs { what: format!("{read} commit records were read of {records}") });
    }
    Ok(Restored {
        directory: directory.clone(),
        begun_at: manifest.begun_at.clone(),
        streams: manifest.streams.len() as u64,
        messages: manifest.streams.iter().map(|stream| stream.restored.messages).sum(),
        records,
        bytes: manifest.streams.iter().map(|stream| stream.stored.bytes).sum(),
        verified,
    })
}

/// Restores the streams from the files, and nothing else.
pub async fn streams(
    bus: &Bus,
    manifest: &Manifest,
    directory: &Path,
    progress: &dyn Progress,
) -> Result<(), Error> {
    for stream in &manifest.streams {
        progress.begin(stream.name(), stream.stored.bytes, Unit::Bytes);
        put_back(bus, stream, directory, progress).await?;
        progress.end();
    }
    Ok(())
}

/// Refuses servers with any data; empty streams are removed.
async fn make_room(bus: &Bus, manifest: &Manifest) -> Result<(), Error> {
    let topology = bus.topology();
    let leases = format!("KV_{}", topology.leases());
    if bus.totals(&leases).await?.is_some_and(|totals| totals.messages > 0) {
        let leases = bus.leases().await?;
        if let Some(host) = leases.hosts.first().or_else(|| leases.holders.values().next()) {
            return Err(Error::Running { who: format!("host `{host}` runs") });
        }
    }
    let settings = format!("KV_{}", topology.settings());
    let mut there = Vec::new();
    for stream in manifest.streams.iter().map(StreamFile::name) {
        let Some(totals) = bus.totals(stream).await? else { continue };
        // An installation that was created and never used has its settings, and nothing else.
        if totals.last_sequence > 0 && stream != settings {
            return Err(Error::StreamThere { stream: stream.to_owned() });
        }
        there.push(stream);
    }
    for stream in there {
        bus.delete_stream(stream).await?;
    }
    Ok(())
}

async fn put_back(
    bus: &Bus,
    stream: &StreamFile,
    directory: &Path,
    progress: &dyn Progress,
) -> Result<(), Error> {
    let path = directory.join(&stream.stored.file);
    let file = File::open(&path).map_err(|error| manifest::Error::missing(&path, error))?;
    let mut snapshot = stream.snapshot.clone();
    snapshot.config["num_replicas"] = bus.profile().replicas().into();
    let (now, then) = (stream.restored, snapshot.totals);
    let differs_from_file = (now.messages, now.last_sequence) != (then.messages, then.last_sequence);
    let wanted = differs_from_file.then_some(now);
    bus.restore_stream(&snapshot, wanted, BufReader::new(file), |sent| progress.reach(sent)).await?;
    let found = bus.totals(stream.name()).await?.unwrap_or_default();
    // A server has its own way to count the first sequence of an empty stream.
    let counted = |totals: &Totals| {
        (totals.messages, totals.last_sequence, if totals.messages > 0 { totals.first_sequence } else { 0 })
    };
    // Messages with a maximum age may have expired by now.
    let ages = stream.snapshot.config["max_age"].as_u64().unwrap_or_default() > 0;
    if !ages && counted(&found) != counted(&stream.restored) {
        let what = format!("stream `{}` has {found:?} of {:?}", stream.name(), stream.restored);
        return Err(Error::Differs { what });
    }
    Ok(())
}

/// Restores the partitions' snapshots from before the logs were read.
async fn put_back_snapshots(bus: &Bus, manifest: &Manifest, directory: &Path) -> Result<(), Error> {
    for partition in &manifest.partitions {
        let name = actors_runtime::takeover::snapshot_name(PartitionId(partition.partition));
        bus.delete_named(&name).await?;
        if let Some(stored) = &partition.snapshot {
            let path = directory.join(&stored.file);
            let bytes = std::fs::read(&path).map_err(|error| manifest::Error::missing(&path, error))?;
            bus.put_named(&name, &bytes).await?;
        }
    }
    Ok(())
}

/// Publishes the dead letters that were not published when their stream was read. A repeat is harmless: a
/// dead letter has a position of its own.
async fn publish_again(bus: &Bus, manifest: &Manifest) -> Result<(), Error> {
    let stuck = Stuck::default();
    for partition in &manifest.partitions {
        let id = PartitionId(partition.partition);
        let mut records = bus.records_after(id, LogSequence(partition.dead_out)).await?;
        while let Some(entry) = records.try_next().await? {
            let (partition, sequence) = (id, entry.sequence);
            let mut record = CommitRecord::decode(&entry.record)
                .map_err(|source| history::Error::Record { partition, sequence, source })?;
            bus.attach_blobs(&mut record).await?;
            let committed = Committed { sequence, record, group: 0 };
            let published = fanout::publish_dead(bus, &committed, &stuck);
            tokio::time::timeout(DEAD_PATIENCE, published).await.map_err(|_| Error::NoWrites)?;
        }
    }
    Ok(())
}

/// Removes a file; a missing one is no error.
fn forget(file: &Path) -> Result<(), manifest::Error> {
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(manifest::Error::unwritable(file, error))
        }
        _ => Ok(()),
    }
}
