//! Stage 6, fanout, modelled after `fanout.rs`: the real `leaving` says which events go, the batches and
//! their fates are the model's.

use actors_runtime::fanout;
use actors_runtime::journal::Committed;
use bus_schemas::LogSequence;
use bytes::Bytes;
use smol_str::SmolStr;

use super::{Happening, OwnerId, Phase, World};
use crate::coverage::Reached;
use crate::faults::Defect;
use crate::invariants::Check;
use crate::store::OutgoingEvent;

/// Records that are taken into one round.
const RECORDS_PER_ROUND_MAX: usize = 4;
/// The pause before a refused or unanswered publish is tried again.
const RETRY_MS: u64 = 100;

impl World {
    /// Starts what stands still of an owner's fan-out.
    pub(super) fn start_fanout(&mut self, id: OwnerId) {
        let Some(owner) = self.owners.get_mut(&id) else { return };
        let events = !owner.events.busy && !owner.events.queue.is_empty();
        let dead = !owner.dead.busy && !owner.dead.queue.is_empty();
        if events {
            let count = owner.events.queue.len().min(RECORDS_PER_ROUND_MAX);
            // A takeover publishes everything behind the mark at once.
            let count = if owner.phase == Phase::Completing { owner.events.queue.len() } else { count };
            owner.events.round = owner.events.queue.drain(..count).collect();
            owner.events.busy = true;
        }
        owner.dead.busy |= dead;
        if events {
            let way = self.latency();
            self.soon(way, Happening::PublishEvents(id));
        }
        if dead {
            let way = self.latency();
            self.soon(way, Happening::PublishDead(id));
        }
    }

    /// The next batch of the round under way, or the end of the round.
    pub(super) fn publish_events(&mut self, id: OwnerId) -> Check {
        let Some(owner) = self.owners.get(&id) else { return Ok(()) };
        let (partition, mark) = (owner.partition, owner.events.mark);
        let leaving = fanout::leaving(partition, mark, &owner.events.round);
        let Some(batch) = leaving.chunks(self.shape.batch_events_max).next() else {
            self.end_round(id);
            return Ok(());
        };
        let (mut upto, partial) = batch.last().map_or((LogSequence(0), 0), |last| (last.upto, last.partial));
        let events: Vec<OutgoingEvent> = batch
            .iter()
            .map(|leaving| OutgoingEvent {
                cursor: leaving.outgoing.cursor,
                entity: leaving.outgoing.entity.clone(),
                event: leaving.outgoing.event.clone(),
                correlation: leaving.outgoing.turn.command.correlation,
            })
            .collect();
        if self.defect == Some(Defect::MarkMovesAhead) {
            upto = upto.next();
        }
        if owner.phase == Phase::Ended {
            self.coverage.note(Reached::ZombieFannedOut);
        }
        if partial > 0 {
            self.coverage.note(Reached::PartialMark);
        }
        if self.dies_at(id, "before-events") {
            return Ok(());
        }
        if self.fault(self.faults.batch_lost, Reached::BatchLost) {
            self.soon(10 * RETRY_MS, Happening::LookAtMark(id));
            return Ok(());
        }
        let checked = (self.defect != Some(Defect::StreamIgnoresMark)).then_some(mark.sequence);
        let followed = self.store.followed.len();
        let published = self.store.publish_events(partition, checked, upto, partial, events.clone());
        if published.is_ok() {
            self.note(format_args!(
                "{} events of partition {partition} up to {upto}.{partial}",
                events.len()
            ));
            self.audit.derived_stream_is_the_log(partition, &events)?;
            if self.store.followed.len() > followed {
                self.tell_followers();
            }
        }
        if self.dies_at(id, "after-events") {
            return Ok(());
        }
        let way = self.latency();
        match published {
            Ok(_) if self.fault(self.faults.batch_answer_lost, Reached::BatchAnswerLost) => {
                self.soon(10 * RETRY_MS, Happening::LookAtMark(id));
            }
            Ok(mark) => {
                if let Some(owner) = self.owners.get_mut(&id) {
                    owner.events.stream_sequence = mark.sequence + events.len() as u64;
                    owner.events.mark = mark;
                }
                self.soon(way, Happening::PublishEvents(id));
            }
            Err(_) => {
                self.coverage.note(Reached::BatchConflict);
                self.soon(way, Happening::LookAtMark(id));
            }
        }
        Ok(())
    }

    /// After a refusal or a lost answer: the stream's own mark says what is there.
    pub(super) fn look_at_mark(&mut self, id: OwnerId) {
        let Some(owner) = self.owners.get_mut(&id) else { return };
        let mark = self.store.mark(owner.partition);
        let pause = if mark == owner.events.mark { RETRY_MS } else { 1 };
        owner.events.mark = mark;
        self.soon(pause, Happening::PublishEvents(id));
    }

    fn end_round(&mut self, id: OwnerId) {
        let Some(owner) = self.owners.get_mut(&id) else { return };
        let upto = owner.events.round.last().map(|committed| committed.sequence);
        owner.events.round.clear();
        owner.events.busy = false;
        if owner.is_running()
            && let Some(upto) = upto
        {
            let before = owner.core.live();
            owner.core.fanned_out(upto, owner.events.stream_sequence);
            if owner.core.live() < before {
                self.coverage.note(Reached::Passivated);
            }
        }
        self.start_fanout(id);
        self.complete(id);
        self.wake(id);
    }

    /// The next dead letter of the first record that waits, or the end of that record.
    pub(super) fn publish_dead(&mut self, id: OwnerId) -> Check {
        let Some(owner) = self.owners.get(&id) else { return Ok(()) };
        let Some(committed) = owner.dead.queue.front() else { return Ok(()) };
        let Some((entry, payload)) = dead_of(committed).nth(owner.dead.done) else {
            self.end_dead_of_record(id);
            return Ok(());
        };
        if self.dies_at(id, "before-dead") {
            return Ok(());
        }
        if self.fault(self.faults.dead_lost, Reached::DeadLost) {
            self.soon(10 * RETRY_MS, Happening::PublishDead(id));
            return Ok(());
        }
        self.note(format_args!("dead letter {entry} is stored"));
        if self.defect != Some(Defect::DeadLettersNotStored) {
            self.store.dead.entry(entry).or_insert(payload);
        }
        if self.dies_at(id, "after-dead") {
            return Ok(());
        }
        let pause = if self.fault(self.faults.dead_answer_lost, Reached::DeadAnswerLost) {
            10 * RETRY_MS
        } else {
            if let Some(owner) = self.owners.get_mut(&id) {
                owner.dead.done += 1;
            }
            self.latency()
        };
        self.soon(pause, Happening::PublishDead(id));
        Ok(())
    }

    fn end_dead_of_record(&mut self, id: OwnerId) {
        let Some(owner) = self.owners.get_mut(&id) else { return };
        owner.dead.done = 0;
        owner.dead.busy = false;
        if let Some(committed) = owner.dead.queue.pop_front()
            && owner.is_running()
        {
            owner.core.dead_out(committed.sequence);
        }
        self.start_fanout(id);
        self.complete(id);
    }
}

/// The dead letters of a record with their payloads, in order.
fn dead_of(committed: &Committed) -> impl Iterator<Item = (SmolStr, Bytes)> {
    let turns = committed.record.turns.iter();
    turns.filter_map(|turn| Some((turn.dead.as_ref()?.entry.clone(), turn.command.body.bytes.clone())))
}
