//! The state that a partition's log determines: positions, timers, the outbox, recent ids.
//!
//! [`PartitionState::apply_turn`] is used for turns just decided and for turns read at a takeover alike, so a
//! successor knows exactly what its predecessor knew.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use bus_schemas::ids::Epoch;
use bus_schemas::record::{
    CommitRecord, LeaseChange, Mail, Position, Source, TimerChange, Turn, leading_version,
};
use bus_schemas::{Body, EntityAddress, Hash, Kind, LogSequence, PartitionId, Timestamp, TraceContext};
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::recent::Recent;
use crate::seen::Seen;

/// The version of the stored layout: raised when an older program could not read it.
pub const STATE_VERSION: u16 = 2;
/// How far the clocks of two successive owners may differ, in milliseconds, before the later one counts as set back.
const CLOCKS_DIFFER_MS_MAX: u64 = 1_000;

/// The state that a partition's log determines.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct PartitionState {
    /// The partition.
    pub partition: PartitionId,
    /// How often the partition was taken over.
    pub epoch: Epoch,
    /// The sequence of the last record.
    pub last: LogSequence,
    /// The hash of the last record.
    pub previous: Hash,
    /// The inbox sequence of the last applied durable command.
    pub inbox: u64,
    /// For each sender: the number of the last applied mail.
    pub mail: BTreeMap<PartitionId, u64>,
    /// The log sequence up to which dead letters are published.
    pub dead_out: LogSequence,
    /// The timers of entities.
    pub timers: Timers,
    /// The leases of entities that workers must renew.
    pub leases: Leases,
    /// The entities with open work for workers that claim.
    pub open: BTreeSet<EntityAddress>,
    /// Mail without a receipt.
    pub outbox: Outbox,
    /// Recent command ids, with the places of their replies in the log.
    pub recent: Recent,
    /// For each kind: the highest schema version of its events in the log.
    pub written: BTreeMap<Kind, u16>,
    /// The entities that ever had an event.
    pub seen: Seen,
}

/// Why a stored state cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoredError {
    /// The bytes are not a state.
    #[error("decoding a partition's state: {0}")]
    Malformed(#[from] rmp_serde::decode::Error),
    /// A later program wrote it.
    #[error("the state has version {found}; this program knows versions up to {STATE_VERSION}")]
    Version { found: u16 },
}

impl PartitionState {
    /// Encodes the state for storage: MessagePack, its version first.
    pub fn encode(&self) -> Vec<u8> {
        rmp_serde::to_vec(&(STATE_VERSION, self)).expect("a partition's state is plain data")
    }

    /// Decodes a stored state.
    pub fn decode(bytes: &[u8]) -> Result<Self, StoredError> {
        match (leading_version(bytes), rmp_serde::from_slice::<(u16, Self)>(bytes)) {
            (Some(found), _) if found > STATE_VERSION => Err(StoredError::Version { found }),
            (_, Ok((_, state))) => Ok(state),
            (_, Err(error)) => Err(error.into()),
        }
    }

    /// Whether two states at the same record agree, one live and one folded from the log. Receipts and
    /// skipped repeats reach the log only with a later record, so either state may know more of them.
    pub fn agrees_with(&self, other: &Self) -> bool {
        let (mut left, mut right) = (self.clone(), other.clone());
        for (to, upto) in self.outbox.received() {
            right.outbox.receipt(to, upto);
        }
        for (to, upto) in other.outbox.received() {
            left.outbox.receipt(to, upto);
        }
        left.inbox = left.inbox.max(right.inbox);
        right.inbox = left.inbox;
        left.encode() == right.encode()
    }

    /// The oldest record that a takeover from this state reads; events are published up to `mark`.
    pub fn first_needed(&self, mark: LogSequence) -> LogSequence {
        let needed = [self.last.next(), mark.next(), self.dead_out.next()];
        needed.into_iter().min().unwrap_or_default().max(LogSequence(1))
    }

    /// The oldest record that is still needed, by a takeover or for the reply to a repeat.
    pub fn first_kept(&self, mark: LogSequence) -> LogSequence {
        let needed = self.first_needed(mark);
        self.recent.oldest().map_or(needed, |oldest| oldest.min(needed))
    }

    /// Applies one turn: its source and its effects.
    pub fn apply_turn(&mut self, turn: &Turn) {
        match &turn.source {
            Source::Ask | Source::Lease(_) | Source::Claim => {}
            Source::Inbox(sequence) => self.inbox = self.inbox.max(*sequence),
            Source::Mail(from, number) => {
                let applied = self.mail.entry(*from).or_default();
                *applied = (*applied).max(*number);
                if *from == self.partition {
                    self.outbox.receipt(*from, *number);
                }
            }
            Source::Timer(name) => self.timers.cancel(&turn.entity, name),
        }
        for change in &turn.timers {
            match change {
                TimerChange::Set { name, at, body } => {
                    let (entity, name, at, set_at) = (turn.entity.clone(), name.clone(), *at, turn.at);
                    self.timers.set(Timer {
                        entity,
                        name,
                        at,
                        set_at,
                        body: body.clone(),
                        trace: turn.command.trace,
                    });
                }
                TimerChange::Cancel { name } => self.timers.cancel(&turn.entity, name),
            }
        }
        self.leases.apply(&turn.entity, &turn.leases);
        if turn.is_open {
            self.open.insert(turn.entity.clone());
        } else if !turn.events.is_empty() {
            self.open.remove(&turn.entity);
        }
        for mail in &turn.sends {
            self.outbox.push(mail.clone());
        }
        if !turn.events.is_empty() {
            self.seen.insert(&turn.entity);
        }
        let schema = turn.events.iter().map(|event| event.schema).max().unwrap_or_default();
        if schema > self.written.get(&turn.entity.kind).copied().unwrap_or_default() {
            self.written.insert(turn.entity.kind.clone(), schema);
        }
    }

    /// Applies the fields of a record beside its turns.
    pub fn apply_record(&mut self, sequence: LogSequence, hash: Hash, record: &CommitRecord) {
        self.last = sequence;
        self.previous = hash;
        self.epoch = record.epoch;
        self.dead_out = self.dead_out.max(LogSequence(record.dead_out));
        self.inbox = self.inbox.max(record.position.inbox);
        for (from, number) in &record.position.mail {
            let applied = self.mail.entry(*from).or_default();
            *applied = (*applied).max(*number);
        }
        for (to, number) in &record.mail_out {
            self.outbox.receipt(*to, *number);
        }
    }

    /// The position for a record.
    pub fn position(&self) -> Position {
        Position {
            inbox: self.inbox,
            mail: self.mail.iter().map(|(from, number)| (*from, *number)).collect(),
        }
    }
}

/// Timers by time, and by entity and name.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(from = "Vec<Timer>", into = "Vec<Timer>")]
pub struct Timers {
    due: BTreeMap<(Timestamp, EntityAddress, SmolStr), Armed>,
    at: HashMap<(EntityAddress, SmolStr), Timestamp>,
    /// No timer was set later than this.
    newest: Timestamp,
}

#[derive(Debug, Clone)]
struct Armed {
    set_at: Timestamp,
    body: Body,
    trace: Option<TraceContext>,
}

/// A timer as stored in a snapshot.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Timer {
    /// The entity.
    pub entity: EntityAddress,
    /// The name of the timer.
    pub name: SmolStr,
    /// When it is due.
    pub at: Timestamp,
    /// When it was set.
    pub set_at: Timestamp,
    /// The command that it sends.
    pub body: Body,
    /// The span that set it.
    pub trace: Option<TraceContext>,
}

impl From<Vec<Timer>> for Timers {
    fn from(timers: Vec<Timer>) -> Self {
        let mut all = Self::default();
        for timer in timers {
            all.set(timer);
        }
        all
    }
}

impl From<Timers> for Vec<Timer> {
    fn from(timers: Timers) -> Self {
        timers.due.into_iter().map(Timer::from).collect()
    }
}

impl From<((Timestamp, EntityAddress, SmolStr), Armed)> for Timer {
    fn from(((at, entity, name), armed): ((Timestamp, EntityAddress, SmolStr), Armed)) -> Self {
        let Armed { set_at, body, trace } = armed;
        Self { entity, name, at, set_at, body, trace }
    }
}

impl Timers {
    fn set(&mut self, timer: Timer) {
        let Timer { entity, name, at, set_at, body, trace } = timer;
        self.cancel(&entity, &name);
        self.newest = self.newest.max(set_at);
        self.at.insert((entity.clone(), name.clone()), at);
        self.due.insert((at, entity, name), Armed { set_at, body, trace });
    }
    fn cancel(&mut self, entity: &EntityAddress, name: &SmolStr) {
        let key = (entity.clone(), name.clone());
        if let Some(at) = self.at.remove(&key) {
            self.due.remove(&(at, key.0, key.1));
        }
    }
    /// When the next timer is due.
    pub fn next(&self) -> Option<Timestamp> {
        self.due.keys().next().map(|(at, ..)| *at)
    }
    /// The timers that are due and `wanted`, earliest first, at most `bound`. A timer that was set later than `now`
    /// is due as well: the clock was ahead then and has been set back since, and what was counted from that time
    /// would wait for as long as the clock was ahead.
    pub fn due(
        &mut self,
        now: Timestamp,
        bound: usize,
        wanted: impl Fn(&EntityAddress) -> bool,
    ) -> Vec<Timer> {
        let ahead = now.plus_ms(CLOCKS_DIFFER_MS_MAX);
        let was_set_back = self.newest > ahead;
        let rows = self.due.iter().take_while(|((at, ..), _)| was_set_back || *at <= now);
        let due =
            rows.filter(|((at, entity, _), armed)| (*at <= now || armed.set_at > ahead) && wanted(entity));
        let due: Vec<Timer> =
            due.take(bound).map(|(key, armed)| Timer::from((key.clone(), armed.clone()))).collect();
        if was_set_back && self.due.values().all(|armed| armed.set_at <= ahead) {
            self.newest = ahead;
        }
        due
    }
    /// Whether this timer is still set for this time and with this command.
    pub fn is_set(&self, entity: &EntityAddress, name: &SmolStr, at: Timestamp, body: &Body) -> bool {
        self.due.get(&(at, entity.clone(), name.clone())).is_some_and(|armed| armed.body == *body)
    }
    /// The number of timers.
    pub fn len(&self) -> usize {
        self.due.len()
    }
    /// Whether no timer is set.
    pub fn is_empty(&self) -> bool {
        self.due.is_empty()
    }
}

/// The leases of entities, as the log has them. Their deadlines are only in the owner's memory.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Vec<Lease>", into = "Vec<Lease>")]
pub struct Leases {
    held: BTreeMap<(EntityAddress, SmolStr), Lease>,
}

/// A lease that a worker must renew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Lease {
    /// The entity.
    pub entity: EntityAddress,
    /// The name of the lease.
    pub name: SmolStr,
    /// How long a renewal lasts, in milliseconds.
    pub ms: u64,
    /// The command for the entity when the lease is never renewed.
    pub unrenewed: Body,
    /// The command for the entity when renewals stop.
    pub silent: Body,
}

impl From<Vec<Lease>> for Leases {
    fn from(leases: Vec<Lease>) -> Self {
        let named = leases.into_iter().map(|lease| ((lease.entity.clone(), lease.name.clone()), lease));
        Self { held: named.collect() }
    }
}

impl From<Leases> for Vec<Lease> {
    fn from(leases: Leases) -> Self {
        leases.held.into_values().collect()
    }
}

impl Leases {
    fn apply(&mut self, entity: &EntityAddress, changes: &[LeaseChange]) {
        for change in changes {
            match change {
                LeaseChange::Begin { name, ms, unrenewed, silent, .. } => {
                    let lease = Lease {
                        entity: entity.clone(),
                        name: name.clone(),
                        ms: *ms,
                        unrenewed: unrenewed.clone(),
                        silent: silent.clone(),
                    };
                    self.held.insert((entity.clone(), name.clone()), lease);
                }
                LeaseChange::End { name } => drop(self.held.remove(&(entity.clone(), name.clone()))),
            }
        }
    }
    /// A lease, if it is held.
    pub fn get(&self, entity: &EntityAddress, name: &SmolStr) -> Option<&Lease> {
        self.held.get(&(entity.clone(), name.clone()))
    }
    /// All leases.
    pub fn iter(&self) -> impl Iterator<Item = &Lease> {
        self.held.values()
    }
    /// The number of leases.
    pub fn len(&self) -> usize {
        self.held.len()
    }
    /// Whether no lease is held.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }
}

/// Mail in transit, for each receiver.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Outbox {
    queues: BTreeMap<PartitionId, MailQueue>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct MailQueue {
    /// The last number given out.
    last: u64,
    /// The last number that a receipt covers.
    received: u64,
    /// The mail after `received`.
    waiting: VecDeque<Mail>,
}

impl Outbox {
    /// The number for the next mail to a receiver.
    pub fn next_number(&self, to: PartitionId) -> u64 {
        self.queues.get(&to).map_or(0, |queue| queue.last) + 1
    }
    fn push(&mut self, mail: Mail) {
        let queue = self.queues.entry(mail.partition).or_default();
        queue.last = mail.number;
        if mail.number > queue.received {
            queue.waiting.push_back(mail);
        }
    }
    /// Removes mail that its receiver has applied; `true` if that changed anything.
    pub fn receipt(&mut self, to: PartitionId, upto: u64) -> bool {
        let Some(queue) = self.queues.get_mut(&to) else { return false };
        // A receipt for mail that was never sent can only come from another installation.
        if upto <= queue.received || upto > queue.last {
            return false;
        }
        queue.received = upto;
        while queue.waiting.front().is_some_and(|mail| mail.number <= upto) {
            queue.waiting.pop_front();
        }
        true
    }
    /// At most `bound` mail for a receiver that no receipt covers.
    pub fn waiting(&self, to: PartitionId, bound: usize) -> impl Iterator<Item = &Mail> {
        self.queues.get(&to).into_iter().flat_map(|queue| &queue.waiting).take(bound)
    }
    /// The receivers with waiting mail.
    pub fn receivers(&self) -> impl Iterator<Item = PartitionId> {
        self.queues.iter().filter(|(_, queue)| !queue.waiting.is_empty()).map(|(to, _)| *to)
    }
    /// The last number given out for each receiver.
    pub fn last_numbers(&self) -> BTreeMap<PartitionId, u64> {
        self.queues.iter().map(|(to, queue)| (*to, queue.last)).collect()
    }
    /// The last number that each receiver has confirmed.
    pub fn received(&self) -> Vec<(PartitionId, u64)> {
        self.queues.iter().map(|(to, queue)| (*to, queue.received)).collect()
    }
    /// The number of mail waiting, for all receivers.
    pub fn len(&self) -> usize {
        self.queues.values().map(|queue| queue.waiting.len()).sum()
    }
    /// Whether no mail waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: what was counted while a clock was an hour ahead does not wait for an hour. Method: timers set before,
    /// while and after the clock was ahead; a bound; kinds that rest; a stored state.
    #[test]
    fn timers_set_while_the_clock_was_ahead_are_due() {
        let set = |timers: &mut Timers, name: &str, set_at: u64, at: u64| {
            let entity = "schedule/beat".parse().expect("an address");
            let (at, set_at) = (Timestamp(at), Timestamp(set_at));
            timers.set(Timer { entity, name: name.into(), at, set_at, body: Body::default(), trace: None });
        };
        let names = |timers: Vec<Timer>| timers.into_iter().map(|timer| timer.name).collect::<Vec<_>>();
        let mut timers = Timers::default();
        set(&mut timers, "before", 5_000, 20_000);
        set(&mut timers, "ahead", 3_605_000, 3_607_000);
        set(&mut timers, "ahead-too", 3_606_000, 3_608_000);
        assert!(timers.due(Timestamp(3_606_500), 9, |_| true).len() == 1, "the clock is still ahead");
        let mut timers = Timers::from(Vec::from(timers));
        assert_eq!(names(timers.due(Timestamp(6_000), 1, |_| true)), ["ahead"]);
        assert!(timers.due(Timestamp(6_000), 9, |_| false).is_empty());
        assert_eq!(names(timers.due(Timestamp(6_000), 9, |_| true)), ["ahead", "ahead-too"]);
        set(&mut timers, "ahead", 6_000, 8_000);
        set(&mut timers, "ahead-too", 6_500, 9_000);
        assert!(timers.due(Timestamp(6_000), 9, |_| true).is_empty(), "hosts whose clocks differ a little");
        assert_eq!(names(timers.due(Timestamp(8_500), 9, |_| true)), ["ahead"]);
    }

    #[test]
    fn a_state_says_of_which_program_it_is() {
        let state = PartitionState { partition: PartitionId(5), last: LogSequence(9), ..Default::default() };
        assert_eq!(
            PartitionState::decode(&state.encode()).map(|state| state.last).ok(),
            Some(LogSequence(9))
        );
        let later = rmp_serde::to_vec(&(STATE_VERSION + 1, "anything")).expect("plain data");
        let decoded = PartitionState::decode(&later);
        assert!(matches!(decoded, Err(StoredError::Version { found }) if found == STATE_VERSION + 1));
        assert!(matches!(PartitionState::decode(b"rubbish"), Err(StoredError::Malformed(_))));
    }
}
