//! Commands that were applied before: their answers are in memory until they are committed, and in the log
//! from then on.

use bus_client::ReplyTo;
use bus_schemas::envelope::code;
use bus_schemas::record::{self, CommitRecord, Source};
use bus_schemas::{CommandId, EntityAddress, LogSequence, Refusal};
use bytes::Bytes;

use super::Core;
use crate::decide;
use crate::inbox::{Unreadable, busy_reply, refusal_reply};
use crate::journal::Told;
use crate::recent::{Known, Place};

/// Repeats that wait to be answered from the log. A caller that repeats has waited for a second, so more
/// than these come from one that asks for the sake of asking.
const REPEATS_MAX: usize = 1_024;

/// A repeat whose answer is in a record of the log.
#[derive(Debug, Clone)]
pub struct Repeat {
    /// Who asks again.
    pub reply_to: ReplyTo,
    /// Under which id.
    pub id: CommandId,
    /// The record.
    pub record: LogSequence,
    /// The turn in it.
    pub turn: usize,
}

impl Repeat {
    /// The answer, as the record has it; without the record nobody can say it.
    pub fn answer(&self, record: Option<&CommitRecord>) -> Bytes {
        let turn = record.and_then(|record| record.turns.get(self.turn));
        match turn.filter(|turn| turn.command.id == self.id) {
            Some(turn) => turn.reply.clone(),
            None => refusal_reply(self.id, stale()),
        }
    }
}

fn stale() -> Refusal {
    Refusal::new(code::ID_STALE, "this command id is older than what the partition remembers")
        .hint("look at the entity, and send the command under a fresh id if it was not applied")
}

fn reused() -> Refusal {
    Refusal::new(code::ID_REUSED, "this command id was used for another entity or with another body")
        .hint("use a fresh id for a new command")
}

impl Core {
    /// What is known of a command's id.
    pub(super) fn known(&self, to: &Result<EntityAddress, Unreadable>, command: &record::Command) -> Known {
        let bytes = &command.body.bytes;
        match to {
            Ok(entity) => self.state.recent.look_up(command.id, entity, bytes),
            Err(_) => self.state.recent.look_up(command.id, &decide::nowhere(), bytes),
        }
    }

    /// Answers a command that was applied before. An id from an ask that is too old to be known is
    /// refused, because nobody can say whether it was applied.
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
            // Nobody waits for the answer, so it is decided: as new, or into a dead letter.
            Known::Stale | Known::Reused(_) if durable => return false,
            _ => {}
        }
        if let Source::Inbox(sequence) = source {
            self.state.inbox = self.state.inbox.max(*sequence);
        }
        if let Some(reply_to) = reply_to.cloned() {
            match known {
                Known::New => {}
                Known::Stale => self.answers.push(Told::answer(reply_to, refusal_reply(command.id, stale()))),
                Known::Reused(place) => {
                    let refusal = refusal_reply(command.id, reused());
                    self.answer_with(place, reply_to, Some(refusal), command.id);
                }
                Known::Answered(place) => self.answer_with(place, reply_to, None, command.id),
            }
        }
        true
    }

    /// An answer is true only after its commit: a repeat waits with the first one. What is in the log is
    /// read from there, unless something else is `said`.
    fn answer_with(&mut self, place: Place, reply_to: ReplyTo, said: Option<Bytes>, id: CommandId) {
        match place {
            Place::Group(number, turn) if number == self.group.number => {
                let reply = said.or_else(|| Some(self.group.turns.get(turn)?.reply.clone()));
                self.group.replies.extend(reply.map(|reply| Told::answer(reply_to, reply)));
            }
            Place::Group(_, turn) => {
                let Some(in_flight) = &mut self.in_flight else { return };
                let reply = said.or_else(|| Some(in_flight.record.turns.get(turn)?.reply.clone()));
                in_flight.replies.extend(reply.map(|reply| Told::answer(reply_to, reply)));
            }
            Place::Record(record, turn) => match said {
                Some(said) => self.answers.push(Told::answer(reply_to, said)),
                None if self.repeats.len() == REPEATS_MAX => {
                    self.answers.push(Told::answer(reply_to, busy_reply(id)))
                }
                None => self.repeats.push(Repeat { reply_to, id, record, turn }),
            },
        }
    }

    /// Repeats whose answers are to be read from the log, at most `bound`.
    pub fn take_repeats(&mut self, bound: usize) -> Vec<Repeat> {
        let count = bound.min(self.repeats.len());
        self.repeats.drain(..count).collect()
    }

    /// An answer that was read from the log.
    pub fn answer_repeat(&mut self, repeat: Repeat, record: Option<&CommitRecord>) {
        let answer = repeat.answer(record);
        self.answers.push(Told::answer(repeat.reply_to, answer));
    }
}
