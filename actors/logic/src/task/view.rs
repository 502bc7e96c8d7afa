//! The view of a task.

use bus_schemas::Key;
use bus_schemas::views::task::Task;

use super::State;

/// The view of a task; `None` if it was never submitted.
pub fn view(state: &State, key: &Key) -> Option<Task> {
    let submission = state.submission.as_ref()?;
    let steps = state.plan.iter().flat_map(|plan| &plan.steps);
    let task = Task {
        id: key.clone(),
        state: state.status,
        goal: submission.goal.clone(),
        owner: submission.owner.clone(),
        priority: submission.priority,
        lane: submission.lane.clone(),
        skill: submission.skill.clone(),
        parent: submission.parent.clone(),
        children: steps
            .filter_map(|step| state.children.get(&step.step))
            .map(|child| child.key.clone())
            .collect(),
        attempt: state.attempt,
        agent: state.agent.clone(),
        submitted_at: state.submitted_at,
        updated_at: state.updated_at,
        deadline: submission.deadline,
        question: state.question.clone(),
        question_id: state.question_id,
        artifacts: state.artifacts.clone(),
        result: state.result.clone(),
        failure: state.failure.clone(),
        end_id: state.end_id,
        budget: state.account.as_ref().map(|account| account.view()),
        revision: state.revision,
    };
    Some(task.shown())
}
