//! Stage 6, fanout: publishes events and dead letters from the log, off the critical path.
//!
//! Events go out in atomic batches under the partition's mark, so each appears exactly once and in order,
//! whichever host publishes it. Dead letters have a subject of their own. A takeover finds how far both came
//! and continues from there.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;

use bus_client::events::{Cursor, EVENTS_PER_BATCH_MAX, Mark, OutgoingEvent};
use bus_client::{Bus, PublishError};
use bus_schemas::record::Turn;
use bus_schemas::{EntityAddress, LogSequence, PartitionId, Revision};
use tokio::sync::mpsc;

use crate::journal::Committed;
use crate::stuck::{Attempts, Stuck};
use crate::{crash, trace};

/// The most committed records whose events are not published; then the loop waits. This is some seconds of
/// work, so a slow event stream slows commands down and does not fill the memory.
pub const LAG_RECORDS_MAX: usize = 1_024;
/// The most turns in those records: under load a record holds many, each about a kilobyte of memory.
pub const LAG_TURNS_MAX: usize = 1_024;
/// The most records published in one round.
const RECORDS_PER_ROUND_MAX: usize = 64;
/// Records without events that the mark may lag behind: some milliseconds of reading at a takeover.
const MARK_LAG_RECORDS_MAX: u64 = 1_024;
/// The subject token for dead letters without a known kind.
const UNKNOWN: &str = "unknown";

/// The progress of one part of the fan-out.
#[derive(Debug)]
pub enum Progress {
    /// All events up to this record are published; `stream_sequence` is the event stream's sequence then.
    Events { upto: Arc<Committed>, stream_sequence: u64 },
    /// All dead letters up to this record are published.
    Dead { upto: LogSequence },
    /// The event stream has lost the mark, and with it everything before. Only a takeover publishes events
    /// that this owner has published already.
    Emptied,
}

/// The event fan-out of one partition.
#[derive(Debug)]
pub struct Events {
    bus: Bus,
    partition: PartitionId,
    mark: Mark,
    /// The event stream's sequence after the last batch that this owner certainly published.
    stream_sequence: u64,
    /// New entities for which the event stream already has events. Logged once; they do not block others.
    misplaced: BTreeSet<EntityAddress>,
    /// Whether the event stream has lost the mark. Then nothing more is published: the next mark would claim
    /// that the lost events are there.
    emptied: bool,
    attempts: Attempts,
}

/// An event that is not published yet.
#[derive(Debug)]
pub struct Leaving<'a> {
    /// The event with its turn.
    pub outgoing: OutgoingEvent<'a>,
    /// The mark's `upto` once this event is published.
    pub upto: LogSequence,
    /// The mark's `partial` then: how many events of the record after `upto` are published.
    pub partial: u32,
}

impl Events {
    /// The fan-out, starting at a mark.
    pub fn new(bus: Bus, partition: PartitionId, mark: Mark, stuck: &Stuck) -> Self {
        let attempts = Attempts::new(partition, "events", stuck);
        let misplaced = BTreeSet::new();
        let stream_sequence = mark.sequence;
        Self { bus, partition, mark, stream_sequence, misplaced, emptied: false, attempts }
    }

    /// A sequence of the event stream below every event that this owner will publish.
    pub fn place(&self) -> u64 {
        self.stream_sequence
    }

    /// Publishes the events of commits until the channel closes.
    pub async fn run(
        mut self,
        mut commits: mpsc::UnboundedReceiver<Arc<Committed>>,
        progress: mpsc::UnboundedSender<Progress>,
    ) {
        let mut round = Vec::with_capacity(RECORDS_PER_ROUND_MAX);
        while commits.recv_many(&mut round, RECORDS_PER_ROUND_MAX).await > 0 {
            self.publish(&round).await;
            if self.emptied {
                // The receiving loop may have ended; then the next takeover finds out.
                let _ = progress.send(Progress::Emptied);
                return;
            }
            if let Some(upto) = round.pop() {
                // The receiving loop may have ended; then nobody needs the progress.
                let _ = progress.send(Progress::Events { upto, stream_sequence: self.stream_sequence });
            }
            round.clear();
        }
    }

    /// Publishes the events of records in order, and waits until the stream has stored them, or has lost
    /// what it had stored before.
    pub async fn publish(&mut self, records: &[Arc<Committed>]) {
        let started = SystemTime::now();
        while !self.emptied {
            let leaving = leaving(self.partition, self.mark, records);
            let Some(batch) = leaving.chunks(EVENTS_PER_BATCH_MAX).next() else { break };
            let (upto, partial) = batch.last().map_or((LogSequence(0), 0), |last| (last.upto, last.partial));
            let outgoing: Vec<OutgoingEvent<'_>> = batch.iter().map(|next| self.outgoing(next)).collect();
            crash::point("before-events");
            let published =
                self.bus.publish_events(self.partition, self.mark, upto, partial, &outgoing).await;
            crash::point("after-events");
            match published {
                Ok(mark) => {
                    self.stream_sequence = mark.sequence + outgoing.len() as u64;
                    self.mark = mark;
                    self.attempts.over();
                }
                Err(error) => {
                    if !self.look_again(&error).await && matches!(error, PublishError::Conflict(_)) {
                        self.look_for_misplaced(&outgoing).await;
                    }
                }
            }
        }
        self.keep_up(records).await;
        for committed in records {
            trace::fanned_out(self.bus.subjects(), &committed.record.turns, started);
        }
    }

    /// Moves the mark over records without events, such as heartbeats: a takeover reads every record after
    /// the mark.
    async fn keep_up(&mut self, records: &[Arc<Committed>]) {
        let Some(last) = records.last().map(|committed| committed.sequence) else { return };
        while !self.emptied && last.0 > self.mark.upto.0 + MARK_LAG_RECORDS_MAX {
            match self.bus.publish_events(self.partition, self.mark, last, 0, &[]).await {
                Ok(mark) => {
                    self.stream_sequence = self.stream_sequence.max(mark.sequence);
                    self.mark = mark;
                    self.attempts.over();
                }
                Err(error) => drop(self.look_again(&error).await),
            }
        }
    }

    fn outgoing<'a>(&self, leaving: &Leaving<'a>) -> OutgoingEvent<'a> {
        let outgoing = leaving.outgoing.clone();
        let first = outgoing.first && !self.misplaced.contains(outgoing.entity);
        OutgoingEvent { first, ..outgoing }
    }

    /// Finds entities at revision 1 for which the stream already has events. No record holds those events:
    /// they are logged, and the entity's real events are published after them, so that they block nobody.
    async fn look_for_misplaced(&mut self, batch: &[OutgoingEvent<'_>]) {
        for outgoing in batch.iter().filter(|outgoing| outgoing.first) {
            match self.bus.last_event(outgoing.entity).await {
                Ok(None) => {}
                Ok(Some(_)) => {
                    tracing::error!(
                        actor = %outgoing.entity,
                        "the event stream has events of an entity that begins only now; \
                         `orrery rebuild events` writes the stream again from the logs"
                    );
                    self.misplaced.insert(outgoing.entity.clone());
                }
                Err(error) => tracing::warn!(actor = %outgoing.entity, %error, "reading the last event"),
            }
        }
    }

    /// Reads the mark after a refused or unanswered publish; `true` if it has moved or is gone.
    async fn look_again(&mut self, error: &PublishError) -> bool {
        self.attempts.wait(&format!("publishing them: {error}")).await;
        loop {
            match self.bus.mark(self.partition).await {
                Ok(mark) if mark == self.mark => return false,
                Ok(mark) if mark == Mark::default() => {
                    self.emptied = true;
                    return true;
                }
                Ok(mark) => {
                    // The batch may be a successor's: `stream_sequence` must not pass events that only it
                    // knows.
                    self.mark = mark;
                    // Nothing of this round may be left to publish.
                    self.attempts.over();
                    return true;
                }
                Err(error) => self.attempts.wait(&format!("reading the mark: {error}")).await,
            }
        }
    }
}

/// The events of these records that the mark does not cover, in order.
pub fn leaving(partition: PartitionId, mark: Mark, records: &[Arc<Committed>]) -> Vec<Leaving<'_>> {
    let mut leaving = Vec::new();
    for committed in records.iter().filter(|committed| committed.sequence > mark.upto) {
        let first = leaving.len();
        let skip = if committed.sequence == mark.upto.next() { mark.partial } else { 0 };
        for (index, (turn, event)) in (0_u32..).zip(events(&committed.record.turns)) {
            if index < skip {
                continue;
            }
            let cursor = Cursor { partition, record: committed.sequence, index };
            // For a first event the server checks that the entity has none yet.
            let first = event.revision == Revision(1);
            leaving.push(Leaving {
                outgoing: OutgoingEvent { entity: &turn.entity, event, cursor, turn, first },
                upto: LogSequence(committed.sequence.0 - 1),
                partial: index + 1,
            });
        }
        if let Some(last) = leaving[first..].last_mut() {
            (last.upto, last.partial) = (committed.sequence, 0);
        }
    }
    leaving
}

/// The events of turns, in order, each with its turn.
fn events(turns: &[Turn]) -> impl Iterator<Item = (&Turn, &bus_schemas::record::Event)> {
    turns.iter().flat_map(|turn| turn.events.iter().map(move |event| (turn, event)))
}

/// Publishes the dead letters of commits until the channel closes.
pub async fn run_dead(
    bus: Bus,
    stuck: Stuck,
    mut commits: mpsc::UnboundedReceiver<Arc<Committed>>,
    progress: mpsc::UnboundedSender<Progress>,
) {
    while let Some(committed) = commits.recv().await {
        publish_dead(&bus, &committed, &stuck).await;
        // The receiving loop may have ended; then nobody needs the progress.
        let _ = progress.send(Progress::Dead { upto: committed.sequence });
    }
}

/// Publishes the dead letters of a record and waits until each is stored or finally refused: one that the
/// server never accepts must not block those after it.
pub async fn publish_dead(bus: &Bus, committed: &Committed, stuck: &Stuck) {
    let turns = committed.record.turns.iter().filter_map(|turn| Some((turn, turn.dead.as_ref()?)));
    let attempts = || Attempts::new(committed.record.partition, "dead letters", stuck);
    let each = turns.map(|(turn, dead)| async move {
        crash::point("before-dead");
        let known = dead.class != bus_schemas::envelope::code::UNKNOWN_KIND && dead.subject.is_none();
        let kind = if known { turn.entity.kind.as_str() } else { UNKNOWN };
        let payload = turn.command.body.bytes.clone();
        let publish = || bus.publish_dead(kind, &dead.entry, &dead.reason, payload.clone());
        until_stored(attempts(), &format!("the payload of dead letter `{}`", dead.entry), publish).await;
        crash::point("after-dead");
    });
    futures::future::join_all(each).await;
}

/// Retries until the server has stored the message or finally refused it. The server drops a duplicate, so a
/// retry is safe.
async fn until_stored<F: Future<Output = Result<(), PublishError>>>(
    mut attempts: Attempts,
    what: &str,
    publish: impl Fn() -> F,
) {
    while let Err(error) = publish().await {
        if error.is_final() {
            tracing::error!(%error, "the server refuses {what} for good; skipping it");
            return;
        }
        attempts.wait(&format!("publishing {what}: {error}")).await;
    }
}
