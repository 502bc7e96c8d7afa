//! Holds of a task tree, by a halt or a used up budget.

use actors_core::decision::{Send, Timer};
use bus_schemas::Body;
use bus_schemas::views::lane::{Limit, Part, Waiting};

use super::*;

const CAUSE: &str = "halt/task.t";

fn hold(cause: &str, root: &str, interrupt: bool, grace_ms: u64) -> Command {
    Command::Hold { cause: cause.into(), root: key(root), reason: "fire".into(), interrupt, grace_ms }
}

fn held(cause: &str, root: &str) -> Event {
    Event::Held { cause: cause.into(), root: key(root), reason: "fire".into(), at: NOW }
}

fn ease(cause: &str) -> Command {
    Command::Ease { cause: cause.into() }
}

fn eased(cause: &str) -> Event {
    Event::Eased { cause: cause.into() }
}

fn withdraw(name: &str) -> Send {
    let reason = format!("{CAUSE}: fire");
    sent(&format!("task/{name}"), &task::Command::Withdraw { attempt: 1, reason })
}

#[test]
fn a_held_tree_waits_and_comes_back() {
    let past = waiting(&["t.one", "t-two", "t"]);
    let given = ruled(false, past).when(hold(CAUSE, "t", true, 0)).then([held(CAUSE, "t")]);
    let given = given.when(enqueue("t.two", "ann", 9, 4)).then([enqueued("t.two", "ann", 9, 4)]);
    let outcome = given.when(take(9));
    assert_eq!(taken(&outcome), ["t-two"], "another tree whose name begins alike is not held");
    let view = outcome.given.ask(Query::Explain { task: key("t.one") }).expect("it answers");
    let waits: Waiting = serde_json::from_value(view.value).expect("a view");
    assert_eq!((waits.blocks[0].what, waits.blocks[0].cause.as_deref()), (Limit::Held, Some(CAUSE)));
    let view = outcome.given.ask(Query::Describe).expect("it answers");
    assert_eq!(serde_json::from_value::<Part>(view.value).expect("a view").trees_held, 1);
    let given = outcome.given.when(ease(CAUSE)).then([eased(CAUSE)]).when(ease(CAUSE)).then([]);
    assert_eq!(taken(&given.when(take(9))), ["t.two", "t.one", "t"]);
}

#[test]
fn a_tree_that_two_causes_hold_waits_for_both() {
    let past = waiting(&["t.a", "t.b", "u"]).into_iter().chain([held(CAUSE, "t"), held("budget/t.a", "t.a")]);
    let outcome = ruled(false, past).when(ease(CAUSE)).given.when(take(9));
    assert_eq!(taken(&outcome), ["t.b", "u"]);
    assert_eq!(taken(&outcome.given.when(ease("budget/t.a")).given.when(take(9))), ["t.a"]);
}

#[test]
fn what_runs_is_taken_back_at_once_or_after_its_grace() {
    let past = || {
        let waits = waiting(&["t", "t.one", "u"]);
        waits.into_iter().chain(["t", "t.one", "u"].map(assigned))
    };
    let outcome = ruled(false, past()).when(hold(CAUSE, "t", false, 0));
    assert!(outcome.decision().sends.is_empty() && outcome.decision().timers.is_empty(), "what runs goes on");
    let outcome = ruled(false, past()).when(hold(CAUSE, "t", true, 0));
    assert_eq!(outcome.decision().sends, [withdraw("t"), withdraw("t.one")]);
    let given = outcome.then([held(CAUSE, "t")]);
    let outcome = given.when(hold(CAUSE, "t", true, 0));
    assert_eq!(outcome.decision().sends.len(), 2, "said again, it is told again");
    outcome.then([]);

    let outcome = ruled(false, past()).at(Timestamp(1_000)).when(hold(CAUSE, "t", true, 20_000));
    assert_eq!(outcome.decision().sends, [], "it has its grace");
    let recall = Command::Recall { cause: CAUSE.into(), after: None };
    let timer = Timer::Set {
        name: format!("recall-{CAUSE}").into(),
        at: Timestamp(23_000),
        body: Body::json(&recall),
    };
    assert_eq!(outcome.decision().timers, [timer], "the worker has a moment to say how it ended");
    // An attempt that ends within the grace time is not taken back.
    let outcome = outcome.given.when(release("t")).given.when(recall.clone());
    assert_eq!(outcome.decision().sends, [withdraw("t.one")]);
    let outcome = outcome.given.when(ease(CAUSE));
    assert_eq!(outcome.decision().timers, [Timer::Cancel { name: format!("recall-{CAUSE}").into() }]);
    let outcome = outcome.given.when(recall);
    assert_eq!(outcome.decision().sends, [], "the cause holds no longer");
    // Without running attempts in the tree there is nothing to take back.
    let outcome = ruled(false, waiting(&["t"])).when(hold(CAUSE, "t", true, 20_000));
    assert!(outcome.decision().timers.is_empty());
}

#[test]
fn the_lane_gives_no_leave_to_what_is_held() {
    let gone = |name: &str| lane::Command::Release {
        task: key(name),
        attempt: 1,
        outcome: lane::Outcome::Withdrawn,
    };
    let past = waiting(&["t.a", "t.b", "u"]).into_iter().chain([granted("t.a", "coder")]);
    let outcome = ruled(true, past).when(hold(CAUSE, "t", true, 0));
    assert_eq!(told_lane(&outcome), [gone("t.a")], "it had leave");
    let outcome = outcome.then([held(CAUSE, "t")]).when(take(9));
    assert_eq!(taken(&outcome), [""; 0], "its leave is gone");
    let outcome = outcome.given.when(grant("t.b", "coder"));
    assert_eq!(told_lane(&outcome), [gone("t.b")], "a late leave goes back");
    let outcome = outcome.given.when(enqueue("t.c", "ann", 5, 9));
    assert!(told_lane(&outcome).is_empty(), "the lane need not know");
    let outcome = outcome.given.when(enqueue("t.c", "ann", 5, 9));
    assert!(told_lane(&outcome).is_empty(), "nor when it is said again");
    // An attempt under two holds waits again when the last one ends.
    let outcome = outcome.given.when(hold("budget/t.a", "t.a", false, 0));
    assert!(told_lane(&outcome).is_empty());
    let outcome = outcome.given.when(ease(CAUSE));
    let back = |name: &str, since| lane::Command::Enqueue(entry(name, "ann", 5, since));
    assert_eq!(told_lane(&outcome), [back("t.b", 2), back("t.c", 9)]);
    let outcome = outcome.given.when(ease("budget/t.a"));
    assert_eq!(told_lane(&outcome), [back("t.a", 1)]);
}

#[test]
fn what_is_held_is_not_reported() {
    let past = waiting(&["t.a", "u"]).into_iter().chain([held(CAUSE, "t")]);
    let outcome = ruled(false, past).when(Command::Rules(rules(true, 2)));
    let [lane::Command::Report { waiting, .. }] = &told_lane(&outcome)[..] else {
        panic!("{:?}", outcome.decision().sends)
    };
    assert_eq!(*waiting, [entry("u", "ann", 5, 2)]);
}

/// A decision with messages to ten thousand tasks would be too large for the server.
#[test]
fn a_large_tree_is_told_in_pieces() {
    let names: Vec<String> = (0..600).map(|n| format!("t.s{n:03}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let all = |first: Outcome<Queue>| {
        let (mut outcome, mut told) = (first, Vec::new());
        loop {
            let sends = outcome.decision().sends.clone();
            assert!(sends.len() <= 257, "{} messages of one decision", sends.len());
            let (own, others): (Vec<Send>, Vec<Send>) =
                sends.into_iter().partition(|send| send.to == address(&name()));
            told.extend(others);
            match own.first() {
                Some(next) => outcome = outcome.given.when(next.body.read().expect("its own command")),
                None => return (outcome.given, told.len()),
            }
        }
    };
    let (given, told) = all(ruled(true, waiting(&names)).when(hold(CAUSE, "t", true, 0)));
    assert_eq!(told, 0, "the lane need not know of what had no leave");
    assert_eq!(all(given.when(ease(CAUSE))).1, 600);
    let runs = waiting(&names).into_iter().chain(names.iter().map(|name| assigned(name)));
    assert_eq!(all(ruled(false, runs).when(hold(CAUSE, "t", true, 0))).1, 600, "each that runs is withdrawn");
}

#[test]
fn the_lane_forgets_the_former_attempt_of_a_held_task() {
    let known = [Event::RulesSet(rules(true, 1)), enqueued("t.a", "ann", 5, 1), held(CAUSE, "t")];
    let again = Entry { attempt: 3, ..entry("t.a", "ann", 5, 2) };
    let outcome = queue(known).when(Command::Enqueue(again.clone()));
    let over = lane::Command::Release { task: key("t.a"), attempt: 1, outcome: lane::Outcome::default() };
    assert_eq!(told_lane(&outcome), [over]);
    let outcome = outcome.given.when(ease(CAUSE));
    assert_eq!(told_lane(&outcome), [lane::Command::Enqueue(again)], "the hold has ended");
}
