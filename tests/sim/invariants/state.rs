//! What owners know must be what the log says, and the event stream must be the log's events.

use actors_core::Instance;
use actors_runtime::core::Core;
use actors_runtime::fold::{self, EntitySnapshot, Loaded};
use actors_runtime::state::PartitionState;
use bus_schemas::record::Event;
use bus_schemas::{EntityAddress, LogSequence, PartitionId};

use super::{Audit, Check, hold, violated};
use crate::store::{OutgoingEvent, Store, StoredCommand};

impl Audit {
    /// The live state of an owner without open turns is the fold of its log from the first record on,
    /// compared as encoded bytes. Receipts and skipped repeats may be ahead of the log, and are evened out.
    pub fn fold_equals_live(&self, core: &Core) -> Check {
        let partition = core.partition();
        let shadow = &self.log(partition).shadow.state;
        hold(shadow.agrees_with(&core.state), "fold_equals_live", || {
            let text = |state: &PartitionState| serde_json::to_string(state).unwrap_or_default();
            format!("partition {partition}\n  log:  {}\n  live: {}", text(shadow), text(&core.state))
        })
    }

    /// Live entities without open turns are what the log makes of them.
    pub fn entities_equal_log<'a>(&self, core: &Core, only: impl Fn(&EntityAddress) -> bool + 'a) -> Check {
        for (entity, cached) in core.entities().filter(|(entity, _)| only(entity)) {
            match &cached.instance {
                Ok(instance) => self.entity_equals_log("fold_equals_live", entity, &**instance)?,
                Err(stopped) => {
                    return violated("fold_equals_live", format!("`{entity}`: {}", stopped.reason));
                }
            }
        }
        Ok(())
    }

    fn entity_equals_log(&self, name: &'static str, entity: &EntityAddress, live: &dyn Instance) -> Check {
        let Some(known) = self.entities.get(entity) else {
            return hold(live.revision().0 == 0, name, || format!("`{entity}` is not in the log"));
        };
        let same = known.revision() == live.revision()
            && known.hash() == live.hash()
            && known.state() == live.state();
        hold(same, name, || {
            format!(
                "`{entity}` is at revision {} in the log, {} live\n  log:  {}\n  live: {}",
                known.revision(),
                live.revision(),
                known.state(),
                live.state()
            )
        })
    }

    /// What the newest owner loads from snapshot and event stream is the entity as the log has it: it
    /// loads only what is not live, and lets nothing go whose events are not out.
    pub fn loads_are_current(&self, entity: &EntityAddress, loaded: &Loaded) -> Check {
        match &loaded.instance {
            Ok(instance) => self.entity_equals_log("loads_are_current", entity, &**instance),
            Err(stopped) => violated("loads_are_current", format!("`{entity}`: {}", stopped.reason)),
        }
    }

    /// A snapshot of an entity is of an event that is in the event stream.
    pub fn snapshots_are_published(
        &self,
        store: &Store,
        entity: &EntityAddress,
        snapshot: &EntitySnapshot,
    ) -> Check {
        hold(store.holds_event(entity, snapshot.hash), "snapshots_are_published", || {
            format!("a snapshot of `{entity}` is of revision {}, which is not out", snapshot.revision)
        })
    }

    /// The event stream holds each partition's events in the log's order, without gap or duplicate, and
    /// never one that is not in the log.
    pub fn derived_stream_is_the_log(&mut self, partition: PartitionId, batch: &[OutgoingEvent]) -> Check {
        let log = self.log_mut(partition);
        for stored in batch {
            let expected = log.events.get(log.published);
            hold(expected == Some(stored), "derived_stream_is_the_log", || {
                format!(
                    "partition {partition} published {} of `{}`; the next in the log is {:?}",
                    stored.cursor,
                    stored.entity,
                    expected.map(|next| format!("{} of `{}`", next.cursor, next.entity))
                )
            })?;
            log.published += 1;
        }
        Ok(())
    }

    /// The stream is complete: every event of every log is in it.
    pub fn derived_stream_is_complete(&self) -> Check {
        for (partition, log) in &self.partitions {
            hold(log.published == log.events.len(), "derived_stream_is_the_log", || {
                format!("partition {partition} published {} of {} events", log.published, log.events.len())
            })?;
        }
        Ok(())
    }

    /// Only durable commands that are in the log are deleted from the inbox.
    pub fn inbox_trimmed_behind_the_log(&self, trimmed: &[StoredCommand]) -> Check {
        for command in trimmed {
            hold(self.answers.contains_key(&command.id), "inbox_trimmed_behind_the_log", || {
                format!("inbox {} ({}) was deleted and is in no record", command.sequence, command.id)
            })?;
        }
        Ok(())
    }

    /// Every entity, folded from its events in the log alone with `replay`, is what deciding made of it.
    pub fn fold_from_scratch(&self) -> Check {
        let mut events = std::collections::BTreeMap::<&EntityAddress, Vec<&Event>>::new();
        for OutgoingEvent { entity, event, .. } in self.partitions.values().flat_map(|log| &log.events) {
            events.entry(entity).or_default().push(event);
        }
        for (entity, events) in events {
            let fresh = self.registry.make(&entity.kind).expect("only known kinds have events");
            match fold::replay(fresh, events) {
                Ok(instance) => self.entity_equals_log("fold_equals_live", entity, &*instance)?,
                Err(stopped) => {
                    return violated("fold_equals_live", format!("`{entity}`: {}", stopped.reason));
                }
            }
        }
        Ok(())
    }

    /// How many records of the log come after `sequence`.
    pub fn records_after(&self, partition: PartitionId, sequence: LogSequence) -> u64 {
        self.log(partition).last.0.saturating_sub(sequence.0)
    }
}
