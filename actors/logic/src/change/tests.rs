//! Given, when, then for `change`.

use actors_core::Timestamp;
use bus_schemas::Hash;
use bus_schemas::commands::change::{Command, FileChange, Schedule, Step};
use bus_schemas::commands::task;
use bus_schemas::events::change::{Event, Trace};
use bus_schemas::jobs::Artifact;
use bus_schemas::views::task::TaskState;

use super::Change;
use crate::testing::scenario::{Given, given};
use crate::testing::{address, key, sent};

const NOW: Timestamp = Timestamp(1_000_000);

fn asked() -> Schedule {
    Schedule {
        repo: "/srv/app".into(),
        target: "main".into(),
        files: vec![
            FileChange { path: "a.py".into(), text: Some("x = 1\n".into()) },
            FileChange { path: "b.py".into(), text: None },
        ],
        message: "Fix it".into(),
        expect: Vec::new(),
        dry_run: false,
        full_base: false,
        ground: None,
    }
}

fn none(name: &str) -> Given<Change> {
    given(&address(name), []).called_by("ada")
}

fn scheduled(asked: Schedule) -> Given<Change> {
    none("change/c").when(Command::Schedule(asked)).given
}

fn diff() -> Artifact {
    Artifact {
        name: "change.diff".into(),
        media_type: "text/x-diff".into(),
        hash: Hash::of(b"diff"),
        bytes: 4,
        step: "".into(),
    }
}

fn proposed(approval: Option<&str>) -> Step {
    let (base, branch) = ("aaaa".into(), "orrery/change-c".into());
    Step::Proposed { base, branch, diff: diff(), approval: approval.map(key) }
}

fn trace() -> Trace {
    Trace { branch: "orrery/change-c".into(), diff: Hash::of(b"diff"), at: NOW }
}

/// All steps up to one, each accepted.
fn made(given: Given<Change>, steps: &[Step]) -> Given<Change> {
    steps
        .iter()
        .fold(given.called_by("worker"), |given, step| given.when(Command::Record(step.clone())).given)
}

fn to_branch() -> Vec<Step> {
    vec![proposed(Some("c")), Step::Approved, Step::Applied { commit: "bbbb".into() }, Step::Branched]
}

fn to_tests() -> Vec<Step> {
    [to_branch(), vec![Step::SyntaxPassed, Step::TestsStarted]].concat()
}

fn ended(state: TaskState) -> Command {
    Command::SettleTask { state, failure: None }
}

#[test]
fn a_schedule_submits_its_task_once_and_follows_it() {
    let first = none("change/c").when(Command::Schedule(asked()));
    let sends: Vec<_> = first.decision().sends.iter().map(|send| send.to.to_string()).collect();
    assert_eq!(sends, ["task/c", "task/c"], "the task, and that it is followed");
    assert!(first.decision().sends.contains(&sent("task/c", &task::Command::Follow)));
    let plan = asked().plan();
    let outcome = first.then([Event::Scheduled { plan, by: "ada".into(), at: NOW }]);
    let again = outcome.when(Command::Schedule(asked())).then([]);
    let other = Schedule { message: "Other".into(), ..asked() };
    let again = again.when(Command::Schedule(other)).then_refused("change-exists");
    again.when(Command::Adopt { plan: asked().plan() }).then([]);
}

#[test]
fn the_steps_come_in_order_and_each_is_an_event_with_branch_and_diff() {
    let given = made(scheduled(asked()), &to_tests());
    let given = given.when(Command::Record(Step::TestsPassed)).then([Event::TestsPassed { trace: trace() }]);
    // Said again by an attempt after a crash.
    let given = given.when(Command::Record(Step::Branched)).then([]);
    let given = given.when(Command::Record(Step::Tested)).then_refused("change-out-of-order");
    let merged = Step::Merged { commit: "cccc".into() };
    let event = Event::Merged { commit: "cccc".into(), trace: trace() };
    let given = given.when(Command::Record(merged.clone())).then([event]);
    let given = given.when(Command::Record(merged)).then([]);
    let late = Step::RolledBack { reason: "late".into() };
    let given = given.when(Command::Record(late)).then_refused("change-over");
    given.when(Command::Cancel { reason: "late".into() }).then([]);
}

/// Nothing is written before a person has approved, where one is asked.
#[test]
fn what_is_not_approved_is_not_applied() {
    let given = made(scheduled(asked()), &[proposed(Some("c"))]);
    let applied = Step::Applied { commit: "bbbb".into() };
    given.when(Command::Record(applied.clone())).then_refused("change-out-of-order");
    let given = made(scheduled(Schedule { dry_run: true, ..asked() }), &[proposed(None)]);
    let given = given.when(Command::Record(Step::Approved)).then_refused("change-out-of-order");
    let given =
        given.when(Command::Record(applied)).then([Event::Applied { commit: "bbbb".into(), trace: trace() }]);
    let rest = [Step::Branched, Step::SyntaxPassed, Step::TestsStarted, Step::TestsPassed];
    let given = made(given, &rest);
    let merged = Step::Merged { commit: "cccc".into() };
    let given = given.when(Command::Record(merged)).then_refused("change-out-of-order");
    given.when(Command::Record(Step::Tested)).then([Event::Tested { trace: trace() }]);
}

/// What was written goes, whatever became of the task; the end comes from the task that removes it.
#[test]
fn a_stopped_change_is_rolled_back_by_a_task_of_its_own() {
    let given = made(scheduled(asked()), &to_tests());
    let rollback = key("roll-back-c");
    let event = Event::Stopped { failure: None, rollback: Some(rollback), at: NOW };
    let outcome = given.called_by("task/c").when(ended(TaskState::Canceled));
    let submit = outcome.decision().sends[0].clone();
    assert_eq!(submit.to.to_string(), "task/roll-back-c");
    let task::Command::Submit(submit) = submit.body.read().expect("a command") else { panic!("{submit:?}") };
    assert_eq!((submit.skill.as_str(), &submit.input["commit"]), ("roll-back-change", &"bbbb".into()));
    let given = outcome.then([event]);
    let given =
        given.called_by("worker").when(Command::Record(Step::TestsPassed)).then_refused("change-over");
    // Neither the task of the change nor anybody else ends it now.
    let given = given.called_by("task/c").when(ended(TaskState::Failed)).then([]);
    let given = given.called_by("task/other").when(ended(TaskState::Completed)).then([]);
    let reason = "canceled".to_owned();
    given
        .called_by("task/roll-back-c")
        .when(ended(TaskState::Completed))
        .then([Event::RolledBack { reason, trace: trace() }]);
}

#[test]
fn a_change_that_wrote_nothing_is_stopped_and_its_task_can_be_retried() {
    let given = made(scheduled(asked()), &[proposed(Some("c"))]);
    let given = given.called_by("ann").when(Command::Cancel { reason: "a leak".into() });
    let given = given.then([Event::CancelRequested { reason: "a leak".into(), by: "ann".into(), at: NOW }]);
    given.when(Command::Cancel { reason: "a leak".into() }).then([]);
    let given = made(scheduled(asked()), &[proposed(Some("c"))]).called_by("task/c");
    let outcome = given.when(ended(TaskState::Failed));
    assert!(outcome.decision().sends.is_empty(), "nothing was written");
    let given = outcome.given.called_by("worker");
    given.when(Command::Record(Step::Approved)).then([Event::Approved { trace: trace() }]);
}

#[test]
fn a_change_that_cannot_be_is_refused() {
    let refused = |change: Schedule, code: &str| {
        none("change/c").when(Command::Schedule(change)).then_refused(code);
    };
    let files = |paths: &[&str]| {
        paths.iter().map(|path| FileChange { path: (*path).into(), text: None }).collect::<Vec<_>>()
    };
    refused(Schedule { repo: "srv".into(), ..asked() }, "invalid-change");
    refused(Schedule { files: Vec::new(), ..asked() }, "invalid-change");
    refused(Schedule { files: files(&["a", "a"]), ..asked() }, "invalid-change");
    refused(Schedule { files: files(&["a\u{202e}b"]), ..asked() }, "invalid-change");
    refused(Schedule { message: " ".into(), ..asked() }, "invalid-change");
    refused(Schedule { expect: vec!["x".into(); 257], ..asked() }, "invalid-change");
    let long = FileChange { path: "a".into(), text: Some("x".repeat(262_145)) };
    refused(Schedule { files: vec![long], ..asked() }, "invalid-change");
    none("change/a.b").when(Command::Schedule(asked())).then_refused("invalid-name");
    none("change/c").when(Command::Record(Step::Approved)).then_refused("change-not-found");
}
