//! `orrery archive`: the events of task trees that ended long ago move out of the event stream into
//! files, which `events`, `replay` and `verify` go on reading.
//!
//! **The rule.** A host loads an entity from its snapshot and the events behind it. So of a finished
//! task everything but its last event may go, once three things are certain: the files hold it,
//! synced and read back; the task's snapshot is of that last event, and read back as well; and the
//! last event stays. It is what makes a lost snapshot harmless: the entity is then stopped and named,
//! for it can not be mistaken for one to which nothing has happened. A task that is retried goes on
//! behind it, and is archived again when it has ended again.
//!
//! The logs stay the truth: `rebuild events` writes the whole stream again from them, archived events
//! included, and archiving again takes them out again. With `--logs` their beginning moves into files as
//! well ([`cut`]); the truth is then the archive's records and the log behind them.

mod choose;
mod cut;
pub mod files;
mod logs;
mod merged;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use actors_core::Registry;
use actors_host::Config;
use actors_runtime::fold::{self, EntitySnapshot};
use bus_client::{Bus, EventQuery};
use bus_schemas::{EntityAddress, Revision, Timestamp};
use futures::TryStreamExt;
use indicatif::{ProgressBar, ProgressStyle};
use schemars::JsonSchema;
use serde::Serialize;

use self::choose::Finished;
pub use self::cut::Kept;
pub use self::files::{Archive, copy, expect_none, foreign, lock, make, remove_copy};
pub use self::merged::events;
use crate::failure::{Failure, exit};
use crate::output::{Output, Show};
use crate::session::Session;

/// How long after its end a task tree stays in the event stream when nothing else is said.
const OLDER_THAN_DEFAULT: &str = "30d";

/// What moves, and where to.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Only task trees in which nothing has happened for so long: `30d`, `12h`, `90m`, `10s`
    #[arg(long, value_name = "AGE", default_value = OLDER_THAN_DEFAULT, value_parser = age)]
    older_than: Duration,
    /// Cut the logs too: commit records of that age that no takeover needs any more
    #[arg(long)]
    logs: bool,
    /// Where the files are kept; whoever reads them must say so too. Default: `archive` in the data directory
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// What moved.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct Archived {
    /// Task trees.
    pub trees: u64,
    /// Tasks in them.
    pub tasks: u64,
    /// Events that were written to a file.
    pub events: u64,
    /// Events that were taken out of the event stream: more than were written when a former run was interrupted.
    pub removed: u64,
    /// Tasks that went on meanwhile, or could not be read, and so stay.
    pub left: u64,
    /// The new file; none when nothing was to be written.
    pub file: Option<PathBuf>,
    /// Commit records that were written to files; none without `--logs`.
    pub records: u64,
    /// Commit records that were cut off the logs.
    pub records_removed: u64,
    /// Logs with records of that age that stay, and why; none without `--logs`.
    pub kept: Vec<Kept>,
    /// Whether logs were looked at.
    #[serde(skip)]
    logs: bool,
}

impl Show for Archived {
    fn text(&self) -> String {
        let Self { trees, tasks, events, removed, left, file, .. } = self;
        let left = if *left == 0 { String::new() } else { format!("; {left} tasks stay") };
        let moved = match file {
            Some(file) => format!(
                "{trees} task trees ({tasks} tasks): {events} events written to `{}`, {removed} taken out of the stream{left}",
                file.display()
            ),
            None => format!("nothing to write, {removed} events taken out of the stream{left}"),
        };
        moved + &self.logs_text()
    }
}

impl Archived {
    fn logs_text(&self) -> String {
        let Self { records, records_removed, kept, logs, .. } = self;
        if !logs {
            return String::new();
        }
        let cut = match (records, records_removed, kept.is_empty()) {
            (0, 0, true) => "\nno log has records of that age to cut".to_owned(),
            (0, 0, false) => "\nno log was cut".to_owned(),
            _ => format!("\n{records} commit records written, {records_removed} cut off the logs"),
        };
        kept.iter().fold(cut, |text, kept| text + "\n" + &kept.text())
    }
}

/// Where archive files are read.
#[derive(Debug, Default, clap::Args)]
pub struct Location {
    /// Where `orrery archive` keeps its files. Default: `archive` in the data directory
    #[arg(long, value_name = "DIR")]
    archive: Option<PathBuf>,
}

impl Location {
    /// The files there; none where nothing was archived.
    pub fn open(&self, config: &Config) -> Result<Archive, Failure> {
        self.open_or(&directory(config))
    }

    /// The files there, or in another directory where none is named.
    pub fn open_or(&self, usual: &Path) -> Result<Archive, Failure> {
        match &self.archive {
            Some(named) if !named.is_dir() => {
                Err(Failure::new("archive-damaged", format!("`{}` is no directory", named.display()))
                    .next("name the directory that was given as `--dir` to `orrery archive`")
                    .exit(exit::NOT_FOUND))
            }
            Some(named) => Archive::open(named),
            None => Archive::open(usual),
        }
    }
}

fn age(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.len().saturating_sub(1));
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err("an age is a number with `s`, `m`, `h` or `d`, such as `30d`".to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| format!("`{number}` is no number"))?;
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(|| "it is too long ago".to_owned())
}

/// Where an installation's archive is when nothing else is said.
pub fn directory(config: &Config) -> PathBuf {
    config.data_dir.join("archive")
}

/// Refuses an archive of another installation.
pub async fn expect_own(bus: &Bus, archive: &Archive) -> Result<(), Failure> {
    match archive.is_empty() {
        true => Ok(()),
        false => archive.expect_of(bus.installation_id().await?.as_deref()),
    }
}

/// The present, for people.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Writes, makes certain, and takes out, in this order: wherever it is interrupted, nothing is lost,
/// and another run goes on.
pub async fn run(session: &Session, arguments: Arguments, output: Output) -> Result<(), Failure> {
    let directory = arguments.dir.unwrap_or_else(|| directory(&session.config));
    files::make(&directory)?;
    let _lock = lock(&directory)?;
    let mut archive = Archive::open(&directory)?;
    archive.check()?;
    let installation = session.bus.make_installation_id().await?;
    archive.expect_of(Some(&installation))?;
    archive.claim(installation);
    let older = u64::try_from(arguments.older_than.as_millis()).unwrap_or(u64::MAX);
    let before = Timestamp(now().0.saturating_sub(older));
    let bus = &session.bus;
    if arguments.logs {
        cut::expect_own(bus, &archive).await?;
    }
    let (trees, finished) = choose::finished(bus, before, &archive).await?;
    let (tasks, logs) = (finished.len() as u64, arguments.logs);
    let mut archived = Archived { trees, tasks, logs, ..Archived::default() };
    let snapshots = snapshots(bus, &finished, &mut archived, output).await?;
    let finished: BTreeMap<_, _> =
        finished.into_iter().filter(|(entity, _)| snapshots.contains_key(entity)).collect();
    write(bus, &mut archive, &finished, &mut archived).await?;
    for (entity, snapshot) in &snapshots {
        keep(bus, entity, snapshot).await?;
        archived.removed += bus.trim_events(entity, finished[entity].last_sequence).await?;
    }
    if arguments.logs {
        cut::run(bus, &mut archive, before, &mut archived, output).await?;
    }
    output.show(&archived);
    Ok(())
}

/// The snapshot of each task as its last event left it. Tasks that have gone on stay out.
async fn snapshots(
    bus: &Bus,
    finished: &BTreeMap<EntityAddress, Finished>,
    archived: &mut Archived,
    output: Output,
) -> Result<BTreeMap<EntityAddress, EntitySnapshot>, Failure> {
    let registry = actors_logic::registry();
    let bar = if output.watched() { ProgressBar::new(finished.len() as u64) } else { ProgressBar::hidden() };
    let style = ProgressStyle::with_template("{prefix} {wide_bar} {pos}/{len} tasks");
    bar.set_style(style.expect("the template is a constant"));
    bar.set_prefix("reading");
    let mut snapshots = BTreeMap::new();
    for (entity, finished) in finished {
        bar.inc(1);
        match snapshot(bus, &registry, entity, finished).await? {
            Ok(snapshot) => drop(snapshots.insert(entity.clone(), snapshot)),
            Err(reason) => {
                output.say(&format!("`{entity}` stays: {reason}"));
                archived.left += 1;
            }
        }
    }
    bar.finish_and_clear();
    Ok(snapshots)
}

/// Loads a task as a host would, and makes certain that its snapshot brings it back.
async fn snapshot(
    bus: &Bus,
    registry: &Registry,
    entity: &EntityAddress,
    finished: &Finished,
) -> Result<Result<EntitySnapshot, String>, Failure> {
    let instance = match fold::load(bus, registry, entity).await?.instance {
        Ok(instance) => instance,
        Err(stopped) => return Ok(Err(stopped.reason)),
    };
    if (instance.revision(), instance.hash()) != (finished.last, finished.hash) {
        return Ok(Err("it has gone on".to_owned()));
    }
    let snapshot = EntitySnapshot {
        revision: instance.revision(),
        hash: instance.hash(),
        // The last event stays, and whatever comes stands behind it.
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
) -> Result<(), Failure> {
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
        let (wrote, message) = (archived.events, "the event stream has changed while it was read");
        return Err(Failure::new("archive-incomplete", format!("{message}: {wrote} events of {expected}"))
            .next("nothing was taken out; try again")
            .exit(exit::DATA));
    }
    archived.file = Some(archive.add(writer)?);
    archive.check()
}

fn before(revision: Revision) -> Revision {
    Revision(revision.0.saturating_sub(1))
}

/// Keeps a snapshot, and reads it as a host would.
async fn keep(bus: &Bus, entity: &EntityAddress, snapshot: &EntitySnapshot) -> Result<(), Failure> {
    let name = fold::snapshot_name(entity);
    let bytes = bytes::Bytes::from(rmp_serde::to_vec(snapshot).expect("a snapshot is plain data"));
    bus.put_snapshot(&name, bytes.clone()).await?;
    if bus.get_snapshot(&name).await?.as_ref() == Some(&bytes) {
        return Ok(());
    }
    Err(Failure::new("archive-incomplete", format!("the snapshot of `{entity}` can not be read back"))
        .next("its events stay; try again, and `orrery doctor` says what the server lacks")
        .exit(exit::UNAVAILABLE))
}

#[cfg(test)]
mod tests {
    #[test]
    fn ages_have_units() {
        assert_eq!(super::age("30d").map(|age| age.as_secs()), Ok(2_592_000));
        assert_eq!(super::age("0s").map(|age| age.as_secs()), Ok(0));
        for text in ["", "30", "d", "x h", "99999999999999999999d", "30 days"] {
            assert!(super::age(text).is_err(), "{text}");
        }
    }
}
