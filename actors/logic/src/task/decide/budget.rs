//! The budget of a tree: reservations before calls, settlements after them, and a question when a limit is
//! exceeded.

use actors_core::{Context, Decision, Key, Refusal};
use bus_schemas::commands::queue;
use bus_schemas::commands::task::{Command, Failure, Policy, Reservation, Usage};
use bus_schemas::events::task::Event;
use bus_schemas::jobs::FailureClass;
use bus_schemas::settings::{Budget, Duration};
use bus_schemas::views::task::Dimension;
use serde_json::Value;
use smol_str::{SmolStr, format_smolstr};

use super::super::account::Account;
use super::super::check;
use super::super::state::State;
use super::{Draft, cancel, final_refusal};

/// The longest id of a reservation in bytes: a task's key, an attempt and a number.
const RESERVATION_BYTES_MAX: usize = 512;
/// The most reservations in one tree: each is in the state of its root.
const RESERVATIONS_MAX: usize = 4_096;
/// The range of a reservation's time in milliseconds: at least a call's duration, and no longer than a lost
/// worker should hold budget.
const LEASE_MS: std::ops::RangeInclusive<u64> = 1_000..=3_600_000;
/// The timers of the root.
const WALL_CLOCK: &str = "wall-clock";
const RESERVATIONS: &str = "reservations";

/// From a worker: reserves the budget of a call.
pub(super) fn reserve(
    state: &State,
    reservation: SmolStr,
    task: Key,
    amount: Usage,
    lease_ms: u64,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    check_root(context)?;
    check_reservation(&reservation, &task, lease_ms, context)?;
    if state.status.is_final() || state.cancel.is_some() {
        return Err(final_refusal(state, context).hint("stop the work"));
    }
    let answer = |granted, reason| Reservation { granted, reason };
    let Some(account) = &state.account else { return Ok(Decision::none().reply(&answer(true, None))) };
    if account.reserved.contains_key(&reservation) {
        return Ok(Decision::none().reply(&answer(true, None)));
    }
    if let Some(exceeded) = &account.exceeded {
        return Ok(Decision::none().reply(&answer(false, Some(exceeded.question.clone()))));
    }
    if account.reserved.len() >= RESERVATIONS_MAX {
        let message = format!("{RESERVATIONS_MAX} calls of this tree are under way");
        return Err(Refusal {
            retry_after_ms: Some(1_000),
            ..Refusal::new("too-many-reservations", message)
        });
    }
    let mut draft = Draft::of(state, context);
    if let Some(dimension) = account.over(amount) {
        let question = exceed(&mut draft, dimension, amount);
        return Ok(draft.done()?.reply(&answer(false, Some(question))));
    }
    let (until, first) = (context.now.plus_ms(lease_ms), account.first_lapse());
    draft.emit(Event::Reserved { reservation, task, amount, until });
    if first.is_none_or(|first| until < first) {
        draft.set_timer(RESERVATIONS, until, &Command::ExpireReservations);
    }
    Ok(draft.done()?.reply(&answer(true, None)))
}

/// From a worker: the usage of a call. No effect if it was settled. A lapsed call was counted at its worst
/// case; usage above that is added, as long as the tree has not ended.
pub(super) fn settle(
    state: &State,
    reservation: SmolStr,
    used: Usage,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    check_root(context)?;
    let mut draft = Draft::of(state, context);
    let Some(account) = &state.account else { return draft.done() };
    if let Some(reserved) = account.reserved.get(&reservation).map(|held| held.amount) {
        draft.emit(Event::Settled { reservation, used, reserved, lapsed: false });
        await_lapse(&mut draft);
        look(&mut draft);
    } else if let Some(counted) = account.lapsed(&reservation).filter(|_| !state.status.is_final()) {
        let (used, reserved) = (used.minus(counted), Usage::default());
        if used != Usage::default() {
            draft.emit(Event::Settled { reservation, used, reserved, lapsed: false });
            look(&mut draft);
        }
    }
    draft.done()
}

/// Timer: reservations that were not settled in time count as used.
pub(super) fn lapse(state: &State, context: &Context<'_>) -> Result<Decision<Event>, Refusal> {
    let mut draft = Draft::of(state, context);
    lapse_until(&mut draft, context.now.0);
    await_lapse(&mut draft);
    look(&mut draft);
    draft.done()
}

/// Nothing of the tree runs any more: unsettled reservations count as used.
pub(in super::super) fn close(draft: &mut Draft<'_>) {
    let Some(account) = &draft.state.account else { return };
    let (has_time, has_calls) = (account.limits.wall_clock.is_some(), !account.reserved.is_empty());
    let is_exceeded = account.exceeded.is_some();
    if has_calls {
        lapse_until(draft, u64::MAX);
        draft.cancel_timer(RESERVATIONS);
    }
    if has_time {
        draft.cancel_timer(WALL_CLOCK);
    }
    if is_exceeded {
        ease(draft);
    }
}

fn lapse_until(draft: &mut Draft<'_>, now: u64) {
    let due: Vec<_> = draft
        .state
        .account
        .iter()
        .flat_map(|account| &account.reserved)
        .filter(|(_, held)| held.until.0 <= now)
        .map(|(reservation, held)| (reservation.clone(), held.amount))
        .collect();
    for (reservation, used) in due {
        draft.emit(Event::Settled { reservation, used, reserved: used, lapsed: true });
    }
}

fn await_lapse(draft: &mut Draft<'_>) {
    match draft.state.account.as_ref().map(|account| account.first_lapse()) {
        Some(Some(at)) => draft.set_timer(RESERVATIONS, at, &Command::ExpireReservations),
        Some(None) => draft.cancel_timer(RESERVATIONS),
        None => {}
    }
}

/// From a task of the tree, and for a root without a plan itself: a job was issued. A job above the limit is
/// taken back.
pub(super) fn count_job(
    state: &State,
    task: Key,
    attempt: u32,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    check_root(context)?;
    let mut draft = Draft::of(state, context);
    if state.account.is_some() && !state.status.is_final() && !try_count(&mut draft, &task, attempt) {
        let reason = "the budget of its tree allows no more jobs".to_owned();
        draft.send(task, &Command::Withdraw { attempt, reason });
    }
    draft.done()
}

/// Counts a job; `false` if the budget does not allow it.
pub(super) fn try_count(draft: &mut Draft<'_>, task: &Key, attempt: u32) -> bool {
    let job = Usage { jobs: 1, ..Usage::default() };
    let Some(account) = &draft.state.account else { return true };
    let bound = account.limits.jobs;
    if bound.is_none_or(|bound| account.used.jobs < bound) {
        draft.emit(Event::JobCounted { task: task.clone(), attempt });
        return true;
    }
    if account.exceeded.is_none() {
        exceed(draft, Dimension::Jobs, job);
    }
    false
}

/// Applies the policy of the settings that came with the assignment. A tree without a budget takes that of
/// the policy.
pub(super) fn apply_policy(draft: &mut Draft<'_>, policy: Option<Box<Policy>>) {
    let policy = policy.map(|policy| *policy).unwrap_or_default();
    if policy != draft.state.policy {
        draft.emit(Event::PolicySet { policy });
    }
    let budget = draft.state.policy.budget.clone();
    if budget == Budget::default() || draft.submission().budget.is_some() || draft.state.account.is_some() {
        return;
    }
    match draft.key().parent() {
        None => set(draft, budget),
        Some(_) => draft.send(draft.root(), &Command::AdoptBudget { budget }),
    }
}

/// From a task of the tree: the budget that the settings give to trees without one.
pub(super) fn adopt(
    state: &State,
    budget: Budget,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    check_root(context)?;
    let mut draft = Draft::of(state, context);
    if state.account.is_none() && !state.status.is_final() {
        check::end(&budget, state.submitted_at).map_err(|why| Refusal::new("invalid-budget", why))?;
        set(&mut draft, budget);
    }
    draft.done()
}

fn set(draft: &mut Draft<'_>, budget: Budget) {
    draft.emit(Event::BudgetSet { budget });
    await_wall_clock(draft);
}

/// Sets the timer for the tree's wall clock budget, which counts from its submission.
pub(in super::super) fn await_wall_clock(draft: &mut Draft<'_>) {
    let time = draft.state.account.as_ref().and_then(|account| account.limits.wall_clock);
    if let Some(time) = time {
        let at = draft.state.submitted_at.plus_ms(time.as_ms());
        draft.set_timer(WALL_CLOCK, at, &Command::ExpireWallClock);
    }
}

/// Reopens a tree that had ended. Its time counts from its submission as before: if it is over, a person is
/// asked at once.
pub(in super::super) fn reopen(draft: &mut Draft<'_>) {
    match draft.state.account.as_ref().and_then(|account| over(draft, account)) {
        Some(dimension) => drop(exceed(draft, dimension, Usage::default())),
        None => await_wall_clock(draft),
    }
}

/// Timer: the tree's wall clock budget is used up.
pub(super) fn expire_wall_clock(state: &State, context: &Context<'_>) -> Result<Decision<Event>, Refusal> {
    let mut draft = Draft::of(state, context);
    let Some(account) = &state.account else { return draft.done() };
    let Some(time) = account.limits.wall_clock else { return draft.done() };
    if state.status.is_final() || state.is_stopping() || account.exceeded.is_some() {
        return draft.done();
    }
    if context.now < state.submitted_at.plus_ms(time.as_ms()) {
        // The command was sent early: the timer stays.
        await_wall_clock(&mut draft);
    } else {
        exceed(&mut draft, Dimension::WallClock, Usage::default());
    }
    draft.done()
}

/// To the root: extends the budget.
pub(super) fn extend(
    state: &State,
    extend: &Budget,
    reason: String,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    check_root(context)?;
    let Some(account) = &state.account else {
        return Err(Refusal::new("no-budget", format!("the tree `{}` has no budget", context.entity.key))
            .hint("nothing bounds it, so there is nothing to extend"));
    };
    if state.status.is_final() {
        return Err(final_refusal(state, context).hint("there is nothing left to do"));
    }
    let budget = extended(&account.limits, extend, elapsed(state, context));
    let exceeded = account.exceeded.as_ref().map(|exceeded| exceeded.dimension);
    if budget == account.limits {
        return Err(Refusal::new("invalid-extension", "the extension adds nothing to what bounds the tree")
            .hint("say how much more of what: `orrery tasks extend-budget <id> --tokens 10000`"));
    }
    check::end(&budget, state.submitted_at)
        .map_err(|why| Refusal::new("invalid-extension", why).hint("extend it by a shorter time"))?;
    if let Some(dimension) = exceeded.filter(|dimension| !reaches(extend, *dimension)) {
        let name: &'static str = dimension.into();
        return Err(Refusal::new("invalid-extension", format!("the tree is paused for its `{name}`"))
            .hint(format!("say how much more of `{name}` it may use")));
    }
    let mut draft = Draft::of(state, context);
    draft.emit(Event::BudgetExtended { budget, reason, by: context.by(), at: context.now });
    await_wall_clock(&mut draft);
    look(&mut draft);
    if exceeded.is_some() && draft.state.account.as_ref().is_some_and(|account| account.exceeded.is_none()) {
        ease(&mut draft);
    }
    draft.done_with_view()
}

/// The answer to the question about an exceeded limit: how much more, or no more.
pub(super) fn answer(
    state: &State,
    dimension: Dimension,
    answer: &Value,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    let Some(budget) = read_answer(answer, dimension)? else {
        let mut draft = Draft::of(state, context);
        let failure = Failure {
            class: FailureClass::Budget,
            code: "budget-exceeded".to_owned(),
            message: "the budget was used up, and was not extended".to_owned(),
            hint: Some("submit it again with a larger budget".to_owned()),
            dependency: None,
        };
        cancel::give_up(&mut draft, failure, "the budget was not extended");
        return draft.done_with_view();
    };
    extend(state, &budget, String::new(), context)
}

/// Reads an answer. A number extends the exceeded limit (in seconds for time), a duration extends the time,
/// an object extends each limit it names; 0, `false` and `"no"` end the tree.
fn read_answer(answer: &Value, dimension: Dimension) -> Result<Option<Budget>, Refusal> {
    let refuse = || {
        let example = if dimension == Dimension::WallClock { "\"30m\"" } else { "10000" };
        Refusal::new("invalid-answer", "the answer does not say how much more the tree may use").hint(format!(
            "answer with a number or duration such as {example}, an object such as {{\"tokens\":10000}}, or \"no\""
        ))
    };
    let text = match answer {
        Value::Bool(false) => return Ok(None),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.trim().to_lowercase(),
        Value::Object(_) => return serde_json::from_value(answer.clone()).map(Some).map_err(|_| refuse()),
        _ => return Err(refuse()),
    };
    if matches!(text.as_str(), "no" | "0" | "give up" | "stop") {
        return Ok(None);
    }
    let number = text.parse::<u64>().ok();
    let mut budget = Budget::default();
    match dimension {
        Dimension::Tokens => budget.tokens = number,
        Dimension::MoneyMicros => budget.money_micros = number,
        Dimension::ToolCalls => budget.tool_calls = number,
        Dimension::Jobs => budget.jobs = number,
        Dimension::WallClock => {
            budget.wall_clock = number.map(Duration::from_secs).or_else(|| text.parse().ok());
        }
    }
    if budget == Budget::default() { Err(refuse()) } else { Ok(Some(budget)) }
}

/// The extended limits; a dimension without a limit stays so.
fn extended(limits: &Budget, extend: &Budget, elapsed_ms: u64) -> Budget {
    let more = |limit: Option<u64>, by: Option<u64>| limit.map(|limit| limit.saturating_add(by.unwrap_or(0)));
    Budget {
        tokens: more(limits.tokens, extend.tokens),
        money_micros: more(limits.money_micros, extend.money_micros),
        tool_calls: more(limits.tool_calls, extend.tool_calls),
        jobs: more(limits.jobs, extend.jobs),
        wall_clock: limits.wall_clock.map(|limit| match extend.wall_clock {
            Some(by) => Duration::from_ms(limit.as_ms().max(elapsed_ms).saturating_add(by.as_ms())),
            None => limit,
        }),
    }
}

fn reaches(extend: &Budget, dimension: Dimension) -> bool {
    match dimension {
        Dimension::Tokens => extend.tokens.is_some(),
        Dimension::MoneyMicros => extend.money_micros.is_some(),
        Dimension::ToolCalls => extend.tool_calls.is_some(),
        Dimension::Jobs => extend.jobs.is_some(),
        Dimension::WallClock => extend.wall_clock.is_some(),
    }
}

fn elapsed(state: &State, context: &Context<'_>) -> u64 {
    context.now.0.saturating_sub(state.submitted_at.0)
}

/// Pauses the tree if a limit is exceeded, or its time is over.
fn look(draft: &mut Draft<'_>) {
    let Some(account) = &draft.state.account else { return };
    if account.exceeded.is_some() || draft.state.status.is_final() {
        return;
    }
    if let Some(dimension) = over(draft, account) {
        exceed(draft, dimension, Usage::default());
    }
}

/// The dimension that is exceeded, or the time if it is over.
fn over(draft: &Draft<'_>, account: &Account) -> Option<Dimension> {
    let time = account.limits.wall_clock;
    let is_late = time.is_some_and(|time| elapsed(&draft.state, draft.context) >= time.as_ms());
    account.over(Usage::default()).or(is_late.then_some(Dimension::WallClock))
}

/// Pauses the tree: its queue holds it, and a person is asked. If the time is over, running attempts are
/// stopped; other limits stop each attempt at its next reservation.
fn exceed(draft: &mut Draft<'_>, dimension: Dimension, more: Usage) -> String {
    let account = draft.state.account.as_ref().expect("only what has a budget exceeds it");
    let question = account.words(dimension, more);
    let asks = draft.submission().owner.clone();
    draft.emit(Event::BudgetExceeded { dimension, question: question.clone(), asks, at: draft.now() });
    hold(draft, dimension, question.clone());
    question
}

/// Makes its queue hold the tree.
pub(super) fn hold(draft: &mut Draft<'_>, dimension: Dimension, reason: String) {
    let interrupt = dimension == Dimension::WallClock;
    let root = draft.key().clone();
    let hold = queue::Command::Hold { cause: cause(draft), root, reason, interrupt, grace_ms: 0 };
    draft.send(draft.queue_key(), &hold);
}

fn ease(draft: &mut Draft<'_>) {
    let ease = queue::Command::Ease { cause: cause(draft) };
    draft.send(draft.queue_key(), &ease);
}

fn cause(draft: &Draft<'_>) -> SmolStr {
    format_smolstr!("budget/{}", draft.key())
}

/// Whether attempts of this task must reserve what they use.
pub(in super::super) fn is_metered(state: &State) -> bool {
    let submitted = state.submission.as_ref().is_some_and(|submission| submission.budget.is_some());
    submitted || state.account.is_some() || state.policy.budget != Budget::default()
}

/// Tells the root that a job is in the record, so that it counts it.
pub(super) fn tell_job(draft: &mut Draft<'_>, attempt: u32) {
    if draft.key().parent().is_some() && is_metered(&draft.state) {
        let count = Command::CountJob { task: draft.key().clone(), attempt };
        draft.send(draft.root(), &count);
    }
}

/// Whether the budget of a root without a plan allows its job; if not, the attempt waits again.
pub(super) fn root_may_begin(draft: &mut Draft<'_>, attempt: u32) -> bool {
    let key = draft.key().clone();
    if key.parent().is_some() || try_count(draft, &key, attempt) {
        return true;
    }
    draft.release(attempt);
    draft.queue(attempt.saturating_add(1));
    false
}

fn check_root(context: &Context<'_>) -> Result<(), Refusal> {
    let key = &context.entity.key;
    if key.parent().is_none() {
        return Ok(());
    }
    Err(Refusal::new("ask-the-root", format!("`{key}` keeps no budget"))
        .hint(format!("the budget of the whole tree is kept by `{}`", key.root())))
}

fn check_reservation(
    reservation: &str,
    task: &Key,
    lease_ms: u64,
    context: &Context<'_>,
) -> Result<(), Refusal> {
    let root = &context.entity.key;
    if !task.is_within(root) {
        let message = format!("`{task}` is not in the tree of `{root}`");
        return Err(Refusal::new("invalid-reservation", message)
            .hint(format!("its budget is kept by `{}`", task.root())));
    }
    if !(1..=RESERVATION_BYTES_MAX).contains(&reservation.len()) {
        let message = format!("a reservation's name must have 1 to {RESERVATION_BYTES_MAX} bytes");
        return Err(Refusal::new("invalid-reservation", message));
    }
    if !LEASE_MS.contains(&lease_ms) {
        let message = format!("`lease_ms` must be {} to {}, is {lease_ms}", LEASE_MS.start(), LEASE_MS.end());
        return Err(Refusal::new("invalid-reservation", message));
    }
    Ok(())
}
