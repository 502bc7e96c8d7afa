//! Given, when, then for `lane`, and its invariants under random commands.

mod easing;
mod governing;
mod holds;
mod limits;
mod properties;
mod rules;

use crate::testing::scenario::{Given, given};
use actors_core::Timestamp;
use actors_core::decision::Send;
use bus_schemas::commands::lane::{Command, HoldScope, Limits, Outcome, Query, Window};
use bus_schemas::commands::queue::Entry;
use bus_schemas::commands::{queue, task};
use bus_schemas::events::lane::Event;

use super::Lane;
use crate::testing::{address, key, queue_of, sent};

/// The time of the scenarios.
const NOW: Timestamp = Timestamp(1_000_000);

fn lane(events: impl IntoIterator<Item = Event>) -> Given<Lane> {
    given(&address("lane/default"), events).called_by("ann")
}

fn entry(name: &str, owner: &str, priority: u8, since: u64) -> Entry {
    let (owner, since) = (owner.into(), Timestamp(since));
    Entry { task: key(name), attempt: 1, skill: "code".into(), priority, owner, since }
}

fn enqueue(name: &str, owner: &str, priority: u8, since: u64) -> Command {
    Command::Enqueue(entry(name, owner, priority, since))
}

fn enqueued(name: &str, owner: &str, priority: u8, since: u64) -> Event {
    Event::Enqueued(entry(name, owner, priority, since))
}

fn offer(agent: &str, capacity: u32) -> Command {
    Command::OfferAgent { agent: key(agent), skills: vec!["code".into()], capacity, dependencies: vec![] }
}

fn offered(agent: &str, capacity: u32) -> Event {
    Event::AgentOffered { agent: key(agent), skills: vec!["code".into()], capacity, dependencies: vec![] }
}

/// Leave for an attempt, sent to the task's queue.
fn leave(name: &str, agent: &str) -> Send {
    sent(&queue_of(name), &queue::Command::Grant { task: key(name), attempt: 1, agent: key(agent) })
}

fn revoke(name: &str) -> Send {
    sent(&queue_of(name), &queue::Command::Revoke { task: key(name), attempt: 1 })
}

fn assigned(name: &str, agent: &str) -> Event {
    Event::Assigned { task: key(name), attempt: 1, agent: key(agent), at: NOW }
}

fn release(name: &str) -> Command {
    Command::Release { task: key(name), attempt: 1, outcome: Outcome::Done }
}

fn released(name: &str) -> Event {
    Event::Released { task: key(name), attempt: 1, outcome: Outcome::Done }
}

#[test]
fn an_attempt_is_assigned_at_once_where_somebody_is_free() {
    let outcome = lane([offered("coder", 1)]).when(enqueue("a", "ann", 5, 1));
    assert_eq!(outcome.decision().sends, [leave("a", "coder")]);
    outcome
        .then([enqueued("a", "ann", 5, 1), assigned("a", "coder")])
        .when(enqueue("b", "ann", 5, 2))
        .then([enqueued("b", "ann", 5, 2)])
        .when(release("a"))
        .then([released("a"), assigned("b", "coder")]);
}

#[test]
fn the_same_attempt_is_queued_once_and_a_later_one_replaces_it() {
    let later = Command::Enqueue(Entry { attempt: 2, ..entry("a", "ann", 5, 9) });
    let given = lane([enqueued("a", "ann", 5, 1)]).when(enqueue("a", "ann", 5, 1)).then([]);
    let given = given.when(later.clone()).given.when(enqueue("a", "ann", 5, 1)).then([]);
    assert_eq!(given.state().waiting_count(), 1);
    assert_eq!(given.state().waiting(&key("a")).map(|entry| entry.attempt), Some(2));

    let running = lane([enqueued("a", "ann", 5, 1), offered("coder", 1), assigned("a", "coder")]);
    let outcome = running.when(later);
    let freed = Event::Released { task: key("a"), attempt: 1, outcome: Outcome::Withdrawn };
    assert_eq!(outcome.decision().events[0], freed, "the slot of the stale attempt is freed");
    assert_eq!(outcome.given.state().running(&key("a")).map(|job| job.attempt), Some(2));
}

#[test]
fn release_is_harmless_twice_and_for_what_is_not_there() {
    lane([enqueued("a", "ann", 5, 1)])
        .when(release("b"))
        .then([])
        .when(Command::Release { task: key("a"), attempt: 2, outcome: Outcome::Done })
        .then([])
        .when(release("a"))
        .then([released("a")])
        .when(release("a"))
        .then([]);
}

#[test]
fn priority_then_fairness_then_age_then_key() {
    let waiting = [
        enqueued("old-ann", "ann", 5, 1),
        enqueued("new-ann", "ann", 5, 2),
        enqueued("bob", "bob", 5, 3),
        enqueued("urgent", "ann", 9, 4),
        enqueued("cid-b", "cid", 5, 3),
        enqueued("cid-a", "cid", 5, 3),
    ];
    lane(waiting).when(offer("coder", 6)).then([
        offered("coder", 6),
        assigned("urgent", "coder"),
        assigned("bob", "coder"),
        assigned("cid-a", "coder"),
        // Each owner has one running job now; Ann was served longest ago.
        assigned("old-ann", "coder"),
        assigned("cid-b", "coder"),
        assigned("new-ann", "coder"),
    ]);
}

#[test]
fn a_freed_slot_goes_to_the_owner_with_the_fewest_running_jobs() {
    let past = [
        offered("coder", 2),
        enqueued("a1", "ann", 5, 1),
        assigned("a1", "coder"),
        enqueued("a2", "ann", 5, 1),
        assigned("a2", "coder"),
        enqueued("a3", "ann", 5, 1),
        enqueued("b1", "bob", 5, 9),
    ];
    lane(past).when(release("a1")).then([released("a1"), assigned("b1", "coder")]);
}

#[test]
fn the_agent_with_most_free_capacity_gets_the_job_and_skills_must_fit() {
    let other = Event::AgentOffered {
        agent: key("artist"),
        skills: vec!["draw".into()],
        capacity: 9,
        dependencies: vec![],
    };
    lane([offered("small", 1), offered("beta", 3), offered("alpha", 3), other.clone()])
        .when(enqueue("a", "ann", 5, 1))
        .then([enqueued("a", "ann", 5, 1), assigned("a", "alpha")])
        .when(enqueue("b", "ann", 5, 1))
        .then([enqueued("b", "ann", 5, 1), assigned("b", "beta")]);
    lane([other]).when(enqueue("a", "ann", 5, 1)).then([enqueued("a", "ann", 5, 1)]);
}

#[test]
fn an_agent_that_leaves_keeps_its_jobs_until_they_are_released() {
    let past = [offered("coder", 1), enqueued("a", "ann", 5, 1), assigned("a", "coder")];
    let given = lane(past)
        .when(enqueue("b", "ann", 5, 2))
        .then([enqueued("b", "ann", 5, 2)])
        .when(offer("coder", 0))
        .then([offered("coder", 0)])
        .when(offer("coder", 0))
        .then([])
        .when(release("a"))
        .then([released("a")]);
    assert_eq!(given.state().offer(&key("coder")), None);
    given
        .when(offer("coder", 0))
        .then([])
        .when(offer("coder", 1))
        .then([offered("coder", 1), assigned("b", "coder")]);
}

#[test]
fn the_cap_bounds_what_runs_at_once() {
    let set = |concurrent| Command::SetCap { concurrent };
    lane([offered("coder", 5)])
        .when(set(Some(1)))
        .then([Event::CapSet { concurrent: Some(1) }])
        .when(set(Some(1)))
        .then([])
        .when(enqueue("a", "ann", 5, 1))
        .then([enqueued("a", "ann", 5, 1), assigned("a", "coder")])
        .when(enqueue("b", "ann", 5, 2))
        .then([enqueued("b", "ann", 5, 2)])
        .when(enqueue("c", "ann", 5, 3))
        .then([enqueued("c", "ann", 5, 3)])
        .when(release("a"))
        .then([released("a"), assigned("b", "coder")])
        .when(set(None))
        .then([Event::CapSet { concurrent: None }, assigned("c", "coder")]);
}

#[test]
fn fewer_running_jobs_count_more_than_having_been_served_longer_ago() {
    let mut past = vec![offered("coder", 4)];
    for (name, owner) in [("a1", "ann"), ("a2", "ann"), ("b1", "bob"), ("c1", "cid")] {
        past.extend([enqueued(name, owner, 5, 1), assigned(name, "coder")]);
    }
    past.extend([enqueued("a3", "ann", 5, 1), enqueued("b2", "bob", 5, 9)]);
    lane(past).when(release("c1")).then([released("c1"), assigned("b2", "coder")]);
}

/// A newer version may allow attempts that an older one left waiting: the next decision assigns them.
#[test]
fn what_an_earlier_decision_left_waiting_is_assigned_by_the_next() {
    let past = || [enqueued("a", "ann", 5, 1), offered("coder", 3), enqueued("z", "ann", 5, 1)];
    lane(past()).when(enqueue("b", "bob", 5, 2)).then([
        enqueued("b", "bob", 5, 2),
        assigned("a", "coder"),
        assigned("b", "coder"),
        assigned("z", "coder"),
    ]);
    lane(past()).when(release("z")).then([released("z"), assigned("a", "coder")]);
}

fn limits(limits: Limits) -> Command {
    Command::SetLimits { limits, reason: "a test".into() }
}

fn set(limits: Limits) -> Event {
    Event::LimitsSet { limits, reason: "a test".into(), by: "ann".into() }
}

fn hold(cause: &str, scope: HoldScope) -> Command {
    Command::Hold { cause: cause.into(), scope, reason: "it fails".into(), interrupt: false, grace_ms: 0 }
}

fn held(cause: &str, scope: HoldScope) -> Event {
    Event::Held { cause: cause.into(), scope, reason: "it fails".into(), recall_at: None, at: NOW }
}

fn eased(cause: &str) -> Event {
    Event::Eased { cause: cause.into(), per_minute: None, at: NOW }
}

/// The tasks that a decision assigns.
fn assignments(outcome: &crate::testing::scenario::Outcome<Lane>) -> Vec<String> {
    let events = outcome.decision().events.iter();
    events
        .filter_map(|event| match event {
            Event::Assigned { task, .. } => Some(task.to_string()),
            _ => None,
        })
        .collect()
}

#[test]
fn a_breaker_holds_only_agents_that_depend_on_it_and_lets_probes_try() {
    let scope = HoldScope::Dependency { dependency: key("model.x") };
    let dependent = Event::AgentOffered {
        agent: key("writer"),
        skills: vec!["code".into()],
        capacity: 3,
        dependencies: vec![key("model.x")],
    };
    let given = lane([dependent, offered("coder", 1)])
        .when(hold("breaker/model.x", scope.clone()))
        .then([held("breaker/model.x", scope.clone())])
        .when(hold("breaker/model.x", scope))
        .then([]);
    let given = given
        .when(enqueue("a", "ann", 5, 1))
        .then([enqueued("a", "ann", 5, 1), assigned("a", "coder")])
        .when(enqueue("b", "ann", 5, 2))
        .then([enqueued("b", "ann", 5, 2)]);
    let given = given.when(enqueue("c", "ann", 5, 3)).given;
    let probes = Event::ProbesAllowed { cause: "breaker/model.x".into(), permits: 1 };
    let given = given
        .when(Command::Probe { cause: "breaker/model.x".into(), permits: 1 })
        .then([probes, assigned("b", "writer")])
        .when(Command::Ease { cause: "breaker/model.x".into(), per_minute: None })
        .then([eased("breaker/model.x")])
        .when(release("b"))
        .then([
            released("b"),
            assigned("c", "writer"),
            Event::EasingEnded { cause: "breaker/model.x".into(), at: NOW },
        ]);
    given.when(Command::Ease { cause: "breaker/model.y".into(), per_minute: None }).then([]);
}

#[test]
fn a_lane_begins_only_so_many_jobs_in_a_minute_and_on_a_day() {
    let rules = Limits { per_minute: Some(2), per_day: Some(3), ..Limits::default() };
    let past = [set(rules), offered("coder", 9)];
    let past = past.into_iter().chain((1..6).map(|n| enqueued(&format!("t{n}"), "ann", 5, n)));
    let outcome = lane(past).at(Timestamp(90_000)).when(Command::Wake);
    assert_eq!(assignments(&outcome), ["t1", "t2"]);
    let timer = |at| {
        let wake = bus_schemas::Body::json(&Command::Wake);
        vec![actors_core::decision::Timer::Set { name: "wake".into(), at: Timestamp(at), body: wake }]
    };
    assert_eq!(outcome.decision().timers, timer(120_000), "until the next minute");
    let outcome = outcome.given.at(Timestamp(120_000)).when(Command::Wake);
    assert_eq!(assignments(&outcome), ["t3"]);
    assert_eq!(outcome.decision().timers, timer(86_400_000), "until the next day");
    let outcome = outcome.given.at(Timestamp(86_400_000)).when(Command::Wake);
    assert_eq!(assignments(&outcome), ["t4", "t5"]);
}

#[test]
fn no_job_begins_in_a_maintenance_window() {
    let night = Window { cron: "0 2 * * *".into(), duration_ms: 3_600_000 };
    let rules = Limits { windows: vec![night], ..Limits::default() };
    let (two, three) = (2 * 3_600_000, 3 * 3_600_000);
    let past = [set(rules), offered("coder", 1), enqueued("a", "ann", 5, 1)];
    for (now, begins) in [(two - 1, true), (two, false), (three - 1, false), (three, true)] {
        let outcome = lane(past.clone()).at(Timestamp(now)).when(Command::Wake);
        assert_eq!(!assignments(&outcome).is_empty(), begins, "{} minutes after midnight", now / 60_000);
    }
}

#[test]
fn who_waits_long_gets_ahead_of_who_came_later() {
    let rules = Limits { ageing_ms: Some(60_000), ..Limits::default() };
    let old = enqueued("old", "ann", 3, 60_000);
    let past = [set(rules.clone()), old, enqueued("young", "bob", 5, 4 * 60_000)];
    assert_eq!(assignments(&lane(past.clone()).when(offer("coder", 2))), ["old", "young"]);
    let unaged: Vec<_> = past.into_iter().skip(1).collect();
    assert_eq!(assignments(&lane(unaged.clone()).when(offer("coder", 2))), ["young", "old"]);
    let given = lane(unaged).when(limits(rules.clone())).then([set(rules)]);
    assert_eq!(
        assignments(&given.when(offer("coder", 2))),
        ["old", "young"],
        "rules hold for who waits already"
    );
}

#[test]
fn an_owner_of_weight_three_gets_three_jobs_when_others_get_one() {
    let rules = Limits { weights: [("ann".into(), 3)].into(), ..Limits::default() };
    let names = (0..8).flat_map(|n| [(format!("a{n}"), "ann", n), (format!("b{n}"), "bob", n)]);
    let waiting = names.map(|(name, owner, since)| enqueued(&name, owner, 5, since));
    let past: Vec<_> = [set(rules), offered("coder", 1)].into_iter().chain(waiting).collect();
    let mut outcome = lane(past).when(Command::Wake);
    let mut owners = String::new();
    for _ in 0..8 {
        let task = assignments(&outcome).pop().expect("one runs at a time");
        owners.push_str(&task[..1]);
        outcome = outcome.given.when(release(&task));
    }
    assert_eq!(owners.matches('a').count(), 6, "{owners}");
}

#[test]
fn rules_that_can_not_be_kept_are_refused() {
    let bad = [
        Limits { ageing_ms: Some(999), ..Limits::default() },
        Limits { weights: [("ann".into(), 0)].into(), ..Limits::default() },
        Limits { weights: [("".into(), 1)].into(), ..Limits::default() },
        Limits { weights: [("a\u{202e}".into(), 1)].into(), ..Limits::default() },
        Limits { windows: vec![Window { cron: "never".into(), duration_ms: 1 }], ..Limits::default() },
        Limits { windows: vec![Window { cron: "0 2 * * *".into(), duration_ms: 0 }], ..Limits::default() },
    ];
    for rules in bad {
        lane([]).when(limits(rules)).then_refused("invalid-limits");
    }
}

#[test]
fn a_lane_says_what_a_task_waits_for() {
    let explain = |given: Given<Lane>, task: &str| -> bus_schemas::views::lane::Waiting {
        let view = given.ask(Query::Explain { task: key(task), skill: "code".into() });
        serde_json::from_value(view.expect("it answers").value).expect("a view")
    };
    let what = |waiting: &bus_schemas::views::lane::Waiting| waiting.blocks[0].what;
    use bus_schemas::views::lane::Limit;
    let waits = explain(lane([enqueued("a", "ann", 5, 1)]), "a");
    assert_eq!((waits.waits, what(&waits)), (true, Limit::NoAgent));
    let busy = [offered("coder", 1), enqueued("a", "ann", 5, 1), assigned("a", "coder")];
    let runs = explain(lane(busy.clone()), "a");
    assert_eq!((runs.waits, runs.agent), (false, Some(key("coder"))));
    let queue = busy.into_iter().chain([enqueued("b", "ann", 9, 1), enqueued("c", "bob", 5, 2)]);
    let queue: Vec<_> = queue.collect();
    let waits = explain(lane(queue.clone()), "c");
    assert_eq!((what(&waits), waits.ahead), (Limit::Busy, 1));
    let capped: Vec<_> = queue.into_iter().chain([Event::CapSet { concurrent: Some(1) }]).collect();
    assert_eq!(what(&explain(lane(capped), "b")), Limit::Concurrent);
    assert!(!explain(lane([]), "x").waits);
}
