//! Takeover: reads the log, fences the former owner, completes its fan-out.

use std::sync::Arc;

use actors_core::Registry;
use bus_client::events::Mark;
use bus_client::{Bus, Error};
use bus_schemas::record::{self, CommitRecord};
use bus_schemas::{Hash, LogSequence, PartitionId};
use futures::TryStreamExt;

use crate::core::{Core, Moment, RecoverError, Settings};
use crate::fanout::{self, Events};
use crate::journal::{self, Committed, Fate};
use crate::state::{PartitionState, STATE_VERSION, StoredError};
use crate::stuck::Attempts;
use crate::versions::Newer;

/// Attempts before a takeover gives up. Each fences a former owner that wrote meanwhile; only a host that
/// takes over at the same moment could keep winning.
const TRIES_MAX: usize = 8;

/// Why a partition could not be taken over.
#[derive(Debug, thiserror::Error)]
pub enum TakeoverError {
    /// The bus did not answer.
    #[error("taking over partition {partition}")]
    Bus { partition: u16, source: Error },
    /// The log is damaged. A human must look at it with `orrery verify`.
    #[error("reading the log")]
    Log(#[from] RecoverError),
    /// A record cannot be read.
    #[error("reading record {sequence} of partition {partition}")]
    Record { partition: u16, sequence: LogSequence, source: record::Error },
    /// A newer program wrote to the log. Nothing is changed: the partition waits for such a program.
    #[error("partition {partition} waits for a newer program: {newer}")]
    Newer { partition: u16, newer: Newer },
    /// The log was cut behind an archive, and the base that stands for the cut records is missing.
    #[error(
        "partition {partition} needs record {needed}, and its log was cut: \
         `orrery archive --logs` makes its base again, and `orrery rebuild events` an event stream that is gone"
    )]
    Cut { partition: u16, needed: LogSequence },
    /// All records were removed by something other than Orrery, so the next record would have no sequence.
    #[error(
        "partition {partition} has had {last} records, and its log was cut behind all of them: \
         only a backup brings them back"
    )]
    Emptied { partition: u16, last: u64 },
    /// The mark in the event stream is beyond the log: the stream belongs to another history, and what is
    /// published next would be taken for published already.
    #[error(
        "the event stream has events of partition {partition} up to record {mark}, and its log ends at {last}: \
         `orrery rebuild events` writes the stream again from the logs"
    )]
    Ahead { partition: u16, mark: LogSequence, last: LogSequence },
    /// The server returned less of the log than it has.
    #[error("reading partition {partition}: its log goes up to record {last}, and less was read")]
    Short { partition: u16, last: LogSequence },
    /// Other hosts kept writing.
    #[error("partition {partition} was taken by another host: {reason}")]
    Lost { partition: u16, reason: String },
}

/// A partition that this host owns, with its fan-out complete.
pub struct Taken {
    /// The partition.
    pub core: Core,
    /// Its event fan-out.
    pub events: Events,
    /// The takeover record, at which the fan-out's progress starts.
    pub record: Arc<Committed>,
}

/// The name of a partition's snapshot in the blob store.
pub fn snapshot_name(partition: PartitionId) -> String {
    format!("partition-snapshot-{partition}")
}

/// The name of the base: the state that stands for the records cut off a partition's log. A takeover uses it
/// when the snapshot is lost. It is written with the cut, never by an owner.
pub fn base_name(partition: PartitionId) -> String {
    format!("partition-base-{partition}")
}

/// Takes a partition over.
pub async fn take_over(
    bus: &Bus,
    registry: &Arc<Registry>,
    settings: &Settings,
    clock: impl Fn() -> Moment,
) -> Result<Taken, TakeoverError> {
    let partition = settings.partition.0;
    let mut reason = String::new();
    let mut attempts = Attempts::new(settings.partition, "takeover", &settings.stuck);
    for _ in 0..TRIES_MAX {
        let (mut core, mut events, behind) = read(bus, registry, settings).await?;
        if !settings.tenure.holds(clock().steady) {
            // The current owner answers queries: a fence would make its answers outdated.
            let reason = "the lease was over before its log was read".to_owned();
            return Err(TakeoverError::Lost { partition, reason });
        }
        let commit = core.take_over(clock());
        let fate = loop {
            match journal::append(bus, &commit).await {
                Fate::Again(why) => attempts.wait(&why).await,
                fate => break fate,
            }
        };
        match fate {
            Fate::Lost(why) => reason = why,
            Fate::Again(_) => unreachable!("the loop above ends with another fate"),
            Fate::Committed(sequence) => {
                crate::crash::point("after-takeover");
                let record = Arc::new(core.committed(sequence).expect("the takeover record was in flight"));
                events.publish(&behind).await;
                for committed in behind.iter().filter(|committed| committed.sequence > core.state.dead_out) {
                    fanout::publish_dead(bus, committed, &settings.stuck).await;
                }
                core.fanned_out(sequence, events.place());
                core.dead_out(sequence);
                bus.flush().await;
                return Ok(Taken { core, events, record });
            }
        }
    }
    Err(TakeoverError::Lost { partition, reason })
}

/// Reads snapshot, mark and log. Returns the partition at its last record, and the records whose fan-out may
/// be incomplete.
async fn read(
    bus: &Bus,
    registry: &Arc<Registry>,
    settings: &Settings,
) -> Result<(Core, Events, Vec<Arc<Committed>>), TakeoverError> {
    let partition = settings.partition;
    let failed = |source| TakeoverError::Bus { partition: partition.0, source };
    let last = end(bus, partition).await?;
    let snapshot = stored(bus, &snapshot_name(partition), last).await.map_err(failed)?;
    let snapshot = snapshot.and_then(|stored| {
        stored
            .inspect_err(|error| tracing::warn!(%partition, %error, "the partition's snapshot is unusable"))
            .ok()
    });
    let mark = bus.mark(partition).await.map_err(failed)?;
    if mark.upto > last {
        // The former owner may have written since the end was read.
        let last = end(bus, partition).await?;
        if mark.upto > last {
            return Err(TakeoverError::Ahead { partition: partition.0, mark: mark.upto, last });
        }
    }
    let mut core = Core::new(settings.clone(), Arc::clone(registry), snapshot);
    let read = match follow(bus, &mut core, &mark, last).await {
        Err(TakeoverError::Cut { .. }) => {
            tracing::warn!(%partition, "the log begins after what the snapshot needs; starting from the base");
            let base = match stored(bus, &base_name(partition), last).await.map_err(failed)? {
                Some(Err(StoredError::Version { found })) => {
                    let newer = Newer::Base { found, known: STATE_VERSION };
                    return Err(TakeoverError::Newer { partition: partition.0, newer });
                }
                base => base.and_then(Result::ok),
            };
            core = Core::new(settings.clone(), Arc::clone(registry), base);
            follow(bus, &mut core, &mark, last).await
        }
        read => read,
    };
    let behind = read?;
    if let Some(newer) = core.beyond() {
        return Err(TakeoverError::Newer { partition: partition.0, newer });
    }
    Ok((core, Events::new(bus.clone(), partition, mark, &settings.stuck), behind))
}

/// The last sequence of a log that is complete or was never written to.
async fn end(bus: &Bus, partition: PartitionId) -> Result<LogSequence, TakeoverError> {
    let failed = |source| TakeoverError::Bus { partition: partition.0, source };
    if let Some(entry) = bus.last_record(partition).await.map_err(failed)? {
        return Ok(entry.sequence);
    }
    let log = bus.state_of(&bus.topology().log(partition)).await.map_err(failed)?;
    match (log.messages, log.last_sequence) {
        (0, last) if last > 0 => Err(TakeoverError::Emptied { partition: partition.0, last }),
        // The append finds out what another host has written meanwhile.
        _ => Ok(LogSequence(0)),
    }
}

/// A stored state. `None` if there is none, if it is incomplete, or if it is ahead of the log and so belongs
/// to a log that is gone.
async fn stored(
    bus: &Bus,
    name: &str,
    last: LogSequence,
) -> Result<Option<Result<PartitionState, StoredError>>, Error> {
    let bytes = match bus.get_named(name).await {
        Ok(bytes) => bytes,
        Err(error @ Error::Blob { .. }) => {
            tracing::warn!(name, %error, "a stored state cannot be read");
            None
        }
        Err(error) => return Err(error),
    };
    let state = bytes.map(|bytes| PartitionState::decode(&bytes));
    Ok(state.filter(|state| state.as_ref().map_or(true, |state| state.last <= last)))
}

/// Reads the log from the first record that the state needs, at least up to `last`. Returns the records whose
/// fan-out may be incomplete.
async fn follow(
    bus: &Bus,
    core: &mut Core,
    mark: &Mark,
    last: LogSequence,
) -> Result<Vec<Arc<Committed>>, TakeoverError> {
    let partition = core.partition();
    let failed = |source| TakeoverError::Bus { partition: partition.0, source };
    let (needed, dead_out) = (core.state.first_needed(mark.upto), core.state.dead_out);
    let mut next = needed;
    let mut behind = Vec::new();
    let mut records = bus.records_after(partition, LogSequence(needed.0 - 1)).await.map_err(failed)?;
    while let Some(entry) = records.try_next().await.map_err(failed)? {
        // The server starts at the first record that exists and skips missing ones.
        if entry.follows() >= next {
            return Err(TakeoverError::Cut { partition: partition.0, needed: next });
        }
        next = entry.sequence.next();
        let unreadable = |source| match source {
            record::Error::Version { found } => {
                let (partition, known) = (partition.0, record::RECORD_VERSION);
                TakeoverError::Newer { partition, newer: Newer::Records { found, known } }
            }
            source => TakeoverError::Record { partition: partition.0, sequence: entry.sequence, source },
        };
        let mut record = CommitRecord::decode(&entry.record).map_err(unreadable)?;
        bus.attach_blobs(&mut record).await.map_err(failed)?;
        core.recover(entry.sequence, Hash::of(&entry.record), &record)?;
        if entry.sequence > mark.upto || entry.sequence > dead_out {
            behind.push(Arc::new(Committed { sequence: entry.sequence, record, group: 0 }));
        }
    }
    // Where the snapshot covers the rest, nothing else would notice the gap: ids would count as new.
    if next <= last {
        return Err(TakeoverError::Short { partition: partition.0, last });
    }
    // The records are newer than the snapshot in what they say of jobs.
    behind.retain(|committed| committed.sequence > mark.upto || committed.sequence > core.state.dead_out);
    Ok(behind)
}
