//! Decides the commands of a task. The match is here; each topic has a file.

mod attempt;
pub(super) mod budget;
mod cancel;
mod children;
mod effect;
mod explain;
mod hold;
mod input;
mod retry;
mod submit;
mod withdraw;

use actors_core::{Context, Decision, Refusal};
use bus_schemas::commands::task::Command;
use bus_schemas::envelope::code;
use bus_schemas::events::task::Event;
use bus_schemas::halts::{Halts, Standing, Subject};
use bus_schemas::jobs::EffectStep;
use bus_schemas::views::task::TaskState;
use bus_schemas::{EntityAddress, Timestamp};

use super::draft::Draft;
use super::state::{Phase, State};

/// Refuses what a halt covers: new work, and of a worker whatever begins something. Its lease is renewed
/// for the grace of the halt, and what it reports is taken: the lane may have no owner, and the worker
/// may not follow halts. What was handed over is taken, and waits in its lane.
pub(super) fn admit(
    state: &State,
    command: &Command,
    halts: &Halts,
    (entity, now): (&EntityAddress, Timestamp),
) -> Result<(), Refusal> {
    let (submission, agent) = match (command, &state.submission) {
        (Command::Submit(submission), None) => (submission, None),
        (
            Command::StartJob { .. }
            | Command::Reserve { .. }
            | Command::RenewLease { .. }
            | Command::RecordEffect { step: EffectStep::Intended | EffectStep::Started, .. },
            Some(submission),
        ) => (submission, state.agent.as_ref()),
        _ => return Ok(()),
    };
    let subject = Subject { lane: &submission.lane, agent, task: &entity.key };
    let goes_on = |standing: &Standing| {
        matches!(command, Command::RenewLease { .. }) && now <= standing.since.plus_ms(standing.grace_ms)
    };
    match halts.covering(subject) {
        Some((_, standing)) if !goes_on(standing) => {
            Err(Refusal::new(code::HALTED, format!("work is halted: {}", standing.reason))
                .hint("`orrery halts` shows since when; again once the halt is lifted"))
        }
        _ => Ok(()),
    }
}

/// What a command leads to.
pub(super) fn decide(
    state: &State,
    command: Command,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    if let Command::Submit(submission) = command {
        return submit::submit(state, submission, context);
    }
    if state.submission.is_none() {
        if command == Command::Sweep {
            return explain::lost(context);
        }
        return Err(Refusal::new("task-not-found", format!("there is no task `{}`", context.entity.key))
            .hint("submit it first"));
    }
    match command {
        Command::Submit(submission) => submit::submit(state, submission, context),
        Command::Assign { agent, attempt, policy } => attempt::assign(state, agent, attempt, policy, context),
        Command::StartJob { attempt, worker } => attempt::start(state, attempt, worker, context),
        Command::RenewLease { attempt, progressed } => attempt::renew(state, attempt, progressed, context),
        Command::ExpireLease { attempt } => attempt::expire(state, attempt, attempt::Silence::Lease, context),
        Command::ExpireProgress { attempt } => {
            attempt::expire(state, attempt, attempt::Silence::Progress, context)
        }
        Command::FailJob { attempt, class, code, message, hint, dependency } => {
            let failure = bus_schemas::commands::task::Failure { class, code, message, hint, dependency };
            attempt::fail(state, attempt, failure, context)
        }
        Command::Withdraw { attempt, reason } => withdraw::withdraw(state, attempt, reason, context),
        Command::Hold { cause, reason, grace_ms } => hold::hold(state, (cause, reason, grace_ms), context),
        Command::Ease { cause } => hold::ease(state, cause, context),
        Command::EndBackoff { attempt } => attempt::end_backoff(state, attempt, context),
        Command::CompleteJob { attempt, artifacts, result, plan } => {
            attempt::complete(state, attempt, attempt::Outcome { artifacts, result, plan }, context)
        }
        Command::RecordEffect { attempt, effect, step, detail, key, result } => {
            effect::record(state, effect::Record { attempt, effect, step, detail, key, result }, context)
        }
        Command::RequireInput { attempt, prompt, authorization } => {
            input::require(state, attempt, prompt, authorization, context)
        }
        Command::ProvideInput { answer, by } => input::provide(state, answer, by, context),
        Command::SettleChild { step, state: end, artifacts, result, failure } => {
            let end = children::End { state: end, artifacts, result, failure };
            children::settle(state, step, end, context)
        }
        Command::Cancel { reason, by } => cancel::cancel(state, reason, by, context),
        Command::ExpireDeadline => cancel::expire_deadline(state, context),
        Command::Retry { by } => retry::retry(state, by, context),
        Command::Reserve { reservation, task, amount, lease_ms } => {
            budget::reserve(state, (reservation, task), amount, lease_ms, context)
        }
        Command::Settle { reservation, used } => budget::settle(state, reservation, used, context),
        Command::CountJob { task, attempt } => budget::count_job(state, task, attempt, context),
        Command::AdoptBudget { budget } => budget::adopt(state, budget, context),
        Command::ExtendBudget { extend, reason, by } => budget::extend(state, &extend, (reason, by), context),
        Command::ExpireWallClock => budget::expire_wall_clock(state, context),
        Command::ExpireReservations => budget::lapse(state, context),
        Command::Sweep => explain::sweep(state, context),
        Command::Explain => explain::explain(state, context),
    }
}

/// Refuses a report that does not come from the current attempt.
fn check_current(state: &State, attempt: u32, context: &Context<'_>) -> Result<(), Refusal> {
    let key = &context.entity.key;
    if state.cancel.is_some() {
        return Err(Refusal::new("task-canceled", format!("the task `{key}` was canceled"))
            .hint("stop the work; nothing of it is wanted"));
    }
    if state.status.is_final() {
        return Err(final_refusal(state, context).hint("stop the work"));
    }
    if state.attempt == attempt && matches!(state.phase, Phase::Issued | Phase::Running) {
        return Ok(());
    }
    Err(Refusal::new(
        "stale-attempt",
        format!("attempt {attempt} of `{key}` is not under way; the latest is {}", state.attempt),
    )
    .hint("stop the work; another attempt does it, or it waits"))
}

fn final_refusal(state: &State, context: &Context<'_>) -> Refusal {
    let how: &'static str = state.status.into();
    Refusal::new("task-final", format!("the task `{}` is {how}", context.entity.key))
}

/// Whether this attempt's report has come before: then it is accepted again, and nothing happens.
fn was_completed(state: &State, attempt: u32) -> bool {
    attempt > 0 && state.attempt == attempt && (state.status == TaskState::Completed || state.plan.is_some())
}
