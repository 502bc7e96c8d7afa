//! Given, when, then for `task`: helpers here, cases by topic.

mod attempts;
mod breakers;
mod budget;
mod ends;
mod explain;
mod fork;
mod halts;
mod plans;
mod properties;
mod questions;
mod recorded;
mod steps;
mod submit;
mod tokens;
mod withdrawals;

use crate::testing::scenario::{Given, Outcome, given};
use actors_core::Timestamp;
use actors_core::decision::{Send, Timer};
use bus_schemas::commands::task::{Command, Failure, Plan, PlanStep, Query, Submit};
use bus_schemas::commands::{dead_letter, lane, queue};
use bus_schemas::events::task::Event;
use bus_schemas::jobs::{Artifact, EffectStep, FailureClass};
use bus_schemas::record::LeaseChange;
use bus_schemas::views::task::TaskState;
use bus_schemas::{CommandId, Hash, Revision};
use serde_json::Value;
use smol_str::{SmolStr, format_smolstr};

use super::{Phase, Task};
use crate::testing::{address, key, queue_of, sent};

/// The time of every scenario that sets no other.
const NOW: Timestamp = Timestamp(1_000_000);

fn root(events: impl IntoIterator<Item = Event>) -> Given<Task> {
    given(&address("task/t"), events).called_by("ann")
}

fn submitted(submission: Submit) -> Event {
    Event::Submitted { submission, at: NOW }
}

fn queued(attempt: u32) -> Event {
    Event::Queued { attempt, at: NOW }
}

fn issued(attempt: u32) -> Event {
    let (agent, worker, token) = (key("coder"), "w1".into(), hashed(attempt));
    Event::JobIssued { attempt, agent, worker, token, at: NOW }
}

/// The token of an attempt's worker.
fn token(attempt: u32) -> SmolStr {
    format_smolstr!("token-{attempt}")
}

/// The hash of that token, which the claim had.
fn hashed(attempt: u32) -> Hash {
    Hash::of_token(&token(attempt))
}

/// The claim that each job answers.
fn claim() -> CommandId {
    CommandId::from_text("a claim")
}

fn assign(attempt: u32) -> Command {
    let (agent, worker, token) = (key("coder"), "w1".into(), hashed(attempt));
    Command::Assign { agent, worker, claim: claim(), attempt, token, policy: None }
}

/// A leaf whose first attempt runs.
fn running(submission: Submit) -> Given<Task> {
    root([submitted(submission), queued(1), issued(1)])
}

fn enqueue(task: &str, attempt: u32, skill: &str) -> Send {
    let (skill, owner) = (skill.into(), "unnamed".into());
    let entry = queue::Entry { task: key(task), attempt, skill, priority: 5, owner, since: NOW };
    sent(&queue_of(task), &queue::Command::Enqueue(entry))
}

fn release(task: &str, attempt: u32, outcome: lane::Outcome) -> Send {
    sent(&queue_of(task), &queue::Command::Release { task: key(task), attempt, outcome })
}

fn failure(class: FailureClass, code: &str) -> Failure {
    Failure { class, code: code.into(), message: "it went wrong".into(), hint: None, dependency: None }
}

fn fail_job(attempt: u32, class: FailureClass) -> Command {
    let Failure { class, code, message, hint, dependency } = failure(class, "broken");
    Command::FailJob { attempt, token: token(attempt), class, code, message, hint, dependency }
}

fn complete_job(attempt: u32) -> Command {
    complete_with(attempt, vec![artifact("report", "")], 42.into(), None)
}

fn complete_with(attempt: u32, artifacts: Vec<Artifact>, result: Value, plan: Option<Plan>) -> Command {
    Command::CompleteJob { attempt, token: token(attempt), steps: vec![], artifacts, result, plan }
}

fn completed() -> Event {
    Event::Completed { artifacts: vec![artifact("report", "")], result: 42.into(), at: NOW }
}

fn cancel() -> Command {
    Command::Cancel { reason: "enough".into() }
}

fn cancel_requested() -> Event {
    Event::CancelRequested { reason: "enough".into(), by: "ann".into() }
}

fn canceled() -> Event {
    Event::Canceled { reason: "enough".into(), at: NOW }
}

fn effect(attempt: u32, step: EffectStep) -> Command {
    Command::RecordEffect {
        attempt,
        token: token(attempt),
        effect: "push".into(),
        step,
        detail: String::new(),
        key: None,
        result: Value::Null,
    }
}

fn effect_recorded(attempt: u32, step: EffectStep) -> Event {
    Event::EffectRecorded {
        attempt,
        effect: "push".into(),
        step,
        detail: String::new(),
        key: None,
        result: Value::Null,
    }
}

fn artifact(name: &str, step: &str) -> Artifact {
    Artifact {
        name: name.into(),
        media_type: "text/plain".into(),
        hash: Hash::of(name.as_bytes()),
        bytes: 7,
        step: step.into(),
    }
}

fn step(name: &str, after: &[&str]) -> PlanStep {
    PlanStep {
        step: name.into(),
        goal: format!("do {name}"),
        skill: "code".into(),
        input: Value::Null,
        after: after.iter().map(|step| (*step).into()).collect(),
        optional: false,
    }
}

/// `a` and `b`, then `c` after both.
fn diamond() -> Plan {
    Plan { steps: vec![step("a", &[]), step("b", &[]), step("c", &["a", "b"])] }
}

fn planned(plan: Plan) -> Submit {
    Submit { plan: Some(plan), ..Submit::new("a goal") }
}

fn child_started(name: &str) -> Event {
    Event::ChildStarted { step: name.into(), child: key(&format!("t.{name}")) }
}

fn settle(name: &str, state: TaskState) -> Command {
    let (mut artifacts, mut failed) = (vec![], None);
    match state {
        TaskState::Completed => artifacts.push(artifact(name, "")),
        TaskState::Failed => failed = Some(failure(FailureClass::Permanent, "broken")),
        _ => {}
    }
    Command::SettleChild { step: name.into(), state, artifacts, result: name.into(), failure: failed }
}

fn settled(name: &str, state: TaskState) -> Event {
    match settle(name, state) {
        Command::SettleChild { step, state, mut artifacts, result, failure } => {
            artifacts.iter_mut().for_each(|artifact| artifact.step = name.into());
            Event::ChildSettled { step, state, artifacts, result, failure }
        }
        other => panic!("not a settlement: {other:?}"),
    }
}

/// The dead letters that the decision records.
fn dead_letters(outcome: &Outcome<Task>) -> Vec<(String, dead_letter::Entry)> {
    let sends = outcome.decision().sends.iter().filter(|send| send.to.kind.as_str() == "dead-letter");
    sends
        .map(|send| match send.body.read() {
            Ok(dead_letter::Command::Record(entry)) => (send.to.key.to_string(), entry),
            other => panic!("{other:?}"),
        })
        .collect()
}

/// The time of the named timer; `None` if it is not set.
fn timer(outcome: &Outcome<Task>, wanted: &str) -> Option<Timestamp> {
    outcome.decision().timers.iter().find_map(|timer| match timer {
        Timer::Set { name, at, .. } if name == wanted => Some(*at),
        _ => None,
    })
}

/// An answer to the task's current question.
fn answer_to(given: &Given<Task>, answer: impl Into<Value>) -> Command {
    let task = super::view(given.state(), &key("t")).expect("it was submitted");
    let question = task.question_id.unwrap_or_default();
    Command::Answer { question, answer: answer.into() }
}

fn ask(attempt: u32, prompt: &str) -> Command {
    let (token, prompt) = (token(attempt), prompt.into());
    Command::RequireInput { attempt, token, prompt, authorization: false, approval: None }
}

/// Whether both leases of the attempt end.
fn ends_leases(outcome: &Outcome<Task>) -> bool {
    let ended = ["attempt", "progress"].map(|name| LeaseChange::End { name: name.into() });
    outcome.decision().leases == ended
}

fn cancels_timer(outcome: &Outcome<Task>, wanted: &str) -> bool {
    outcome.decision().timers.contains(&Timer::Cancel { name: wanted.into() })
}
