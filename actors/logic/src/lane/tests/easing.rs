//! Given, when, then for the end of a gradual release, and for agents that share one.

use crate::testing::scenario::Outcome as Scenario;
use actors_core::decision::Timer;
use bus_schemas::views::lane::{Lane as View, Limit, Waiting};

use super::super::throttle::EASING_MS_MAX;
use super::*;

const CAUSE: &str = "halt/all";

fn ease(per_minute: Option<u32>) -> Command {
    Command::Ease { cause: CAUSE.into(), per_minute }
}

fn ended(at: Timestamp) -> Event {
    Event::EasingEnded { cause: CAUSE.into(), at }
}

/// A number of tasks that wait under an active halt, for an agent with this capacity.
fn halted(tasks: u64, capacity: u32) -> Given<Lane> {
    let waiting = (0..tasks).map(|n| enqueued(&format!("t{n:03}"), "ann", 5, n));
    lane(waiting.chain([offered("coder", capacity), held(CAUSE, HoldScope::Lane)]))
}

fn end(outcome: Scenario<Lane>, result: Outcome) -> Scenario<Lane> {
    let task = outcome.given.state().any_running().expect("something runs");
    outcome.given.when(Command::Release { task, attempt: 1, outcome: result })
}

fn view(given: Given<Lane>) -> (View, Given<Lane>) {
    let view = given.ask(Query::Describe).expect("it answers");
    (serde_json::from_value(view.value).expect("a view"), given)
}

fn timer(outcome: &Scenario<Lane>) -> Option<Timestamp> {
    outcome.decision().timers.iter().find_map(|timer| match timer {
        Timer::Set { name, at, .. } if name == "end-easing" => Some(*at),
        _ => None,
    })
}

#[test]
fn a_release_ends_after_its_time_however_many_jobs_fail() {
    let mut outcome = halted(60, 96).when(ease(None));
    assert_eq!(timer(&outcome), Some(NOW.plus_ms(EASING_MS_MAX)), "it is looked at then");
    // One of four jobs fails, so the limit stays low.
    for round in 0..20 {
        outcome = end(outcome, if round % 4 == 3 { Outcome::Failed } else { Outcome::Done });
        assert!(outcome.given.state().running_count() <= 4);
    }
    let (lane, given) = view(outcome.given);
    assert_eq!(lane.blocks[0].what, Limit::Easing);
    let end = NOW.plus_ms(EASING_MS_MAX);
    let outcome = given.at(end).when(Command::Wake);
    assert!(outcome.decision().events.contains(&ended(end)), "{:?}", outcome.decision().events);
    assert_eq!(outcome.given.state().waiting_count(), 0, "everything goes on");
    assert!(timer(&outcome).is_none());
}

#[test]
fn a_release_ends_where_nothing_waits() {
    let misspelled = lane([held(CAUSE, HoldScope::Lane)]).when(ease(None));
    let given = misspelled.then([eased(CAUSE), ended(NOW)]);
    given.when(ease(None)).then([]).when(ease(Some(9))).then([]);
    let outcome = halted(1, 9).when(ease(None));
    assert_eq!(outcome.decision().events.last(), Some(&ended(NOW)), "the last one is on its way");
}

#[test]
fn a_release_of_an_agent_ends_at_its_own_capacity() {
    let other = Event::AgentOffered {
        agent: key("artist"),
        skills: vec!["draw".into()],
        capacity: 90,
        dependencies: vec![],
    };
    let scope = HoldScope::Agent { agent: key("coder") };
    let waiting = (0..9).map(|n| enqueued(&format!("t{n}"), "ann", 5, n));
    let outcome =
        lane(waiting.chain([offered("coder", 2), other, held(CAUSE, scope.clone())])).when(ease(None));
    assert_eq!(assignments(&outcome), ["t0"]);
    let outcome = end(outcome, Outcome::Done);
    assert_eq!(assignments(&outcome), ["t1", "t2"]);
    assert!(outcome.decision().events.contains(&ended(NOW)), "two is all that it can do");
    // The work of an absent agent is unknown: it comes back gradually, within the time limit.
    let away = lane([enqueued("a", "ann", 5, 1), enqueued("b", "ann", 5, 1), held(CAUSE, scope)]);
    let outcome = away.when(ease(None)).then([eased(CAUSE)]).when(offer("coder", 2));
    assert_eq!(assignments(&outcome), ["a"]);
}

#[test]
fn said_again_everything_goes_on_at_once_or_at_another_rate() {
    let outcome = halted(60, 50).when(ease(None)).given.when(ease(None));
    assert_eq!(outcome.decision().events[0], eased(CAUSE));
    assert_eq!(outcome.given.state().running_count(), 50, "at once");

    let rated = |per_minute| Event::Eased { cause: CAUSE.into(), per_minute: Some(per_minute), at: NOW };
    let mut outcome = halted(60, 50).when(ease(Some(2)));
    outcome = end(outcome, Outcome::Done);
    assert_eq!(outcome.given.state().running_count(), 1, "two have begun in this minute");
    outcome = outcome.given.when(ease(Some(9)));
    assert_eq!(outcome.decision().events[0], rated(9));
    for _ in 0..3 {
        outcome = end(outcome, Outcome::Done);
    }
    assert_eq!(outcome.given.state().running_count(), 5, "one more for each that was done");
}

#[test]
fn a_person_changes_the_rate_of_a_pause_that_is_released() {
    let resume = |per_minute| Command::Resume { reason: "done".into(), per_minute, revision: None };
    let waiting = (0..9).map(|n| enqueued(&format!("t{n}"), "ann", 5, n));
    let pause = Command::Pause { reason: "new disk".into() };
    let given = lane(waiting.chain([offered("coder", 9)]).take(10)).when(pause).given;
    let given = given.when(Command::Wake).given.when(resume(Some(1))).given;
    let outcome = given.when(resume(None));
    assert_eq!(outcome.given.state().waiting_count(), 0, "at once");
    outcome.given.when(resume(None)).then_refused("not-paused");
}

#[test]
fn a_rate_ends_when_a_minute_had_room_for_all() {
    let minute = |minute: u64, ms: u64| Timestamp(minute * 60_000 + ms);
    let mut outcome = halted(3, 9).at(minute(10, 59_000)).when(ease(Some(5)));
    assert_eq!(timer(&outcome), Some(minute(11, 0)));
    for _ in 0..3 {
        outcome = end(outcome, Outcome::Done);
    }
    // Work that callers held back arrives now, under the rate: the rest of a minute tells nothing.
    let mut outcome = outcome.given.at(minute(11, 0)).when(Command::Wake);
    for n in 0..8 {
        outcome = outcome.given.when(enqueue(&format!("late{n}"), "ann", 5, n));
    }
    while outcome.given.state().running_count() > 0 {
        outcome = end(outcome, Outcome::Done);
    }
    assert_eq!(outcome.given.state().waiting_count(), 3, "five in a minute");
    let outcome = outcome.given.at(minute(12, 0)).when(Command::Wake);
    let outcome = outcome.given.at(minute(13, 0)).when(Command::Wake);
    assert!(outcome.given.state().throttles().is_empty(), "a minute is over that had room for all");

    let mut outcome = halted(30, 9).at(minute(10, 59_000)).when(ease(Some(5)));
    let mut minutes = 10;
    while outcome.given.state().throttles().contains_key(CAUSE) {
        let has_room = outcome.given.state().running_count() > 0;
        outcome = match has_room {
            true => end(outcome, Outcome::Done),
            false => {
                minutes += 1;
                outcome.given.at(minute(minutes, 0)).when(Command::Wake)
            }
        };
        assert!(minutes < 20, "it never ends");
    }
    assert_eq!(minutes, 13, "5, 10, 15 of 20, and the next minute knows it");
}

#[test]
fn agents_on_one_breaker_share_its_probes_and_its_release() {
    let needs = |agent: &str| Event::AgentOffered {
        agent: key(agent),
        skills: vec!["code".into()],
        capacity: 4,
        dependencies: vec![key("model.x")],
    };
    let scope = HoldScope::Dependency { dependency: key("model.x") };
    let waiting = (0..20).map(|n| enqueued(&format!("t{n:02}"), "ann", 5, n));
    let past = waiting.chain([needs("one"), needs("two"), held(CAUSE, scope)]);
    let mut outcome = lane(past).when(ease(None));
    assert_eq!(outcome.given.state().running_count(), 1, "one of both together");
    for running in 2..=7 {
        outcome = end(outcome, Outcome::Done);
        assert_eq!(outcome.given.state().running_count(), running);
    }
    let explain = outcome.given.ask(Query::Explain { task: key("t19"), skill: "code".into() });
    let waits: Waiting = serde_json::from_value(explain.expect("it answers").value).expect("a view");
    assert_eq!((waits.blocks[0].what, waits.blocks[0].cause.as_deref()), (Limit::Easing, Some(CAUSE)));
    let outcome = end(outcome, Outcome::Done);
    assert!(outcome.decision().events.contains(&ended(NOW)), "eight is all that they can do");
}

#[test]
fn what_ran_before_a_release_neither_bounds_it_nor_says_anything_of_it() {
    let long = [offered("coder", 9), enqueued("long", "ann", 5, 1), assigned("long", "coder")];
    let waiting = (0..4).map(|n| enqueued(&format!("t{n}"), "ann", 5, n));
    let held = Event::Held {
        cause: CAUSE.into(),
        scope: HoldScope::Lane,
        reason: "it fails".into(),
        recall_at: None,
        at: NOW.plus_ms(1),
    };
    let past = long.into_iter().chain([held]).chain(waiting);
    let outcome = lane(past).at(NOW.plus_ms(2)).when(ease(None));
    assert_eq!(assignments(&outcome), ["t0"], "one at first, beside the one that ran on");
    let failed = Command::Release { task: key("long"), attempt: 1, outcome: Outcome::Failed };
    let outcome = outcome.given.when(failed);
    assert_eq!(assignments(&outcome), [] as [&str; 0], "it was not let through");
    let outcome = outcome.given.when(release("t0"));
    assert_eq!(assignments(&outcome), ["t1", "t2"], "and then two");
}

#[test]
fn what_is_held_waits_and_is_released_gradually() {
    let waiting = ["a", "b", "c", "d", "e", "f", "g"];
    let past = waiting.iter().zip(1..).map(|(name, since)| enqueued(name, "ann", 5, since));
    let past: Vec<_> = past.chain([held("halt/all", HoldScope::Lane)]).collect();
    let outcome = lane(past).when(offer("coder", 4));
    assert_eq!(assignments(&outcome), [""; 0], "the lane is held");
    let outcome = outcome.given.when(Command::Ease { cause: "halt/all".into(), per_minute: None });
    assert_eq!(assignments(&outcome), ["a"], "one at first");
    let outcome = outcome.given.when(release("a"));
    assert_eq!(assignments(&outcome), ["b", "c"], "one more for each that is done");
    let failed = Command::Release { task: key("b"), attempt: 1, outcome: Outcome::Failed };
    let outcome = outcome.given.when(failed);
    assert_eq!(assignments(&outcome), [""; 0], "back to one, which runs already");
    let outcome = outcome.given.when(release("c"));
    assert_eq!(assignments(&outcome), ["d", "e"]);
    let outcome = outcome.given.when(release("d"));
    assert!(outcome.given.state().throttles().is_empty(), "nothing waits any more: it bounds nothing");
}

#[test]
fn a_rate_bounds_how_fast_a_lane_comes_back() {
    let waiting = (1..9).map(|n| enqueued(&format!("t{n}"), "ann", 5, n));
    let past: Vec<_> = waiting.chain([offered("coder", 9), held("halt/all", HoldScope::Lane)]).collect();
    let ease = Command::Ease { cause: "halt/all".into(), per_minute: Some(2) };
    let outcome = lane(past).at(Timestamp(60_000)).when(ease);
    assert_eq!(assignments(&outcome), ["t1"]);
    let outcome = outcome.given.when(release("t1"));
    assert_eq!(assignments(&outcome), ["t2"], "two may run at once now, and two have begun in this minute");
    let outcome = outcome.given.at(Timestamp(120_000)).when(Command::Wake);
    assert_eq!(assignments(&outcome), ["t3"]);
}
