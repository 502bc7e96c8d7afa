//! Given, when, then for what a hold takes back, and for leave that can no longer be used.

use std::collections::BTreeSet;

use crate::testing::scenario::Outcome as Scenario;

use super::*;

#[test]
fn a_halt_takes_back_what_runs_in_its_scope() {
    let past = [
        offered("coder", 9),
        enqueued("t.one", "ann", 5, 1),
        assigned("t.one", "coder"),
        enqueued("u", "ann", 5, 1),
        assigned("u", "coder"),
    ];
    let withdraw = |name: &str| {
        let reason = "halt: it fails".to_owned();
        sent(&format!("task/{name}"), &task::Command::Withdraw { attempt: 1, reason })
    };
    let halt = |scope, grace_ms| {
        let reason = "it fails".to_owned();
        Command::Hold { cause: "halt".into(), scope, reason, interrupt: true, grace_ms }
    };
    for (scope, stopped) in [
        (HoldScope::Lane, vec!["t.one", "u"]),
        (HoldScope::Agent { agent: key("coder") }, vec!["t.one", "u"]),
        (HoldScope::Agent { agent: key("other") }, vec![]),
    ] {
        let told: Vec<_> = stopped.iter().flat_map(|name| [revoke(name), withdraw(name)]).collect();
        let outcome = lane(past.clone()).when(halt(scope.clone(), 0));
        assert_eq!(outcome.decision().sends, told);
        let outcome = lane(past.clone()).at(Timestamp(1_000)).when(halt(scope, 20_000));
        let unused: Vec<_> = stopped.iter().map(|name| revoke(name)).collect();
        assert_eq!(outcome.decision().sends, unused, "what has begun has its grace");
        let recall = Command::Recall { cause: "halt".into(), after: None };
        let outcome = outcome.given.at(Timestamp(23_000)).when(recall);
        assert_eq!(outcome.decision().sends, told);
    }
}

#[test]
fn what_is_let_go_within_its_grace_is_not_taken_back() {
    let past = [offered("coder", 9), enqueued("u", "ann", 5, 1), assigned("u", "coder")];
    let reason = "it fails".to_owned();
    let halt = Command::Hold {
        cause: "halt".into(),
        scope: HoldScope::Lane,
        reason,
        interrupt: true,
        grace_ms: 20_000,
    };
    let outcome = lane(past).at(Timestamp(1_000)).when(halt);
    let recall = Command::Recall { cause: "halt".into(), after: None };
    let at = Timestamp(23_000);
    let body = bus_schemas::Body::json(&recall);
    let timer = actors_core::decision::Timer::Set { name: "recall-halt".into(), at, body };
    assert_eq!(outcome.decision().timers, [timer], "the worker has a moment to say how it ended");
    let given = outcome.given.when(Command::Ease { cause: "halt".into(), per_minute: None }).given;
    assert_eq!(given.when(recall).decision().sends, []);
}

fn halt(grace_ms: u64) -> Command {
    let (cause, reason) = ("halt".into(), "it fails".to_owned());
    Command::Hold { cause, scope: HoldScope::Lane, reason, interrupt: true, grace_ms }
}

#[test]
fn a_halt_that_is_said_again_is_kept_or_comes_sooner_and_never_later() {
    let past = [offered("coder", 9), enqueued("u", "ann", 5, 1), assigned("u", "coder")];
    let recall_at = |outcome: &Scenario<Lane>| {
        outcome.decision().events.iter().find_map(|event| match event {
            Event::Held { recall_at, .. } => *recall_at,
            _ => None,
        })
    };
    let timer = |outcome: &Scenario<Lane>| match &outcome.decision().timers[..] {
        [actors_core::decision::Timer::Set { at, .. }] => Some(*at),
        _ => None,
    };
    let outcome = lane(past).at(Timestamp(1_000)).when(halt(20_000));
    assert_eq!(recall_at(&outcome), Some(Timestamp(23_000)));
    let outcome = outcome.given.at(Timestamp(9_000)).when(halt(20_000));
    assert_eq!((recall_at(&outcome), timer(&outcome)), (None, Some(Timestamp(23_000))), "as it was");
    let outcome = outcome.given.at(Timestamp(10_000)).when(halt(2_000));
    assert_eq!(recall_at(&outcome), Some(Timestamp(14_000)));
    let outcome = outcome.given.at(Timestamp(11_000)).when(halt(0));
    assert_eq!(recall_at(&outcome), Some(Timestamp(11_000)));
    assert_eq!(outcome.decision().sends.len(), 2, "at once");
}

/// A number of running attempts.
fn busy(count: usize, agent: &str) -> Vec<Event> {
    let names = (0..count).map(|n| format!("{agent}{n:03}"));
    let runs = names.flat_map(|name| [enqueued(&name, "ann", 5, 1), assigned(&name, agent)]);
    let limits = Limits { concurrent: Some(5_000), ..Limits::default() };
    let capped = Event::Configured { version: 1, limits, paused: false, at: NOW };
    [capped, offered(agent, 1_000)].into_iter().chain(runs).collect()
}

/// Delivers the lane's messages to itself; returns its messages to others.
fn tell_all(mut outcome: Scenario<Lane>, most: usize) -> Vec<Send> {
    let mut told = Vec::new();
    loop {
        let sends = outcome.decision().sends.clone();
        assert!(sends.len() <= most, "{} messages of one decision", sends.len());
        let (own, others): (Vec<_>, _) =
            sends.into_iter().partition(|send| send.to == address("lane/default"));
        told.extend(others);
        let Some(next) = own.first() else { return told };
        outcome = outcome.given.when(next.body.read().expect("its own command"));
    }
}

/// A decision with messages to ten thousand tasks would be too large for the server.
#[test]
fn what_a_halt_takes_back_is_told_in_pieces() {
    let told = tell_all(lane(busy(600, "coder")).when(halt(0)), 513);
    let different: BTreeSet<String> = told.iter().map(|send| format!("{send:?}")).collect();
    assert_eq!((told.len(), different.len()), (1_200, 1_200), "each once");
    let withdrawn = told.iter().filter(|send| send.to.kind.as_str() == "task");
    assert_eq!(withdrawn.count(), 600);
}

#[test]
fn leave_for_an_agent_whose_workers_are_gone_goes_to_another() {
    let past = || busy(300, "coder").into_iter().chain(busy(1, "writer"));
    let told = tell_all(lane(past()).when(offer("coder", 0)), 257);
    let expected: Vec<Send> = (0..300).map(|n| revoke(&format!("coder{n:03}"))).collect();
    assert_eq!(told, expected, "and nothing of the other agent's");
    // Its queue reports that the attempt had not begun and waits.
    let given = lane(past()).when(offer("coder", 0)).given;
    let unused = Command::Release { task: key("coder007"), attempt: 1, outcome: Outcome::Withdrawn };
    let outcome = given.when(unused).given.when(enqueue("coder007", "ann", 5, 1));
    assert_eq!(assignments(&outcome), ["coder007"]);
    assert!(outcome.decision().sends.contains(&leave("coder007", "writer")));

    let offer_of = |skills: &[&str], capacity| Command::OfferAgent {
        agent: key("coder"),
        skills: skills.iter().map(|skill| (*skill).into()).collect(),
        capacity,
        dependencies: vec![],
    };
    let told = |command| tell_all(lane(busy(1, "coder")).when(command), 9);
    assert_eq!(told(offer_of(&["draw"], 9)), [revoke("coder000")], "it can do less");
    assert_eq!(told(offer_of(&["code", "draw"], 1)), [], "it does less at once, and all of it");
}
