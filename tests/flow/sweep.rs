//! The sweeper: what a lost message left standing goes on by itself, and somebody says so.

use std::time::Duration;

use actors_host::Config;
use actors_host::config::SweepAfter;
use bus_client::{Bus, EventQuery, Profile};
use bus_schemas::commands::healer::{Action, Command as Healer};
use bus_schemas::commands::lane::{self, Outcome};
use bus_schemas::commands::queue;
use bus_schemas::commands::task::{Command, Query, Submit};
use bus_schemas::events::healer::Event as Healed;
use bus_schemas::events::task::Event;
use bus_schemas::settings;
use bus_schemas::views::lane::Waiting;
use bus_schemas::wire::WireCommand;
use bus_schemas::{Key, upcast};
use futures::TryStreamExt;
use serde_json::Value;
use system_tests::agents::{GATE, Gate, settled, task};
use system_tests::{Server, accepted, command, eventually, query, until_revision, view};

/// A host that looks after tasks which have not changed for a second.
async fn host(server: &Server, name: &str) -> actors_host::Running {
    let config = Config {
        data_dir: server.directory().join(name),
        nats: server.config(),
        host_name: Some(name.to_owned()),
        agents: false,
        sweep_after: SweepAfter(settings::Duration::from_secs(1)),
        ..Config::default()
    };
    let running = actors_host::start(&config, Vec::new()).await.expect("the host starts");
    running.ready().await.expect("every partition answers");
    running
}

async fn submit(bus: &Bus, key: &str, skill: &str) {
    let submit = Submit { skill: skill.into(), ..Submit::new("wait at the gate") };
    let revision = accepted(bus, &command(key, &Command::Submit(submit))).await;
    until_revision(bus, &task(key), revision).await;
}

/// The queue of the default lane in which a task waits.
fn queue_of(bus: &Bus, key: &str) -> String {
    let partitions = bus.topology().partitions;
    let partition = task(key).partition(partitions);
    queue::key(&Key::parse("default").expect("a constant"), partition, partitions).to_string()
}

async fn in_queue(bus: &Bus, key: &str) -> Waiting {
    let explain = queue::Query::Explain { task: task(key).key };
    view(bus, &query(&queue_of(bus, key), &explain)).await.expect("what it waits for")
}

/// Lets the queue forget a task, as after a lost message.
async fn forget(bus: &Bus, key: &str) {
    let release = queue::Command::Release { task: task(key).key, attempt: 1, outcome: Outcome::Withdrawn };
    accepted(bus, &command(&queue_of(bus, key), &release)).await;
}

/// What healers noted of a task.
async fn acts(bus: &Bus, key: &str) -> Vec<Action> {
    let query = EventQuery { subjects: vec![bus.subjects().events(Some(&Healer::KIND))], from: 0 };
    let mut events = bus.events_until_now(query).await.expect("the events");
    let mut acts = Vec::new();
    while let Some(stored) = events.try_next().await.expect("an event") {
        let event = stored.event;
        let read = upcast::read(&event.event_type, event.schema, &event.body).expect("it can be read");
        if let Healed::Acted(act) = read
            && act.subject == task(key).to_string()
        {
            acts.push(act.action);
        }
    }
    acts
}

/// Goal: a task that its lane has forgotten completes by itself; exactly one of the hosts sees to it and
/// says so; and one that waits for an agent which is not there is left alone. Method: a `release` that
/// nobody sent, on two hosts that look after a second.
#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_its_lane_forgot_goes_on_by_itself() {
    let server = Server::start(Profile::Fast).await;
    let (one, two) = (host(&server, "one").await, host(&server, "two").await);
    let bus = server.bus().await;
    submit(&bus, "forgotten", GATE).await;
    submit(&bus, "patient", "juggling").await;
    eventually("the lane knows them", || async {
        (in_queue(&bus, "forgotten").await.waits && in_queue(&bus, "patient").await.waits).then_some(())
    })
    .await;
    forget(&bus, "forgotten").await;
    let gate = Gate::start(&bus);
    gate.open();
    let end = settled(&bus, "forgotten").await;
    assert!(matches!(end, Event::Completed { .. }), "{end:?}");
    let noted = eventually("what was done is noted", || async {
        let acts = acts(&bus, "forgotten").await;
        acts.contains(&Action::Clear).then_some(acts)
    })
    .await;
    assert_eq!(noted, [Action::Sweep, Action::Clear], "one host, once");
    // The other one was due before that, and was looked at.
    assert!(in_queue(&bus, "patient").await.waits);
    assert_eq!(acts(&bus, "patient").await, []);
    gate.stop().await;
    one.stop().await;
    two.stop().await;
}

/// Goal: what a lane holds for a halt that nobody knows of goes on by itself. Method: a `hold` that no halt
/// sent, as is left of one whose end was lost.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_for_a_halt_that_does_not_stand_goes_on_by_itself() {
    let server = Server::start(Profile::Fast).await;
    let host = host(&server, "one").await;
    let bus = server.bus().await;
    let hold = lane::Command::Hold {
        cause: "halt/all".into(),
        scope: lane::HoldScope::Lane,
        reason: "a fire that is out".into(),
        interrupt: true,
        grace_ms: 0,
    };
    accepted(&bus, &command("default", &hold)).await;
    let gate = Gate::start(&bus);
    gate.open();
    submit(&bus, "held", GATE).await;
    let end = settled(&bus, "held").await;
    assert!(matches!(end, Event::Completed { .. }), "{end:?}");
    eventually("what was done is noted", || async {
        (acts(&bus, "held").await == [Action::Sweep, Action::Clear]).then_some(())
    })
    .await;
    gate.stop().await;
    host.stop().await;
}

/// Goal: a task that takes no commands is left alone: a sweep would become a dead letter, and nobody is to say
/// that it is stuck. Method: a forgotten task in quarantine, beside one that is
/// looked at later and is swept.
#[tokio::test(flavor = "multi_thread")]
async fn a_task_in_quarantine_is_left_alone() {
    let server = Server::start(Profile::Fast).await;
    let host = host(&server, "one").await;
    let bus = server.bus().await;
    let wait = async |key: &str| {
        submit(&bus, key, "juggling").await;
        eventually("the queue knows it", || async { in_queue(&bus, key).await.waits.then_some(()) }).await;
    };
    let quarantine =
        Healer::Quarantine { entity: task("kept"), reason: "a test".into(), evidence: Default::default() };
    wait("kept").await;
    accepted(&bus, &command("quarantine", &quarantine)).await;
    eventually("the host to know", || async {
        let kept: Option<Value> = view(&bus, &query("kept", &Query::Explain)).await;
        kept.is_none().then_some(())
    })
    .await;
    forget(&bus, "kept").await;
    wait("later").await;
    forget(&bus, "later").await;
    eventually("the other one is swept", || async {
        acts(&bus, "later").await.contains(&Action::Sweep).then_some(())
    })
    .await;
    assert_eq!(acts(&bus, "kept").await, []);
    host.stop().await;
}

/// Goal: who does not want the sweeper has none. Method: `0`, in every way in which it can be written.
#[test]
fn it_can_be_turned_off() {
    assert_eq!(SweepAfter::default().duration(), Some(Duration::from_secs(600)));
    for off in ["0", "0s"] {
        let (config, mistakes) = Config::read(None, [("ORRERY__SWEEP_AFTER".into(), off.into())].into_iter());
        assert_eq!((config.sweep_after.duration(), mistakes), (None, vec![]), "{off}");
    }
    for wrong in ["10", "soon", "500ms"] {
        let variable = [("ORRERY__SWEEP_AFTER".into(), wrong.into())].into_iter();
        let (_, mistakes) = Config::read(None, variable);
        assert_eq!(mistakes.len(), 1, "{wrong}");
        assert_eq!(mistakes[0].setting, "sweep_after");
    }
}
