//! `orrery archive --logs`: the beginning of each log moves into files.
//!
//! **The rule.** A takeover begins at the partition's snapshot, and reads the log from the oldest record
//! of which the memory of recent ids, the fan-out or the jobs still need something. Older records
//! may go, once these things are certain, in this order:
//!
//! 1. Archive and log, folded from the first record on, give the state that the snapshot says, where
//!    there is one.
//! 2. The records are in the archive: written, synced, and read back along the chain of hashes, which
//!    the first record that stays in the log goes on with.
//! 3. The folded state is stored as the partition's base, and read back. It is what a host begins at
//!    when the snapshot is lost; owners never write it.
//!
//! Wherever it is interrupted, the records are in both, and readers take those of the log.

use std::sync::Arc;

use actors_runtime::core::{Core, Settings};
use actors_runtime::state::PartitionState;
use actors_runtime::takeover;
use bus_client::Bus;
use bus_schemas::record::CommitRecord;
use bus_schemas::{LogSequence, PartitionId, Timestamp};
use futures::TryStreamExt;

use super::{Archive, Archived};
use crate::failure::{Failure, exit};
use crate::log::{self, records};
use crate::output::Output;

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
        let (base, upto) = fold(bus, archive, partition, before, output).await?;
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

/// What archive and log say together, and up to which record nobody needs the log any more.
async fn fold(
    bus: &Bus,
    archive: &Archive,
    partition: PartitionId,
    before: Timestamp,
    output: Output,
) -> Result<(PartitionState, LogSequence), Failure> {
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
        if entry.record.at < before && entry.sequence == old.next() {
            old = entry.sequence;
        }
    }
    if let Some(newer) = core.beyond() {
        return Err(Failure::new("program-outdated", format!("partition {partition}: {newer}"))
            .next("use the version that wrote it")
            .exit(exit::DATA));
    }
    let states = snapshot.iter().chain([&core.state]);
    let needed = states.map(|state| state.first_needed(mark)).min().unwrap_or_default();
    let upto = old.min(LogSequence(needed.0.saturating_sub(1)));
    Ok((core.state, upto))
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
            return if follows { Ok(written) } else { Err(log::unlinked(partition, upto)) };
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
