//! Attempts of a leaf: assigned, started, kept alive, completed, failed, tried again.

use actors_core::{Context, Decision, Key, Refusal};
use bus_schemas::commands::deadletter;
use bus_schemas::commands::task::{Command, Failure, Plan, Policy};
use bus_schemas::commands::{breaker, broker};
use bus_schemas::events::task::{Event, WithdrawnBy};
use bus_schemas::jobs::{Artifact, FailureClass, StepResult};
use bus_schemas::payload::Payload;
use bus_schemas::settings::{Backoff, Duration};
use bus_schemas::views::task::TaskState;
use bus_schemas::{Body, CommandId, Hash};
use serde_json::Value;
use smol_str::SmolStr;

use super::super::check;
use super::super::draft::dead_letter_key;
use super::super::state::{Phase, State};
use super::{Draft, budget, check_current, children, input, is_current, step, was_completed};

/// What one task may bring out: parents repeat the artifacts of their children.
pub(super) const ARTIFACTS_MAX: usize = 1_000;
/// What a worker says when its agent does not know what became of an effect.
const EFFECT_UNKNOWN: &str = "effect-unknown";
/// Pauses are spread by this many thousandths to both sides, so that attempts do not come in step.
const JITTER_PER_MILLE: u32 = 200;

/// A worker has an attempt.
pub(super) struct Issue {
    pub(super) agent: Key,
    pub(super) worker: SmolStr,
    pub(super) claim: CommandId,
    pub(super) attempt: u32,
    pub(super) token: SmolStr,
}

/// From its queue: a worker does this attempt.
pub(super) fn assign(
    state: &State,
    issue: Issue,
    policy: Option<Box<Policy>>,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    let mut draft = Draft::of(state, context);
    let Issue { agent, worker, claim, attempt, token } = issue;
    let is_latest = state.attempt == attempt;
    match state.phase {
        Phase::Queued if is_latest => {
            budget::apply_policy(&mut draft, policy);
            if budget::root_may_begin(&mut draft, attempt) {
                let hash = Hash::of(token.as_bytes());
                let at = context.now;
                draft.emit(Event::JobIssued { attempt, agent: agent.clone(), worker, token: hash, at });
                draft.issue_job(claim, token, agent);
                budget::tell_job(&mut draft, attempt);
            }
        }
        // Said twice: the slot is in use.
        Phase::Running if is_latest => {}
        _ => draft.release(attempt),
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
    if is_current(state, attempt) && state.cancel.is_none() && !state.status.is_final() {
        let transient = FailureClass::Transient;
        let (class, code, message) = match silence {
            Silence::Lease => {
                let message = format!("the worker of attempt {attempt} was silent for too long");
                (transient, "worker-silent", message)
            }
            Silence::Progress => {
                let limit = state.policy.retry.progress;
                (transient, "no-progress", format!("attempt {attempt} came no further within {limit}"))
            }
        };
        let code = code.to_owned();
        end_attempt(&mut draft, Failure { class, code, message, hint: None, dependency: None });
    }
    draft.done()
}

/// From a worker: not done.
pub(super) fn fail(
    state: &State,
    (attempt, token): (u32, &str),
    failure: Failure,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    if attempt > 0 && state.failed_attempt == attempt && state.cancel.is_none() {
        return Ok(Decision::none());
    }
    check_current(state, attempt, token, context)?;
    let mut draft = Draft::of(state, context);
    draft.is_told_by_worker = true;
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
    pub(super) steps: Vec<StepResult>,
    pub(super) artifacts: Vec<Artifact>,
    pub(super) result: Value,
    pub(super) plan: Option<Plan>,
}

/// From a worker: done, or a plan of how to do it.
pub(super) fn complete(
    state: &State,
    (attempt, token): (u32, &str),
    outcome: Outcome,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    if was_completed(state, attempt) {
        return Ok(Decision::none());
    }
    check_current(state, attempt, token, context)?;
    let Outcome { steps, artifacts, result, plan } = outcome;
    if let Some((effect, _)) = state.open_effects().next() {
        return Err(Refusal::new("effect-open", format!("the effect `{effect}` has begun and not ended"))
            .hint("say how it ended, then complete the job"));
    }
    if artifacts.len() > ARTIFACTS_MAX {
        return Err(Refusal::new(
            "too-many-artifacts",
            format!("a task has at most {ARTIFACTS_MAX} artifacts, not {}", artifacts.len()),
        )
        .hint("pack them into an archive"));
    }
    let mut draft = Draft::of(state, context);
    draft.is_told_by_worker = true;
    step::add(&mut draft, attempt, steps)?;
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
pub(super) fn end_attempt(draft: &mut Draft<'_>, mut failure: Failure) {
    let attempt = draft.state.attempt;
    draft.outcome = match failure.class {
        FailureClass::Permanent | FailureClass::Budget => broker::Outcome::Done,
        FailureClass::Canceled => broker::Outcome::Withdrawn,
        FailureClass::Transient | FailureClass::Ambiguous | FailureClass::Poison => broker::Outcome::Failed,
    };
    draft.give_up_effects("the attempt ended before it was said how it ended");
    let is_refused = failure.class == FailureClass::Transient && failure.code == breaker::BREAKER_OPEN;
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
    if is_refused && is_in_time(draft) {
        // What was not called has not failed: an outage must not use the attempts up.
        draft.outcome = broker::Outcome::Withdrawn;
        draft.leave_phase();
        let reason = format!("{}: {}", failure.code, failure.message);
        draft.emit(Event::AttemptWithdrawn { attempt, reason, by: WithdrawnBy::Worker });
        return back_off(draft, draft.state.withdrawals);
    }
    if failure.class == FailureClass::Transient && is_left {
        draft.leave_phase();
        draft.emit(Event::AttemptFailed { attempt, failure });
        return back_off(draft, draft.state.failures);
    }
    draft.emit(Event::AttemptFailed { attempt, failure: failure.clone() });
    fail_for_good(draft, failure);
}

/// The next attempt waits until a pause is over.
pub(super) fn back_off(draft: &mut Draft<'_>, count: u32) {
    let (now, attempt) = (draft.now(), draft.state.attempt.saturating_add(1));
    let until = now.plus_ms(backoff_ms(draft, count));
    draft.emit(Event::BackoffStarted { attempt, until, at: now });
    draft.set_timer("backoff", until, &Command::EndBackoff { attempt });
}

/// Whether its bounds allow one more attempt.
fn may_try_again(draft: &Draft<'_>) -> bool {
    let attempts = draft.submission().attempts_max.unwrap_or(draft.state.policy.retry.attempts);
    draft.state.failures.saturating_add(1) < attempts && is_in_time(draft)
}

/// Whether its deadlines allow one more attempt.
fn is_in_time(draft: &Draft<'_>) -> bool {
    let (submission, retry, now) = (draft.submission(), &draft.state.policy.retry, draft.now());
    let is_late = |time: Duration| now >= draft.state.submitted_at.plus_ms(time.as_ms());
    submission.deadline.is_none_or(|deadline| now < deadline) && !retry.deadline.is_some_and(is_late)
}

/// A leaf fails, and people are to hear of it.
pub(super) fn fail_for_good(draft: &mut Draft<'_>, failure: Failure) {
    if failure.class != FailureClass::Canceled {
        record_dead_letter(draft, &failure);
    }
    draft.fail(failure);
}

fn record_dead_letter(draft: &mut Draft<'_>, failure: &Failure) {
    let (reason, to) = (format!("{}: {}", failure.code, failure.message), ("task", draft.key().as_str()));
    let ids = (draft.context.command, draft.context.correlation);
    let entry = deadletter::Entry {
        traceparent: draft.context.trace.map(|trace| trace.to_traceparent()),
        attempts: draft.state.failures.max(1),
        causes: causes(&draft.state, failure.class),
        hint: failure.hint.clone(),
        source: Some("task".into()),
        dependency: dependency(draft, failure),
        payload: Payload::of(&Body::json(&Command::Submit(draft.submission().clone()))),
        ..deadletter::Entry::new(entry_class(failure.class), reason, to, ids, draft.now())
    };
    let first = draft.state.dead_letter.unwrap_or(draft.state.attempt);
    // What was submitted for an entry and fails is that entry, and no other one.
    let key = draft.submission().dead_letter.clone();
    let key = key.unwrap_or_else(|| dead_letter_key(draft.key(), first));
    draft.send_settled(key, &deadletter::Command::Record(entry));
}

/// How each attempt failed, the last one first.
fn causes(state: &State, class: FailureClass) -> Vec<String> {
    let is_noted = state.failed_attempt == state.attempt;
    // One that was ended from outside, as by a deadline, has said nothing itself.
    let unsaid = (!is_noted).then(|| state.failed_as(state.attempt, class));
    unsaid.into_iter().chain(state.failed_attempts.iter().rev().cloned()).collect()
}

/// What the attempt failed by: what the agent said, or the agent itself where its own breaker counts
/// such failures. Poison fails again whatever is well by then: nothing redrives it by itself.
fn dependency(draft: &Draft<'_>, failure: &Failure) -> Option<Key> {
    let agent = draft.state.agent.as_ref();
    match failure.class {
        FailureClass::Poison => None,
        FailureClass::Transient => failure.dependency.clone().or_else(|| breaker::of_agent(agent?)),
        _ => failure.dependency.clone(),
    }
}

/// What may have happened already is not tried again with many others.
fn entry_class(class: FailureClass) -> &'static str {
    match class {
        FailureClass::Ambiguous => deadletter::class::JOB_AMBIGUOUS,
        _ => deadletter::class::JOB_FAILED,
    }
}

/// The pause after so many failures or withdrawals in a row: as long as the settings say, with a jitter
/// that replays alike.
fn backoff_ms(draft: &Draft<'_>, count: u32) -> u64 {
    let (state, retry) = (&draft.state, &draft.state.policy.retry);
    let id = draft.context.id("backoff", state.attempt).0;
    let seed = u32::from_be_bytes(id.as_bytes()[..4].try_into().expect("an id has 16 bytes"));
    let pause = retry.pause(count, state.backoff, seed.into()).as_ms();
    if retry.backoff == Backoff::DecorrelatedJitter {
        return pause;
    }
    let per_mille = 1_000 - JITTER_PER_MILLE + seed % (2 * JITTER_PER_MILLE + 1);
    // Whoever says the longest pause means it.
    (pause * u64::from(per_mille) / 1_000).min(retry.cap.as_ms())
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
