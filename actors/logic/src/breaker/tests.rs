//! Transitions of a breaker, and the messages that it sends.

mod properties;

use crate::testing::scenario::{Given, Outcome, given};
use actors_core::decision::Timer;
use actors_core::{Decision, Timestamp};
use bus_schemas::commands::breaker::{Command, Description, Phase, Policy, ProbeAnswer, Query};
use bus_schemas::commands::lane::{self, HoldScope};
use bus_schemas::commands::{redrive, settings as documents};
use bus_schemas::events::breaker::{CloseCause, Event, OpenCause};
use bus_schemas::settings::ApplySettings;
use serde_json::json;

use super::Breaker;
use crate::testing::{address, key, sent};

const START: Timestamp = Timestamp(1_000_000);

fn policy() -> Policy {
    Policy { jitter_percent: 0, ..Policy::default() }
}

/// A closed breaker without jitter, so that its times are known in advance.
fn breaker() -> Given<Breaker> {
    let configured = Event::Configured { policy: policy(), by: String::new(), version: None, at: START };
    given::<Breaker>(&address("breaker/tool.git"), [configured]).at(START).called_by("ada")
}

fn report(succeeded: u32, failed: u32) -> Command {
    Command::Report {
        reporter: "w1".into(),
        succeeded,
        failed,
        slow: 0,
        consecutive_failed: failed,
        last_error: if failed > 0 { "refused".into() } else { String::new() },
    }
}

fn slow(calls: u32) -> Command {
    Command::Report {
        reporter: "w1".into(),
        succeeded: calls,
        failed: 0,
        slow: calls,
        consecutive_failed: 0,
        last_error: String::new(),
    }
}

fn watch(lane: &str) -> Command {
    Command::Watch { lane: key(lane) }
}

fn trip() -> Command {
    Command::Trip { reason: "an outage".into() }
}

fn reset() -> Command {
    Command::Reset { reason: "it is back".into() }
}

fn letter(entry: &str) -> Command {
    Command::NoteLetter { entry: key(entry) }
}

fn noted(entry: &str, at: Timestamp) -> Event {
    Event::LetterNoted { entry: key(entry), at }
}

fn probe() -> Command {
    Command::RequestProbe { reporter: "w1".into() }
}

/// The cause of its last opening, if any.
fn opened(outcome: &Outcome<Breaker>) -> Option<(OpenCause, Option<Timestamp>)> {
    outcome.decision().events.iter().find_map(|event| match event {
        Event::Opened { cause, until, .. } => Some((*cause, *until)),
        _ => None,
    })
}

fn phase(given: &Given<Breaker>) -> Phase {
    given.state().phase
}

/// Five failures in a row at `START`.
fn open() -> Given<Breaker> {
    let given = breaker().when(report(0, 5)).given;
    assert_eq!(phase(&given), Phase::Open);
    given
}

fn half_open() -> Given<Breaker> {
    open().at(START.plus_ms(5_000)).when(Command::EndOpen).given
}

fn answer(decision: &Decision<Event>) -> ProbeAnswer {
    serde_json::from_value(decision.reply.clone()).expect("an answer")
}

fn timers(decision: &Decision<Event>) -> Vec<&str> {
    decision
        .timers
        .iter()
        .map(|timer| match timer {
            Timer::Set { name, .. } | Timer::Cancel { name } => name.as_str(),
        })
        .collect()
}

#[test]
fn failures_one_after_the_other_open_it_also_over_several_reports() {
    let given = breaker().when(report(0, 3)).given;
    assert_eq!(phase(&given), Phase::Closed);
    let outcome = given.when(report(0, 2));
    let until = START.plus_ms(5_000);
    assert_eq!(opened(&outcome), Some((OpenCause::ConsecutiveFailures, Some(until))));
    let set =
        Timer::Set { name: "end-open".into(), at: until, body: bus_schemas::Body::json(&Command::EndOpen) };
    assert!(outcome.decision().timers.contains(&set), "{:?}", outcome.decision().timers);
    assert!(outcome.given.state().reason.ends_with("last: refused"));
}

#[test]
fn a_success_in_between_begins_the_row_anew() {
    let given = breaker().when(report(0, 4)).given;
    let mixed = Command::Report {
        reporter: "w2".into(),
        succeeded: 6,
        failed: 1,
        slow: 0,
        consecutive_failed: 1,
        last_error: "refused".into(),
    };
    let given = given.when(mixed).given;
    assert_eq!((phase(&given), given.state().consecutive_failed), (Phase::Closed, 1), "5 of 11 failed");
    assert_eq!(phase(&given.when(report(0, 1)).given), Phase::Open, "6 of 12 is half of them");
}

#[test]
fn rates_open_it_only_with_enough_calls() {
    let spread = |succeeded, failed| Command::Report {
        reporter: "w1".into(),
        succeeded,
        failed,
        slow: 0,
        consecutive_failed: 1,
        last_error: "refused".into(),
    };
    let given = breaker().when(spread(3, 4)).given;
    assert_eq!(phase(&given), Phase::Closed, "7 calls mean nothing");
    let outcome = given.when(spread(1, 2));
    assert_eq!(opened(&outcome).map(|(cause, _)| cause), Some(OpenCause::FailureRate), "6 of 10 failed");
    let given = breaker().when(slow(9)).given;
    assert_eq!(phase(&given), Phase::Closed);
    assert_eq!(opened(&given.when(slow(1))).map(|(cause, _)| cause), Some(OpenCause::SlowRate));
}

#[test]
fn what_is_older_than_the_window_does_not_count() {
    let given = breaker().when(report(0, 4)).given.when(report(1, 0)).given;
    let given = given.at(START.plus_ms(31_000)).when(report(5, 4)).given;
    assert_eq!((phase(&given), given.state().window.len()), (Phase::Closed, 1), "4 of 9");
    // After the clock was set back, no bucket of the future counts.
    let given = given.at(START).when(report(1, 0)).given;
    assert_eq!(given.state().counts(START).calls, 1);
}

#[test]
fn what_is_told_while_it_is_open_leaves_no_event() {
    open().when(report(3, 9)).then([]);
    breaker().when(report(0, 0)).then([]);
}

#[test]
fn lanes_hear_of_every_change_at_once_and_in_order() {
    let given = breaker().when(watch("default")).given;
    let given = given.when(watch("default")).then([]);
    let outcome = given.when(report(0, 5));
    let hold = lane::Command::Hold {
        cause: "breaker/tool.git".into(),
        scope: HoldScope::Dependency { dependency: key("tool.git") },
        reason: "5 calls failed one after the other, last: refused".into(),
        interrupt: false,
        grace_ms: 0,
    };
    assert!(outcome.decision().sends.contains(&sent("lane/default", &hold)));
    let late = outcome.given.when(watch("night"));
    assert!(late.decision().sends.contains(&sent("lane/night", &hold)), "told at once");
    let again = late.given.when(watch("night"));
    assert_eq!((again.decision().events.len(), again.decision().sends.len()), (0, 1), "harmless twice");
    let outcome = again.given.at(START.plus_ms(5_000)).when(Command::EndOpen);
    let permits = lane::Command::Probe { cause: "breaker/tool.git".into(), permits: 1 };
    for lane in ["lane/default", "lane/night"] {
        assert!(outcome.decision().sends.contains(&sent(lane, &permits)), "{lane} shares three permits");
    }
    let outcome = outcome.given.when(report(2, 0));
    let ease = lane::Command::Ease { cause: "breaker/tool.git".into(), per_minute: None };
    assert!(outcome.decision().sends.contains(&sent("lane/default", &ease)));
    assert!(outcome.decision().sends.contains(&sent("lane/night", &ease)));
    assert!(timers(outcome.decision()).contains(&"renew-probes"));
}

#[test]
fn each_change_is_noted_and_a_closing_redrives_what_was_left() {
    let to = |outcome: &Outcome<Breaker>, kind: &str| -> Vec<String> {
        let sends = outcome.decision().sends.iter().filter(|send| send.to.kind.as_str() == kind);
        sends.map(|send| String::from_utf8_lossy(&send.body.bytes).into_owned()).collect()
    };
    let outcome = half_open().when(report(2, 0));
    assert!(to(&outcome, "redrive").is_empty(), "there is nothing to redrive");
    let notes = to(&outcome, "healer").concat();
    assert!(notes.contains(r#""action":"ease""#) && !notes.contains(r#""action":"drain""#), "{notes}");
    let outcome = half_open().when(letter("t-3")).given.when(report(2, 0));
    let drains = to(&outcome, "redrive");
    let since = START.0 - policy().window_ms;
    assert!(drains.len() == 1 && drains[0].contains(r#""dependency":"tool.git""#), "{drains:?}");
    assert!(
        drains[0].contains(&format!(r#""since":{since}"#)),
        "what waited before is left alone: {drains:?}"
    );
    let notes = to(&outcome, "healer").concat();
    assert!(notes.contains(r#""action":"ease""#) && notes.contains(r#""action":"drain""#), "{notes}");
    let notes = to(&half_open().when(report(0, 1)), "healer").concat();
    assert!(notes.contains(r#""action":"hold""#), "{notes}");
}

#[test]
fn redrives_of_dependencies_with_similar_names_have_keys_of_their_own() {
    let drain = |dependency: &str| {
        let configured = Event::Configured { policy: policy(), by: String::new(), version: None, at: START };
        let ill = given::<Breaker>(&address(&format!("breaker/{dependency}")), [configured]).at(START);
        let open = ill.when(trip()).given.when(letter("t-1")).given;
        let closed = open.when(reset());
        let drains = closed.decision().sends.iter().filter(|send| send.to.kind.as_str() == "redrive");
        let keys: Vec<String> = drains.map(|send| send.to.key.to_string()).collect();
        keys.concat()
    };
    assert_eq!(drain("agent.x.y"), "drain-agent.x.y-4");
    assert_eq!(drain("agent.x_y"), "drain-agent.x_y-4");
    assert_eq!(drain("agent.x-y"), "drain-agent.x-y-4");
}

#[test]
fn where_nothing_waits_dead_letters_are_tried() {
    let half = START.plus_ms(5_000);
    let outcome = half_open().when(letter("a-1"));
    assert_eq!(timers(outcome.decision()), ["renew-probes"], "nobody watches: it looks by itself");
    let given = outcome.then([noted("a-1", half)]).when(letter("a-1")).then([]);
    let outcome = given.when(letter("b-1"));
    assert!(timers(outcome.decision()).is_empty(), "it goes on by itself");
    let given = outcome.given.when(letter("c-1")).given.at(half.plus_ms(60_000));
    let outcome = given.when(Command::RenewProbes);
    let (at, redrive) = (half.plus_ms(60_000), key("probe-tool.git-8"));
    let entries = vec![key("a-1"), key("b-1")];
    let filter = redrive::Filter { dependency: Some(key("tool.git")), ..redrive::Filter::default() };
    let start = redrive::Command::Start {
        filter,
        rate: 1,
        reason: "`breaker/tool.git` is half-open, and no other work is tried".into(),
    };
    let add = redrive::Command::AddEntries { entries: entries.clone(), last: true };
    let sends = &outcome.decision().sends[..2];
    let to = format!("redrive/{redrive}");
    assert_eq!(sends, [sent(&to, &start), sent(&to, &add)], "as many as it takes to close it");
    assert_eq!(timers(outcome.decision()), ["renew-probes"]);
    let given = outcome.then([Event::LettersTried { entries, redrive, at }]).when(report(1, 0)).given;
    let outcome = given.when(Command::RenewProbes);
    assert!(timers(outcome.decision()).is_empty(), "the last one is tried, and nobody is left");
    let given = outcome.given.when(Command::RenewProbes).then([]);
    assert_eq!(phase(&given), Phase::HalfOpen, "without anything to try it stays so, and harms nobody");
}

#[test]
fn only_what_failed_since_it_fell_ill_is_its_own() {
    let old = breaker().when(letter("old-1")).given.at(START.plus_ms(40_000)).when(letter("new-1")).given;
    let given = old.when(report(0, 5)).given;
    let letters: Vec<String> = given.state().letters.keys().map(ToString::to_string).collect();
    assert_eq!((letters, given.state().has_letters), (vec!["new-1".to_owned()], true));
    let given = given.when(reset()).given;
    assert!(
        given.state().letters.is_empty() && !given.state().has_letters && given.state().ill_since.is_none()
    );
    let mut given = breaker();
    for n in 0..40 {
        given = given.when(letter(&format!("l{n}-1"))).given;
    }
    assert_eq!(given.state().letters.len(), 16, "a redrive finds the others");
}

#[test]
fn half_open_lets_so_many_try_and_takes_permits_back() {
    let mut given = half_open();
    for permit in 1..=3 {
        let outcome = given.when(probe());
        let answer = answer(outcome.decision());
        assert_eq!(
            (answer.granted, answer.permit, answer.status.phase),
            (true, Some(permit), Phase::HalfOpen)
        );
        given = outcome.given;
    }
    let outcome = given.when(probe());
    assert!(!answer(outcome.decision()).granted && outcome.decision().events.is_empty());
    let given = outcome.given.when(Command::ExpireProbe { permit: 2 }).given;
    let given = given.when(Command::ExpireProbe { permit: 2 }).then([]);
    let outcome = given.when(probe());
    assert_eq!(answer(outcome.decision()).permit, Some(4), "a number is given once");
    let outcome = outcome.given.when(report(1, 0));
    assert_eq!(timers(outcome.decision()), ["probe-1"], "the oldest one came back");
    assert_eq!(outcome.given.state().permits.len(), 2);
    let outcome = outcome.given.when(report(1, 0));
    assert_eq!(phase(&outcome.given), Phase::Closed);
    assert!(outcome.given.state().permits.is_empty());
}

#[test]
fn a_probe_that_fails_or_is_slow_doubles_the_open_time() {
    let outcome = half_open().when(report(0, 1));
    let begun = START.plus_ms(5_000);
    assert_eq!(opened(&outcome), Some((OpenCause::ProbeFailed, Some(begun.plus_ms(10_000)))));
    let given = outcome.given.at(begun.plus_ms(10_000)).when(Command::EndOpen).given;
    let outcome = given.when(slow(1));
    assert_eq!(opened(&outcome), Some((OpenCause::ProbeFailed, Some(begun.plus_ms(30_000)))));
}

#[test]
fn one_that_fails_soon_after_it_closed_goes_on_where_it_was() {
    let closed = || half_open().when(report(2, 0)).given;
    let at = START.plus_ms(6_000);
    assert_eq!(opened(&closed().at(at).when(report(0, 5))).unwrap().1, Some(at.plus_ms(10_000)));
    let at = START.plus_ms(60_000);
    assert_eq!(opened(&closed().at(at).when(report(0, 5))).unwrap().1, Some(at.plus_ms(5_000)));
}

#[test]
fn the_open_time_ends_when_it_is_due_and_not_before() {
    let early = open().when(Command::EndOpen);
    assert!(early.decision().events.is_empty() && timers(early.decision()) == ["end-open"]);
    breaker().when(Command::EndOpen).then([]);
}

#[test]
fn an_open_breaker_ends_its_pause_when_the_clock_is_set_back() {
    let given = open().at(Timestamp(1)).by_timer().when(Command::EndOpen).given;
    assert_eq!(phase(&given), Phase::HalfOpen);
}

#[test]
fn what_was_tripped_stays_open_until_it_is_reset() {
    let outcome = open().when(trip());
    assert_eq!(opened(&outcome), Some((OpenCause::Tripped, None)));
    assert_eq!(timers(outcome.decision()), ["end-open"], "its timer is taken off");
    let given = outcome.given.when(trip()).then([]);
    let given = given.at(START.plus_ms(1_000_000)).when(Command::EndOpen).then([]);
    let another = Command::Trip { reason: "it is moved".into() };
    let given = given.when(another).given;
    assert_eq!(given.state().reason, "tripped: it is moved", "another reason replaces the first one");
    breaker().when(Command::Trip { reason: " ".into() }).then_refused("reason-missing");
    let unsaid = Command::Reset { reason: String::new() };
    let given = given.when(unsaid).then_refused("reason-missing");
    let given = given.when(reset()).then([Event::Closed {
        cause: CloseCause::Reset,
        reason: "reset: it is back".into(),
        by: "ada".into(),
        at: START.plus_ms(1_000_000),
    }]);
    given.when(reset()).then([]);
}

#[test]
fn an_experiment_lets_go_of_what_it_tripped_and_of_nothing_else() {
    let trip_for = |reason: &str| Command::Trip { reason: reason.into() };
    let untrip = || Command::Untrip { tripped: "experiment one".into(), reason: "over".into() };
    breaker().when(untrip()).then([]);
    open().when(untrip()).then([]);
    let given = breaker().when(trip_for("experiment one")).given;
    let given = given.when(trip_for("experiment two")).then([]);
    let closed = given.when(untrip()).given;
    assert_eq!(phase(&closed), Phase::Closed);

    let given = breaker().when(trip_for("an outage")).given.when(trip_for("experiment one")).then([]);
    assert_eq!(phase(&given.when(untrip()).then([])), Phase::Open, "a person was first");
    let given = breaker().when(trip_for("experiment one")).given.when(trip_for("an outage")).given;
    assert_eq!(phase(&given.when(untrip()).then([])), Phase::Open, "a person came after it");
}

#[test]
fn a_policy_out_of_bounds_is_refused_and_a_new_one_begins_a_new_window() {
    let configure = |policy| Command::Configure { policy };
    breaker().when(configure(Policy { buckets: 0, ..policy() })).then_refused("invalid-policy");
    breaker().when(configure(Policy { open_ms_max: 200, ..policy() })).then_refused("invalid-policy");
    let given = breaker().when(configure(policy())).then([]);
    let given = given.when(report(0, 4)).given;
    let given = given.when(configure(Policy { consecutive_failures: 2, ..policy() })).given;
    assert_eq!((phase(&given), given.state().consecutive_failed), (Phase::Closed, 0));
    breaker()
        .when(Command::Report {
            reporter: "w".into(),
            succeeded: 1,
            failed: 0,
            slow: 2,
            consecutive_failed: 0,
            last_error: String::new(),
        })
        .then_refused("invalid-report");
}

#[test]
fn settings_say_the_policy_once_a_version_was_activated() {
    let apply =
        |version, value| Command::ApplySettings(ApplySettings { name: "breakers".into(), version, value });
    let watch = documents::Command::Watch { kind: address("breaker/x").kind, key: key("tool.git") };
    let first = given::<Breaker>(&address("breaker/tool.git"), []).when(report(0, 1));
    assert_eq!(first.decision().sends, [sent("settings/breakers", &watch)], "a new one asks for its policy");
    let second = first.given.when(report(0, 1));
    assert!(second.decision().sends.is_empty(), "once");
    let given = breaker().when(apply(0, json!({}))).then([]);
    assert_eq!(given.state().policy, policy(), "nobody has activated anything: a person's word counts");
    let patient = json!({"policies": {"tool.*": {"consecutive_failures": 9}, "model.*": {"probes": 7}}});
    let given = given.when(apply(1, patient.clone())).given;
    assert_eq!((given.state().policy.consecutive_failures, given.state().policy.probes), (9, 3));
    let given = given.when(apply(1, patient.clone())).then([]);
    let given = given.when(report(0, 1)).given.when(apply(2, patient)).given;
    let known = (given.state().version, given.state().consecutive_failed);
    assert_eq!(known, (Some(2), 1), "a version that says the same is noted, and what was counted stays");
    let described: Description =
        serde_json::from_value(given.ask(Query::Describe).expect("it answers").value).expect("a view");
    assert_eq!(described.version, Some(2));
    let given = breaker().when(apply(2, json!({"policies": {"*": {"probes": 7}}}))).given;
    let given = given.when(apply(0, json!({}))).given;
    assert_eq!(given.state().policy, Policy::default(), "taken back");
    given.when(apply(2, json!({"policies": 1}))).then_refused("invalid-settings");
}

#[test]
fn what_a_worker_says_of_its_last_failure_is_cut_with_a_mark() {
    let Command::Report { reporter, succeeded, failed, slow, consecutive_failed, .. } = report(0, 1) else {
        panic!("it is a report")
    };
    let last_error = "ü".repeat(100_000);
    let told = Command::Report { reporter, succeeded, failed, slow, consecutive_failed, last_error };
    let outcome = breaker().when(told);
    let said = outcome.decision().events.iter().find_map(|event| match event {
        Event::Reported { last_error, .. } => Some(last_error),
        _ => None,
    });
    let said = said.expect("it was reported");
    assert!(said.len() <= 512 && said.ends_with("ü…"), "{} bytes", said.len());
}
