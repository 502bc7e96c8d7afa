//! Stage 3, decide: one command, one entity, one turn. No I/O, no clock.

use actors_core::{Context, Origin, TurnError};
use bus_schemas::commands::deadletter::{Command as DeadLetterCommand, Entry};
use bus_schemas::envelope::code;
use bus_schemas::record::{Command, DeadLetter, Job, Mail, Source, TimerChange, Turn};
use bus_schemas::{Body, CommandId, EntityAddress, Key, Kind, Refusal, Reply, Revision, Timestamp};
use bytes::Bytes;
use smol_str::SmolStr;

use crate::fold::{Cached, Stopped};
use crate::inbox::{Unreadable, refusal_reply};
use crate::state::Outbox;

/// The entity named in the turn of a message whose subject names none.
fn nowhere() -> EntityAddress {
    EntityAddress::new(Kind::from_static("deadletter"), Key::parse("unreadable").expect("a constant"))
}

/// What a turn needs beside the entity.
#[derive(Debug)]
pub struct Desk<'a> {
    /// Numbers for mail.
    pub outbox: &'a Outbox,
    /// How many partitions there are.
    pub partitions: u16,
    /// The time that the record will say.
    pub now: Timestamp,
}

/// Decides a command for a live entity.
pub fn decide(
    cached: &mut Cached,
    to: EntityAddress,
    source: Source,
    mut command: Command,
    desk: &Desk<'_>,
) -> Turn {
    let instance = match &mut cached.instance {
        Ok(instance) => instance,
        Err(stopped) => {
            let refusal = Refusal::new(code::ENTITY_STOPPED, format!("`{to}` stopped: {}", stopped.reason))
                .hint("run a version that knows the event, or `orrery verify` when the history is broken");
            return refused(to, source, command, refusal, Some(code::ENTITY_STOPPED), desk);
        }
    };
    if let Some(origin) = instance.origin() {
        crate::trace::keep_origin(&mut command, &source, origin);
    }
    let context = Context {
        entity: &to,
        revision: instance.revision(),
        now: desk.now,
        command: command.id,
        correlation: command.correlation,
        caller: command.caller.as_ref(),
    };
    match instance.turn(&command.body, &context) {
        Ok(turn) => {
            let revision = instance.revision();
            if !turn.events.is_empty() {
                instance.begin(Origin { correlation: command.correlation, trace: command.trace });
            }
            accepted(to, source, command, turn, revision, desk)
        }
        Err(TurnError::Refused(refusal)) => refused(to, source, command, refusal, None, desk),
        Err(TurnError::Malformed(reason)) => {
            let refusal = Refusal::new(code::MALFORMED, reason).hint("see the command's JSON schema");
            refused(to, source, command, refusal, Some(code::MALFORMED), desk)
        }
        Err(TurnError::Poison(reason)) => {
            crate::metric::poisoned(&to.kind);
            let refusal = Refusal::new(code::POISON, format!("the decision panicked: {reason}"));
            refused(to, source, command, refusal, Some(code::POISON), desk)
        }
        Err(TurnError::Broken(reason)) => {
            crate::metric::poisoned(&to.kind);
            let reason = format!("folding what was decided panicked: {reason}");
            cached.instance = Err(Stopped { reason: reason.clone() });
            let refusal = Refusal::new(code::POISON, reason);
            refused(to, source, command, refusal, Some(code::POISON), desk)
        }
    }
}

/// The turn of a message that no entity can be asked about.
pub fn unreadable(unreadable: Unreadable, source: Source, command: Command, desk: &Desk<'_>) -> Turn {
    let class = code_of(&unreadable.refusal);
    let about = unreadable.entity.unwrap_or_else(nowhere);
    let mut turn = refused(nowhere(), source, command, unreadable.refusal, None, desk);
    bury(&mut turn, &about, class, desk);
    if let Some(dead) = &mut turn.dead {
        dead.subject = Some(unreadable.subject);
    }
    turn
}

/// The turn of a command for a kind that nobody knows.
pub fn unknown_kind(to: EntityAddress, source: Source, command: Command, desk: &Desk<'_>) -> Turn {
    let refusal = Refusal::new(code::UNKNOWN_KIND, format!("no entity of kind `{}` exists here", to.kind));
    refused(to, source, command, refusal, Some(code::UNKNOWN_KIND), desk)
}

/// The turn of a durable command under an id that another command has. Nobody waits to be told, so it
/// is kept under an id of its own.
pub fn reused(
    to: Result<EntityAddress, Unreadable>,
    source: Source,
    command: Command,
    own: CommandId,
    desk: &Desk<'_>,
) -> Turn {
    let message = format!("the command id `{}` was used with another body", command.id);
    let refusal = Refusal::new(code::ID_REUSED, message);
    let to = to.unwrap_or_else(|_| nowhere());
    refused(to, source, Command { id: own, ..command }, refusal, Some(code::ID_REUSED), desk)
}

/// The turn that sends a command on to the partition where it belongs.
pub fn forward(to: EntityAddress, source: Source, command: Command, desk: &Desk<'_>) -> Turn {
    let mail = Mail {
        partition: to.partition(desk.partitions),
        number: desk.outbox.next_number(to.partition(desk.partitions)),
        to: to.clone(),
        command: command.clone(),
    };
    Turn { sends: vec![mail], ..empty(to, source, command, desk.now) }
}

fn code_of(refusal: &Refusal) -> &'static str {
    [code::BAD_SUBJECT, code::CONTENT_TYPE, code::TOO_LARGE]
        .into_iter()
        .find(|known| refusal.code == *known)
        .unwrap_or(code::MALFORMED)
}

fn empty(entity: EntityAddress, source: Source, command: Command, at: Timestamp) -> Turn {
    Turn {
        source,
        entity,
        command,
        at,
        events: Vec::new(),
        refusal: None,
        sends: Vec::new(),
        timers: Vec::new(),
        jobs: Vec::new(),
        reply: Bytes::new(),
        dead: None,
    }
}

fn accepted(
    entity: EntityAddress,
    source: Source,
    command: Command,
    decided: actors_core::Turn,
    revision: Revision,
    desk: &Desk<'_>,
) -> Turn {
    let reply = match source {
        Source::Ask | Source::Inbox(_) => {
            let reply = Reply::Accepted {
                command_id: command.id,
                entity: entity.clone(),
                revision,
                events: decided.events.len() as u32,
                result: decided.reply,
            };
            serde_json::to_vec(&reply).expect("a reply has string keys").into()
        }
        Source::Mail(..) | Source::Timer(_) => Bytes::new(),
    };
    let mut sends = Vec::with_capacity(decided.sends.len());
    for (index, send) in decided.sends.into_iter().enumerate() {
        sends.push(mail(desk, &sends, &command, index as u32, send.to, send.body));
    }
    let timers = decided.timers.into_iter().map(|timer| match timer {
        actors_core::decision::Timer::Set { name, at, body } => TimerChange::Set { name, at, body },
        actors_core::decision::Timer::Cancel { name } => TimerChange::Cancel { name },
    });
    let jobs = decided.jobs.into_iter().map(|job| Job {
        id: job.id.clone(),
        agent: job.agent.clone(),
        body: serde_json::to_vec(&job).expect("a job has string keys").into(),
    });
    Turn {
        events: decided.events,
        sends,
        timers: timers.collect(),
        jobs: jobs.collect(),
        reply,
        ..empty(entity, source, command, desk.now)
    }
}

/// Mail with the next free number; several of one turn to one receiver count on.
fn mail(
    desk: &Desk<'_>,
    before: &[Mail],
    cause: &Command,
    index: u32,
    to: EntityAddress,
    body: Body,
) -> Mail {
    let partition = to.partition(desk.partitions);
    let ahead = before.iter().filter(|mail| mail.partition == partition).count() as u64;
    Mail {
        partition,
        number: desk.outbox.next_number(partition) + ahead,
        to,
        command: Command {
            id: cause.id.derive("send", index),
            body,
            cause: Some(cause.id),
            correlation: cause.correlation,
            trace: cause.trace,
            caller: None,
        },
    }
}

fn refused(
    entity: EntityAddress,
    source: Source,
    command: Command,
    refusal: Refusal,
    class: Option<&'static str>,
    desk: &Desk<'_>,
) -> Turn {
    let reply = refusal_reply(command.id, refusal.clone());
    let mut turn = Turn { reply, refusal: Some(refusal), ..empty(entity, source, command, desk.now) };
    if let Some(class) = class {
        let about = turn.entity.clone();
        bury(&mut turn, &about, class, desk);
    }
    turn
}

/// Makes a dead letter of a turn's command, which was meant for `about`.
fn bury(turn: &mut Turn, about: &EntityAddress, class: &'static str, desk: &Desk<'_>) {
    let reason = turn.refusal.as_ref().map(|refusal| refusal.message.clone()).unwrap_or_default();
    let entry = turn.command.id.0.simple().to_string();
    turn.dead = Some(DeadLetter {
        entry: SmolStr::new(&entry),
        class: SmolStr::new_static(class),
        reason: reason.clone(),
        subject: None,
    });
    // A dead letter about a dead letter could go on for ever: that one has no entity.
    if turn.entity.kind.as_str() != "deadletter" || turn.entity == nowhere() {
        let record = DeadLetterCommand::Record(Entry {
            class: SmolStr::new_static(class),
            reason,
            kind: about.kind.to_string(),
            key: about.key.to_string(),
            command_id: turn.command.id,
            correlation: turn.command.correlation,
            traceparent: turn.command.trace.map(|trace| trace.to_traceparent()),
            attempts: 1,
            at: desk.now,
        });
        let key = Key::parse(&entry).expect("32 hexadecimal digits are a key");
        let to = EntityAddress::new(Kind::from_static("deadletter"), key);
        let mail = mail(desk, &[], &turn.command, 0, to, Body::json(&record));
        turn.sends.push(mail);
    }
}

/// The id of the command that a timer sends: the same at every takeover.
pub fn timer_command_id(entity: &EntityAddress, name: &str, at: Timestamp) -> CommandId {
    CommandId::from_text(&format!("timer {entity} {name} {at}"))
}
