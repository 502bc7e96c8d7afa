//! Writes entity snapshots in batches beside the log, so that no command waits for one.

use bus_client::Bus;
use bus_client::snapshots::SNAPSHOTS_PER_BATCH_MAX;
use bus_schemas::{EntityAddress, Revision};
use bytes::Bytes;
use futures::future::join_all;

use super::{EntitySnapshot, snapshot_name};
use crate::crash;

/// The most snapshots in one round: one batch. A partition writes one round at a time, because the server
/// accepts 50 open batches per stream.
pub const ROUND_MAX: usize = SNAPSHOTS_PER_BATCH_MAX;
/// The largest snapshot in bytes: a quarter of the server's default message limit. A larger entity is rebuilt
/// from its events.
pub const SNAPSHOT_BYTES_MAX: usize = 256 * 1024;
/// The most bytes in one batch: some milliseconds of writing.
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Fewer snapshots are written one by one: the server syncs six times for a batch, once for a message.
const BATCH_MIN: usize = 8;

/// The outcome of writing a snapshot.
#[derive(Debug)]
pub struct Written {
    /// The entity.
    pub entity: EntityAddress,
    /// The revision of the snapshot.
    pub revision: Revision,
    /// The outcome.
    pub fate: Fate,
}

/// How writing a snapshot ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The server has stored it.
    Stored,
    /// The snapshot was refused or not answered; the next snapshot replaces it.
    Failed,
    /// Its size in bytes, which is above [`SNAPSHOT_BYTES_MAX`].
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

/// Writes snapshots to the bucket; `true` if all are stored.
async fn put(bus: &Bus, batch: Vec<(String, Bytes)>) -> bool {
    let put = if batch.len() < BATCH_MIN {
        let each =
            batch.into_iter().map(|(name, content)| async move { bus.put_snapshot(&name, content).await });
        join_all(each)
            .await
            .into_iter()
            .collect::<Result<(), _>>()
            .map_err(|error| bus_schemas::chain(&error))
    } else {
        bus.put_snapshots(batch).await.map_err(|error| error.to_string())
    };
    if let Err(error) = &put {
        tracing::warn!(error, "writing snapshots of entities; the next ones will do");
    }
    put.is_ok()
}
