//! The view of a task: [`bus_schemas::views::task::Task`], folded from its events.

use bus_schemas::commands::task::{Failure, Submit};
use bus_schemas::events::task::Event;
use bus_schemas::settings::Budget;
use bus_schemas::views::task::{Account, Exceeded, Task, TaskState};
use bus_schemas::{Key, Revision, Timestamp};
use rusqlite::types::Value;

use super::view::{View, time};

impl View for Task {
    type Event = Event;
    const TABLE: &'static str = "tasks";
    const COLUMNS: &'static [(&'static str, &'static str)] = &[
        ("root", "TEXT NOT NULL"),
        ("parent", "TEXT"),
        ("state", "TEXT NOT NULL"),
        ("owner", "TEXT NOT NULL"),
        ("lane", "TEXT NOT NULL"),
        ("submitted_at", "INTEGER NOT NULL"),
        ("updated_at", "INTEGER NOT NULL"),
    ];
    const INDEXES: &'static [&'static str] = &[
        "submitted_at, id",
        "state, submitted_at, id",
        "owner, submitted_at, id",
        "parent, submitted_at, id",
    ];

    fn fold(view: &mut Option<Self>, id: &Key, event: &Event, at: Timestamp, revision: Revision) {
        fold(view, id, event, at, revision);
    }
    fn revision(&self) -> Revision {
        self.revision
    }
    fn columns(&self) -> Vec<Value> {
        let state: &'static str = self.shown_state().into();
        vec![
            Value::Text(self.id.root().to_owned()),
            self.parent.as_ref().map_or(Value::Null, |parent| Value::Text(parent.to_string())),
            Value::Text(state.to_owned()),
            Value::Text(self.owner.to_string()),
            Value::Text(self.lane.to_string()),
            time(self.submitted_at),
            time(self.updated_at),
        ]
    }
}

/// Folds an event in. An event before `submitted` leaves no view.
pub fn fold(view: &mut Option<Task>, id: &Key, event: &Event, at: Timestamp, revision: Revision) {
    if let Event::Submitted { submission, at } = event
        && view.is_none()
    {
        *view = Some(new(id, submission, *at));
    }
    let Some(task) = view else { return };
    task.updated_at = at;
    task.revision = revision;
    change(task, event);
}

fn new(id: &Key, submission: &Submit, at: Timestamp) -> Task {
    Task {
        id: id.clone(),
        state: TaskState::Submitted,
        goal: submission.goal.clone(),
        owner: submission.owner.clone(),
        priority: submission.priority,
        lane: submission.lane.clone(),
        skill: submission.skill.clone(),
        parent: submission.parent.clone(),
        children: Vec::new(),
        attempt: 0,
        agent: None,
        submitted_at: at,
        updated_at: at,
        deadline: submission.deadline,
        question: None,
        question_id: None,
        artifacts: Vec::new(),
        result: serde_json::Value::Null,
        failure: None,
        end_id: None,
        budget: submission.budget.clone().filter(|_| submission.parent.is_none()).map(account),
        revision: Revision(0),
    }
}

fn account(limits: Budget) -> Account {
    Account { limits, ..Account::default() }
}

/// The same transitions as the entity's own: its answers and the view must not differ.
fn change(task: &mut Task, event: &Event) {
    match event {
        Event::Submitted { .. }
        | Event::Forked { .. }
        | Event::ChildSettled { .. }
        | Event::EffectRecorded { .. }
        | Event::StepRecorded { .. }
        | Event::Followed { .. }
        | Event::PolicySet { .. }
        | Event::AttemptWithdrawn { .. }
        | Event::CancelRequested { .. } => {}
        Event::Planned { .. } => wait(task, TaskState::Working),
        Event::ChildStarted { child, .. } => {
            if !task.children.contains(child) {
                task.children.push(child.clone());
            }
        }
        Event::Queued { attempt, .. } => {
            task.attempt = *attempt;
            wait(task, TaskState::Submitted);
        }
        Event::BackoffStarted { .. } => wait(task, TaskState::Submitted),
        Event::JobIssued { agent, .. } => {
            wait(task, TaskState::Working);
            task.agent = Some(agent.clone());
        }
        Event::AttemptFailed { failure, .. } => task.failure = Some(failure.clone()),
        Event::InputRequired { prompt, authorization, .. } => {
            wait(task, if *authorization { TaskState::AuthRequired } else { TaskState::InputRequired });
            (task.question, task.question_id) = (Some(prompt.clone()), Some(task.revision));
        }
        Event::Answered { .. } => (task.question, task.question_id) = (None, None),
        Event::Completed { artifacts, result, .. } => {
            task.artifacts.clone_from(artifacts);
            task.result = result.clone();
            end(task, TaskState::Completed, None);
        }
        Event::Rejected { failure } => end(task, TaskState::Rejected, Some(failure)),
        Event::Failed { failure, .. } => end(task, TaskState::Failed, Some(failure)),
        Event::Canceled { .. } => {
            end(task, TaskState::Canceled, task.failure.clone().as_ref());
        }
        Event::BudgetSet { budget } => task.budget = Some(account(budget.clone())),
        Event::Reserved { .. }
        | Event::Settled { .. }
        | Event::JobCounted { .. }
        | Event::BudgetExceeded { .. }
        | Event::BudgetExtended { .. } => {
            if let Some(account) = &mut task.budget {
                charge(account, event, task.revision);
            }
        }
        Event::Retried { .. } => {
            (task.failure, task.end_id) = (None, None);
            // A task with a plan goes on with its children; any other is queued by the next event.
            if !task.children.is_empty() {
                wait(task, TaskState::Working);
            }
        }
    }
}

/// The budget of a tree.
fn charge(account: &mut Account, event: &Event, revision: Revision) {
    match event {
        Event::Reserved { amount, .. } => account.reserved = account.reserved.plus(*amount),
        Event::Settled { used, reserved, .. } => {
            account.reserved = account.reserved.minus(*reserved);
            account.used = account.used.plus(*used);
        }
        Event::JobCounted { .. } => account.used.jobs += 1,
        Event::BudgetExceeded { dimension, question, asks, at } => {
            let (question, asks) = (question.clone(), asks.clone());
            account.exceeded =
                Some(Exceeded { dimension: *dimension, question, question_id: revision, asks, at: *at });
        }
        Event::BudgetExtended { budget, .. } => {
            account.limits = budget.clone();
            account.exceeded = None;
        }
        _ => {}
    }
}

/// Nothing works on the task itself.
fn wait(task: &mut Task, state: TaskState) {
    task.state = state;
    task.agent = None;
}

fn end(task: &mut Task, state: TaskState, failure: Option<&Failure>) {
    task.state = state;
    (task.question, task.question_id) = (None, None);
    task.end_id = Some(task.revision);
    task.failure = failure.cloned();
    if let Some(account) = &mut task.budget {
        account.exceeded = None;
    }
}

#[cfg(test)]
mod tests {
    use bus_schemas::Hash;
    use bus_schemas::commands::task::Plan;
    use bus_schemas::jobs::FailureClass;

    use super::*;

    fn key(text: &str) -> Key {
        Key::parse(text).unwrap()
    }

    /// Folds events that happen one millisecond after another, from 1.
    fn folded(events: &[Event]) -> Option<Task> {
        let mut view = None;
        for (index, event) in events.iter().enumerate() {
            let number = index as u64 + 1;
            fold(&mut view, &key("t"), event, Timestamp(number), Revision(number));
        }
        view
    }

    fn submitted() -> Event {
        Event::Submitted { submission: Submit::new("count"), at: Timestamp(1) }
    }

    fn failure() -> Failure {
        Failure {
            class: FailureClass::Permanent,
            code: "no".into(),
            message: "not so".into(),
            hint: None,
            dependency: None,
        }
    }

    fn question(prompt: &str, authorization: bool) -> Event {
        let (attempt, at) = (1, Timestamp(2));
        Event::InputRequired {
            attempt,
            prompt: prompt.into(),
            authorization,
            effect: None,
            asks: "".into(),
            approval: None,
            at,
        }
    }

    #[test]
    fn each_event_leads_to_its_state() {
        let at = Timestamp(2);
        let (agent, worker, token) = (key("a"), "w".into(), Hash::of(b"secret"));
        let issued = Event::JobIssued { attempt: 1, agent, worker, token, at };
        let cases = [
            (Event::Queued { attempt: 1, at }, TaskState::Submitted),
            (issued, TaskState::Working),
            (question("which?", false), TaskState::InputRequired),
            (question("may I?", true), TaskState::AuthRequired),
            (Event::Completed { artifacts: vec![], result: 7.into(), at }, TaskState::Completed),
            (Event::Failed { failure: failure(), at }, TaskState::Failed),
            (Event::Canceled { reason: "enough".into(), at }, TaskState::Canceled),
            (Event::Rejected { failure: failure() }, TaskState::Rejected),
            (Event::Planned { plan: Plan { steps: vec![] } }, TaskState::Working),
        ];
        for (event, state) in cases {
            let task = folded(&[submitted(), event.clone()]).unwrap();
            assert_eq!(task.state, state, "{event:?}");
            assert_eq!((task.revision, task.updated_at), (Revision(2), Timestamp(2)), "{event:?}");
        }
    }

    #[test]
    fn a_retried_task_has_no_failure_and_an_answered_one_no_question() {
        let at = Timestamp(2);
        let failed = Event::Failed { failure: failure(), at };
        let (retried, queued) = (Event::Retried { by: "me".into(), at }, Event::Queued { attempt: 2, at });
        let task = folded(&[submitted(), failed, retried, queued]).unwrap();
        assert_eq!((task.state, task.failure), (TaskState::Submitted, None));

        let asked = question("which?", false);
        let told = Event::Answered { answer: 1.into(), by: "me".into() };
        assert_eq!(folded(&[submitted(), asked.clone()]).unwrap().question.as_deref(), Some("which?"));
        assert_eq!(folded(&[submitted(), asked, told]).unwrap().question, None);
    }

    #[test]
    fn without_the_first_event_there_is_no_view() {
        assert_eq!(folded(&[Event::Canceled { reason: String::new(), at: Timestamp(1) }]), None);
    }
}
