//! Archiving with the logs: moves the beginning of each log into files.
//!
//! **The rule.** A takeover begins at the partition's snapshot, and reads the log from the oldest record that
//! the memory of recent command ids, the fan-out or the dead letters still need. Older records may be removed
//! once these things are certain, in this order:
//!
//! 1. The archive belongs to this log: records in both are equal byte for byte, and the log continues the
//!    archive's chain. With an archive of another installation, or of a history that a restore has abandoned,
//!    records would be removed that no file has.
//! 2. Archive and log, folded from the first record on, give the state of the snapshot, if there is one.
//! 3. The records are in the archive: written, synced, and read back along the chain of hashes, which the
//!    first remaining record of the log continues.
//! 4. The folded state is stored as the partition's base, and read back. A host begins there when the
//!    snapshot is lost; owners never write it.
//!
//! After an interruption the records are in both, and readers take those of the log.

use std::sync::Arc;

use actors_runtime::core::{Core, Settings};
use actors_runtime::state::PartitionState;
use actors_runtime::takeover;
use bus_client::Bus;
use bus_schemas::record::CommitRecord;
use bus_schemas::{LogSequence, PartitionId, Timestamp};
use futures::TryStreamExt;
use schemars::JsonSchema;
use serde::Serialize;

use super::{Archive, Archived, Error};
use crate::Progress;
use crate::history::{self, records};

/// A log that keeps records of the requested age, all or some of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Kept {
    /// The partition of the log.
    pub partition: u16,
    /// The number of records that stay.
    pub records: u64,
    /// The reason they are still needed: `recent-commands`, `snapshot`, `events` or `dead-letters`.
    pub why: String,
}

const RECENT: &str = "recent-commands";
const SNAPSHOT: &str = "snapshot";
const EVENTS: &str = "events";
const DEAD: &str = "dead-letters";

/// Refuses an archive that does not belong to these logs: then no partition's log is cut.
pub async fn expect_own(bus: &Bus, archive: &Archive) -> Result<(), Error> {
    for partition in bus.topology().all_partitions() {
        compare(bus, archive, partition).await?;
    }
    Ok(())
}

/// Compares the archive with the log: the records in both, and the chain to the first record that only the
/// log has.
async fn compare(bus: &Bus, archive: &Archive, partition: PartitionId) -> Result<(), Error> {
    let (end, hash) = archive.log_end(partition);
    let log = bus.state_of(&bus.topology().log(partition)).await?;
    let foreign = |reason: String| Err(archive.foreign(reason).into());
    if end.0 > log.last_sequence {
        let last = log.last_sequence;
        return foreign(format!(
            "the archive has record {end} of partition {partition}, and the log ends at record {last}"
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
        // An unreadable record is damage, which the fold reports.
        let linked = CommitRecord::decode(&entry.record).map_or(true, |record| record.previous == hash);
        // Where the log was cut further than the archive reaches, the readers report that.
        return if linked || entry.follows() > end {
            Ok(())
        } else {
            Err(history::Error::unlinked(archive, partition, end).into())
        };
    }
    Ok(())
}

/// Cuts from every log the records that are older than `before` and no longer needed.
pub async fn run(
    bus: &Bus,
    archive: &mut Archive,
    before: Timestamp,
    archived: &mut Archived,
    progress: &dyn Progress,
) -> Result<(), Error> {
    for partition in bus.topology().all_partitions() {
        let Folded { state: base, upto, kept } = fold(bus, archive, partition, before, progress).await?;
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

/// The state folded from archive and log.
struct Folded {
    state: PartitionState,
    /// The last record that may be removed.
    upto: LogSequence,
    /// Records of the same age that stay.
    kept: Option<Kept>,
}

/// Folds archive and log from the first record on.
async fn fold(
    bus: &Bus,
    archive: &Archive,
    partition: PartitionId,
    before: Timestamp,
    progress: &dyn Progress,
) -> Result<Folded, Error> {
    // Both only advance, so what is read first needs at least as many records as what exists later.
    let snapshot = snapshot(bus, partition).await?;
    let mark = bus.mark(partition).await?.upto;
    let settings = Settings::new(partition, bus.topology().partitions, "archive", usize::MAX);
    let mut core = Core::new(settings, Arc::new(actors_logic::registry()), None);
    let (mut old, mut entries) = (LogSequence(0), records(bus, archive, partition, progress).await?);
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
        return Err(Error::Outdated { partition, newer: newer.to_string() });
    }
    let upto = old.min(LogSequence(needed(snapshot.as_ref(), &core.state, mark).0.saturating_sub(1)));
    let kept = kept(snapshot.as_ref(), &core.state, mark, upto, old);
    Ok(Folded { state: std::mem::take(&mut core.state), upto, kept })
}

/// The oldest record that is needed beside the snapshot and the base.
fn needed(snapshot: Option<&PartitionState>, base: &PartitionState, mark: LogSequence) -> LogSequence {
    let states = snapshot.into_iter().chain([base]);
    states.map(|state| state.first_kept(mark)).min().unwrap_or_default()
}

/// Why records of the requested age stay.
fn kept(
    snapshot: Option<&PartitionState>,
    base: &PartitionState,
    mark: LogSequence,
    upto: LogSequence,
    old: LogSequence,
) -> Option<Kept> {
    let records = old.0.saturating_sub(upto.0);
    let first = needed(snapshot, base, mark);
    // The log's own needs come first: no later snapshot would change them.
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

/// The snapshot at which the next takeover would begin.
async fn snapshot(bus: &Bus, partition: PartitionId) -> Result<Option<PartitionState>, Error> {
    let bytes = match bus.get_named(&takeover::snapshot_name(partition)).await {
        Ok(bytes) => bytes,
        // A snapshot that cannot be read completely is none for a takeover either.
        Err(bus_client::Error::Blob { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    Ok(bytes.and_then(|bytes| PartitionState::decode(&bytes).ok()))
}

/// Writes the records up to `upto` that the archive lacks. Returns their number.
async fn write(
    bus: &Bus,
    archive: &mut Archive,
    partition: PartitionId,
    upto: LogSequence,
) -> Result<u64, Error> {
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
            return if follows {
                Ok(written)
            } else {
                Err(history::Error::unlinked(archive, partition, upto).into())
            };
        }
        new.add(&entry)?;
        written += 1;
    }
    Err(uncertain(&format!("the log of partition {partition} ends before record {upto}")))
}

/// Stores the base, and reads it back as a takeover would.
async fn keep(bus: &Bus, partition: PartitionId, base: &PartitionState) -> Result<(), Error> {
    let (name, bytes) = (takeover::base_name(partition), base.encode());
    bus.put_named(&name, &bytes).await?;
    match bus.get_named(&name).await? {
        Some(again) if *again == *bytes => Ok(()),
        _ => Err(uncertain(&format!("`{name}` cannot be read back"))),
    }
}

fn uncertain(reason: &str) -> Error {
    Error::Uncertain { reason: reason.to_owned() }
}
