//! Plans: children, artifacts, failures of steps, plans of agents.

use super::*;

fn plan_running(plan: Plan) -> Given<Task> {
    root([]).when(Command::Submit(planned(plan))).given
}

#[test]
fn a_step_starts_after_its_predecessors_with_their_artifacts() {
    let given = plan_running(diamond())
        .when(settle("b", TaskState::Completed))
        .then([settled("b", TaskState::Completed)]);
    let given = given.when(settle("b", TaskState::Completed)).then([]);
    let outcome = given.when(settle("a", TaskState::Completed));
    let [send] = &outcome.decision().sends[..] else { panic!("{:?}", outcome.decision().sends) };
    let Ok(Command::Submit(child)) = send.body.read() else { panic!("{send:?}") };
    assert_eq!(child.inputs, [artifact("a", "a"), artifact("b", "b")]);
    let outcome = outcome.then([settled("a", TaskState::Completed), child_started("c")]);
    let outcome = outcome.when(settle("c", TaskState::Completed));
    let artifacts = ["a", "b", "c"].map(|name| artifact(name, name)).to_vec();
    outcome.then([
        settled("c", TaskState::Completed),
        Event::Completed { artifacts, result: "c".into(), at: NOW },
    ]);
}

#[test]
fn a_failed_step_cancels_the_others_and_fails_the_task() {
    let outcome = plan_running(diamond()).when(settle("a", TaskState::Failed));
    let stop = Command::Cancel { reason: "step `a` did not complete".into() };
    assert_eq!(outcome.decision().sends, [sent("task/t.b", &stop)]);
    let given = outcome.then([settled("a", TaskState::Failed)]);
    let given = given.when(settle("b", TaskState::Canceled)).given;
    let failure = given.state().failure.clone().expect("it failed");
    assert_eq!((failure.code.as_str(), failure.class), ("child-failed", FailureClass::Permanent));
    assert!(failure.message.contains("`a`"), "{}", failure.message);
    assert_eq!(given.state().status, TaskState::Failed);
}

#[test]
fn a_canceled_step_fails_the_task_too() {
    let given = plan_running(Plan { steps: vec![step("a", &[])] });
    let given = given.when(settle("a", TaskState::Canceled)).given;
    assert_eq!(given.state().failure.as_ref().map(|failure| failure.class), Some(FailureClass::Canceled));
}

#[test]
fn an_optional_step_may_fail_and_the_steps_after_it_go_on() {
    let mut plan = diamond();
    plan.steps[0].optional = true;
    let given =
        plan_running(plan).when(settle("a", TaskState::Failed)).then([settled("a", TaskState::Failed)]);
    let given = given
        .when(settle("b", TaskState::Completed))
        .then([settled("b", TaskState::Completed), child_started("c")]);
    let given = given.when(settle("c", TaskState::Completed)).given;
    assert_eq!(given.state().status, TaskState::Completed);
    assert_eq!(given.state().artifacts, [artifact("b", "b"), artifact("c", "c")]);
}

#[test]
fn artifacts_of_plans_within_plans_keep_their_path() {
    let given = plan_running(Plan { steps: vec![step("a", &[])] });
    let outcome = given.when(Command::SettleChild {
        step: "a".into(),
        state: TaskState::Completed,
        artifacts: vec![artifact("x", "inner")],
        result: Value::Null,
        failure: None,
    });
    assert_eq!(outcome.given.state().artifacts, [artifact("x", "a.inner")]);
}

#[test]
fn an_orchestrator_answers_with_a_plan_once() {
    let answer = |plan| complete_with(1, vec![], Value::Null, Some(plan));
    let outcome = running(Submit::new("a goal")).when(answer(diamond()));
    assert_eq!(outcome.decision().sends[0], release("t", 1, lane::Outcome::Done));
    assert!(ends_leases(&outcome));
    let planned = [Event::Planned { plan: diamond() }, child_started("a"), child_started("b")];
    outcome
        .then(planned)
        .when(answer(diamond()))
        .then([])
        .when(fail_job(1, FailureClass::Permanent))
        .then_refused("stale-attempt");

    let outcome = running(Submit::new("a goal")).when(answer(Plan { steps: vec![] }));
    let state = outcome.given.state();
    let failure = state.failure.as_ref().expect("the attempt failed");
    assert_eq!(
        (state.status, failure.code.as_str(), failure.class),
        (TaskState::Failed, "invalid-plan", FailureClass::Permanent)
    );
}

#[test]
fn only_the_end_of_a_started_step_counts() {
    plan_running(diamond())
        .when(settle("c", TaskState::Completed))
        .then_refused("unknown-step")
        .when(settle("a", TaskState::Working))
        .then_refused("child-not-final");
}

#[test]
fn no_step_starts_once_the_task_is_to_end() {
    let chain = || Plan { steps: vec![step("a", &[]), step("b", &[]), step("c", &["b"])] };
    let broken = plan_running(chain()).when(settle("a", TaskState::Failed)).given;
    let given = broken.when(settle("b", TaskState::Completed)).given;
    assert_eq!((given.state().status, given.state().children.len()), (TaskState::Failed, 2));
    let stopped = plan_running(chain()).when(cancel()).given.when(settle("b", TaskState::Completed)).given;
    let given = stopped.when(settle("a", TaskState::Canceled)).given;
    assert_eq!((given.state().status, given.state().children.len()), (TaskState::Canceled, 2));
}

/// A child's failure comes as a command, and is passed up through every level of the tree.
#[test]
fn a_failure_that_a_step_tells_is_cut() {
    let long = || "\u{1}".repeat(200_000);
    let failure =
        Failure { message: long(), hint: Some(long()), ..failure(FailureClass::Permanent, &long()) };
    let state = TaskState::Failed;
    let told = Command::SettleChild {
        step: "a".into(),
        state,
        artifacts: vec![],
        result: Value::Null,
        failure: Some(failure),
    };
    let given = plan_running(Plan { steps: vec![step("a", &[])] }).when(told).given;
    for failure in [&given.state().children["a"].failure, &given.state().failure] {
        let failure = failure.as_ref().expect("it failed");
        let texts = [&failure.code, &failure.message, failure.hint.as_ref().expect("it was given")];
        let lengths = texts.map(String::len);
        assert!(lengths.iter().zip([128, 4_096, 4_096]).all(|(length, max)| *length <= max), "{lengths:?}");
        assert!(failure.message.ends_with('…'), "{}", failure.message);
    }
}
