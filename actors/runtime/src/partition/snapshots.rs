//! What the loop writes beside its log: snapshots of the partition and of its entities.

use bus_schemas::EntityAddress;
use futures::FutureExt;

use super::{Error, Partition};
use crate::fold::write::{self, Fate, ROUND_MAX, SNAPSHOT_BYTES_MAX, Written};
use crate::supervision::spawn;
use crate::{crash, takeover};

/// Entities with too large snapshots that are remembered as logged. There are few, and logging one twice does
/// no harm.
const LARGE_MAX: usize = 1_024;

impl Partition {
    /// Starts writing the next round of entity snapshots, if none is being written.
    pub(super) fn write_entity_snapshots(&mut self) {
        if self.writing.is_some() {
            return;
        }
        let snapshots = self.core.take_entity_snapshots(ROUND_MAX);
        if !snapshots.is_empty() {
            self.writing = Some(write::write(self.bus.clone(), snapshots).boxed());
        }
    }

    /// Handles the outcome of a round.
    pub(super) fn take_written(&mut self, written: Vec<Written>) {
        self.writing = None;
        for Written { entity, revision, fate } in written {
            self.core.snapshot_written(&entity, revision, fate == Fate::Stored);
            if let Fate::TooLarge(bytes) = fate {
                self.say_large(entity, bytes);
            }
        }
    }

    fn say_large(&mut self, entity: EntityAddress, bytes: usize) {
        if self.large.len() < LARGE_MAX && self.large.insert(entity.clone()) {
            tracing::warn!(
                actor = %entity,
                bytes,
                bytes_max = SNAPSHOT_BYTES_MAX,
                "the entity is too large for a snapshot; it is loaded from its events"
            );
        }
    }

    pub(super) fn write_snapshot(&self, bytes: Vec<u8>) {
        let (bus, name) = (self.bus.clone(), takeover::snapshot_name(self.core.partition()));
        spawn("partition snapshot", async move {
            crash::point("before-snapshot");
            if let Err(error) = bus.put_named(&name, &bytes).await {
                tracing::warn!(%error, "writing a partition's snapshot; the next one will do");
            }
            crash::point("after-snapshot");
        });
    }

    /// Ends in good order: sends the last replies, and writes a snapshot so that the next takeover is short.
    pub(super) async fn end(mut self) -> Result<(), Error> {
        self.core.want_snapshot();
        if let Some(snapshot) = self.core.take_snapshot() {
            let name = takeover::snapshot_name(self.core.partition());
            crash::point("before-last-snapshot");
            if let Err(error) = self.bus.put_named(&name, &snapshot).await {
                tracing::warn!(%error, "writing the last snapshot; the takeover will read more of the log");
            }
        }
        self.events = None;
        self.dead = None;
        self.core.leave();
        self.bus.flush().await;
        tracing::info!(partition = %self.core.partition(), "partition drained");
        Ok(())
    }
}
