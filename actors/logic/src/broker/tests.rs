//! Given, when, then for `broker`, and its invariants under random commands.

mod properties;

use actors_core::Timestamp;
use actors_core::scenario::{Given, given};
use bus_schemas::commands::broker::Command;
use bus_schemas::commands::task;
use bus_schemas::events::broker::Event;

use super::Broker;
use crate::testing::{address, key, sent};

fn lane(events: impl IntoIterator<Item = Event>) -> Given<Broker> {
    given(&address("broker/default"), events)
}

fn enqueue(name: &str, owner: &str, priority: u8, since: u64) -> Command {
    let (owner, since) = (owner.into(), Timestamp(since));
    Command::Enqueue { task: key(name), attempt: 1, skill: "code".into(), priority, owner, since }
}

fn enqueued(name: &str, owner: &str, priority: u8, since: u64) -> Event {
    let (owner, since) = (owner.into(), Timestamp(since));
    Event::Enqueued { task: key(name), attempt: 1, skill: "code".into(), priority, owner, since }
}

fn offer(agent: &str, capacity: u32) -> Command {
    Command::OfferAgent { agent: key(agent), skills: vec!["code".into()], capacity }
}

fn offered(agent: &str, capacity: u32) -> Event {
    Event::AgentOffered { agent: key(agent), skills: vec!["code".into()], capacity }
}

fn assigned(name: &str, agent: &str) -> Event {
    Event::Assigned { task: key(name), attempt: 1, agent: key(agent) }
}

fn release(name: &str) -> Command {
    Command::Release { task: key(name), attempt: 1 }
}

fn released(name: &str) -> Event {
    Event::Released { task: key(name), attempt: 1 }
}

#[test]
fn an_attempt_is_assigned_at_once_where_somebody_is_free() {
    let outcome = lane([offered("coder", 1)]).when(enqueue("a", "ann", 5, 1));
    let assign = task::Command::Assign { agent: key("coder"), attempt: 1 };
    assert_eq!(outcome.decision().sends, [sent("task/a", &assign)]);
    outcome
        .then([enqueued("a", "ann", 5, 1), assigned("a", "coder")])
        .when(enqueue("b", "ann", 5, 2))
        .then([enqueued("b", "ann", 5, 2)])
        .when(release("a"))
        .then([released("a"), assigned("b", "coder")]);
}

#[test]
fn the_same_attempt_is_queued_once_and_a_later_one_replaces_it() {
    let later = Command::Enqueue {
        task: key("a"),
        attempt: 2,
        skill: "code".into(),
        priority: 5,
        owner: "ann".into(),
        since: Timestamp(9),
    };
    let given = lane([enqueued("a", "ann", 5, 1)]).when(enqueue("a", "ann", 5, 1)).then([]);
    let given = given.when(later.clone()).given.when(enqueue("a", "ann", 5, 1)).then([]);
    assert_eq!(given.state().waiting_count(), 1);
    assert_eq!(given.state().waiting(&key("a")).map(|entry| entry.attempt), Some(2));

    let running = lane([enqueued("a", "ann", 5, 1), offered("coder", 1), assigned("a", "coder")]);
    let outcome = running.when(later);
    assert_eq!(outcome.decision().events[0], released("a"), "the slot of the stale attempt is freed");
    assert_eq!(outcome.given.state().running(&key("a")).map(|job| job.attempt), Some(2));
}

#[test]
fn release_is_harmless_twice_and_for_what_is_not_there() {
    lane([enqueued("a", "ann", 5, 1)])
        .when(release("b"))
        .then([])
        .when(Command::Release { task: key("a"), attempt: 2 })
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
        // All have one running now; Ann was served longest ago.
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
    let other = Event::AgentOffered { agent: key("artist"), skills: vec!["draw".into()], capacity: 9 };
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

/// A later version may allow what an earlier one left waiting: the next decision makes up for it.
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
