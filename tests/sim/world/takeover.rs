//! Takeover, modelled after `takeover.rs` call by call: read snapshot, mark and log, fence, complete
//! the fan-out of the predecessors, serve.

use std::collections::BTreeMap;
use std::sync::Arc;

use actors_runtime::core::{Core, Settings};
use actors_runtime::journal::Committed;
use actors_runtime::state::PartitionState;
use actors_runtime::takeover;
use bus_schemas::{Hash, LogSequence, PartitionId};

use super::owner::{DeadFanout, EventsFanout};
use super::{Happening, HostId, Owner, OwnerId, Phase, World};
use crate::coverage::Reached;
use crate::faults::Defect;
use crate::invariants::{Check, violated};

/// Former owners that may win against us before we give up.
const TRIES_MAX: usize = 8;
/// Bytes of answers that an owner keeps: so few that some repeats are answered from the log.
const REPLIES_BYTES_MAX: usize = 2_048;

impl World {
    /// A host begins to run a partition.
    pub(super) fn take_over(&mut self, host: HostId, partition: PartitionId) -> Check {
        let runs = self.owners.values().any(|owner| owner.host == host && owner.serves(partition));
        let held = self.leases.get(&partition).is_some_and(|lease| lease.host == host && lease.until > 0);
        if runs || !held || !self.hosts[host].alive {
            return Ok(());
        }
        if self.hosts[host].frozen_until > self.time {
            self.at(self.hosts[host].frozen_until, Happening::TakeOver(host, partition));
            return Ok(());
        }
        self.owners_made += 1;
        self.read_and_fence(self.owners_made, host, partition, 0)
    }

    /// Another host wrote between our reading and our fence.
    pub(super) fn take_over_again(&mut self, id: OwnerId) -> Check {
        let Some(owner) = self.owners.remove(&id) else { return Ok(()) };
        self.coverage.note(Reached::TakeoverContested);
        let (host, partition, tries) = (owner.host, owner.partition, owner.tries + 1);
        // What was read is forgotten first, as between two tries.
        drop(owner);
        if tries >= TRIES_MAX {
            return Ok(());
        }
        self.read_and_fence(id, host, partition, tries)
    }

    fn read_and_fence(&mut self, id: OwnerId, host: HostId, partition: PartitionId, tries: usize) -> Check {
        let (mut core, behind) = self.read(host, partition)?;
        let steady = self.steady(host);
        if !self.tenure(host, partition).holds(steady) {
            self.note(format_args!("owner {id} on host {host} has no lease of partition {partition}"));
            self.coverage.note(Reached::TakeoverTooLate);
            return Ok(());
        }
        match self.defect {
            Some(Defect::TakeoverForgetsMail) => core.state.mail.clear(),
            Some(Defect::TakeoverForgetsIds) => core.state.recent = Default::default(),
            Some(Defect::TakeoverForgetsAnEntity) => core.state.seen = self.audit.seen_but_one(partition),
            _ => {}
        }
        let commit = core.take_over(self.moment(host));
        let mark = self.store.mark(partition);
        self.note(format_args!(
            "owner {id} on host {host} takes partition {partition} over after record {}, {} behind",
            commit.expected,
            behind.len()
        ));
        let owner = Owner {
            id,
            host,
            partition,
            phase: Phase::Taking,
            commit: Some(commit),
            round: 1_000 * tries as u64,
            tries,
            behind,
            loading: Vec::new(),
            events: EventsFanout { mark, stream_sequence: mark.sequence, ..EventsFanout::default() },
            dead: DeadFanout::default(),
            places: self.hosts[host].pool.wake(partition),
            asked: Vec::new(),
            inbox_read: 0,
            applied: core.state.inbox,
            trimmed: core.state.inbox,
            mail_ready: BTreeMap::new(),
            mail_oldest: BTreeMap::new(),
            last_snapshot: core.state.last,
            commits_wanted: None,
            writing: false,
            awake: false,
            due_at: None,
            core,
        };
        self.owners.insert(id, owner);
        self.send_append(id)
    }

    /// The partition as its last record left it, and the records whose fan-out may not be complete.
    fn read(
        &mut self,
        host: HostId,
        partition: PartitionId,
    ) -> Result<(Core, Vec<Arc<Committed>>), crate::invariants::Violation> {
        let last = self.end_of_log(partition);
        let stored = self.store.snapshots.get(&takeover::snapshot_name(partition));
        let snapshot =
            stored.and_then(|bytes| PartitionState::decode(bytes).ok()).filter(|state| state.last <= last);
        let mark = self.store.mark(partition);
        let mut settings = Settings::new(
            partition,
            self.shape.partitions,
            &format!("host-{host}"),
            self.shape.record_bytes_max,
        );
        settings.cache_entities_max = self.shape.cache_entities_max;
        settings.replies_bytes_max = REPLIES_BYTES_MAX;
        settings.gates = self.hosts[host].view.gates();
        settings.places = self.hosts[host].pool.clone();
        settings.tenure = self.tenure(host, partition);
        if snapshot.as_ref().is_some_and(|snapshot| snapshot.last.0 > 0) {
            self.coverage.note(Reached::TakeoverFromSnapshot);
        }
        let mut core = Core::new(settings, Arc::clone(&self.registry), snapshot);
        let first = core.state.first_needed(mark.upto);
        let dead_out = core.state.dead_out;
        let mut behind = Vec::new();
        for (sequence, bytes) in self.store.records_from(partition, first.0) {
            let record = self.store.read_record(&bytes).expect("the audit has read it");
            if let Err(error) = core.recover(sequence, Hash::of(&bytes), &record) {
                violated("hash_chain_continuous", error.to_string())?;
            }
            if sequence > mark.upto || sequence > dead_out {
                behind.push(Arc::new(Committed { sequence, record, group: 0 }));
            }
        }
        behind.retain(|committed| committed.sequence > mark.upto || committed.sequence > core.state.dead_out);
        if core.state.last == self.audit.last(partition) {
            self.audit.fold_equals_live(&core)?;
        }
        Ok((core, behind))
    }

    /// The fence is in the log: now the fan-out of what came before.
    pub(super) fn took_over(&mut self, id: OwnerId, sequence: LogSequence) -> Check {
        self.coverage.note(Reached::Takeover);
        let Some(owner) = self.owners.get_mut(&id) else { return Ok(()) };
        owner.phase = Phase::Completing;
        owner.core.committed(sequence);
        let behind = std::mem::take(&mut owner.behind);
        if !behind.is_empty() {
            self.coverage.note(Reached::TakeoverCompletedFanout);
        }
        owner.events.queue.extend(behind.iter().cloned());
        owner.behind = behind;
        self.note(format_args!("owner {id} has fenced with record {sequence}"));
        if self.dies_at(id, "after-takeover") {
            return Ok(());
        }
        self.start_fanout(id);
        self.complete(id);
        Ok(())
    }

    /// Goes on with a takeover when a part of the fan-out is done: events, then dead letters, then service.
    pub(super) fn complete(&mut self, id: OwnerId) {
        let Some(owner) = self.owners.get_mut(&id).filter(|owner| owner.phase == Phase::Completing) else {
            return;
        };
        if owner.events.busy || !owner.events.queue.is_empty() || owner.dead.busy {
            return;
        }
        let dead_out = owner.core.state.dead_out;
        let behind = std::mem::take(&mut owner.behind);
        owner.dead.queue.extend(behind.into_iter().filter(|committed| committed.sequence > dead_out));
        if !owner.dead.queue.is_empty() {
            return self.start_fanout(id);
        }
        let last = owner.core.state.last;
        owner.core.fanned_out(last, owner.events.stream_sequence);
        owner.core.dead_out(last);
        owner.phase = Phase::Serving;
        owner.inbox_read = owner.core.state.inbox;
        owner.mail_ready = owner.core.state.outbox.last_numbers();
        owner.last_snapshot = last;
        let partition = owner.partition;
        self.note(format_args!("owner {id} serves partition {partition}"));
        self.soon(1, Happening::Tick(id));
        self.soon(1, Happening::PollInbox(id));
        self.greet(id);
        self.tell_taken_over();
        self.wake(id);
    }
}
