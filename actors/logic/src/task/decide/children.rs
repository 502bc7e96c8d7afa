//! Plans: child tasks start when the steps before them are done, and their outcomes make that of the task.

use std::collections::BTreeSet;

use actors_core::{Context, Decision, Refusal};
use bus_schemas::commands::task::{Command, Failure, Plan, PlanStep, Submit};
use bus_schemas::events::task::Event;
use bus_schemas::jobs::{Artifact, FailureClass};
use bus_schemas::views::task::TaskState;
use serde_json::Value;
use smol_str::{SmolStr, format_smolstr};

use super::super::state::State;
use super::Draft;
use super::attempt::ARTIFACTS_MAX;
use crate::text::words;

/// The outcome of a child.
pub(super) struct End {
    pub(super) state: TaskState,
    pub(super) artifacts: Vec<Artifact>,
    pub(super) result: Value,
    pub(super) failure: Option<Failure>,
}

/// Begins a checked plan.
pub(super) fn begin(draft: &mut Draft<'_>, plan: Plan) {
    draft.emit(Event::Planned { plan });
    start_ready(draft);
}

/// From a child: its outcome. No effect for a step that is not open.
pub(super) fn settle(
    state: &State,
    step: SmolStr,
    end: End,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    if !end.state.is_final() {
        return Err(Refusal::new("child-not-final", format!("the step `{step}` has not ended")));
    }
    let Some(child) = state.children.get(&step) else {
        return Err(Refusal::new("unknown-step", format!("the step `{step}` was not started")));
    };
    let mut draft = Draft::of(state, context);
    if child.end.is_some() {
        return draft.done();
    }
    let was_stopping = state.is_stopping();
    let End { state: end, mut artifacts, result, failure } = end;
    for artifact in &mut artifacts {
        artifact.step =
            if artifact.step.is_empty() { step.clone() } else { format_smolstr!("{step}.{}", artifact.step) };
    }
    draft.emit(Event::ChildSettled { step: step.clone(), state: end, artifacts, result, failure });
    if !was_stopping && draft.state.is_stopping() {
        stop_children(&mut draft, &format!("step `{step}` did not complete"));
    }
    start_ready(&mut draft);
    conclude(&mut draft);
    draft.done()
}

/// Starts every step whose predecessors are satisfied.
pub(super) fn start_ready(draft: &mut Draft<'_>) {
    if draft.state.is_stopping() {
        return;
    }
    let ready: Vec<PlanStep> = draft
        .state
        .plan
        .iter()
        .flat_map(|plan| &plan.steps)
        .filter(|step| !draft.state.children.contains_key(&step.step))
        .filter(|step| step.after.iter().all(|before| draft.state.is_satisfied(before)))
        .cloned()
        .collect();
    for step in ready {
        let child = draft.key().child(&step.step).expect("the plan was checked before it was followed");
        let submission = child_submission(draft, &step);
        draft.emit(Event::ChildStarted { step: step.step, child: child.clone() });
        draft.send(child, &Command::Submit(submission));
    }
}

/// The submission of a child. It inherits the owner and the limits, and gets the artifacts of the steps
/// before it; a first step gets the task's own inputs.
pub(super) fn child_submission(draft: &Draft<'_>, step: &PlanStep) -> Submit {
    let submission = draft.submission();
    let made = step.after.iter().filter_map(|before| draft.state.children.get(before));
    let inputs = if step.after.is_empty() {
        submission.inputs.clone()
    } else {
        made.flat_map(|child| &child.artifacts).take(ARTIFACTS_MAX).cloned().collect()
    };
    Submit {
        goal: step.goal.clone(),
        owner: submission.owner.clone(),
        priority: submission.priority,
        lane: submission.lane.clone(),
        skill: step.skill.clone(),
        input: step.input.clone(),
        plan: None,
        deadline: submission.deadline,
        attempts_max: submission.attempts_max,
        budget: draft
            .state
            .account
            .as_ref()
            .map(|account| account.limits.clone())
            .or_else(|| submission.budget.clone()),
        parent: Some(draft.key().clone()),
        inputs,
        dead_letter: None,
    }
}

/// Cancels every open child.
pub(super) fn stop_children(draft: &mut Draft<'_>, reason: &str) {
    let open: Vec<_> = draft.state.open_children().map(|(_, child)| child.key.clone()).collect();
    let cancel = Command::Cancel { reason: reason.to_owned() };
    for child in open {
        draft.send(child, &cancel);
    }
}

/// Ends the task when no child is open.
pub(super) fn conclude(draft: &mut Draft<'_>) {
    let state = &draft.state;
    if state.open_children().next().is_some() {
        return;
    }
    let at = draft.now();
    if let Some(reason) = state.cancel.clone() {
        draft.end(Event::Canceled { reason, at });
    } else if let Some(failure) = state.failing.clone() {
        draft.fail(failure);
    } else if let Some(failure) = broken_failure(state) {
        draft.fail(failure);
    } else {
        let (artifacts, result) = (all_artifacts(state), last_result(state));
        draft.end(Event::Completed { artifacts, result, at });
    }
}

fn broken_failure(state: &State) -> Option<Failure> {
    let step = state.broken.as_ref()?;
    let child = state.children.get(step)?;
    let how: &'static str = child.end.unwrap_or_default().into();
    Some(match &child.failure {
        Some(failure) => Failure {
            class: failure.class,
            code: "child-failed".to_owned(),
            message: words(format!("step `{step}` is {how}: {}", failure.message)),
            hint: failure.hint.clone(),
            dependency: failure.dependency.clone(),
        },
        None => Failure {
            class: FailureClass::Canceled,
            code: "child-failed".to_owned(),
            message: format!("step `{step}` is {how}"),
            hint: Some("retry the task to try it again".to_owned()),
            dependency: None,
        },
    })
}

/// The artifacts of all completed steps, in the order of the plan.
fn all_artifacts(state: &State) -> Vec<Artifact> {
    let steps = state.plan.iter().flat_map(|plan| &plan.steps);
    steps
        .filter_map(|step| state.children.get(&step.step))
        .filter(|child| child.end == Some(TaskState::Completed))
        .flat_map(|child| &child.artifacts)
        .take(ARTIFACTS_MAX)
        .cloned()
        .collect()
}

/// The result of the last step without a successor.
fn last_result(state: &State) -> Value {
    let Some(plan) = &state.plan else { return Value::Null };
    let inner: BTreeSet<&SmolStr> = plan.steps.iter().flat_map(|step| &step.after).collect();
    let sinks = plan.steps.iter().rev().filter(|step| !inner.contains(&step.step));
    sinks
        .filter_map(|step| state.children.get(&step.step))
        .find(|child| child.end == Some(TaskState::Completed))
        .map_or(Value::Null, |child| child.result.clone())
}
