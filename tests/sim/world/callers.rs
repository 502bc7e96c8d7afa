//! Everybody who asks or hands over: they repeat under the same id until they are answered.

use std::collections::BTreeMap;

use actors_runtime::inbox::refusal_reply;
use bus_client::ReplyTo;
use bus_client::asks::Incoming;
use bus_schemas::envelope::code;
use bus_schemas::kinds::is_from_system;
use bus_schemas::subjects::Subjects;
use bus_schemas::{Body, Caller, CommandId, ContentType, EntityAddress, PartitionId, Refusal, Reply};
use bytes::Bytes;

use super::workers::Next;
use super::{Happening, Message, World};
use crate::coverage::Reached;
use crate::faults::Defect;
use crate::invariants::{Check, answers, hold, violated};

/// Which call.
pub type CallId = usize;
/// Which hand-over.
pub type HandOverId = usize;

/// How often a caller asks before it gives up; a calm world answers long before.
const TRIES_MAX: u32 = 60;
/// The least time that a caller waits before it asks again, in milliseconds.
const PATIENCE_MS_MIN: u64 = 500;
/// The most.
const PATIENCE_MS_MAX: u64 = 4_000;
/// When a hand-over that was not acknowledged is tried again.
const HAND_OVER_AGAIN_MS: u64 = 2_000;

/// What a caller expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Any answer, always the same.
    Same,
    /// A refusal, because its id belongs to another command, or because of what it says.
    Reused,
    /// The word that it asked the wrong partition.
    WrongPartition,
    /// What the entity is.
    View,
}

/// One command of one caller.
#[derive(Debug)]
pub struct Call {
    pub id: CommandId,
    to: EntityAddress,
    /// Whose subject it uses.
    partition: PartitionId,
    body: Body,
    tries: u32,
    answer: Option<Bytes>,
    given_up: bool,
    expected: Expected,
    next: Next,
    /// Whether it asks what is, and changes nothing.
    is_query: bool,
    /// Who asks, if they say so.
    caller: Caller,
}

/// One durable command of one caller.
#[derive(Debug)]
pub struct HandOver {
    pub id: CommandId,
    partition: PartitionId,
    subject: String,
    body: Body,
    acknowledged: bool,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Callers {
    calls: Vec<Call>,
    by_id: BTreeMap<CommandId, CallId>,
    handed: Vec<HandOver>,
    /// Where the calls begin that are not done; what is before never opens again.
    settled: usize,
}

/// The caller of a command: the owner of the task that it submits or schedules, or a host.
fn speaker(to: &EntityAddress, body: &Body) -> Caller {
    if is_from_system(&to.kind, body) {
        return Caller::SYSTEM;
    }
    let value = serde_json::from_slice::<serde_json::Value>(&body.bytes).unwrap_or_default();
    let owner = value["owner"].as_str().or(value["task"]["owner"].as_str());
    owner.map_or(Caller::UNNAMED, Caller::of)
}

impl Callers {
    /// A call as it reaches a host.
    pub fn incoming(&self, id: CallId, subjects: &Subjects) -> Incoming {
        let call = &self.calls[id];
        Incoming {
            subject: match call.is_query {
                true => subjects.view(call.partition, &call.caller, &call.to),
                false => subjects.ask(call.partition, &call.caller, &call.to),
            },
            reply_to: Some(ReplyTo::from(id.to_string())),
            id: Some(call.id),
            content_type: Some(ContentType::Json),
            correlation: None,
            trace: None,
            payload: call.body.bytes.clone(),
        }
    }
    /// Whether a call asks what is.
    pub fn is_query(&self, id: CallId) -> bool {
        self.calls[id].is_query
    }
    /// What a call asks.
    pub fn body(&self, id: CallId) -> &Body {
        &self.calls[id].body
    }
    /// The first call under an id.
    pub fn call_of(&self, id: CommandId) -> Option<CallId> {
        self.by_id.get(&id).copied()
    }
    /// Something that is not done yet, in words.
    pub fn open(&self) -> Option<String> {
        let call = self.calls.iter().skip(self.settled).find(|call| call.answer.is_none() && !call.given_up);
        let handed = self.handed.iter().find(|handed| !handed.acknowledged);
        let call = call.map(|call| format!("the ask {} of `{}`", call.id, call.to));
        call.or_else(|| handed.map(|handed| format!("the hand-over {}", handed.id)))
    }
    /// The ids that were acknowledged as accepted: by an answer, or by the inbox.
    pub fn accepted(&self) -> impl Iterator<Item = CommandId> {
        let accepted = |answer: &Bytes| {
            serde_json::from_slice::<Reply>(answer).is_ok_and(|reply| matches!(reply, Reply::Accepted { .. }))
        };
        let commands = self.calls.iter().filter(|call| !call.is_query);
        let asks = commands.filter(move |call| call.answer.as_ref().is_some_and(accepted));
        let handed = self.handed.iter().filter(|handed| handed.acknowledged);
        asks.map(|call| call.id).chain(handed.map(|handed| handed.id))
    }
    /// Some call that was accepted, so that a repeat or an impostor can use its id.
    fn answered_call(&self, index: usize) -> Option<&Call> {
        let call = self.calls.get(index)?;
        (call.answer.is_some() && call.expected == Expected::Same && !call.is_query).then_some(call)
    }
}

impl World {
    /// Somebody asks an entity.
    pub(super) fn ask(&mut self, to: EntityAddress, body: Body, next: Next) {
        let id = self.random.command_id(self.time);
        self.ask_as(id, to, body, next);
    }

    /// Somebody asks an entity under an id of their own.
    pub(super) fn ask_as(&mut self, id: CommandId, to: EntityAddress, body: Body, next: Next) {
        let partition = self.home(&to);
        self.call(id, to, partition, body, Expected::Same, next);
    }

    /// Somebody asks what an entity is.
    pub(super) fn query(&mut self, to: EntityAddress, body: Body, next: Next) {
        let id = self.random.command_id(self.time);
        let partition = self.home(&to);
        self.call(id, to, partition, body, Expected::View, next);
    }

    fn call(
        &mut self,
        id: CommandId,
        to: EntityAddress,
        partition: PartitionId,
        body: Body,
        expected: Expected,
        next: Next,
    ) {
        let call = self.callers.calls.len();
        let text = String::from_utf8_lossy(&body.bytes[..body.bytes.len().min(60)]).into_owned();
        self.note(format_args!("call {call} {id} to `{to}`: {text}"));
        let (tries, answer, given_up) = (0, None, false);
        let is_query = expected == Expected::View;
        if !is_query {
            self.callers.by_id.entry(id).or_insert(call);
        }
        let worker = next.worker().map(|(worker, _)| &self.workers[worker].name);
        let caller = worker.map_or_else(|| speaker(&to, &body), |name| Caller::of(name));
        let made =
            Call { id, to, partition, body, tries, answer, given_up, expected, next, is_query, caller };
        self.callers.calls.push(made);
        self.send_call(call);
        let patience = self.random.between(PATIENCE_MS_MIN, PATIENCE_MS_MAX);
        self.soon(patience, Happening::CallTimeout(call));
    }

    /// Asks a partition where the entity does not live.
    pub(super) fn ask_elsewhere(&mut self, to: EntityAddress, body: Body) {
        let id = self.random.command_id(self.time);
        let partition = PartitionId((self.home(&to).0 + 1) % self.shape.partitions);
        self.call(id, to, partition, body, Expected::WrongPartition, Next::Nothing);
    }

    /// Asks under an id that another command has.
    pub(super) fn ask_as_impostor(&mut self, body: Body) {
        let index = self.random.below(self.callers.calls.len() as u64) as usize;
        let Some(call) = self.callers.answered_call(index) else { return };
        // Only an id that is in the log is known to belong to somebody.
        if !self.audit.has_answered(call.id) || call.body == body {
            return;
        }
        let (id, to, partition) = (call.id, call.to.clone(), call.partition);
        self.call(id, to, partition, body, Expected::Reused, Next::Nothing);
    }

    /// Asks once more what was answered already, as a caller does who lost the answer.
    pub(super) fn ask_once_more(&mut self) {
        let index = self.random.below(self.callers.calls.len() as u64) as usize;
        if self.callers.answered_call(index).is_some() {
            self.send_call(index);
        }
    }

    fn send_call(&mut self, call: CallId) {
        if self.fault(self.faults.ask_lost, Reached::AskLost) {
            return;
        }
        let partition = self.callers.calls[call].partition;
        let way = self.latency();
        self.soon(way, Happening::Arrives(partition, Message::Ask(call)));
    }

    /// Nobody answered in time: the same command again, under its own id.
    pub(super) fn call_timeout(&mut self, id: CallId) -> Check {
        let call = &mut self.callers.calls[id];
        if call.answer.is_some() || call.given_up {
            return Ok(());
        }
        call.tries += 1;
        if call.tries >= call.next.tries_max().unwrap_or(TRIES_MAX) {
            return self.give_up(id);
        }
        self.send_call(id);
        let patience = self.random.between(PATIENCE_MS_MIN, PATIENCE_MS_MAX);
        self.soon(patience, Happening::CallTimeout(id));
        Ok(())
    }

    fn give_up(&mut self, id: CallId) -> Check {
        let call = &mut self.callers.calls[id];
        call.given_up = true;
        let next = call.next.clone();
        self.hear(next, None)
    }

    /// Whoever asked hears the answer, or that there is none.
    fn hear(&mut self, next: Next, reply: Option<&Reply>) -> Check {
        match next {
            Next::Known(sent) => {
                self.agent_is_known(&sent, reply);
                Ok(())
            }
            Next::Lost { host, agent, worker } => {
                if reply.is_some() {
                    self.hosts[host].pool.forget(&agent, &worker);
                }
                Ok(())
            }
            next => self.worker_hears(next, reply),
        }
    }

    /// Forgets the calls of a worker that is gone.
    pub(super) fn abandon(&mut self, gone: impl Fn(&Next) -> bool) {
        for call in self.callers.calls.iter_mut().filter(|call| call.answer.is_none() && gone(&call.next)) {
            call.given_up = true;
        }
    }

    /// An owner answers: from here it must be true.
    pub(super) fn answer(&mut self, reply_to: &str, payload: Bytes) -> Check {
        match reply_to.parse() {
            Ok(call) => self.send_answer(call, payload),
            Err(_) => violated("reply_after_commit", format!("an answer goes to `{reply_to}`")),
        }
    }

    /// A defect: an id that the log knows is refused, whatever the first answer was.
    pub(super) fn refuse_repeat(&mut self, call: CallId) -> Option<Check> {
        let id = self.callers.calls[call].id;
        if self.defect != Some(Defect::RepeatsRefused) || !self.audit.has_answered(id) {
            return None;
        }
        let refusal = Refusal::new(code::ENTITY_STOPPED, "not again");
        Some(self.send_answer(call, refusal_reply(id, refusal)))
    }

    pub(super) fn send_answer(&mut self, call: CallId, payload: Bytes) -> Check {
        self.audit.reply_after_commit(&payload)?;
        if !self.fault(self.faults.answer_lost, Reached::AnswerLost) {
            let way = self.latency();
            self.soon(way, Happening::Answered(call, payload));
        }
        Ok(())
    }

    /// A caller hears an answer.
    pub(super) fn answered(&mut self, id: CallId, payload: Bytes) -> Check {
        let Ok(reply) = serde_json::from_slice::<Reply>(&payload) else {
            return violated("reply_after_commit", "an answer cannot be read");
        };
        if self.callers.is_query(id) {
            return self.viewed(id, payload, &reply);
        }
        let call = &self.callers.calls[id];
        let refused = match &reply {
            Reply::Accepted { .. } => None,
            Reply::Refused { refusal, .. } => Some(refusal.code.as_str()),
        };
        let later = matches!(refused, Some(code::BUSY));
        if later && call.expected != Expected::WrongPartition {
            return Ok(());
        }
        if refused == Some(answers::HALTED) && call.expected == Expected::Same {
            self.coverage.note(Reached::SubmissionHalted);
            self.note(format_args!("call {id} is halted"));
            self.callers.calls[id].given_up = true;
            return Ok(());
        }
        match call.expected {
            // A former owner that does not know the id yet may refuse the body itself: nothing was done.
            Expected::Reused => {
                let known = matches!(refused, Some(code::ID_REUSED | code::MALFORMED));
                hold(known, "same_id_same_answer", || {
                    format!("{} belongs to another command, and got {reply:?}", call.id)
                })?;
            }
            Expected::WrongPartition => {
                hold(refused == Some(code::WRONG_PARTITION), "single_writer", || {
                    format!("`{}` was asked in a foreign partition, and answered {reply:?}", call.to)
                })?
            }
            Expected::Same | Expected::View => {}
        }
        if let Some(first) = &call.answer {
            if call.expected == Expected::Same {
                answers::same_id_same_answer(first, &payload)?;
            }
            self.coverage.note(Reached::DuplicateAnswered);
            return Ok(());
        }
        if refused == Some(code::ID_REUSED) {
            self.coverage.note(Reached::ReusedIdRefused);
        }
        self.note(format_args!("call {id} is answered: {}", refused.unwrap_or("accepted")));
        self.settle_call(id, payload, &reply)
    }

    fn settle_call(&mut self, id: CallId, payload: Bytes, reply: &Reply) -> Check {
        let call = &mut self.callers.calls[id];
        call.answer = Some(payload);
        let next = call.next.clone();
        let settled = |call: &Call| call.answer.is_some() || call.given_up;
        while self.callers.calls.get(self.callers.settled).is_some_and(settled) {
            self.callers.settled += 1;
        }
        self.hear(next, Some(reply))
    }

    /// A caller hears the answer to a query.
    fn viewed(&mut self, id: CallId, payload: Bytes, reply: &Reply) -> Check {
        let call = &self.callers.calls[id];
        if call.answer.is_some() || call.given_up {
            return Ok(());
        }
        if let Reply::Refused { refusal, .. } = reply {
            let again = match refusal.code.as_str() {
                code::BUSY => return Ok(()),
                code::NOT_OWNER => {
                    self.coverage.note(Reached::QueryNotOwner);
                    return Ok(());
                }
                code::COME_AGAIN => {
                    self.coverage.note(Reached::QueryComeAgain);
                    true
                }
                _ => false,
            };
            if again && !self.calm && self.random.chance(600) {
                self.send_call(id);
                return Ok(());
            }
        } else {
            self.coverage.note(Reached::QueryAnswered);
        }
        self.settle_call(id, payload, reply)
    }

    /// Somebody hands a command over to the inbox.
    pub(super) fn hand_over(&mut self, to: &EntityAddress, body: Body) {
        let (id, home) = (self.random.command_id(self.time), self.home(to));
        // A path is not matched by the stream's transform: partition 0 reads it and sends it on.
        let direct = !to.key.as_str().contains('.');
        let partition = if direct { home } else { PartitionId(0) };
        let (caller, subjects) = (speaker(to, &body), &self.subjects);
        let subject =
            if direct { subjects.command(home, &caller, to) } else { subjects.hand_over(&caller, to) };
        self.note(format_args!("{id} is handed over to `{to}`"));
        self.callers.handed.push(HandOver { id, partition, subject, body, acknowledged: false });
        let way = self.latency();
        self.soon(way, Happening::HandOver(self.callers.handed.len() - 1));
    }

    /// A hand-over reaches JetStream.
    pub(super) fn hand_over_arrives(&mut self, index: HandOverId) {
        let handed = &self.callers.handed[index];
        if self.defect == Some(Defect::HandOversNotStored) {
            self.callers.handed[index].acknowledged = true;
            return;
        }
        let (subject, body) = (handed.subject.clone(), handed.body.clone());
        let stored = self.store.hand_over(self.time, handed.partition, subject, handed.id, body);
        if stored {
            let partition = self.callers.handed[index].partition;
            self.inbox_grew(partition);
        }
        if self.fault(self.faults.hand_over_unheard, Reached::HandOverUnheard) {
            let again = HAND_OVER_AGAIN_MS + self.random.below(200_000);
            return self.soon(again, Happening::HandOver(index));
        }
        self.callers.handed[index].acknowledged = true;
    }
}
