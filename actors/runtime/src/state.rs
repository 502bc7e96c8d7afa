//! What a partition's log determines: positions, timers, the outbox, recent ids.
//!
//! [`PartitionState::apply_turn`] is used for turns just decided and for turns read at a takeover
//! alike, so a successor knows exactly what its predecessor knew.

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

/// The layout of a stored state: raised when an older program could not read it.
pub const STATE_VERSION: u16 = 2;
/// How a stored state with a version begins: a MessagePack array of two.
const VERSIONED: u8 = 0x92;

/// What a partition's log determines.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct PartitionState {
    /// Whose log.
    pub partition: PartitionId,
    /// How often the partition was taken over.
    pub epoch: Epoch,
    /// The last record.
    pub last: LogSequence,
    /// The hash of the last record.
    pub previous: Hash,
    /// The last durable command that is applied.
    pub inbox: u64,
    /// The last mail applied of each sender.
    pub mail: BTreeMap<PartitionId, u64>,
    /// The log sequence up to which dead letters are out.
    pub dead_out: LogSequence,
    /// Timers of entities.
    pub timers: Timers,
    /// What somebody outside holds of entities, and must renew.
    pub leases: Leases,
    /// The entities that have work for workers who claim.
    pub open: BTreeSet<EntityAddress>,
    /// Mail that no receipt covers yet.
    pub outbox: Outbox,
    /// Recent ids, and where their answers are in the log.
    pub recent: Recent,
    /// For each kind: the highest schema version of its events in the log.
    #[serde(default)]
    pub written: BTreeMap<Kind, u16>,
    /// The entities that ever had an event.
    #[serde(default = "Seen::unknown")]
    pub seen: Seen,
}

/// Why a stored state is of no use.
#[derive(Debug, thiserror::Error)]
pub enum StoredError {
    /// Not a state at all.
    #[error("decoding a partition's state: {0}")]
    Malformed(#[from] rmp_serde::decode::Error),
    /// Written by a program before states had versions.
    #[error("the state was written by an older program, before states had versions")]
    Unversioned,
    /// Written by a later program.
    #[error("the state has version {found}; this program knows versions up to {STATE_VERSION}")]
    Version { found: u16 },
}

impl PartitionState {
    /// The state as it is stored: MessagePack, its version first.
    pub fn encode(&self) -> Vec<u8> {
        rmp_serde::to_vec(&(STATE_VERSION, self)).expect("a partition's state is plain data")
    }

    /// Reads a stored state.
    pub fn decode(bytes: &[u8]) -> Result<Self, StoredError> {
        // The first field of a state without a version is the partition, a number as well.
        if !bytes.starts_with(&[VERSIONED]) && rmp_serde::from_slice::<Self>(bytes).is_ok() {
            return Err(StoredError::Unversioned);
        }
        match (leading_version(bytes), rmp_serde::from_slice::<(u16, Self)>(bytes)) {
            (Some(found), _) if found > STATE_VERSION => Err(StoredError::Version { found }),
            (_, Ok((_, state))) => Ok(state),
            (_, Err(error)) => Err(error.into()),
        }
    }

    /// Whether two states at the same record are the same, one of them live and one folded from the
    /// log. Receipts and repeats that were passed over reach the log with a later record only, so
    /// either side may know more of them.
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

    /// The oldest record that a takeover from this state reads, where `mark` is how far the events
    /// are out.
    pub fn first_needed(&self, mark: LogSequence) -> LogSequence {
        let needed = [self.last.next(), mark.next(), self.dead_out.next()];
        needed.into_iter().min().unwrap_or_default().max(LogSequence(1))
    }

    /// The oldest record that is needed at all: a takeover reads it, or a repeat is answered from it.
    pub fn first_kept(&self, mark: LogSequence) -> LogSequence {
        let needed = self.first_needed(mark);
        self.recent.oldest().map_or(needed, |oldest| oldest.min(needed))
    }

    /// Applies one turn: what it came from and what it set going.
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
                    self.timers.set(&turn.entity, name, *at, body.clone(), turn.command.trace);
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

    /// Applies what a record says beside its turns.
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

    /// The position as a record says it.
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
    due: BTreeMap<(Timestamp, EntityAddress, SmolStr), (Body, Option<TraceContext>)>,
    at: HashMap<(EntityAddress, SmolStr), Timestamp>,
}

/// A timer as a snapshot has it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Timer {
    /// Whose.
    pub entity: EntityAddress,
    /// Its name.
    pub name: SmolStr,
    /// When it is due.
    pub at: Timestamp,
    /// The command that it sends.
    pub body: Body,
    /// The span that set it.
    pub trace: Option<TraceContext>,
}

impl From<Vec<Timer>> for Timers {
    fn from(timers: Vec<Timer>) -> Self {
        let mut all = Self::default();
        for timer in timers {
            all.set(&timer.entity, &timer.name, timer.at, timer.body, timer.trace);
        }
        all
    }
}

impl From<Timers> for Vec<Timer> {
    fn from(timers: Timers) -> Self {
        let rows = timers.due.into_iter();
        rows.map(|((at, entity, name), (body, trace))| Timer { entity, name, at, body, trace }).collect()
    }
}

impl Timers {
    fn set(
        &mut self,
        entity: &EntityAddress,
        name: &SmolStr,
        at: Timestamp,
        body: Body,
        trace: Option<TraceContext>,
    ) {
        self.cancel(entity, name);
        self.at.insert((entity.clone(), name.clone()), at);
        self.due.insert((at, entity.clone(), name.clone()), (body, trace));
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
    /// The timers that are due and `wanted`, earliest first, at most `bound`.
    pub fn due(&self, now: Timestamp, bound: usize, wanted: impl Fn(&EntityAddress) -> bool) -> Vec<Timer> {
        let due = self.due.iter().take_while(|((at, ..), _)| *at <= now);
        let rows = due.filter(|((_, entity, _), _)| wanted(entity)).take(bound);
        rows.map(|((at, entity, name), (body, trace))| Timer {
            entity: entity.clone(),
            name: name.clone(),
            at: *at,
            body: body.clone(),
            trace: *trace,
        })
        .collect()
    }
    /// Whether this timer is still set for this time, and with this command.
    pub fn is_set(&self, entity: &EntityAddress, name: &SmolStr, at: Timestamp, body: &Body) -> bool {
        self.due.get(&(at, entity.clone(), name.clone())).is_some_and(|(known, _)| known == body)
    }
    /// How many are set.
    pub fn len(&self) -> usize {
        self.due.len()
    }
    /// Whether none is set.
    pub fn is_empty(&self) -> bool {
        self.due.is_empty()
    }
}

/// What somebody outside holds of entities, as the log has it: not until when, which is in the owner's
/// memory alone.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Vec<Lease>", into = "Vec<Lease>")]
pub struct Leases {
    held: BTreeMap<(EntityAddress, SmolStr), Lease>,
}

/// A lease.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Lease {
    /// Whose.
    pub entity: EntityAddress,
    /// Its name.
    pub name: SmolStr,
    /// Until when it is to be renewed again after a renewal, in milliseconds.
    pub ms: u64,
    /// What the entity is sent when nobody ever renews it.
    pub unrenewed: Body,
    /// What the entity is sent when nobody renews it any more.
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
    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Lease> {
        self.held.values()
    }
    /// How many there are.
    pub fn len(&self) -> usize {
        self.held.len()
    }
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }
}

/// Mail on its way, for each receiver.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Outbox {
    lanes: BTreeMap<PartitionId, Lane>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Lane {
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
        self.lanes.get(&to).map_or(0, |lane| lane.last) + 1
    }
    fn push(&mut self, mail: Mail) {
        let lane = self.lanes.entry(mail.partition).or_default();
        lane.last = mail.number;
        if mail.number > lane.received {
            lane.waiting.push_back(mail);
        }
    }
    /// Forgets mail that was applied; whether that changed anything.
    pub fn receipt(&mut self, to: PartitionId, upto: u64) -> bool {
        let Some(lane) = self.lanes.get_mut(&to) else { return false };
        // A receipt for mail that was never sent can only come from another installation.
        if upto <= lane.received || upto > lane.last {
            return false;
        }
        lane.received = upto;
        while lane.waiting.front().is_some_and(|mail| mail.number <= upto) {
            lane.waiting.pop_front();
        }
        true
    }
    /// Mail for a receiver that no receipt covers, at most `bound`.
    pub fn waiting(&self, to: PartitionId, bound: usize) -> impl Iterator<Item = &Mail> {
        self.lanes.get(&to).into_iter().flat_map(|lane| &lane.waiting).take(bound)
    }
    /// The receivers for which mail waits.
    pub fn receivers(&self) -> impl Iterator<Item = PartitionId> {
        self.lanes.iter().filter(|(_, lane)| !lane.waiting.is_empty()).map(|(to, _)| *to)
    }
    /// The last number given out for each receiver.
    pub fn last_numbers(&self) -> BTreeMap<PartitionId, u64> {
        self.lanes.iter().map(|(to, lane)| (*to, lane.last)).collect()
    }
    /// How far each receiver has confirmed.
    pub fn received(&self) -> Vec<(PartitionId, u64)> {
        self.lanes.iter().map(|(to, lane)| (*to, lane.received)).collect()
    }
    /// How much mail waits in all.
    pub fn len(&self) -> usize {
        self.lanes.values().map(|lane| lane.waiting.len()).sum()
    }
    /// Whether no mail waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_says_of_which_program_it_is() {
        let state = PartitionState { partition: PartitionId(5), last: LogSequence(9), ..Default::default() };
        assert_eq!(
            PartitionState::decode(&state.encode()).map(|state| state.last).ok(),
            Some(LogSequence(9))
        );
        let bare = rmp_serde::to_vec(&state).expect("plain data");
        let decoded = PartitionState::decode(&bare);
        assert!(matches!(decoded, Err(StoredError::Unversioned)), "partition 5 is no version 5: {decoded:?}");
        let later = rmp_serde::to_vec(&(STATE_VERSION + 1, "anything")).expect("plain data");
        let decoded = PartitionState::decode(&later);
        assert!(matches!(decoded, Err(StoredError::Version { found }) if found == STATE_VERSION + 1));
        assert!(matches!(PartitionState::decode(b"rubbish"), Err(StoredError::Malformed(_))));
    }
}
