//! dead letters: everything that could not be done becomes an entry, and an entry can be worked with.

mod redrives;
mod webhook;

use bus_client::{Ask, Bus, Profile};
use bus_schemas::commands::dead_letter::{Command, Entry};
use bus_schemas::commands::probe::Command as Probe;
use bus_schemas::commands::task::{Command as Task, Plan, PlanStep, Query, Submit};
use bus_schemas::events::dead_letter::Event;
use bus_schemas::jobs::FailureClass;
use bus_schemas::payload::Payload;
use bus_schemas::wire::WireCommand;
use bus_schemas::{Body, CommandId, EntityAddress, Hash, Key, Revision, TraceContext, upcast};
use system_tests::agents::task;
use system_tests::raw::{Raw, dead_letter};
use system_tests::{Server, accepted, command, eventually, probe, refused, touch, until_revision};

/// A dead letter's address.
fn letter(entry: &str) -> EntityAddress {
    EntityAddress::new(Command::KIND, Key::parse(entry).expect("a test's key"))
}

/// The entry of a command that could not be done.
fn entry_of(id: CommandId) -> String {
    id.0.simple().to_string()
}

/// Everything that has happened to a dead letter.
async fn history(bus: &Bus, entry: &str) -> Vec<Event> {
    let stored = bus.history(&letter(entry), Revision(0), 0).await.expect("the events");
    let read =
        |event: &bus_schemas::record::Event| upcast::read(&event.event_type, event.schema, &event.body);
    stored.iter().map(|stored| read(&stored.event).expect("a known event")).collect()
}

/// Waits until the last event of a dead letter is as wanted.
async fn until(bus: &Bus, entry: &str, what: &str, wanted: impl Fn(&Event) -> bool) -> Vec<Event> {
    eventually(&format!("`{entry}` to be {what}"), || async {
        let history = history(bus, entry).await;
        history.last().is_some_and(&wanted).then_some(history)
    })
    .await
}

fn redrive() -> Command {
    Command::Redrive { reason: "mended".into(), in_redrive: None }
}

fn edit(body: &Probe, to: Option<EntityAddress>) -> Command {
    let payload = Payload::of(&Body::json(body)).expect("it is small");
    Command::Edit { payload, to, reason: "mended".into() }
}

/// A poison command; its entry.
async fn poison(bus: &Bus, key: &str) -> String {
    let poison = command(key, &Probe::Panic);
    assert_eq!(refused(bus, &poison).await, "poison");
    dead_letter(bus, poison.id).await;
    entry_of(poison.id)
}

/// Goal: nothing that could not be done is lost, and none of it holds up others. Method: a refused, a
/// poison and a malformed command are handed over, to keys that are paths too, each between good ones.
#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_done_becomes_an_entry_and_blocks_nobody() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("a", false).await;
    let (raw, bus) = (Raw::connect(&server).await, host.bus());
    let cancel = r#"{"type":"cancel"}"#;
    let cases = [
        ("refused", "task.nobody", cancel, "refused"),
        ("below", "task.nobody.step", cancel, "refused"),
        ("poison", "probe.p", r#"{"type":"panic"}"#, "poison"),
        ("malformed", "probe.p", r#"{"type":"fly"}"#, "malformed-command"),
    ];
    for (revision, (name, to, body, class)) in (1..).zip(cases) {
        let headers = [("Orrery-Command-Id", name)];
        raw.store(&format!("orrery.do.shop.{to}"), &headers, body).await.expect("it is stored");
        raw.store("orrery.do.test.probe.p", &[], r#"{"type":"touch"}"#).await.expect("it is stored");
        until_revision(bus, &probe("p"), Revision(revision)).await;
        let Entry { class: found, kind, key, payload, caller, reason, .. } =
            dead_letter(bus, CommandId::from_text(name)).await;
        assert_eq!((found.as_str(), format!("{kind}.{key}").as_str()), (class, to), "{reason}");
        assert_eq!(payload.map(|payload| payload.content).as_deref(), Some(body), "{name}");
        assert_eq!(caller.as_deref(), Some("shop"), "{name}");
        assert!(class != "refused" || reason.starts_with("task-not-found: "), "{reason}");
    }
    // Who asked was told, and needs no entry.
    let ask = command("nobody", &Task::Cancel { reason: String::new() });
    assert_eq!(refused(bus, &ask).await, "task-not-found");
    accepted(bus, &touch("p")).await;
    assert!(history(bus, &entry_of(ask.id)).await.is_empty());
    host.stop().await;
}

/// Goal: what was wrong is mended where it lies, and belongs to its request for ever. Method: poison
/// with a correlation and a trace, edited and redriven; the event that comes of it names both.
#[tokio::test(flavor = "multi_thread")]
async fn an_edited_letter_is_redriven_under_its_own_request() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("a", false).await;
    let bus = host.bus();
    let trace = TraceContext::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    let request = CommandId::from_text("the request");
    let poison = Ask { correlation: Some(request), trace, ..command("p", &Probe::Panic) };
    assert_eq!(refused(bus, &poison).await, "poison");
    let entry = entry_of(poison.id);
    dead_letter(bus, poison.id).await;
    let mended = Probe::Touch { note: "mended".into() };
    accepted(bus, &command(&entry, &edit(&mended, Some(probe("q"))))).await;
    let order = command(&entry, &redrive());
    accepted(bus, &order).await;
    let history = until(bus, &entry, "redriven", |event| matches!(event, Event::Redriven { .. })).await;
    assert_eq!(history.len(), 4, "{history:?}");
    let Event::Recorded { entry: recorded } = &history[0] else { panic!("{history:?}") };
    assert_eq!(recorded.payload, Payload::of(&poison.body), "the original stays");
    until_revision(bus, &probe("q"), Revision(1)).await;
    let touched = bus.history(&probe("q"), Revision(0), 0).await.unwrap().remove(0);
    assert_eq!(touched.correlation, Some(request));
    let trace = |traceparent: &Option<String>| traceparent.clone().unwrap_or_default()[3..35].to_owned();
    assert_eq!(trace(&touched.traceparent), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert!(bus.history(&probe("p"), Revision(0), 0).await.unwrap().is_empty());
    assert_eq!(refused(bus, &command(&entry, &redrive())).await, "not-waiting");
    // The answer of an ask that is repeated is the first one, and nothing is sent twice.
    accepted(bus, &order).await;
    accepted(bus, &touch("q")).await;
    until_revision(bus, &probe("q"), Revision(2)).await;
    host.stop().await;
}

/// Goal: a redrive cannot go on for ever, and makes no second entry. Method: a command that its
/// entity always refuses, redriven until that is refused.
#[tokio::test(flavor = "multi_thread")]
async fn what_fails_again_waits_again_until_the_limit() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("a", false).await;
    let bus = host.bus();
    let cancel = command("nobody", &Task::Cancel { reason: String::new() });
    bus.hand_over(&cancel).await.unwrap();
    dead_letter(bus, cancel.id).await;
    let entry = entry_of(cancel.id);
    for number in 1..=10 {
        accepted(bus, &command(&entry, &redrive())).await;
        eventually(&format!("the end of redrive {number}"), || async {
            (history(bus, &entry).await.len() == 1 + 2 * number).then_some(())
        })
        .await;
        let last = history(bus, &entry).await.pop();
        assert!(matches!(&last, Some(Event::Returned { code, .. }) if code == "task-not-found"), "{last:?}");
    }
    assert_eq!(refused(bus, &command(&entry, &redrive())).await, "redrive-limit");
    let dead = bus.state_of(&bus.topology().dead()).await.unwrap();
    assert_eq!(dead.messages, 1, "no redrive left a letter of its own");
    accepted(bus, &command(&entry, &Command::Drop { reason: "enough".into() })).await;
    host.stop().await;
}

/// What the worker of these tests shows.
const TOKEN: &str = "a token";

/// Tells a task what its queue and its worker would, up to the report on its attempt.
async fn begin(bus: &Bus, key: &str, attempt: u32) {
    let agent = Key::parse("nobody").expect("a constant");
    eventually(&format!("attempt {attempt}"), || async {
        let assign = Task::Assign {
            agent: agent.clone(),
            worker: "w".into(),
            claim: CommandId::from_text("a claim"),
            attempt,
            token: Hash::of_token(TOKEN),
            policy: None,
        };
        accepted(bus, &command(key, &assign)).await;
        let renew = Query::Renew { attempt, token: TOKEN.into(), progressed: false };
        let ask = Ask::new(task(key), Body::json(&renew));
        matches!(bus.query(&ask, system_tests::PATIENCE).await, Ok(bus_schemas::Reply::Accepted { .. }))
            .then_some(())
    })
    .await;
}

fn failed(attempt: u32) -> Task {
    let (code, message) = ("broken".to_owned(), "it went wrong".to_owned());
    Task::FailJob {
        attempt,
        token: TOKEN.into(),
        class: FailureClass::Permanent,
        code,
        message,
        hint: None,
        dependency: None,
    }
}

/// Goal: a failed task is one entry, however often it fails, and the entry knows when it is done.
/// Method: it fails, is redriven and fails again, is redriven and completed.
#[tokio::test(flavor = "multi_thread")]
async fn a_failed_task_is_one_entry_until_it_is_done() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("a", false).await;
    let bus = host.bus();
    accepted(bus, &command("t", &Task::Submit(Submit::new("a goal")))).await;
    begin(bus, "t", 1).await;
    accepted(bus, &command("t", &failed(1))).await;
    until(bus, "t-1", "recorded", |event| matches!(event, Event::Recorded { .. })).await;
    accepted(bus, &command("t-1", &redrive())).await;
    begin(bus, "t", 2).await;
    let history =
        until(bus, "t-1", "on its way", |event| matches!(event, Event::RedriveStarted { .. })).await;
    assert_eq!(history.len(), 2, "not done yet: {history:?}");
    accepted(bus, &command("t", &failed(2))).await;
    until(bus, "t-1", "back", |event| matches!(event, Event::Returned { .. })).await;
    accepted(bus, &command("t-1", &redrive())).await;
    begin(bus, "t", 3).await;
    accepted(bus, &command("t", &completed(3))).await;
    let history = until(bus, "t-1", "redriven", |event| matches!(event, Event::Redriven { .. })).await;
    assert_eq!(history.len(), 5, "{history:?}");
    for attempt in [2, 3] {
        assert!(self::history(bus, &format!("t-{attempt}")).await.is_empty(), "there is one entry");
    }
    host.stop().await;
}

/// An attempt is done.
fn completed(attempt: u32) -> Task {
    Task::CompleteJob {
        attempt,
        token: TOKEN.into(),
        steps: vec![],
        artifacts: vec![],
        result: serde_json::Value::Null,
        plan: None,
    }
}

/// Goal: tasks of similar names have entries of their own. Method: the step `b` of `co` fails, and so
/// does the task `co-b`; the latter is tried again and done.
#[tokio::test(flavor = "multi_thread")]
async fn a_step_and_a_task_of_a_similar_name_have_two_entries() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("a", false).await;
    let bus = host.bus();
    let (step, goal, skill) = ("b".into(), "a step".into(), "code".into());
    let input = serde_json::Value::Null;
    let step = PlanStep { step, goal, skill, input, after: vec![], optional: false };
    let planned = Submit { plan: Some(Plan { steps: vec![step] }), ..Submit::new("a goal") };
    accepted(bus, &command("co", &Task::Submit(planned))).await;
    accepted(bus, &command("co-b", &Task::Submit(Submit::new("a goal")))).await;
    for task in ["co.b", "co-b"] {
        begin(bus, task, 1).await;
        accepted(bus, &command(task, &failed(1))).await;
        let entry = format!("{task}-1");
        let history = until(bus, &entry, "recorded", |event| matches!(event, Event::Recorded { .. })).await;
        let Event::Recorded { entry } = &history[0] else { panic!("{history:?}") };
        assert_eq!(entry.key, task);
    }
    accepted(bus, &command("co-b", &Task::Retry { end: None })).await;
    begin(bus, "co-b", 2).await;
    accepted(bus, &command("co-b", &completed(2))).await;
    until(bus, "co-b-1", "redriven", |event| matches!(event, Event::Redriven { .. })).await;
    assert_eq!(history(bus, "co.b-1").await.len(), 1, "it still waits");
    host.stop().await;
}

/// Goal: a failed job says what it was to do, how each attempt failed, and to which request it belongs;
/// edited, it is done as a task of its own for the same request. Method: a task under a request with a
/// trace, whose agent says nothing of either; it fails, is edited, redriven and completed.
#[tokio::test(flavor = "multi_thread")]
async fn a_failed_job_is_edited_and_done_by_another_task_of_its_request() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("a", false).await;
    let bus = host.bus();
    let trace = TraceContext::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    let request = CommandId::from_text("the request");
    let submission = Submit { owner: "ada".into(), skill: "code".into(), ..Submit::new("a gaol") };
    let submit = command("t", &Task::Submit(submission.clone())).caller("ada");
    accepted(bus, &Ask { correlation: Some(request), trace, ..submit }).await;
    begin(bus, "t", 1).await;
    accepted(bus, &command("t", &failed(1))).await;
    let recorded = until(bus, "t-1", "recorded", |event| matches!(event, Event::Recorded { .. })).await;
    let Event::Recorded { entry } = &recorded[0] else { panic!("{recorded:?}") };
    assert_eq!(entry.correlation, request);
    let of_request = |traceparent: &Option<String>| {
        traceparent.as_ref().is_some_and(|trace| trace[3..35] == *"4bf92f3577b34da6a3ce929d0e0e4736")
    };
    assert!(of_request(&entry.traceparent), "{:?}", entry.traceparent);
    let cause = "attempt 1 failed as permanent, by worker `w` of agent `nobody`: broken: it went wrong";
    assert_eq!(entry.causes, [cause]);
    let payload = entry.payload.as_ref().and_then(Payload::body).expect("what was submitted");
    assert_eq!(payload.read::<Task>().expect("a command"), Task::Submit(submission.clone()));
    let of_task = |name: &str| EntityAddress::new(Task::KIND, Key::parse(name).expect("a test's key"));
    for event in bus.history(&of_task("t"), Revision(0), 0).await.unwrap() {
        assert_eq!(event.correlation, Some(request), "{}", event.event.event_type);
    }

    let mended = Task::Submit(Submit { goal: "a goal".into(), ..submission });
    let payload = Payload::of(&Body::json(&mended)).expect("it is small");
    let edit = Command::Edit { payload, to: None, reason: "a typo".into() };
    accepted(bus, &command("t-1", &edit)).await;
    accepted(bus, &command("t-1", &redrive())).await;
    begin(bus, "t-1-r1", 1).await;
    accepted(bus, &command("t-1-r1", &failed(1))).await;
    until(bus, "t-1", "back", |event| matches!(event, Event::Returned { .. })).await;
    assert!(self::history(bus, "t-1-r1-1").await.is_empty(), "what fails again is the same entry");
    accepted(bus, &command("t-1", &redrive())).await;
    begin(bus, "t-1-r2", 1).await;
    accepted(bus, &command("t-1-r2", &completed(1))).await;
    until(bus, "t-1", "redriven", |event| matches!(event, Event::Redriven { .. })).await;
    for event in bus.history(&of_task("t-1-r2"), Revision(0), 0).await.unwrap() {
        assert_eq!(event.correlation, Some(request), "{}", event.event.event_type);
        assert!(of_request(&event.traceparent), "{:?}", event.traceparent);
    }
    host.stop().await;
}
