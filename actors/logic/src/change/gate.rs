//! The gate of installations that write no files: asked before a command is decided, and no part of the decision.

use actors_core::{GateRequest, Refusal};
use bus_schemas::commands::schedule;
use bus_schemas::commands::task::{self, PastEvent, Plan, Submit};
use bus_schemas::events::task::Event;
use bus_schemas::record::Source;

use super::State;
use crate::schedule::State as ScheduleState;
use crate::task::State as TaskState;

/// The skill that carries out a change, and the one that removes what is left of it.
pub(super) const CHANGE: &str = "change";
pub(super) const ROLL_BACK: &str = "roll-back-change";
/// The skills of the shipped agents that write files or change repositories.
pub const WRITERS: [&str; 8] = [
    CHANGE,
    ROLL_BACK,
    "write-file",
    "git-branch",
    "git-worktree",
    "git-worktree-remove",
    "git-commit",
    "git-merge",
];

/// Refuses work that writes files or changes repositories, where the configuration does not allow it: a change, a task,
/// a plan or a schedule of such work. What was accepted before is answered as before.
pub fn admit_no_writes(request: &GateRequest<'_>) -> Result<(), Refusal> {
    if !matches!(request.source, Some(Source::Ask | Source::Inbox(_))) {
        return Ok(());
    }
    match writes(request) {
        false => Ok(()),
        true => Err(Refusal::new("code-write-disabled", "this installation writes no files of repositories")
            .hint("an operator allows it with the setting `code_write.enabled`")),
    }
}

fn writes(request: &GateRequest<'_>) -> bool {
    if request.state::<State>().is_some_and(|state| state.plan.is_none()) {
        return true;
    }
    if let Some(state) = request.state::<TaskState>() {
        return match request.read() {
            Some(task::Command::Submit(submission)) => state.submission.is_none() && submits(&submission),
            Some(task::Command::Fork(fork)) => state.submission.is_none() && fork.past.iter().any(goes_on),
            Some(task::Command::CompleteJob { plan: Some(plan), .. }) => plans(&plan),
            _ => false,
        };
    }
    let is_schedule = request.state::<ScheduleState>().is_some();
    match request.read().filter(|_| is_schedule) {
        Some(schedule::Command::Create { task, .. }) => submits(&task),
        _ => false,
    }
}

/// Whether a forked task, or one below it, writes.
fn goes_on(past: &PastEvent) -> bool {
    match &past.event {
        Event::Submitted { submission, .. } => submits(submission),
        Event::Planned { plan } => plans(plan),
        _ => false,
    }
}

fn submits(submission: &Submit) -> bool {
    WRITERS.contains(&submission.skill.as_str()) || submission.plan.as_ref().is_some_and(plans)
}

fn plans(plan: &Plan) -> bool {
    plan.steps.iter().any(|step| WRITERS.contains(&step.skill.as_str()))
}
