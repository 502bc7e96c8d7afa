//! Given, when, then for when a lane governs, and for the messages when that changes.

use bus_schemas::PartitionId;
use bus_schemas::commands::lane::{Order, Running};
use bus_schemas::settings::ApplySettings;
use bus_schemas::views::lane::{Limit, Waiting};
use serde_json::json;

use super::super::State;
use super::*;

const BEGUN: Event = Event::GoverningBegun { at: NOW };
const ENDED: Event = Event::GoverningEnded { at: NOW };

fn joined(partition: u16) -> Event {
    Event::Joined { partition: PartitionId(partition) }
}

fn configured() -> Event {
    Event::Configured { version: 1, limits: Limits::default(), paused: false, at: NOW }
}

/// A lane without limits, with queues in these partitions and an agent.
fn open(partitions: &[u16]) -> Given<Lane> {
    let joined = partitions.iter().map(|partition| joined(*partition));
    lane(joined.chain([offered("coder", 900), configured(), ENDED]))
}

/// A lane that begins to govern because of its cap: two queues must report.
fn capped(concurrent: u32) -> Given<Lane> {
    open(&[3, 5]).when(Command::SetCap { concurrent: Some(concurrent) }).given
}

fn report(partition: u16, number: u64, waits: &[&str], runs: &[&str]) -> Command {
    let running = |name: &&str| Running {
        task: key(name),
        attempt: 1,
        owner: "ann".into(),
        agent: key("coder"),
        at: Timestamp(1),
    };
    Command::Report {
        partition: PartitionId(partition),
        number,
        waiting: waits.iter().map(|name| entry(name, "ann", 5, 1)).collect(),
        running: runs.iter().map(running).collect(),
        more: false,
    }
}

fn adopted(name: &str) -> Event {
    let (owner, agent, at) = ("ann".into(), key("coder"), Timestamp(1));
    Event::Adopted(Running { task: key(name), attempt: 1, owner, agent, at })
}

fn reported(partition: u16) -> Event {
    Event::Reported { partition: PartitionId(partition) }
}

/// The rules for each queue, by partition.
fn rules_told(outcome: &crate::testing::scenario::Outcome<Lane>) -> Vec<(u16, bool, u64)> {
    let keys = (0..8).map(|p| (p, queue::key(&key("default"), PartitionId(p), 8)));
    let keys: Vec<_> = keys.collect();
    let sends = outcome.decision().sends.iter().filter(|send| send.to.kind.as_str() == "queue");
    sends
        .filter_map(|send| match send.body.read() {
            Ok(queue::Command::Rules(rules)) => {
                let (partition, _) = keys.iter().find(|(_, key)| *key == send.to.key)?;
                Some((*partition, rules.governed, rules.number))
            }
            _ => None,
        })
        .collect()
}

#[test]
fn each_bound_of_the_whole_lane_begins_and_ends_it() {
    let night = Window { cron: "0 2 * * *".into(), duration_ms: 3_600_000 };
    let none = || limits(Limits::default());
    let pause = Command::Pause { reason: "new disk".into() };
    let resume = Command::Resume { reason: "done".into(), per_minute: None, revision: None };
    let dependency = HoldScope::Dependency { dependency: key("model.x") };
    let ease = Command::Ease { cause: "c".into(), per_minute: None };
    let cases = [
        (Command::SetCap { concurrent: Some(3) }, Command::SetCap { concurrent: None }),
        (limits(Limits { per_minute: Some(3), ..Limits::default() }), none()),
        (limits(Limits { per_day: Some(3), ..Limits::default() }), none()),
        (limits(Limits { windows: vec![night], ..Limits::default() }), none()),
        (limits(Limits { order: Order::Strict, ..Limits::default() }), none()),
        (hold("c", HoldScope::Lane), ease.clone()),
        (hold("c", HoldScope::Agent { agent: key("coder") }), ease.clone()),
        (hold("c", dependency), ease),
        (pause, resume),
    ];
    for (begins, ends) in cases {
        let outcome = open(&[3, 5]).when(begins.clone());
        assert_eq!(outcome.decision().events.last(), Some(&BEGUN), "{begins:?}");
        assert_eq!(rules_told(&outcome), [(3, true, 1), (5, true, 1)]);
        let given = outcome.given.when(report(3, 1, &[], &[])).given.when(report(5, 1, &[], &[])).given;
        let outcome = given.when(ends.clone());
        let events = &outcome.decision().events;
        let has_ended = events.last() == Some(&ENDED);
        // An agent without this dependency is not waited for: its work may come later.
        let is_easing = outcome.given.state().throttles().values().any(|throttle| !throttle.holds());
        assert_eq!(has_ended, !is_easing, "{ends:?}: {events:?}");
        let told = if has_ended { vec![(3, false, 1), (5, false, 1)] } else { vec![] };
        assert_eq!(rules_told(&outcome), told);
    }
}

#[test]
fn what_only_decides_the_order_leaves_the_lane_open_and_its_queues_are_told() {
    let rules = Limits { ageing_ms: Some(60_000), weights: [("ann".into(), 3)].into(), ..Limits::default() };
    let outcome = open(&[3, 5]).when(limits(rules.clone()));
    assert_eq!(outcome.decision().events, [set(rules.clone())]);
    assert_eq!(rules_told(&outcome), [(3, false, 0), (5, false, 0)]);
    let outcome = outcome.given.when(limits(rules));
    assert!(outcome.decision().sends.is_empty(), "nothing new");
}

#[test]
fn a_lane_that_does_not_know_its_settings_governs_and_says_nothing() {
    let join = Command::Join { partition: PartitionId(3) };
    let outcome = lane([]).when(join.clone());
    assert!(rules_told(&outcome).is_empty(), "it does not know them");
    let given = outcome.then([joined(3)]);
    assert!(given.state().governs());
    let apply = |value| Command::ApplySettings(ApplySettings { name: "lanes".into(), version: 1, value });
    let outcome = given.when(apply(json!({})));
    assert_eq!(rules_told(&outcome), [(3, false, 0)]);
    outcome.then([configured(), ENDED]);
    // With a limit it governs from the first message on; no attempt runs yet, because no queue knows its
    // rules.
    let outcome = lane([joined(3)]).when(apply(json!({"default": {"concurrent": 3}})));
    assert_eq!(rules_told(&outcome), [(3, true, 0)]);
    let outcome = outcome.given.when(offer("coder", 9)).given.when(report(3, 0, &["a"], &[]));
    assert_eq!(assignments(&outcome), ["a"]);
}

#[test]
fn a_newcomer_is_told_the_rules_as_often_as_it_asks() {
    let join = || Command::Join { partition: PartitionId(7) };
    let outcome = open(&[3]).when(join());
    assert_eq!(rules_told(&outcome), [(7, false, 0)]);
    let outcome = outcome.then([joined(7)]).when(join());
    assert_eq!(rules_told(&outcome), [(7, false, 0)]);
    let outcome = outcome.then([]).when(Command::SetCap { concurrent: Some(1) });
    assert_eq!(rules_told(&outcome), [(3, true, 1), (7, true, 1)]);
    // A queue that joins while the lane governs reports its waiting attempts, and is not waited for.
    let given = outcome.given.when(report(3, 1, &[], &[])).given.when(report(7, 1, &[], &[])).given;
    let outcome = given.when(Command::Join { partition: PartitionId(2) });
    assert_eq!(rules_told(&outcome), [(2, true, 1)]);
    assert_eq!(assignments(&outcome.given.when(report(2, 1, &["a"], &[]))), ["a"]);
}

#[test]
fn it_gives_no_leave_before_each_queue_has_said_all_that_runs_there() {
    let given = capped(5);
    let given = given.when(report(3, 1, &["a"], &[])).then([enqueued("a", "ann", 5, 1), reported(3)]);
    let view = given.ask(Query::Explain { task: key("a"), skill: "code".into() }).expect("it answers");
    let waits: Waiting = serde_json::from_value(view.value).expect("a view");
    assert_eq!((waits.blocks[0].what, waits.blocks[0].reason.contains("partition 5")), (Limit::Order, true));
    let piece = |command| match command {
        Command::Report { partition, number, waiting, running, .. } => {
            Command::Report { partition, number, waiting, running, more: true }
        }
        other => other,
    };
    let given =
        given.when(piece(report(5, 1, &["b"], &["x"]))).then([adopted("x"), enqueued("b", "ann", 5, 1)]);
    let outcome = given.when(report(5, 1, &[], &["y"]));
    assert_eq!(outcome.decision().sends, [leave("a", "coder"), leave("b", "coder")]);
    outcome.then([adopted("y"), reported(5), assigned("a", "coder"), assigned("b", "coder")]);
}

#[test]
fn what_began_before_counts_against_the_bounds() {
    let given = capped(2).when(report(3, 1, &["a", "b"], &["x"])).given;
    let outcome = given.when(report(5, 1, &[], &["y", "z"]));
    assert_eq!(assignments(&outcome), [""; 0], "three run, and two may");
    assert_eq!(outcome.given.state().offer(&key("coder")).map(|offer| offer.running), Some(3));
    let outcome = outcome.given.when(report(5, 1, &[], &["y", "z"]));
    let outcome = outcome.then([]).when(release("x"));
    assert_eq!(assignments(&outcome), [""; 0]);
    assert_eq!(assignments(&outcome.given.when(release("y"))), ["a"]);
}

#[test]
fn a_hold_takes_back_what_it_did_not_know_of() {
    let halt = |grace_ms| Command::Hold {
        cause: "halt".into(),
        scope: HoldScope::Lane,
        reason: "fire".into(),
        interrupt: true,
        grace_ms,
    };
    let withdraw = |name: &str| {
        let reason = "halt: fire".to_owned();
        sent(&format!("task/{name}"), &task::Command::Withdraw { attempt: 1, reason })
    };
    let told = || [revoke("x"), withdraw("x"), revoke("y"), withdraw("y")];
    let reports = |given: Given<Lane>| {
        let outcome = given.when(report(3, 1, &[], &["x"]));
        assert!(outcome.decision().sends.is_empty(), "not all is known");
        outcome.given.when(report(5, 1, &[], &["y"]))
    };
    let outcome = reports(open(&[3, 5]).when(halt(0)).given);
    assert_eq!(outcome.decision().sends, told());
    // With a grace time: the reports come within it, or after it.
    let outcome = reports(open(&[3, 5]).when(halt(5_000)).given);
    assert!(outcome.decision().sends.is_empty());
    let recall = || Command::Recall { cause: "halt".into(), after: None };
    let over = NOW.plus_ms(7_000);
    assert_eq!(outcome.given.at(over).when(recall()).decision().sends, told());
    let late = open(&[3, 5]).when(halt(5_000)).given.at(over).when(recall());
    assert!(late.decision().sends.is_empty());
    assert_eq!(reports(late.given).decision().sends, told());
}

#[test]
fn words_of_another_time_are_ignored() {
    let set = |concurrent| Command::SetCap { concurrent };
    let given = capped(5).when(set(None)).then([Event::CapSet { concurrent: None }, ENDED]);
    let given = given.when(report(3, 1, &["a"], &["x"])).then([]);
    let given = given.when(enqueue("a", "ann", 5, 1)).then([]).when(release("x")).then([]);
    let given = given.when(set(Some(5))).then([Event::CapSet { concurrent: Some(5) }, BEGUN]);
    let given = given.when(report(3, 1, &["a"], &["x"])).then([]);
    let given = given.when(report(3, 2, &[], &["x"])).then([adopted("x"), reported(3)]);
    let given = given.when(report(5, 2, &[], &[])).then([reported(5)]);
    // A queue's report corrects what it sent before it knew that the lane governs.
    let given = given.when(set(None)).given.when(set(Some(5))).given;
    let given = given.when(enqueue("a", "ann", 5, 1)).then([enqueued("a", "ann", 5, 1)]);
    let given = given.when(report(3, 3, &[], &["a"])).given.when(report(5, 3, &[], &[])).given;
    assert_eq!((given.state().waiting_count(), given.state().running_count()), (0, 1));
}

#[test]
fn one_decision_gives_so_many_leaves_and_the_rest_follows() {
    let names: Vec<String> = (0..300).map(|n| format!("t{n:03}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let outcome = capped(1_000).when(report(3, 1, &names, &[])).given.when(report(5, 1, &[], &[]));
    assert_eq!(assignments(&outcome).len(), 256);
    let wake = sent("lane/default", &Command::Wake);
    assert_eq!(outcome.decision().sends.last(), Some(&wake));
    let outcome = outcome.given.when(Command::Wake);
    assert_eq!(assignments(&outcome).len(), 44);
    assert!(!outcome.decision().sends.contains(&wake));
}

#[test]
fn a_lane_that_comes_back_gradually_governs_until_it_is_released() {
    let given = open(&[3]).when(hold("halt/all", HoldScope::Lane)).given;
    let given = given.when(report(3, 1, &["a", "b", "c"], &[])).given;
    let outcome = given.when(Command::Ease { cause: "halt/all".into(), per_minute: None });
    assert_eq!(assignments(&outcome), ["a"]);
    assert!(outcome.given.state().governs());
    let outcome = outcome.given.when(release("a"));
    assert_eq!(assignments(&outcome), ["b", "c"]);
    let outcome = outcome.given.when(release("b"));
    assert_eq!(outcome.decision().events.last(), Some(&ENDED));
    assert_eq!(outcome.given.state().running_count(), 0, "what runs is its queues' business");
}

/// An owner with running attempts when the lane begins to govern has the weight of the rules.
#[test]
fn a_snapshot_keeps_what_was_adopted() {
    let rules = Limits { concurrent: Some(2), weights: [("ann".into(), 3)].into(), ..Limits::default() };
    let given = open(&[3]).when(limits(rules)).given.when(report(3, 1, &[], &["x"])).given;
    let stored = serde_json::to_value(given.state()).expect("plain data");
    let restored: State = serde_json::from_value(stored).expect("a snapshot");
    assert_eq!(restored, *given.state());
}

#[test]
fn a_lane_whose_queues_could_have_no_name_is_refused() {
    let named = |bytes: usize| given::<Lane>(&address(&format!("lane/{}", "l".repeat(bytes))), []);
    let join = || Command::Join { partition: PartitionId(3) };
    named(128).when(join()).then([joined(3)]);
    named(129).when(join()).then_refused("invalid-lane");
}

/// A lane that adopts work before its agent has offered anything still hears of the halt of everything: it watches with
/// the first offer.
#[test]
fn a_lane_that_adopted_work_watches_the_halt_of_everything() {
    let outcome = lane([adopted("x")]).when(offer("coder", 2));
    let all = sent("halt/all", &bus_schemas::commands::halt::Command::Watch { lane: key("default") });
    assert!(outcome.decision().sends.contains(&all), "{:?}", outcome.decision().sends);
}
