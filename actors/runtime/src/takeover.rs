//! Takeover: read what the log says, fence the former owner, complete its fan-out.

use std::sync::Arc;

use actors_core::Registry;
use bus_client::{Bus, Error};
use bus_schemas::record::{self, CommitRecord};
use bus_schemas::{Hash, LogSequence, Timestamp};
use futures::TryStreamExt;

use crate::core::{Core, RecoverError, Settings};
use crate::fanout::{self, Events};
use crate::journal::{self, Committed, Fate};
use crate::state::PartitionState;
use crate::versions::Newer;

/// Former owners that may write while we read; each is fenced by our next try, and only a host that
/// takes over at the same moment as we could keep winning.
const TRIES_MAX: usize = 8;

/// Why a partition could not be taken over.
#[derive(Debug, thiserror::Error)]
pub enum TakeoverError {
    /// The bus did not answer.
    #[error("taking over partition {partition}")]
    Bus { partition: u16, source: Error },
    /// The log is not what it should be. A human must look: `orrery verify`.
    #[error("reading the log")]
    Log(#[from] RecoverError),
    /// A record is not readable.
    #[error("reading record {sequence} of partition {partition}")]
    Record { partition: u16, sequence: LogSequence, source: record::Error },
    /// A newer program wrote to the log. Nothing is changed: the partition waits for such a program.
    #[error("partition {partition} waits for a newer program: {newer}")]
    Newer { partition: u16, newer: Newer },
    /// Other hosts kept writing.
    #[error("partition {partition} was taken by another host: {reason}")]
    Lost { partition: u16, reason: String },
}

/// A partition that is ours, with its fan-out complete.
pub struct Taken {
    /// The partition.
    pub core: Core,
    /// Its event fan-out.
    pub events: Events,
    /// The takeover record: what the fan-out's progress starts from.
    pub record: Arc<Committed>,
}

/// The name of a partition's snapshot in the blob store.
pub fn snapshot_name(partition: bus_schemas::PartitionId) -> String {
    format!("partition-snapshot-{partition}")
}

/// Takes a partition over.
pub async fn take_over(
    bus: &Bus,
    registry: &Arc<Registry>,
    settings: &Settings,
    clock: impl Fn() -> Timestamp,
) -> Result<Taken, TakeoverError> {
    let partition = settings.partition.0;
    let mut reason = String::new();
    for _ in 0..TRIES_MAX {
        let (mut core, mut events, behind) = read(bus, registry, settings).await?;
        let commit = core.take_over(clock());
        let fate = loop {
            match journal::append(bus, &commit).await {
                Fate::Again(why) => {
                    tracing::warn!(partition, why, "appending the takeover record; trying again")
                }
                fate => break fate,
            }
            tokio::time::sleep(journal::AGAIN_PAUSE).await;
        };
        match fate {
            Fate::Lost(why) => reason = why,
            Fate::Again(_) => unreachable!("the loop above ends with another fate"),
            Fate::Committed(sequence) => {
                crate::crash::point("after-takeover");
                let record = Arc::new(core.committed(sequence).expect("the takeover record was in flight"));
                events.publish(&behind).await;
                for committed in behind.iter().filter(|committed| committed.sequence > core.state.jobs_out) {
                    fanout::publish_jobs(bus, committed).await;
                }
                core.fanned_out(sequence);
                core.jobs_out(sequence);
                bus.flush().await;
                return Ok(Taken { core, events, record });
            }
        }
    }
    Err(TakeoverError::Lost { partition, reason })
}

/// Reads snapshot, mark and log: the partition as its last record left it, and the records whose
/// fan-out may not be complete.
async fn read(
    bus: &Bus,
    registry: &Arc<Registry>,
    settings: &Settings,
) -> Result<(Core, Events, Vec<Arc<Committed>>), TakeoverError> {
    let partition = settings.partition;
    let failed = |source| TakeoverError::Bus { partition: partition.0, source };
    let last =
        bus.last_record(partition).await.map_err(failed)?.map_or(LogSequence(0), |entry| entry.sequence);
    let stored = match bus.get_named(&snapshot_name(partition)).await {
        Ok(stored) => stored,
        Err(error @ Error::Blob { .. }) => {
            tracing::warn!(%partition, %error, "the partition's snapshot can not be read; reading the log instead");
            None
        }
        Err(error) => return Err(failed(error)),
    };
    // A snapshot ahead of the log belongs to a log that is gone; one that can not be read is none.
    let snapshot = stored
        .and_then(|bytes| rmp_serde::from_slice::<PartitionState>(&bytes).ok())
        .filter(|state| state.last <= last);
    let mark = bus.mark(partition).await.map_err(failed)?;
    let mut core = Core::new(settings.clone(), Arc::clone(registry), snapshot);
    let needed =
        [core.state.last.0 + 1, core.state.recent_from.0, mark.upto.0 + 1, core.state.jobs_out.0 + 1];
    let first = needed.into_iter().min().unwrap_or(1).max(1);
    let jobs_out = core.state.jobs_out;
    let mut behind = Vec::new();
    let mut records = bus.records_after(partition, LogSequence(first - 1)).await.map_err(failed)?;
    while let Some(entry) = records.try_next().await.map_err(failed)? {
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
        if entry.sequence > mark.upto || entry.sequence > jobs_out {
            behind.push(Arc::new(Committed { sequence: entry.sequence, record, group: 0 }));
        }
    }
    if let Some(newer) = core.beyond() {
        return Err(TakeoverError::Newer { partition: partition.0, newer });
    }
    // What the records themselves say of jobs is later than what the snapshot says.
    behind.retain(|committed| committed.sequence > mark.upto || committed.sequence > core.state.jobs_out);
    Ok((core, Events::new(bus.clone(), partition, mark), behind))
}
