//! Snapshots on their way to the server: batches beside the log, so that a command never waits for one.

use bus_client::Bus;
use bus_client::snapshots::SNAPSHOTS_PER_BATCH_MAX;
use bus_schemas::{EntityAddress, Revision};
use bytes::Bytes;
use futures::future::join_all;

use super::{EntitySnapshot, snapshot_name};
use crate::crash;

/// Snapshots that are taken into one round: a batch. A partition writes one round at a time, since the
/// server takes 50 batches of one stream at once.
pub const ROUND_MAX: usize = SNAPSHOTS_PER_BATCH_MAX;
/// The largest snapshot: a quarter of the smallest message that servers take by default. An entity with
/// more is brought back by its events.
pub const SNAPSHOT_BYTES_MAX: usize = 256 * 1024;
/// Bytes of a batch: some milliseconds of writing.
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Fewer snapshots are written one by one: the server syncs a batch six times, a message once.
const BATCH_MIN: usize = 8;

/// What became of a snapshot.
#[derive(Debug)]
pub struct Written {
    /// Whose.
    pub entity: EntityAddress,
    /// Of which revision.
    pub revision: Revision,
    /// How it went.
    pub fate: Fate,
}

/// How writing a snapshot went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The server has it.
    Stored,
    /// Refused or unanswered; the next one will do.
    Failed,
    /// It has more than [`SNAPSHOT_BYTES_MAX`].
    TooLarge(usize),
}

/// Writes a round of snapshots.
pub async fn write(bus: Bus, snapshots: Vec<(EntityAddress, EntitySnapshot)>) -> Vec<Written> {
    let mut written = Vec::with_capacity(snapshots.len());
    let (mut batch, mut places, mut bytes) = (Vec::new(), Vec::new(), 0);
    crash::point("before-entity-snapshot");
    for (entity, snapshot) in snapshots {
        let content = Bytes::from(rmp_serde::to_vec(&snapshot).expect("a snapshot is plain data"));
        let (length, name) = (content.len(), snapshot_name(&entity));
        let fate = if length > SNAPSHOT_BYTES_MAX { Fate::TooLarge(length) } else { Fate::Failed };
        written.push(Written { entity, revision: snapshot.revision, fate });
        if fate != Fate::Failed {
            continue;
        }
        if bytes + length > BATCH_BYTES_MAX {
            settle(&mut written, &places, put(&bus, std::mem::take(&mut batch)).await);
            (places, bytes) = (Vec::new(), 0);
        }
        places.push(written.len() - 1);
        batch.push((name, content));
        bytes += length;
    }
    settle(&mut written, &places, put(&bus, batch).await);
    crash::point("after-entity-snapshot");
    written
}

fn settle(written: &mut [Written], places: &[usize], stored: bool) {
    for place in places.iter().filter(|_| stored) {
        written[*place].fate = Fate::Stored;
    }
}

/// Puts snapshots into the bucket; whether all of them are there.
async fn put(bus: &Bus, batch: Vec<(String, Bytes)>) -> bool {
    let put = if batch.len() < BATCH_MIN {
        let each =
            batch.into_iter().map(|(name, content)| async move { bus.put_snapshot(&name, content).await });
        join_all(each)
            .await
            .into_iter()
            .collect::<Result<(), _>>()
            .map_err(|error| crate::lease::chain(&error))
    } else {
        bus.put_snapshots(batch).await.map_err(|error| error.to_string())
    };
    if let Err(error) = &put {
        tracing::warn!(error, "writing snapshots of entities; the next ones will do");
    }
    put.is_ok()
}
