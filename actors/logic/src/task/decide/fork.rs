//! `fork`: a task that goes on from what another one had at a revision.
//!
//! Given back are the recorded steps, the effects that were done, the answers, and what children left that completed.
//! Idempotency keys, budget and approvals are the fork's own. An approval or a change is the other task's: where one was
//! asked for, the fork goes on from before that.

use std::collections::BTreeMap;

use actors_core::{Context, Decision, Key, Refusal};
use bus_schemas::EntityAddress;
use bus_schemas::commands::task::{Command, Fork, PastEvent, Submit};
use bus_schemas::events::task::Event;
use bus_schemas::jobs::EffectStep;
use bus_schemas::views::task::TaskState;
use bus_schemas::wire::WireCommand;

use super::super::check;
use super::super::state::{State, fold};
use super::{Draft, budget, children, submit};

/// The step with which an agent asks for an approval.
const ASKS: &str = "ask-approval";

/// Starts the fork. The same fork again gets the same reply.
pub(super) fn fork(state: &State, fork: Fork, context: &Context<'_>) -> Result<Decision<Event>, Refusal> {
    let key = &context.entity.key;
    if state.submission.is_some() {
        if state.forked.as_ref() == Some(&(fork.origin.clone(), fork.at)) {
            return Draft::of(state, context).done_with_view();
        }
        return Err(Refusal::new("task-exists", format!("there is another task `{key}`"))
            .hint("fork under another name"));
    }
    let parent = key.parent();
    let from_parent = parent.as_ref().is_some_and(|parent| is_mail_of(parent, context));
    if !from_parent && (parent.is_some() || fork.origin.parent().is_some()) {
        return Err(Refusal::new("fork-the-root", "a step of a plan is forked with its whole tree").hint(
            format!("fork `{}` at one of its revisions, under a name without dots", fork.origin.root()),
        ));
    }
    let was = State::of(own(&fork));
    let last = fork.past.iter().rev().find(|past| past.task == fork.origin);
    let Some(submission) =
        was.submission.clone().filter(|_| last.is_some_and(|last| last.revision == fork.at))
    else {
        let message = format!("the event stream has no revision {} of `{}`", fork.at, fork.origin);
        return Err(Refusal::new("revision-not-found", message)
            .hint("`orrery events --tree` shows the revisions; tasks in the archive cannot be forked"));
    };
    if !from_parent {
        check_effects(&fork)?;
    }
    let submission = Submit {
        owner: fork.owner.clone(),
        deadline: submission.deadline.filter(|deadline| *deadline > context.now),
        parent,
        dead_letter: None,
        ..submission
    };
    let draft = Draft::of(state, context);
    let given: Vec<Event> = own(&fork).take_while(|event| !binds(event)).cloned().collect();
    let was = State::of(&given);
    let plan_fits = was.plan.as_ref().map_or(Ok(()), |plan| check::plan(plan, key));
    match check::submission(&submission, key, context.now).and(plan_fits) {
        Ok(()) => begin(draft, fork, submission, &given, &was),
        Err(refusal) if from_parent => submit::reject(draft, submission, refusal),
        Err(refusal) => Err(refusal),
    }
}

/// Begins a checked fork with what it is given.
fn begin(
    mut draft: Draft<'_>,
    fork: Fork,
    submission: Submit,
    given: &[Event],
    was: &State,
) -> Result<Decision<Event>, Refusal> {
    let (at, by, answers) = (draft.now(), fork.owner.to_string(), was.answers.clone());
    draft.emit(Event::Submitted { submission, at });
    draft.emit(Event::Forked { origin: fork.origin.clone(), revision: fork.at, answers, by, at });
    draft.await_deadline();
    budget::await_wall_clock(&mut draft);
    for event in given {
        if let Event::StepRecorded { step, .. } = event {
            draft.emit(Event::StepRecorded { attempt: 0, step: step.clone() });
        }
    }
    for (effect, done) in was.effects.iter().filter(|(_, effect)| effect.step == EffectStep::Completed) {
        let (effect, step) = (effect.clone(), EffectStep::Completed);
        let (detail, result) = (done.detail.clone(), done.result.clone());
        draft.emit(Event::EffectRecorded { attempt: 0, effect, step, detail, key: None, result });
    }
    match &was.plan {
        None => draft.queue(1),
        Some(plan) => {
            draft.emit(Event::Planned { plan: plan.clone() });
            fork_children(&mut draft, &fork, was);
            children::start_ready(&mut draft);
            children::conclude(&mut draft);
        }
    }
    draft.done_with_view()
}

/// Gives back what completed children left, and forks the others along.
fn fork_children(draft: &mut Draft<'_>, fork: &Fork, was: &State) {
    let steps = was.plan.iter().flat_map(|plan| &plan.steps);
    for (step, child) in steps.filter_map(|step| Some((step, was.children.get(&step.step)?))) {
        let key = draft.key().child(&step.step).expect("the plan was checked before it was followed");
        let name = step.step.clone();
        draft.emit(Event::ChildStarted { step: name.clone(), child: key.clone() });
        if was.is_satisfied(&step.step) {
            draft.emit(Event::ChildSettled {
                step: name,
                state: child.end.unwrap_or(TaskState::Completed),
                artifacts: child.artifacts.clone(),
                result: child.result.clone(),
                failure: child.failure.clone(),
            });
            continue;
        }
        let past: Vec<PastEvent> =
            fork.past.iter().filter(|past| is_at_or_below(&past.task, &child.key)).cloned().collect();
        let at = past.iter().rev().find(|past| past.task == child.key).map(|past| past.revision);
        match at {
            Some(at) => {
                let (origin, owner) = (child.key.clone(), fork.owner.clone());
                draft.send(key, &Command::Fork(Fork { origin, at, owner, past }));
            }
            // Started in the very record of that revision, and without an event of its own.
            None => {
                let submission = children::child_submission(draft, step);
                draft.send(key, &Command::Submit(submission));
            }
        }
    }
}

/// Refuses a fork while nobody knows how an effect ended, in the task or in one below it that goes on.
fn check_effects(fork: &Fork) -> Result<(), Refusal> {
    let mut tasks = BTreeMap::<&Key, State>::new();
    for past in &fork.past {
        fold(tasks.entry(&past.task).or_default(), &past.event);
    }
    for (task, state) in tasks {
        if let Some((effect, _)) = state.open_effects().next().or_else(|| state.unsettled_effect()) {
            let (at, origin) = (fork.at, &fork.origin);
            let message = format!("at revision {at} of `{origin}` the effect `{effect}` of `{task}` is open");
            return Err(Refusal::new("fork-effect-open", message)
                .hint("fork it at a revision before the effect began, or after its end was recorded"));
        }
    }
    Ok(())
}

/// The events of the forked task itself.
fn own(fork: &Fork) -> impl Iterator<Item = &Event> {
    fork.past.iter().filter(|past| past.task == fork.origin).map(|past| &past.event)
}

/// Whether what follows was done under an approval, or for a change, of the forked task.
fn binds(event: &Event) -> bool {
    match event {
        Event::Followed { .. } => true,
        Event::StepRecorded { step, .. } => step.name == ASKS,
        Event::InputRequired { approval, .. } => approval.is_some(),
        _ => false,
    }
}

fn is_at_or_below(task: &Key, above: &Key) -> bool {
    let rest = task.as_str().strip_prefix(above.as_str());
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn is_mail_of(parent: &Key, context: &Context<'_>) -> bool {
    let parent = EntityAddress::new(Command::KIND, parent.clone()).to_string();
    context.caller.is_some_and(|caller| *caller == parent)
}
