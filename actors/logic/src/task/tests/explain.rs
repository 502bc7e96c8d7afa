//! What a task reports to wait for, and the requests that it repeats when it is swept.

use bus_schemas::events::task::WithdrawnBy;
use bus_schemas::views::task::{WaitsFor, Why};

use super::*;

fn why(given: Given<Task>) -> Why {
    let view = given.ask(Query::Explain).expect("it was submitted");
    serde_json::from_value(view.value).expect("an explanation")
}

#[test]
fn every_open_task_says_what_it_waits_for_and_what_would_move_it() {
    let failed =
        |attempt| Event::AttemptFailed { attempt, failure: failure(FailureClass::Transient, "broken") };
    let pause = Event::BackoffStarted { attempt: 2, until: NOW.plus_ms(900), at: NOW };
    let ask = Event::InputRequired {
        attempt: 1,
        prompt: "which?".into(),
        authorization: false,
        effect: None,
        asks: "".into(),
        approval: None,
        at: NOW,
    };
    let leaf = || vec![submitted(Submit::new("a goal")), queued(1)];
    let cases = [
        (leaf(), WaitsFor::Lane),
        ([leaf(), vec![issued(1)]].concat(), WaitsFor::Worker),
        ([leaf(), vec![issued(1), failed(1), pause]].concat(), WaitsFor::Backoff),
        ([leaf(), vec![issued(1), ask]].concat(), WaitsFor::Answer),
        (
            vec![submitted(planned(diamond())), Event::Planned { plan: diamond() }, child_started("a")],
            WaitsFor::Children,
        ),
    ];
    for (past, waits_for) in cases {
        let why = why(root(past));
        assert_eq!((why.waits_for, why.since), (waits_for, NOW), "{why:?}");
        assert!(!why.reason.is_empty() && !why.moves.is_empty(), "{why:?}");
        assert_eq!(why.until.is_some(), waits_for == WaitsFor::Backoff);
        assert_eq!(why.children.len(), usize::from(waits_for == WaitsFor::Children));
    }
    let done = why(root([leaf(), vec![issued(1), completed()]].concat()));
    assert_eq!((done.waits_for, done.moves.as_str()), (WaitsFor::Nothing, ""));
}

#[test]
fn a_swept_task_says_again_what_it_waits_for() {
    let leaf = || vec![submitted(Submit::new("a goal")), queued(1)];
    let outcome = root(leaf()).when(Command::Sweep);
    assert_eq!(outcome.decision().sends, [enqueue("t", 1, "plan")]);
    outcome.then([]);
    let outcome = running(Submit::new("a goal")).when(Command::Sweep);
    assert!(
        outcome.decision().sends.is_empty() && outcome.decision().leases.is_empty(),
        "to be swept is no progress"
    );
    let outcome = running(Submit::new("a goal")).when(fail_job(1, FailureClass::Transient));
    let until = timer(&outcome, "backoff");
    assert_eq!(timer(&outcome.given.when(Command::Sweep), "backoff"), until);
    let tree = [submitted(planned(diamond())), Event::Planned { plan: diamond() }, child_started("a")];
    let given = root(tree);
    let outcome = given.when(Command::Sweep);
    assert_eq!(outcome.decision().sends, [sent("task/t.a", &Command::Sweep)]);
    // A task that is being canceled repeats that as well.
    let outcome = outcome.given.when(cancel()).given.when(Command::Sweep);
    let stop = Command::Cancel { reason: "enough".into() };
    assert_eq!(outcome.decision().sends, [sent("task/t.a", &stop), sent("task/t.a", &Command::Sweep)]);
}

#[test]
fn a_task_that_runs_says_who_does_it_and_since_when() {
    let given = root([submitted(Submit::new("a goal")), queued(1)]).at(NOW.plus_ms(5_000));
    let why = why(given.when(assign(1)).given);
    assert_eq!((why.waits_for, why.since), (WaitsFor::Worker, NOW.plus_ms(5_000)));
    assert_eq!(why.reason, "worker `w1` of agent `coder` does attempt 1");
}

#[test]
fn a_task_that_was_given_back_says_so() {
    let withdrawn =
        |attempt| Event::AttemptWithdrawn { attempt, reason: "no".into(), by: WithdrawnBy::Worker };
    let pause = Event::BackoffStarted { attempt: 3, until: NOW.plus_ms(900), at: NOW };
    let past = [queued(1), issued(1), withdrawn(1), queued(2), issued(2), withdrawn(2), pause];
    let why = why(root([submitted(Submit::new("a goal"))].into_iter().chain(past)));
    assert!(why.reason.contains("2 attempts in a row were given back"), "{}", why.reason);
}

#[test]
fn a_child_that_has_ended_or_is_not_there_tells_its_parent() {
    let child = Submit { parent: Some(key("t")), ..Submit::new("a goal") };
    let past = [submitted(child), queued(1), issued(1), completed()];
    let outcome = given::<Task>(&address("task/t.a"), past).when(Command::Sweep);
    assert_eq!(outcome.decision().sends[0].to.to_string(), "task/t");
    let outcome = given::<Task>(&address("task/t.b"), []).when(Command::Sweep);
    let [told] = &outcome.decision().sends[..] else { panic!("{:?}", outcome.decision().sends) };
    match told.body.read() {
        Ok(Command::SettleChild { state: TaskState::Failed, failure: Some(failure), .. }) => {
            assert_eq!(failure.code, "child-lost");
        }
        other => panic!("{other:?}"),
    }
}
