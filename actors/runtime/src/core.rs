//! The loop's decisions without I/O: what a partition knows, and what each input makes of it.
//!
//! Inputs: messages, loaded entities, the fate of commits, progress of the fan-out, the time.
//! Outputs: entities to load, a record to append, answers to send. The asynchronous loop in
//! [`crate::partition`] and the simulation drive the same code.

mod repeats;
mod waking;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use actors_core::{Instance, Opening, Registry};
use bus_client::{Chaos, HaltWatch, ReplyTo};
use bus_schemas::ids::Epoch;
use bus_schemas::record::{CommitRecord, Mail, RECORD_VERSION, Source, Turn};
use bus_schemas::{
    CommandId, EntityAddress, Hash, LogSequence, PartitionId, Refusal, Timestamp, envelope::code, record,
};
use bytes::Bytes;
use smol_str::SmolStr;

pub use self::repeats::Repeat;
use crate::bounds::Bounds;
use crate::claims;
use crate::decide::{self, Desk};
use crate::fanout::{LAG_RECORDS_MAX, LAG_TURNS_MAX};
use crate::fold::{CACHE_ENTITIES_MAX, Cache, Cached, EntitySnapshot, Loaded};
use crate::inbox::{Item, Queue, Unreadable, busy_reply, place_id, refusal_reply};
use crate::journal::{Commit, Committed, Group, InFlight, Issue, Told};
use crate::observer::CommitObserver;
use crate::park::Parked;
use crate::quarantine::Quarantine;
use crate::recent::{Known, Place};
use crate::renewals::Renewals;
use crate::state::PartitionState;
use crate::stuck::Stuck;
use crate::tenure::Tenure;
use crate::versions::{Newer, Newest};

mod claiming;
mod viewing;

/// Entities of waiting commands that are loaded at once: enough to hide the round trips of a cold
/// group, few enough that the server's disk is not asked for everything at the same time.
pub const LOADS_MAX: usize = 64;
/// Timers that are taken at once; the rest follows in the next group.
const TIMERS_TAKEN_MAX: usize = 512;
/// Commands behind the first one whose entities are loaded ahead.
const LOOKAHEAD: usize = 256;

/// What a partition needs to know of its installation.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Which partition.
    pub partition: PartitionId,
    /// How many there are.
    pub partitions: u16,
    /// This host's name, for the record.
    pub host: SmolStr,
    /// The largest record in bytes.
    pub record_bytes_max: usize,
    /// Live entities that it keeps.
    pub cache_entities_max: usize,
    /// The entities that take no commands.
    pub quarantine: Quarantine,
    /// What stands still.
    pub halts: HaltWatch,
    /// What may change while it runs.
    pub bounds: Bounds,
    /// What is disturbed on purpose, and whether anything may be.
    pub chaos: Chaos,
    /// Whether a host with a newer program is there.
    pub newest: Newest,
    /// The free places of workers.
    pub places: claims::Desk,
    /// Whether the lease is valid.
    pub tenure: Tenure,
    /// What does not go on.
    pub stuck: Stuck,
    /// Who hears of what is committed.
    pub observer: Option<Arc<dyn CommitObserver>>,
}

/// A moment: the time, which may be set, and that of the clock that never goes back, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// What records and entities are told.
    pub now: Timestamp,
    /// What leases and waiting are measured with.
    pub steady: u64,
}

impl Settings {
    /// Settings with the default bounds.
    pub fn new(partition: PartitionId, partitions: u16, host: &str, record_bytes_max: usize) -> Self {
        let host = SmolStr::new(host);
        let (cache_entities_max, quarantine) = (CACHE_ENTITIES_MAX, Quarantine::default());
        let bounds = Bounds::default();
        Self {
            partition,
            partitions,
            host,
            record_bytes_max,
            cache_entities_max,
            quarantine,
            halts: HaltWatch::none(),
            bounds,
            chaos: Chaos::none(),
            newest: Newest::default(),
            places: claims::Desk::default(),
            tenure: Tenure::endless(),
            stuck: Stuck::default(),
            observer: None,
        }
    }
}

/// A partition as one host knows it.
#[derive(Debug)]
pub struct Core {
    settings: Settings,
    registry: Arc<Registry>,
    /// What the log and the turns since then determine.
    pub state: PartitionState,
    cache: Cache,
    queue: Queue,
    group: Group,
    in_flight: Option<InFlight>,
    /// The last group that is committed.
    committed: u64,
    /// The last group whose events are out.
    fanned_out: u64,
    /// Groups that are committed and not fanned out, with their sequences, and how many turns each has.
    leaving: BTreeMap<LogSequence, (u64, usize)>,
    dead_done: LogSequence,
    queued_inbox: u64,
    queued_mail: BTreeMap<PartitionId, u64>,
    queued_timers: HashMap<(EntityAddress, SmolStr), Timestamp>,
    /// Whether a halt stood when timers were looked at last.
    timers_rest: bool,
    answers: Vec<Told>,
    /// The claims whose jobs are committed.
    issued: Vec<Issue>,
    /// The work that entities have for workers who claim.
    openings: BTreeMap<EntityAddress, Vec<Opening>>,
    /// Whether the pool has not heard of it yet.
    openings_changed: bool,
    /// Whether there may be a place for it that was not looked for.
    looks_for_places: bool,
    /// The claims that are used and not answered yet.
    used: HashMap<CommandId, claiming::Used>,
    /// The answers of claims that were used lately.
    answered: claiming::Answered,
    /// The queries that wait.
    parked: Parked,
    /// Until when what is held is to be renewed.
    renewals: Renewals,
    /// How many leases have lapsed here.
    lapses: u64,
    /// Repeats whose answers must be read from the log.
    repeats: Vec<Repeat>,
    /// A sequence of the event stream: what is not out yet will stand behind it.
    events_place: u64,
    /// Snapshots of entities by the group whose events must be out before they are true.
    snapshots: BTreeMap<u64, Vec<(EntityAddress, EntitySnapshot)>>,
    snapshot_wanted: bool,
    /// Whether the next command is left to a newer program.
    leaves: bool,
}

/// A record can not follow.
#[derive(Debug, thiserror::Error)]
#[error("record {sequence} of partition {partition} does not follow the one before it")]
pub struct RecoverError {
    /// The partition.
    pub partition: PartitionId,
    /// The record whose `previous` is not the hash of the one before it.
    pub sequence: LogSequence,
}

/// However a partition ends here, also fenced or by a fault: work that it had must keep no claim from others.
impl Drop for Core {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Core {
    /// A partition with what a snapshot says, or a fresh one.
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
            repeats: Vec::new(),
            events_place: 0,
            snapshots: BTreeMap::new(),
            snapshot_wanted: false,
            leaves: false,
        }
    }

    /// What the log holds that this program can not read. A partition of which that is true must not
    /// be taken over: its entities would stop, and their commands become dead letters.
    pub fn beyond(&self) -> Option<Newer> {
        let known = |kind| self.registry.schema(kind).unwrap_or_default();
        let mut beyond = self.state.written.iter().filter(|(kind, schema)| known(kind) < **schema);
        beyond.next().map(|(kind, found)| Newer::Events {
            kind: kind.clone(),
            found: *found,
            known: known(kind),
        })
    }

    /// Reads a record of the log at a takeover. Those that the snapshot covers change nothing. `hash` is
    /// that of the record's bytes in the log.
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
        self.state.apply_record(sequence, hash, record);
        Ok(())
    }

    /// The record that fences the former owner. Append it before anything else.
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

    /// Takes a message in. A caller for whom there is no room is told so.
    pub fn offer(&mut self, item: Item) {
        match &item.source {
            Source::Ask if !self.queue.has_room(self.settings.bounds.queue_items()) => {
                return self.turn_away(item);
            }
            Source::Inbox(sequence) if *sequence <= self.queued_inbox => return,
            Source::Inbox(sequence) => self.queued_inbox = *sequence,
            Source::Mail(from, number) => {
                let queued = self.queued_mail.entry(*from).or_default();
                // A gap means that a parcel was lost: the sender sends it again.
                if *number != *queued + 1 {
                    return;
                }
                *queued = *number;
            }
            Source::Ask | Source::Timer(_) | Source::Lease(_) | Source::Claim => {}
        }
        self.queue.push(item);
    }

    /// Tells a caller that there is no room.
    pub(crate) fn turn_away(&mut self, item: Item) {
        if let Some(reply_to) = item.reply_to {
            self.answers.push(Told::answer(reply_to, busy_reply(item.command.id)));
        }
    }

    /// Queues the timers that are due.
    pub fn fire(&mut self, Moment { now, steady }: Moment) {
        self.fire_leases(steady);
        self.tell_to_come_again(steady);
        let halted = self.settings.halts.read(|halts| halts.all().is_some());
        let rests = |entity: &EntityAddress| halted && self.registry.rests_under_halt(&entity.kind);
        self.timers_rest = halted;
        for timer in self.state.timers.due(now, TIMERS_TAKEN_MAX, |entity| !rests(entity)) {
            let key = (timer.entity.clone(), timer.name.clone());
            if self.queued_timers.get(&key) == Some(&timer.at) {
                continue;
            }
            self.queued_timers.insert(key, timer.at);
            let id = decide::timer_command_id(&timer.entity, &timer.name, timer.at);
            self.queue.push(Item::from_timer(timer.entity, timer.name, timer.body, id, timer.trace));
        }
    }

    /// When the loop must look at the timers again: none while all that are due are queued already,
    /// and none under a halt, when the next tick is soon enough for those that do not wait.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.state.timers.next().filter(|_| self.queued_timers.is_empty() && !self.timers_rest)
    }

    /// The entities that the next commands need and that are not live.
    pub fn missing(&self) -> Vec<EntityAddress> {
        let mut missing: Vec<EntityAddress> = Vec::new();
        let waiting = self.queue.iter().take(LOOKAHEAD).filter_map(|item| item.to.as_ref().ok());
        // What has work for workers is in memory: nobody else would wake it.
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

    /// Takes a loaded entity in.
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
            // Mail of the partition to itself first: it may be the answer to the last claim.
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

    /// Whether a command is left undecided, because this program does not know it and one that may is
    /// about to take the partition over: here it would become a dead letter.
    fn is_for_newer(&self, item: &Item) -> bool {
        let Ok(entity) = &item.to else { return false };
        if !self.settings.newest.is_another() || !self.is_ours(entity) {
            return false;
        }
        let understood = |instance: &dyn Instance| instance.understands(&item.command.body);
        !self.registry.knows(&entity.kind) || self.cache.look(entity).is_some_and(|live| !understood(live))
    }

    /// A wanted snapshot waits for a moment in which nothing is decided and not committed.
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
            // One that was set anew while this one waited is queued itself, and must not be taken off.
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
        if source == Source::Ask
            && let Ok(entity) = &to
            && let Some(refusal) = self.halted(entity, &command, now)
        {
            return self.refuse(reply_to, command.id, refusal);
        }
        let desk = Desk { outbox: &self.state.outbox, partitions: self.settings.partitions, now };
        if let Source::Inbox(sequence) = source
            && matches!(self.known(&to, &command), Known::Reused(_))
        {
            let turn =
                decide::reused(to, source, command, place_id(self.settings.partition, sequence), &desk);
            return self.keep(turn, reply_to, moment);
        }
        let turn = self.decide(to, source, command, now);
        self.keep(turn, reply_to, moment);
    }

    fn refuse(&mut self, reply_to: Option<ReplyTo>, id: CommandId, refusal: Refusal) {
        self.answers.extend(reply_to.map(|reply_to| Told::answer(reply_to, refusal_reply(id, refusal))));
    }

    /// What a command leads to. Nothing is kept yet.
    fn decide(
        &mut self,
        to: Result<EntityAddress, Unreadable>,
        source: Source,
        command: record::Command,
        now: Timestamp,
    ) -> Turn {
        let desk = Desk { outbox: &self.state.outbox, partitions: self.settings.partitions, now };
        match to {
            Err(unreadable) => decide::unreadable(unreadable, source, command, &desk),
            Ok(to) if to.partition(self.settings.partitions) != self.settings.partition => {
                decide::forward(to, source, command, &desk)
            }
            Ok(to) if self.settings.quarantine.holds(&to) => decide::quarantined(to, source, command, &desk),
            Ok(to) => match self.cache.get(&to) {
                None => decide::unknown_kind(to, source, command, &desk),
                Some(cached) => {
                    cached.group = self.group.number;
                    let refusal = self.settings.chaos.refusal();
                    match refusal.filter(|_| cached.is_experiment(&command.body)) {
                        Some(refusal) => decide::forbidden(to, source, command, refusal.clone(), &desk),
                        None => decide::decide(cached, to, source, command, &desk),
                    }
                }
            },
        }
    }

    /// Why a command from a caller must not begin its work now, or go on with it.
    fn halted(&self, entity: &EntityAddress, command: &record::Command, now: Timestamp) -> Option<Refusal> {
        self.settings.halts.read(|halts| {
            // Nearly always none stands.
            let instance = if halts.is_empty() { return None } else { self.cache.look(entity)? };
            instance.admit(&command.body, halts, (entity, now)).err()
        })
    }

    /// Tells something after the commit of a group; at once, if that was before.
    fn tell_behind(&mut self, group: u64, told: Told) {
        if group == self.group.number {
            self.group.replies.push(told);
        } else if let Some(in_flight) = self.in_flight.as_mut().filter(|in_flight| in_flight.group == group) {
            in_flight.replies.push(told);
        } else {
            self.answers.push(told);
        }
    }

    /// Puts a turn into the group. An ask that could not be read at all leaves no trace: nothing
    /// happened, and the caller knows.
    fn keep(&mut self, mut turn: Turn, reply_to: Option<ReplyTo>, moment: Moment) {
        let class = turn.dead.as_ref().map(|dead| dead.class.as_str());
        if turn.source == Source::Ask && class.is_some_and(|class| class != code::POISON) {
            self.answers.extend(reply_to.map(|reply_to| Told::answer(reply_to, turn.reply)));
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

    /// A record to append, when there are turns and none is in flight.
    pub fn close_group(&mut self, now: Timestamp) -> Option<Commit> {
        (self.in_flight.is_none() && !self.group.turns.is_empty()).then(|| self.commit(now))
    }

    fn commit(&mut self, now: Timestamp) -> Commit {
        // Groups under load are about as large as the one before.
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

    /// The record in flight is in the log: who waited for it may be answered.
    pub fn committed(&mut self, sequence: LogSequence) -> Option<Committed> {
        let InFlight { record, hash, group, replies, issues } = self.in_flight.take()?;
        self.state.last = sequence;
        self.state.previous = hash;
        self.state.recent.committed(group, sequence);
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

    /// All events of the records up to `sequence` are in the event stream. What follows stands behind its
    /// sequence `place`.
    pub fn fanned_out(&mut self, sequence: LogSequence, place: u64) {
        let rest = self.leaving.split_off(&sequence.next());
        if let Some((_, (group, _))) = self.leaving.pop_last() {
            self.fanned_out = self.fanned_out.max(group);
        }
        self.leaving = rest;
        self.events_place = self.events_place.max(place);
        self.passivate();
    }

    /// All dead letters of the records up to `sequence` are out.
    pub fn dead_out(&mut self, sequence: LogSequence) {
        self.dead_done = self.dead_done.max(sequence);
    }

    /// A receiver has applied mail; whether that was news.
    pub fn receipt(&mut self, from: PartitionId, upto: u64) -> bool {
        from != self.settings.partition && self.state.outbox.receipt(from, upto)
    }

    /// How far the mail of a sender is committed: what a receipt says.
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

    /// Asks for a snapshot of the partition at the next quiet moment.
    pub fn want_snapshot(&mut self) {
        self.snapshot_wanted = true;
    }

    /// The snapshot that was asked for, when the moment has come.
    pub fn take_snapshot(&mut self) -> Option<Vec<u8>> {
        let quiet = self.in_flight.is_none() && self.group.turns.is_empty();
        if !(self.snapshot_wanted && quiet) {
            return None;
        }
        self.snapshot_wanted = false;
        Some(self.state.encode())
    }

    /// Whether nothing that is ours to decide waits, and nothing is decided or in flight.
    pub fn is_idle(&self) -> bool {
        (self.queue.is_empty() || self.leaves) && self.group.turns.is_empty() && self.in_flight.is_none()
    }
    /// Whether a record is in flight.
    pub fn is_committing(&self) -> bool {
        self.in_flight.is_some()
    }
    /// Whether another command from outside may be taken in.
    pub fn has_room(&self) -> bool {
        self.queue.len() < self.settings.bounds.queue_items()
    }
    /// How many commands wait.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }
    /// The live entities, most recently used first.
    pub fn entities(&self) -> impl Iterator<Item = (&EntityAddress, &Cached)> {
        self.cache.iter()
    }
    /// How many entities are live.
    pub fn live(&self) -> usize {
        self.cache.len()
    }
    /// How many records are committed and not fanned out.
    pub fn fanout_lag(&self) -> usize {
        self.leaving.len()
    }
    /// Whether so much is committed and not fanned out that the next record waits.
    pub fn is_fanout_full(&self) -> bool {
        let turns = self.leaving.values().map(|(_, turns)| turns).sum::<usize>();
        self.leaving.len() >= LAG_RECORDS_MAX || turns >= LAG_TURNS_MAX
    }
    /// Which partition.
    pub fn partition(&self) -> PartitionId {
        self.settings.partition
    }
}
