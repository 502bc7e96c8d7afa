//! Given, when, then for `redrive`.

use crate::testing::scenario::{Given, Outcome, given};
use actors_core::Timestamp;
use actors_core::decision::Timer;
use bus_schemas::Body;
use bus_schemas::commands::dead_letter;
use bus_schemas::commands::redrive::{Command, EntryOutcome, Filter};
use bus_schemas::events::redrive::Event;

use super::{Redrive, Status};
use crate::testing::{address, key, sent};

/// The time at which every scenario begins.
const NOW: Timestamp = Timestamp(1_000_000);

fn start(rate: u32) -> Command {
    Command::Start { filter: Filter::default(), rate, reason: "mended".into() }
}

fn new() -> Given<Redrive> {
    given::<Redrive>(&address("redrive/c"), []).called_by("ada")
}

fn started(rate: u32) -> Given<Redrive> {
    new().when(start(rate)).given
}

fn add(names: &[&str], last: bool) -> Command {
    Command::AddEntries { entries: names.iter().map(|name| key(name)).collect(), last }
}

fn added(names: &[&str], last: bool) -> Event {
    Event::EntriesAdded { entries: names.iter().map(|name| key(name)).collect(), last }
}

fn settle(entry: &str, outcome: EntryOutcome) -> Command {
    Command::SettleEntry { entry: key(entry), outcome, reason: String::new() }
}

/// When the next entries are due, according to this decision.
fn due(outcome: &Outcome<Redrive>) -> Option<Timestamp> {
    let timers = &outcome.decision().timers;
    timers.iter().find_map(|timer| match timer {
        Timer::Set { name, at, body } => {
            assert_eq!((name.as_str(), body), ("send-next", &Body::json(&Command::SendNext)));
            Some(*at)
        }
        Timer::Cancel { .. } => None,
    })
}

fn cancels(outcome: &Outcome<Redrive>) -> bool {
    outcome.decision().timers.contains(&Timer::Cancel { name: "send-next".into() })
}

#[test]
fn a_redrive_is_started_once_within_bounds() {
    let given = started(5);
    let given = given.when(start(5)).then([]);
    let other = Filter { class: Some("poison".into()), ..Filter::default() };
    let other = Command::Start { filter: other, rate: 5, reason: String::new() };
    given.when(other).then_refused("redrive-exists");
    for wrong in [
        Filter { since: Some(Timestamp::MAX.next()), ..Filter::default() },
        Filter { before: Some(Timestamp(u64::MAX)), ..Filter::default() },
        Filter { class: Some("a\u{1b}b".into()), ..Filter::default() },
        Filter { key: Some("k".repeat(257).into()), ..Filter::default() },
    ] {
        let start = Command::Start { filter: wrong, rate: 5, reason: String::new() };
        new().when(start).then_refused("invalid-filter");
    }
    for rate in [0, 1_001] {
        new().when(start(rate)).then_refused("invalid-rate");
    }
    for command in [add(&[], true), Command::SendNext, settle("d", EntryOutcome::Redriven)] {
        new().when(command).then_refused("redrive-not-found");
    }
}

#[test]
fn entries_are_sent_in_order_at_the_rate_and_the_last_one_completes_it() {
    let outcome = started(2).when(add(&["a", "b", "a"], false));
    assert_eq!(due(&outcome), Some(NOW));
    let outcome = outcome.then([added(&["a", "b"], false)]).when(Command::SendNext);
    let redrive = dead_letter::Command::Redrive { reason: String::new(), in_redrive: Some(key("c")) };
    assert_eq!(outcome.decision().sends, [sent("dead-letter/a", &redrive)]);
    assert_eq!(due(&outcome), Some(NOW.plus_ms(500)));
    let given = outcome.then([Event::EntriesSent { entries: vec![key("a")], at: NOW }]);
    let outcome = given.at(NOW.plus_ms(500)).when(Command::SendNext);
    assert_eq!(outcome.decision().sends, [sent("dead-letter/b", &redrive)]);
    assert_eq!(due(&outcome), None, "nothing waits");
    // A later entry waits for its turn; an earlier one does not come again.
    let outcome = outcome.given.at(NOW.plus_ms(600)).when(add(&["b", "c"], true));
    assert_eq!(due(&outcome), Some(NOW.plus_ms(1_000)));
    let outcome = outcome.then([added(&["c"], true)]).at(NOW.plus_ms(1_000)).when(Command::SendNext);
    let given = outcome.given.when(settle("a", EntryOutcome::Redriven)).given;
    let given = given.when(settle("a", EntryOutcome::Redriven)).then([]);
    let given = given.when(settle("b", EntryOutcome::Skipped)).given;
    let outcome = given.when(settle("c", EntryOutcome::Returned));
    assert_eq!(outcome.decision().events.last(), Some(&Event::Completed { at: NOW.plus_ms(1_000) }));
    let state = outcome.given.state();
    assert_eq!((state.redriven, state.returned, state.skipped), (1, 1, 1));
    assert_eq!(state.status, Status::Completed);
    let given = outcome.given.when(add(&["z"], false)).then([]);
    given.when(Command::Pause { reason: String::new() }).then_refused("redrive-final");
}

#[test]
fn no_rate_is_exceeded_however_it_divides() {
    for rate in 1..=1_000 {
        let (pause_ms, batch) = super::decide::pace(rate);
        assert!(batch as u64 * 1_000 <= pause_ms * u64::from(rate), "{rate}: {batch} each {pause_ms} ms");
        assert!(pause_ms <= 1_000 && (batch as u64) * 1_100 >= (pause_ms - 1) * u64::from(rate), "{rate}");
    }
}

#[test]
fn a_paused_redrive_sends_nothing_and_goes_on_where_it_was() {
    let pause = || Command::Pause { reason: "too much".into() };
    let resume = |rate| Command::Resume { rate };
    let given = started(1).when(add(&["a", "b"], true)).given.when(Command::SendNext).given;
    let outcome = given.when(pause());
    assert!(cancels(&outcome));
    let given = outcome.then([Event::Paused { by: "ada".into(), reason: "too much".into(), at: NOW }]);
    let given = given.when(pause()).then([]).when(Command::SendNext).then([]);
    let given = given.when(resume(Some(0))).then_refused("invalid-rate");
    let outcome = given.at(NOW.plus_ms(100)).when(resume(Some(10)));
    assert_eq!(due(&outcome), Some(NOW.plus_ms(1_000)), "a pause does not make it faster");
    let given = outcome.then([Event::Resumed { rate: 10, by: "ada".into(), at: NOW.plus_ms(100) }]);
    let given = given.when(resume(None)).then([]);
    assert_eq!(given.at(NOW.plus_ms(1_000)).when(Command::SendNext).decision().sends.len(), 1);
}

#[test]
fn what_is_added_to_a_paused_redrive_waits_for_its_end() {
    let given = started(1).when(Command::Pause { reason: String::new() }).given;
    let outcome = given.when(add(&["a"], true));
    assert_eq!(due(&outcome), None);
    let outcome = outcome.given.when(Command::Resume { rate: None });
    assert_eq!(due(&outcome), Some(NOW));
}

#[test]
fn a_canceled_redrive_leaves_the_rest_and_counts_what_was_under_way() {
    let cancel = || Command::Cancel { reason: "the wrong ones".into() };
    let given = started(1).when(add(&["a", "b"], true)).given.when(Command::SendNext).given;
    let outcome = given.when(cancel());
    assert!(cancels(&outcome));
    let given = outcome.given.when(cancel()).then([]).when(Command::SendNext).then([]);
    let given = given.when(settle("a", EntryOutcome::Redriven)).given;
    let state = given.state();
    assert_eq!((state.status, state.redriven, state.queue.len()), (Status::Canceled, 1, 0));
    given.when(Command::Resume { rate: None }).then_refused("redrive-final");
}

#[test]
fn a_filter_that_means_nothing_completes_at_once() {
    let outcome = started(1).when(add(&[], false));
    let outcome = outcome.then([]).when(add(&[], true));
    outcome.then([added(&[], true), Event::Completed { at: NOW }]);
}
