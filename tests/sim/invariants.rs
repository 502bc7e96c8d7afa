//! The named invariants, and the audit that reads every record as soon as it is in the log.
//!
//! | invariant | checked |
//! | --- | --- |
//! | `single_writer`, `hash_chain_continuous`, `positions_monotone` | at every record |
//! | `no_double`, `inbox_in_order`, `mail_in_order_once`, `timers_fire_once` | at every turn |
//! | `no_place_used_twice`, `fenced_by_token` | at every turn, view and beginning of work |
//! | `revisions_gap_free`, `commands_decide_alike`, `poison_only_when_told` | at every turn |
//! | `attempt_counted_once`, `unbegun_costs_nothing`, `steps_recorded_once` | at every event |
//! | `capacity_never_exceeded`, `cap_counts_everything`, `breaker_legality`, `budget_bound` | at every event |
//! | `every_open_task_moves`, `holds_follow_their_cause` | after every record |
//! | `halted_means_no_effect_starts`, `halted_hosts_rest` | at every assignment, job, effect and record |
//! | `derived_stream_is_the_log` | at every batch, and at the end |
//! | `reply_after_commit`, `same_id_same_answer` | at every answer |
//! | `views_are_committed`, `views_need_the_lease` | at every answer to a query |
//! | `parked_queries_end` | whenever an owner has decided what waits |
//! | `places_find_work` | at every look of a host at its claims, in a calm world |
//! | `fold_equals_live`, `loads_are_current` | at every quiet commit, takeover and load, and at the end |
//! | `snapshots_are_taken` | at every commit |
//! | `snapshots_are_published` | at every snapshot of an entity that arrives |
//! | `inbox_trimmed_behind_the_log` | at every trim |
//! | `dead_letters_are_conserved` | at every event of a redrive, and at the end |
//! | `no_loss`, `mail_arrives`, `dead_letters_are_kept` | at the end |

pub mod answers;
pub mod breakers;
pub mod budgets;
pub mod claims;
pub mod end;
pub mod holds;
pub mod lanes;
pub mod letters;
pub mod log;
pub mod moves;
pub mod state;
pub mod views;
pub mod work;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use actors_core::{Instance, Registry};
use actors_runtime::core::{Core, Settings};
use actors_runtime::seen::Seen;
use bus_schemas::ids::Epoch;
use bus_schemas::record::{Event, Mail, Position, Turn};
use bus_schemas::{Body, CommandId, EntityAddress, Hash, Key, LogSequence, PartitionId, Revision, Timestamp};
use bytes::Bytes;
use smol_str::SmolStr;

use crate::coverage::{Coverage, Reached};
use crate::store::{OutgoingEvent, Store};
use crate::world::OwnerId;

/// A broken promise.
#[derive(Debug, Clone)]
pub struct Violation {
    /// Which one.
    pub invariant: &'static str,
    /// What was seen.
    pub reason: String,
}

/// Nothing, or a broken promise.
pub type Check = Result<(), Violation>;

/// The answer of an invariant that does not hold.
pub fn violated(invariant: &'static str, reason: impl Into<String>) -> Check {
    Err(Violation { invariant, reason: reason.into() })
}

/// `Ok` where `holds`; the reason is only made where it does not.
pub fn hold(holds: bool, invariant: &'static str, reason: impl FnOnce() -> String) -> Check {
    if holds { Ok(()) } else { violated(invariant, reason()) }
}

/// What the logs say, kept independently of every owner.
pub struct Audit {
    registry: Arc<Registry>,
    count: u16,
    partitions: BTreeMap<PartitionId, PartitionAudit>,
    /// Every entity, folded from the log alone.
    entities: BTreeMap<EntityAddress, Box<dyn Instance>>,
    /// For each command of each entity: where it was applied.
    applied: BTreeMap<(EntityAddress, CommandId), (PartitionId, LogSequence)>,
    /// The answers to asks and hand-overs that are in a log, with their bodies.
    answers: BTreeMap<CommandId, (Bytes, Body)>,
    /// Hand-overs that were sent on to another partition.
    forwarded: BTreeSet<CommandId>,
    /// The ids of timers that fired.
    fired: BTreeSet<CommandId>,
    /// What was sent by timers that were set for the same moment again.
    repeated: BTreeSet<CommandId>,
    tasks: BTreeMap<Key, work::TaskAudit>,
    /// The tasks that have not ended.
    open: BTreeSet<Key>,
    mails: moves::Mails,
    causes: holds::Causes,
    breakers: BTreeMap<Key, breakers::BreakerAudit>,
    redrives: BTreeMap<Key, letters::RedriveAudit>,
    lanes: BTreeMap<Key, lanes::LaneAudit>,
    queues: BTreeMap<Key, lanes::QueueAudit>,
    claims: claims::Claims,
    /// The attempts whose workers were told that they are their own, with the hashes of their tokens.
    told_own: BTreeSet<(Key, u32, Hash)>,
    /// The latest revision of each entity that somebody was shown.
    shown: BTreeMap<EntityAddress, Revision>,
    /// The entries of all dead letters in the logs, with their payload.
    dead: BTreeMap<SmolStr, Bytes>,
}

/// What one log says.
struct PartitionAudit {
    /// A core that has read every record from the first on: the fold from scratch.
    shadow: Core,
    last: LogSequence,
    hash: Hash,
    epoch: Epoch,
    /// The owner that wrote the takeover record of the newest epoch.
    writer: Option<OwnerId>,
    position: Position,
    inbox: u64,
    applied_mail: BTreeMap<PartitionId, u64>,
    sent: BTreeMap<PartitionId, Vec<Mail>>,
    timers: BTreeMap<(EntityAddress, SmolStr), (Timestamp, Body)>,
    events: Vec<OutgoingEvent>,
    /// How many of `events` are in the stream.
    published: usize,
}

impl Audit {
    /// An audit of empty logs.
    pub fn new(registry: &Arc<Registry>, count: u16) -> Self {
        let partitions = (0..count).map(PartitionId).map(|id| {
            let settings = Settings::new(id, count, "audit", usize::MAX);
            (id, PartitionAudit::new(Core::new(settings, Arc::clone(registry), None)))
        });
        Self {
            registry: Arc::clone(registry),
            count,
            partitions: partitions.collect(),
            entities: BTreeMap::new(),
            applied: BTreeMap::new(),
            answers: BTreeMap::new(),
            forwarded: BTreeSet::new(),
            fired: BTreeSet::new(),
            repeated: BTreeSet::new(),
            tasks: BTreeMap::new(),
            open: BTreeSet::new(),
            mails: moves::Mails::default(),
            causes: holds::Causes::default(),
            breakers: BTreeMap::new(),
            redrives: BTreeMap::new(),
            lanes: BTreeMap::new(),
            queues: BTreeMap::new(),
            claims: claims::Claims::default(),
            told_own: BTreeSet::new(),
            shown: BTreeMap::new(),
            dead: BTreeMap::new(),
        }
    }

    /// Reads a record that was just appended by `writer`, and checks everything it must keep.
    pub fn appended(
        &mut self,
        writer: OwnerId,
        partition: PartitionId,
        sequence: LogSequence,
        bytes: &Bytes,
        store: &Store,
        coverage: &mut Coverage,
    ) -> Check {
        let record = match store.read_record(bytes) {
            Ok(record) => record,
            Err(error) => return violated("hash_chain_continuous", format!("record {sequence}: {error}")),
        };
        if !record.detached.is_empty() {
            coverage.note(Reached::BodyDetached);
        }
        self.single_writer(writer, partition, sequence, &record)?;
        self.hash_chain_continuous(partition, sequence, &record)?;
        self.positions_monotone(partition, &record)?;
        for turn in &record.turns {
            self.turn(partition, sequence, turn, coverage)?;
        }
        let hash = Hash::of(bytes);
        let log = self.log_mut(partition);
        (log.last, log.hash) = (sequence, hash);
        if let Err(error) = log.shadow.recover(sequence, hash, &record) {
            return violated("hash_chain_continuous", error.to_string());
        }
        self.holds_follow_their_cause()?;
        self.every_open_task_waits()
    }

    fn turn(
        &mut self,
        partition: PartitionId,
        sequence: LogSequence,
        turn: &Turn,
        coverage: &mut Coverage,
    ) -> Check {
        self.mail_in_order_once(partition, turn)?;
        self.no_place_used_twice(partition, turn, coverage)?;
        self.no_double(partition, sequence, turn, coverage)?;
        self.fenced_by_token(turn)?;
        self.inbox_in_order(partition, turn)?;
        self.timers_fire_once(partition, turn)?;
        self.poison_only_when_told(turn, coverage)?;
        self.revisions_gap_free(partition, sequence, turn)?;
        self.commands_decide_alike(partition, turn)?;
        if let Some(dead) = &turn.dead {
            self.dead.insert(dead.entry.clone(), turn.command.body.bytes.clone());
        }
        turn.events.iter().try_for_each(|event| self.event(&turn.entity, event, coverage))
    }

    fn event(&mut self, entity: &EntityAddress, event: &Event, coverage: &mut Coverage) -> Check {
        let key = &entity.key;
        match entity.kind.as_str() {
            "task" => self.attempt_counted_once(key, event, coverage)?,
            "lane" => self.lane_event(key, event, coverage)?,
            "queue" => self.queue_event(key, event, coverage)?,
            "breaker" => {
                let known = self.breakers.entry(key.clone()).or_default();
                known.event(key, &work::read(event)?, coverage)?;
            }
            "redrive" => {
                let known = self.redrives.entry(key.clone()).or_default();
                known.event(key, &work::read(event)?, coverage)?;
            }
            "halt" | "agent" => self.note_cause(entity, event)?,
            "dead-letter" if event.event_type == "redriven" => coverage.note(Reached::LetterRedriven),
            "dead-letter" if event.event_type == "returned" => coverage.note(Reached::LetterReturned),
            "schedule" if event.event_type == "fired" => coverage.note(Reached::ScheduleFired),
            "schedule" if event.event_type == "moved" => coverage.note(Reached::ScheduleMoved),
            _ => {}
        }
        Ok(())
    }

    fn log(&self, partition: PartitionId) -> &PartitionAudit {
        self.partitions.get(&partition).expect("every partition has an audit")
    }
    fn log_mut(&mut self, partition: PartitionId) -> &mut PartitionAudit {
        self.partitions.get_mut(&partition).expect("every partition has an audit")
    }
    /// Whether the entity's own partition is this one.
    fn is_home(&self, partition: PartitionId, entity: &EntityAddress) -> bool {
        entity.partition(self.count) == partition
    }
    /// The writer of the newest epoch.
    pub fn writer(&self, partition: PartitionId) -> Option<OwnerId> {
        self.log(partition).writer
    }
    /// The last record.
    pub fn last(&self, partition: PartitionId) -> LogSequence {
        self.log(partition).last
    }
    /// Every entity of a partition that has an event, but for one.
    pub fn seen_but_one(&self, partition: PartitionId) -> Seen {
        let mut seen = Seen::default();
        let entities = self
            .entities
            .iter()
            .filter(|(entity, instance)| self.is_home(partition, entity) && instance.revision().0 > 0);
        entities.skip(1).for_each(|(entity, _)| seen.insert(entity));
        seen
    }
    /// An entity's state as the log has it, as JSON.
    pub fn state_of(&self, entity: &EntityAddress) -> Option<serde_json::Value> {
        self.entities.get(entity).map(|instance| instance.state())
    }
    /// Every dead letter in a log.
    pub fn letters(&self) -> impl Iterator<Item = &Key> {
        let letters = self.entities.keys().filter(|entity| entity.kind.as_str() == "dead-letter");
        letters.map(|entity| &entity.key)
    }
    /// Every task in a log.
    pub fn tasks(&self) -> impl Iterator<Item = &Key> {
        self.tasks.keys()
    }
}

impl PartitionAudit {
    fn new(shadow: Core) -> Self {
        Self {
            shadow,
            last: LogSequence(0),
            hash: Hash::default(),
            epoch: Epoch(0),
            writer: None,
            position: Position::default(),
            inbox: 0,
            applied_mail: BTreeMap::new(),
            sent: BTreeMap::new(),
            timers: BTreeMap::new(),
            events: Vec::new(),
            published: 0,
        }
    }
}
