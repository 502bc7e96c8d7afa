//! Forks: what a task had at a revision, for another one that goes on from there.

use actors_core::GateRequest;
use bus_schemas::Body;
use bus_schemas::commands::task::{Fork, PastEvent};
use bus_schemas::events::halt::Event as Halted;
use bus_schemas::halts::Halts;
use bus_schemas::jobs::StepResult;
use bus_schemas::record::Source;
use bus_schemas::wire::EventFold;

use super::*;
use crate::change::admit_no_writes;
use crate::task::{State, admit};

fn past(task: &str, events: impl IntoIterator<Item = Event>) -> Vec<PastEvent> {
    let numbered = (1..).zip(events);
    numbered.map(|(n, event)| PastEvent { task: key(task), revision: Revision(n), event }).collect()
}

fn fork_of(origin: &str, past: Vec<PastEvent>) -> Fork {
    let last = past.iter().rev().find(|past| past.task == key(origin)).expect("it has a past");
    Fork { origin: key(origin), at: last.revision, owner: "bob".into(), past }
}

fn new_task(name: &str) -> Given<Task> {
    given(&address(&format!("task/{name}")), []).called_by("orrery-system")
}

fn fork(past: Vec<PastEvent>) -> Command {
    Command::Fork(fork_of("t", past))
}

fn step_recorded(attempt: u32, name: &str) -> Event {
    let step = StepResult { name: name.into(), input: Hash::of(name.as_bytes()), result: name.into() };
    Event::StepRecorded { attempt, step }
}

fn effect_event(attempt: u32, effect: &str, step: EffectStep) -> Event {
    let (detail, key) = (String::new(), Some("key of t".into()));
    Event::EffectRecorded { attempt, effect: effect.into(), step, detail, key, result: 7.into() }
}

fn forked(revision: u64, answers: Vec<Value>) -> Event {
    let (origin, revision) = (key("t"), Revision(revision));
    Event::Forked { origin, revision, answers, by: "bob".into(), at: NOW }
}

fn own(submission: Submit) -> Event {
    submitted(Submit { owner: "bob".into(), ..submission })
}

fn begun() -> Vec<Event> {
    vec![submitted(Submit::new("a goal")), queued(1), issued(1)]
}

#[test]
fn steps_answers_and_finished_effects_are_given_back() {
    let mut events = begun();
    events.extend([step_recorded(1, "one"), effect_event(1, "pay", EffectStep::Intended)]);
    events.extend([EffectStep::Started, EffectStep::Completed].map(|step| effect_event(1, "pay", step)));
    events.push(effect_event(1, "refund", EffectStep::Intended));
    events.extend([
        Event::InputRequired {
            attempt: 1,
            prompt: "which?".into(),
            authorization: false,
            effect: None,
            asks: SmolStr::default(),
            approval: None,
            at: NOW,
        },
        Event::Answered { answer: 7.into(), by: "ann".into() },
        queued(2),
        issued(2),
        step_recorded(2, "two"),
    ]);
    let revision = events.len() as u64;
    let command = fork(past("t", events));
    let outcome = new_task("f").when(command.clone());
    assert_eq!(outcome.decision().sends, [enqueue_for("f", "bob")]);
    let paid = Event::EffectRecorded {
        attempt: 0,
        effect: "pay".into(),
        step: EffectStep::Completed,
        detail: String::new(),
        key: None,
        result: 7.into(),
    };
    let given = outcome.then([
        own(Submit::new("a goal")),
        forked(revision, vec![7.into()]),
        step_recorded(0, "one"),
        step_recorded(0, "two"),
        paid,
        queued(1),
    ]);
    // A repeat changes nothing, and another fork does not take the name.
    let given = given.when(command).then([]);
    let given = given.when(fork(past("t", begun()))).then_refused("task-exists");
    let job = &given.when(assign(1)).decision().jobs[0].1.clone();
    assert_eq!((job.steps, &job.answers), (2, &vec![7.into()]));
    assert_eq!((job.effects.len(), &job.effects[0].result), (1, &7.into()));
}

fn enqueue_for(task: &str, owner: &str) -> Send {
    let (skill, owner) = ("plan".into(), owner.into());
    let entry = queue::Entry { task: key(task), attempt: 1, skill, priority: 5, owner, since: NOW };
    sent(&queue_of(task), &queue::Command::Enqueue(entry))
}

#[test]
fn an_open_effect_an_unknown_revision_and_a_step_of_a_plan_are_refused() {
    for open in [EffectStep::Started, EffectStep::Ambiguous] {
        let mut events = begun();
        events.extend([effect_event(1, "pay", EffectStep::Intended), effect_event(1, "pay", open)]);
        new_task("f").when(fork(past("t", events.clone()))).then_refused("fork-effect-open");
        // Of a child it is the same.
        let mut tree = past("t", [submitted(planned(diamond())), Event::Planned { plan: diamond() }]);
        tree.extend(past("t.a", events));
        new_task("f").when(fork(tree)).then_refused("fork-effect-open");
    }
    let later = Fork { at: Revision(9), ..fork_of("t", past("t", begun())) };
    new_task("f").when(Command::Fork(later)).then_refused("revision-not-found");
    // Archived: the beginning is not there.
    let rest = past("t", begun()).split_off(1);
    new_task("f").when(fork(rest)).then_refused("revision-not-found");
    let child = Command::Fork(fork_of("t.a", past("t.a", begun())));
    new_task("f").when(child).then_refused("fork-the-root");
    new_task("f.a").when(fork(past("t", begun()))).then_refused("fork-the-root");
}

#[test]
fn a_fork_has_a_budget_of_its_own_and_no_deadline_that_has_passed() {
    let budget = bus_schemas::settings::Budget { tokens: Some(100), ..Default::default() };
    let deadline = Some(NOW.plus_ms(1));
    let submission = Submit { budget: Some(budget.clone()), deadline, ..Submit::new("a goal") };
    let extended = bus_schemas::settings::Budget { tokens: Some(900), ..Default::default() };
    let events = [
        submitted(submission.clone()),
        queued(1),
        Event::BudgetExtended { budget: extended, reason: String::new(), by: "ann".into(), at: NOW },
    ];
    let given = new_task("f").at(NOW.plus_ms(2)).when(fork(past("t", events))).given;
    let account = given.state().account.as_ref().expect("it has a budget");
    assert_eq!((&account.limits, account.used), (&budget, Default::default()));
    assert_eq!(given.state().submission.as_ref().and_then(|submission| submission.deadline), None);
}

#[test]
fn an_approval_is_asked_for_again() {
    let mut events = begun();
    events.extend([step_recorded(1, "plan"), step_recorded(1, "ask-approval")]);
    events.extend([step_recorded(1, "use-approval"), step_recorded(1, "commit")]);
    let steps = ["pay", "merge"].map(|name| effect_event(1, name, EffectStep::Completed));
    events.extend(steps);
    let given = new_task("f").when(fork(past("t", events))).then([
        own(Submit::new("a goal")),
        forked(9, vec![]),
        step_recorded(0, "plan"),
        queued(1),
    ]);
    assert!(given.state().effects.is_empty(), "what was done under the approval is not the fork's");
}

#[test]
fn completed_children_are_given_back_and_the_others_are_forked_along() {
    let mut tree = past(
        "t",
        [
            submitted(planned(diamond())),
            Event::Planned { plan: diamond() },
            child_started("a"),
            child_started("b"),
            settled("a", TaskState::Completed),
        ],
    );
    let child = || Submit { parent: Some(key("t")), ..Submit::new("do b") };
    let b = past("t.b", [submitted(child()), queued(1), issued(1), step_recorded(1, "one")]);
    drop(tree.splice(4..4, b.clone()));
    let outcome = new_task("f").when(fork(tree.clone()));
    let along = Fork { owner: "bob".into(), ..fork_of("t.b", b) };
    assert_eq!(outcome.decision().sends, [sent("task/f.b", &Command::Fork(along.clone()))]);
    let started = |name: &str| Event::ChildStarted { step: name.into(), child: key(&format!("f.{name}")) };
    let given = outcome.then([
        own(planned(diamond())),
        forked(5, vec![]),
        Event::Planned { plan: diamond() },
        started("a"),
        settled("a", TaskState::Completed),
        started("b"),
    ]);
    assert_eq!(given.state().phase, Phase::Children);

    // The child takes it from its parent alone.
    let command = Command::Fork(along);
    new_task("f.b").when(command.clone()).then_refused("fork-the-root");
    let given = given_child("f.b").when(command).given;
    let state = given.state();
    let submission = state.submission.as_ref().expect("it begins");
    assert_eq!((&submission.parent, &submission.owner), (&Some(key("f")), &"bob".into()));
    assert_eq!((state.phase, state.steps.size()), (Phase::Queued, 1));

    // A child that failed is tried again, and one that had not begun is submitted.
    let tree = past(
        "t",
        [
            submitted(planned(diamond())),
            Event::Planned { plan: diamond() },
            child_started("a"),
            child_started("b"),
            settled("a", TaskState::Failed),
        ],
    );
    let outcome = new_task("f").when(fork(tree));
    let sends = &outcome.decision().sends;
    assert!(sends.iter().all(|send| matches!(send.body.read(), Ok(Command::Submit(_)))), "{sends:?}");
    assert_eq!((sends.len(), outcome.given.state().broken.clone()), (2, None));
}

fn given_child(name: &str) -> Given<Task> {
    given(&address(&format!("task/{name}")), []).called_by("task/f")
}

#[test]
fn a_name_too_long_for_the_steps_of_its_plan_is_refused() {
    let long = "n".repeat(160);
    let tree = past("t", [submitted(planned(diamond())), Event::Planned { plan: diamond() }]);
    new_task(&long).when(fork(tree)).then_refused("invalid-plan");
}

/// A fork is new work: what stops submissions stops forks.
#[test]
fn the_gates_of_new_work_know_forks() {
    let mut halts = Halts::default();
    let halted = Halted::Halted { reason: "fire".into(), by: "ann".into(), grace_ms: 0, at: NOW };
    halts.apply(&key("all"), &halted);
    let (entity, state) = (address("task/f"), State::default());
    let writes = |skill: &str| {
        let submission = Submit { skill: skill.into(), ..Submit::new("a goal") };
        let body = Body::json(&fork(past("t", [submitted(submission), queued(1)])));
        let (source, body) = (Some(&Source::Ask), &body);
        let request =
            GateRequest { entity: &entity, source, caller: None, body, now: NOW, memory: Some(&state) };
        assert!(admit(&halts, &request).is_err() && admit(&Halts::default(), &request).is_ok());
        admit_no_writes(&request).is_err()
    };
    assert_eq!((writes("write-file"), writes("plan")), (true, false));
}
