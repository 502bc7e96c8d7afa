//! Given, when, then for `probe`.

use std::panic::catch_unwind;

use crate::testing::scenario::given;
use actors_core::Timestamp;
use actors_core::decision::Timer;
use bus_schemas::commands::probe::Command;
use bus_schemas::events::probe::Event;

use super::Probe;
use crate::testing::{address, key, sent};

fn touch() -> Command {
    Command::Touch { note: "any text".into() }
}

#[test]
fn touches_are_counted() {
    given::<Probe>(&address("probe/p"), [Event::Touched { count: 6 }])
        .when(touch())
        .then([Event::Touched { count: 7 }])
        .when(touch())
        .then([Event::Touched { count: 8 }]);
}

#[test]
fn forward_counts_and_touches_another_probe() {
    let outcome = given::<Probe>(&address("probe/p"), []).when(Command::Forward { to: key("q") });
    let expected = sent("probe/q", &Command::Touch { note: String::new() });
    assert_eq!(outcome.decision().sends, [expected]);
    outcome.then([Event::Touched { count: 1 }]);
}

#[test]
fn touch_later_sets_a_timer_and_counts_nothing_yet() {
    let outcome = given::<Probe>(&address("probe/p"), [])
        .at(Timestamp(5_000))
        .when(Command::TouchLater { after_ms: 250 });
    match &outcome.decision().timers[..] {
        [Timer::Set { at, body, .. }] => {
            assert_eq!(*at, Timestamp(5_250));
            assert!(matches!(body.read::<Command>(), Ok(Command::Touch { .. })));
        }
        other => panic!("expected one timer, got {other:?}"),
    }
    outcome.then([]).when(Command::TouchLater { after_ms: u64::MAX }).then_refused("invalid-delay");
}

#[test]
fn panic_panics() {
    let panicked = catch_unwind(|| given::<Probe>(&address("probe/p"), []).when(Command::Panic));
    assert!(panicked.is_err());
}
