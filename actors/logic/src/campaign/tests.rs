//! Given, when, then for `campaign`.

use actors_core::Timestamp;
use actors_core::decision::Timer;
use actors_core::scenario::{Given, Outcome, given};
use bus_schemas::Body;
use bus_schemas::commands::campaign::{Command, EntryOutcome, Filter};
use bus_schemas::commands::deadletter;
use bus_schemas::events::campaign::Event;

use super::{Campaign, Status};
use crate::testing::{address, key, sent};

/// When every scenario begins.
const NOW: Timestamp = Timestamp(1_000_000);

fn start(rate: u32) -> Command {
    Command::Start { filter: Filter::default(), rate, by: "ada".into(), reason: "mended".into() }
}

fn new() -> Given<Campaign> {
    given::<Campaign>(&address("campaign/c"), [])
}

fn started(rate: u32) -> Given<Campaign> {
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

/// When the next entries are due, as this decision says.
fn due(outcome: &Outcome<Campaign>) -> Option<Timestamp> {
    let timers = &outcome.decision().timers;
    timers.iter().find_map(|timer| match timer {
        Timer::Set { name, at, body } => {
            assert_eq!((name.as_str(), body), ("send-next", &Body::json(&Command::SendNext)));
            Some(*at)
        }
        Timer::Cancel { .. } => None,
    })
}

fn cancels(outcome: &Outcome<Campaign>) -> bool {
    outcome.decision().timers.contains(&Timer::Cancel { name: "send-next".into() })
}

#[test]
fn a_campaign_is_started_once_within_bounds() {
    let given = started(5);
    let given = given.when(start(5)).then([]);
    let other = Filter { class: Some("poison".into()), ..Filter::default() };
    let other = Command::Start { filter: other, rate: 5, by: "ada".into(), reason: String::new() };
    given.when(other).then_refused("campaign-exists");
    for wrong in [
        Filter { since: Some(Timestamp::MAX.next()), ..Filter::default() },
        Filter { before: Some(Timestamp(u64::MAX)), ..Filter::default() },
        Filter { class: Some("a\u{1b}b".into()), ..Filter::default() },
        Filter { key: Some("k".repeat(257).into()), ..Filter::default() },
    ] {
        let start = Command::Start { filter: wrong, rate: 5, by: "ada".into(), reason: String::new() };
        new().when(start).then_refused("invalid-filter");
    }
    for rate in [0, 1_001] {
        new().when(start(rate)).then_refused("invalid-rate");
    }
    for command in [add(&[], true), Command::SendNext, settle("d", EntryOutcome::Redriven)] {
        new().when(command).then_refused("campaign-not-found");
    }
}

#[test]
fn entries_are_sent_in_order_at_the_rate_and_the_last_one_completes_it() {
    let outcome = started(2).when(add(&["a", "b", "a"], false));
    assert_eq!(due(&outcome), Some(NOW));
    let outcome = outcome.then([added(&["a", "b"], false)]).when(Command::SendNext);
    let redrive = deadletter::Command::Redrive {
        by: "campaign/c".into(),
        reason: String::new(),
        campaign: Some(key("c")),
    };
    assert_eq!(outcome.decision().sends, [sent("deadletter/a", &redrive)]);
    assert_eq!(due(&outcome), Some(NOW.plus_ms(500)));
    let given = outcome.then([Event::EntriesSent { entries: vec![key("a")], at: NOW }]);
    let outcome = given.at(NOW.plus_ms(500)).when(Command::SendNext);
    assert_eq!(outcome.decision().sends, [sent("deadletter/b", &redrive)]);
    assert_eq!(due(&outcome), None, "nothing waits");
    // What comes a moment later waits for its turn; what came before does not come again.
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
    given.when(Command::Pause { by: "ada".into(), reason: String::new() }).then_refused("campaign-final");
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
fn a_paused_campaign_sends_nothing_and_goes_on_where_it_was() {
    let pause = || Command::Pause { by: "ada".into(), reason: "too much".into() };
    let resume = |rate| Command::Resume { rate, by: "ada".into() };
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
fn what_is_added_to_a_paused_campaign_waits_for_its_end() {
    let given = started(1).when(Command::Pause { by: "ada".into(), reason: String::new() }).given;
    let outcome = given.when(add(&["a"], true));
    assert_eq!(due(&outcome), None);
    let outcome = outcome.given.when(Command::Resume { rate: None, by: "ada".into() });
    assert_eq!(due(&outcome), Some(NOW));
}

#[test]
fn a_canceled_campaign_leaves_the_rest_and_counts_what_was_under_way() {
    let cancel = || Command::Cancel { by: "ada".into(), reason: "the wrong ones".into() };
    let given = started(1).when(add(&["a", "b"], true)).given.when(Command::SendNext).given;
    let outcome = given.when(cancel());
    assert!(cancels(&outcome));
    let given = outcome.given.when(cancel()).then([]).when(Command::SendNext).then([]);
    let given = given.when(settle("a", EntryOutcome::Redriven)).given;
    let state = given.state();
    assert_eq!((state.status, state.redriven, state.queue.len()), (Status::Canceled, 1, 0));
    given.when(Command::Resume { rate: None, by: "ada".into() }).then_refused("campaign-final");
}

#[test]
fn a_filter_that_means_nothing_completes_at_once() {
    let outcome = started(1).when(add(&[], false));
    let outcome = outcome.then([]).when(add(&[], true));
    outcome.then([added(&[], true), Event::Completed { at: NOW }]);
}
