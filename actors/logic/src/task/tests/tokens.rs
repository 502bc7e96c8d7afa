//! Commands without the token of the current issue are refused; and the replies to the worker with the token.

use bus_schemas::commands::task::{Holder, Renewal};
use bus_schemas::jobs::StepResult;

use super::*;

fn renew(attempt: u32, token: &str, progressed: bool) -> Query {
    Query::Renew { attempt, token: token.into(), progressed }
}

/// Every command of a worker about an attempt, with this token.
fn all_of_a_worker(attempt: u32, token: &str) -> Vec<Command> {
    let token: SmolStr = token.into();
    let step = StepResult { name: "clone".into(), input: Hash::of(b"1"), result: Value::Null };
    vec![
        Command::RecordStep { attempt, token: token.clone(), steps: vec![step] },
        Command::RecordEffect {
            attempt,
            token: token.clone(),
            effect: "push".into(),
            step: EffectStep::Intended,
            detail: String::new(),
            key: None,
            result: Value::Null,
        },
        Command::CompleteJob {
            attempt,
            token: token.clone(),
            steps: vec![],
            artifacts: vec![],
            result: Value::Null,
            plan: None,
        },
        Command::FailJob {
            attempt,
            token: token.clone(),
            class: FailureClass::Transient,
            code: "broken".into(),
            message: "it went wrong".into(),
            hint: None,
            dependency: None,
        },
        Command::RequireInput {
            attempt,
            token: token.clone(),
            prompt: "which?".into(),
            authorization: false,
            approval: None,
        },
        Command::GiveBack { attempt, token, reason: "I am to stop".into() },
    ]
}

#[test]
fn who_shows_another_token_is_refused_whatever_it_wants() {
    for (attempt, shown) in [(1, "token-2"), (1, ""), (2, "token-1"), (2, "token-2"), (0, "token-1")] {
        let is_withdrawal = |command: &Command| matches!(command, Command::GiveBack { .. });
        for command in all_of_a_worker(attempt, shown) {
            let given = running(Submit::new("a goal"));
            match is_withdrawal(&command) && attempt != 1 {
                // There is no attempt to give back.
                true => drop(given.when(command).then([])),
                false => drop(given.when(command).then_refused("stale-attempt")),
            }
        }
        let refusal = running(Submit::new("a goal")).ask(renew(attempt, shown, true)).unwrap_err();
        assert_eq!(refusal.code, "stale-attempt");
    }
    for command in all_of_a_worker(1, "token-1") {
        let outcome = running(Submit::new("a goal")).when(command);
        assert!(!outcome.decision().events.is_empty());
    }
}

/// The partition's owner reports that no worker began an issue; by then the next one may be in progress.
#[test]
fn a_late_word_of_an_issue_ends_no_other_one() {
    let late = |attempt, token| Command::ReturnIssue { attempt, token };
    for command in [late(1, hashed(2)), late(2, hashed(1)), late(2, hashed(2))] {
        running(Submit::new("a goal")).when(command).then([]);
    }
}

#[test]
fn a_worker_that_lost_its_attempt_hears_so_at_its_next_renewal() {
    let given = running(Submit::new("a goal"));
    let view = given.ask(renew(1, "token-1", false)).expect("it has the attempt");
    let renewal: Renewal = serde_json::from_value(view.value).expect("a renewal");
    assert_eq!(renewal, Renewal { attempt: Holder::Yours, lease_ms: 30_000 });
    assert_eq!((view.is_ready, view.renews), (true, vec!["attempt"]));
    let view = given.ask(renew(1, "token-1", true)).expect("it has the attempt");
    assert_eq!(view.renews, ["attempt", "progress"]);
    let lost = given.when(Command::ExpireLease { attempt: 1 }).given;
    assert_eq!(lost.ask(renew(1, "token-1", true)).unwrap_err().code, "stale-attempt");
    let stopped = running(Submit::new("a goal")).when(cancel()).given;
    assert_eq!(stopped.ask(renew(1, "token-1", true)).unwrap_err().code, "task-canceled");
    let done = running(Submit::new("a goal")).when(complete_job(1)).given;
    assert_eq!(done.ask(renew(1, "token-1", true)).unwrap_err().code, "task-final");
    assert_eq!(root([]).ask(renew(1, "token-1", true)).unwrap_err().code, "task-not-found");
}

#[test]
fn who_waits_for_the_end_is_answered_with_it() {
    let given = running(Submit::new("a goal"));
    let view = given.ask(Query::Wait).expect("it was submitted");
    assert!(!view.is_ready, "it runs");
    let described = given.ask(Query::Describe).expect("it was submitted");
    assert_eq!((described.is_ready, &described.value["state"]), (true, &"working".into()));
    let given = given.when(complete_job(1)).given;
    let view = given.ask(Query::Wait).expect("it was submitted");
    assert_eq!((view.is_ready, &view.value["state"]), (true, &"completed".into()));
    assert_eq!(Some(&view.value), given.ask(Query::Describe).ok().map(|view| view.value).as_ref());
    for query in [Query::Wait, Query::Describe, Query::Explain] {
        assert_eq!(root([]).ask(query).unwrap_err().code, "task-not-found");
    }
}
