//! Decides the commands of a dead letter.

use actors_core::decision::Send;
use actors_core::{Context, Decision, Origin, Refusal};
use bus_schemas::commands::breaker::{self, DEPENDENCY_BYTES_MAX};
use bus_schemas::commands::dead_letter::{Command, Entry, Outcome, class};
use bus_schemas::commands::redrive::{Command as RedriveCommand, EntryOutcome};
use bus_schemas::commands::task;
use bus_schemas::events::dead_letter::Event;
use bus_schemas::ids::{KEY_BYTES_MAX, KIND_BYTES_MAX};
use bus_schemas::kinds::is_from_system;
use bus_schemas::payload::{PAYLOAD_BYTES_MAX, Payload};
use bus_schemas::text::{cut, one_line};
use bus_schemas::views::task::TaskState;
use bus_schemas::wire::WireCommand;
use bus_schemas::{Body, CommandId, EntityAddress, Hash, Key, Kind, TraceContext};
use smol_str::SmolStr;

use super::resubmit;
use super::state::{State, Status};
use crate::system::was_system;
use crate::text::{code, words};

/// The longest name of a sender in bytes: an entity, as `<kind>/<key>`.
const CALLER_BYTES_MAX: usize = KIND_BYTES_MAX + 1 + KEY_BYTES_MAX;
/// The most redrives of one payload: after ten failures another try does not help, and a breaker that opens
/// and closes must not repeat it forever.
pub const REDRIVES_MAX: u32 = 10;
/// The prefix of the caller when a dead letter retries a task; the entry follows.
pub const TASK_CALLER: &str = "dead-letter/";
/// The kind for undelivered notifications. No entity has it: the notifier follows the events.
const WEBHOOK: &str = "webhook";

/// The decision on a command.
pub(super) fn decide(
    state: &State,
    command: Command,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    let entry = match (&state.entry, command) {
        (None, Command::Record(entry)) => return Ok(recorded(shown(entry), context)),
        (Some(known), Command::Record(entry)) => return record_again(state, known, shown(entry), context),
        // No caller waits for this outcome, and there is nothing to settle.
        (None, Command::SettleRedrive { .. }) => return Ok(Decision::none()),
        (None, Command::Redrive { in_redrive: Some(in_redrive), .. }) => {
            let reason = "dead-letter-not-found: there is none of this name".to_owned();
            return Ok(tell(Decision::none(), &in_redrive, EntryOutcome::Skipped, reason, context));
        }
        (None, _) => return Err(not_found(context)),
        (Some(entry), command) => (entry, command),
    };
    match entry {
        (entry, Command::Edit { payload, to, reason }) => {
            check_waiting(state, context)?;
            match is_task(entry) {
                true => resubmit::check_edit(state, entry, &payload, to.as_ref(), context)?,
                false => check_edit(&payload, to.as_ref())?,
            }
            let version = state.edits.saturating_add(1);
            let (by, reason) = (context.by(), words(reason));
            Ok(Decision::event(Event::Edited { version, payload, to, by, reason, at: context.now }))
        }
        (entry, Command::Redrive { reason, in_redrive }) => {
            redrive(state, entry, words(reason), in_redrive, context)
        }
        (entry, Command::SettleRedrive { redrive, outcome, task }) => match task {
            Some(task) if !is_about(state, entry, &task, &outcome, context) => Ok(Decision::none()),
            _ => Ok(settle(state, entry, redrive, outcome, context)),
        },
        (_, Command::Drop { reason }) => drop_entry(state, words(reason), context),
        (_, Command::Record(_)) => Ok(Decision::none()),
    }
}

/// The refusal for an entry that was never recorded.
pub(super) fn not_found(context: &Context<'_>) -> Refusal {
    Refusal::new("dead-letter-not-found", format!("there is no dead letter `{}`", context.entity.key))
        .hint("`orrery dead-letters list` shows what there is")
}

/// An entry with its texts cut and hidden characters replaced: they come from outside.
fn shown(entry: Entry) -> Entry {
    let word = |text: SmolStr| SmolStr::new(code(text.into()));
    Entry {
        class: word(entry.class),
        reason: words(entry.reason),
        causes: entry.causes.into_iter().map(words).collect(),
        hint: entry.hint.map(words),
        source: entry.source.map(word),
        subject: entry.subject.map(words),
        caller: entry.caller.map(|caller| cut(&one_line(&caller), CALLER_BYTES_MAX).into()),
        ..entry
    }
}

/// Records again: a failed task has failed once more; the entry of another command gets a key of its own.
fn record_again(
    state: &State,
    known: &Entry,
    entry: Entry,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    let same_origin = known.class == entry.class && known.kind == entry.kind && known.key == entry.key;
    if *known == entry || (same_origin && known.command_id == entry.command_id) {
        return Ok(Decision::none());
    }
    if is_task(known) && is_task(&entry) && owns(state, known, &entry.key, context) {
        let target = state.target.as_ref().map(|to| to.key.as_str());
        let is_elsewhere = state.edits > 0 && target != Some(entry.key.as_str());
        // A redrive in progress reports its own end.
        if state.status == Status::Redriving && is_elsewhere {
            return Ok(Decision::none());
        }
        return Ok(returned(state, &entry.class, entry.reason, entry.attempts, context));
    }
    // The sender learns of no refusal, so a refused entry would be lost.
    let own = apart(&context.entity.key, &entry);
    Ok(Decision::none().send(own, &Command::Record(entry)))
}

/// The key for an entry whose own key is taken by another entry.
fn apart(key: &Key, entry: &Entry) -> Key {
    let text = format!("{key} {} {} {} {}", entry.class, entry.kind, entry.key, entry.command_id);
    Key::parse(&Hash::of(text.as_bytes()).to_hex()).expect("hexadecimal digits are a key")
}

/// Whether a task is the one that failed, or was submitted in its place.
fn owns(state: &State, entry: &Entry, task: &str, context: &Context<'_>) -> bool {
    let replacement = |number| resubmit::key(&context.entity.key, number).as_str() == task;
    entry.key == task || (1..=state.redrives).any(replacement)
}

/// Whether a task's outcome is about this entry: a redrive goes through the root of a tree.
fn is_about(state: &State, entry: &Entry, task: &Key, outcome: &Outcome, context: &Context<'_>) -> bool {
    match outcome {
        Outcome::Ended { .. } => state.target.as_ref().is_none_or(|to| to.key == *task),
        Outcome::Completed => owns(state, entry, task.as_str(), context),
        Outcome::Accepted | Outcome::Refused { .. } => true,
    }
}

/// A new entry; the breaker of the failed dependency is told.
fn recorded(entry: Entry, context: &Context<'_>) -> Decision<Event> {
    let of_breaker = |dependency: &Key| dependency.as_str().len() <= DEPENDENCY_BYTES_MAX;
    let dependency = entry.dependency.clone().filter(of_breaker);
    let decision = Decision::event(Event::Recorded { entry });
    let note = breaker::Command::NoteLetter { entry: context.entity.key.clone() };
    match dependency {
        Some(dependency) => decision.send(dependency, &note),
        None => decision,
    }
}

fn check_waiting(state: &State, context: &Context<'_>) -> Result<(), Refusal> {
    if state.status == Status::Waiting {
        return Ok(());
    }
    let status = state.status.as_str();
    let refusal =
        Refusal::new("not-waiting", format!("the dead letter `{}` is {status}", context.entity.key));
    Err(match state.status {
        Status::Redriving => refusal.hint("wait until it is known what came of it, or drop it"),
        _ => refusal.hint("nothing more is done about it; send the command anew if you must"),
    })
}

fn check_edit(payload: &Payload, to: Option<&EntityAddress>) -> Result<(), Refusal> {
    if to.is_some_and(|to| is_own_kind(&to.kind)) {
        return Err(Refusal::new("not-editable", "a dead letter is not redriven to another one")
            .hint("name the entity that is to do it"));
    }
    check_payload(payload).map(drop)
}

/// The bytes of a payload that can be sent.
pub(super) fn check_payload(payload: &Payload) -> Result<Body, Refusal> {
    match payload.body() {
        None => Err(Refusal::new("invalid-payload", "the content is not base64")
            .hint("use RFC 4648 with padding, or the encoding `text`")),
        Some(body) if body.bytes.len() > PAYLOAD_BYTES_MAX => {
            let bytes = body.bytes.len();
            Err(Refusal::new(
                "invalid-payload",
                format!("the payload has {bytes} bytes, at most {PAYLOAD_BYTES_MAX} are taken"),
            )
            .hint("store large content as a blob and send its hash"))
        }
        Some(body) => Ok(body),
    }
}

/// Whether the entry is a failed task, which reports its own end.
fn is_task(entry: &Entry) -> bool {
    [class::JOB_FAILED, class::JOB_AMBIGUOUS].contains(&entry.class.as_str())
}

fn is_own_kind(kind: &Kind) -> bool {
    *kind == Command::KIND
}

fn redrive(
    state: &State,
    entry: &Entry,
    reason: String,
    in_redrive: Option<Key>,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    let ready = check_waiting(state, context)
        .and_then(|()| check_limit(state, entry, context))
        .and_then(|()| target(state, entry, in_redrive.is_some(), context));
    let (to, body) = match (ready, &in_redrive) {
        (Ok(ready), _) => ready,
        (Err(refusal), None) => return Err(refusal),
        // The redrive counts what it sent, and would not learn of a refusal.
        (Err(refusal), Some(in_redrive)) => {
            let reason = format!("{}: {}", refusal.code, refusal.message);
            return Ok(tell(Decision::none(), in_redrive, EntryOutcome::Skipped, reason, context));
        }
    };
    let number = state.redrives.saturating_add(1);
    let started = Event::RedriveStarted {
        redrive: context.command,
        number,
        to: to.clone(),
        in_redrive,
        by: context.by(),
        reason,
        at: context.now,
    };
    let mut decision = Decision::event(started);
    if let Some(body) = body {
        let trace = entry.traceparent.as_deref().and_then(TraceContext::parse);
        let origin = Some(Origin { correlation: entry.correlation, trace });
        decision.sends.push(Send { to, body, origin, settles: true });
    }
    Ok(decision)
}

fn check_limit(state: &State, entry: &Entry, context: &Context<'_>) -> Result<(), Refusal> {
    if state.redrives_since_edit < REDRIVES_MAX {
        return Ok(());
    }
    let key = &context.entity.key;
    let hint = match is_task(entry) && (entry.key.contains('.') || state.ambiguous) {
        true => {
            "a retry of its task goes on where it stopped: `orrery tasks show` prints the command; otherwise drop it"
        }
        false => "edit its payload, or drop it",
    };
    let message = format!("the dead letter `{key}` was redriven {REDRIVES_MAX} times");
    Err(Refusal::new("redrive-limit", message).hint(hint))
}

/// The receiver and the command of a redrive; no command if its sender follows the events.
fn target(
    state: &State,
    entry: &Entry,
    in_redrive: bool,
    context: &Context<'_>,
) -> Result<(EntityAddress, Option<Body>), Refusal> {
    let not_redrivable = |why: &str, hint: &str| {
        Err(Refusal::new("not-redrivable", format!("the dead letter `{}` {why}", context.entity.key))
            .hint(hint))
    };
    if state.ambiguous && in_redrive {
        return not_redrivable(
            "is a task whose side effect may have happened",
            "find out whether it did, and redrive the dead letter by name if it did not",
        );
    }
    let written = Kind::parse(&entry.kind).ok().zip(Key::parse(&entry.key).ok());
    let written = written.map(|(kind, key)| EntityAddress::new(kind, key));
    let Some(to) = state.to.clone().or(written.filter(|to| !is_own_kind(&to.kind))) else {
        return not_redrivable("names no entity that could do it", "edit it, and say for whom it is");
    };
    if is_task(entry) {
        if let Some(edited) = &state.payload {
            return resubmit::target(state, edited, context);
        }
        // A step is retried through its root.
        let root = Key::parse(to.key.root()).unwrap_or(to.key);
        let retry = task::Command::Retry { end: None };
        return Ok((EntityAddress::new(task::Command::KIND, root), Some(Body::json(&retry))));
    }
    if entry.class == class::NOTIFICATION_FAILED && to.kind.as_str() == WEBHOOK {
        return Ok((to, None));
    }
    // An edit is its editor's, whoever sent the original.
    let is_edited = state.payload.is_some() || state.to.is_some();
    let (source, caller) = (entry.source.as_ref(), entry.caller.as_ref());
    match state.payload.as_ref().or(entry.payload.as_ref()).and_then(Payload::body) {
        Some(body) if is_from_system(&to.kind, &body) && (is_edited || !was_system(source, caller)) => {
            not_redrivable("has a command that only the system sends", "drop it")
        }
        Some(body) => Ok((to, Some(body))),
        None => not_redrivable("has no payload that could be sent", "edit it, and give it one"),
    }
}

/// Handles the outcome of a redrive, or of the task that it is about.
fn settle(
    state: &State,
    entry: &Entry,
    redrive: Option<CommandId>,
    outcome: Outcome,
    context: &Context<'_>,
) -> Decision<Event> {
    let under_way = state.status == Status::Redriving;
    let is_current = under_way && redrive.is_none_or(|redrive| state.redrive == Some(redrive));
    let is_task = is_task(entry);
    match outcome {
        // A task that is retried is not done yet: it reports its own end.
        Outcome::Accepted if is_current && !is_task => redriven(state, context),
        Outcome::Refused { code: word, message } if is_current => {
            returned(state, &code(word.into()), words(message), 1, context)
        }
        Outcome::Completed if is_task && matches!(state.status, Status::Waiting | Status::Redriving) => {
            redriven(state, context)
        }
        Outcome::Ended { state: TaskState::Completed } if is_task && under_way => redriven(state, context),
        Outcome::Ended { state: end } if is_task && under_way => {
            let end: &'static str = end.into();
            returned(state, "not-completed", format!("the task was tried again and is {end}"), 1, context)
        }
        _ => Decision::none(),
    }
}

fn redriven(state: &State, context: &Context<'_>) -> Decision<Event> {
    let decision = Decision::event(Event::Redriven { at: context.now });
    match &state.in_redrive {
        Some(in_redrive) => tell(decision, in_redrive, EntryOutcome::Redriven, String::new(), context),
        None => decision,
    }
}

fn returned(
    state: &State,
    code: &str,
    reason: String,
    attempts: u32,
    context: &Context<'_>,
) -> Decision<Event> {
    let told = format!("{code}: {reason}");
    let decision = Decision::event(Event::Returned { code: code.into(), reason, attempts, at: context.now });
    match &state.in_redrive {
        Some(in_redrive) => tell(decision, in_redrive, EntryOutcome::Returned, told, context),
        None => decision,
    }
}

fn drop_entry(state: &State, reason: String, context: &Context<'_>) -> Result<Decision<Event>, Refusal> {
    match state.status {
        Status::Dropped => return Ok(Decision::none()),
        Status::Redriven => check_waiting(state, context)?,
        Status::Waiting | Status::Redriving => {}
    }
    let decision = Decision::event(Event::Dropped { by: context.by(), reason, at: context.now });
    Ok(match &state.in_redrive {
        Some(in_redrive) => {
            tell(decision, in_redrive, EntryOutcome::Skipped, "the dead letter was dropped".into(), context)
        }
        None => decision,
    })
}

/// Tells a redrive the outcome of this entry.
fn tell(
    decision: Decision<Event>,
    in_redrive: &Key,
    outcome: EntryOutcome,
    reason: String,
    context: &Context<'_>,
) -> Decision<Event> {
    let entry = context.entity.key.clone();
    decision.send(in_redrive.clone(), &RedriveCommand::SettleEntry { entry, outcome, reason })
}
