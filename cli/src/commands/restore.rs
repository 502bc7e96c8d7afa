//! `orrery restore`: an installation from the files of a backup, into a server that has none.
//!
//! Everything is checked before anything is changed. What is restored is audited as `verify --all`
//! does it, and counted. [`super::backup`] says what is set right here, and why.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::time::Duration;

use actors_host::Config;
use actors_runtime::fanout;
use actors_runtime::journal::Committed;
use actors_runtime::stuck::Stuck;
use bus_client::backup::Totals;
use bus_client::{Bus, server};
use bus_schemas::record::CommitRecord;
use bus_schemas::{LogSequence, PartitionId};
use futures::TryStreamExt;
use indicatif::{ProgressBar, ProgressStyle};
use schemars::JsonSchema;
use serde::Serialize;

use super::backup::manifest::{ARCHIVE, Manifest, StreamFile, unwritable};
use super::{archive, verify};
use crate::discovery::Discovery;
use crate::failure::{Failure, exit};
use crate::gateway::READ_MODEL_FILES;
use crate::output::{Output, Show};
use crate::session::{CLUSTER_PATIENCE, Session};

/// How long the jobs of one partition may take: some seconds of work at the most, and a server that
/// takes no writes would otherwise be asked for ever.
const DEAD_PATIENCE: Duration = Duration::from_secs(120);

/// How often a stream is sent: two servers may be lost on the way, and more is no accident.
const TRIES_MAX: usize = 3;

/// From where.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// What `orrery backup` wrote
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

/// What was restored, and what was found in it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Restored {
    /// The directory.
    pub directory: PathBuf,
    /// When the backup began, RFC 3339: everything acknowledged before is there.
    pub begun_at: String,
    /// Streams, buckets and object stores.
    pub streams: u64,
    /// Messages, as the manifest says and as the server counts them.
    pub messages: u64,
    /// Commit records in the logs by the manifest; the audit has read as many.
    pub records: u64,
    /// Bytes of the streams' files.
    pub bytes: u64,
    /// What `verify --all` says of it.
    pub verified: verify::Summary,
}

impl Show for Restored {
    fn text(&self) -> String {
        let Self { begun_at, streams, messages, records, .. } = self;
        format!(
            "{streams} streams with {messages} messages restored, {records} of them commit records, as of {begun_at}\nverified: {}",
            self.verified.text()
        )
    }
}

/// Restores, audits and counts.
pub async fn run(config: &Config, arguments: Arguments, output: Output) -> Result<(), Failure> {
    let manifest = Manifest::read(&arguments.directory)?;
    check_files(&manifest, &arguments.directory, output)?;
    let config = configured(config, &manifest)?;
    // Records that a log was cut behind may be in those files alone, so they are never written over.
    archive::expect_none(&archive::directory(&config))?;
    let session = open(&config).await?;
    let restored = restore(&session, &manifest, &arguments.directory, output).await;
    session.close().await;
    let restored = restored?;
    output.show(&restored);
    verify::whole(&restored.verified)
}

/// Holds every file against the manifest.
pub fn check_files(manifest: &Manifest, directory: &Path, output: Output) -> Result<(), Failure> {
    let total = manifest.files().map(|file| file.bytes).sum();
    let bar = bar("checking", total, output);
    manifest.check(directory, |bytes| bar.inc(bytes))?;
    bar.finish_and_clear();
    Ok(())
}

/// The settings with what only the manifest knows.
pub fn configured(config: &Config, manifest: &Manifest) -> Result<Config, Failure> {
    let mut config = config.clone();
    let partitions = u16::try_from(manifest.partitions.len()).unwrap_or_default();
    config.nats.partitions = partitions.try_into().map_err(|_| {
        Failure::new("backup-unreadable", "the manifest names no partitions")
            .next("nothing was changed; use another copy of the backup")
            .exit(exit::DATA)
    })?;
    config.nats.subject_prefix.clone_from(&manifest.subject_prefix);
    Ok(config)
}

/// Connects to `nats.url`, or starts the server alone on a data directory where nothing runs.
pub async fn open(config: &Config) -> Result<Session, Failure> {
    if config.nats.url.is_some() {
        return Session::connect(config).await;
    }
    if let Some(found) = Discovery::find(&config.data_dir)? {
        return Err(running(&format!("process {} runs on the data directory", found.pid)));
    }
    let store = config.data_dir.join("nats").join("store");
    std::fs::create_dir_all(&store).map_err(|error| unwritable(&store, &error))?;
    Session::open(config).await
}

/// Restores into a session's server, which must have nothing of this prefix.
pub async fn restore(
    session: &Session,
    manifest: &Manifest,
    directory: &Path,
    output: Output,
) -> Result<Restored, Failure> {
    let bus = &session.bus;
    server::check(bus, &session.config.nats).await?;
    let archives = archive::directory(&session.config);
    archive::make(&archives)?;
    let _lock = archive::lock(&archives)?;
    archive::expect_none(&archives)?;
    make_room(bus, manifest).await?;
    let restored = session.unless_interrupted(fill(session, manifest, directory, output)).await;
    if restored.is_err() {
        // Half an installation would be in the way of the next try.
        output.say("removing what was restored");
        for stream in &manifest.streams {
            // What failed is the news; a stream that stays is named by the next try.
            let _ = bus.delete_stream(stream.name()).await;
        }
        archive::remove_copy(&directory.join(ARCHIVE), &archives);
    }
    restored
}

async fn fill(
    session: &Session,
    manifest: &Manifest,
    directory: &Path,
    output: Output,
) -> Result<Restored, Failure> {
    streams(&session.bus, manifest, directory, output).await?;
    // What is not in a backup, the leases, is made as for a new installation.
    let bus = Bus::connect_patiently(&session.config.nats, Some(CLUSTER_PATIENCE)).await?;
    put_back_snapshots(&bus, manifest, directory).await?;
    publish_again(&bus, manifest).await?;
    archive::copy(&directory.join(ARCHIVE), &archive::directory(&session.config))?;
    forget_read_model(&session.config.data_dir)?;
    output.say("verifying what was restored");
    let archive = archive::Location::default().open(&session.config)?;
    let verified = verify::audit(session, None, &archive, output).await?;
    let records = manifest.records();
    let read = verified.records - verified.records_archived;
    if read != records {
        return Err(differs(&format!("{read} commit records were read of {records}")));
    }
    Ok(Restored {
        directory: directory.to_owned(),
        begun_at: manifest.begun_at.clone(),
        streams: manifest.streams.len() as u64,
        messages: manifest.streams.iter().map(|stream| stream.restored.messages).sum(),
        records,
        bytes: manifest.streams.iter().map(|stream| stream.stored.bytes).sum(),
        verified,
    })
}

/// The streams as they are in the files, and nothing else.
pub async fn streams(
    bus: &Bus,
    manifest: &Manifest,
    directory: &Path,
    output: Output,
) -> Result<(), Failure> {
    let total = manifest.streams.iter().map(|stream| stream.stored.bytes).sum();
    let bar = bar("restoring", total, output);
    for stream in &manifest.streams {
        bar.set_prefix(stream.name().to_owned());
        put_back(bus, stream, directory, &bar).await?;
    }
    bar.finish_and_clear();
    Ok(())
}

/// Refuses a server on which anything has happened; what is there and empty is removed.
async fn make_room(bus: &Bus, manifest: &Manifest) -> Result<(), Failure> {
    let topology = bus.topology();
    let leases = format!("KV_{}", topology.leases());
    if bus.totals(&leases).await?.is_some_and(|totals| totals.messages > 0) {
        let leases = bus.leases().await?;
        if let Some(host) = leases.hosts.first().or_else(|| leases.holders.values().next()) {
            return Err(running(&format!("host `{host}` runs")));
        }
    }
    let settings = format!("KV_{}", topology.settings());
    let mut there = Vec::new();
    for stream in &manifest.streams {
        let Some(totals) = bus.totals(stream.name()).await? else { continue };
        // An installation that was made and never used has its settings, and nothing else.
        if totals.last_sequence > 0 && stream.name() != settings {
            return Err(Failure::new(
                "restore-not-empty",
                format!("stream `{}` exists, and it has been written to", stream.name()),
            )
            .next(
                "restore into an empty data directory, another server, or one whose streams you have removed",
            )
            .exit(exit::DATA));
        }
        there.push(stream.name());
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
    bar: &ProgressBar,
) -> Result<(), Failure> {
    let path = directory.join(&stream.stored.file);
    let open = || {
        File::open(&path).map_err(|error| {
            Failure::new("backup-file-missing", format!("`{}` can not be opened: {error}", path.display()))
                .next("use another copy of the backup")
                .exit(exit::DATA)
        })
    };
    let mut snapshot = stream.snapshot.clone();
    snapshot.config["num_replicas"] = bus.profile().replicas().into();
    // Logs that were made before there were cuts denied it.
    snapshot.config["deny_purge"] = false.into();
    let (now, then) = (stream.restored, snapshot.totals);
    let differs_from_file = (now.messages, now.last_sequence) != (then.messages, then.last_sequence);
    let wanted = differs_from_file.then_some(now);
    let (before, mut tries) = (bar.position(), 1);
    loop {
        let file = BufReader::new(open()?);
        match bus.restore_stream(&snapshot, wanted, file, |bytes| bar.inc(bytes)).await {
            Ok(_) => break,
            // The server that took it in is gone, or leads no more: it is sent to the next one.
            Err(error) if error.is_temporary() && tries < TRIES_MAX => {
                tracing::warn!(%error, "sending a stream once more");
                tries += 1;
                bar.set_position(before);
                if bus.totals(stream.name()).await?.is_some() {
                    bus.delete_stream(stream.name()).await?;
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    let found = bus.totals(stream.name()).await?.unwrap_or_default();
    // A server counts the first sequence of an empty stream in its own way.
    let counted = |totals: &Totals| {
        (totals.messages, totals.last_sequence, if totals.messages > 0 { totals.first_sequence } else { 0 })
    };
    // What has an age at which it is deleted may be older by now.
    let ages = stream.snapshot.config["max_age"].as_u64().unwrap_or_default() > 0;
    if !ages && counted(&found) != counted(&stream.restored) {
        return Err(differs(&format!("stream `{}` has {found:?} of {:?}", stream.name(), stream.restored)));
    }
    Ok(())
}

/// The partitions' snapshots as they were before the logs were read.
async fn put_back_snapshots(bus: &Bus, manifest: &Manifest, directory: &Path) -> Result<(), Failure> {
    for partition in &manifest.partitions {
        let name = actors_runtime::takeover::snapshot_name(PartitionId(partition.partition));
        bus.delete_named(&name).await?;
        if let Some(stored) = &partition.snapshot {
            let path = directory.join(&stored.file);
            let bytes = std::fs::read(&path).map_err(|error| unwritable(&path, &error))?;
            bus.put_named(&name, &bytes).await?;
        }
    }
    Ok(())
}

/// The dead letters that were not out when their stream was taken. What is there already may come twice: a
/// dead letter has a place of its own.
async fn publish_again(bus: &Bus, manifest: &Manifest) -> Result<(), Failure> {
    let stuck = Stuck::default();
    for partition in &manifest.partitions {
        let id = PartitionId(partition.partition);
        let mut records = bus.records_after(id, LogSequence(partition.dead_out)).await?;
        while let Some(entry) = records.try_next().await? {
            let mut record = CommitRecord::decode(&entry.record).map_err(|error| {
                Failure::of("record-unreadable", &error)
                    .next("restore with the version that made the backup, or use an earlier backup")
                    .exit(exit::DATA)
            })?;
            bus.attach_blobs(&mut record).await?;
            let committed = Committed { sequence: entry.sequence, record, group: 0 };
            let published = fanout::publish_dead(bus, &committed, &stuck);
            tokio::time::timeout(DEAD_PATIENCE, published).await.map_err(|_| {
                Failure::new(
                    "nats-call-failed",
                    format!("the stream of dead letters took no writes for {DEAD_PATIENCE:?}"),
                )
                .next("`orrery doctor` shows what the server lacks")
                .exit(exit::UNAVAILABLE)
            })?;
        }
    }
    Ok(())
}

/// A read model of another event stream would go on in the middle of this one.
fn forget_read_model(data_dir: &Path) -> Result<(), Failure> {
    for file in READ_MODEL_FILES {
        match std::fs::remove_file(data_dir.join(file)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(unwritable(&data_dir.join(file), &error));
            }
            _ => {}
        }
    }
    Ok(())
}

fn running(who: &str) -> Failure {
    Failure::new("still-running", format!("{who}, and a backup is restored into an installation of its own"))
        .next("name another `--data-dir`, or stop it first (`orrery down`)")
        .exit(exit::UNAVAILABLE)
}

fn differs(what: &str) -> Failure {
    Failure::new("restore-differs", format!("what was restored is not what the manifest says: {what}"))
        .next("`orrery doctor` says whether the server is of a known version; the backup is as it was")
        .exit(exit::DATA)
}

fn bar(what: &'static str, total: u64, output: Output) -> ProgressBar {
    let bar = if output.watched() { ProgressBar::new(total) } else { ProgressBar::hidden() };
    let style = ProgressStyle::with_template("{prefix} {wide_bar} {bytes}/{total_bytes}");
    bar.set_style(style.expect("the template is a constant"));
    bar.set_prefix(what);
    bar
}
