//! `orrery backup`: an installation as files, taken while it runs or while it is down.
//!
//! **Order.** The streams are taken one after the other while hosts go on, so each shows another
//! moment. What a takeover completes may be older than the logs, and what the logs name must not be:
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
//! 3. Blobs come last: they are stored before the record that names them.
//!
//! The server sends a stream's messages up to the last one that there was when it was asked, without
//! those that are deleted while it sends. Of logs and events none is; others may lack what was
//! trimmed, taken or replaced meanwhile, which later steps have. Snapshots of entities are asked for
//! again then, for an archived entity needs its own.
//!
//! Three things are set right by the restore. Jobs and dead letters of records that were not out when
//! their streams were taken are published again: a job may come twice, as after any crash. The inbox
//! goes on behind every log's position, or new commands would get places that count as applied.
//! Partition snapshots lie among the blobs, where they may be newer than the logs: those that were
//! taken before take their places. Leases are not in a backup: nobody holds one after it.

mod cut;
pub mod manifest;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bus_client::Bus;
use bus_client::backup::{Snapshot, Totals};
use bus_schemas::record::CommitRecord;
use bus_schemas::{LogSequence, PartitionId, Timestamp};
use indicatif::{ProgressBar, ProgressStyle};
use schemars::JsonSchema;
use serde::Serialize;

use self::manifest::{Manifest, Partition, Stored, StreamFile, sync_directory};
use super::archive::{self, Archive};
use crate::failure::{Failure, exit};
use crate::log;
use crate::output::{Output, Show};
use crate::session::Session;

/// How often entity snapshots are asked for until none was replaced meanwhile: a bucket of them is
/// sent in less time than hosts take between two of one entity, and what lacks costs the longer way.
const TRIES_MAX: u32 = 5;

/// Where to.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// An empty directory, or one that does not exist yet
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    #[command(flatten)]
    archive: archive::Location,
}

/// What was written.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Written {
    /// The directory.
    pub directory: PathBuf,
    /// When it began, RFC 3339: everything acknowledged before is in it.
    pub begun_at: String,
    /// Streams, buckets and object stores.
    pub streams: u64,
    /// Messages in all of them.
    pub messages: u64,
    /// Commit records among them.
    pub records: u64,
    /// Bytes of all files.
    pub bytes: u64,
}

impl Show for Written {
    fn text(&self) -> String {
        let Self { directory, streams, messages, records, bytes, .. } = self;
        format!(
            "{streams} streams with {messages} messages, {records} of them commit records, in {bytes} bytes at `{}`\n`orrery restore {}` brings them into an empty installation",
            directory.display(),
            directory.display()
        )
    }
}

/// Writes a backup; the manifest last, so that half a backup is none.
pub async fn run(session: &Session, arguments: Arguments, output: Output) -> Result<(), Failure> {
    let directory = &arguments.directory;
    empty(directory)?;
    // While events move into archive files, neither the stream nor the files have all of them.
    let archives = arguments.archive.open(&session.config)?.directory().to_owned();
    let _lock = archive::lock(&archives)?;
    expect_whole(&session.bus, &Archive::open(&archives)?).await?;
    let mut backup = Backup::new(&session.bus, directory, output);
    let manifest = backup.take(session).await?;
    let copied = archive::copy(&archives, &directory.join(manifest::ARCHIVE))?;
    let manifest = Manifest { archives: copied, ..manifest };
    sync_directory(directory)?;
    manifest.write(directory)?;
    // The backup is good without it; only monitoring would take it for older than it is.
    if let Some(began_at) = Timestamp::parse_rfc3339(&manifest.begun_at)
        && let Err(error) = session.bus.note_backup(began_at).await
    {
        tracing::warn!(%error, "hosts do not know of this backup");
    }
    output.show(&Written {
        directory: directory.clone(),
        begun_at: manifest.begun_at.clone(),
        streams: manifest.streams.len() as u64,
        messages: manifest.streams.iter().map(|stream| stream.restored.messages).sum(),
        records: manifest.records(),
        bytes: manifest.files().map(|file| file.bytes).sum(),
    });
    Ok(())
}

/// Refuses an archive of another installation, and one without the records that were cut off the logs:
/// nothing could be verified.
async fn expect_whole(bus: &Bus, archive: &Archive) -> Result<(), Failure> {
    archive::expect_own(bus, archive).await?;
    for partition in bus.topology().all_partitions() {
        log::covered(archive, partition, &bus.state_of(&bus.topology().log(partition)).await?)?;
    }
    Ok(())
}

/// Makes the directory, or refuses one that has something in it.
fn empty(directory: &Path) -> Result<(), Failure> {
    let unusable = |error: std::io::Error| manifest::unwritable(directory, &error);
    std::fs::create_dir_all(directory).map_err(unusable)?;
    match std::fs::read_dir(directory).map_err(unusable)?.next() {
        None => Ok(()),
        Some(_) => Err(Failure::new(
            "directory-not-empty",
            format!("`{}` has files in it, and a backup needs a directory of its own", directory.display()),
        )
        .next("name a directory that is empty or does not exist yet")
        .exit(exit::USAGE)),
    }
}

/// A backup that is being written.
struct Backup<'a> {
    bus: &'a Bus,
    directory: &'a Path,
    bar: ProgressBar,
}

impl<'a> Backup<'a> {
    fn new(bus: &'a Bus, directory: &'a Path, output: Output) -> Self {
        let bar = if output.watched() { ProgressBar::new(0) } else { ProgressBar::hidden() };
        let style = ProgressStyle::with_template("{prefix} {wide_bar} {bytes}/{total_bytes}");
        bar.set_style(style.expect("the template is a constant"));
        Self { bus, directory, bar }
    }

    async fn take(&mut self, session: &Session) -> Result<Manifest, Failure> {
        let (bus, topology) = (self.bus, self.bus.topology());
        let begun_at = crate::commands::archive::now().to_rfc3339();
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
        for stream in [topology.output(), format!("OBJ_{}", topology.blobs())] {
            streams.push(self.stream(&stream, None).await?);
        }
        self.bar.finish_and_clear();
        Ok(Manifest {
            schema: manifest::SCHEMA,
            orrery_version: env!("CARGO_PKG_VERSION").to_owned(),
            server_version: bus.server_version(),
            profile: session.config.nats.profile.to_string(),
            subject_prefix: bus.subjects().prefix().to_owned(),
            begun_at,
            partitions,
            streams,
            archives: Vec::new(),
        })
    }

    /// The record up to which a partition's dead letters are in their stream by now.
    async fn dead_out(&self, partition: PartitionId) -> Result<LogSequence, Failure> {
        let Some(entry) = self.bus.last_record(partition).await? else { return Ok(LogSequence(0)) };
        match CommitRecord::decode(&entry.record) {
            Ok(record) => Ok(LogSequence(record.dead_out)),
            Err(error) => Err(cut::unreadable(partition, entry.sequence, &error)),
        }
    }

    /// A stream into a file of its name; a log only up to its cut.
    async fn stream(&mut self, name: &str, upto: Option<LogSequence>) -> Result<StreamFile, Failure> {
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
                return Err(manifest::lacking(&path, &format!("{lacks} messages are missing")));
            }
            if lacks > 0 && again && tries.next().is_some() {
                std::fs::remove_file(&path).map_err(|error| manifest::unwritable(&path, &error))?;
                continue;
            }
            let end = held.totals.last_sequence.saturating_sub(held.unfinished);
            let restored = cut_off(held.totals, upto.map_or(end, |upto| upto.0.min(end)));
            return Ok(StreamFile { stored, snapshot, restored });
        }
    }

    async fn file(&self, name: &str, path: &Path) -> Result<(Stored, Snapshot), Failure> {
        let expected = self.bus.totals(name).await?.map_or(0, |totals| totals.bytes);
        self.bar.set_prefix(name.to_owned());
        self.bar.set_length(expected);
        self.bar.set_position(0);
        let mut writer = manifest::Writer::create(path)?;
        let bar = self.bar.clone();
        let taken = self.bus.snapshot_stream(name, &mut writer, move |bytes| bar.inc(bytes)).await;
        let snapshot = match (taken, writer.failure()) {
            (Ok(snapshot), _) => snapshot,
            (Err(_), Some(failure)) => return Err(failure),
            (Err(error), None) => return Err(error.into()),
        };
        Ok((writer.finish(&file_name(name))?, snapshot))
    }

    async fn partition_snapshot(&self, partition: PartitionId) -> Result<Option<Stored>, Failure> {
        let name = actors_runtime::takeover::snapshot_name(partition);
        let Some(bytes) = self.bus.get_named(&name).await? else { return Ok(None) };
        let mut writer = manifest::Writer::create(&self.directory.join(&name))?;
        match std::io::Write::write_all(&mut writer, &bytes) {
            Ok(()) => writer.finish(&name).map(Some),
            Err(error) => Err(manifest::unwritable(&self.directory.join(&name), &error)),
        }
    }
}

fn file_name(stream: &str) -> String {
    format!("{stream}.stream")
}

/// What is left of a stream when it ends at a place. What is cut off has no gaps: a log never has any,
/// and a batch stands in one piece.
fn cut_off(totals: Totals, upto: u64) -> Totals {
    let left_out = totals.last_sequence.saturating_sub(upto);
    Totals {
        messages: totals.messages.saturating_sub(left_out),
        last_sequence: totals.last_sequence.min(upto),
        ..totals
    }
}

/// New messages of a stream shall come behind a place.
fn go_on_behind(totals: &mut Totals, place: u64) {
    totals.last_sequence = totals.last_sequence.max(place);
    if totals.messages == 0 {
        totals.first_sequence = totals.last_sequence + 1;
    }
}
