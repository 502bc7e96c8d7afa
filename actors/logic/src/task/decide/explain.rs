//! `explain` and `sweep`: what a task waits for, in words, and repeating the requests that it waits for.

use actors_core::{Context, Decision, Refusal, View};
use bus_schemas::commands::approval;
use bus_schemas::commands::task::{Command, Failure};
use bus_schemas::events::task::Event;
use bus_schemas::jobs::FailureClass;
use bus_schemas::views::task::{TaskState, WaitsFor, Why};
use bus_schemas::{Key, Revision, Timestamp};

use super::super::draft::{LEASE_GRACE_MS, LEASE_MS};
use super::super::state::{Phase, State};
use super::{Draft, budget, children};

/// What a task waits for, and since when.
struct Wait {
    waits_for: WaitsFor,
    reason: String,
    moves: String,
    until: Option<Timestamp>,
    since: Option<Timestamp>,
}

/// What the task waits for.
pub(super) fn explain(state: &State, context: &Context<'_>) -> View {
    let draft = Draft::of(state, context);
    let children: Vec<Key> = state.open_children().map(|(_, child)| child.key.clone()).collect();
    let Wait { waits_for, reason, moves, until, since } = wait(state, draft.key(), &children);
    let lane = draft.submission().lane.clone();
    let (task, status) = (draft.key().clone(), state.shown());
    let since = since.unwrap_or(state.since);
    let skill = draft.submission().skill.clone();
    View::of(&Why { task, state: status, waits_for, reason, moves, since, until, lane, skill, children })
}

fn wait(state: &State, key: &Key, children: &[Key]) -> Wait {
    let wait = |waits_for, reason: String, moves: String| Wait {
        waits_for,
        reason,
        moves,
        until: None,
        since: None,
    };
    if state.status.is_final() {
        let how: &'static str = state.status.into();
        return wait(WaitsFor::Nothing, format!("the task is {how}"), String::new());
    }
    let exceeded = state.account.as_ref().and_then(|account| account.exceeded.as_ref());
    if let (Some(exceeded), None) = (exceeded, &state.cancel) {
        let answer = answer(key, Some(exceeded.question_id));
        let moves = format!("an answer of `{}`: {answer}, or `orrery tasks extend-budget`", exceeded.asks);
        let wait = wait(WaitsFor::Budget, exceeded.question.clone(), moves);
        return Wait { since: Some(exceeded.at), ..wait };
    }
    let attempt = state.attempt;
    let agent = state.agent.as_ref().map(Key::as_str).unwrap_or_default();
    match state.phase {
        Phase::New | Phase::Done => wait(WaitsFor::Nothing, "the task has ended".to_owned(), String::new()),
        Phase::Queued => {
            let submission = state.submission.as_ref();
            let (skill, lane) =
                submission.map(|given| (given.skill.as_str(), given.lane.as_str())).unwrap_or_default();
            wait(
                WaitsFor::Lane,
                format!("attempt {attempt} waits in lane `{lane}` for an agent with the skill `{skill}`"),
                format!("an agent with the skill `{skill}` that is free, and a lane that lets it begin"),
            )
        }
        Phase::Running => wait(
            WaitsFor::Worker,
            format!(
                "worker `{}` of agent `{agent}` does attempt {attempt}",
                state.worker.as_deref().unwrap_or_default()
            ),
            format!("its report; after {} s of silence another attempt follows", silence_s()),
        ),
        Phase::Backoff => {
            let before = match (state.withdrawals, &state.failure) {
                (0, Some(failure)) => format!("attempt {attempt} failed with `{}`", failure.code),
                (count, _) => format!("{count} attempts in a row were given back by their workers"),
            };
            let reason = format!("{before}, and the next one waits for the end of a pause");
            let wait = wait(WaitsFor::Backoff, reason, "the end of the pause".to_owned());
            Wait { until: Some(state.backoff_until), ..wait }
        }
        Phase::Answer => {
            let question = state.question.clone().unwrap_or_default();
            let who = if state.asks.is_empty() { "somebody".to_owned() } else { format!("`{}`", state.asks) };
            let answer = answer(key, state.question_id);
            wait(WaitsFor::Answer, question, format!("an answer of {who}: {answer}"))
        }
        Phase::Children => {
            let names: Vec<_> = children.iter().map(|child| format!("`{child}`")).collect();
            let how = if state.is_stopping() { "to stop" } else { "to end" };
            wait(
                WaitsFor::Children,
                format!("the task waits for {} {how}", names.join(", ")),
                "the end of these tasks: ask what they wait for".to_owned(),
            )
        }
    }
}

/// The command that answers a question.
fn answer(key: &Key, question: Option<Revision>) -> String {
    format!("`orrery tasks answer {key} ANSWER --question {}`", question.unwrap_or_default())
}

fn silence_s() -> u64 {
    (LEASE_MS + LEASE_GRACE_MS) / 1_000
}

/// Repeats the task's requests to whatever it waits for. Receivers ignore what they know, so this only
/// replaces lost messages.
pub(super) fn sweep(state: &State, context: &Context<'_>) -> Result<Decision<Event>, Refusal> {
    let mut draft = Draft::of(state, context);
    if state.status.is_final() {
        draft.tell_parent();
        return draft.done();
    }
    draft.await_deadline();
    budget::await_wall_clock(&mut draft);
    match state.phase {
        // A running attempt has a lease in the owner's memory.
        Phase::New | Phase::Done | Phase::Running => {}
        Phase::Answer => {
            if let Some(approval) = state.approval.clone() {
                draft.send(approval, &approval::Command::Watch);
            }
        }
        Phase::Queued => draft.enqueue(state.attempt, state.since),
        Phase::Backoff => {
            let next = state.attempt.saturating_add(1);
            draft.set_timer("backoff", state.backoff_until, &Command::EndBackoff { attempt: next });
        }
        Phase::Children => {
            if let Some(reason) = stops(state) {
                children::stop_children(&mut draft, &reason);
            }
            let open: Vec<Key> = state.open_children().map(|(_, child)| child.key.clone()).collect();
            for child in open {
                draft.send(child, &Command::Sweep);
            }
        }
    }
    if let Some(exceeded) = state.account.as_ref().and_then(|account| account.exceeded.as_ref()) {
        budget::hold(&mut draft, exceeded.dimension, exceeded.question.clone());
    }
    draft.done()
}

/// Why its children must stop, if they must.
fn stops(state: &State) -> Option<String> {
    let broken = || state.broken.as_ref().map(|step| format!("step `{step}` did not complete"));
    let failing = || state.failing.as_ref().map(|failure| failure.message.clone());
    state.cancel.clone().or_else(failing).or_else(broken)
}

/// Answers a parent that sweeps a task which was never submitted: the parent waits in vain.
pub(super) fn lost(context: &Context<'_>) -> Result<Decision<Event>, Refusal> {
    let key = &context.entity.key;
    let Some(parent) = key.parent() else { return Ok(Decision::none()) };
    let step = key.as_str().rsplit_once('.').map_or(key.as_str(), |(_, step)| step);
    let failure = Failure {
        class: FailureClass::Transient,
        code: "child-lost".to_owned(),
        message: format!("the task `{key}` was started, and is not there"),
        hint: Some("retry the task; and tell its makers, for this must not happen".to_owned()),
        dependency: None,
    };
    let settle = Command::SettleChild {
        step: step.into(),
        state: TaskState::Failed,
        artifacts: Vec::new(),
        result: serde_json::Value::Null,
        failure: Some(failure),
    };
    Ok(Decision::none().send(parent, &settle))
}
