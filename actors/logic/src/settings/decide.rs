//! Decides the commands of settings.

use actors_core::decision::Send;
use actors_core::{Context, Decision, Refusal};
use bus_schemas::commands::schedule::Recurrence;
use bus_schemas::commands::settings::{Active, Command, Proposed};
use bus_schemas::events::settings::Event;
use bus_schemas::settings::{self, ApplySettings, Lanes, Mistake, Setting};
use bus_schemas::text::{is_line, is_prose};
use bus_schemas::{EntityAddress, Timestamp};
use serde_json::Value;
use smol_str::SmolStr;

use super::state::State;
use crate::schedule::recurrence;
use crate::text::words;

/// The most watchers of one name.
const WATCHERS_MAX: usize = 10_000;
/// The most bytes of documents that one decision sends: a part of one record.
const TELL_BYTES_MAX: usize = 128 * 1024;
/// The most watchers that are told in one decision, however small the document is.
const TELL_MAX: usize = 256;
/// The longest reason, caller or problem, in bytes.
const WORDS_BYTES_MAX: usize = 1_024;
/// The timer that tells further watchers.
const TIMER: &str = "tell";

/// The decision on a command.
pub(super) fn decide(
    state: &State,
    command: Command,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    check_name(context)?;
    match command {
        Command::Propose { value, reason } => propose(state, value, reason, context),
        Command::Activate { version, reason } => activate(state, version, reason, context),
        Command::Rollback { reason } => rollback(state, reason, context),
        Command::Watch { kind, key } => watch(state, EntityAddress::new(kind, key), context),
        Command::Unwatch { kind, key } => {
            if !state.watchers.contains(&EntityAddress::new(kind.clone(), key.clone())) {
                return Ok(Decision::none());
            }
            Ok(Decision::event(Event::Unwatched { kind, key, at: context.now }))
        }
        Command::ReportApplied { host, version, problem } => {
            report_applied(state, host, version, problem, context)
        }
        Command::Tell { version, after } => Ok(match version == state.active {
            true => tell(state, version, Some(&after), Decision::none(), context),
            // Another version was activated meanwhile, and all watchers are told of that one.
            false => Decision::none(),
        }),
    }
}

fn check_reason(reason: &str) -> Result<(), Refusal> {
    let wrong = if reason.trim().is_empty() {
        Some("a change of settings needs a reason".to_owned())
    } else {
        let told = || format!("a reason has at most {WORDS_BYTES_MAX} bytes of visible text");
        (reason.len() > WORDS_BYTES_MAX || !is_prose(reason)).then(told)
    };
    wrong.map_or(Ok(()), |wrong| {
        Err(Refusal::new("invalid-reason", wrong).hint("say in a sentence why it is changed"))
    })
}

/// Refuses a document with mistakes, and names all of them.
fn check(name: &str, value: &Value, now: Timestamp) -> Result<(), Refusal> {
    let mistakes = match name == Lanes::NAME {
        true => settings::read_with::<Lanes>(value, |lanes| wrong_crons(lanes, now)).err(),
        false => settings::mistakes(name, value),
    };
    let mistakes = mistakes.unwrap_or_default();
    if mistakes.is_empty() {
        return Ok(());
    }
    let told: Vec<String> = mistakes.iter().map(Mistake::to_string).collect();
    let count = match told.len() {
        1 => "1 mistake".to_owned(),
        count => format!("{count} mistakes"),
    };
    Err(Refusal::new(
        "invalid-settings",
        format!("the document of `{name}` has {count}: {}", told.join("; ")),
    )
    .hint("mend what is named; a place is a JSON pointer, and nothing was changed"))
}

/// Maintenance windows that never begin, or whose cron expression cannot be parsed.
fn wrong_crons(lanes: &Lanes, now: Timestamp) -> Vec<Mistake> {
    let wrong = lanes.crons().filter_map(|(place, cron)| {
        let refusal = recurrence::check(&Recurrence::Cron { expression: cron.to_owned() }, now).err()?;
        Some(Mistake::new(place, format!("is \"{cron}\": {}", refusal.message)))
    });
    wrong.collect()
}

fn propose(
    state: &State,
    value: Value,
    reason: String,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    check_reason(&reason)?;
    check(context.entity.key.as_str(), &value, context.now)?;
    let (version, by) = (state.newest + 1, context.by());
    let event = Event::Proposed { version, value, reason, by, at: context.now };
    Ok(Decision::event(event).reply(&Proposed { version }))
}

/// The document of a version, checked by the current rules.
fn good_value(state: &State, version: u64, context: &Context<'_>) -> Result<Value, Refusal> {
    let name = context.entity.key.as_str();
    let value = state.value(name, version).ok_or_else(|| not_found(state, version, context))?;
    check(name, &value, context.now)?;
    Ok(value)
}

/// Refuses an unknown name.
pub(super) fn check_name(context: &Context<'_>) -> Result<(), Refusal> {
    let name = context.entity.key.as_str();
    if settings::names().any(|known| known == name) {
        return Ok(());
    }
    let names: Vec<&str> = settings::names().collect();
    Err(Refusal::new("unknown-settings", format!("there are no settings `{name}`"))
        .hint(format!("there are `{}`", names.join("`, `"))))
}

/// The refusal for a version that is not kept.
pub(super) fn not_found(state: &State, version: u64, context: &Context<'_>) -> Refusal {
    let name = &context.entity.key;
    let refusal = |message| Refusal::new("settings-version-not-found", message);
    if (1..=state.newest).contains(&version) {
        return refusal(format!("the document of version {version} of `{name}` is no longer kept")).hint(
            format!("its event has it: `orrery events --kind settings --key {name}`; propose it anew"),
        );
    }
    refusal(format!("there is no version {version} of `{name}`; the newest is {}", state.newest))
        .hint(format!("`orrery settings history {name}` lists them"))
}

fn activate(
    state: &State,
    version: u64,
    reason: String,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    check_reason(&reason)?;
    good_value(state, version, context)?;
    let (former, by) = (state.active, context.by());
    let reply = Active { version, former };
    if version == former {
        return Ok(Decision::none().reply(&reply));
    }
    let event = Event::Activated { version, former, reason, by, at: context.now };
    Ok(tell(state, version, None, Decision::event(event).reply(&reply), context))
}

fn rollback(state: &State, reason: String, context: &Context<'_>) -> Result<Decision<Event>, Refusal> {
    check_reason(&reason)?;
    let name = &context.entity.key;
    let Some(version) = state.former.last().copied() else {
        return Err(Refusal::new(
            "no-former-version",
            format!("nothing held before version {} of `{name}`", state.active),
        )
        .hint(format!(
            "`orrery settings history {name}` lists what was done; `activate` takes any version"
        )));
    };
    good_value(state, version, context)?;
    let (former, by) = (state.active, context.by());
    let event = Event::RolledBack { version, former, reason, by, at: context.now };
    let decision = Decision::event(event).reply(&Active { version, former });
    Ok(tell(state, version, None, decision, context))
}

/// Tells the watchers after `after`, as many as one record should hold; the timer tells the rest.
fn tell(
    state: &State,
    version: u64,
    after: Option<&EntityAddress>,
    mut decision: Decision<Event>,
    context: &Context<'_>,
) -> Decision<Event> {
    let Some(body) = apply(state, version, context).map(|told| told.body()) else { return decision };
    let count = (TELL_BYTES_MAX / body.bytes.len().max(1)).clamp(1, TELL_MAX);
    let mut rest = state.watchers.iter().filter(|watcher| after.is_none_or(|after| *watcher > after));
    let mut last = None;
    for watcher in rest.by_ref().take(count) {
        decision.sends.push(Send::new(watcher.clone(), body.clone()));
        last = Some(watcher);
    }
    match (rest.next(), last) {
        (Some(_), Some(last)) => {
            decision.set_timer(TIMER, context.now, &Command::Tell { version, after: last.clone() })
        }
        _ if after.is_none() => decision.cancel_timer(TIMER),
        _ => decision,
    }
}

/// The message for watchers.
fn apply(state: &State, version: u64, context: &Context<'_>) -> Option<ApplySettings> {
    let name = &context.entity.key;
    let value = state.value(name.as_str(), version)?;
    Some(ApplySettings { name: SmolStr::new(name.as_str()), version, value })
}

fn watch(state: &State, watcher: EntityAddress, context: &Context<'_>) -> Result<Decision<Event>, Refusal> {
    let is_new = !state.watchers.contains(&watcher);
    if is_new && state.watchers.len() >= WATCHERS_MAX {
        let message = format!("{WATCHERS_MAX} entities are told of `{}` already", context.entity.key);
        return Err(
            Refusal::new("too-many-watchers", message).hint("take those out that are gone, by `unwatch`")
        );
    }
    let EntityAddress { kind, key } = watcher.clone();
    let mut decision = match is_new {
        true => Decision::event(Event::Watched { kind, key, at: context.now }),
        false => Decision::none(),
    };
    decision.sends.extend(apply(state, state.active, context).map(|told| Send::new(watcher, told.body())));
    Ok(decision)
}

fn report_applied(
    state: &State,
    host: SmolStr,
    version: u64,
    problem: String,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    if !(1..=WORDS_BYTES_MAX).contains(&host.len()) || !is_line(&host) {
        let message = format!("a host has a name of at most {WORDS_BYTES_MAX} bytes of text");
        return Err(Refusal::new("invalid-report", message));
    }
    if version > state.newest {
        return Err(not_found(state, version, context));
    }
    let problem = words(problem);
    let known = state.hosts.get(&host);
    if known.is_some_and(|known| known.version == version && known.problem == problem) {
        return Ok(Decision::none());
    }
    Ok(Decision::event(Event::Applied { host, version, problem, at: context.now }))
}
