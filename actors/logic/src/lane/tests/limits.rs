//! Given, when, then for the limits that a lane reports, and for holds that it verifies.

use bus_schemas::commands::halt;
use bus_schemas::commands::lane::HoldScope;
use bus_schemas::events::lane::Event;
use bus_schemas::views::lane::{Lane as View, Limit};

use super::*;

fn held(cause: &str, scope: HoldScope) -> Event {
    Event::Held { cause: cause.into(), scope, reason: "a leak".into(), recall_at: None, at: NOW }
}

fn limits(events: Vec<Event>) -> Vec<Limit> {
    let view = lane(events).ask(Query::Describe).expect("it answers");
    let lane: View = serde_json::from_value(view.value).expect("a view");
    lane.blocks.iter().map(|block| block.what).collect()
}

#[test]
fn a_lane_says_whether_somebody_would_do_its_work() {
    let waits = || vec![enqueued("a", "ann", 5, 1)];
    assert_eq!(limits(waits()), [Limit::NoAgent]);
    assert_eq!(limits([vec![offered("coder", 1)], waits()].concat()), []);
    let busy = vec![offered("coder", 1), enqueued("b", "ann", 5, 1), assigned("b", "coder")];
    assert_eq!(limits([busy, waits()].concat()), [Limit::Busy]);
}

#[test]
fn a_lane_that_is_held_says_also_that_nobody_serves_it() {
    let past = vec![enqueued("a", "ann", 5, 1), held("halt/all", HoldScope::Lane)];
    assert_eq!(limits(past), [Limit::Held, Limit::NoAgent]);
    // A held task is listed once.
    let agent = HoldScope::Agent { agent: key("coder") };
    let past = vec![offered("coder", 1), held("halt/agent.coder", agent), enqueued("a", "ann", 5, 1)];
    assert_eq!(limits(past), [Limit::Held]);
}

#[test]
fn a_task_that_is_swept_has_its_lane_ask_for_what_it_is_held() {
    let configured = Event::Configured { version: 0, limits: Default::default(), paused: false, at: NOW };
    let past = [
        configured,
        enqueued("t", "ann", 5, 1),
        held("halt/all", HoldScope::Lane),
        held("halt/lane.default", HoldScope::Lane),
        held("breaker/tool.git", HoldScope::Lane),
    ];
    let outcome = lane(past).when(enqueue("t", "ann", 5, 1));
    let confirm = halt::Command::Confirm { lane: key("default") };
    assert_eq!(
        outcome.decision().sends,
        ["all", "lane.default"].map(|name| sent(&format!("halt/{name}"), &confirm))
    );
    outcome.then([]);
}
