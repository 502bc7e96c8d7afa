//! Archiving: moves the events of task trees that ended long ago out of the event stream into files, which
//! `events`, `replay` and `verify` still read.
//!
//! **The rule.** A host loads an entity from its snapshot and the events behind it. So all events of a
//! finished task but the last may be removed once three things are certain: the files hold the events, synced
//! and read back; the task's snapshot is of its last event, and was read back as well; and the last event
//! stays. The last event makes a lost snapshot harmless: the entity is then stopped and named, since it
//! cannot be mistaken for one without history. A task that is retried continues behind it, and is archived
//! again when it has ended again.
//!
//! The logs stay the truth: `rebuild events` writes the whole stream again from them, archived events
//! included, and another archiving removes them again. With `--logs` the beginning of each log moves into
//! files as well ([`cut`]); the truth is then the archive's records and the log behind them.

mod choose;
mod cut;
pub mod files;
mod logs;
mod merged;

use std::collections::BTreeMap;
use std::path::PathBuf;

use actors_core::Registry;
use actors_runtime::fold::{self, EntitySnapshot};
use bus_client::{Bus, EventQuery};
use bus_schemas::{EntityAddress, PartitionId, Revision, Timestamp};
use futures::TryStreamExt;
use schemars::JsonSchema;
use serde::Serialize;

use self::choose::Finished;
pub use self::cut::Kept;
pub use self::files::Archive;
pub use self::merged::events;
use crate::{Advice, Progress, Sort, Unit, history};

/// Why archiving ended early. Everything written and removed until then is consistent.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The second reading found another number of events.
    #[error("the event stream has changed while it was read: {wrote} events of {expected}")]
    Changed { wrote: u64, expected: u64 },
    /// The body of an event is not text.
    #[error("event {revision} of `{entity}` is no text")]
    Text { entity: EntityAddress, revision: Revision, source: std::str::Utf8Error },
    /// Archive, logs and snapshots disagree.
    #[error("the logs stay as they are: {reason}")]
    Uncertain { reason: String },
    /// Records were written by a later program.
    #[error("partition {partition}: {newer}")]
    Outdated { partition: PartitionId, newer: String },
    /// An error of reading the installation or writing the archive.
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
            Self::Changed { .. } => {
                Advice::new("archive-incomplete", Sort::Data, "nothing was taken out; try again")
            }
            Self::Text { .. } => Advice::new(
                "event-unreadable",
                Sort::Data,
                "`orrery verify --all` finds what else is damaged; nothing was taken out",
            ),
            Self::Uncertain { .. } => Advice::new(
                "archive-incomplete",
                Sort::Data,
                "`orrery verify --all` finds what is damaged; nothing was cut",
            ),
            Self::Outdated { .. } => {
                Advice::new("program-outdated", Sort::Data, "use the version that wrote it")
            }
            Self::History(error) => error.advice(),
        }
    }
}

/// What to archive, and where to.
#[derive(Debug)]
pub struct Request {
    /// The directory of the archive files.
    pub directory: PathBuf,
    /// Only task trees in which nothing has happened since this time, and records from before it.
    pub before: Timestamp,
    /// Cut the logs too.
    pub logs: bool,
}

/// The result of archiving.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct Archived {
    /// Archived task trees.
    pub trees: u64,
    /// Tasks in these trees.
    pub tasks: u64,
    /// Events written to a file.
    pub events: u64,
    /// Events removed from the event stream: more than were written when an earlier run was interrupted.
    pub removed: u64,
    /// Tasks that stay, because they went on meanwhile or could not be read.
    pub left: u64,
    /// The new file; `null` when nothing had to be written.
    pub file: Option<PathBuf>,
    /// Commit records written to files; 0 without `--logs`.
    pub records: u64,
    /// Commit records removed from the logs.
    pub records_removed: u64,
    /// Logs that keep records of that age, with the reason; empty without `--logs`.
    pub kept: Vec<Kept>,
    /// Whether logs were included.
    #[serde(skip)]
    pub logs: bool,
    /// The tasks that stay, with the reasons.
    #[serde(skip)]
    pub stay: Vec<(EntityAddress, String)>,
}

impl Archived {
    fn stays(&mut self, entity: &EntityAddress, reason: String) {
        self.left += 1;
        self.stay.push((entity.clone(), reason));
    }
}

/// Refuses an archive of another installation.
pub async fn expect_own(bus: &Bus, archive: &Archive) -> Result<(), history::Error> {
    match archive.is_empty() {
        true => Ok(()),
        false => archive.expect_of(&bus.installation_id().await?),
    }
}

/// Writes, verifies and removes, in this order: an interruption loses nothing, and another run continues.
pub async fn run(bus: &Bus, request: &Request, progress: &dyn Progress) -> Result<Archived, Error> {
    let Request { directory, before, logs } = request;
    bus.check_installation().await?;
    files::make(directory)?;
    let _lock = files::lock(directory)?;
    let mut archive = Archive::open(directory)?;
    archive.check()?;
    let installation = bus.installation_id().await?;
    archive.expect_of(&installation)?;
    archive.claim(installation);
    if *logs {
        cut::expect_own(bus, &archive).await?;
    }
    let (trees, finished) = choose::finished(bus, *before, &archive).await?;
    let tasks = finished.len() as u64;
    let mut archived = Archived { trees, tasks, logs: *logs, ..Archived::default() };
    let snapshots = snapshots(bus, &finished, &mut archived, progress).await?;
    let finished: BTreeMap<_, _> =
        finished.into_iter().filter(|(entity, _)| snapshots.contains_key(entity)).collect();
    write(bus, &mut archive, &finished, &mut archived).await?;
    for (entity, snapshot) in &snapshots {
        match keep(bus, entity, snapshot).await? {
            Ok(()) => archived.removed += bus.trim_events(entity, finished[entity].last_sequence).await?,
            Err(reason) => archived.stays(entity, reason),
        }
    }
    if *logs {
        cut::run(bus, &mut archive, *before, &mut archived, progress).await?;
    }
    Ok(archived)
}

/// Takes the snapshot of each task as of its last event. Leaves out tasks that have gone on.
async fn snapshots(
    bus: &Bus,
    finished: &BTreeMap<EntityAddress, Finished>,
    archived: &mut Archived,
    progress: &dyn Progress,
) -> Result<BTreeMap<EntityAddress, EntitySnapshot>, Error> {
    let registry = actors_logic::registry();
    progress.begin("reading", finished.len() as u64, Unit::Tasks);
    let mut snapshots = BTreeMap::new();
    for (entity, finished) in finished {
        progress.advance(1);
        match snapshot(bus, &registry, entity, finished).await? {
            Ok(snapshot) => drop(snapshots.insert(entity.clone(), snapshot)),
            Err(reason) => archived.stays(entity, reason),
        }
    }
    progress.end();
    Ok(snapshots)
}

/// Loads a task as a host would, and checks that its snapshot restores it.
async fn snapshot(
    bus: &Bus,
    registry: &Registry,
    entity: &EntityAddress,
    finished: &Finished,
) -> Result<Result<EntitySnapshot, String>, Error> {
    let instance = match fold::load(bus, registry, entity).await {
        Ok(loaded) => match loaded.instance {
            Ok(instance) => instance,
            Err(stopped) => return Ok(Err(stopped.reason)),
        },
        // The task is damaged, which does not affect others.
        Err(error @ (bus_client::Error::Event { .. } | bus_client::Error::Blob { .. })) => {
            return Ok(Err(error.to_string()));
        }
        Err(error) => return Err(error.into()),
    };
    if (instance.revision(), instance.hash()) != (finished.last, finished.hash) {
        return Ok(Err("the entity has gone on".to_owned()));
    }
    let snapshot = EntitySnapshot {
        revision: instance.revision(),
        hash: instance.hash(),
        // The last event stays, and later ones stand behind it.
        events: finished.last_sequence,
        state: instance.state(),
        origin: instance.origin(),
    };
    let again = registry.restore(&entity.kind, snapshot.revision, snapshot.hash, snapshot.state.clone());
    match again {
        Some(Ok(again)) if again.state() == instance.state() => Ok(Ok(snapshot)),
        _ => Ok(Err("its snapshot does not bring it back".to_owned())),
    }
}

/// Writes the events that no file has yet.
async fn write(
    bus: &Bus,
    archive: &mut Archive,
    finished: &BTreeMap<EntityAddress, Finished>,
    archived: &mut Archived,
) -> Result<(), Error> {
    if finished.values().all(|task| task.kept >= before(task.last)) {
        return Ok(());
    }
    let subjects = vec![bus.subjects().events(Some(&choose::KIND))];
    let mut events = bus.events_until_now(EventQuery { subjects, from: 0 }).await?;
    let mut writer = archive.begin()?;
    while let Some(stored) = events.try_next().await? {
        let wanted = finished
            .get(&stored.entity)
            .is_some_and(|task| stored.event.revision > task.kept && stored.event.revision < task.last);
        if wanted {
            writer.add(&stored)?;
            archived.events += 1;
        }
    }
    let expected: u64 = finished.values().map(|task| before(task.last).0.saturating_sub(task.kept.0)).sum();
    if archived.events != expected {
        writer.abandon();
        return Err(Error::Changed { wrote: archived.events, expected });
    }
    archived.file = Some(archive.add(writer)?);
    Ok(archive.check()?)
}

fn before(revision: Revision) -> Revision {
    Revision(revision.0.saturating_sub(1))
}

/// Stores a snapshot, and reads it back as a host would; otherwise says why the task's events stay. A
/// snapshot that the server never accepts does not affect other tasks.
async fn keep(
    bus: &Bus,
    entity: &EntityAddress,
    snapshot: &EntitySnapshot,
) -> Result<Result<(), String>, Error> {
    let name = fold::snapshot_name(entity);
    let bytes = bytes::Bytes::from(rmp_serde::to_vec(snapshot).expect("a snapshot is plain data"));
    match bus.put_snapshot(&name, bytes.clone()).await {
        Err(error @ bus_client::Error::Refused { .. }) => return Ok(Err(error.to_string())),
        put => put?,
    }
    let again = bus.get_snapshot(&name).await?;
    Ok(if again.as_ref() == Some(&bytes) {
        Ok(())
    } else {
        Err("its snapshot cannot be read back".to_owned())
    })
}
