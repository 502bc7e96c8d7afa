//! Decides the commands of a dead letter.

use actors_core::decision::Send;
use actors_core::{Context, Decision, Origin, Refusal};
use bus_schemas::commands::breaker::{self, DEPENDENCY_BYTES_MAX};
use bus_schemas::commands::campaign::{Command as CampaignCommand, EntryOutcome};
use bus_schemas::commands::deadletter::{Command, Entry, Outcome, class};
use bus_schemas::commands::task;
use bus_schemas::events::deadletter::Event;
use bus_schemas::payload::{PAYLOAD_BYTES_MAX, Payload};
use bus_schemas::views::task::TaskState;
use bus_schemas::wire::WireCommand;
use bus_schemas::{Body, CommandId, EntityAddress, Hash, Key, Kind, TraceContext};

use super::resubmit;
use super::state::{State, Status};
use crate::text::{name, words};

/// How often one payload is redriven: what failed ten times fails for a reason that no eleventh try
/// mends, and a breaker that opens and closes must not send it for ever.
pub const REDRIVES_MAX: u32 = 10;
/// What stands before the entry where a dead letter has a task retried.
pub const TASK_CALLER: &str = "deadletter/";
/// The kind under which notifications that were not taken are recorded. No entity has it: their
/// sender follows the events.
const WEBHOOK: &str = "webhook";

/// What a command leads to.
pub(super) fn decide(
    state: &State,
    command: Command,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    let entry = match (&state.entry, command) {
        (None, Command::Record(entry)) => return Ok(recorded(shown(entry), context)),
        (Some(known), Command::Record(entry)) => return record_again(state, known, shown(entry), context),
        // Nobody waits for what comes of this, and there is nothing that could be settled.
        (None, Command::SettleRedrive { .. }) => return Ok(Decision::none()),
        (None, Command::Redrive { campaign: Some(campaign), .. }) => {
            let reason = "dead-letter-not-found: there is none of this name".to_owned();
            return Ok(tell(Decision::none(), &campaign, EntryOutcome::Skipped, reason, context));
        }
        (None, _) => return Err(not_found(context)),
        (Some(entry), command) => (entry, command),
    };
    match entry {
        (entry, Command::Edit { payload, to, by, reason }) => {
            check_waiting(state, context)?;
            match is_task(entry) {
                true => resubmit::check_edit(state, entry, &payload, to.as_ref(), context)?,
                false => check_edit(&payload, to.as_ref())?,
            }
            let version = state.edits.saturating_add(1);
            let (by, reason) = (name(by), words(reason));
            Ok(Decision::event(Event::Edited { version, payload, to, by, reason, at: context.now }))
        }
        (entry, Command::Redrive { by, reason, campaign }) => {
            redrive(state, entry, Request { by: name(by), reason: words(reason), campaign }, context)
        }
        (entry, Command::SettleRedrive { redrive, outcome, task }) => match task {
            Some(task) if !is_about(state, entry, &task, &outcome, context) => Ok(Decision::none()),
            _ => Ok(settle(state, entry, redrive, outcome, context)),
        },
        (_, Command::Drop { by, reason }) => drop_entry(state, name(by), words(reason), context),
        (_, Command::Record(_)) => Ok(Decision::none()),
    }
}

/// The refusal of one that nobody recorded.
pub(super) fn not_found(context: &Context<'_>) -> Refusal {
    Refusal::new("dead-letter-not-found", format!("there is no dead letter `{}`", context.entity.key))
        .hint("`orrery dead list` shows what there is")
}

/// An entry whose texts show what they hold: they are whatever somebody sent.
fn shown(entry: Entry) -> Entry {
    let Entry { reason, causes, hint, .. } = entry.clone();
    let causes = causes.into_iter().map(words).collect();
    Entry { reason: words(reason), causes, hint: hint.map(words), ..entry }
}

/// A task that failed before fails once more; another command's entry is kept under a key of its own.
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
        // What is on its way says itself how it ends.
        if state.status == Status::Redriving && is_elsewhere {
            return Ok(Decision::none());
        }
        return Ok(returned(state, &entry.class, entry.reason, entry.attempts, context));
    }
    // Whoever records it hears of no refusal, and it would be lost.
    let own = apart(&context.entity.key, &entry);
    Ok(Decision::none().send(own, &Command::Record(entry)))
}

/// The key of an entry whose own one is another entry's.
fn apart(key: &Key, entry: &Entry) -> Key {
    let text = format!("{key} {} {} {} {}", entry.class, entry.kind, entry.key, entry.command_id);
    Key::parse(&Hash::of(text.as_bytes()).to_hex()).expect("hexadecimal digits are a key")
}

/// Whether a task is the one that failed, or was submitted in its place.
fn owns(state: &State, entry: &Entry, task: &str, context: &Context<'_>) -> bool {
    let replacement = |number| resubmit::key(&context.entity.key, number).as_str() == task;
    entry.key == task || (1..=state.redrives).any(replacement)
}

/// Whether what a task says of its end is about this entry: a redrive goes through the root of a tree.
fn is_about(state: &State, entry: &Entry, task: &Key, outcome: &Outcome, context: &Context<'_>) -> bool {
    match outcome {
        Outcome::Ended { .. } => state.target.as_ref().is_none_or(|to| to.key == *task),
        Outcome::Completed => owns(state, entry, task.as_str(), context),
        Outcome::Accepted | Outcome::Refused { .. } => true,
    }
}

/// A new entry; the breaker of what it failed by hears of it.
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

/// Whether the entry is a task that failed: a task says itself how it goes on.
fn is_task(entry: &Entry) -> bool {
    [class::JOB_FAILED, class::JOB_AMBIGUOUS].contains(&entry.class.as_str())
}

fn is_own_kind(kind: &Kind) -> bool {
    *kind == Command::KIND
}

/// Who wants a redrive, and why.
struct Request {
    by: String,
    reason: String,
    campaign: Option<Key>,
}

fn redrive(
    state: &State,
    entry: &Entry,
    request: Request,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    let ready = check_waiting(state, context)
        .and_then(|()| check_limit(state, entry, context))
        .and_then(|()| target(state, entry, request.campaign.is_some(), context));
    let (to, body) = match (ready, &request.campaign) {
        (Ok(ready), _) => ready,
        (Err(refusal), None) => return Err(refusal),
        // The campaign counts what it sent, and would not hear of a refusal.
        (Err(refusal), Some(campaign)) => {
            let reason = format!("{}: {}", refusal.code, refusal.message);
            return Ok(tell(Decision::none(), campaign, EntryOutcome::Skipped, reason, context));
        }
    };
    let number = state.redrives.saturating_add(1);
    let Request { by, reason, campaign } = request;
    let started = Event::RedriveStarted {
        redrive: context.command,
        number,
        to: to.clone(),
        campaign,
        by,
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
        true => "`orrery task retry` of its task goes on where it stopped; otherwise drop it",
        false => "edit its payload, or drop it",
    };
    let message = format!("the dead letter `{key}` was redriven {REDRIVES_MAX} times");
    Err(Refusal::new("redrive-limit", message).hint(hint))
}

/// To whom a redrive goes, and with what; no body where its sender follows the events.
fn target(
    state: &State,
    entry: &Entry,
    in_campaign: bool,
    context: &Context<'_>,
) -> Result<(EntityAddress, Option<Body>), Refusal> {
    let not_redrivable = |why: &str, hint: &str| {
        Err(Refusal::new("not-redrivable", format!("the dead letter `{}` {why}", context.entity.key))
            .hint(hint))
    };
    if state.ambiguous && in_campaign {
        return not_redrivable(
            "is a task whose side effect may have happened",
            "find out whether it did, record it as reconciled, then redrive this one by name",
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
        let retry = task::Command::Retry { end: None, by: format!("{TASK_CALLER}{}", context.entity.key) };
        return Ok((EntityAddress::new(task::Command::KIND, root), Some(Body::json(&retry))));
    }
    if entry.class == class::NOTIFICATION_FAILED && to.kind.as_str() == WEBHOOK {
        return Ok((to, None));
    }
    match state.payload.as_ref().or(entry.payload.as_ref()).and_then(Payload::body) {
        Some(body) => Ok((to, Some(body))),
        None => not_redrivable("has no payload that could be sent", "edit it, and give it one"),
    }
}

/// What came of a redrive, or of the task that it is about.
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
        // A task that is tried again is not done yet: it says itself how it ends.
        Outcome::Accepted if is_current && !is_task => redriven(state, context),
        Outcome::Refused { code, message } if is_current => returned(state, &code, message, 1, context),
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
    match &state.campaign {
        Some(campaign) => tell(decision, campaign, EntryOutcome::Redriven, String::new(), context),
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
    match &state.campaign {
        Some(campaign) => tell(decision, campaign, EntryOutcome::Returned, told, context),
        None => decision,
    }
}

fn drop_entry(
    state: &State,
    by: String,
    reason: String,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    match state.status {
        Status::Dropped => return Ok(Decision::none()),
        Status::Redriven => check_waiting(state, context)?,
        Status::Waiting | Status::Redriving => {}
    }
    let decision = Decision::event(Event::Dropped { by, reason, at: context.now });
    Ok(match &state.campaign {
        Some(campaign) => tell(decision, campaign, EntryOutcome::Skipped, "it was dropped".into(), context),
        None => decision,
    })
}

/// Tells a campaign what came of this entry.
fn tell(
    decision: Decision<Event>,
    campaign: &Key,
    outcome: EntryOutcome,
    reason: String,
    context: &Context<'_>,
) -> Decision<Event> {
    let entry = context.entity.key.clone();
    decision.send(campaign.clone(), &CampaignCommand::SettleEntry { entry, outcome, reason })
}
