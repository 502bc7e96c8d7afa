//! Decides the commands of settings.

use actors_core::decision::Send;
use actors_core::{Context, Decision, Refusal};
use bus_schemas::commands::config::{Active, Command, Proposed};
use bus_schemas::commands::schedule::Recurrence;
use bus_schemas::events::config::Event;
use bus_schemas::settings::{self, ApplyConfig, Lanes, Mistake, Setting};
use bus_schemas::text::{is_line, is_prose};
use bus_schemas::{EntityAddress, Timestamp};
use serde_json::Value;
use smol_str::SmolStr;

use super::state::State;
use crate::schedule::recurrence;
use crate::text::words;

/// Entities that are told of one name.
const WATCHERS_MAX: usize = 10_000;
/// Documents that one decision sends, in bytes: a part of what one record holds.
const TELL_BYTES_MAX: usize = 128 * 1024;
/// Watchers that are told in one decision, however small the document is.
const TELL_MAX: usize = 256;
/// The longest reason, name of a person or problem, in bytes.
const WORDS_BYTES_MAX: usize = 1_024;
/// The timer that tells the watchers who were not told yet.
const TIMER: &str = "tell";

/// What a command leads to.
pub(super) fn decide(
    state: &State,
    command: Command,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    check_name(context)?;
    match command {
        Command::Propose { value, reason, by } => propose(state, value, (reason, by), context),
        Command::Activate { version, reason, by } => activate(state, version, (reason, by), context),
        Command::Rollback { reason, by } => rollback(state, (reason, by), context),
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
            // Another version was activated meanwhile, and everybody is told of that one.
            false => Decision::none(),
        }),
    }
}

/// What was said about a change: why and who.
type Words = (String, String);

fn check_words((reason, by): &Words) -> Result<(), Refusal> {
    let wrong = if reason.trim().is_empty() {
        Some("a change of settings needs a reason".to_owned())
    } else {
        let long = |text: &String| text.len() > WORDS_BYTES_MAX;
        let told = || format!("reason and name have at most {WORDS_BYTES_MAX} bytes of visible text");
        let hides = !is_prose(reason) || !is_line(by);
        (long(reason) || long(by) || hides).then(told)
    };
    wrong.map_or(Ok(()), |wrong| {
        Err(Refusal::new("invalid-reason", wrong).hint("say in a sentence why it is changed"))
    })
}

/// Refuses a document with mistakes: all of them are named.
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
    Err(Refusal::new("invalid-config", format!("the document of `{name}` has {count}: {}", told.join("; ")))
        .hint("mend what is named; a place is a JSON pointer, and nothing was changed"))
}

/// The maintenance windows that never begin, or whose cron expression can not be read.
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
    (reason, by): Words,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    let words = (reason, by);
    check_words(&words)?;
    check(context.entity.key.as_str(), &value, context.now)?;
    let (version, (reason, by)) = (state.newest + 1, words);
    let event = Event::Proposed { version, value, reason, by, at: context.now };
    Ok(Decision::event(event).reply(&Proposed { version }))
}

/// The document of a version, checked by the rules of today.
fn good_value(state: &State, version: u64, context: &Context<'_>) -> Result<Value, Refusal> {
    let name = context.entity.key.as_str();
    let value = state.value(name, version).ok_or_else(|| not_found(state, version, context))?;
    check(name, &value, context.now)?;
    Ok(value)
}

/// Refuses a name that no settings have.
pub(super) fn check_name(context: &Context<'_>) -> Result<(), Refusal> {
    let name = context.entity.key.as_str();
    if settings::names().any(|known| known == name) {
        return Ok(());
    }
    let names: Vec<&str> = settings::names().collect();
    Err(Refusal::new("unknown-config", format!("there are no settings `{name}`"))
        .hint(format!("there are `{}`", names.join("`, `"))))
}

/// The refusal of a version that is not at hand.
pub(super) fn not_found(state: &State, version: u64, context: &Context<'_>) -> Refusal {
    let name = &context.entity.key;
    let refusal = |message| Refusal::new("config-version-not-found", message);
    if (1..=state.newest).contains(&version) {
        return refusal(format!("the document of version {version} of `{name}` is no longer kept"))
            .hint(format!("its event has it: `orrery events --kind config --key {name}`; propose it anew"));
    }
    refusal(format!("there is no version {version} of `{name}`; the newest is {}", state.newest))
        .hint(format!("`orrery config history {name}` lists them"))
}

fn activate(
    state: &State,
    version: u64,
    words: Words,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    check_words(&words)?;
    good_value(state, version, context)?;
    let (former, (reason, by)) = (state.active, words);
    let reply = Active { version, former };
    if version == former {
        return Ok(Decision::none().reply(&reply));
    }
    let event = Event::Activated { version, former, reason, by, at: context.now };
    Ok(tell(state, version, None, Decision::event(event).reply(&reply), context))
}

fn rollback(state: &State, words: Words, context: &Context<'_>) -> Result<Decision<Event>, Refusal> {
    check_words(&words)?;
    let name = &context.entity.key;
    let Some(version) = state.former.last().copied() else {
        return Err(Refusal::new(
            "no-former-version",
            format!("nothing held before version {} of `{name}`", state.active),
        )
        .hint(format!("`orrery config history {name}` lists what was done; `activate` takes any version")));
    };
    good_value(state, version, context)?;
    let (former, (reason, by)) = (state.active, words);
    let event = Event::RolledBack { version, former, reason, by, at: context.now };
    let decision = Decision::event(event).reply(&Active { version, former });
    Ok(tell(state, version, None, decision, context))
}

/// Tells the watchers behind `after`, as many as one record should hold; the timer tells the rest.
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

/// What watchers are told.
fn apply(state: &State, version: u64, context: &Context<'_>) -> Option<ApplyConfig> {
    let name = &context.entity.key;
    let value = state.value(name.as_str(), version)?;
    Some(ApplyConfig { name: SmolStr::new(name.as_str()), version, value })
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
    let short = (1..=WORDS_BYTES_MAX).contains(&host.len()) && problem.len() <= WORDS_BYTES_MAX;
    if !short || !is_line(&host) {
        let message =
            format!("a host has a name, and it and the problem have at most {WORDS_BYTES_MAX} bytes of text");
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
