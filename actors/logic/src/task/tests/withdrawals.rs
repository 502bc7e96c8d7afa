//! Attempts that are taken back or given back without a failure, and issues that no worker begins.

use bus_schemas::events::task::WithdrawnBy;
use bus_schemas::record::Stop;

use super::*;

fn withdraw(attempt: u32) -> Command {
    Command::Withdraw { attempt, reason: "halt/all: fire".into() }
}

fn give_back(attempt: u32) -> Command {
    Command::GiveBack { attempt, token: token(attempt), reason: "halt/all: fire".into() }
}

fn return_issue(attempt: u32) -> Command {
    Command::ReturnIssue { attempt, token: hashed(attempt) }
}

fn withdrawn(attempt: u32, by: WithdrawnBy) -> Event {
    let reason = match by {
        WithdrawnBy::Owner => "no worker began it",
        WithdrawnBy::Worker | WithdrawnBy::Holder => "halt/all: fire",
    };
    Event::AttemptWithdrawn { attempt, reason: reason.into(), by }
}

#[test]
fn an_attempt_that_is_taken_back_costs_none_and_waits_anew() {
    let submission = || Submit { attempts_max: Some(1), ..Submit::new("a goal") };
    for (command, by) in [
        (withdraw(1), WithdrawnBy::Holder),
        (give_back(1), WithdrawnBy::Worker),
        (return_issue(1), WithdrawnBy::Owner),
    ] {
        let outcome = running(submission()).when(command.clone());
        assert_eq!(
            outcome.decision().sends,
            [release("t", 1, lane::Outcome::Withdrawn), enqueue("t", 2, "plan")]
        );
        assert!(ends_leases(&outcome));
        let stop = Stop { agent: key("coder"), worker: "w1".into(), job: "t/1".into() };
        let stops = if by == WithdrawnBy::Worker { vec![] } else { vec![stop] };
        assert_eq!(outcome.decision().stops, stops, "{by:?}");
        let given = outcome.then([withdrawn(1, by), queued(2)]);
        assert_eq!((given.state().failures, given.state().token), (0, None));
        given.when(command.clone()).then([]).when(assign(2)).then([issued(2)]);
    }
}

/// A halt in the middle of an effect is no failure; an agent that knows the outcome of the effect reports it.
#[test]
fn an_effect_that_was_begun_is_settled_by_the_next_attempt_and_costs_none() {
    let submission = || Submit { attempts_max: Some(1), owner: "ann".into(), ..Submit::new("a goal") };
    for command in [withdraw(1), give_back(1)] {
        let given = running(submission()).when(effect(1, EffectStep::Intended)).given;
        let given = given.when(effect(1, EffectStep::Started)).given.when(command).given;
        assert_eq!((given.state().phase, given.state().failures), (Phase::Queued, 0));
        let outcome = given.when(assign(2));
        let told: Vec<_> = outcome.decision().jobs[0].1.effects.iter().map(|past| past.step).collect();
        assert_eq!(told, [EffectStep::Ambiguous], "its agent finds out first");
        let given = outcome.given.when(effect(2, EffectStep::Intended)).then_refused("illegal-effect-step");
        let given = given.when(effect(2, EffectStep::Completed)).given.when(complete_job(2)).given;
        assert_eq!(given.state().status, TaskState::Completed);
    }
    // If the agent does not know, a person is asked.
    let given = running(submission()).when(effect(1, EffectStep::Intended)).given;
    let given =
        given.when(effect(1, EffectStep::Started)).given.when(withdraw(1)).given.when(assign(2)).given;
    let given = given.when(fail_job(2, FailureClass::Ambiguous)).given;
    assert_eq!((given.state().phase, given.state().asks.as_str()), (Phase::Answer, "ann"));
}

#[test]
fn what_workers_give_back_again_and_again_waits_longer_each_time_and_fails_at_last() {
    let mut given = running(Submit::new("a goal"));
    let mut pauses = Vec::new();
    for attempt in 1..=20 {
        let outcome = given.when(give_back(attempt));
        pauses.push(timer(&outcome, "backoff").map_or(0, |until| until.0 - NOW.0));
        let next = attempt + 1;
        let events = &outcome.decision().events;
        assert_eq!((events.len(), &events[0]), (2, &withdrawn(attempt, WithdrawnBy::Worker)));
        given = outcome.given.when(Command::EndBackoff { attempt: next }).given;
        given = given.when(assign(next)).then([issued(next)]);
    }
    assert_eq!(pauses[0], 0, "once is no row");
    assert!((800..=1_200).contains(&pauses[1]) && (1_600..=2_400).contains(&pauses[2]), "{pauses:?}");
    assert!(pauses[19] >= 240_000, "{pauses:?}");
    let given = given.when(give_back(21)).given;
    let failure = given.state().failure.clone().expect("it failed");
    assert_eq!((failure.class, failure.code.as_str()), (FailureClass::Transient, "withdrawn-too-often"));
    assert_eq!((given.state().phase, given.state().failures), (Phase::Backoff, 1));
}

#[test]
fn what_is_held_in_between_is_not_given_back_in_a_row() {
    // Its lane takes it back, and holds it.
    let mut given = running(Submit::new("a goal"));
    for attempt in 1..=30 {
        let events = [withdrawn(attempt, WithdrawnBy::Holder), queued(attempt + 1)];
        given = given.when(withdraw(attempt)).then(events);
        given = given.when(assign(attempt + 1)).then([issued(attempt + 1)]);
    }
    // Its worker learned of a halt first each time; then the task waits in its lane.
    let mut given = running(Submit::new("a goal"));
    for attempt in 1..=30_u32 {
        let at = |seconds: u32| NOW.plus_ms(u64::from(attempt * 60 + seconds) * 1_000);
        let outcome = given.at(at(0)).when(give_back(attempt));
        assert_eq!(timer(&outcome, "backoff"), None, "attempt {attempt}");
        given = outcome.given.at(at(30)).when(assign(attempt + 1)).given;
    }
}

/// Goal: a job that kills every worker is not issued forever.
#[test]
fn five_issues_that_nobody_begins_cost_no_attempt_and_the_sixth_is_poison() {
    let mut given = running(Submit { attempts_max: Some(1), ..Submit::new("a goal") });
    for attempt in 1..=5 {
        let events = [withdrawn(attempt, WithdrawnBy::Owner), queued(attempt + 1)];
        given = given.when(return_issue(attempt)).then(events);
        given = given.when(assign(attempt + 1)).then([issued(attempt + 1)]);
    }
    let outcome = given.when(return_issue(6));
    assert_eq!(dead_letters(&outcome).len(), 1);
    let failure = outcome.given.state().failure.clone().expect("it failed");
    assert_eq!((failure.class, failure.code.as_str()), (FailureClass::Poison, "issued-too-often"));
    // After a retry the count starts over.
    let given = outcome.given.when(Command::Retry { end: None }).given;
    given.when(assign(7)).given.when(return_issue(7)).then([withdrawn(7, WithdrawnBy::Owner), queued(8)]);
}

#[test]
fn an_issue_that_somebody_began_ends_the_row() {
    let mut given = running(Submit::new("a goal"));
    for attempt in 1..=30 {
        // Every third issue is begun, and then given back or held.
        given = match attempt % 6 {
            0 => given.when(give_back(attempt)).given,
            3 => given.when(withdraw(attempt)).given,
            _ => given.when(return_issue(attempt)).given,
        };
        given = given.when(assign(attempt + 1)).then([issued(attempt + 1)]);
    }
    assert_eq!(given.state().failures, 0);
}
