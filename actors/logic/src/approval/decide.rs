//! Decides the commands of an approval.

use actors_core::{Context, Decision, EntityAddress, Key, Refusal, Timestamp};
use bus_schemas::approvals::{canonical, identified};
use bus_schemas::commands::approval::{Call, Command, Grounds, Request, ToolCall, Use};
use bus_schemas::commands::task;
use bus_schemas::events::approval::Event;
use bus_schemas::text::{is_line, is_prose};
use bus_schemas::wire::WireCommand;
use smol_str::SmolStr;

use super::state::{Asked, Phase, State};

/// The only timer.
const EXPIRE: &str = "expire";
/// The most calls of a request, and the most approvers: a person reads them all.
const LIST_MAX: usize = 16;
/// The most bytes of all arguments: a person reads them all.
const ARGS_BYTES_MAX: usize = 128 * 1024;
/// The most bytes of a name or a version.
const WORD_BYTES_MAX: usize = 128;
/// The most bytes of a reason or a hint.
const REASON_BYTES_MAX: usize = 4_096;
/// The bounds of a wait: at least what a person needs to click, at most a week.
const WAIT_MS: std::ops::RangeInclusive<u64> = 1_000..=604_800_000;

/// The decision on a command.
pub(super) fn decide(
    state: &State,
    command: Command,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    match (command, &state.asked) {
        (Command::Request(asked), known) => request(known.as_ref(), asked, context),
        // The task that waits is told that there is nothing to wait for.
        (Command::Watch, None) => Ok(tell(Decision::none(), watcher(context), "not-found", context)),
        (Command::Watch, Some(asked)) => Ok(watch(state, asked, context)),
        (Command::Expire { .. }, None) => Ok(Decision::none()),
        (_, None) => {
            let message = format!("nobody asked for the approval `{}`", context.entity.key);
            Err(Refusal::new("approval-not-found", message))
        }
        (Command::Approve { ids }, Some(asked)) => approve(state, asked, ids, context),
        (Command::Reject { rejection_reason }, Some(asked)) => {
            reject(state, asked, rejection_reason, context)
        }
        (Command::Cancel { reason }, Some(asked)) => cancel(state, asked, reason, context),
        (Command::Use(call), Some(asked)) => spend(state, asked, &call, context),
        (Command::Expire { due }, Some(asked)) => Ok(expire(state, asked, due, context)),
    }
}

fn request(
    known: Option<&Asked>,
    request: Request,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    if let Some(known) = known {
        // Also from another worker, which goes on where the first one was lost.
        if known.request == request {
            return Ok(Decision::none().reply(&known.tools));
        }
        let message = format!("the approval `{}` is for another request", context.entity.key);
        return Err(
            Refusal::new("approval-exists", message).hint("ask under another key: a request never changes")
        );
    }
    check(&request)?;
    let tools = calls(&request, &request.grounds, &request.tools, context)?;
    let answer_by = context.now.plus_ms(request.answer_within_ms);
    let (reply, by) = (tools.clone(), context.by());
    let event = Event::Requested { request, tools, by, answer_by, at: context.now };
    Ok(Decision::event(event).set_timer(EXPIRE, answer_by, &Command::Expire { due: answer_by }).reply(&reply))
}

fn check(request: &Request) -> Result<(), Refusal> {
    let invalid = |why: String| Err(Refusal::new("invalid-approval", why).hint("correct the request"));
    let word = |text: &str| (1..=WORD_BYTES_MAX).contains(&text.len()) && is_line(text);
    let Request { hint, tools, grounds, approvers, .. } = request;
    if hint.as_ref().is_some_and(|hint| hint.len() > REASON_BYTES_MAX || !is_prose(hint)) {
        return invalid(format!("`hint` is visible text of at most {REASON_BYTES_MAX} bytes"));
    }
    if !(1..=LIST_MAX).contains(&tools.len()) || approvers.len() > LIST_MAX {
        return invalid(format!("a request has 1 to {LIST_MAX} calls and at most {LIST_MAX} approvers"));
    }
    if !tools
        .iter()
        .all(|call| word(&call.name) && call.call_id.len() <= WORD_BYTES_MAX && is_line(&call.call_id))
        || !approvers.iter().all(|name| word(name))
        || !word(&grounds.policy_version)
        || !word(&grounds.settings_version)
        || grounds.base.len() > WORD_BYTES_MAX
        || !is_line(&grounds.base)
    {
        return invalid(format!(
            "names, versions and the base are visible text of at most {WORD_BYTES_MAX} bytes"
        ));
    }
    let bytes: usize = tools.iter().map(|call| canonical(&call.args).len()).sum();
    if bytes > ARGS_BYTES_MAX || !tools.iter().all(|call| call.args.is_object()) {
        return invalid(format!(
            "arguments are objects, of at most {ARGS_BYTES_MAX} bytes together, not {bytes}"
        ));
    }
    if !WAIT_MS.contains(&request.answer_within_ms) || !WAIT_MS.contains(&request.use_within_ms) {
        return invalid(format!("a wait has {} to {} ms", WAIT_MS.start(), WAIT_MS.end()));
    }
    Ok(())
}

/// Calls with their ids, on the grounds that are given.
fn calls(
    request: &Request,
    grounds: &Grounds,
    calls: &[Call],
    context: &Context<'_>,
) -> Result<Vec<ToolCall>, Refusal> {
    let key = &context.entity.key;
    let named = |call| {
        identified(key, &request.task, request.base_check, grounds, call).map_err(|name| {
            let message = format!("the tool `{}` has no argument `{name}`", call.name);
            Refusal::new("invalid-approval", message).hint("leave it out")
        })
    };
    let tools = calls.iter().map(named).collect::<Result<Vec<_>, _>>()?;
    let mut ids: Vec<_> = tools.iter().map(|call| &call.id).collect();
    ids.sort_unstable();
    ids.dedup();
    match ids.len() == tools.len() {
        true => Ok(tools),
        false => {
            Err(Refusal::new("invalid-approval", "two calls of the request are the same")
                .hint("leave one out"))
        }
    }
}

fn approve(
    state: &State,
    asked: &Asked,
    ids: Vec<SmolStr>,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    let by = person(asked, context)?;
    let (mut given, mut wanted): (Vec<_>, Vec<_>) = (ids.iter().collect(), asked.ids().collect());
    given.sort_unstable();
    wanted.sort_unstable();
    if given != wanted {
        let message = "the ids are not those of the calls, each exactly once";
        return Err(Refusal::new("approval-mismatch", message)
            .hint("read the approval, and approve the ids that it shows, or reject it"));
    }
    match &state.phase {
        Phase::Approved { by: former, .. } if *former == by => return Ok(Decision::none()),
        Phase::Waiting if context.now < asked.answer_by => {}
        other => return Err(over(other)),
    }
    let use_by = context.now.plus_ms(asked.request.use_within_ms);
    let event = Event::Approved { ids, by, use_by, at: context.now };
    let decision = Decision::event(event).set_timer(EXPIRE, use_by, &Command::Expire { due: use_by });
    Ok(tell(decision, Some(asked.request.task.clone()), "approved", context))
}

fn reject(
    state: &State,
    asked: &Asked,
    rejection_reason: String,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    check_reason(&rejection_reason)?;
    let by = person(asked, context)?;
    match &state.phase {
        Phase::Rejected { by: former } if *former == by => return Ok(Decision::none()),
        Phase::Waiting if context.now < asked.answer_by => {}
        other => return Err(over(other)),
    }
    let event = Event::Rejected { rejection_reason, by, at: context.now };
    let decision = Decision::event(event).cancel_timer(EXPIRE);
    Ok(tell(decision, Some(asked.request.task.clone()), "rejected", context))
}

/// The name of the person who answers. Whoever asked does not answer, nor does any entity: what an agent writes is
/// never an approval.
fn person(asked: &Asked, context: &Context<'_>) -> Result<String, Refusal> {
    let by = context.by();
    if by == asked.by || by.contains('/') || context.by_timer {
        let message = format!("`{by}` asked for this approval, or is no person");
        return Err(Refusal::new("not-an-approver", message).hint("let a person answer"));
    }
    let approvers = &asked.request.approvers;
    if !approvers.is_empty() && !approvers.iter().any(|known| *known == by) {
        let message = format!("`{by}` is not among the approvers: {}", approvers.join(", "));
        return Err(Refusal::new("not-an-approver", message).hint("let one of them answer"));
    }
    Ok(by)
}

/// The refusal of what comes after the end.
fn over(phase: &Phase) -> Refusal {
    let what = match phase {
        // The timer is about to say so.
        Phase::Waiting => "nobody answered in time".to_owned(),
        Phase::Approved { by, .. } => format!("`{by}` approved it"),
        Phase::Rejected { by } => format!("`{by}` rejected it"),
        Phase::TimedOut => "nobody answered in time".to_owned(),
        Phase::Canceled { by } => format!("`{by}` canceled it"),
        Phase::Used { task } => format!("task `{task}` used it"),
        Phase::Lapsed => "nobody used it in time".to_owned(),
        Phase::Revoked { by } => format!("`{by}` canceled it after it was approved"),
    };
    Refusal::new("approval-over", format!("the approval is over or decided: {what}"))
        .hint("ask again under another key")
}

fn cancel(
    state: &State,
    asked: &Asked,
    reason: String,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    check_reason(&reason)?;
    let (by, at) = (context.by(), context.now);
    Ok(match &state.phase {
        Phase::Waiting => {
            let decision = Decision::event(Event::Canceled { reason, by, at }).cancel_timer(EXPIRE);
            tell(decision, Some(asked.request.task.clone()), "canceled", context)
        }
        Phase::Approved { .. } => Decision::event(Event::Revoked { reason, by, at }).cancel_timer(EXPIRE),
        _ => Decision::none(),
    })
}

fn check_reason(reason: &str) -> Result<(), Refusal> {
    let fits = (1..=REASON_BYTES_MAX).contains(&reason.len()) && !reason.trim().is_empty();
    match fits && is_prose(reason) {
        true => Ok(()),
        false => {
            let message = format!("a reason of 1 to {REASON_BYTES_MAX} bytes of visible text is needed");
            Err(Refusal::new("reason-missing", message).hint("state the reason: others will ask for it"))
        }
    }
}

/// Whether the approval covers what is about to be done; the last check before it is.
fn spend(
    state: &State,
    asked: &Asked,
    call: &Use,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    let repeats = match &state.phase {
        Phase::Used { task } if *task == call.task => true,
        Phase::Approved { use_by, .. } if context.now < *use_by => false,
        Phase::Waiting => {
            return Err(
                Refusal::new("approval-waits", "no person has approved it yet").hint("wait for the answer")
            );
        }
        other => return Err(over(other)),
    };
    let stale = |what: &str| {
        Err(Refusal::new("approval-mismatch", format!("the approval does not cover this: {what}"))
            .hint("ask again: a person approves what is there now"))
    };
    if call.task != asked.request.task {
        return stale(&format!("only task `{}` may use it", asked.request.task));
    }
    let then = &asked.request.grounds;
    if call.grounds.policy_version != then.policy_version {
        return stale("the policy is another version");
    }
    if call.grounds.settings_version != then.settings_version {
        return stale("the settings are another version");
    }
    let Grounds { base, .. } = &call.grounds;
    if call.tools.len() > LIST_MAX || base.len() > WORD_BYTES_MAX || !is_line(base) {
        return stale("the calls or the base are others");
    }
    let tools = calls(&asked.request, &call.grounds, &call.tools, context)?;
    if !tools.iter().map(|call| &call.id).eq(asked.ids()) {
        return stale("the base or the arguments of a call changed since");
    }
    if repeats {
        return Ok(Decision::none());
    }
    let (task, base) = (call.task.clone(), call.grounds.base.clone());
    let event = Event::Used { task, base, by: context.by(), at: context.now };
    Ok(Decision::event(event).cancel_timer(EXPIRE))
}

/// The timer of the answer may be on its way when the approval sets that of the use, so each names its time.
fn expire(state: &State, asked: &Asked, due: Timestamp, context: &Context<'_>) -> Decision<Event> {
    let at = context.now;
    let (is_current, event) = match &state.phase {
        Phase::Waiting => (due == asked.answer_by, Event::TimedOut { at }),
        Phase::Approved { use_by, .. } => (due == *use_by, Event::Lapsed { at }),
        _ => return Decision::none(),
    };
    match (is_current, context.is_due(due)) {
        (false, _) => Decision::none(),
        (true, true) => {
            let is_outcome = state.phase == Phase::Waiting;
            let task = is_outcome.then(|| asked.request.task.clone());
            tell(Decision::event(event), task, "timed-out", context)
        }
        (true, false) => Decision::none().set_timer(EXPIRE, due, &Command::Expire { due }),
    }
}

/// Tells a task that waits for the outcome; a task that does not wait ignores it.
fn tell(
    decision: Decision<Event>,
    task: Option<Key>,
    outcome: &str,
    context: &Context<'_>,
) -> Decision<Event> {
    let Some(task) = task else { return decision };
    let approval = context.entity.key.clone();
    decision.send(task, &task::Command::SettleApproval { approval, outcome: outcome.into() })
}

/// From the task that waits: told at once where there is an outcome.
fn watch(state: &State, asked: &Asked, context: &Context<'_>) -> Decision<Event> {
    let outcome = match &state.phase {
        // A task that may not use the approval waits in vain.
        Phase::Waiting if watcher(context).as_ref() == Some(&asked.request.task) => {
            return Decision::none();
        }
        Phase::Waiting => "not-found",
        Phase::Approved { .. } | Phase::Used { .. } => "approved",
        Phase::Rejected { .. } => "rejected",
        Phase::TimedOut => "timed-out",
        Phase::Canceled { .. } => "canceled",
        Phase::Lapsed => "lapsed",
        Phase::Revoked { .. } => "revoked",
    };
    tell(Decision::none(), watcher(context), outcome, context)
}

/// The task that sent the command.
fn watcher(context: &Context<'_>) -> Option<Key> {
    let sender: EntityAddress = context.caller?.parse().ok()?;
    (sender.kind == task::Command::KIND).then_some(sender.key)
}
