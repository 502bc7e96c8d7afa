//! `orrery archive --logs`: the beginning of each log moves into files.
//!
//! **The rule.** A takeover begins at the partition's snapshot, and reads the log from the oldest record
//! of which the memory of recent ids, the fan-out or the dead letters still need something. Older records
//! may go, once these things are certain, in this order:
//!
//! 1. The archive is this log's: what is in both is the same byte for byte, and the log goes on with
//!    the archive's chain. Another installation's archive, or that of a history which a restore has
//!    left, would let records go that no file has.
//! 2. Archive and log, folded from the first record on, give the state that the snapshot says, where
//!    there is one.
//! 3. The records are in the archive: written, synced, and read back along the chain of hashes, which
//!    the first record that stays in the log goes on with.
//! 4. The folded state is stored as the partition's base, and read back. It is what a host begins at
//!    when the snapshot is lost; owners never write it.
//!
//! Wherever it is interrupted, the records are in both, and readers take those of the log.

use std::sync::Arc;

use actors_runtime::core::{Core, Settings};
use actors_runtime::recent::RECENT_IDS_MAX;
use actors_runtime::state::PartitionState;
use actors_runtime::takeover;
use bus_client::Bus;
use bus_schemas::record::CommitRecord;
use bus_schemas::{LogSequence, PartitionId, Timestamp};
use futures::TryStreamExt;
use schemars::JsonSchema;
use serde::Serialize;

use super::{Archive, Archived, foreign};
use crate::failure::{Failure, exit};
use crate::log::{self, records};
use crate::output::Output;

/// A log whose records of the age that was asked for stay, all or some of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Kept {
    /// Whose log.
    pub partition: u16,
    /// How many of those records stay.
    pub records: u64,
    /// What still needs them: `recent-commands`, `snapshot`, `events` or `dead-letters`.
    pub why: String,
}

impl Kept {
    /// What people are told.
    pub fn text(&self) -> String {
        let Self { partition, records, why } = self;
        let why = match why.as_str() {
            RECENT => format!("its last {RECENT_IDS_MAX} commands begin before or among them"),
            SNAPSHOT => {
                "the partition's snapshot is not behind them; one is taken every 4,096 records, and when the host stops"
                    .to_owned()
            }
            EVENTS => "their events are not all out; `orrery doctor` says what keeps them".to_owned(),
            _ => "their dead letters are not all out, or a later record does not say so yet".to_owned(),
        };
        format!("partition {partition} keeps {records} records of that age: {why}")
    }
}

const RECENT: &str = "recent-commands";
const SNAPSHOT: &str = "snapshot";
const EVENTS: &str = "events";
const DEAD: &str = "dead-letters";

/// Refuses an archive that is not of these logs: nothing is cut, in no partition.
pub async fn expect_own(bus: &Bus, archive: &Archive) -> Result<(), Failure> {
    for partition in bus.topology().all_partitions() {
        compare(bus, archive, partition).await?;
    }
    Ok(())
}

/// Holds what the archive has of a log against the log: the records that are in both, and the chain to the
/// first one that is in the log alone.
async fn compare(bus: &Bus, archive: &Archive, partition: PartitionId) -> Result<(), Failure> {
    let (end, hash) = archive.log_end(partition);
    let log = bus.state_of(&bus.topology().log(partition)).await?;
    let foreign = |reason: String| Err(foreign(archive.directory(), &reason));
    if end.0 > log.last_sequence {
        let last = log.last_sequence;
        return foreign(format!(
            "it has record {end} of partition {partition}, and the log ends at record {last}"
        ));
    }
    if end.0 == 0 {
        return Ok(());
    }
    let before = LogSequence(log.first_sequence.max(1) - 1).min(end);
    let mut archived = archive
        .records(partition, end)
        .skip_while(|entry| entry.as_ref().is_ok_and(|entry| entry.sequence <= before));
    let mut logged = bus.records_after(partition, before).await?;
    while let Some(entry) = logged.try_next().await? {
        let sequence = entry.sequence;
        if sequence <= end {
            let same = archived
                .next()
                .transpose()?
                .is_some_and(|old| old.sequence == sequence && old.record == entry.record);
            if !same {
                return foreign(format!(
                    "record {sequence} of partition {partition} is another one in the log"
                ));
            }
            continue;
        }
        // One that can not be read is damage, which the fold names.
        let linked = CommitRecord::decode(&entry.record).map_or(true, |record| record.previous == hash);
        // Where the beginning was cut further than the archive reaches, the readers say so.
        return if linked || entry.follows() > end {
            Ok(())
        } else {
            Err(log::unlinked(archive, partition, end))
        };
    }
    Ok(())
}

/// Cuts every log behind what is older than `before` and needed no more.
pub async fn run(
    bus: &Bus,
    archive: &mut Archive,
    before: Timestamp,
    archived: &mut Archived,
    output: Output,
) -> Result<(), Failure> {
    for partition in bus.topology().all_partitions() {
        if !bus.may_cut(partition).await? {
            let log = bus.topology().log(partition);
            return Err(Failure::new("log-uncuttable", format!("the server denies to cut `{log}`"))
                .next("`orrery backup` and `orrery restore` into an empty installation make logs that can be cut")
                .exit(exit::DATA));
        }
    }
    for partition in bus.topology().all_partitions() {
        let Folded { state: base, upto, kept } = fold(bus, archive, partition, before, output).await?;
        archived.kept.extend(kept);
        let begins = bus.state_of(&bus.topology().log(partition)).await?.first_sequence;
        if upto.0 == 0 && begins <= 1 {
            continue;
        }
        archived.records += write(bus, archive, partition, upto).await?;
        keep(bus, partition, &base).await?;
        archived.records_removed += bus.cut_log(partition, upto).await?;
    }
    Ok(())
}

/// What archive and log say together.
struct Folded {
    state: PartitionState,
    /// Up to which record nobody needs the log any more.
    upto: LogSequence,
    /// What is as old, and stays.
    kept: Option<Kept>,
}

/// Reads archive and log from the first record on.
async fn fold(
    bus: &Bus,
    archive: &Archive,
    partition: PartitionId,
    before: Timestamp,
    output: Output,
) -> Result<Folded, Failure> {
    // Both only go forward, so what is read first needs more than what is there later.
    let snapshot = snapshot(bus, partition).await?;
    let mark = bus.mark(partition).await?.upto;
    let settings = Settings::new(partition, bus.topology().partitions, "archive", usize::MAX);
    let mut core = Core::new(settings, Arc::new(actors_logic::registry()), None);
    let (mut old, mut entries) = (LogSequence(0), records(bus, archive, partition, output).await?);
    while let Some(entry) = entries.next().await? {
        core.recover(entry.sequence, entry.hash, &entry.record)
            .map_err(|error| uncertain(&error.to_string()))?;
        if let Some(snapshot) = snapshot.as_ref().filter(|snapshot| snapshot.last == entry.sequence)
            && !snapshot.agrees_with(&core.state)
        {
            return Err(uncertain(&format!(
                "the snapshot of partition {partition} is not what its log makes of it"
            )));
        }
        if entry.record.at < before && entry.follows == old {
            old = entry.sequence;
        }
    }
    if let Some(newer) = core.beyond() {
        return Err(Failure::new("program-outdated", format!("partition {partition}: {newer}"))
            .next("use the version that wrote it")
            .exit(exit::DATA));
    }
    let upto = old.min(LogSequence(needed(snapshot.as_ref(), &core.state, mark).0.saturating_sub(1)));
    let kept = kept(snapshot.as_ref(), &core.state, mark, (upto, old));
    Ok(Folded { state: std::mem::take(&mut core.state), upto, kept })
}

/// The oldest record that is needed, beside the snapshot and beside the base.
fn needed(snapshot: Option<&PartitionState>, base: &PartitionState, mark: LogSequence) -> LogSequence {
    let states = snapshot.into_iter().chain([base]);
    states.map(|state| state.first_kept(mark)).min().unwrap_or_default()
}

/// Why records stay that are as old as those that go.
fn kept(
    snapshot: Option<&PartitionState>,
    base: &PartitionState,
    mark: LogSequence,
    (upto, old): (LogSequence, LogSequence),
) -> Option<Kept> {
    let records = old.0.saturating_sub(upto.0);
    let first = needed(snapshot, base, mark);
    // What the log itself needs comes first: no later snapshot would change it.
    let why = if records == 0 {
        return None;
    } else if base.recent.oldest().is_some_and(|oldest| oldest <= first) {
        RECENT
    } else if mark.next() <= first {
        EVENTS
    } else if base.dead_out.next() <= first {
        DEAD
    } else {
        SNAPSHOT
    };
    Some(Kept { partition: base.partition.0, records, why: why.to_owned() })
}

/// The snapshot that the next takeover would begin at.
async fn snapshot(bus: &Bus, partition: PartitionId) -> Result<Option<PartitionState>, Failure> {
    let bytes = match bus.get_named(&takeover::snapshot_name(partition)).await {
        Ok(bytes) => bytes,
        // One that can not be had whole is none for a takeover either.
        Err(bus_client::Error::Blob { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    Ok(bytes.and_then(|bytes| PartitionState::decode(&bytes).ok()))
}

/// Writes the records up to `upto` that the archive does not have yet, and says how many they were.
async fn write(
    bus: &Bus,
    archive: &mut Archive,
    partition: PartitionId,
    upto: LogSequence,
) -> Result<u64, Failure> {
    let end = archive.log_end(partition).0;
    if end >= upto {
        return Ok(0);
    }
    let mut new = archive.begin_log(partition)?;
    let mut entries = bus.records_after(partition, end).await?;
    let mut written = 0;
    while let Some(entry) = entries.try_next().await? {
        if entry.sequence > upto {
            archive.add_records(new)?;
            let record = CommitRecord::decode(&entry.record);
            let follows = record.is_ok_and(|record| (upto, record.previous) == archive.log_end(partition));
            return if follows { Ok(written) } else { Err(log::unlinked(archive, partition, upto)) };
        }
        new.add(&entry)?;
        written += 1;
    }
    Err(uncertain(&format!("the log of partition {partition} ends before record {upto}")))
}

/// Stores the base, and reads it as a takeover would.
async fn keep(bus: &Bus, partition: PartitionId, base: &PartitionState) -> Result<(), Failure> {
    let (name, bytes) = (takeover::base_name(partition), base.encode());
    bus.put_named(&name, &bytes).await?;
    match bus.get_named(&name).await? {
        Some(again) if *again == *bytes => Ok(()),
        _ => Err(uncertain(&format!("`{name}` can not be read back"))),
    }
}

fn uncertain(reason: &str) -> Failure {
    Failure::new("archive-incomplete", format!("the logs stay as they are: {reason}"))
        .next("`orrery verify --all` finds what is damaged; nothing was cut")
        .exit(exit::DATA)
}
