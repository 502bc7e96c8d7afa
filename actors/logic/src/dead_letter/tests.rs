//! Given, when, then for `dead-letter`.

use crate::testing::scenario::{Given, Outcome, given};
use actors_core::{CommandId, EntityAddress, Origin, Timestamp};
use bus_schemas::commands::dead_letter::{Command, Entry, Outcome as Settled};
use bus_schemas::commands::redrive::{Command as RedriveCommand, EntryOutcome};
use bus_schemas::commands::{probe, task};
use bus_schemas::events::dead_letter::Event;
use bus_schemas::payload::Payload;
use bus_schemas::views::task::TaskState;
use bus_schemas::{Body, ContentType};

use super::{DeadLetter, REDRIVES_MAX, Status};
use crate::testing::{address, key, sent};

/// The time of every scenario.
const NOW: Timestamp = Timestamp(1_000_000);
const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn entry() -> Entry {
    let ids = (CommandId::from_text("one"), CommandId::from_text("the request"));
    Entry {
        payload: Payload::of(&Body::json(&probe::Command::Panic)),
        traceparent: Some(TRACE.to_owned()),
        ..Entry::new("poison", "the decision panicked", ("probe", "p"), ids, Timestamp(7))
    }
}

fn failed_task(command: &str, reason: &str) -> Entry {
    let ids = (CommandId::from_text(command), CommandId::from_text("the request"));
    Entry::new("job-failed", reason, ("task", "t.step"), ids, Timestamp(7))
}

fn recorded(entry: Entry) -> Given<DeadLetter> {
    given(&address("dead-letter/d"), [Event::Recorded { entry }]).called_by("ada")
}

fn redrive(in_redrive: Option<&str>) -> Command {
    Command::Redrive { reason: "mended".into(), in_redrive: in_redrive.map(key) }
}

fn edit(payload: Payload, to: Option<EntityAddress>) -> Command {
    Command::Edit { payload, to, reason: "a typo".into() }
}

fn text(content: &str) -> Payload {
    Payload::written(ContentType::Json, content.as_bytes())
}

fn settle(given: Given<DeadLetter>, redrive: Option<CommandId>, outcome: Settled) -> Outcome<DeadLetter> {
    given.when(Command::SettleRedrive { redrive, outcome, task: None })
}

/// A task reports how it ended.
fn told(given: Given<DeadLetter>, task: &str, outcome: Settled) -> Outcome<DeadLetter> {
    given.when(Command::SettleRedrive { redrive: None, outcome, task: Some(key(task)) })
}

fn submission(goal: &str) -> task::Submit {
    task::Submit { owner: "ada".into(), lane: key("slow"), skill: "code".into(), ..task::Submit::new(goal) }
}

fn submit(submission: task::Submit) -> Payload {
    Payload::of(&Body::json(&task::Command::Submit(submission))).expect("it is small")
}

/// A failed task without steps.
fn failed_root() -> Entry {
    let payload = Some(submit(submission("a gaol")));
    Entry { key: "t".into(), payload, ..failed_task("first", "goal-not-plannable") }
}

fn refused() -> Settled {
    Settled::Refused { code: "poison".into(), message: "again".into() }
}

fn returned() -> Event {
    Event::Returned { code: "poison".into(), reason: "again".into(), attempts: 1, at: NOW }
}

/// The entry, being redriven, and the id of that try.
fn redriving(given: Given<DeadLetter>, in_redrive: Option<&str>) -> (Given<DeadLetter>, CommandId) {
    let given = given.when(redrive(in_redrive)).given;
    assert_eq!(given.state().status, Status::Redriving);
    let id = given.state().redrive.expect("a redrive has an id");
    (given, id)
}

#[test]
fn an_entry_is_recorded_once_and_never_replaced() {
    given::<DeadLetter>(&address("dead-letter/d"), [])
        .when(Command::Record(entry()))
        .then([Event::Recorded { entry: entry() }])
        .when(Command::Record(entry()))
        .then([])
        .when(Command::Record(Entry { at: Timestamp(8), ..entry() }))
        .then([]);
}

#[test]
fn another_entry_of_the_same_key_is_kept_under_a_key_of_its_own() {
    let other = Entry { command_id: CommandId::from_text("two"), ..entry() };
    let mut keys = Vec::new();
    for other in [other.clone(), other.clone(), Entry { key: "q".into(), ..other }, failed_task("x", "y")] {
        let outcome = recorded(entry()).when(Command::Record(other.clone()));
        let [send] = &outcome.decision().sends[..] else { panic!("{:?}", outcome.decision()) };
        assert_eq!(send.body, Body::json(&Command::Record(other)));
        assert_ne!(send.to, address("dead-letter/d"));
        keys.push(send.to.clone());
        let given = outcome.then([]);
        assert_eq!(given.state().entry, Some(entry()));
    }
    assert_eq!(keys[0], keys[1], "said twice it is one entry");
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 3);
}

#[test]
fn only_the_task_that_failed_says_that_it_is_done() {
    let completed = || Settled::Completed;
    let given = recorded(failed_task("first", "silent"));
    let given = told(given, "t-step", completed()).then([]);
    let (given, _) = redriving(given, None);
    let given = told(given, "t-step", Settled::Ended { state: TaskState::Completed }).then([]);
    let again = Entry { key: "t-step".into(), ..failed_task("second", "broken") };
    let outcome = given.when(Command::Record(again));
    assert_eq!(outcome.decision().sends.len(), 1, "it is another task's, and kept apart");
    let given = outcome.then([]);
    told(given, "t.step", completed()).then([Event::Redriven { at: NOW }]);
}

#[test]
fn a_failed_task_that_was_edited_is_submitted_anew_and_settled_by_the_new_one() {
    let given = recorded(failed_root()).when(edit(submit(submission("a goal")), None)).given;
    let outcome = given.when(redrive(None));
    let [send] = &outcome.decision().sends[..] else { panic!("{:?}", outcome.decision()) };
    let wanted = task::Submit { dead_letter: Some(key("d")), ..submission("a goal") };
    assert_eq!((&send.to, &send.body), (&address("task/d-r1"), &Body::json(&task::Command::Submit(wanted))));
    assert_eq!(send.origin.map(|origin| origin.correlation), Some(CommandId::from_text("the request")));
    let id = outcome.given.state().redrive;
    let given = settle(outcome.given, id, Settled::Accepted).then([]);
    let failed = |task: &str| Command::Record(Entry { key: task.into(), ..failed_task(task, "broken") });
    let again = Event::Returned { code: "job-failed".into(), reason: "broken".into(), attempts: 1, at: NOW };
    // The first task is retried by hand and fails; the new one is still running.
    let given = given.when(failed("t")).then([]).when(failed("d-r1")).then([again]);
    let given = told(given, "d-r1", Settled::Ended { state: TaskState::Failed }).then([]);
    let outcome = given.when(redrive(None));
    assert_eq!(outcome.decision().sends[0].to, address("task/d-r2"));
    let given = told(outcome.given, "d-r1", Settled::Ended { state: TaskState::Failed }).then([]);
    let given = told(given, "d-r3", Settled::Completed).then([]);
    told(given, "d-r2", Settled::Completed).then([Event::Redriven { at: NOW }]);
}

#[test]
fn an_edit_of_a_task_is_checked_as_a_submission_and_keeps_its_owner() {
    let whole = |change: &dyn Fn(&mut task::Submit)| {
        let mut edited = submission("a goal");
        change(&mut edited);
        submit(edited)
    };
    for (payload, code) in [
        (text("{}"), "invalid-payload"),
        (text(r#"{"type":"submit"}"#), "invalid-payload"),
        (text(r#"{"type":"sweep"}"#), "invalid-payload"),
        (whole(&|edited| edited.goal.clear()), "invalid-goal"),
        (whole(&|edited| edited.priority = 10), "invalid-priority"),
        (whole(&|edited| edited.deadline = Some(NOW)), "invalid-deadline"),
        (whole(&|edited| edited.parent = Some(key("t"))), "invalid-parent"),
        (whole(&|edited| edited.owner = "eve".into()), "not-editable"),
    ] {
        recorded(failed_root()).when(edit(payload, None)).then_refused(code);
    }
    let good = || whole(&|edited| edited.lane = key("fast"));
    recorded(failed_root()).when(edit(good(), Some(address("probe/p")))).then_refused("not-editable");
    let step = recorded(failed_task("first", "x")).when(edit(good(), None));
    let refusal = step.result.as_ref().expect_err("a step is done by its root");
    assert!(refusal.hint.as_ref().is_some_and(|hint| hint.contains("retries `t`")), "{refusal:?}");
    step.then_refused("not-editable");
    let ambiguous = Entry { class: "job-ambiguous".into(), ..failed_root() };
    recorded(ambiguous).when(edit(good(), None)).then_refused("not-editable");
}

#[test]
fn what_may_have_happened_in_a_new_task_is_not_submitted_again() {
    let given = recorded(failed_root()).when(edit(submit(submission("a goal")), None)).given;
    let (given, _) = redriving(given, None);
    let ambiguous = Entry { key: "d-r1".into(), class: "job-ambiguous".into(), ..failed_task("x", "silent") };
    let given = given.when(Command::Record(ambiguous)).given;
    let given = given.when(redrive(None)).then_refused("not-redrivable");
    told(given, "d-r1", Settled::Completed).then([Event::Redriven { at: NOW }]);
}

#[test]
fn a_redrive_sends_the_payload_under_the_correlation_and_the_trace_of_the_original() {
    let outcome = recorded(entry()).when(redrive(None));
    let [send] = &outcome.decision().sends[..] else { panic!("{:?}", outcome.decision().sends) };
    assert_eq!((&send.to, &send.body), (&address("probe/p"), &Body::json(&probe::Command::Panic)));
    let Some(Origin { correlation, trace: Some(trace) }) = send.origin else { panic!("{send:?}") };
    assert_eq!((correlation, trace.to_traceparent().as_str()), (CommandId::from_text("the request"), TRACE));
    assert!(send.settles);
    let id = outcome.given.state().redrive.expect("a redrive has an id");
    let given = outcome.then([Event::RedriveStarted {
        redrive: id,
        number: 1,
        to: address("probe/p"),
        in_redrive: None,
        by: "ada".into(),
        reason: "mended".into(),
        at: NOW,
    }]);
    let given = given.when(redrive(None)).then_refused("not-waiting");
    let done = settle(given, Some(id), Settled::Accepted).then([Event::Redriven { at: NOW }]);
    for command in [redrive(None), edit(text("{}"), None), Command::Drop { reason: "".into() }] {
        let given = recorded(entry());
        let (given, id) = redriving(given, None);
        settle(given, Some(id), Settled::Accepted).given.when(command).then_refused("not-waiting");
    }
    settle(done, Some(id), refused()).then([]);
}

#[test]
fn what_fails_again_waits_again_until_the_limit_and_an_edit_begins_anew() {
    let mut given = recorded(entry());
    for number in 1..=REDRIVES_MAX {
        let (on_its_way, id) = redriving(given, None);
        assert_eq!(on_its_way.state().redrives, number);
        let on_its_way = settle(on_its_way, Some(CommandId::from_text("another")), refused()).then([]);
        given = settle(on_its_way, Some(id), refused()).then([returned()]);
        assert_eq!(given.state().status, Status::Waiting);
    }
    let given = given.when(redrive(None)).then_refused("redrive-limit");
    let given = given.when(edit(text(r#"{"type":"touch"}"#), None)).given;
    let outcome = given.when(redrive(None));
    assert_eq!(outcome.decision().sends[0].body.bytes, r#"{"type":"touch"}"#);
    assert_eq!(outcome.given.state().redrives, REDRIVES_MAX + 1);
}

#[test]
fn an_edit_stands_beside_the_original_and_may_name_the_receiver() {
    let nowhere = Entry { kind: "dead-letter".into(), key: "unreadable".into(), ..entry() };
    let given = recorded(nowhere.clone()).when(redrive(None)).then_refused("not-redrivable");
    let given = given.when(edit(text("{}"), Some(address("dead-letter/d")))).then_refused("not-editable");
    let bad = Payload { content: "Zg=".into(), encoding: bus_schemas::payload::Encoding::Base64, ..text("") };
    let given = given.when(edit(bad, None)).then_refused("invalid-payload");
    let given = given.when(edit(text(&"x".repeat(300_000)), None)).then_refused("invalid-payload");
    let given = given.when(edit(text("{}"), Some(address("probe/q")))).then([Event::Edited {
        version: 1,
        payload: text("{}"),
        to: Some(address("probe/q")),
        by: "ada".into(),
        reason: "a typo".into(),
        at: NOW,
    }]);
    let given = given.when(edit(text("[]"), None)).given;
    assert_eq!((given.state().edits, given.state().entry.as_ref()), (2, Some(&nowhere)));
    let outcome = given.when(redrive(None));
    let send = &outcome.decision().sends[0];
    assert_eq!((&send.to, &send.body.bytes[..]), (&address("probe/q"), &b"[]"[..]), "the receiver stays");
    let without = Entry { payload: None, ..entry() };
    recorded(without).when(redrive(None)).then_refused("not-redrivable");
}

#[test]
fn a_letter_vouches_for_a_command_of_the_system_only_if_the_system_sent_it() {
    let sweep = || Payload::of(&Body::json(&task::Command::Sweep));
    let from = |source: &str, caller: Option<&str>| {
        let ids = (CommandId::from_text("one"), CommandId::from_text("the request"));
        let entry = Entry::new("poison", "it panicked", ("task", "t"), ids, Timestamp(7));
        let (source, caller) = (Some(source.into()), caller.map(Into::into));
        Entry { payload: sweep(), source, caller, ..entry }
    };
    let letter = |source: &str, caller: Option<&str>| recorded(from(source, caller));
    for (source, caller) in [("timer", None), ("mail", Some("task/t")), ("inbox", Some("orrery-system"))] {
        assert_eq!(
            letter(source, caller).when(redrive(None)).decision().sends.len(),
            1,
            "{source} {caller:?}"
        );
    }
    // Mail with a client as its sender was handed over in another partition.
    for (source, caller) in [("inbox", Some("mallory")), ("mail", Some("mallory")), ("inbox", None)] {
        letter(source, caller).when(redrive(None)).then_refused("not-redrivable");
    }
    for entry in [from("timer", None), entry()] {
        let (payload, to) = (sweep().expect("a payload"), Some(address("task/other")));
        let (by, reason) = ("mallory".to_owned(), String::new());
        let edited = Event::Edited { version: 1, payload, to, by, reason, at: NOW };
        let edited = given::<DeadLetter>(&address("dead-letter/d"), [Event::Recorded { entry }, edited]);
        edited.when(redrive(None)).then_refused("not-redrivable");
    }
}

#[test]
fn a_failed_task_is_retried_through_its_root_and_says_itself_how_it_ends() {
    let outcome = recorded(failed_task("first", "worker-silent")).when(redrive(None));
    let send = &outcome.decision().sends[0];
    let retry = task::Command::Retry { end: None };
    assert_eq!((&send.to, &send.body), (&address("task/t"), &Body::json(&retry)));
    let id = outcome.given.state().redrive;
    let given = settle(outcome.given, id, Settled::Accepted).then([]);
    let given = settle(given, None, Settled::Completed).then([Event::Redriven { at: NOW }]);
    settle(given, None, Settled::Ended { state: TaskState::Completed }).then([]);
}

#[test]
fn a_task_that_fails_again_is_the_same_entry() {
    let (given, _) = redriving(recorded(failed_task("first", "silent")), None);
    let again = Event::Returned { code: "job-failed".into(), reason: "broken".into(), attempts: 1, at: NOW };
    let given = given.when(Command::Record(failed_task("second", "broken"))).then([again.clone()]);
    let given = settle(given, None, Settled::Ended { state: TaskState::Failed }).then([]);
    // A person retries it, it fails once more, and then it completes.
    let given = given.when(Command::Record(failed_task("third", "broken"))).then([again]);
    settle(given, None, Settled::Completed).then([Event::Redriven { at: NOW }]);
}

#[test]
fn a_tree_that_ends_without_its_failed_step_settles_it() {
    for (state, status) in [
        (TaskState::Completed, Status::Redriven),
        (TaskState::Canceled, Status::Waiting),
        (TaskState::Failed, Status::Waiting),
    ] {
        let (given, _) = redriving(recorded(failed_task("first", "silent")), None);
        assert_eq!(settle(given, None, Settled::Ended { state }).given.state().status, status, "{state:?}");
    }
}

#[test]
fn what_may_have_happened_is_redriven_by_name_only() {
    let ambiguous = Entry { class: "job-ambiguous".into(), ..failed_task("first", "silent") };
    let outcome = recorded(ambiguous).when(redrive(Some("c")));
    let [send] = &outcome.decision().sends[..] else { panic!("{:?}", outcome.decision()) };
    assert_eq!(send.to, address("redrive/c"));
    let outcome = outcome.then([]).when(redrive(None));
    assert_eq!(outcome.decision().sends[0].to, address("task/t"));
}

#[test]
fn a_redrive_hears_of_everything() {
    let told = |outcome, reason: &str| {
        let settled = RedriveCommand::SettleEntry { entry: key("d"), outcome, reason: reason.into() };
        vec![sent("redrive/c", &settled)]
    };
    let (given, id) = redriving(recorded(entry()), Some("c"));
    let outcome = settle(given, Some(id), Settled::Accepted);
    assert_eq!(outcome.decision().sends, told(EntryOutcome::Redriven, ""));
    let outcome = outcome.given.when(redrive(Some("c")));
    let why = "not-waiting: the dead letter `d` is redriven";
    assert_eq!(outcome.decision().sends, told(EntryOutcome::Skipped, why));
    let (given, id) = redriving(recorded(entry()), Some("c"));
    let outcome = settle(given, Some(id), refused());
    assert_eq!(outcome.decision().sends, told(EntryOutcome::Returned, "poison: again"));
    let (given, id) = redriving(outcome.given, Some("c"));
    let outcome = given.when(Command::Drop { reason: "enough".into() });
    assert_eq!(outcome.decision().sends, told(EntryOutcome::Skipped, "the dead letter was dropped"));
    settle(outcome.given, Some(id), Settled::Accepted).then([]);
    let outcome = given_nothing().when(redrive(Some("c")));
    let why = "dead-letter-not-found: there is none of this name";
    assert_eq!(outcome.decision().sends, told(EntryOutcome::Skipped, why));
}

fn given_nothing() -> Given<DeadLetter> {
    given(&address("dead-letter/d"), [])
}

#[test]
fn what_is_dropped_stays_dropped_and_what_is_not_there_is_refused() {
    let drop = || Command::Drop { reason: "nobody wants it".into() };
    let dropped = Event::Dropped { by: "ada".into(), reason: "nobody wants it".into(), at: NOW };
    let given = recorded(entry()).when(drop()).then([dropped]).when(drop()).then([]);
    given.when(redrive(None)).then_refused("not-waiting");
    for command in [drop(), redrive(None), edit(text("{}"), None)] {
        given_nothing().when(command).then_refused("dead-letter-not-found");
    }
    settle(given_nothing(), None, Settled::Accepted).then([]);
}

#[test]
fn a_notification_is_sent_by_who_follows_the_events() {
    let failed = Entry { class: "notification-failed".into(), kind: "webhook".into(), ..entry() };
    let outcome = recorded(failed).when(redrive(None));
    assert!(outcome.decision().sends.is_empty());
    let id = outcome.given.state().redrive;
    settle(outcome.given, id, Settled::Accepted).then([Event::Redriven { at: NOW }]);
}

/// Texts of a record or of a redrive's outcome are kept for ever, and shown in every list.
#[test]
fn texts_of_an_entry_are_cut_where_they_are_taken_in() {
    let long = || "\u{1}".repeat(100_000);
    let entry = Entry {
        class: long().into(),
        reason: long(),
        hint: Some(long()),
        source: Some(long().into()),
        subject: Some(long()),
        caller: Some(long().into()),
        ..entry()
    };
    let outcome = given::<DeadLetter>(&address("dead-letter/d"), []).when(Command::Record(entry));
    let [Event::Recorded { entry }] = &outcome.decision().events[..] else {
        panic!("{:?}", outcome.decision())
    };
    let optional =
        [entry.source.as_deref(), entry.caller.as_deref(), entry.subject.as_deref(), entry.hint.as_deref()];
    let texts = [Some(&*entry.class), Some(&*entry.reason)].into_iter().chain(optional);
    for text in texts.map(|text| text.expect("it was given")) {
        assert!(text.len() <= 4_096 && text.ends_with('…'), "{} bytes", text.len());
    }
    let given = recorded(self::entry()).when(redrive(None)).given;
    let outcome = settle(given, None, Settled::Refused { code: long().into(), message: long() });
    let [Event::Returned { code, reason, .. }] = &outcome.decision().events[..] else {
        panic!("{:?}", outcome.decision())
    };
    assert!(code.len() <= 128 && reason.len() <= 4_096, "{} and {} bytes", code.len(), reason.len());
}
