//! Commands that were applied before: until the commit their replies are in memory, then in the log. A query
//! for the status of a command is answered from the same places.

use std::collections::BTreeMap;

use bus_client::ReplyTo;
use bus_schemas::envelope::code;
use bus_schemas::record::{self, CommitRecord, Source};
use bus_schemas::views::command::{COMMAND, CommandState, CommandStatus};
use bus_schemas::{CommandId, EntityAddress, Key, LogSequence, Refusal, Reply, Revision};
use bytes::Bytes;

use super::Core;
use crate::inbox::{Item, QUEUE_ITEMS_MAX, Unreadable, busy_reply, refusal_reply};
use crate::journal::AddressedReply;
use crate::recent::{Known, Place};

/// The most repeats that wait for a read of the log: as many as the queue holds, since each caller in it may
/// repeat once.
const REPEATS_MAX: usize = QUEUE_ITEMS_MAX;

/// Repeats whose replies have to be read from the log.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    /// By record: whether it is being read, and the repeats that wait for it.
    records: BTreeMap<LogSequence, (bool, Vec<Repeat>)>,
    /// The number of waiting repeats.
    count: usize,
}

/// A repeat whose reply is in a record of the log.
#[derive(Debug)]
struct Repeat {
    /// The caller's reply subject.
    reply_to: ReplyTo,
    /// The id to answer with.
    id: CommandId,
    /// The index of the turn in the record.
    turn: usize,
    /// The command whose status a query asks for; `None` for a repeat.
    about: Option<CommandId>,
}

impl Repeat {
    /// The reply from the record, or a refusal when the record is missing.
    fn answer(self, record: Option<&CommitRecord>) -> AddressedReply {
        let turn = record.and_then(|record| record.turns.get(self.turn));
        let turn = turn.filter(|turn| turn.command.id == self.about.unwrap_or(self.id));
        if let Some(about) = self.about {
            let unknown = || CommandStatus::only(about, CommandState::Unknown);
            return status_reply(self.reply_to, self.id, &turn.map_or_else(unknown, CommandStatus::decided));
        }
        let payload = turn.map_or_else(|| refusal_reply(self.id, stale()), |turn| turn.reply.clone());
        AddressedReply::answer(self.reply_to, payload)
    }
}

fn stale() -> Refusal {
    Refusal::new(code::ID_STALE, "this command id is older than what the partition remembers")
        .hint("look at the entity, and send the command under a fresh id if it was not applied")
}

/// The status of a command, as the answer to a query.
fn status_reply(to: ReplyTo, query: CommandId, status: &CommandStatus) -> AddressedReply {
    let key = Key::parse(&status.id.to_string()).expect("a UUID is a key");
    let reply = Reply::Accepted {
        command_id: query,
        entity: EntityAddress::new(COMMAND, key),
        revision: Revision(0),
        events: 0,
        result: serde_json::to_value(status).expect("a status has string keys"),
    };
    let payload = serde_json::to_vec(&reply).expect("a reply has string keys").into();
    AddressedReply { to, payload, query: Some(query) }
}

fn reused() -> Refusal {
    Refusal::new(code::ID_REUSED, "this command id was used for another entity or with another body")
        .hint("use a fresh id for a new command")
}

impl Core {
    /// What the recent ids tell of a command.
    pub(super) fn known(&self, to: &Result<EntityAddress, Unreadable>, command: &record::Command) -> Known {
        let bytes = &command.body.bytes;
        match to {
            Ok(entity) => self.state.recent.look_up(command.id, entity, bytes),
            Err(_) => self.state.recent.look_up(command.id, &self.registry.undeliverable().nowhere(), bytes),
        }
    }

    /// Answers a command that was applied before. An ask whose id is older than the remembered ids is
    /// refused, because nobody can tell whether it was applied.
    pub(super) fn is_repeated(
        &mut self,
        source: &Source,
        reply_to: Option<&ReplyTo>,
        to: &Result<EntityAddress, Unreadable>,
        command: &record::Command,
    ) -> bool {
        let known = self.known(to, command);
        let durable = matches!(source, Source::Inbox(_));
        match known {
            Known::New => return false,
            // No caller waits, so the command is decided: as a new one, or into a dead letter.
            Known::Stale | Known::Reused(_) if durable => return false,
            _ => {}
        }
        if let Source::Inbox(sequence) = source {
            self.state.inbox = self.state.inbox.max(*sequence);
        }
        if let Some(reply_to) = reply_to.cloned() {
            match known {
                Known::New => {}
                Known::Stale => {
                    self.answers.push(AddressedReply::answer(reply_to, refusal_reply(command.id, stale())))
                }
                Known::Reused(place) => {
                    let refusal = refusal_reply(command.id, reused());
                    self.answer_with(place, reply_to, Some(refusal), command.id);
                }
                Known::Answered(place) => self.answer_with(place, reply_to, None, command.id),
            }
        }
        true
    }

    /// Sends the reply of a command that was applied before, or `said` in its place. Before the commit it
    /// waits with the first reply; after it, it comes from memory or from the log.
    fn answer_with(&mut self, place: Place, reply_to: ReplyTo, said: Option<Bytes>, id: CommandId) {
        match place {
            Place::Group(number, turn) if number == self.group.number => {
                let reply = said.or_else(|| Some(self.group.turns.get(turn)?.reply.clone()));
                self.group.replies.extend(reply.map(|reply| AddressedReply::answer(reply_to, reply)));
            }
            Place::Group(_, turn) => {
                let Some(in_flight) = &mut self.in_flight else { return };
                let reply = said.or_else(|| Some(in_flight.record.turns.get(turn)?.reply.clone()));
                in_flight.replies.extend(reply.map(|reply| AddressedReply::answer(reply_to, reply)));
            }
            Place::Record(record, turn) => match said.or_else(|| self.replies.get(record, turn).cloned()) {
                Some(reply) => self.answers.push(AddressedReply::answer(reply_to, reply)),
                None if self.repeats.count == REPEATS_MAX => {
                    self.answers.push(AddressedReply::answer(reply_to, busy_reply(id)));
                }
                None => {
                    self.repeats.count += 1;
                    let repeat = Repeat { reply_to, id, turn, about: None };
                    self.repeats.records.entry(record).or_default().1.push(repeat);
                }
            },
        }
    }

    /// Answers a query for the status of a command, from the log if the command is committed.
    pub(super) fn tell_status(&mut self, item: Item, about: CommandId) {
        let (Some(reply_to), id) = (item.reply_to, item.command.id) else { return };
        let state = match self.state.recent.place(about) {
            Some(Place::Record(..)) if self.repeats.count == REPEATS_MAX => {
                self.answers.push(AddressedReply::answer(reply_to, busy_reply(id)));
                return;
            }
            Some(Place::Record(record, turn)) => {
                self.repeats.count += 1;
                let repeat = Repeat { reply_to, id, turn, about: Some(about) };
                self.repeats.records.entry(record).or_default().1.push(repeat);
                return;
            }
            Some(Place::Group(..)) => CommandState::Pending,
            None if self.queue.iter().any(|waiting| waiting.command.id == about) => CommandState::Pending,
            None => CommandState::Unknown,
        };
        self.answers.push(status_reply(reply_to, id, &CommandStatus::only(about, state)));
    }

    /// At most `bound` records to read for repeats; one read serves all repeats that wait for the record.
    pub fn take_records_to_read(&mut self, bound: usize) -> Vec<LogSequence> {
        let unread = self.repeats.records.iter_mut().filter(|(_, (is_read, _))| !*is_read);
        let taken = unread.take(bound).map(|(sequence, (is_read, _))| {
            *is_read = true;
            *sequence
        });
        taken.collect()
    }

    /// Answers the repeats that wait for a record that was read.
    pub fn answer_repeats(&mut self, sequence: LogSequence, record: Option<&CommitRecord>) {
        for repeat in self.take_repeats(sequence) {
            self.answers.push(repeat.answer(record));
        }
    }

    /// Drops the repeats that wait for a record that could not be read: their callers ask again.
    pub fn drop_repeats(&mut self, sequence: LogSequence) {
        self.take_repeats(sequence);
    }

    fn take_repeats(&mut self, sequence: LogSequence) -> Vec<Repeat> {
        let (_, repeats) = self.repeats.records.remove(&sequence).unwrap_or_default();
        self.repeats.count -= repeats.len();
        repeats
    }
}
