//! Stage 6, fanout: events and dead letters leave the log, off the critical path.
//!
//! Events go in atomic batches under the partition's mark, so they appear exactly once and in
//! order whoever publishes them. Dead letters have a subject of their own. How far both came is found
//! again at a takeover.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;

use bus_client::events::{Cursor, EVENTS_PER_BATCH_MAX, Mark, OutgoingEvent};
use bus_client::{Bus, Chaos, PublishError};
use bus_schemas::record::Turn;
use bus_schemas::{EntityAddress, LogSequence, PartitionId, Revision};
use tokio::sync::mpsc;

use crate::journal::Committed;
use crate::stuck::{Attempts, Stuck};
use crate::{crash, trace};

/// Records that may be committed and not fanned out; then the loop waits. Some seconds of work, so
/// that a slow event stream slows commands down instead of filling the memory.
pub const LAG_RECORDS_MAX: usize = 1_024;
/// Turns in those records: under load a record holds many, and each takes about a kilobyte while it waits.
pub const LAG_TURNS_MAX: usize = 1_024;
/// Records that are taken into one round.
const RECORDS_PER_ROUND_MAX: usize = 64;
/// Records without events that the mark may lie behind: some milliseconds of reading at a takeover.
const MARK_LAG_RECORDS_MAX: u64 = 1_024;
/// The dead-letter stream's token for what never named a kind that we know.
const UNKNOWN: &str = "unknown";

/// How far a part of the fan-out came.
#[derive(Debug)]
pub enum Progress {
    /// All events up to this record are out; the event stream's sequence behind them.
    Events { upto: Arc<Committed>, stream_sequence: u64 },
    /// All dead letters up to this record are out.
    Dead { upto: LogSequence },
}

/// The event fan-out of one partition.
#[derive(Debug)]
pub struct Events {
    bus: Bus,
    partition: PartitionId,
    mark: Mark,
    /// The event stream's sequence behind the last batch that was certainly ours.
    stream_sequence: u64,
    /// Entities that begin although the stream has events of them. That was said, and holds nobody up.
    misplaced: BTreeSet<EntityAddress>,
    attempts: Attempts,
}

/// An event that is not out yet.
#[derive(Debug)]
pub struct Leaving<'a> {
    /// The event with its turn.
    pub outgoing: OutgoingEvent<'a>,
    /// The record that the mark names once this event is out.
    pub upto: LogSequence,
    /// How many events of the record after `upto` are out then.
    pub partial: u32,
}

impl Events {
    /// The fan-out as the mark has it.
    pub fn new(bus: Bus, partition: PartitionId, mark: Mark, stuck: &Stuck) -> Self {
        let attempts = Attempts::new(partition, "events", stuck);
        let misplaced = BTreeSet::new();
        Self { bus, partition, mark, stream_sequence: mark.sequence, misplaced, attempts }
    }

    /// A sequence of the event stream: what becomes of an entity as this owner knows it stands behind it.
    pub fn place(&self) -> u64 {
        self.stream_sequence
    }

    /// Follows the commits until the channel closes.
    pub async fn run(
        mut self,
        chaos: Chaos,
        mut commits: mpsc::UnboundedReceiver<Arc<Committed>>,
        progress: mpsc::UnboundedSender<Progress>,
    ) {
        let mut round = Vec::with_capacity(RECORDS_PER_ROUND_MAX);
        while commits.recv_many(&mut round, RECORDS_PER_ROUND_MAX).await > 0 {
            chaos.until_awake().await;
            self.publish(&round).await;
            if let Some(upto) = round.pop() {
                // The loop that listens may have ended; then nobody needs to know.
                let _ = progress.send(Progress::Events { upto, stream_sequence: self.stream_sequence });
            }
            round.clear();
        }
    }

    /// Publishes the events of some records, in order, and waits until they are in the stream.
    pub async fn publish(&mut self, records: &[Arc<Committed>]) {
        let started = SystemTime::now();
        loop {
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

    /// Moves the mark over records without events, such as heartbeats: a takeover reads everything
    /// behind the mark.
    async fn keep_up(&mut self, records: &[Arc<Committed>]) {
        let Some(last) = records.last().map(|committed| committed.sequence) else { return };
        while last.0 > self.mark.upto.0 + MARK_LAG_RECORDS_MAX {
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

    /// Finds the entities that begin although the stream has events of them. Whoever wrote those, they are
    /// in no record: that is said, and theirs go out behind them, so that nobody else is held up.
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

    /// After a refusal or a lost answer: the stream's own mark says what is there; whether it has moved.
    async fn look_again(&mut self, error: &PublishError) -> bool {
        self.attempts.wait(&format!("publishing them: {error}")).await;
        loop {
            match self.bus.mark(self.partition).await {
                Ok(mark) if mark == self.mark => return false,
                Ok(mark) => {
                    // Whose it is nobody says: a successor may have gone on, and the place must not lie
                    // behind events that only it knows.
                    self.mark = mark;
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
            // An entity begins once: the server refuses whoever took one that has events for new.
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

/// The events of turns, in order, with their turns.
fn events(turns: &[Turn]) -> impl Iterator<Item = (&Turn, &bus_schemas::record::Event)> {
    turns.iter().flat_map(|turn| turn.events.iter().map(move |event| (turn, event)))
}

/// Follows the commits with dead letters until the channel closes.
pub async fn run_dead(
    bus: Bus,
    (chaos, stuck): (Chaos, Stuck),
    mut commits: mpsc::UnboundedReceiver<Arc<Committed>>,
    progress: mpsc::UnboundedSender<Progress>,
) {
    while let Some(committed) = commits.recv().await {
        chaos.until_awake().await;
        publish_dead(&bus, &committed, &stuck).await;
        // The loop that listens may have ended; then nobody needs to know.
        let _ = progress.send(Progress::Dead { upto: committed.sequence });
    }
}

/// Publishes the dead letters of a record and waits until all of them are stored, or refused for good: one
/// that the server never takes must not keep what comes behind it.
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

/// Tries until the server has it, or has refused it for good. A dead letter that is there already is dropped
/// by the server, so trying again is safe.
async fn until_stored<F: Future<Output = Result<(), PublishError>>>(
    mut attempts: Attempts,
    what: &str,
    publish: impl Fn() -> F,
) {
    while let Err(error) = publish().await {
        if error.is_final() {
            tracing::error!(%error, "the server does not take {what}; going on without it");
            return;
        }
        attempts.wait(&format!("publishing {what}: {error}")).await;
    }
}
