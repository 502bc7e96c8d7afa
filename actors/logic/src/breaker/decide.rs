//! Decides the commands of a breaker.

use actors_core::{Context, Decision, Key, Refusal, Revision, Timestamp};
use bus_schemas::chaos::TRIP_REASON;
use bus_schemas::commands::breaker::{
    Command, DEPENDENCY_BYTES_MAX, Description, Phase, Policy, ProbeAnswer, Standing,
};
use bus_schemas::events::breaker::{CloseCause, Event, OpenCause};
use bus_schemas::settings::{ApplyConfig, Breakers};
use bus_schemas::text::{is_line, is_prose, prose};
use smol_str::SmolStr;

use super::state::{Counts, State, fold};
use super::{letters, policy, tell};
use crate::halt::check_reason;
use crate::rules;

/// The timer that ends the open time.
const END_OPEN: &str = "end-open";
/// The timer after which lanes may try once more.
const RENEW: &str = "renew-probes";
/// Each lane is told of each change.
const LANES_MAX: usize = 1_000;
/// As long as a worker's name with its host's.
const REPORTER_BYTES_MAX: usize = 160;
/// A group holds what one worker calls in about a second.
const CALLS_MAX: u32 = 1_000_000;
/// A failure is told in a sentence; the rest of it is cut off.
const ERROR_BYTES_MAX: usize = 512;
/// Why and who are told in a paragraph.
const TEXT_BYTES_MAX: usize = 4_096;

/// What a command leads to.
pub(super) fn decide(
    state: &State,
    command: Command,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    check_dependency(context)?;
    let decision = decide_known(state, command, context)?;
    // From its first event on it hears of its policy.
    let is_new = context.revision == Revision(0) && !decision.events.is_empty();
    Ok(if is_new { rules::watch::<Breakers, Event>(decision, context) } else { decision })
}

fn decide_known(state: &State, command: Command, context: &Context<'_>) -> Result<Decision<Event>, Refusal> {
    let at = context.now;
    match command {
        Command::Report { reporter, succeeded, failed, slow, consecutive_failed, last_error } => {
            check_report(&reporter, succeeded, failed, slow)?;
            let last_error = cut(prose(&last_error), ERROR_BYTES_MAX);
            let consecutive_failed = consecutive_failed.min(failed);
            let reported =
                Event::Reported { reporter, succeeded, failed, slow, consecutive_failed, last_error, at };
            let calls = succeeded.saturating_add(failed);
            Ok(with_standing(report(state, reported, calls, context), state))
        }
        Command::Watch { lane } => watch(state, lane, context),
        Command::RequestProbe { reporter } => {
            check_reporter(&reporter)?;
            Ok(request_probe(state, reporter, context))
        }
        Command::Trip { reason, by } => {
            check_words(&reason, &by)?;
            // An experiment has a reason of its own, and this one names it.
            if !reason.starts_with(TRIP_REASON) {
                check_reason(&reason)?;
            }
            Ok(trip(state, reason, by, context))
        }
        Command::Reset { reason, by } => {
            check_words("", &by)?;
            check_reason(&reason)?;
            if state.phase == Phase::Closed {
                return Ok(Decision::none());
            }
            let reason = format!("reset: {reason}");
            Ok(close(Decision::none(), state, CloseCause::Reset, reason, by, context))
        }
        Command::Untrip { tripped, reason, by } => {
            check_words(&reason, &by)?;
            let is_ours = state.phase == Phase::Open && state.reason == tripped_for(&tripped);
            if !is_ours {
                return Ok(Decision::none());
            }
            Ok(close(Decision::none(), state, CloseCause::Reset, format!("reset: {reason}"), by, context))
        }
        Command::Configure { policy, by } => configure(state, policy, by, at),
        Command::ApplyConfig(config) => apply_config(state, &config, context),
        Command::EndOpen => Ok(end_open(state, context)),
        Command::ExpireProbe { permit } => Ok(match state.permits.contains_key(&permit) {
            true => Decision::event(Event::ProbeExpired { permit, at }),
            false => Decision::none(),
        }),
        Command::RenewProbes => Ok(match state.phase {
            Phase::HalfOpen => try_again(state, context),
            Phase::Closed | Phase::Open => Decision::none(),
        }),
        Command::NoteLetter { entry } => Ok(letters::note(state, entry, context)),
    }
}

/// Calls were made: while closed they count in the window, while half-open they are probes.
fn report(state: &State, reported: Event, calls: u32, context: &Context<'_>) -> Decision<Event> {
    if calls == 0 || state.phase == Phase::Open {
        return Decision::none();
    }
    let Event::Reported { reporter, failed, slow, last_error, .. } = &reported else {
        return Decision::none();
    };
    let (failed, slow, last_error) = (*failed, *slow, last_error.clone());
    let mut decision = Decision::none();
    if state.phase == Phase::HalfOpen {
        let settled: Vec<u64> = state.permits_of(reporter).take(calls as usize).collect();
        for permit in settled {
            decision = decision.cancel_timer(&timer_name(permit));
        }
    }
    let mut after = state.clone();
    fold(&mut after, &reported);
    let decision = decision.and(reported);
    let counts = after.counts(context.now);
    if state.phase == Phase::Closed {
        return match policy::verdict(&after, counts) {
            Some((cause, reason)) => {
                open(decision, &after, cause, told(reason, &last_error), counts, context)
            }
            None => decision,
        };
    }
    let counts = Counts { calls, failed, slow };
    if failed > 0 {
        let reason = told("a call that was tried failed".to_owned(), &last_error);
        return open(decision, &after, OpenCause::ProbeFailed, reason, counts, context);
    }
    if policy::reaches(slow, calls, after.policy.slow_percent) {
        let reason = "a call that was tried was slow".to_owned();
        return open(decision, &after, OpenCause::ProbeFailed, reason, counts, context);
    }
    if after.probed >= after.policy.successes {
        let reason = format!("{} calls that were tried succeeded", after.probed);
        return close(decision, &after, CloseCause::Probed, reason, String::new(), context);
    }
    decision
}

/// Opens it by itself, for a time.
fn open(
    decision: Decision<Event>,
    state: &State,
    cause: OpenCause,
    reason: String,
    counts: Counts,
    context: &Context<'_>,
) -> Decision<Event> {
    let at = context.now;
    // One that fails again soon after probes closed it was not well yet.
    let soon = |mended: Timestamp| at.0.saturating_sub(mended.0) <= state.policy.window_ms;
    let times = match state.phase == Phase::HalfOpen || state.mended_at.is_some_and(soon) {
        true => state.times.saturating_add(1),
        false => 1,
    };
    let until = at.plus_ms(policy::open_ms(&state.policy, times, context));
    let Counts { calls, failed, .. } = counts;
    let by = String::new();
    let opened = Event::Opened { cause, reason, by, calls, failed, times, until: Some(until), at };
    let decision = forget_probes(decision, state).set_timer(END_OPEN, until, &Command::EndOpen);
    let after = folded(state, &opened);
    tell::opened(decision.and(opened), &after, context)
}

/// Opens it until it is reset.
fn trip(state: &State, reason: String, by: String, context: &Context<'_>) -> Decision<Event> {
    // A person's word replaces what was said before: an experiment then lets go of nothing.
    let replaces = state.reason != tripped_for(&reason) && !reason.starts_with(TRIP_REASON);
    if state.phase == Phase::Open && state.until.is_none() && !replaces {
        return Decision::none();
    }
    let Counts { calls, failed, .. } = state.counts(context.now);
    let opened = Event::Opened {
        cause: OpenCause::Tripped,
        reason: tripped_for(&reason),
        by,
        calls,
        failed,
        times: state.times,
        until: None,
        at: context.now,
    };
    let decision = forget_probes(Decision::none(), state).cancel_timer(END_OPEN);
    let after = folded(state, &opened);
    tell::opened(decision.and(opened), &after, context)
}

/// What a breaker says that was tripped.
fn tripped_for(reason: &str) -> String {
    format!("tripped: {reason}")
}

fn close(
    decision: Decision<Event>,
    state: &State,
    cause: CloseCause,
    reason: String,
    by: String,
    context: &Context<'_>,
) -> Decision<Event> {
    let closed = Event::Closed { cause, reason, by, at: context.now };
    let decision = forget_probes(decision, state).cancel_timer(END_OPEN);
    let after = folded(state, &closed);
    let decision = tell::closed(decision.and(closed), &after, context);
    match letters::drain(state, context) {
        Some(filter) => tell::drained(decision, &after, filter, context),
        None => decision,
    }
}

/// Timer: the open time is over.
fn end_open(state: &State, context: &Context<'_>) -> Decision<Event> {
    let Some(until) = state.until.filter(|_| state.phase == Phase::Open) else { return Decision::none() };
    if context.now < until {
        // Somebody sent it early: the timer stands.
        return Decision::none().set_timer(END_OPEN, until, &Command::EndOpen);
    }
    let half_opened = Event::HalfOpened { probes: state.policy.probes, at: context.now };
    let after = folded(state, &half_opened);
    let decision = tell::half_opened(Decision::event(half_opened), &after, context);
    renew(decision, &after, context.now)
}

/// Timer: nothing came of what was let through.
fn try_again(state: &State, context: &Context<'_>) -> Decision<Event> {
    let decision = letters::attempt(tell::probing(Decision::none(), state, context), state, context);
    let after = decision.events.iter().fold(state.clone(), |state, event| folded(&state, event));
    renew(decision, &after, context.now)
}

/// Jobs that lanes let through may never call the dependency; then others must be let through.
pub(super) fn renew(decision: Decision<Event>, state: &State, now: Timestamp) -> Decision<Event> {
    match state.has_to_try() {
        true => decision.set_timer(RENEW, now.plus_ms(state.policy.probe_timeout_ms), &Command::RenewProbes),
        false => decision,
    }
}

/// The timers of a half-open breaker mean nothing after it.
fn forget_probes(mut decision: Decision<Event>, state: &State) -> Decision<Event> {
    if state.phase != Phase::HalfOpen {
        return decision;
    }
    for permit in state.permits.keys() {
        decision = decision.cancel_timer(&timer_name(*permit));
    }
    decision.cancel_timer(RENEW)
}

fn request_probe(state: &State, reporter: SmolStr, context: &Context<'_>) -> Decision<Event> {
    let answer = |granted, permit| ProbeAnswer { granted, permit, standing: standing(state) };
    match state.phase {
        Phase::Closed => Decision::none().reply(&answer(true, None)),
        Phase::Open => Decision::none().reply(&answer(false, None)),
        Phase::HalfOpen if state.permits.len() >= state.policy.probes as usize => {
            Decision::none().reply(&answer(false, None))
        }
        Phase::HalfOpen => {
            let (permit, at) = (state.permits_given + 1, context.now);
            let until = at.plus_ms(state.policy.probe_timeout_ms);
            Decision::event(Event::ProbeGranted { reporter, permit, until, at })
                .set_timer(&timer_name(permit), until, &Command::ExpireProbe { permit })
                .reply(&answer(true, Some(permit)))
        }
    }
}

fn standing(state: &State) -> Standing {
    Standing {
        phase: state.phase,
        since: state.since,
        reason: state.reason.clone(),
        slow_call_ms: state.policy.slow_call_ms,
    }
}

/// A worker that missed an event hears from the answer to its report how things stand.
fn with_standing(decision: Decision<Event>, before: &State) -> Decision<Event> {
    let mut after = before.clone();
    decision.events.iter().for_each(|event| fold(&mut after, event));
    decision.reply(&standing(&after))
}

fn watch(state: &State, lane: Key, context: &Context<'_>) -> Result<Decision<Event>, Refusal> {
    if state.lanes.contains(&lane) {
        return Ok(tell::lane(Decision::none(), state, &lane, false, context));
    }
    if state.lanes.len() >= LANES_MAX {
        let message = format!("`{}` is watched by {LANES_MAX} lanes", context.entity);
        return Err(Refusal::new("too-many-lanes", message).hint("let fewer lanes depend on it"));
    }
    let watched = Event::Watched { lane: lane.clone(), at: context.now };
    let after = folded(state, &watched);
    let decision = tell::lane(Decision::event(watched), &after, &lane, true, context);
    Ok(match (state.phase, state.has_to_try()) {
        (Phase::HalfOpen, false) => renew(decision, &after, context.now),
        _ => decision,
    })
}

fn configure(state: &State, new: Policy, by: String, at: Timestamp) -> Result<Decision<Event>, Refusal> {
    policy::check(&new)?;
    check_words("", &by)?;
    Ok(match state.policy == new {
        true => Decision::none(),
        false => Decision::event(Event::Configured { policy: new, by, version: None, at }),
    })
}

/// The policy that the settings have for this dependency.
fn apply_config(
    state: &State,
    config: &ApplyConfig,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    let policies: Breakers = rules::read(config)?;
    // Nobody has ever activated anything: what a person configured stays.
    if config.version == 0 && state.version.is_none() {
        return Ok(Decision::none());
    }
    let policy = policies.policy(&context.entity.key).unwrap_or_default();
    let (by, version) = (rules::by::<Breakers>(), Some(config.version));
    // A version that says the same is noted as well: people ask which one a breaker runs.
    if state.policy == policy && state.version == version {
        return Ok(Decision::none());
    }
    Ok(Decision::event(Event::Configured { policy, by, version, at: context.now }))
}

pub(super) fn describe(state: &State, context: &Context<'_>) -> Description {
    let Counts { calls, failed, slow } = state.counts(context.now);
    Description {
        phase: state.phase,
        since: state.since,
        until: state.until,
        reason: state.reason.clone(),
        times: state.times,
        calls,
        failed,
        slow,
        consecutive_failed: state.consecutive_failed,
        last_error: state.last_error.clone(),
        lanes: state.lanes.iter().cloned().collect(),
        probing: u32::try_from(state.permits.len()).unwrap_or(u32::MAX),
        policy: state.policy.clone(),
        version: state.version,
        revision: context.revision.0,
    }
}

pub(super) fn folded(state: &State, event: &Event) -> State {
    let mut after = state.clone();
    fold(&mut after, event);
    after
}

fn timer_name(permit: u64) -> String {
    format!("probe-{permit}")
}

/// A reason with what the last failure said.
fn told(reason: String, last_error: &str) -> String {
    if last_error.is_empty() { reason } else { format!("{reason}, last: {last_error}") }
}

fn cut(mut text: String, bytes_max: usize) -> String {
    text.truncate(text.floor_char_boundary(bytes_max));
    text
}

pub(super) fn check_dependency(context: &Context<'_>) -> Result<(), Refusal> {
    if context.entity.key.as_str().len() <= DEPENDENCY_BYTES_MAX {
        return Ok(());
    }
    let message = format!("a dependency's name has at most {DEPENDENCY_BYTES_MAX} bytes");
    Err(Refusal::new("invalid-dependency", message).hint("name it as `<sort>.<name>`, such as `tool.git`"))
}

fn check_reporter(reporter: &str) -> Result<(), Refusal> {
    if (1..=REPORTER_BYTES_MAX).contains(&reporter.len()) && is_line(reporter) {
        return Ok(());
    }
    let message = format!("a reporter's name has 1 to {REPORTER_BYTES_MAX} bytes of visible text");
    Err(Refusal::new("invalid-report", message).hint("name the worker as it registered"))
}

fn check_report(reporter: &str, succeeded: u32, failed: u32, slow: u32) -> Result<(), Refusal> {
    check_reporter(reporter)?;
    let calls = u64::from(succeeded) + u64::from(failed);
    if calls > u64::from(CALLS_MAX) {
        let message = format!("a report holds at most {CALLS_MAX} calls, not {calls}");
        return Err(Refusal::new("invalid-report", message).hint("report more often"));
    }
    if u64::from(slow) > calls {
        let message = format!("{slow} of {calls} calls can not have been slow");
        return Err(Refusal::new("invalid-report", message).hint("count every call as succeeded or failed"));
    }
    Ok(())
}

fn check_words(reason: &str, by: &str) -> Result<(), Refusal> {
    let short = reason.len() <= TEXT_BYTES_MAX && by.len() <= TEXT_BYTES_MAX;
    if short && is_prose(reason) && is_line(by) {
        return Ok(());
    }
    let message = format!("reason and name have at most {TEXT_BYTES_MAX} bytes of visible text each");
    Err(Refusal::new("invalid-reason", message).hint("say it in a sentence"))
}
