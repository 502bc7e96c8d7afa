//! A lane that governs: waiting and running attempts are reported, and none begins without leave.

use std::collections::BTreeSet;

use bus_schemas::views::lane::{Limit, Waiting};

use super::*;

/// The content of a report: waiting and running attempts, and whether more follow.
fn said(command: &lane::Command) -> (Vec<String>, Vec<String>, bool) {
    let lane::Command::Report { partition, number, waiting, running, more } = command else {
        panic!("{command:?}")
    };
    assert_eq!((*partition, *number), (HERE, 2));
    let waiting = waiting.iter().map(|entry| entry.task.to_string()).collect();
    (waiting, running.iter().map(|job| job.task.to_string()).collect(), *more)
}

#[test]
fn what_waits_and_runs_is_reported_in_pieces() {
    let names: Vec<String> = (0..600).map(|n| format!("t{n:03}")).collect();
    let past = names.iter().map(|name| enqueued(name, "ann", 5, 1));
    let mut outcome = ruled(false, past).when(take(100)).given.when(Command::Rules(rules(true, 2)));
    let (mut waits, mut runs, mut pieces) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
    loop {
        let told = told_lane(&outcome);
        let [report] = &told[..] else { panic!("{told:?}") };
        let (waiting, running, more) = said(report);
        pieces.push(waiting.len() + running.len());
        waits.extend(waiting);
        runs.extend(running);
        let own = outcome.decision().sends.iter().find(|send| send.to == address(&name()));
        assert_eq!(own.is_some(), more);
        let Some(next) = own.map(|send| send.body.read::<Command>().expect("its own")) else { break };
        outcome = outcome.given.when(next);
        assert!(outcome.decision().events.is_empty());
    }
    assert_eq!(pieces, [256, 256, 88]);
    assert_eq!((waits.len(), runs.len()), (500, 100));
    assert!(waits.is_disjoint(&runs));
}

#[test]
fn it_reports_where_the_lane_begins_to_govern_and_only_then() {
    let given = ruled(false, waiting(&["a"]));
    let outcome = given.when(Command::Rules(rules(true, 2)));
    assert_eq!(said(&told_lane(&outcome)[0]), (vec!["a".to_owned()], vec![], false));
    let outcome = outcome.then([Event::RulesSet(rules(true, 2))]).when(Command::Rules(rules(true, 2)));
    assert!(told_lane(&outcome).is_empty(), "said twice");
    let limits = lane::Limits { ageing_ms: Some(60_000), ..lane::Limits::default() };
    let other = Rules { limits, ..rules(true, 2) };
    let outcome = outcome.then([]).when(Command::Rules(other.clone()));
    assert!(told_lane(&outcome).is_empty(), "other rules of the same time");
    let outcome = outcome.then([Event::RulesSet(other)]).when(Command::Rules(rules(false, 2)));
    assert!(told_lane(&outcome).is_empty(), "it governs no longer");
    assert_eq!(taken(&outcome.given.when(take(1))), ["a"]);
    // A new queue of a lane that governs has nothing to report, and reports that.
    let outcome = queue([]).when(Command::Rules(rules(true, 2)));
    assert_eq!(said(&told_lane(&outcome)[0]), (vec![], vec![], false));
    // A further part of a report that is outdated.
    let outcome = ruled(false, waiting(&["a", "b"])).when(Command::Report { after: key("a") });
    assert!(outcome.decision().sends.is_empty());
}

#[test]
fn the_lane_hears_of_what_comes_and_goes() {
    let outcome = ruled(true, []).when(enqueue("a", "ann", 5, 1));
    assert_eq!(told_lane(&outcome), [lane::Command::Enqueue(entry("a", "ann", 5, 1))]);
    let outcome = outcome.given.when(enqueue("a", "ann", 5, 1));
    assert_eq!(told_lane(&outcome), [lane::Command::Enqueue(entry("a", "ann", 5, 1))], "swept: said again");
    let outcome = outcome.then([]).when(release("a"));
    let gone = || lane::Command::Release { task: key("a"), attempt: 1, outcome: lane::Outcome::Done };
    assert_eq!(told_lane(&outcome), [gone()]);
    let outcome = outcome.then([released("a")]).when(release("a"));
    assert!(told_lane(&outcome).is_empty());
    // A running attempt that a later attempt replaces.
    let past = [enqueued("a", "ann", 5, 1), granted("a", "coder"), assigned("a")];
    let later = Entry { attempt: 2, ..entry("a", "ann", 5, 9) };
    let outcome = ruled(true, past).when(Command::Enqueue(later.clone()));
    let stale = lane::Command::Release { task: key("a"), attempt: 1, outcome: Default::default() };
    assert_eq!(told_lane(&outcome), [stale, lane::Command::Enqueue(later)]);
}

#[test]
fn nothing_begins_without_leave_and_with_leave_its_agent_does_it() {
    let given = ruled(true, waiting(&["a", "b"]));
    assert!(given.openings().is_empty());
    let given = given.when(take(9)).then([]);
    let given = given.when(grant("b", "coder")).then([granted("b", "coder")]);
    let given = given.when(grant("b", "coder")).then([]);
    let [opening] = &given.openings()[..] else { panic!("{:?}", given.openings()) };
    assert_eq!((opening.skill.as_str(), &opening.agent), ("code", &Some(key("coder"))));
    assert_eq!(taken(&given.when(take_by("writer", 9, &["code"]))), [""; 0], "it is for another agent");
    let given = ruled(true, waiting(&["a", "b"])).when(grant("b", "coder")).given;
    let given = given.when(take_by("coder", 9, &["draw"])).then([]);
    let outcome = given.when(take(9));
    assert!(told_lane(&outcome).is_empty(), "the lane counts it since it gave leave");
    let given = outcome.then([assigned("b")]);
    // Leave may be given to another agent before it is used.
    let given = given.when(grant("a", "writer")).then([granted("a", "writer")]);
    let given = given.when(grant("a", "coder")).then([granted("a", "coder")]);
    assert_eq!(taken(&given.when(take(1))), ["a"]);
}

#[test]
fn of_what_has_leave_the_best_begins_first() {
    let past = [enqueued("low", "ann", 1, 1), enqueued("high", "ann", 9, 2)];
    let past = past.into_iter().chain([granted("low", "coder"), granted("high", "coder")]);
    assert_eq!(taken(&ruled(true, past).when(take(1))), ["high"]);
}

#[test]
fn leave_for_what_does_not_wait_goes_back() {
    let back = |attempt| lane::Command::Release { task: key("a"), attempt, outcome: Default::default() };
    let outcome = ruled(true, []).when(grant("a", "coder"));
    assert_eq!(told_lane(&outcome), [back(1)]);
    let outcome = outcome.then([]).when(Command::Enqueue(Entry { attempt: 2, ..entry("a", "ann", 5, 1) }));
    let outcome = outcome.given.when(grant("a", "coder"));
    assert_eq!(told_lane(&outcome), [back(1)], "another attempt waits");
    let runs = [enqueued("a", "ann", 5, 1), granted("a", "coder"), assigned("a")];
    let outcome = ruled(true, runs).when(grant("a", "coder"));
    assert!(outcome.decision().sends.is_empty(), "it has begun with an earlier word");
    // The lane is open again when late leave arrives.
    let outcome = ruled(false, waiting(&["a"])).when(grant("a", "coder"));
    assert!(outcome.decision().sends.is_empty());
    outcome.then([]);
}

#[test]
fn leave_that_is_taken_back_lets_the_attempt_wait_again() {
    let revoke = |attempt| Command::Revoke { task: key("a"), attempt };
    let given = ruled(true, [enqueued("a", "ann", 5, 1), granted("a", "coder")]).when(revoke(2)).then([]);
    let outcome = given.when(revoke(1));
    let gone = lane::Command::Release { task: key("a"), attempt: 1, outcome: Default::default() };
    assert_eq!(told_lane(&outcome), [gone, lane::Command::Enqueue(entry("a", "ann", 5, 1))]);
    let given = outcome.then([Event::Revoked { task: key("a"), attempt: 1 }]);
    let given = given.when(take(1)).then([]).when(revoke(1)).then([]);
    // An attempt that has begun goes on.
    let given = given.when(grant("a", "coder")).given.when(take(1)).given;
    let outcome = given.when(revoke(1));
    assert!(outcome.decision().sends.is_empty());
    outcome.then([]);
}

#[test]
fn it_says_that_what_has_leave_waits_for_a_worker() {
    let given = ruled(true, [enqueued("a", "ann", 5, 1), granted("a", "coder")]);
    let view = given.ask(Query::Explain { task: key("a") }).expect("it answers");
    let waits: Waiting = serde_json::from_value(view.value).expect("a view");
    assert_eq!((waits.waits, waits.blocks[0].what), (true, Limit::Busy));
}
