//! Given, when, then for what a lane says that limits it, and for what it doubts.

use bus_schemas::commands::broker::{Command, HoldScope};
use bus_schemas::commands::halt;
use bus_schemas::events::broker::Event;
use bus_schemas::views::lane::{Lane, Limit};

use super::*;

fn held(cause: &str, scope: HoldScope) -> Event {
    Event::Held { cause: cause.into(), scope, reason: "a leak".into(), at: NOW }
}

fn tree(root: &str) -> HoldScope {
    HoldScope::Tree { root: key(root) }
}

fn limits(events: Vec<Event>) -> (Vec<Limit>, u64) {
    let reply = lane(events).when(Command::Describe).decision().reply.clone();
    let lane: Lane = serde_json::from_value(reply).expect("a view");
    (lane.blocks.iter().map(|block| block.what).collect(), lane.trees_held)
}

#[test]
fn a_hold_of_one_task_is_no_limit_of_the_lane_and_hides_none() {
    let waits = || vec![enqueued("a", "ann", 5, 1), held("budget/t", tree("t"))];
    assert_eq!(limits(waits()), (vec![Limit::NoAgent], 1), "nobody would do the work");
    let free = [vec![offered("coder", 1)], waits()].concat();
    assert_eq!(limits(free), (vec![], 1));
    let busy = vec![offered("coder", 1), enqueued("b", "ann", 5, 1), assigned("b", "coder")];
    assert_eq!(limits([busy, waits()].concat()), (vec![Limit::Busy], 1));
}

#[test]
fn a_lane_that_is_held_says_also_that_nobody_serves_it() {
    let past = vec![enqueued("a", "ann", 5, 1), held("halt/all", HoldScope::Lane)];
    assert_eq!(limits(past), (vec![Limit::Held, Limit::NoAgent], 0));
    // Who is held is said once.
    let agent = HoldScope::Agent { agent: key("coder") };
    let past = vec![offered("coder", 1), held("halt/agent.coder", agent), enqueued("a", "ann", 5, 1)];
    assert_eq!(limits(past), (vec![Limit::Held], 0));
}

#[test]
fn a_task_that_is_swept_has_its_lane_ask_for_what_it_is_held() {
    let configured = Event::Configured { version: 0, limits: Default::default(), paused: false, at: NOW };
    let past = [
        configured,
        enqueued("t", "ann", 5, 1),
        held("halt/all", HoldScope::Lane),
        held("halt/task.t", tree("t")),
        held("breaker/tool.git", HoldScope::Lane),
    ];
    let outcome = lane(past).when(enqueue("t", "ann", 5, 1));
    let confirm = halt::Command::Confirm { lane: key("default") };
    assert_eq!(
        outcome.decision().sends,
        ["all", "task.t"].map(|name| sent(&format!("halt/{name}"), &confirm))
    );
    outcome.then([]);
}
