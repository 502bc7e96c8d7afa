//! Given, when, then for `chaos`.

use crate::testing::scenario::{Given, given};
use actors_core::Timestamp;
use actors_core::decision::Timer;
use bus_schemas::chaos::FOR_MS_MAX;
use bus_schemas::commands::breaker;
use bus_schemas::commands::chaos::{Command, Delayed, Description, EndCause, Ended, Experiment, Query};
use bus_schemas::events::chaos::Event;

use super::Chaos;
use crate::testing::{address, key, sent};

const NOW: Timestamp = Timestamp(1_000_000);

fn experiment(events: impl IntoIterator<Item = Event>) -> Given<Chaos> {
    given(&address("chaos/one"), events).called_by("ann")
}

fn delay() -> Experiment {
    Experiment::Delay { by_ms: 200, of: Delayed::Answers, host: None }
}

fn trip() -> Experiment {
    Experiment::TripBreaker { dependency: key("tool.git") }
}

fn start(experiment: Experiment, for_ms: u64) -> Command {
    Command::Start { experiment, for_ms, reason: "does it hold?".into() }
}

fn started(experiment: Experiment) -> Event {
    let (reason, by) = ("does it hold?".into(), "ann".into());
    Event::Started { experiment, reason, by, at: NOW, until: NOW.plus_ms(30_000) }
}

fn ended(cause: EndCause, reason: &str, by: &str, at: Timestamp) -> Event {
    Event::Ended(Ended { cause, reason: reason.into(), by: by.into(), at })
}

fn stop() -> Command {
    Command::Stop { reason: "seen enough".into() }
}

#[test]
fn an_experiment_ends_by_itself_and_only_once() {
    let outcome = experiment([]).when(start(delay(), 30_000));
    let timers = &outcome.decision().timers;
    assert!(matches!(&timers[..], [Timer::Set { at, .. }] if *at == NOW.plus_ms(30_000)), "{timers:?}");
    let over = NOW.plus_ms(30_000);
    let given = outcome.then([started(delay())]).at(over).when(Command::End);
    let given = given.then([ended(EndCause::TimeOver, "", "", over)]);
    given.when(Command::End).then([]).when(stop()).then_refused("experiment-over");
}

#[test]
fn an_experiment_is_stopped_early_and_its_timer_goes() {
    let outcome = experiment([started(delay())]).when(stop());
    let timers = &outcome.decision().timers;
    assert!(matches!(&timers[..], [Timer::Cancel { .. }]), "{timers:?}");
    let reply: Description = serde_json::from_value(outcome.decision().reply.clone()).unwrap();
    assert_eq!(reply.ended.map(|ended| ended.cause), Some(EndCause::Stopped));
    outcome
        .then([ended(EndCause::Stopped, "seen enough", "ann", NOW)])
        .when(Command::End)
        .then([])
        .when(start(delay(), 1))
        .then_refused("experiment-exists");
}

#[test]
fn a_breaker_is_tripped_and_let_go_of() {
    let outcome = experiment([]).when(start(trip(), 30_000));
    let reason = "experiment one".to_owned();
    let told = sent("breaker/tool.git", &breaker::Command::Trip { reason: reason.clone() });
    assert_eq!(outcome.decision().sends, [told]);
    for (command, said) in
        [(stop(), "the experiment was stopped"), (Command::End, "the experiment's time was over")]
    {
        let outcome = experiment([started(trip())]).when(command);
        let untrip = breaker::Command::Untrip { tripped: reason.clone(), reason: said.into() };
        assert_eq!(outcome.decision().sends, [sent("breaker/tool.git", &untrip)]);
    }
}

#[test]
fn nothing_is_endless_and_nothing_is_beyond_its_bounds() {
    let refused = |experiment_: Experiment, for_ms| {
        experiment([]).when(start(experiment_, for_ms)).then_refused("invalid-experiment");
    };
    refused(delay(), 0);
    refused(delay(), FOR_MS_MAX + 1);
    refused(Experiment::Delay { by_ms: 10_001, of: Delayed::Inbox, host: None }, 1);
    refused(Experiment::DropAcks { percent: 0, host: None }, 1);
    refused(Experiment::DropAcks { percent: 101, host: None }, 1);
    refused(Experiment::FillInbox { partition: None, per_second: Some(0) }, 1);
    refused(Experiment::KillWorker { agent: key("git"), host: None, every_ms: Some(999) }, 1);
    let mute = Command::Start { experiment: delay(), for_ms: 1, reason: " ".into() };
    experiment([]).when(mute).then_refused("reason-missing");
    let long = Command::Stop { reason: "x".repeat(513) };
    experiment([started(delay())]).when(long).then_refused("invalid-reason");
}

#[test]
fn what_was_never_begun_is_not_found_and_a_filler_does_nothing() {
    experiment([]).when(stop()).then_refused("experiment-not-found");
    assert_eq!(experiment([]).ask(Query::Describe).unwrap_err().code, "experiment-not-found");
    experiment([]).when(Command::End).then([]).when(Command::Fill).then([]);
}
