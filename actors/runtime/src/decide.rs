//! Stage 3, decide: one command, one entity, one turn. No I/O, no clock.

use actors_core::decision::Send;
use actors_core::{Context, Origin, TurnError};
use bus_schemas::commands::deadletter::{Command as DeadLetterCommand, Entry, Outcome, class};
use bus_schemas::envelope::code;
use bus_schemas::payload::Payload;
use bus_schemas::record::{Command, DeadLetter, Job, Mail, Source, TimerChange, Turn};
use bus_schemas::wire::WireCommand;
use bus_schemas::{Body, CommandId, EntityAddress, Key, Refusal, Reply, Revision, Timestamp, text};
use bytes::Bytes;
use smol_str::SmolStr;

use crate::fold::{Cached, Stopped};
use crate::inbox::{Unreadable, refusal_reply};
use crate::state::Outbox;

/// Why something could not be done, as its dead letter says it: some sentences. A parser may name the whole of
/// what it did not understand.
const REASON_BYTES_MAX: usize = 4 * 1024;

/// The entity named in the turn of a message whose subject names none.
pub(crate) fn nowhere() -> EntityAddress {
    EntityAddress::new(DeadLetterCommand::KIND, Key::parse("unreadable").expect("a constant"))
}

/// What a turn needs beside the entity.
#[derive(Debug, Clone, Copy)]
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
        partitions: desk.partitions,
        revision: instance.revision(),
        now: desk.now,
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
            accepted(to, source, command, turn, revision, desk)
        }
        Err(TurnError::Refused(refusal)) => refused(to, source, command, refusal, None, desk),
        Err(TurnError::Malformed(reason)) => {
            let refusal = Refusal::new(code::MALFORMED, text::cut(&reason, REASON_BYTES_MAX))
                .hint("see the command's JSON schema");
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
    let mut turn = refusing(nowhere(), source, command, unreadable.refusal, desk);
    bury(&mut turn, &about, class, Some(unreadable.subject), desk);
    turn
}

/// The turn of a command for a kind that nobody knows.
pub fn unknown_kind(to: EntityAddress, source: Source, command: Command, desk: &Desk<'_>) -> Turn {
    let refusal = Refusal::new(code::UNKNOWN_KIND, format!("no entity of kind `{}` exists here", to.kind));
    refused(to, source, command, refusal, Some(code::UNKNOWN_KIND), desk)
}

/// The turn of a command for an entity that is kept apart.
pub fn quarantined(to: EntityAddress, source: Source, command: Command, desk: &Desk<'_>) -> Turn {
    let refusal = keeps_apart(&to);
    refused(to, source, command, refusal, Some(code::ENTITY_QUARANTINED), desk)
}

/// What whoever asks an entity is told that is kept apart.
pub(crate) fn keeps_apart(entity: &EntityAddress) -> Refusal {
    Refusal::new(code::ENTITY_QUARANTINED, format!("`{entity}` is quarantined"))
        .hint(format!("`orrery heal log` says why; `orrery heal release {entity}` lets it take commands"))
}

/// The turn of a command that this host's configuration does not allow.
pub fn forbidden(
    to: EntityAddress,
    source: Source,
    command: Command,
    refusal: Refusal,
    desk: &Desk<'_>,
) -> Turn {
    refused(to, source, command, refusal, Some(class::REFUSED), desk)
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
    let message = format!("the command id `{}` was used for another entity or with another body", command.id);
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
        Source::Mail(..) | Source::Timer(_) | Source::Lease(_) | Source::Claim => Bytes::new(),
    };
    let mut sends = Vec::with_capacity(decided.sends.len());
    for (index, send) in decided.sends.into_iter().enumerate() {
        sends.push(sent(desk, &sends, &entity, &command, index as u32, send));
    }
    if let Some(letter) = settled(&source, &command) {
        let mail = settle(desk, &sends, letter, &command, Outcome::Accepted);
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
        ..empty(entity, source, command, desk.now)
    }
}

/// Mail of an entity: under the request that it says, and with the sender's name where it
/// must be known what came of it. Mail with a cause has no other caller, so the name is proof.
fn sent(
    desk: &Desk<'_>,
    before: &[Mail],
    entity: &EntityAddress,
    cause: &Command,
    index: u32,
    send: Send,
) -> Mail {
    let mut mail = mail(desk, before, cause, index, send.to, send.body);
    if let Some(origin) = send.origin {
        mail.command.correlation = origin.correlation;
        mail.command.trace = origin.trace.or(cause.trace);
    }
    if send.settles {
        mail.command.caller = Some(SmolStr::new(entity.to_string()));
    }
    mail
}

/// The dead letter that waits to hear what came of this command.
fn settled(source: &Source, command: &Command) -> Option<EntityAddress> {
    let Source::Mail(..) = source else { return None };
    // What outsiders send on has a caller of their choice, and no cause.
    command.cause?;
    let letter: EntityAddress = command.caller.as_ref()?.parse().ok()?;
    (letter.kind == DeadLetterCommand::KIND).then_some(letter)
}

/// Tells a dead letter what came of its redrive, whose id is that of the command that caused it.
fn settle(
    desk: &Desk<'_>,
    before: &[Mail],
    letter: EntityAddress,
    command: &Command,
    outcome: Outcome,
) -> Mail {
    let told = DeadLetterCommand::SettleRedrive { redrive: command.cause, outcome, task: None };
    mail(desk, before, command, u32::MAX, letter, Body::json(&told))
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
    let mut turn = refusing(entity, source, command, refusal, desk);
    let class = class.or(is_handed_over(&turn).then_some(class::REFUSED));
    if let Some(letter) = settled(&turn.source, &turn.command) {
        let (code, message) = turn.refusal.clone().map(|refusal| (refusal.code, refusal.message)).unzip();
        let (code, message) = (code.unwrap_or_default(), message.unwrap_or_default());
        let message = text::cut(&message, REASON_BYTES_MAX);
        let told = settle(desk, &[], letter, &turn.command, Outcome::Refused { code, message });
        turn.sends.push(told);
    } else if let Some(class) = class {
        let about = turn.entity.clone();
        bury(&mut turn, &about, class, None, desk);
    }
    turn
}

/// Whether the sender would not hear of a refusal and somebody must. What was handed over and sent on
/// from another partition is mail without a cause; what an entity must not lose has its name.
fn is_handed_over(turn: &Turn) -> bool {
    match turn.source {
        Source::Inbox(_) => true,
        Source::Mail(..) => turn.command.cause.is_none() || turn.command.caller.is_some(),
        Source::Ask | Source::Timer(_) | Source::Lease(_) | Source::Claim => false,
    }
}

/// The turn of a command that leads to nothing, and the answer that says so.
fn refusing(
    entity: EntityAddress,
    source: Source,
    command: Command,
    refusal: Refusal,
    desk: &Desk<'_>,
) -> Turn {
    let reply = refusal_reply(command.id, refusal.clone());
    Turn { reply, refusal: Some(refusal), ..empty(entity, source, command, desk.now) }
}

/// Makes a dead letter of a turn's command, which was meant for `about`.
fn bury(
    turn: &mut Turn,
    about: &EntityAddress,
    class: &'static str,
    subject: Option<SmolStr>,
    desk: &Desk<'_>,
) {
    let refusal = turn.refusal.clone();
    let (code, message, hint) =
        refusal.map(|refusal| (refusal.code, refusal.message, refusal.hint)).unwrap_or_default();
    let reason = if class == class::REFUSED { format!("{code}: {message}") } else { message };
    let reason = text::cut(&reason, REASON_BYTES_MAX);
    let entry = turn.command.id.0.simple().to_string();
    turn.dead = Some(DeadLetter {
        entry: SmolStr::new(&entry),
        class: SmolStr::new_static(class),
        reason: reason.clone(),
        subject: subject.clone(),
    });
    // A dead letter about a dead letter could go on for ever: that one has no entity.
    if turn.entity.kind != DeadLetterCommand::KIND || turn.entity == nowhere() {
        let (command, to) = (&turn.command, (about.kind.as_str(), about.key.as_str()));
        let record = DeadLetterCommand::Record(Entry {
            traceparent: command.trace.map(|trace| trace.to_traceparent()),
            hint,
            source: Some(SmolStr::new_static(word(&turn.source))),
            subject: subject.map(Into::into),
            caller: command.caller.clone(),
            cause: command.cause,
            payload: Payload::of(&command.body),
            ..Entry::new(class, reason, to, (command.id, command.correlation), desk.now)
        });
        let key = Key::parse(&entry).expect("32 hexadecimal digits are a key");
        let to = EntityAddress::new(DeadLetterCommand::KIND, key);
        let mail = mail(desk, &[], &turn.command, 0, to, Body::json(&record));
        turn.sends.push(mail);
    }
}

/// How a command came, in a word.
fn word(source: &Source) -> &'static str {
    match source {
        Source::Ask => "ask",
        Source::Inbox(_) => "inbox",
        Source::Mail(..) => "mail",
        Source::Timer(_) => "timer",
        Source::Lease(_) => "lease",
        Source::Claim => "claim",
    }
}

/// The id of the command that a timer sends: the same at every takeover.
pub fn timer_command_id(entity: &EntityAddress, name: &str, at: Timestamp) -> CommandId {
    CommandId::from_text(&format!("timer {entity} {name} {at}"))
}
