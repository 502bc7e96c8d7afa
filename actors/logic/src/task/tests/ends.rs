//! Cancel, deadline, retry.

use super::*;

const RETRY: fn() -> Command = || Command::Retry { end: None };

fn retried() -> Event {
    Event::Retried { by: "ann".into(), at: NOW }
}

fn with_deadline(submission: Submit) -> Submit {
    Submit { deadline: Some(NOW.plus_ms(60_000)), ..submission }
}

fn cancel_child(name: &str, reason: &str) -> Send {
    sent(&format!("task/t.{name}"), &Command::Cancel { reason: reason.into() })
}

#[test]
fn canceling_a_running_leaf_ends_it_at_once_and_refuses_what_comes_later() {
    let outcome = running(with_deadline(Submit::new("a goal"))).when(cancel());
    assert_eq!(outcome.decision().sends, [release("t", 1, lane::Outcome::Withdrawn)]);
    assert!(ends_leases(&outcome) && cancels_timer(&outcome, "deadline"));
    assert_eq!(outcome.decision().reply["state"], "canceled");
    outcome
        .then([cancel_requested(), canceled()])
        .when(cancel())
        .then([])
        .when(complete_job(1))
        .then_refused("task-canceled")
        .when(fail_job(1, FailureClass::Transient))
        .then_refused("task-canceled")
        .when(ask(1, "which?"))
        .then_refused("task-canceled");
}

#[test]
fn an_effect_under_way_is_ambiguous_after_a_cancel() {
    let given = running(Submit::new("a goal"));
    let given = given.when(effect(1, EffectStep::Intended)).given.when(effect(1, EffectStep::Started)).given;
    let outcome = given.when(cancel());
    assert_eq!(outcome.given.state().effects["push"].step, EffectStep::Ambiguous);
    assert_eq!(outcome.given.state().status, TaskState::Canceled);
}

#[test]
fn canceling_what_waits_takes_it_out_of_where_it_waits() {
    let leaf = [submitted(Submit::new("a goal")), queued(1)];
    let outcome = root(leaf.clone()).when(cancel());
    assert_eq!(outcome.decision().sends, [release("t", 1, lane::Outcome::Withdrawn)]);
    let pause = Event::BackoffStarted { attempt: 2, until: NOW.plus_ms(1_000), at: NOW };
    let outcome = root([leaf.to_vec(), vec![issued(1), pause]].concat()).when(cancel());
    assert!(cancels_timer(&outcome, "backoff") && outcome.decision().sends.is_empty());
    outcome.then([cancel_requested(), canceled()]).when(Command::EndBackoff { attempt: 2 }).then([]);
}

#[test]
fn what_ended_can_not_be_canceled() {
    running(Submit::new("a goal"))
        .when(complete_job(1))
        .then([completed()])
        .when(cancel())
        .then_refused("task-final")
        .when(RETRY())
        .then_refused("task-final");
}

#[test]
fn a_plan_is_canceled_after_its_children() {
    let given = root([]).when(Command::Submit(planned(diamond()))).given;
    let given = given.when(settle("a", TaskState::Completed)).given;
    let outcome = given.when(cancel());
    assert_eq!(outcome.decision().sends, [cancel_child("b", "enough")]);
    outcome
        .then([cancel_requested()])
        .when(cancel())
        .then([])
        .when(settle("b", TaskState::Canceled))
        .then([settled("b", TaskState::Canceled), canceled()]);
}

#[test]
fn the_deadline_fails_a_leaf_and_comes_not_early() {
    let given = running(with_deadline(Submit::new("a goal")));
    let early = given.when(Command::ExpireDeadline);
    assert_eq!(timer(&early, "deadline"), Some(NOW.plus_ms(60_000)));
    let outcome = early.then([]).at(NOW.plus_ms(60_000)).when(Command::ExpireDeadline);
    assert_eq!(outcome.decision().sends[0].to, address("dead-letter/t-1"));
    assert_eq!(outcome.decision().sends[1], release("t", 1, lane::Outcome::Withdrawn));
    let state = outcome.given.state();
    assert_eq!(
        (state.status, state.failure.as_ref().unwrap().code.as_str()),
        (TaskState::Failed, "deadline-exceeded")
    );
    outcome.given.when(Command::ExpireDeadline).then([]).when(RETRY()).then_refused("deadline-passed");
}

#[test]
fn the_deadline_stops_a_plan_and_fails_it_after_its_children() {
    let given = root([]).when(Command::Submit(with_deadline(planned(diamond())))).given;
    let outcome = given.at(NOW.plus_ms(60_000)).when(Command::ExpireDeadline);
    let reason = "the deadline has come";
    assert_eq!(outcome.decision().sends, [cancel_child("a", reason), cancel_child("b", reason)]);
    let given = outcome.given.when(settle("a", TaskState::Canceled)).given;
    assert_eq!(given.state().status, TaskState::Working);
    let given = given.when(settle("b", TaskState::Completed)).given;
    let state = given.state();
    assert_eq!(
        (state.status, state.failure.as_ref().unwrap().code.as_str()),
        (TaskState::Failed, "deadline-exceeded")
    );
}

#[test]
fn a_leaf_is_retried_with_its_attempts_counted_anew() {
    let submission = Submit { attempts_max: Some(1), ..with_deadline(Submit::new("a goal")) };
    let given = running(submission).when(RETRY()).then_refused("task-not-final");
    let given = given.when(fail_job(1, FailureClass::Transient)).given;
    assert_eq!((given.state().status, given.state().failures), (TaskState::Failed, 1));
    let outcome = given.when(RETRY());
    assert_eq!(outcome.decision().sends, [enqueue("t", 2, "plan")]);
    assert!(timer(&outcome, "deadline").is_some());
    let given = outcome.then([retried(), queued(2)]);
    assert_eq!((given.state().failures, &given.state().failure), (0, &None));
    let canceled = given.when(cancel()).given;
    canceled.when(RETRY()).then([retried(), queued(3)]);
}

#[test]
fn people_retry_the_root_and_a_parent_its_children() {
    let submission = Submit { parent: Some(key("t")), ..Submit::new("a goal") };
    let past = [submitted(submission), queued(1), issued(1)];
    let child = || given::<Task>(&address("task/t.a"), past.clone());
    let failed = child().when(fail_job(1, FailureClass::Permanent)).given;
    let again = Event::Retried { by: "task/t".into(), at: NOW };
    let failed = failed.called_by("ann").when(RETRY()).then_refused("retry-the-root");
    let failed = failed.called_by("task/u").when(RETRY()).then_refused("retry-the-root");
    failed.called_by("task/t").when(RETRY()).then([again, queued(2)]);
    // A child that cannot be retried tells its parent how it ended, because the parent waits.
    let outcome = child().when(complete_job(1)).given.called_by("task/t").when(RETRY());
    assert_eq!(outcome.decision().sends[0].to, address("task/t"));
    outcome.then([]);
    child().called_by("task/t").when(RETRY()).then([]);
}

#[test]
fn a_retried_plan_tries_again_what_failed_and_goes_on_with_the_rest() {
    let given = root([]).when(Command::Submit(planned(diamond()))).given;
    let given =
        given.when(settle("a", TaskState::Failed)).given.when(settle("b", TaskState::Completed)).given;
    assert_eq!(given.state().status, TaskState::Failed);
    let outcome = given.when(RETRY());
    let again = sent("task/t.a", &Command::Retry { end: None });
    assert_eq!(outcome.decision().sends, [again]);
    let given = outcome.then([retried(), child_started("a")]);
    let given = given
        .when(settle("a", TaskState::Completed))
        .then([settled("a", TaskState::Completed), child_started("c")]);
    let given = given.when(settle("c", TaskState::Completed)).given;
    assert_eq!(given.state().status, TaskState::Completed);
}

#[test]
fn a_retried_plan_whose_children_were_faster_than_the_cancel_is_complete() {
    let given = root([]).when(Command::Submit(planned(Plan { steps: vec![step("a", &[])] }))).given;
    let given = given.when(cancel()).given.when(settle("a", TaskState::Completed)).given;
    assert_eq!(given.state().status, TaskState::Canceled);
    let done = Event::Completed { artifacts: vec![artifact("a", "a")], result: "a".into(), at: NOW };
    given.when(RETRY()).then([retried(), done]);
}
