//! Attempts of a leaf: assigned, started, kept alive, completed, failed, retried.

use actors_core::{Context, Decision, Key, Refusal};
use bus_schemas::commands::dead_letter;
use bus_schemas::commands::task::{Command, Failure, Plan, Policy};
use bus_schemas::commands::{breaker, lane};
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
use super::{Draft, IssueRef, budget, check_current, children, input, is_current, step, was_completed};

/// The most artifacts of one task: parents repeat those of their children.
pub(super) const ARTIFACTS_MAX: usize = 1_000;
/// The code of a failure when the agent does not know the outcome of an effect.
const EFFECT_UNKNOWN: &str = "effect-unknown";
/// The jitter of pauses, in thousandths up or down, so that attempts do not synchronize.
const JITTER_PER_MILLE: u32 = 200;

/// The assignment of an attempt to a worker.
pub(super) struct Issue {
    pub(super) agent: Key,
    pub(super) worker: SmolStr,
    pub(super) claim: CommandId,
    pub(super) attempt: u32,
    pub(super) token: Hash,
}

/// From its queue: assigns an attempt to a worker.
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
                let at = context.now;
                draft.emit(Event::JobIssued { attempt, agent: agent.clone(), worker, token, at });
                draft.issue_job(claim, token, agent);
                budget::tell_job(&mut draft, attempt);
            }
        }
        // A repeat: the slot is in use.
        Phase::Running if is_latest => {}
        _ => draft.release(attempt),
    }
    draft.done()
}

/// What a worker did not report in time.
#[derive(Debug, Clone, Copy)]
pub(super) enum Silence {
    /// Any renewal.
    Lease,
    /// Progress.
    Progress,
}

/// From the partition's owner: the worker was silent for too long, or made no progress.
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

/// From a worker: the job failed.
pub(super) fn fail(
    state: &State,
    issue: IssueRef<'_>,
    failure: Failure,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    if issue.attempt > 0 && state.failed_attempt == issue.attempt && state.cancel.is_none() {
        return Ok(Decision::none());
    }
    check_current(state, issue, context)?;
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

/// A worker's report of a completed job.
pub(super) struct Outcome {
    pub(super) steps: Vec<StepResult>,
    pub(super) artifacts: Vec<Artifact>,
    pub(super) result: Value,
    pub(super) plan: Option<Plan>,
}

/// From a worker: the job is done, or returns a plan.
pub(super) fn complete(
    state: &State,
    issue: IssueRef<'_>,
    outcome: Outcome,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    if was_completed(state, issue.attempt) {
        return Ok(Decision::none());
    }
    check_current(state, issue, context)?;
    let Outcome { steps, artifacts, result, plan } = outcome;
    check_effects(state)?;
    if artifacts.len() > ARTIFACTS_MAX {
        return Err(Refusal::new(
            "too-many-artifacts",
            format!("a task has at most {ARTIFACTS_MAX} artifacts, not {}", artifacts.len()),
        )
        .hint("pack them into an archive"));
    }
    let mut draft = Draft::of(state, context);
    draft.is_told_by_worker = true;
    step::add(&mut draft, issue.attempt, steps)?;
    draft.outcome = lane::Outcome::Done;
    match plan.map(|plan| check::plan(&plan, draft.key()).map(|()| plan)) {
        None => draft.end(Event::Completed { artifacts, result, at: context.now }),
        Some(Ok(plan)) => {
            draft.leave_phase();
            children::begin(&mut draft, plan);
        }
        Some(Err(refusal)) => end_attempt(&mut draft, check::refused_plan(refusal)),
    }
    draft.done()
}

/// Refuses a success while the outcome of an effect is unknown: no later attempt would find it out.
fn check_effects(state: &State) -> Result<(), Refusal> {
    if let Some((effect, _)) = state.open_effects().next() {
        return Err(Refusal::new("effect-open", format!("the effect `{effect}` has begun and not ended"))
            .hint("say how it ended, then complete the job"));
    }
    match state.unsettled_effect() {
        None => Ok(()),
        Some((effect, _)) => {
            Err(Refusal::new("effect-open", format!("nobody knows whether the effect `{effect}` was done"))
                .hint(
                    "find out and record `completed` or `failed`; if you cannot, fail the job as `ambiguous`",
                ))
        }
    }
}

/// Ends the current attempt with a failure; retries after a pause if that may help.
pub(super) fn end_attempt(draft: &mut Draft<'_>, mut failure: Failure) {
    let attempt = draft.state.attempt;
    draft.outcome = match failure.class {
        FailureClass::Permanent | FailureClass::Budget => lane::Outcome::Done,
        FailureClass::Canceled => lane::Outcome::Withdrawn,
        FailureClass::Transient | FailureClass::Ambiguous | FailureClass::Poison => lane::Outcome::Failed,
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
        // The agent is asked first, before it does anything else; then a person.
        match is_left && !is_unknown {
            true => draft.queue(attempt.saturating_add(1)),
            false => input::ask_about_effect(draft),
        }
        return;
    }
    if is_refused && is_in_time(draft) {
        // The call was not made, so nothing failed: an outage must not use up the attempts.
        draft.outcome = lane::Outcome::Withdrawn;
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

/// Pauses before the next attempt.
pub(super) fn back_off(draft: &mut Draft<'_>, count: u32) {
    let (now, attempt) = (draft.now(), draft.state.attempt.saturating_add(1));
    let until = now.plus_ms(backoff_ms(draft, count));
    draft.emit(Event::BackoffStarted { attempt, until, at: now });
    draft.set_timer("backoff", until, &Command::EndBackoff { attempt });
}

/// Whether the task's limits allow one more attempt.
fn may_try_again(draft: &Draft<'_>) -> bool {
    let attempts = draft.submission().attempts_max.unwrap_or(draft.state.policy.retry.attempts);
    draft.state.failures.saturating_add(1) < attempts && is_in_time(draft)
}

/// Whether the task's deadlines allow one more attempt.
fn is_in_time(draft: &Draft<'_>) -> bool {
    let (submission, retry, now) = (draft.submission(), &draft.state.policy.retry, draft.now());
    let is_late = |time: Duration| now >= draft.state.submitted_at.plus_ms(time.as_ms());
    submission.deadline.is_none_or(|deadline| now < deadline) && !retry.deadline.is_some_and(is_late)
}

/// Fails a leaf for good, and makes a dead letter of it.
pub(super) fn fail_for_good(draft: &mut Draft<'_>, failure: Failure) {
    if failure.class != FailureClass::Canceled {
        record_dead_letter(draft, &failure);
    }
    draft.fail(failure);
}

fn record_dead_letter(draft: &mut Draft<'_>, failure: &Failure) {
    let (reason, to) = (format!("{}: {}", failure.code, failure.message), ("task", draft.key().as_str()));
    let ids = (draft.context.command, draft.context.correlation);
    let entry = dead_letter::Entry {
        traceparent: draft.context.trace.map(|trace| trace.to_traceparent()),
        attempts: draft.state.failures.max(1),
        causes: causes(&draft.state, failure.class),
        hint: failure.hint.clone(),
        source: Some("task".into()),
        dependency: dependency(draft, failure),
        payload: Payload::of(&Body::json(&Command::Submit(draft.submission().clone()))),
        ..dead_letter::Entry::new(entry_class(failure.class), reason, to, ids, draft.now())
    };
    let first = draft.state.dead_letter.unwrap_or(draft.state.attempt);
    // A task that was submitted for a dead letter fails into that one, and makes none of its own.
    let key = draft.submission().dead_letter.clone();
    let key = key.unwrap_or_else(|| dead_letter_key(draft.key(), first));
    draft.send_settled(key, &dead_letter::Command::Record(entry));
}

/// How each attempt failed, the last one first.
fn causes(state: &State, class: FailureClass) -> Vec<String> {
    let is_noted = state.failed_attempt == state.attempt;
    // An attempt that was ended from outside, as by a deadline, has reported no failure.
    let unsaid = (!is_noted).then(|| state.failed_as(state.attempt, class));
    unsaid.into_iter().chain(state.failed_attempts.iter().rev().cloned()).collect()
}

/// The dependency that failed: as the agent reported, or the agent itself if its own breaker counts such
/// failures. Poison has none: it fails again in any case, and must not be redriven automatically.
fn dependency(draft: &Draft<'_>, failure: &Failure) -> Option<Key> {
    let agent = draft.state.agent.as_ref();
    match failure.class {
        FailureClass::Poison => None,
        FailureClass::Transient => failure.dependency.clone().or_else(|| breaker::of_agent(agent?)),
        _ => failure.dependency.clone(),
    }
}

/// The class of the dead letter. An ambiguous failure is never redriven together with others.
fn entry_class(class: FailureClass) -> &'static str {
    match class {
        FailureClass::Ambiguous => dead_letter::class::JOB_AMBIGUOUS,
        _ => dead_letter::class::JOB_FAILED,
    }
}

/// The pause after this many failures or withdrawals in a row, in milliseconds: from the settings, with a
/// jitter that replays alike.
fn backoff_ms(draft: &Draft<'_>, count: u32) -> u64 {
    let (state, retry) = (&draft.state, &draft.state.policy.retry);
    let id = draft.context.id("backoff", state.attempt).0;
    let seed = u32::from_be_bytes(id.as_bytes()[..4].try_into().expect("an id has 16 bytes"));
    let pause = retry.pause(count, state.backoff, seed.into()).as_ms();
    if retry.backoff == Backoff::DecorrelatedJitter {
        return pause;
    }
    let per_mille = 1_000 - JITTER_PER_MILLE + seed % (2 * JITTER_PER_MILLE + 1);
    // The longest pause holds with jitter too.
    (pause * u64::from(per_mille) / 1_000).min(retry.cap.as_ms())
}

/// The failure of a task whose deadline has passed.
pub(super) fn deadline_failure() -> Failure {
    Failure {
        class: FailureClass::Permanent,
        code: "deadline-exceeded".to_owned(),
        message: "the deadline came before the work was done".to_owned(),
        hint: Some("submit it again with a later deadline".to_owned()),
        dependency: None,
    }
}

/// Whether a parent may retry this child.
pub(super) fn is_retryable(state: TaskState) -> bool {
    matches!(state, TaskState::Failed | TaskState::Canceled)
}
