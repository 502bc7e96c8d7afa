//! Rebuild: writes the event stream again from the logs.
//!
//! Nothing is lost by it, and it may be interrupted and repeated. A host that starts on a half-written event
//! stream continues from its marks, unless the log was cut: a mark before the cut needs records that only the
//! archive has, and the partition stops until a rebuild has completed.
//!
//! Afterwards archived events are in the stream again, and their files are removed. So this repairs a damaged
//! file of events: events are read from the logs, and only commit records from the archive.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use actors_runtime::fanout::Events;
use actors_runtime::journal::Committed;
use actors_runtime::stuck::Stuck;
use bus_client::Bus;

use crate::archive::{self, Archive, files};
use crate::history::{self, records};
use crate::{Advice, Progress, Sort, verify};

/// Records published at once.
const RECORDS_PER_ROUND_MAX: usize = 64;
/// Timeout of one round: a round is some hundred milliseconds of work, and a server that takes no writes
/// would otherwise be asked for ever.
const ROUND_PATIENCE: Duration = Duration::from_secs(120);
/// Why nothing, or not everything, was rebuilt.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A host or a gateway is running.
    #[error("{who}, and its events would mix with those that the rebuild writes")]
    Running { who: String },
    /// The servers accept no writes.
    #[error("the event stream took no writes for {ROUND_PATIENCE:?}")]
    NoWrites,
    /// The rebuilt stream has findings.
    #[error(transparent)]
    Verify(#[from] verify::Error),
    /// An error of reading logs or the archive.
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
                "stop every host and this directory's gateway (`orrery down`); a host that was killed is forgotten after 4 seconds",
            ),
            Self::NoWrites => Advice::new(
                "nats-call-failed",
                Sort::Unavailable,
                "`orrery doctor` shows what the server lacks; rebuilding again is safe",
            ),
            Self::Verify(error) => error.advice(),
            Self::History(error) => error.advice(),
        }
    }
}

/// The result of a rebuild.
#[derive(Debug, Clone, Copy)]
pub struct Written {
    /// Commit records that were read.
    pub records: u64,
    /// Events that were written to the stream.
    pub events: u64,
}

/// Writes the event stream again, verifies it, and removes the archive's events; entity snapshots are removed
/// too.
pub async fn run(
    bus: &Bus,
    directory: &Path,
    progress: &dyn Progress,
    found: &mut (dyn FnMut(verify::Finding) + Send),
) -> Result<Written, Error> {
    bus.check_installation().await?;
    no_host(bus).await?;
    let _lock = files::lock(directory)?;
    let mut archive = Archive::open(directory)?;
    archive::expect_own(bus, &archive).await?;
    let written = write(bus, &archive, progress).await?;
    progress.say("verifying what was written");
    verify::audit(bus, None, &archive.without_events(), progress, found).await?.expect_complete()?;
    archive.drop_events()?;
    Ok(written)
}

/// Refuses while a host writes events.
async fn no_host(bus: &Bus) -> Result<(), Error> {
    let leases = bus.leases().await?;
    match leases.hosts.first().or_else(|| leases.holders.values().next()) {
        Some(host) => Err(Error::Running { who: format!("host `{host}` runs") }),
        None => Ok(()),
    }
}

async fn write(bus: &Bus, archive: &Archive, progress: &dyn Progress) -> Result<Written, Error> {
    // An unreadable log must not cost the stream that was derived from it.
    for partition in bus.topology().all_partitions() {
        let mut records = records(bus, archive, partition, progress).await?;
        while records.next().await?.is_some() {}
    }
    // Snapshots refer to positions in the event stream, which are about to change.
    bus.drop_snapshots().await?;
    bus.clear_events().await?;
    let mut written = Written { records: 0, events: 0 };
    for partition in bus.topology().all_partitions() {
        let mut events = Events::new(bus.clone(), partition, bus.mark(partition).await?, &Stuck::default());
        let mut records = records(bus, archive, partition, progress).await?;
        let mut round = Vec::with_capacity(RECORDS_PER_ROUND_MAX);
        loop {
            let entry = records.next().await?;
            let ended = entry.is_none();
            if let Some(entry) = entry {
                written.records += 1;
                written.events += entry.record.turns.iter().map(|turn| turn.events.len() as u64).sum::<u64>();
                let committed = Committed { sequence: entry.sequence, record: entry.record, group: 0 };
                round.push(Arc::new(committed));
            }
            if round.len() == RECORDS_PER_ROUND_MAX || (ended && !round.is_empty()) {
                publish(&mut events, &round).await?;
                round.clear();
            }
            if ended {
                break;
            }
        }
    }
    Ok(written)
}

async fn publish(events: &mut Events, round: &[Arc<Committed>]) -> Result<(), Error> {
    let published = tokio::time::timeout(ROUND_PATIENCE, events.publish(round)).await;
    published.map_err(|_| Error::NoWrites)
}
