//! Decides the commands of a task. The match is here; each topic has a file.

mod attempt;
pub(super) mod budget;
mod cancel;
mod children;
mod effect;
mod explain;
mod fork;
mod hold;
mod input;
mod retry;
mod step;
mod submit;
mod withdraw;

use actors_core::{Context, Decision, Refusal, View};
use bus_schemas::Hash;
use bus_schemas::commands::task::{Command, Holder, Query, Renewal};
use bus_schemas::events::task::Event;
use bus_schemas::views::task::TaskState;

use super::draft::{Draft, LEASE, LEASE_MS, PROGRESS};
use super::state::{Phase, State};
use super::view::view;
use crate::text::{cut_failure, words};

/// The answer to a query.
pub(super) fn answer(state: &State, query: Query, context: &Context<'_>) -> Result<View, Refusal> {
    let Some(view) = view(state, &context.entity.key) else { return Err(not_found(context)) };
    match query {
        Query::Describe => Ok(View::of(&view)),
        Query::Wait if view.state.is_final() => Ok(View::of(&view)),
        Query::Wait => Ok(View::later()),
        Query::Explain => Ok(explain::explain(state, context)),
        Query::Renew { attempt, token, progressed } => {
            check_current(state, IssueRef { attempt, token: &token }, context)?;
            let renewal = Renewal { attempt: Holder::Yours, lease_ms: LEASE_MS };
            let view = View::of(&renewal).renewing(LEASE);
            Ok(if progressed { view.renewing(PROGRESS) } else { view })
        }
    }
}

fn not_found(context: &Context<'_>) -> Refusal {
    Refusal::new("task-not-found", format!("there is no task `{}`", context.entity.key))
        .hint("submit it first")
}

/// The decision on a command.
pub(super) fn decide(
    state: &State,
    command: Command,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    if state.submission.is_none() && !matches!(command, Command::Submit(_) | Command::Fork(_)) {
        if command == Command::Sweep {
            return explain::lost(context);
        }
        return Err(not_found(context));
    }
    match command {
        Command::Submit(submission) => submit::submit(state, submission, context),
        Command::Fork(past) => fork::fork(state, past, context),
        Command::Assign { agent, worker, claim, attempt, token, policy } => {
            let issue = attempt::Issue { agent, worker, claim, attempt, token };
            attempt::assign(state, issue, policy, context)
        }
        Command::RecordStep { attempt, token, steps } => {
            step::record(state, IssueRef { attempt, token: &token }, steps, context)
        }
        Command::ExpireLease { attempt } => attempt::expire(state, attempt, attempt::Silence::Lease, context),
        Command::ExpireProgress { attempt } => {
            attempt::expire(state, attempt, attempt::Silence::Progress, context)
        }
        Command::FailJob { attempt, token, class, code, message, hint, dependency } => {
            let failure = bus_schemas::commands::task::Failure { class, code, message, hint, dependency };
            attempt::fail(state, IssueRef { attempt, token: &token }, cut_failure(failure), context)
        }
        Command::Withdraw { attempt, reason } => withdraw::withdraw(state, attempt, words(reason), context),
        Command::GiveBack { attempt, token, reason } => {
            withdraw::give_back(state, IssueRef { attempt, token: &token }, words(reason), context)
        }
        Command::ReturnIssue { attempt, token } => withdraw::return_issue(state, attempt, token, context),
        Command::Hold { cause, reason, grace_ms } => {
            hold::hold(state, hold::Hold { cause, reason: words(reason), grace_ms }, context)
        }
        Command::Ease { cause } => hold::ease(state, cause, context),
        Command::EndBackoff { attempt } => attempt::end_backoff(state, attempt, context),
        Command::CompleteJob { attempt, token, steps, artifacts, result, plan } => {
            let outcome = attempt::Outcome { steps, artifacts, result, plan };
            attempt::complete(state, IssueRef { attempt, token: &token }, outcome, context)
        }
        Command::RecordEffect { attempt, token, effect, step, detail, key, result } => {
            let record = effect::Record { attempt, token, effect, step, detail: words(detail), key, result };
            effect::record(state, record, context)
        }
        Command::RequireInput { attempt, token, prompt, authorization, approval } => {
            let asked = input::Asked { prompt, authorization, approval };
            input::require(state, IssueRef { attempt, token: &token }, asked, context)
        }
        Command::SettleApproval { approval, outcome } => input::settle(state, &approval, outcome, context),
        Command::Follow => input::follow(state, context),
        Command::Answer { question, answer } => input::provide(state, question, answer, context),
        Command::SettleChild { step, state: end, artifacts, result, failure } => {
            let end = children::End { state: end, artifacts, result, failure: failure.map(cut_failure) };
            children::settle(state, step, end, context)
        }
        Command::Cancel { reason } => cancel::cancel(state, words(reason), context),
        Command::ExpireDeadline => cancel::expire_deadline(state, context),
        Command::Retry { end } => retry::retry(state, end, context),
        Command::Reserve { reservation, task, amount, lease_ms } => {
            budget::reserve(state, reservation, task, amount, lease_ms, context)
        }
        Command::Settle { reservation, used } => budget::settle(state, reservation, used, context),
        Command::CountJob { task, attempt } => budget::count_job(state, task, attempt, context),
        Command::AdoptBudget { budget } => budget::adopt(state, budget, context),
        Command::ExtendBudget { extend, reason } => budget::extend(state, &extend, words(reason), context),
        Command::ExpireWallClock => budget::expire_wall_clock(state, context),
        Command::ExpireReservations => budget::lapse(state, context),
        Command::Sweep => explain::sweep(state, context),
    }
}

/// The issue of a job that a command names: its attempt, and the token that only its worker has.
#[derive(Debug, Clone, Copy)]
struct IssueRef<'a> {
    attempt: u32,
    token: &'a str,
}

/// Refuses a command without the number and token of the current attempt.
fn check_current(state: &State, issue: IssueRef<'_>, context: &Context<'_>) -> Result<(), Refusal> {
    let IssueRef { attempt, token } = issue;
    let key = &context.entity.key;
    if state.cancel.is_some() {
        return Err(Refusal::new("task-canceled", format!("the task `{key}` was canceled"))
            .hint("stop the work; nothing of it is wanted"));
    }
    if state.status.is_final() {
        return Err(final_refusal(state, context).hint("stop the work"));
    }
    if is_current(state, attempt) && is_shown(state, token) {
        return Ok(());
    }
    Err(Refusal::new(
        "stale-attempt",
        format!("attempt {attempt} of `{key}` is not under way; the latest is {}", state.attempt),
    )
    .hint("stop the work; another attempt does it, or it waits"))
}

/// Whether this attempt is running.
fn is_current(state: &State, attempt: u32) -> bool {
    state.attempt == attempt && state.phase == Phase::Running
}

/// Whether this is the token of the latest issue.
fn is_shown(state: &State, token: &str) -> bool {
    state.token == Some(Hash::of_token(token))
}

fn final_refusal(state: &State, context: &Context<'_>) -> Refusal {
    let how: &'static str = state.status.into();
    Refusal::new("task-final", format!("the task `{}` is {how}", context.entity.key))
}

/// Whether this attempt completed before: then a repeated report is accepted and has no effect.
fn was_completed(state: &State, attempt: u32) -> bool {
    attempt > 0 && state.attempt == attempt && (state.status == TaskState::Completed || state.plan.is_some())
}
