//! Decides the commands of a change.

use actors_core::{Context, Decision, EntityAddress, Key, Refusal};
use bus_schemas::Hash;
use bus_schemas::commands::change::{Command, FileChange, Plan, Schedule, Step};
use bus_schemas::commands::task::{self, Failure, Submit};
use bus_schemas::events::change::Event;
use bus_schemas::jobs::FailureClass;
use bus_schemas::text::{is_line, is_prose};
use bus_schemas::views::task::TaskState;
use bus_schemas::wire::WireCommand;
use serde_json::json;

use super::gate::{CHANGE, ROLL_BACK};
use super::state::{Phase, State};
use crate::task::{check_submission, owned};
use crate::text::{cut_failure, words};

/// The longest name in bytes: leaves room for the name of the task that rolls back.
const NAME_BYTES_MAX: usize = 128;
/// The most files, and the most bytes of their contents: a person reads them all.
const FILES_MAX: usize = 32;
const TEXT_BYTES_MAX: usize = 256 * 1024;
/// The most bytes of a path or of the name of a branch or a test.
const LINE_BYTES_MAX: usize = 4_096;
/// The most bytes of a message.
const MESSAGE_BYTES_MAX: usize = 4_096;
/// The most tests that are named.
const EXPECT_MAX: usize = 256;

/// The decision on a command.
pub(super) fn decide(
    state: &State,
    command: Command,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    match (command, &state.plan) {
        (Command::Schedule(asked), known) => schedule(known.as_ref(), &asked, context),
        (Command::Adopt { plan }, known) => adopt(known.as_ref(), plan, context),
        (Command::SettleTask { .. }, None) => Ok(Decision::none()),
        (_, None) => {
            let message = format!("there is no change `{}`", context.entity.key);
            Err(Refusal::new("change-not-found", message).hint("list the changes"))
        }
        (Command::Record(step), Some(_)) => record(state, step, context),
        (Command::Cancel { reason }, Some(_)) => cancel(state, reason, context),
        (Command::SettleTask { state: end, failure }, Some(plan)) => {
            Ok(settle(state, plan, end, failure.map(cut_failure), context))
        }
    }
}

fn schedule(
    known: Option<&Plan>,
    asked: &Schedule,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    let key = &context.entity.key;
    let name = key.as_str();
    if name.contains('.') || name.len() > NAME_BYTES_MAX {
        let message = format!("a change's name has at most {NAME_BYTES_MAX} bytes and no dot");
        return Err(Refusal::new("invalid-name", message).hint("choose another name, such as `fix-1`"));
    }
    check_files(&asked.files, &asked.expect)?;
    let decision = begin(known, asked.plan(), context)?;
    let goal = format!("Change {} in {}: {}", listed(&asked.files), asked.repo, asked.message);
    let goal = bus_schemas::text::cut(&goal, 4_096);
    let submission =
        owned(Submit { skill: CHANGE.into(), input: json!(asked), ..Submit::new(goal) }, context)?;
    check_submission(&submission, key, context.now)?;
    if known.is_some() {
        return Ok(decision);
    }
    Ok(follow(decision.send_settled(key.clone(), &task::Command::Submit(submission)), key))
}

fn listed(files: &[FileChange]) -> String {
    let paths: Vec<_> = files.iter().take(3).map(|file| format!("`{}`", file.path)).collect();
    let more = files.len().saturating_sub(3);
    if more == 0 { paths.join(", ") } else { format!("{} and {more} more", paths.join(", ")) }
}

fn adopt(known: Option<&Plan>, plan: Plan, context: &Context<'_>) -> Result<Decision<Event>, Refusal> {
    let decision = begin(known, plan, context)?;
    Ok(if known.is_some() { decision } else { follow(decision, &context.entity.key) })
}

/// The change begins, unless it has begun as the same.
fn begin(known: Option<&Plan>, plan: Plan, context: &Context<'_>) -> Result<Decision<Event>, Refusal> {
    match known {
        Some(known) if *known == plan => return Ok(Decision::none()),
        Some(_) => {
            let message = format!("the change `{}` is another one", context.entity.key);
            return Err(Refusal::new("change-exists", message).hint("schedule it under another name"));
        }
        None => {}
    }
    check_plan(&plan)?;
    Ok(Decision::event(Event::Scheduled { plan, by: context.by(), at: context.now }))
}

fn check_files(files: &[FileChange], expect: &[String]) -> Result<(), Refusal> {
    let bytes: usize = files.iter().filter_map(|file| file.text.as_ref()).map(String::len).sum();
    if bytes > TEXT_BYTES_MAX {
        return Err(invalid(format!("the files have at most {TEXT_BYTES_MAX} bytes together, not {bytes}")));
    }
    if expect.len() > EXPECT_MAX || !expect.iter().all(|name| is_short(name)) {
        return Err(invalid(format!("`expect` has at most {EXPECT_MAX} names, each one line of text")));
    }
    Ok(())
}

fn check_plan(plan: &Plan) -> Result<(), Refusal> {
    let Plan { repo, target, paths, message, .. } = plan;
    if !is_short(repo) || !repo.starts_with('/') || !is_short(target) {
        return Err(invalid("`repo` is an absolute path, and `target` the name of a branch".to_owned()));
    }
    if !(1..=FILES_MAX).contains(&paths.len()) || !paths.iter().all(|path| is_short(path)) {
        return Err(invalid(format!("a change has 1 to {FILES_MAX} files, each path one line of text")));
    }
    let mut once: Vec<_> = paths.iter().collect();
    once.sort_unstable();
    once.dedup();
    if once.len() != paths.len() {
        return Err(invalid("a file is named twice".to_owned()));
    }
    let is_said = !message.trim().is_empty() && message.len() <= MESSAGE_BYTES_MAX;
    if !is_said || !is_prose(message) {
        return Err(invalid(format!("the message has 1 to {MESSAGE_BYTES_MAX} bytes of visible text")));
    }
    Ok(())
}

fn is_short(text: &str) -> bool {
    (1..=LINE_BYTES_MAX).contains(&text.len()) && is_line(text)
}

fn invalid(why: String) -> Refusal {
    Refusal::new("invalid-change", why).hint("correct the change")
}

fn follow(decision: Decision<Event>, task: &Key) -> Decision<Event> {
    decision.send(task.clone(), &task::Command::Follow)
}

fn record(state: &State, step: Step, context: &Context<'_>) -> Result<Decision<Event>, Refusal> {
    let phase = phase_of(&step);
    // Made before, by an attempt that could not say so.
    if phase == state.phase || (phase < state.phase && !phase.is_final()) {
        return Ok(Decision::none());
    }
    let rolls_back = state.stopped.as_ref().is_some_and(|stopped| stopped.rollback.is_some());
    // A merge that was faster than the end of its task is the truth.
    if state.phase.is_final() || (rolls_back && phase != Phase::Merged) {
        let message = format!("the change `{}` is over", context.entity.key);
        return Err(Refusal::new("change-over", message).hint("schedule it again under another name"));
    }
    if !may_follow(state, phase) {
        let message = format!("the change is {:?}, and cannot be {phase:?} next", state.phase);
        return Err(Refusal::new("change-out-of-order", message).hint("record the steps in order"));
    }
    event(state, step, context).map(Decision::event)
}

fn phase_of(step: &Step) -> Phase {
    match step {
        Step::Proposed { .. } => Phase::Proposed,
        Step::Approved => Phase::Approved,
        Step::Applied { .. } => Phase::Applied,
        Step::Branched => Phase::Branched,
        Step::SyntaxPassed => Phase::SyntaxPassed,
        Step::SyntaxFailed { .. } => Phase::SyntaxFailed,
        Step::TestsStarted => Phase::TestsStarted,
        Step::TestsPassed => Phase::TestsPassed,
        Step::TestsFailed { .. } => Phase::TestsFailed,
        Step::Merged { .. } => Phase::Merged,
        Step::Tested => Phase::Tested,
        Step::RolledBack { .. } => Phase::RolledBack,
    }
}

/// The life cycle.
fn may_follow(state: &State, next: Phase) -> bool {
    let asks = state.proposal.as_ref().is_some_and(|proposal| proposal.asks);
    let is_trial = state.plan.as_ref().is_some_and(|plan| plan.dry_run);
    match next {
        Phase::Scheduled => false,
        Phase::Proposed => state.phase == Phase::Scheduled,
        Phase::Approved => state.phase == Phase::Proposed && asks,
        // Without a person's approval only where nobody had to be asked.
        Phase::Applied => state.phase == Phase::Approved || (state.phase == Phase::Proposed && !asks),
        Phase::Branched => state.phase == Phase::Applied,
        Phase::SyntaxPassed | Phase::SyntaxFailed => state.phase == Phase::Branched,
        Phase::TestsStarted => state.phase == Phase::SyntaxPassed,
        Phase::TestsPassed | Phase::TestsFailed => state.phase == Phase::TestsStarted,
        Phase::Merged => state.phase == Phase::TestsPassed && !is_trial,
        Phase::Tested => state.phase == Phase::TestsPassed && is_trial,
        Phase::RolledBack => state.phase >= Phase::Applied,
    }
}

fn event(state: &State, step: Step, context: &Context<'_>) -> Result<Event, Refusal> {
    let at = context.now;
    if let Step::Proposed { base, branch, diff, approval } = step {
        if !is_short(&base) || !is_short(&branch) {
            return Err(invalid("`base` and `branch` are each one line of text".to_owned()));
        }
        return Ok(Event::Proposed { base, branch, diff, approval, at });
    }
    let trace = state.trace(at).ok_or_else(|| invalid("a diff comes first".to_owned()))?;
    Ok(match step {
        Step::Proposed { .. } => unreachable!("a proposal returns above"),
        Step::Approved => Event::Approved { trace },
        Step::Applied { commit } | Step::Merged { commit } if !is_short(&commit) => {
            return Err(invalid("`commit` is one line of text".to_owned()));
        }
        Step::Applied { commit } => Event::Applied { commit, trace },
        Step::Branched => Event::Branched { trace },
        Step::SyntaxPassed => Event::SyntaxPassed { trace },
        Step::SyntaxFailed { reason } => Event::SyntaxFailed { reason: words(reason), trace },
        Step::TestsStarted => Event::TestsStarted { trace },
        Step::TestsPassed => Event::TestsPassed { trace },
        Step::TestsFailed { reason } => Event::TestsFailed { reason: words(reason), trace },
        Step::Merged { commit } => Event::Merged { commit, trace },
        Step::Tested => Event::Tested { trace },
        Step::RolledBack { reason } => Event::RolledBack { reason: words(reason), trace },
    })
}

fn cancel(state: &State, reason: String, context: &Context<'_>) -> Result<Decision<Event>, Refusal> {
    let is_said = (1..=MESSAGE_BYTES_MAX).contains(&reason.len()) && !reason.trim().is_empty();
    if !is_said || !is_prose(&reason) {
        let message = format!("a reason of 1 to {MESSAGE_BYTES_MAX} bytes of visible text is needed");
        return Err(Refusal::new("reason-missing", message).hint("state the reason: others will ask for it"));
    }
    if state.phase.is_final() || state.is_canceled || state.stopped.is_some() {
        return Ok(Decision::none());
    }
    let cancel = task::Command::Cancel { reason: reason.clone() };
    let event = Event::CancelRequested { reason, by: context.by(), at: context.now };
    Ok(Decision::event(event).send(context.entity.key.clone(), &cancel))
}

/// A task ended: that of the change, or the one that rolls back.
fn settle(
    state: &State,
    plan: &Plan,
    end: TaskState,
    failure: Option<Failure>,
    context: &Context<'_>,
) -> Decision<Event> {
    if state.phase.is_final() {
        return Decision::none();
    }
    let sender = context.caller.and_then(|caller| caller.parse::<EntityAddress>().ok());
    let rollback = state.stopped.as_ref().and_then(|stopped| stopped.rollback.as_ref());
    match sender.filter(|sender| sender.kind == task::Command::KIND).map(|sender| sender.key) {
        Some(task) if Some(&task) == rollback => rolled_back(state, end, failure, context),
        Some(task) if task == context.entity.key && rollback.is_none() => {
            stop(state, plan, end, failure, context)
        }
        _ => Decision::none(),
    }
}

fn rolled_back(
    state: &State,
    end: TaskState,
    failure: Option<Failure>,
    context: &Context<'_>,
) -> Decision<Event> {
    let (Some(trace), Some(stopped)) = (state.trace(context.now), &state.stopped) else {
        return Decision::none();
    };
    if end == TaskState::Completed {
        return Decision::event(Event::RolledBack { reason: stopped.reason.clone(), trace });
    }
    let failure = failure.unwrap_or_else(|| unexpected("the task that rolls back was canceled"));
    Decision::event(Event::RollbackFailed { failure, trace })
}

/// The task ended and the change did not: what it wrote goes.
fn stop(
    state: &State,
    plan: &Plan,
    end: TaskState,
    failure: Option<Failure>,
    context: &Context<'_>,
) -> Decision<Event> {
    let failure = match end {
        TaskState::Canceled => None,
        TaskState::Completed => Some(unexpected("the task ended without an end of the change")),
        _ => Some(failure.unwrap_or_else(|| unexpected("the task failed"))),
    };
    let Some(commit) = &state.commit else {
        return Decision::event(Event::Stopped { failure, rollback: None, at: context.now });
    };
    let key = &context.entity.key;
    let rollback = rollback_key(key);
    let input = json!({"repo": plan.repo, "target": plan.target, "change": key, "commit": commit});
    let goal = format!("Remove what is left of the change {key}");
    let submission = Submit { skill: ROLL_BACK.into(), input, ..Submit::new(goal) };
    let event = Event::Stopped { failure, rollback: Some(rollback.clone()), at: context.now };
    let submit = task::Command::Submit(submission);
    follow(Decision::event(event).send_settled(rollback.clone(), &submit), &rollback)
}

/// The key of the task that rolls a change back: a root, since its parent may be over.
fn rollback_key(change: &Key) -> Key {
    let named = |name: &str| Key::parse(&format!("roll-back-{name}"));
    named(&change.as_str().replace('.', "_"))
        .or_else(|_| named(&Hash::of(change.as_str().as_bytes()).to_hex()))
        .expect("a word and a hash make a key")
}

fn unexpected(message: &str) -> Failure {
    let Refusal { code, message, .. } = Refusal::new("change-stopped", message);
    let code = code.to_string();
    Failure { class: FailureClass::Permanent, code, message, hint: None, dependency: None }
}
