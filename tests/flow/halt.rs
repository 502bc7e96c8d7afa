//! halt: nothing begins any more, what runs is taken back, and work goes on when the halt is lifted.

use bus_client::{Ask, Bus, Profile};
use bus_schemas::commands::broker;
use bus_schemas::commands::halt::Command as Halt;
use bus_schemas::commands::task::{Command, Submit};
use bus_schemas::views::lane::{Lane, Limit};
use bus_schemas::{Reply, Revision};
use system_tests::agents::{GATE, Gate, Told, task};
use system_tests::{PATIENCE, Server, accepted, command, eventually, refused};

fn halt(scope: &str) -> Ask {
    command(scope, &Halt::Halt { reason: "fire".into(), by: "a test".into(), grace_ms: 100 })
}

fn lift(scope: &str) -> Ask {
    command(scope, &Halt::Lift { reason: "out".into(), by: "a test".into(), per_minute: None })
}

fn submit(key: &str) -> Ask {
    let submission = Submit { skill: GATE.into(), attempts_max: Some(1), ..Submit::new("wait at the gate") };
    command(key, &Command::Submit(submission))
}

/// How often something happened to a task.
async fn count(bus: &Bus, key: &str, event_type: &str) -> usize {
    let history = bus.history(&task(key), Revision(0), 0).await.expect("a history");
    history.iter().filter(|stored| stored.event.event_type == event_type).count()
}

async fn lane(bus: &Bus) -> Lane {
    let answer = bus.ask(&command("default", &broker::Command::Describe), PATIENCE).await.expect("an answer");
    let Reply::Accepted { result, .. } = answer else { panic!("{answer:?}") };
    serde_json::from_value(result).expect("a lane")
}

/// Goal: a halt stops what runs, lets nothing begin, refuses new work with its reason, survives its
/// host, and costs no attempt. Method: a job at a closed gate, each scope that covers it, a new host,
/// and then the lift.
#[tokio::test(flavor = "multi_thread")]
async fn a_halt_takes_work_back_until_it_is_lifted() {
    let server = Server::start(Profile::Fast).await;
    let mut host = server.host("a", false).await;
    let bus = server.bus().await;
    let mut gate = Gate::start(&bus);
    accepted(&bus, &submit("t")).await;
    gate.until("t", Told::Started).await;
    for (round, scope) in (1..).zip(["all", "lane.default", "agent.gate", "task.t"]) {
        accepted(&bus, &halt(scope)).await;
        gate.until("t", Told::Canceled).await;
        eventually("the attempt is taken back", || async {
            (count(&bus, "t", "attempt-withdrawn").await == round).then_some(())
        })
        .await;
        if scope == "all" {
            let held = lane(&bus).await;
            assert_eq!((held.waiting, held.blocks[0].what), (1, Limit::Held), "{held:?}");
            assert_eq!(refused(&bus, &submit("u")).await, "halted");
            host.stop().await;
            host = server.host("b", false).await;
            assert_eq!(refused(&bus, &submit("u")).await, "halted", "another host knows it too");
        }
        accepted(&bus, &lift(scope)).await;
        gate.until("t", Told::Started).await;
    }
    gate.open();
    eventually("it completes", || async { (count(&bus, "t", "completed").await == 1).then_some(()) }).await;
    assert_eq!(count(&bus, "t", "attempt-failed").await, 0, "no attempt was used up");
    accepted(&bus, &submit("u")).await;
    gate.stop().await;
    host.stop().await;
}

/// Goal: a halt without a reason, of nothing, or lifted twice is refused. Method: one of each.
#[tokio::test(flavor = "multi_thread")]
async fn a_halt_says_why_and_what() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("a", false).await;
    let bus = host.bus();
    let mute = command("all", &Halt::Halt { reason: String::new(), by: String::new(), grace_ms: 0 });
    assert_eq!(refused(bus, &mute).await, "reason-missing");
    assert_eq!(refused(bus, &halt("everything")).await, "unknown-scope");
    assert_eq!(refused(bus, &lift("all")).await, "not-halted");
    host.stop().await;
}
