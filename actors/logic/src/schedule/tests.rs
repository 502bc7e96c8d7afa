//! Given, when, then for `schedule`.

use crate::testing::scenario::{Given, Outcome, given};
use actors_core::Timestamp;
use actors_core::decision::Send;
use actors_core::decision::Timer;
use bus_schemas::Body;
use bus_schemas::commands::schedule::{Command, Recurrence};
use bus_schemas::commands::task::{self, Submit};
use bus_schemas::events::schedule::Event;

use super::{Schedule, recurrence};
use crate::testing::{address, key, sent};

const NOW: Timestamp = Timestamp(1_000_000);

fn schedule(events: impl IntoIterator<Item = Event>) -> Given<Schedule> {
    given(&address("schedule/nightly"), events)
}

fn every(every_ms: u64) -> Recurrence {
    Recurrence::Every { every_ms }
}

fn once(at: u64) -> Recurrence {
    Recurrence::Once { at: Timestamp(at) }
}

fn cron(expression: &str) -> Recurrence {
    Recurrence::Cron { expression: expression.into() }
}

fn create(recurrence: Recurrence) -> Command {
    Command::Create { recurrence, task: Submit::new("sweep") }
}

fn created(recurrence: Recurrence, next: u64) -> Event {
    Event::Created { recurrence, task: Submit::new("sweep"), next: Some(Timestamp(next)) }
}

fn fire(due: u64) -> Command {
    Command::Fire { due: Timestamp(due) }
}

fn fired(due: u64, next: Option<u64>) -> Event {
    Event::Fired { due: Timestamp(due), task: key(&format!("nightly-{due}")), next: next.map(Timestamp) }
}

/// Asserts that the schedule waits for this time.
fn waits_for(outcome: &Outcome<Schedule>, due: u64) {
    let timer = Timer::Set { name: "fire".into(), at: Timestamp(due), body: Body::json(&fire(due)) };
    assert_eq!(outcome.decision().timers, [timer]);
}

#[test]
fn an_interval_fires_on_its_beat_and_submits_a_task_named_by_the_due_time() {
    let outcome = schedule([]).when(create(every(5_000)));
    waits_for(&outcome, 1_005_000);
    let given = outcome.then([created(every(5_000), 1_005_000)]);
    let outcome = given.at(Timestamp(1_005_020)).when(fire(1_005_000));
    let submit = task::Command::Submit(Submit::new("sweep"));
    assert_eq!(outcome.decision().sends, [Send { settles: true, ..sent("task/nightly-1005000", &submit) }]);
    waits_for(&outcome, 1_010_000);
    outcome.then([fired(1_005_000, Some(1_010_000))]).when(fire(1_005_000)).then([]);
}

#[test]
fn what_was_missed_fires_once_and_goes_on_from_now() {
    schedule([created(every(5_000), 1_005_000)])
        .at(Timestamp(1_033_333))
        .when(fire(1_005_000))
        .then([fired(1_005_000, Some(1_035_000))]);
    let hourly = cron("0 * * * *");
    schedule([created(hourly, 3_600_000)])
        .at(Timestamp(3 * 3_600_000 + 5))
        .when(fire(3_600_000))
        .then([fired(3_600_000, Some(4 * 3_600_000))]);
}

#[test]
fn a_fire_before_its_time_waits_on() {
    let outcome = schedule([created(every(5_000), 1_005_000)]).when(fire(1_005_000));
    waits_for(&outcome, 1_005_000);
    outcome.then([]);
}

/// A clock that was an hour ahead and is right again: what recurs goes on from the right time, at most one beat late,
/// and a single time is waited for.
#[test]
fn a_clock_that_was_set_back_moves_the_next_time() {
    let moved = |next| Event::Moved { next: Some(Timestamp(next)) };
    let outcome = schedule([created(every(5_000), 4_600_000)]).by_timer().when(fire(4_600_000));
    waits_for(&outcome, 1_005_000);
    let outcome = outcome.then([moved(1_005_000)]).at(Timestamp(1_005_000)).when(fire(1_005_000));
    waits_for(&outcome, 1_010_000);
    outcome.then([fired(1_005_000, Some(1_010_000))]);
    let minutely = cron("* * * * *");
    schedule([created(minutely, 4_620_000)]).by_timer().when(fire(4_620_000)).then([moved(1_020_000)]);
    let daily = cron("0 0 * * *");
    let outcome = schedule([created(daily, 86_400_000)]).by_timer().when(fire(86_400_000));
    waits_for(&outcome, 86_400_000);
    outcome.then([]);
    let outcome = schedule([created(once(4_600_000), 4_600_000)]).by_timer().when(fire(4_600_000));
    waits_for(&outcome, 4_600_000);
    outcome.then([]);
}

#[test]
fn once_ends_after_firing() {
    let outcome =
        schedule([created(once(1_005_000), 1_005_000)]).at(Timestamp(1_005_000)).when(fire(1_005_000));
    assert_eq!(outcome.decision().timers, [Timer::Cancel { name: "fire".into() }]);
    outcome.then([fired(1_005_000, None)]).when(fire(1_005_000)).then([]);
}

#[test]
fn pause_and_resume_skip_what_was_missed() {
    schedule([created(every(5_000), 1_005_000)])
        .when(Command::Resume)
        .then([])
        .when(Command::Pause)
        .then([Event::Paused])
        .when(Command::Pause)
        .then([])
        .at(Timestamp(9_000_000))
        .when(fire(1_005_000))
        .then([])
        .when(Command::Resume)
        .then([Event::Resumed { next: Some(Timestamp(9_005_000)) }]);
    schedule([created(once(1_005_000), 1_005_000), Event::Paused])
        .at(Timestamp(9_000_000))
        .when(Command::Resume)
        .then([Event::Resumed { next: None }]);
}

#[test]
fn delete_forgets_it_and_create_replaces_it() {
    schedule([created(every(5_000), 1_005_000)])
        .when(create(every(5_000)))
        .then([])
        .when(create(every(6_000)))
        .then([created(every(6_000), 1_005_000)])
        .when(Command::Delete)
        .then([Event::Deleted])
        .when(Command::Delete)
        .then([])
        .when(fire(1_005_000))
        .then([])
        .when(Command::Pause)
        .then_refused("schedule-not-found")
        .when(Command::Resume)
        .then_refused("schedule-not-found")
        .when(create(every(5_000)))
        .then([created(every(5_000), 1_005_000)]);
}

#[test]
fn an_interval_that_is_replaced_keeps_its_beat() {
    // Replaced every 4 seconds for a minute, it still fires every 10 seconds.
    let mut given = schedule([created(every(10_000), 1_010_000)]);
    for second in 1..=60 {
        let now = NOW.plus_ms(second * 1_000);
        given = given.at(now);
        if second % 4 == 0 {
            let task = Submit::new(format!("sweep {second}"));
            given = given.when(Command::Create { recurrence: every(10_000), task }).given;
        }
        let due = given.state().next.expect("an interval has no end");
        assert_eq!(due.0, 1_000_000 + (second - 1) / 10 * 10_000 + 10_000, "at {second}");
        if due <= now {
            given = given.when(fire(due.0)).given;
        }
    }
    // A shorter interval is due earlier, a longer one when the former was; an overdue one fires at once.
    for (now, recurrence, next) in [
        (1_001_000, every(2_000), 1_003_000),
        (1_001_000, every(60_000), 1_010_000),
        (1_033_000, every(60_000), 1_010_000),
        (1_001_000, cron("* * * * *"), 1_020_000),
        (1_001_000, once(1_050_000), 1_050_000),
    ] {
        let outcome =
            schedule([created(every(10_000), 1_010_000)]).at(Timestamp(now)).when(create(recurrence.clone()));
        waits_for(&outcome, next);
        outcome.then([created(recurrence, next)]);
    }
    // The due times of a calendar rule are not kept by an interval.
    schedule([created(cron("* * * * *"), 1_020_000)])
        .when(create(every(60_000)))
        .then([created(every(60_000), 1_060_000)]);
}

#[test]
fn what_is_paused_stays_so_when_it_is_replaced() {
    let replaced = |recurrence| Event::Created { recurrence, task: Submit::new("sweep"), next: None };
    for recurrence in [every(6_000), once(1_050_000), cron("* * * * *")] {
        let given = schedule([created(every(5_000), 1_005_000), Event::Paused]);
        let given = given.when(create(every(5_000))).then([]);
        let outcome = given.when(create(recurrence.clone()));
        assert_eq!(outcome.decision().timers, [Timer::Cancel { name: "fire".into() }]);
        let given = outcome.then([replaced(recurrence.clone())]);
        assert!(given.state().paused);
        let given = given.when(create(recurrence)).then([]).when(Command::Pause).then([]);
        let given = given.when(Command::Resume).given;
        assert!(!given.state().paused && given.state().next.is_some());
    }
    // A newly created schedule waits for nothing.
    let given = schedule([created(every(5_000), 1_005_000), Event::Paused, Event::Deleted]);
    given.when(create(every(5_000))).then([created(every(5_000), 1_005_000)]);
}

#[test]
fn unsound_schedules_are_refused() {
    let with = |recurrence, task| Command::Create { recurrence, task };
    let deadline = Submit { deadline: Some(Timestamp(2_000_000)), ..Submit::new("sweep") };
    let cases = [
        ("invalid-recurrence", create(every(999))),
        ("invalid-recurrence", create(once(1_000_000))),
        ("invalid-recurrence", create(once(Timestamp::MAX.0 + 1))),
        ("invalid-recurrence", create(once(9_007_199_254_740_991))),
        ("invalid-recurrence", create(every(Timestamp::MAX.0))),
        ("invalid-recurrence", create(every(u64::MAX))),
        ("invalid-recurrence", create(cron("every day"))),
        ("invalid-recurrence", create(cron("* * * *"))),
        ("invalid-recurrence", create(cron("0 0 0 1 1 * 2030"))),
        ("invalid-recurrence", create(cron(&"1,".repeat(200)))),
        ("invalid-recurrence", create(cron("0 0 30 2 *"))),
        ("invalid-goal", with(every(5_000), Submit::new(""))),
        ("invalid-deadline", with(every(5_000), deadline.clone())),
        ("invalid-deadline", with(once(3_000_000), deadline)),
        ("invalid-parent", with(every(5_000), Submit { parent: Some(key("root")), ..Submit::new("sweep") })),
    ];
    for (code, command) in cases {
        schedule([]).when(command).then_refused(code);
    }
    given::<Schedule>(&address("schedule/a.b"), []).when(create(every(5_000))).then_refused("invalid-name");
}

#[test]
fn cron_is_computed_in_utc_with_five_or_six_fields() {
    const DAY_MS: u64 = 86_400_000;
    for (expression, next) in [
        ("* * * * *", 1_020_000),
        ("*/5 * * * * *", 1_005_000),
        ("0 0 * * *", DAY_MS),
        // 1970-01-01 was a Thursday.
        ("30 9 * * MON", 4 * DAY_MS + (9 * 60 + 30) * 60_000),
        ("0 0 29 2 *", (2 * 365 + 31 + 28) * DAY_MS),
    ] {
        assert_eq!(recurrence::next(&cron(expression), NOW), Some(Timestamp(next)), "{expression}");
    }
}
