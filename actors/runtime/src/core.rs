//! The loop's decisions without I/O: the state of a partition, and how each input changes it.
//!
//! Inputs: messages, loaded entities, the fate of commits, fan-out progress, the time. Outputs: entities to
//! load, a record to append, replies to send. The asynchronous loop in [`crate::partition`] and the
//! simulation drive the same code.

mod repeats;
mod waking;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use actors_core::{GateRequest, Gates, Instance, Opening, Registry};
use bus_client::ReplyTo;
use bus_schemas::ids::Epoch;
use bus_schemas::record::{CommitRecord, Mail, RECORD_VERSION, Source, Turn};
use bus_schemas::{
    CommandId, EntityAddress, Hash, LogSequence, PartitionId, Refusal, Timestamp, envelope::code, record,
};
use bytes::Bytes;
use smol_str::SmolStr;

use crate::bounds::Bounds;
use crate::claims;
use crate::decide::{self, TurnContext};
use crate::fanout::{LAG_RECORDS_MAX, LAG_TURNS_MAX};
use crate::fold::{CACHE_ENTITIES_MAX, Cache, Cached, EntitySnapshot, Loaded};
use crate::inbox::{Item, Queue, Unreadable, busy_reply, place_id, refusal_reply};
use crate::journal::{AddressedReply, Commit, Committed, Group, InFlight, Issue};
use crate::observer::CommitObserver;
use crate::park::Parked;
use crate::recent::{Known, Place};
use crate::renewals::Renewals;
use crate::replies::{REPLIES_BYTES_MAX, Replies};
use crate::state::PartitionState;
use crate::stuck::Stuck;
use crate::tenure::Tenure;
use crate::versions::{Newer, Newest};

mod claiming;
mod viewing;

/// Entities that are loaded at once: enough to hide the round trips of a cold group, few enough not to flood
/// the server's disk.
pub const LOADS_MAX: usize = 64;
/// Timers taken in one pass; the rest follows in the next group.
const TIMERS_TAKEN_MAX: usize = 512;
/// Waiting commands whose entities are loaded ahead.
const LOOKAHEAD: usize = 256;

/// The configuration of a partition.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The partition.
    pub partition: PartitionId,
    /// The number of partitions of the installation.
    pub partitions: u16,
    /// This host's name, for commit records.
    pub host: SmolStr,
    /// The largest size of a record, in bytes.
    pub record_bytes_max: usize,
    /// The most live entities in the cache.
    pub cache_entities_max: usize,
    /// The most bytes of replies kept for repeated commands.
    pub replies_bytes_max: usize,
    /// The gates that may refuse a command before it is decided.
    pub gates: Gates,
    /// Bounds that may change at run time.
    pub bounds: Bounds,
    /// Whether a host with a newer program runs.
    pub newest: Newest,
    /// The host's pool of claims.
    pub places: claims::ClaimPool,
    /// How long the lease is valid.
    pub tenure: Tenure,
    /// Stages that do not make progress, for health reports.
    pub stuck: Stuck,
    /// The observer of committed records.
    pub observer: Option<Arc<dyn CommitObserver>>,
}

/// The current time: the wall clock, which may be set, and the monotonic clock, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The wall clock: recorded, and visible to entities.
    pub now: Timestamp,
    /// The monotonic clock: measures leases and waiting times.
    pub steady: u64,
}

impl Settings {
    /// Settings with the default bounds.
    pub fn new(partition: PartitionId, partitions: u16, host: &str, record_bytes_max: usize) -> Self {
        let host = SmolStr::new(host);
        Self {
            partition,
            partitions,
            host,
            record_bytes_max,
            cache_entities_max: CACHE_ENTITIES_MAX,
            replies_bytes_max: REPLIES_BYTES_MAX,
            gates: Gates::default(),
            bounds: Bounds::default(),
            newest: Newest::default(),
            places: claims::ClaimPool::default(),
            tenure: Tenure::endless(),
            stuck: Stuck::default(),
            observer: None,
        }
    }
}

/// A partition in the memory of its host.
#[derive(Debug)]
pub struct Core {
    settings: Settings,
    registry: Arc<Registry>,
    /// The state determined by the log and the turns decided since.
    pub state: PartitionState,
    cache: Cache,
    queue: Queue,
    group: Group,
    in_flight: Option<InFlight>,
    /// The number of the last committed group.
    committed: u64,
    /// The number of the last group whose events are published.
    fanned_out: u64,
    /// Committed groups whose events are not published yet, by log sequence: group number and turns.
    leaving: BTreeMap<LogSequence, (u64, usize)>,
    dead_done: LogSequence,
    queued_inbox: u64,
    queued_mail: BTreeMap<PartitionId, u64>,
    queued_timers: HashMap<(EntityAddress, SmolStr), Timestamp>,
    /// Whether a gate suspended the timers of some kind at the last look.
    timers_rest: bool,
    answers: Vec<AddressedReply>,
    /// Claims whose jobs are committed, to be answered.
    issued: Vec<Issue>,
    /// The open work of entities, for workers that claim.
    openings: BTreeMap<EntityAddress, Vec<Opening>>,
    /// Whether the pool has to be told of changed openings.
    openings_changed: bool,
    /// Whether to look for a claim that fits an opening.
    looks_for_places: bool,
    /// Claims that were used and are not answered yet.
    used: HashMap<CommandId, claiming::Used>,
    /// The jobs of claims that were answered recently.
    answered: claiming::Answered,
    /// The queries that wait.
    parked: Parked,
    /// The deadlines of the leases that workers hold.
    renewals: Renewals,
    /// The number of leases that have lapsed here.
    lapses: u64,
    /// The replies of the newest records.
    replies: Replies,
    /// Repeated commands whose replies have to be read from the log.
    repeats: repeats::Repeats,
    /// A sequence of the event stream below all events that are not published yet.
    events_place: u64,
    /// Entity snapshots by the group whose events must be published before they may be written.
    snapshots: BTreeMap<u64, Vec<(EntityAddress, EntitySnapshot)>>,
    snapshot_wanted: bool,
    /// Whether the next command waits for a host with a newer program.
    leaves: bool,
}

/// A record that does not follow the one before it.
#[derive(Debug, thiserror::Error)]
#[error("record {sequence} of partition {partition} does not follow the one before it")]
pub struct RecoverError {
    /// The partition.
    pub partition: PartitionId,
    /// The record whose `previous` is not the hash of the record before it.
    pub sequence: LogSequence,
}

/// However a partition ends, also fenced or by a failure, its open work must not keep claims from others.
impl Drop for Core {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Core {
    /// A partition from a snapshot, or an empty one.
    pub fn new(settings: Settings, registry: Arc<Registry>, snapshot: Option<PartitionState>) -> Self {
        let mut state = snapshot.unwrap_or_default();
        state.partition = settings.partition;
        let cache = Cache::new(settings.cache_entities_max);
        Self {
            settings,
            registry,
            state,
            cache,
            queue: Queue::default(),
            group: Group { number: 1, ..Group::default() },
            in_flight: None,
            committed: 0,
            fanned_out: 0,
            leaving: BTreeMap::new(),
            dead_done: LogSequence(0),
            queued_inbox: 0,
            queued_mail: BTreeMap::new(),
            queued_timers: HashMap::new(),
            timers_rest: false,
            answers: Vec::new(),
            issued: Vec::new(),
            openings: BTreeMap::new(),
            openings_changed: false,
            looks_for_places: false,
            used: HashMap::new(),
            answered: claiming::Answered::default(),
            parked: Parked::default(),
            renewals: Renewals::default(),
            lapses: 0,
            replies: Replies::default(),
            repeats: repeats::Repeats::default(),
            events_place: 0,
            snapshots: BTreeMap::new(),
            snapshot_wanted: false,
            leaves: false,
        }
    }

    /// Events in the log that this program cannot read. A host must not take such a partition over: its
    /// entities would stop, and their commands would become dead letters.
    pub fn beyond(&self) -> Option<Newer> {
        let known = |kind| self.registry.schema(kind).unwrap_or_default();
        let mut beyond = self.state.written.iter().filter(|(kind, schema)| known(kind) < **schema);
        beyond.next().map(|(kind, found)| Newer::Events {
            kind: kind.clone(),
            found: *found,
            known: known(kind),
        })
    }

    /// Applies a record of the log during a takeover; records that the snapshot covers change nothing. `hash`
    /// is the hash of the record's bytes in the log.
    pub fn recover(
        &mut self,
        sequence: LogSequence,
        hash: Hash,
        record: &CommitRecord,
    ) -> Result<(), RecoverError> {
        let partition = self.settings.partition;
        if sequence <= self.state.last {
            return Ok(());
        }
        if record.previous != self.state.previous {
            return Err(RecoverError { partition, sequence });
        }
        for (index, turn) in record.turns.iter().enumerate() {
            self.state.apply_turn(turn);
            self.state.recent.remember(turn, Place::Record(sequence, index));
            self.answered.note(turn);
        }
        self.replies.keep(sequence, record, self.settings.replies_bytes_max);
        self.state.apply_record(sequence, hash, record);
        Ok(())
    }

    /// The record that fences the former owner. Append it before any other record.
    pub fn take_over(&mut self, Moment { now, steady }: Moment) -> Commit {
        for lease in self.state.leases.iter() {
            self.renewals.begin_anew((lease.entity.clone(), lease.name.clone()), lease.ms, steady);
        }
        self.state.epoch = Epoch(self.state.epoch.0 + 1);
        self.dead_done = self.state.dead_out;
        self.queued_inbox = self.state.inbox;
        self.queued_mail = self.state.mail.clone();
        let own: Vec<Mail> =
            self.state.outbox.waiting(self.settings.partition, usize::MAX).cloned().collect();
        for mail in own {
            self.queue.push_own(Item::from_mail(self.settings.partition, mail));
        }
        self.commit(now)
    }

    /// Queues a message. A caller is refused as busy when the queue is full.
    pub fn offer(&mut self, item: Item) {
        match &item.source {
            Source::Ask if !self.queue.has_room(self.settings.bounds.queue_items()) => {
                return self
                    .answers
                    .extend(item.reply_to.map(|to| AddressedReply::answer(to, busy_reply(item.command.id))));
            }
            Source::Inbox(sequence) if *sequence <= self.queued_inbox => return,
            Source::Inbox(sequence) => self.queued_inbox = *sequence,
            Source::Mail(from, number) => {
                let queued = self.queued_mail.entry(*from).or_default();
                // A gap means that a parcel was lost: its sender sends it again.
                if *number != *queued + 1 {
                    return;
                }
                *queued = *number;
            }
            Source::Ask | Source::Timer(_) | Source::Lease(_) | Source::Claim => {}
        }
        self.queue.push(item);
    }

    /// Queues the timers and leases that are due.
    pub fn fire(&mut self, Moment { now, steady }: Moment) {
        self.fire_leases(steady);
        self.tell_to_come_again(steady);
        let resting = self.settings.gates.resting();
        self.timers_rest = !resting.is_empty();
        for timer in self.state.timers.due(now, TIMERS_TAKEN_MAX, |entity| !resting.contains(&&entity.kind)) {
            let key = (timer.entity.clone(), timer.name.clone());
            if self.queued_timers.get(&key) == Some(&timer.at) {
                continue;
            }
            self.queued_timers.insert(key, timer.at);
            let id = decide::timer_command_id(&timer.entity, &timer.name, timer.at);
            self.queue.push(Item::from_timer(timer.entity, timer.name, timer.body, id, timer.trace));
        }
    }

    /// When the loop must look at the timers again. `None` while all due timers are queued, and while a gate
    /// suspends some: then the next tick is soon enough for the others.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.state.timers.next().filter(|_| self.queued_timers.is_empty() && !self.timers_rest)
    }

    /// The entities to load for the next commands.
    pub fn missing(&self) -> Vec<EntityAddress> {
        let mut missing: Vec<EntityAddress> = Vec::new();
        let waiting = self.queue.iter().take(LOOKAHEAD).filter_map(|item| item.to.as_ref().ok());
        // An entity with open work stays in memory: no command would wake it.
        for entity in waiting.chain(&self.state.open) {
            if self.waits_for(entity) && !self.is_new(entity) && !missing.contains(entity) {
                missing.push(entity.clone());
                if missing.len() == LOADS_MAX {
                    break;
                }
            }
        }
        missing
    }

    /// Puts a loaded entity into the cache.
    pub fn loaded(&mut self, entity: EntityAddress, loaded: Loaded) {
        if let Err(stopped) = &loaded.instance {
            tracing::error!(actor = %entity, reason = stopped.reason, "entity stopped; its commands are refused");
        }
        if !self.cache.holds(&entity) {
            self.cache.insert(entity.clone(), loaded);
            self.look_for_openings(&entity);
        }
    }

    fn is_ours(&self, entity: &EntityAddress) -> bool {
        entity.partition(self.settings.partitions) == self.settings.partition
    }

    /// Decides waiting commands until the group is full or an entity must be loaded first.
    pub fn decide_waiting(&mut self, moment: Moment) {
        while self.may_decide() {
            // The partition's own mail goes first: it may complete the answer to the last claim.
            if !self.queue.has_own()
                && let Some((item, offer)) = self.take_place()
            {
                self.use_claim(item, offer, moment);
                continue;
            }
            let Some(item) = self.queue.peek() else { break };
            if let Ok(entity) = &item.to
                && self.waits_for(entity)
            {
                let entity = entity.clone();
                if !self.begin(entity) {
                    break;
                }
                continue;
            }
            self.leaves = self.is_for_newer(item);
            if self.leaves {
                break;
            }
            let Some(item) = self.queue.pop() else { break };
            self.take(item, moment);
        }
        self.tell_openings(moment);
    }

    /// Whether to leave a command undecided: this program does not know it, and a newer program is about to
    /// take the partition over. Decided here, it would become a dead letter.
    fn is_for_newer(&self, item: &Item) -> bool {
        let Ok(entity) = &item.to else { return false };
        if !self.settings.newest.is_another() || !self.is_ours(entity) {
            return false;
        }
        let understood = |instance: &dyn Instance| instance.understands(&item.command.body);
        !self.registry.knows(&entity.kind) || self.cache.look(entity).is_some_and(|live| !understood(live))
    }

    /// Whether to decide another command. A requested snapshot first waits until no turn is open.
    fn may_decide(&self) -> bool {
        let quiet = self.group.turns.is_empty() && self.in_flight.is_none();
        self.group.has_room(self.settings.record_bytes_max) && (quiet || !self.snapshot_wanted)
    }

    /// Decides one command, unless it was applied before or its timer is no longer set.
    fn take(&mut self, item: Item, moment: Moment) {
        if item.is_query {
            return self.answer_query(item, moment);
        }
        let now = moment.now;
        let Item { source, reply_to, to, command, .. } = item;
        if let (Source::Timer(name), Ok(entity)) = (&source, &to) {
            let key = (entity.clone(), name.clone());
            let queued = self.queued_timers.get(&key).copied();
            // A timer that was set again while this command waited has a queue entry of its own, which must
            // stay.
            let ours = queued.filter(|at| command.id == decide::timer_command_id(entity, name, *at));
            let Some(at) = ours else { return };
            self.queued_timers.remove(&key);
            if !self.state.timers.is_set(entity, name, at, &command.body) {
                return;
            }
        }
        if matches!(source, Source::Ask | Source::Inbox(_))
            && self.is_repeated(&source, reply_to.as_ref(), &to, &command)
        {
            return;
        }
        if let (Source::Ask, Ok(entity)) = (&source, &to)
            && !self.is_ours(entity)
        {
            let home = entity.partition(self.settings.partitions);
            let refusal = Refusal::new(code::WRONG_PARTITION, format!("`{entity}` lives in partition {home}"))
                .hint("compute the partition from the key's first token, or ask on `request`; asking again here does not help");
            return self.refuse(reply_to, command.id, refusal);
        }
        let turn_context = self.turn_context(now);
        if let Source::Inbox(sequence) = source
            && matches!(self.known(&to, &command), Known::Reused(_))
        {
            let turn = decide::reused(
                to,
                source,
                command,
                place_id(self.settings.partition, sequence),
                &turn_context,
            );
            return self.keep(turn, reply_to, moment);
        }
        let turn = self.decide(to, source, command, now);
        self.keep(turn, reply_to, moment);
    }

    fn refuse(&mut self, reply_to: Option<ReplyTo>, id: CommandId, refusal: Refusal) {
        self.answers
            .extend(reply_to.map(|reply_to| AddressedReply::answer(reply_to, refusal_reply(id, refusal))));
    }

    /// Decides a command. The turn is not kept yet.
    fn decide(
        &mut self,
        to: Result<EntityAddress, Unreadable>,
        source: Source,
        command: record::Command,
        now: Timestamp,
    ) -> Turn {
        let turn_context = TurnContext {
            outbox: &self.state.outbox,
            partitions: self.settings.partitions,
            now,
            undeliverable: self.registry.undeliverable(),
        };
        match to {
            Err(unreadable) => decide::unreadable(unreadable, source, command, &turn_context),
            Ok(to) if to.partition(self.settings.partitions) != self.settings.partition => {
                decide::forward(to, source, command, &turn_context)
            }
            Ok(to) => match self.cache.get(&to) {
                None => decide::unknown_kind(to, source, command, &turn_context),
                Some(cached) => {
                    let request = GateRequest {
                        entity: &to,
                        source: Some(&source),
                        caller: command.caller.as_ref(),
                        body: &command.body,
                        now,
                        memory: cached.memory(),
                    };
                    match self.settings.gates.admit(&request) {
                        Err(refusal) => decide::undecided(to, source, command, refusal, &turn_context),
                        Ok(()) => {
                            cached.group = self.group.number;
                            decide::decide(cached, to, source, command, &turn_context)
                        }
                    }
                }
            },
        }
    }

    fn turn_context(&self, now: Timestamp) -> TurnContext<'_> {
        let undeliverable = self.registry.undeliverable();
        TurnContext { outbox: &self.state.outbox, partitions: self.settings.partitions, now, undeliverable }
    }

    /// Sends a reply after the commit of a group, or at once when the group is committed already.
    fn tell_behind(&mut self, group: u64, told: AddressedReply) {
        if group == self.group.number {
            self.group.replies.push(told);
        } else if let Some(in_flight) = self.in_flight.as_mut().filter(|in_flight| in_flight.group == group) {
            in_flight.replies.push(told);
        } else {
            self.answers.push(told);
        }
    }

    /// Adds a turn to the group. An unreadable ask leaves no record: nothing happened, and its caller gets
    /// the refusal.
    fn keep(&mut self, mut turn: Turn, reply_to: Option<ReplyTo>, moment: Moment) {
        let is_poison = turn.refusal.as_ref().is_some_and(|refusal| refusal.code == code::POISON);
        if turn.source == Source::Ask && turn.dead.is_some() && !is_poison {
            self.answers.extend(reply_to.map(|reply_to| AddressedReply::answer(reply_to, turn.reply)));
            return;
        }
        crate::trace::decided(&mut turn);
        self.follow(&mut turn, moment);
        self.state.apply_turn(&turn);
        let place = Place::Group(self.group.number, self.group.turns.len());
        self.state.recent.remember(&turn, place);
        for mail in turn.sends.iter().filter(|mail| mail.partition == self.settings.partition) {
            self.queue.push_own(Item::from_mail(mail.partition, mail.clone()));
        }
        self.snapshot(&turn.entity);
        self.group.push(turn, reply_to);
    }

    /// The record to append, if there are turns and no record is in flight.
    pub fn close_group(&mut self, now: Timestamp) -> Option<Commit> {
        (self.in_flight.is_none() && !self.group.turns.is_empty()).then(|| self.commit(now))
    }

    fn commit(&mut self, now: Timestamp) -> Commit {
        // Under load a group is about as large as the one before it.
        let turns = Vec::with_capacity(self.group.turns.len());
        let next = Group { number: self.group.number + 1, turns, ..Group::default() };
        let mut group = std::mem::replace(&mut self.group, next);
        let record = CommitRecord {
            version: RECORD_VERSION,
            partition: self.settings.partition,
            epoch: self.state.epoch,
            host: self.settings.host.clone(),
            at: now,
            previous: self.state.previous,
            position: self.state.position(),
            mail_out: self.state.outbox.received(),
            dead_out: self.dead_done.0,
            turns: std::mem::take(&mut group.turns),
            detached: Vec::new(),
        };
        let (bytes, blobs) = match record.detach() {
            None => (record.encode_into(Vec::with_capacity(group.bytes)), Vec::new()),
            Some((slim, blobs)) => (slim.encode(), blobs),
        };
        let bytes = Bytes::from(bytes);
        let commit = Commit { partition: self.settings.partition, expected: self.state.last, bytes, blobs };
        let hash = Hash::of(&commit.bytes);
        let Group { number: group, replies, issues, .. } = group;
        self.in_flight = Some(InFlight { record, hash, group, replies, issues });
        commit
    }

    /// The record in flight is committed: releases its replies and jobs.
    pub fn committed(&mut self, sequence: LogSequence) -> Option<Committed> {
        let InFlight { record, hash, group, replies, issues } = self.in_flight.take()?;
        self.state.last = sequence;
        self.state.previous = hash;
        self.state.recent.committed(group, sequence);
        self.replies.keep(sequence, &record, self.settings.replies_bytes_max);
        self.state.dead_out = LogSequence(record.dead_out);
        self.committed = group;
        self.leaving.insert(sequence, (group, record.turns.len()));
        self.answers.extend(replies);
        for turn in &record.turns {
            self.answered.note(turn);
        }
        self.issued.extend(issues);
        Some(Committed { sequence, record, group })
    }

    /// All events of the records up to `sequence` are published. Later events get stream sequences above
    /// `place`.
    pub fn fanned_out(&mut self, sequence: LogSequence, place: u64) {
        let rest = self.leaving.split_off(&sequence.next());
        if let Some((_, (group, _))) = self.leaving.pop_last() {
            self.fanned_out = self.fanned_out.max(group);
        }
        self.leaving = rest;
        self.events_place = self.events_place.max(place);
        self.passivate();
    }

    /// All dead letters of the records up to `sequence` are published.
    pub fn dead_out(&mut self, sequence: LogSequence) {
        self.dead_done = self.dead_done.max(sequence);
    }

    /// A receiver has applied mail up to `upto`; `true` if that was not known.
    pub fn receipt(&mut self, from: PartitionId, upto: u64) -> bool {
        from != self.settings.partition && self.state.outbox.receipt(from, upto)
    }

    /// The number up to which a sender's mail is committed: the content of a receipt.
    pub fn mail_committed(&self, from: PartitionId) -> u64 {
        let pending = self.in_flight.is_some() || !self.group.turns.is_empty();
        let turns =
            self.in_flight.iter().flat_map(|in_flight| &in_flight.record.turns).chain(&self.group.turns);
        let applied = self.state.mail.get(&from).copied().unwrap_or_default();
        if !pending {
            return applied;
        }
        let open = turns.filter_map(|turn| match turn.source {
            Source::Mail(sender, number) if sender == from => Some(number - 1),
            _ => None,
        });
        open.min().unwrap_or(applied).min(applied)
    }

    /// Requests a snapshot of the partition at the next moment without open turns.
    pub fn want_snapshot(&mut self) {
        self.snapshot_wanted = true;
    }

    /// The requested snapshot, once no turn is open.
    pub fn take_snapshot(&mut self) -> Option<Vec<u8>> {
        let quiet = self.in_flight.is_none() && self.group.turns.is_empty();
        if !(self.snapshot_wanted && quiet) {
            return None;
        }
        self.snapshot_wanted = false;
        Some(self.state.encode())
    }

    /// Whether no command waits for this program, no turn is open and no record is in flight.
    pub fn is_idle(&self) -> bool {
        (self.queue.is_empty() || self.leaves) && self.group.turns.is_empty() && self.in_flight.is_none()
    }
    /// Whether a record is in flight.
    pub fn is_committing(&self) -> bool {
        self.in_flight.is_some()
    }
    /// Whether the queue has room for another command from outside.
    pub fn has_room(&self) -> bool {
        self.queue.len() < self.settings.bounds.queue_items()
    }
    /// The number of waiting commands.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }
    /// The live entities, most recently used first.
    pub fn entities(&self) -> impl Iterator<Item = (&EntityAddress, &Cached)> {
        self.cache.iter()
    }
    /// The number of live entities.
    pub fn live(&self) -> usize {
        self.cache.len()
    }
    /// The number of committed records whose events are not published yet.
    pub fn fanout_lag(&self) -> usize {
        self.leaving.len()
    }
    /// Whether the fan-out lags so far that the next append waits.
    pub fn is_fanout_full(&self) -> bool {
        let turns = self.leaving.values().map(|(_, turns)| turns).sum::<usize>();
        self.leaving.len() >= LAG_RECORDS_MAX || turns >= LAG_TURNS_MAX
    }
    /// The partition.
    pub fn partition(&self) -> PartitionId {
        self.settings.partition
    }
}
