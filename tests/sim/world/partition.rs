//! The loop of one owner, modelled after `partition.rs` call by call: stages, messages, ticks, commits.

use std::sync::Arc;

use actors_runtime::inbox::{Item, QUEUE_ITEMS_MAX, place_id};
use actors_runtime::journal::Commit;
use actors_runtime::state::{PartitionState, Timer};
use actors_runtime::takeover;
use bus_client::asks::Incoming;
use bus_schemas::LogSequence;
use bus_schemas::record::{CommitRecord, Source, Turn};
use bytes::Bytes;

use super::{Happening, Message, Owner, OwnerId, PartitionId, Phase, World};
use crate::coverage::Reached;
use crate::faults::Defect;
use crate::invariants::{Check, hold};

/// Between two ticks of an owner.
const TICK_MS: u64 = 500;
/// Between two ticks in a calm world, where hardly anything needs them.
const TICK_CALM_MS: u64 = 1_500;
/// Durable commands that are read at once.
const POLL_MAX: usize = 6;

impl World {
    /// Lets an owner run its stages soon.
    pub(super) fn wake(&mut self, id: OwnerId) {
        let Some(owner) = self.owners.get_mut(&id) else { return };
        if !owner.awake && owner.is_running() {
            owner.awake = true;
            let pause = self.random.below(3);
            self.soon(pause, Happening::Stages(id));
        }
    }

    /// The stages in order, as `Partition::stages` has them.
    pub(super) fn stages(&mut self, id: OwnerId) -> Check {
        let Some(mut owner) = self.owners.remove(&id) else { return Ok(()) };
        owner.awake = false;
        if !owner.is_running() {
            self.owners.insert(id, owner);
            return Ok(());
        }
        if self.defect != Some(Defect::SnapshotAfterDeciding) {
            self.take_snapshot(&mut owner);
        }
        let moment = self.moment(owner.host);
        if owner.phase != Phase::Draining && self.defect != Some(Defect::TimersNeverFire) {
            owner.core.fire(moment);
        }
        owner.core.decide_waiting(moment);
        self.load_missing(&mut owner);
        self.write_entity_snapshots(&mut owner);
        self.answer_repeats(&mut owner);
        let mut commit = owner.core.close_group(moment.now);
        if self.defect == Some(Defect::RecordsReorderInbox) {
            commit = commit.map(inbox_reordered);
        }
        let answers = owner.core.take_answers(moment.steady);
        if self.defect == Some(Defect::SnapshotAfterDeciding) {
            self.take_snapshot(&mut owner);
        }
        self.look_at_timers(&mut owner);
        let more = owner.core.waiting() > 0 && commit.is_none() && !owner.core.is_committing();
        let (partition, waiting) = (owner.partition, owner.loading.is_empty());
        let host = owner.host;
        let halted_since = self.hosts[host].view.all_since;
        if let (Some(since), Some(commit)) = (halted_since, &commit) {
            let record = self.store.read_record(&commit.bytes);
            if let Ok(record) = record {
                self.audit.halted_hosts_rest(&record, since)?;
            }
        }
        if let Some(commit) = &commit {
            owner.commit = Some(commit.clone());
            if self.defect == Some(Defect::SnapshotsBeforeCommit) {
                self.write_early(&owner, commit);
            }
        }
        self.owners.insert(id, owner);
        self.look_at_places(host);
        if self.dies_at(id, "after-decide") {
            return Ok(());
        }
        if commit.is_some() {
            self.note(format_args!("owner {id} closes a group of partition {partition}"));
            self.send_append(id)?;
        } else if more && waiting {
            self.wake(id);
        }
        answers.into_iter().try_for_each(|told| self.tell_answer(id, told))?;
        if self.send_issued(id) {
            return Ok(());
        }
        self.parked_queries_end(id)?;
        self.end_when_drained(id)
    }

    fn load_missing(&mut self, owner: &mut Owner) {
        for entity in owner.core.missing() {
            if !owner.loading.contains(&entity) {
                owner.loading.push(entity.clone());
                let way = self.latency();
                self.soon(way, Happening::Load(owner.id, entity));
            }
        }
    }

    /// Stores the snapshot that was wanted, if nothing is decided and not committed.
    fn take_snapshot(&mut self, owner: &mut Owner) {
        let Some(snapshot) = owner.core.take_snapshot() else { return };
        owner.last_snapshot = owner.core.state.last;
        owner.commits_wanted = None;
        self.store_snapshot(takeover::snapshot_name(owner.partition), self.partition_snapshot(snapshot));
    }

    /// Answers repeats from the log, as `Partition::read_repeats` does; the way there takes no time.
    fn answer_repeats(&mut self, owner: &mut Owner) {
        for sequence in owner.core.take_records_to_read(usize::MAX) {
            self.coverage.note(Reached::AnsweredFromLog);
            let bytes = self.store.record(owner.partition, sequence);
            let record = bytes.map(|bytes| self.store.read_record(bytes).expect("the audit has read it"));
            owner.core.answer_repeats(sequence, record.as_ref());
        }
    }

    /// Puts the next look at the timers on the agenda, as the loop's sleep does.
    fn look_at_timers(&mut self, owner: &mut Owner) {
        if owner.phase == Phase::Draining || self.defect == Some(Defect::TimersNeverFire) {
            return;
        }
        let timer = owner.core.next_due().map(|due| self.when(owner.host, due));
        let lease = owner.core.next_steady_due().map(|due| self.when_steady(owner.host, due));
        let lease = lease.filter(|_| self.defect != Some(Defect::SteadyClockStands));
        let Some(due) = timer.into_iter().chain(lease).min() else { return };
        let at = due.max(self.time + 1);
        if owner.due_at.is_none_or(|known| known > at || known <= self.time) {
            owner.due_at = Some(at);
            self.at(at, Happening::Stages(owner.id));
        }
    }

    /// A drained owner leaves a snapshot behind, as `Partition::end` does.
    fn end_when_drained(&mut self, id: OwnerId) -> Check {
        let Some(owner) = self.owners.get_mut(&id) else { return Ok(()) };
        let drained = owner.phase == Phase::Draining && owner.core.is_idle() && owner.core.fanout_lag() == 0;
        if !drained {
            return Ok(());
        }
        owner.core.want_snapshot();
        let (name, snapshot) = (takeover::snapshot_name(owner.partition), owner.core.take_snapshot());
        self.check_live(id, None)?;
        if let Some(snapshot) = snapshot {
            self.store_snapshot(name, self.partition_snapshot(snapshot));
        }
        self.coverage.note(Reached::Drained);
        self.note(format_args!("owner {id} has drained"));
        self.end_owner(id);
        Ok(())
    }

    /// A snapshot on its way: lost, late, or stored; after how long, where it is not lost.
    pub(super) fn store_snapshot(&mut self, name: String, bytes: Bytes) -> Option<u64> {
        if self.fault(self.faults.snapshot_lost, Reached::SnapshotLost) {
            return None;
        }
        let late = self.fault(self.faults.snapshot_late, Reached::SnapshotLate);
        let way = if late { self.random.between(500, 20_000) } else { self.latency() };
        self.soon(way, Happening::SnapshotArrives(name, bytes));
        Some(way)
    }

    fn partition_snapshot(&self, bytes: Vec<u8>) -> Bytes {
        if self.defect != Some(Defect::SnapshotLosesTimers) {
            return bytes.into();
        }
        let mut state = PartitionState::decode(&bytes).expect("an owner wrote it");
        state.timers = Default::default();
        state.encode().into()
    }

    /// Mail without receipt is sent again; the inbox is trimmed; a snapshot is wanted.
    pub(super) fn tick(&mut self, id: OwnerId) -> Check {
        let Some(owner) = self.owners.get(&id) else { return Ok(()) };
        if !owner.is_running() {
            return Ok(());
        }
        self.soon(if self.calm { TICK_CALM_MS } else { TICK_MS }, Happening::Tick(id));
        self.send_mail_again(id);
        self.poll_inbox(id);
        let early = self.defect == Some(Defect::InboxTrimmedEarly);
        let Some(owner) = self.owners.get_mut(&id) else { return Ok(()) };
        let upto = if early { owner.inbox_read } else { owner.applied };
        let partition = owner.partition;
        if self.audit.records_after(partition, owner.last_snapshot) >= self.shape.snapshot_records {
            owner.core.want_snapshot();
            owner.commits_wanted.get_or_insert(0);
        }
        if upto > owner.trimmed {
            owner.trimmed = upto;
            let gone = self.store.trim(partition, upto);
            self.audit.inbox_trimmed_behind_the_log(&gone)?;
        }
        self.wake(id);
        Ok(())
    }

    /// Reads durable commands, as the loop's subscription to the inbox does.
    pub(super) fn poll_inbox(&mut self, id: OwnerId) {
        let Some(mut owner) = self.owners.remove(&id) else { return };
        if owner.phase == Phase::Serving {
            if self.fault(self.faults.inbox_again, Reached::InboxAgain) {
                owner.inbox_read = owner.core.state.inbox.min(owner.inbox_read).saturating_sub(3);
            }
            let after = owner.inbox_read;
            let mine = |sequence: u64, partition| partition == owner.partition && sequence > after;
            let rows = self.store.inbox.iter().filter(|command| mine(command.sequence, command.partition));
            let commands: Vec<_> = rows.take(POLL_MAX).cloned().collect();
            if commands.len() == POLL_MAX {
                self.soon(1, Happening::PollInbox(id));
            }
            for command in commands {
                if owner.core.waiting() >= QUEUE_ITEMS_MAX {
                    break;
                }
                owner.inbox_read = command.sequence;
                let incoming = Incoming {
                    subject: command.subject,
                    reply_to: None,
                    id: Some(command.id),
                    content_type: Some(command.body.content_type),
                    correlation: None,
                    trace: None,
                    payload: command.body.bytes,
                };
                let source = Source::Inbox(command.sequence);
                let fresh = place_id(owner.partition, command.sequence);
                owner.core.offer(Item::from_incoming(&self.subjects, source, incoming, fresh));
            }
        }
        self.owners.insert(id, owner);
        self.wake(id);
    }

    /// A durable command is stored: whoever reads the inbox of its partition hears of it.
    pub(super) fn inbox_grew(&mut self, partition: PartitionId) {
        let owners: Vec<OwnerId> =
            self.owners.values().filter(|owner| owner.listens(partition)).map(|owner| owner.id).collect();
        for id in owners {
            let way = self.latency();
            self.soon(way, Happening::PollInbox(id));
        }
    }

    /// A message reaches everybody who is subscribed: also a former owner that does not know it.
    pub(super) fn arrives(&mut self, partition: PartitionId, message: &Message) -> Check {
        let owners: Vec<OwnerId> =
            self.owners.values().filter(|owner| owner.listens(partition)).map(|owner| owner.id).collect();
        if owners.len() > 1 {
            self.coverage.note(Reached::TwoOwners);
        }
        for id in owners {
            match self.frozen_until(id) {
                Some(until) if until > self.time => {
                    self.at(until, Happening::Delivered(id, message.clone()));
                }
                _ => self.deliver(id, message.clone())?,
            }
        }
        Ok(())
    }

    /// A message reaches one owner.
    pub(super) fn deliver(&mut self, id: OwnerId, message: Message) -> Check {
        match message {
            Message::Ask(call) if self.callers.is_query(call) => return self.take_query(id, call),
            Message::Ask(call) => {
                if let Some(refused) = self.refuse_repeat(call) {
                    return refused;
                }
                let incoming = self.callers.incoming(call, &self.subjects);
                let fresh = self.random.command_id(self.time);
                let item = Item::from_incoming(&self.subjects, Source::Ask, incoming, fresh);
                if let Some(owner) = self.owners.get_mut(&id) {
                    owner.core.offer(item);
                }
            }
            Message::Parcel(parcel) => self.take_parcel(id, parcel),
            Message::Receipt(receipt) => self.take_receipt(id, receipt),
        }
        self.wake(id);
        Ok(())
    }

    /// A record is in the log: answers, mail, snapshots, fan-out, as `Partition::take_fate` has them.
    pub(super) fn committed(&mut self, id: OwnerId, sequence: LogSequence) -> Check {
        let Some(owner) = self.owners.get_mut(&id) else { return Ok(()) };
        let Some(committed) = owner.core.committed(sequence) else { return Ok(()) };
        owner.applied = committed.record.position.inbox;
        if let Some(commits) = &mut owner.commits_wanted {
            *commits += 1;
            snapshots_are_taken(*commits)?;
        }
        let host = owner.host;
        let steady = self.steady(host);
        let Some(owner) = self.owners.get_mut(&id) else { return Ok(()) };
        let answers = owner.core.take_answers(steady);
        let committed = Arc::new(committed);
        answers.into_iter().try_for_each(|told| self.tell_answer(id, told))?;
        if self.send_issued(id) {
            return Ok(());
        }
        self.check_live(id, Some(&committed.record))?;
        if self.defect == Some(Defect::FiredTimersStay)
            && let Some(owner) = self.owners.get_mut(&id)
        {
            set_again(&mut owner.core.state, &committed.record);
        }
        if self.dies_at(id, "after-reply") {
            return Ok(());
        }
        self.send_mail(id, &committed);
        self.tell_stops(&committed);
        let Some(owner) = self.owners.get_mut(&id) else { return Ok(()) };
        owner.events.queue.push_back(Arc::clone(&committed));
        owner.dead.queue.push_back(committed);
        if self.defect == Some(Defect::DeadCountedOutEarly) {
            owner.core.dead_out(sequence);
        }
        self.start_fanout(id);
        self.wake(id);
        Ok(())
    }

    /// An owner without open turns, which is the newest one, knows what the log says.
    fn check_live(&mut self, id: OwnerId, record: Option<&CommitRecord>) -> Check {
        let Some(owner) = self.owners.get(&id) else { return Ok(()) };
        let newest = self.audit.writer(owner.partition) == Some(id);
        if !newest || !owner.core.is_idle() {
            return Ok(());
        }
        self.audit.fold_equals_live(&owner.core)?;
        self.audit.entities_equal_log(&owner.core, |entity| {
            record.is_none_or(|record| record.turns.iter().any(|turn| turn.entity == *entity))
        })
    }

    /// All live entities of an owner are what the log says.
    pub fn check_all_live(&mut self) -> Check {
        let owners: Vec<OwnerId> = self.owners.keys().copied().collect();
        owners.into_iter().try_for_each(|id| self.check_live(id, None))
    }
}

/// A defect: the first durable commands of a record change their places.
fn inbox_reordered(commit: Commit) -> Commit {
    let mut record = CommitRecord::decode(&commit.bytes).expect("an owner wrote it");
    let is_durable = |turn: &Turn| matches!(turn.source, Source::Inbox(_));
    let mut durable = record.turns.iter().enumerate().filter(|(_, turn)| is_durable(turn));
    if let (Some((first, _)), Some((second, _))) = (durable.next(), durable.next())
        && record.detached.is_empty()
    {
        record.turns.swap(first, second);
        return Commit { bytes: record.encode().into(), ..commit };
    }
    commit
}

/// A defect: what has fired is set again for the same moment.
fn set_again(state: &mut PartitionState, record: &CommitRecord) {
    let mut timers: Vec<Timer> = std::mem::take(&mut state.timers).into();
    for turn in &record.turns {
        let Source::Timer(name) = &turn.source else { continue };
        let is_set = timers.iter().any(|timer| timer.entity == turn.entity && timer.name == *name);
        if !is_set {
            let (entity, body) = (turn.entity.clone(), turn.command.body.clone());
            timers.push(Timer {
                entity,
                name: name.clone(),
                at: turn.at,
                set_at: turn.at,
                body,
                trace: None,
            });
        }
    }
    state.timers = timers.into();
}

/// A wanted snapshot is taken once what is decided is committed, however many commands wait: at the
/// latest the record in flight and the group behind it come first.
fn snapshots_are_taken(commits: u32) -> Check {
    hold(commits <= 2, "snapshots_are_taken", || {
        format!("{commits} records were committed since a snapshot was wanted")
    })
}
