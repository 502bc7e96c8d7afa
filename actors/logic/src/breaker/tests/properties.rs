//! `breaker_legal`: under random commands, only the transitions of the front page happen.

use std::collections::BTreeMap;

use crate::testing::scenario::given;
use actors_core::decision::Timer;
use actors_core::{Entity, Timestamp};
use bus_schemas::commands::breaker::{Command, Phase, Policy};
use bus_schemas::events::breaker::{CloseCause, Event, OpenCause};
use proptest::collection::vec;
use proptest::prelude::*;

use super::super::{Breaker, State};
use crate::testing::{address, key};

fn command() -> impl Strategy<Value = Command> {
    let reporter = (0..3u8).prop_map(|n| format!("w{n}").into());
    let policy = (1..4u32, 1..3u32, 1..4u32).prop_map(|(probes, successes, failures)| Policy {
        probes,
        successes,
        consecutive_failures: failures,
        calls_min: 4,
        ..Policy::default()
    });
    prop_oneof![
        8 => (reporter.clone(), 0..4u32, 0..4u32, 0..4u32, 0..4u32).prop_map(
            |(reporter, succeeded, failed, slow, consecutive_failed)| Command::Report {
                reporter,
                succeeded,
                failed,
                slow: slow.min(succeeded + failed),
                consecutive_failed,
                last_error: String::new(),
            }
        ),
        4 => reporter.prop_map(|reporter| Command::RequestProbe { reporter }),
        2 => (0..3u8).prop_map(|n| Command::Watch { lane: key(&format!("lane{n}")) }),
        1 => (0..2u8).prop_map(|n| Command::Trip { reason: format!("t{n}") }),
        1 => Just(Command::Reset { reason: "r".into() }),
        1 => policy.prop_map(|policy| Command::Configure { policy }),
        4 => Just(Command::EndOpen),
        3 => (1..12u64).prop_map(|permit| Command::ExpireProbe { permit }),
        1 => Just(Command::RenewProbes),
        2 => (0..30u8).prop_map(|n| Command::NoteLetter { entry: key(&format!("t{n}-1")) }),
    ]
}

/// Whether the front page has this transition.
fn is_legal(before: &State, event: &Event, after: &State, now: Timestamp) -> bool {
    match event {
        Event::Opened { cause: OpenCause::Tripped, until, .. } => {
            let is_new = before.phase != Phase::Open || before.until.is_some();
            until.is_none() && (is_new || before.reason != after.reason)
        }
        Event::Opened { cause: OpenCause::ProbeFailed, until, .. } => {
            before.phase == Phase::HalfOpen && until.is_some_and(|until| until > now)
        }
        Event::Opened { until, .. } => {
            before.phase == Phase::Closed && until.is_some_and(|until| until > now)
        }
        Event::HalfOpened { .. } => {
            before.phase == Phase::Open && before.until.is_some_and(|until| until <= now)
        }
        Event::Closed { cause: CloseCause::Probed, .. } => {
            before.phase == Phase::HalfOpen && before.probed >= before.policy.successes
        }
        Event::Closed { cause: CloseCause::Reset, .. } => before.phase != Phase::Closed,
        Event::ProbeGranted { .. } => {
            before.phase == Phase::HalfOpen && after.permits.len() <= after.policy.probes as usize
        }
        Event::ProbeExpired { permit, .. } => before.permits.contains_key(permit),
        Event::Reported { .. } => before.phase != Phase::Open && before.phase == after.phase,
        Event::Watched { .. } | Event::Configured { .. } | Event::LetterNoted { .. } => {
            before.phase == after.phase
        }
        Event::LettersTried { entries, .. } => {
            before.phase == Phase::HalfOpen && entries.iter().all(|entry| before.letters.contains_key(entry))
        }
    }
}

/// The timers that are set, as a host keeps them.
fn follow(timers: &mut BTreeMap<String, Timestamp>, changes: &[Timer]) {
    for change in changes {
        match change {
            Timer::Set { name, at, .. } => drop(timers.insert(name.to_string(), *at)),
            Timer::Cancel { name } => drop(timers.remove(name.as_str())),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn breaker_legal(commands in vec((command(), 0..20_000u64), 0..80)) {
        let mut given = given::<Breaker>(&address("breaker/tool.git"), []);
        let mut now = Timestamp(1_000_000);
        let mut timers = BTreeMap::new();
        let mut replayed = State::default();
        for (command, pause) in commands {
            now = now.plus_ms(pause);
            // A timer is removed only when it is due.
            match &command {
                Command::EndOpen if timers.get("end-open").is_none_or(|at| *at > now) => continue,
                Command::EndOpen => drop(timers.remove("end-open")),
                Command::ExpireProbe { permit } => drop(timers.remove(&format!("probe-{permit}"))),
                Command::RenewProbes => drop(timers.remove("renew-probes")),
                _ => {}
            }
            let outcome = given.at(now).when(command);
            let decision = outcome.decision();
            for event in &decision.events {
                let before = replayed.clone();
                Breaker::fold(&mut replayed, event);
                prop_assert!(is_legal(&before, event, &replayed, now), "{before:?} {event:?}");
            }
            follow(&mut timers, &decision.timers);
            let state = outcome.given.state();
            prop_assert_eq!(&replayed, state, "a replay gives the same");
            let waits = state.phase == Phase::Open && state.until.is_some();
            prop_assert_eq!(timers.get("end-open").copied(), state.until, "waits: {}", waits);
            for permit in state.permits.keys() {
                prop_assert!(timers.contains_key(&format!("probe-{permit}")), "permit {permit} is lost");
            }
            let stored: State = serde_json::from_value(serde_json::to_value(state).unwrap()).unwrap();
            prop_assert_eq!(&stored, state, "a snapshot gives the same");
            given = outcome.given;
        }
    }
}
