//! Stage 3, decide: one command, one entity, one turn. No I/O, no clock.

use actors_core::decision::Send;
use actors_core::{Context, Lost, Origin, TurnError, Undeliverable};
use bus_schemas::envelope::code;
use bus_schemas::record::{Command, DECISION_BYTES_MAX, Job, Mail, Source, TimerChange, Turn};
use bus_schemas::{Body, CommandId, EntityAddress, Refusal, Reply, Revision, Timestamp};
use bytes::Bytes;
use smol_str::SmolStr;

use crate::fold::{Cached, Stopped};
use crate::inbox::{Unreadable, refusal_reply};
use crate::state::Outbox;

/// What a turn needs beside the entity.
#[derive(Debug, Clone, Copy)]
pub struct TurnContext<'a> {
    /// The outbox, for the numbers of mail.
    pub outbox: &'a Outbox,
    /// The number of partitions.
    pub partitions: u16,
    /// The time of the turn, as recorded.
    pub now: Timestamp,
    /// The policy for commands that cannot be delivered.
    pub undeliverable: &'a dyn Undeliverable,
}

/// Decides a command for a live entity.
pub fn decide(
    cached: &mut Cached,
    to: EntityAddress,
    source: Source,
    mut command: Command,
    turn_context: &TurnContext<'_>,
) -> Turn {
    let instance = match &mut cached.instance {
        Ok(instance) => instance,
        Err(stopped) => {
            let refusal = Refusal::new(code::ENTITY_STOPPED, format!("`{to}` stopped: {}", stopped.reason))
                .hint("run a version that knows the event, or `orrery verify` when the history is broken");
            return undecided(to, source, command, refusal, turn_context);
        }
    };
    if let Some(origin) = instance.origin() {
        crate::trace::keep_origin(&mut command, &source, origin);
    }
    let context = Context {
        entity: &to,
        partitions: turn_context.partitions,
        revision: instance.revision(),
        now: turn_context.now,
        by_timer: matches!(source, Source::Timer(_)),
        command: command.id,
        correlation: command.correlation,
        caller: command.caller.as_ref(),
        trace: crate::trace::nearest(command.trace, instance.origin()),
    };
    let deciding = crate::deciding::begin(&to, &command);
    let turn = instance.turn(&command.body, &context);
    drop(deciding);
    match turn {
        Ok(turn) => {
            let revision = instance.revision();
            if !turn.events.is_empty() {
                instance.begin(Origin { correlation: command.correlation, trace: command.trace });
            }
            accepted(to, source, command, turn, revision, turn_context)
        }
        Err(TurnError::Refused(refusal)) => refused(to, source, command, refusal, turn_context),
        Err(TurnError::Malformed(reason)) => {
            let refusal = Refusal::new(code::MALFORMED, reason).hint("see the command's JSON schema");
            undecided(to, source, command, refusal, turn_context)
        }
        Err(TurnError::TooLarge(bytes)) => {
            let message =
                format!("the decision has {bytes} bytes; a record holds {DECISION_BYTES_MAX} of one");
            let refusal = Refusal::new(code::TOO_LARGE, message).hint("ask for less at once");
            undecided(to, source, command, refusal, turn_context)
        }
        Err(TurnError::Poison(reason)) => {
            crate::metric::poisoned(&to.kind);
            let refusal = Refusal::new(code::POISON, format!("the decision panicked: {reason}"));
            undecided(to, source, command, refusal, turn_context)
        }
        Err(TurnError::Broken(reason)) => {
            crate::metric::poisoned(&to.kind);
            let reason = format!("folding what was decided panicked: {reason}");
            cached.instance = Err(Stopped { reason: reason.clone() });
            let refusal = Refusal::new(code::POISON, reason);
            undecided(to, source, command, refusal, turn_context)
        }
    }
}

/// The turn of a message that names no entity or has no readable body.
pub fn unreadable(
    unreadable: Unreadable,
    source: Source,
    command: Command,
    turn_context: &TurnContext<'_>,
) -> Turn {
    let nowhere = turn_context.undeliverable.nowhere();
    let about = unreadable.entity.unwrap_or_else(|| nowhere.clone());
    let mut turn = refusing(nowhere, source, command, unreadable.refusal, turn_context);
    bury(&mut turn, &about, Some(&unreadable.subject), turn_context);
    turn
}

/// The turn of a command for an unknown kind.
pub fn unknown_kind(
    to: EntityAddress,
    source: Source,
    command: Command,
    turn_context: &TurnContext<'_>,
) -> Turn {
    let refusal = Refusal::new(code::UNKNOWN_KIND, format!("no entity of kind `{}` exists here", to.kind));
    undecided(to, source, command, refusal, turn_context)
}

/// The turn of a durable command whose id belongs to another command. No caller waits for a refusal, so it is
/// kept under the id `own`.
pub fn reused(
    to: Result<EntityAddress, Unreadable>,
    source: Source,
    command: Command,
    own: CommandId,
    turn_context: &TurnContext<'_>,
) -> Turn {
    let message = format!("the command id `{}` was used for another entity or with another body", command.id);
    let refusal = Refusal::new(code::ID_REUSED, message);
    let to = to.unwrap_or_else(|_| turn_context.undeliverable.nowhere());
    undecided(to, source, Command { id: own, ..command }, refusal, turn_context)
}

/// The turn that forwards a command to the partition of its entity.
pub fn forward(to: EntityAddress, source: Source, command: Command, turn_context: &TurnContext<'_>) -> Turn {
    let mail = Mail {
        partition: to.partition(turn_context.partitions),
        number: turn_context.outbox.next_number(to.partition(turn_context.partitions)),
        to: to.clone(),
        command: command.clone(),
    };
    Turn { sends: vec![mail], ..empty(to, source, command, turn_context.now) }
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
        leases: Vec::new(),
        jobs: Vec::new(),
        stops: Vec::new(),
        is_open: false,
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
    turn_context: &TurnContext<'_>,
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
        Source::Mail(..) | Source::Timer(_) | Source::Lease(_) | Source::Claim => Bytes::new(),
    };
    let mut sends = Vec::with_capacity(decided.sends.len());
    for (index, send) in decided.sends.into_iter().enumerate() {
        sends.push(sent(turn_context, &sends, &entity, &command, index as u32, send));
    }
    if let Some(told) = settle(&command, None, turn_context) {
        let mail = mail(turn_context, &sends, &entity, &command, u32::MAX, told.to, told.body);
        sends.push(mail);
    }
    let timers = decided.timers.into_iter().map(|timer| match timer {
        actors_core::decision::Timer::Set { name, at, body } => TimerChange::Set { name, at, body },
        actors_core::decision::Timer::Cancel { name } => TimerChange::Cancel { name },
    });
    let jobs = decided.jobs.into_iter().map(|(claim, job)| Job {
        id: job.id.clone(),
        claim,
        body: serde_json::to_vec(&job).expect("a job has string keys").into(),
    });
    Turn {
        events: decided.events,
        sends,
        timers: timers.collect(),
        leases: decided.leases,
        jobs: jobs.collect(),
        stops: decided.stops,
        reply,
        ..empty(entity, source, command, turn_context.now)
    }
}

/// Mail of an entity, with the correlation and trace that the send names.
fn sent(
    turn_context: &TurnContext<'_>,
    before: &[Mail],
    entity: &EntityAddress,
    cause: &Command,
    index: u32,
    send: Send,
) -> Mail {
    let mut mail = mail(turn_context, before, entity, cause, index, send.to, send.body);
    if let Some(origin) = send.origin {
        mail.command.correlation = origin.correlation;
        mail.command.trace = origin.trace.or(cause.trace);
    }
    mail.command.settles = send.settles;
    mail
}

/// The outcome for a sender that asked to be told of it.
fn settle(command: &Command, refusal: Option<&Refusal>, turn_context: &TurnContext<'_>) -> Option<Send> {
    if !command.settles {
        return None;
    }
    let sender = command.caller.as_ref()?.parse().ok()?;
    turn_context.undeliverable.settle(sender, command, refusal)
}

/// Mail of an entity with the next free number; further mail of one turn to the same receiver counts on from
/// there.
fn mail(
    turn_context: &TurnContext<'_>,
    before: &[Mail],
    from: &EntityAddress,
    cause: &Command,
    index: u32,
    to: EntityAddress,
    body: Body,
) -> Mail {
    let partition = to.partition(turn_context.partitions);
    let ahead = before.iter().filter(|mail| mail.partition == partition).count() as u64;
    Mail {
        partition,
        number: turn_context.outbox.next_number(partition) + ahead,
        to,
        command: Command {
            id: cause.id.derive("send", index),
            body,
            cause: Some(cause.id),
            correlation: cause.correlation,
            trace: cause.trace,
            caller: Some(SmolStr::new(from.to_string())),
            settles: false,
        },
    }
}

/// The turn of a command that its entity refuses.
fn refused(
    entity: EntityAddress,
    source: Source,
    command: Command,
    refusal: Refusal,
    turn_context: &TurnContext<'_>,
) -> Turn {
    let mut turn = refusing(entity, source, command, refusal, turn_context);
    if !tell_sender(&mut turn, turn_context) && is_handed_over(&turn) {
        let about = turn.entity.clone();
        bury(&mut turn, &about, None, turn_context);
    }
    turn
}

/// The turn of a command that its entity was not asked about or could not decide.
pub fn undecided(
    entity: EntityAddress,
    source: Source,
    command: Command,
    refusal: Refusal,
    turn_context: &TurnContext<'_>,
) -> Turn {
    let mut turn = refusing(entity, source, command, refusal, turn_context);
    if !tell_sender(&mut turn, turn_context) {
        let about = turn.entity.clone();
        bury(&mut turn, &about, None, turn_context);
    }
    turn
}

/// Adds mail with the outcome for a sender that asked for it; `true` if one did.
fn tell_sender(turn: &mut Turn, turn_context: &TurnContext<'_>) -> bool {
    let Some(told) = settle(&turn.command, turn.refusal.as_ref(), turn_context) else { return false };
    let mail = mail(turn_context, &[], &turn.entity, &turn.command, u32::MAX, told.to, told.body);
    turn.sends.push(mail);
    true
}

/// Whether a refusal must become a dead letter, because its sender would not hear of it. A handed-over
/// command that was forwarded from another partition is mail without a cause.
fn is_handed_over(turn: &Turn) -> bool {
    match turn.source {
        Source::Inbox(_) => true,
        Source::Mail(..) => turn.command.cause.is_none() || turn.command.settles,
        Source::Ask | Source::Timer(_) | Source::Lease(_) | Source::Claim => false,
    }
}

/// The turn of a refused command, with the refusal as its reply.
fn refusing(
    entity: EntityAddress,
    source: Source,
    command: Command,
    refusal: Refusal,
    turn_context: &TurnContext<'_>,
) -> Turn {
    let reply = refusal_reply(command.id, refusal.clone());
    Turn { reply, refusal: Some(refusal), ..empty(entity, source, command, turn_context.now) }
}

/// Makes a dead letter of a turn's command, which was addressed to `about`.
fn bury(turn: &mut Turn, about: &EntityAddress, subject: Option<&SmolStr>, turn_context: &TurnContext<'_>) {
    let (dead, told) = turn_context.undeliverable.bury(&Lost { turn, about, subject });
    turn.dead = Some(dead);
    let mail = told.map(|told| mail(turn_context, &[], &turn.entity, &turn.command, 0, told.to, told.body));
    turn.sends.extend(mail);
}

/// The id of a timer's command: the same after every takeover.
pub fn timer_command_id(entity: &EntityAddress, name: &str, at: Timestamp) -> CommandId {
    CommandId::from_text(&format!("timer {entity} {name} {at}"))
}
