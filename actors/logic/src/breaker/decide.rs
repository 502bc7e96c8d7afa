//! Decides the commands of a breaker.

use actors_core::{Context, Decision, Key, Refusal, Revision, Timestamp};
use bus_schemas::chaos::TRIP_REASON;
use bus_schemas::commands::breaker::{
    BreakerStatus, Command, DEPENDENCY_BYTES_MAX, Description, Phase, Policy, ProbeAnswer,
};
use bus_schemas::events::breaker::{CloseCause, Event, OpenCause};
use bus_schemas::settings::{ApplySettings, Breakers};
use bus_schemas::text::{cut, is_line, is_prose, prose};
use smol_str::SmolStr;

use super::state::{Counts, State, fold};
use super::{letters, policy, tell};
use crate::halt::check_reason;
use crate::rules;

/// The timer that ends the open phase.
const END_OPEN: &str = "end-open";
/// The timer after which lanes may probe again.
const RENEW: &str = "renew-probes";
/// The most watching lanes: each is told of each transition.
const LANES_MAX: usize = 1_000;
/// The longest name of a reporter in bytes: a worker's name with its host's.
const REPORTER_BYTES_MAX: usize = 160;
/// The most calls in one report: a report covers about a second of one worker.
const CALLS_MAX: u32 = 1_000_000;
/// The longest failure message in bytes; the rest is cut off.
const ERROR_BYTES_MAX: usize = 512;
/// The longest reason or caller in bytes.
const TEXT_BYTES_MAX: usize = 4_096;

/// The decision on a command.
pub(super) fn decide(
    state: &State,
    command: Command,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    check_dependency(context)?;
    let decision = decide_known(state, command, context)?;
    // The first event makes it a breaker; then it asks for its policy.
    let is_new = context.revision == Revision(0) && !decision.events.is_empty();
    Ok(if is_new { rules::watch::<Breakers, Event>(decision, context) } else { decision })
}

fn decide_known(state: &State, command: Command, context: &Context<'_>) -> Result<Decision<Event>, Refusal> {
    let at = context.now;
    match command {
        Command::Report { reporter, succeeded, failed, slow, consecutive_failed, last_error } => {
            check_report(&reporter, succeeded, failed, slow)?;
            let last_error = cut(&prose(&last_error), ERROR_BYTES_MAX);
            let consecutive_failed = consecutive_failed.min(failed);
            let reported =
                Event::Reported { reporter, succeeded, failed, slow, consecutive_failed, last_error, at };
            let calls = succeeded.saturating_add(failed);
            Ok(with_status(report(state, reported, calls, context), state))
        }
        Command::Watch { lane } => watch(state, lane, context),
        Command::RequestProbe { reporter } => {
            check_reporter(&reporter)?;
            Ok(request_probe(state, reporter, context))
        }
        Command::Trip { reason } => {
            // The prefix is reserved for experiments, which untrip by their reason.
            if !reason.starts_with(TRIP_REASON) {
                check_reason(&reason)?;
            }
            check_words(&reason)?;
            Ok(trip(state, reason, context))
        }
        Command::Reset { reason } => {
            check_reason(&reason)?;
            if state.phase == Phase::Closed {
                return Ok(Decision::none());
            }
            let reason = format!("reset: {reason}");
            Ok(close(Decision::none(), state, CloseCause::Reset, reason, context.by(), context))
        }
        Command::Untrip { tripped, reason } => {
            check_words(&reason)?;
            let is_ours = state.phase == Phase::Open && state.reason == tripped_for(&tripped);
            if !is_ours {
                return Ok(Decision::none());
            }
            let reason = format!("reset: {reason}");
            Ok(close(Decision::none(), state, CloseCause::Reset, reason, context.by(), context))
        }
        Command::Configure { policy } => configure(state, policy, context),
        Command::ApplySettings(config) => apply_settings(state, &config, context),
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

/// Reports calls: while closed they count in the window, while half-open they are probes.
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

/// Opens it automatically, for a limited time.
fn open(
    decision: Decision<Event>,
    state: &State,
    cause: OpenCause,
    reason: String,
    counts: Counts,
    context: &Context<'_>,
) -> Decision<Event> {
    let at = context.now;
    // A breaker that opens again soon after probes closed it had not recovered.
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
fn trip(state: &State, reason: String, context: &Context<'_>) -> Decision<Event> {
    // A person's reason replaces the earlier one, so that an experiment no longer untrips it.
    let replaces = state.reason != tripped_for(&reason) && !reason.starts_with(TRIP_REASON);
    if state.phase == Phase::Open && state.until.is_none() && !replaces {
        return Decision::none();
    }
    let Counts { calls, failed, .. } = state.counts(context.now);
    let opened = Event::Opened {
        cause: OpenCause::Tripped,
        reason: tripped_for(&reason),
        by: context.by(),
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

/// The reason of a tripped breaker.
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

/// Timer: the open phase is over.
fn end_open(state: &State, context: &Context<'_>) -> Decision<Event> {
    let Some(until) = state.until.filter(|_| state.phase == Phase::Open) else { return Decision::none() };
    if !context.is_due(until) {
        // The command was sent early: the timer stays.
        return Decision::none().set_timer(END_OPEN, until, &Command::EndOpen);
    }
    let half_opened = Event::HalfOpened { probes: state.policy.probes, at: context.now };
    let after = folded(state, &half_opened);
    let decision = tell::half_opened(Decision::event(half_opened), &after, context);
    renew(decision, &after, context.now)
}

/// Timer: the probes that lanes let through had no outcome.
fn try_again(state: &State, context: &Context<'_>) -> Decision<Event> {
    let decision = letters::attempt(tell::probing(Decision::none(), state, context), state, context);
    let after = decision.events.iter().fold(state.clone(), |state, event| folded(&state, event));
    renew(decision, &after, context.now)
}

/// Lets lanes send further probes: those let through may never call the dependency.
pub(super) fn renew(decision: Decision<Event>, state: &State, now: Timestamp) -> Decision<Event> {
    match state.has_to_try() {
        true => decision.set_timer(RENEW, now.plus_ms(state.policy.probe_timeout_ms), &Command::RenewProbes),
        false => decision,
    }
}

/// Cancels the timers of the half-open phase.
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
    let answer = |granted, permit| ProbeAnswer { granted, permit, status: status(state) };
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

fn status(state: &State) -> BreakerStatus {
    BreakerStatus {
        phase: state.phase,
        since: state.since,
        reason: state.reason.clone(),
        slow_call_ms: state.policy.slow_call_ms,
    }
}

/// Adds the status to the reply, for a worker that missed an event.
fn with_status(decision: Decision<Event>, before: &State) -> Decision<Event> {
    let mut after = before.clone();
    decision.events.iter().for_each(|event| fold(&mut after, event));
    decision.reply(&status(&after))
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

fn configure(state: &State, new: Policy, context: &Context<'_>) -> Result<Decision<Event>, Refusal> {
    policy::check(&new)?;
    let (by, at) = (context.by(), context.now);
    Ok(match state.policy == new {
        true => Decision::none(),
        false => Decision::event(Event::Configured { policy: new, by, version: None, at }),
    })
}

/// The policy that the settings have for this dependency.
fn apply_settings(
    state: &State,
    config: &ApplySettings,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    let policies: Breakers = rules::read(config)?;
    // No version was ever activated: a person's policy stays.
    if config.version == 0 && state.version.is_none() {
        return Ok(Decision::none());
    }
    let policy = policies.policy(&context.entity.key).unwrap_or_default();
    let (by, version) = (context.by(), Some(config.version));
    // A version with the same policy is noted too, so that it can be shown.
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

/// A reason with the message of the last failure.
fn told(reason: String, last_error: &str) -> String {
    if last_error.is_empty() { reason } else { format!("{reason}, last: {last_error}") }
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
        let message = format!("{slow} of {calls} calls cannot have been slow");
        return Err(Refusal::new("invalid-report", message).hint("count every call as succeeded or failed"));
    }
    Ok(())
}

fn check_words(reason: &str) -> Result<(), Refusal> {
    if reason.len() <= TEXT_BYTES_MAX && is_prose(reason) {
        return Ok(());
    }
    let message = format!("a reason has at most {TEXT_BYTES_MAX} bytes of visible text");
    Err(Refusal::new("invalid-reason", message).hint("say it in a sentence"))
}
