//! Attempts of a leaf: assigned, started, kept alive, completed, failed, tried again.

use actors_core::{Context, Decision, Key, Refusal};
use bus_schemas::commands::broker;
use bus_schemas::commands::deadletter;
use bus_schemas::commands::task::{Command, Failure, Plan, Policy};
use bus_schemas::events::task::Event;
use bus_schemas::jobs::{Artifact, FailureClass};
use bus_schemas::settings::{Backoff, Duration};
use bus_schemas::views::task::TaskState;
use serde_json::Value;

use super::super::check;
use super::super::draft::dead_letter_key;
use super::super::state::{Phase, State};
use super::{Draft, budget, check_current, children, input, was_completed};

/// What one task may bring out: parents repeat the artifacts of their children.
pub(super) const ARTIFACTS_MAX: usize = 1_000;
/// What a worker says when its agent does not know what became of an effect.
const EFFECT_UNKNOWN: &str = "effect-unknown";
/// Pauses are spread by this many thousandths to both sides, so that attempts do not come in step.
const JITTER_PER_MILLE: u32 = 200;

/// From the broker: an agent may do this attempt now.
pub(super) fn assign(
    state: &State,
    agent: Key,
    attempt: u32,
    policy: Option<Box<Policy>>,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    let mut draft = Draft::of(state, context);
    let is_current = state.attempt == attempt;
    match state.phase {
        Phase::Queued if is_current => {
            budget::apply_policy(&mut draft, policy);
            if budget::root_may_begin(&mut draft, attempt) {
                draft.emit(Event::JobIssued { attempt, agent: agent.clone(), at: context.now });
                draft.issue_job(agent);
                budget::tell_job(&mut draft, attempt);
            }
        }
        // Said twice: the slot is in use.
        Phase::Issued | Phase::Running if is_current => {}
        _ => draft.release(attempt),
    }
    draft.done()
}

/// From a worker: the work begins.
///
/// An attempt is done by one worker. Where that one was lost, its lease ends the attempt and the
/// next one may be anybody's: so the attempt's number alone keeps a former worker out.
pub(super) fn start(
    state: &State,
    attempt: u32,
    worker: String,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    check_current(state, attempt, context)?;
    if let Some(other) = state.worker.as_ref().filter(|other| **other != worker) {
        return Err(Refusal::new("attempt-taken", format!("attempt {attempt} is done by `{other}`"))
            .hint("forget this delivery; if that worker is lost, another attempt follows"));
    }
    let mut draft = Draft::of(state, context);
    if state.worker.is_none() {
        draft.emit(Event::JobStarted { attempt, worker, at: context.now });
    }
    draft.await_progress();
    draft.await_worker();
    draft.done()
}

/// From a worker: still at it.
pub(super) fn renew(
    state: &State,
    attempt: u32,
    progressed: bool,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    check_current(state, attempt, context)?;
    let mut draft = Draft::of(state, context);
    draft.await_worker();
    if progressed && state.phase == Phase::Running {
        draft.await_progress();
    }
    draft.done()
}

/// What a worker did not say in time.
#[derive(Debug, Clone, Copy)]
pub(super) enum Silence {
    /// Anything.
    Lease,
    /// That it came further.
    Progress,
}

/// Timer: the worker was silent for too long.
pub(super) fn expire(
    state: &State,
    attempt: u32,
    silence: Silence,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    let mut draft = Draft::of(state, context);
    if check_current(state, attempt, context).is_ok() {
        let (code, message) = match silence {
            Silence::Lease => {
                ("worker-silent", format!("the worker of attempt {attempt} was silent for too long"))
            }
            Silence::Progress => {
                let limit = state.policy.retry.progress;
                ("no-progress", format!("attempt {attempt} came no further within {limit}"))
            }
        };
        let failure = Failure {
            class: FailureClass::Transient,
            code: code.to_owned(),
            message,
            hint: None,
            dependency: None,
        };
        end_attempt(&mut draft, failure);
    }
    draft.done()
}

/// The attempt is taken back: the next one waits at once, and none of `attempts_max` is used up.
pub(super) fn withdraw(
    state: &State,
    attempt: u32,
    reason: String,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    let mut draft = Draft::of(state, context);
    if state.attempt != attempt || !matches!(state.phase, Phase::Issued | Phase::Running) {
        return draft.done();
    }
    if state.open_effects().next().is_some() {
        // What was begun may have happened: that is for the ledger to say, whoever stopped it.
        let code = "withdrawn".to_owned();
        end_attempt(
            &mut draft,
            Failure { class: FailureClass::Ambiguous, code, message: reason, hint: None, dependency: None },
        );
        return draft.done();
    }
    draft.leave_phase();
    draft.emit(Event::AttemptWithdrawn { attempt, reason });
    draft.queue(attempt.saturating_add(1));
    draft.done()
}

/// From a worker: not done.
pub(super) fn fail(
    state: &State,
    attempt: u32,
    failure: Failure,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    if attempt > 0 && state.failed_attempt == attempt && state.cancel.is_none() {
        return Ok(Decision::none());
    }
    check_current(state, attempt, context)?;
    let mut draft = Draft::of(state, context);
    end_attempt(&mut draft, failure);
    draft.done()
}

/// Timer: the pause before the next attempt is over.
pub(super) fn end_backoff(
    state: &State,
    attempt: u32,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    let mut draft = Draft::of(state, context);
    if state.phase == Phase::Backoff && attempt == state.attempt.saturating_add(1) {
        draft.queue(attempt);
    }
    draft.done()
}

/// What a worker says of a job that is done.
pub(super) struct Outcome {
    pub(super) artifacts: Vec<Artifact>,
    pub(super) result: Value,
    pub(super) plan: Option<Plan>,
}

/// From a worker: done, or a plan of how to do it.
pub(super) fn complete(
    state: &State,
    attempt: u32,
    outcome: Outcome,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    if was_completed(state, attempt) {
        return Ok(Decision::none());
    }
    check_current(state, attempt, context)?;
    let Outcome { artifacts, result, plan } = outcome;
    if artifacts.len() > ARTIFACTS_MAX {
        return Err(Refusal::new(
            "too-many-artifacts",
            format!("a task has at most {ARTIFACTS_MAX} artifacts, not {}", artifacts.len()),
        )
        .hint("pack them into an archive"));
    }
    let mut draft = Draft::of(state, context);
    draft.outcome = broker::Outcome::Done;
    match plan.map(|plan| check::plan(&plan, draft.key()).map(|()| plan)) {
        None => draft.end(Event::Completed { artifacts, result, at: context.now }),
        Some(Ok(plan)) => {
            draft.leave_phase();
            children::begin(&mut draft, plan);
        }
        Some(Err(refusal)) => {
            let failure = Failure {
                class: FailureClass::Permanent,
                code: refusal.code.to_string(),
                message: refusal.message,
                hint: refusal.hint,
                dependency: None,
            };
            end_attempt(&mut draft, failure);
        }
    }
    draft.done()
}

/// The current attempt failed: tries again after a pause where that may help.
fn end_attempt(draft: &mut Draft<'_>, mut failure: Failure) {
    let (now, attempt) = (draft.now(), draft.state.attempt);
    draft.outcome = match failure.class {
        FailureClass::Permanent | FailureClass::Budget => broker::Outcome::Done,
        FailureClass::Canceled => broker::Outcome::Withdrawn,
        FailureClass::Transient | FailureClass::Ambiguous | FailureClass::Poison => broker::Outcome::Failed,
    };
    draft.give_up_effects("the attempt ended before it was said how it ended");
    let is_left = may_try_again(draft);
    if let Some((effect, _)) = draft.state.unsettled_effect() {
        let effect = effect.clone();
        failure.class = FailureClass::Ambiguous;
        failure.hint = Some(format!("find out whether `{effect}` was done, and answer the task's question"));
        let is_unknown = failure.code == EFFECT_UNKNOWN;
        draft.leave_phase();
        draft.emit(Event::AttemptFailed { attempt, failure });
        // Its agent is asked first, before it does anything else; then a person.
        match is_left && !is_unknown {
            true => draft.queue(attempt.saturating_add(1)),
            false => input::ask_about_effect(draft),
        }
        return;
    }
    if failure.class == FailureClass::Transient && is_left {
        draft.leave_phase();
        draft.emit(Event::AttemptFailed { attempt, failure });
        let until = now.plus_ms(backoff_ms(draft));
        let next = attempt.saturating_add(1);
        draft.emit(Event::BackoffStarted { attempt: next, until, at: now });
        draft.set_timer("backoff", until, &Command::EndBackoff { attempt: next });
        return;
    }
    draft.emit(Event::AttemptFailed { attempt, failure: failure.clone() });
    fail_for_good(draft, failure);
}

/// Whether its bounds allow one more attempt.
fn may_try_again(draft: &Draft<'_>) -> bool {
    let (submission, retry, now) = (draft.submission(), &draft.state.policy.retry, draft.now());
    let attempts = submission.attempts_max.unwrap_or(retry.attempts);
    let is_late = |time: Duration| now >= draft.state.submitted_at.plus_ms(time.as_ms());
    draft.state.failures.saturating_add(1) < attempts
        && submission.deadline.is_none_or(|deadline| now < deadline)
        && !retry.deadline.is_some_and(is_late)
}

/// A leaf fails, and people are to hear of it.
pub(super) fn fail_for_good(draft: &mut Draft<'_>, failure: Failure) {
    if failure.class != FailureClass::Canceled {
        record_dead_letter(draft, &failure);
    }
    draft.fail(failure);
}

fn record_dead_letter(draft: &mut Draft<'_>, failure: &Failure) {
    let class: &'static str = failure.class.into();
    let doer = match (&draft.state.agent, &draft.state.worker) {
        (Some(agent), Some(worker)) => format!(", by worker `{worker}` of agent `{agent}`"),
        (Some(agent), None) => format!(", by agent `{agent}`"),
        _ => String::new(),
    };
    let (reason, to) = (format!("{}: {}", failure.code, failure.message), ("task", draft.key().as_str()));
    let ids = (draft.context.command, draft.context.correlation);
    let entry = deadletter::Entry {
        attempts: draft.state.failures.max(1),
        causes: vec![format!("attempt {} failed as {class}{doer}", draft.state.attempt)],
        hint: failure.hint.clone(),
        source: Some("task".into()),
        dependency: dependency(draft, failure),
        ..deadletter::Entry::new(entry_class(failure.class), reason, to, ids, draft.now())
    };
    let first = draft.state.dead_letter.unwrap_or(draft.state.attempt);
    draft.send(dead_letter_key(draft.key(), first), &deadletter::Command::Record(entry));
}

/// What the attempt failed by: what the agent said, or the agent itself where its own breaker counts
/// such failures.
fn dependency(draft: &Draft<'_>, failure: &Failure) -> Option<Key> {
    let counts = matches!(failure.class, FailureClass::Transient | FailureClass::Poison);
    let agent = draft.state.agent.as_ref().filter(|_| counts);
    failure.dependency.clone().or_else(|| Key::parse(&format!("agent.{}", agent?)).ok())
}

/// What may have happened already is not tried again with many others.
fn entry_class(class: FailureClass) -> &'static str {
    match class {
        FailureClass::Ambiguous => deadletter::class::JOB_AMBIGUOUS,
        _ => deadletter::class::JOB_FAILED,
    }
}

/// As long as the settings say, with a jitter that replays alike.
fn backoff_ms(draft: &Draft<'_>) -> u64 {
    let (state, retry) = (&draft.state, &draft.state.policy.retry);
    let id = draft.context.id("backoff", state.attempt).0;
    let seed = u32::from_be_bytes(id.as_bytes()[..4].try_into().expect("an id has 16 bytes"));
    let pause = retry.pause(state.failures, state.backoff, seed.into()).as_ms();
    if retry.backoff == Backoff::DecorrelatedJitter {
        return pause;
    }
    let per_mille = 1_000 - JITTER_PER_MILLE + seed % (2 * JITTER_PER_MILLE + 1);
    pause * u64::from(per_mille) / 1_000
}

/// Why the deadline ends a task.
pub(super) fn deadline_failure() -> Failure {
    Failure {
        class: FailureClass::Permanent,
        code: "deadline-exceeded".to_owned(),
        message: "the deadline came before the work was done".to_owned(),
        hint: Some("submit it again with a later deadline".to_owned()),
        dependency: None,
    }
}

/// Whether a parent may try this child again.
pub(super) fn is_retryable(state: TaskState) -> bool {
    matches!(state, TaskState::Failed | TaskState::Canceled)
}
