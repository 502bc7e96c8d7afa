//! Given, when, then for `schedule`.

use actors_core::Timestamp;
use actors_core::decision::Send;
use actors_core::decision::Timer;
use actors_core::scenario::{Given, Outcome, given};
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

/// Asserts that the outcome waits for this time.
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
        .then([created(every(6_000), 1_006_000)])
        .when(Command::Delete)
        .then([Event::Deleted])
        .when(Command::Delete)
        .then([])
        .when(fire(1_006_000))
        .then([])
        .when(Command::Pause)
        .then_refused("schedule-not-found")
        .when(Command::Resume)
        .then_refused("schedule-not-found")
        .when(create(every(5_000)))
        .then([created(every(5_000), 1_005_000)]);
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
