//! halt: nothing begins any more, what runs is taken back, and work goes on when the halt ends.

use std::sync::Arc;
use std::time::Duration;

use actors_worker::{Agent, Done, Effect, Failure, Work, Worker};
use bus_client::{Ask, Bus, Profile};
use bus_schemas::commands::agent::{AgentCard, Skill};
use bus_schemas::commands::halt::Command as Halt;
use bus_schemas::commands::healer::Command as Healer;
use bus_schemas::commands::lane;
use bus_schemas::commands::task::{Command, Query, Submit};
use bus_schemas::jobs::EffectStep;
use bus_schemas::views::lane::{Lane, Limit};
use bus_schemas::{EntityAddress, Key, Kind, Reply, Revision};
use futures::future::BoxFuture;
use serde_json::Value;
use system_tests::agents::{GATE, Gate, Seen, task};
use system_tests::{PATIENCE, Server, accepted, command, eventually, plain, query, refused, view};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

fn halt(scope: &str) -> Ask {
    halt_with(scope, 100)
}

fn halt_with(scope: &str, grace_ms: u64) -> Ask {
    command(scope, &Halt::Halt { reason: "fire".into(), grace_ms })
}

fn resume(scope: &str) -> Ask {
    command(scope, &Halt::Resume { reason: "out".into(), per_minute: None, revision: None })
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
    view(bus, &query("default", &lane::Query::Describe)).await.expect("a lane")
}

/// The longest time from a resume to the first job, on a busy machine: long before anything looks for work that was
/// forgotten.
const AT_ONCE: Duration = Duration::from_secs(5);

/// Goal: a halt stops what runs, lets nothing begin, refuses new work with its reason, survives its
/// host, and costs no attempt; work goes on at once when it ends. Method: a job at a closed gate for each scope
/// that covers it, a new host, and then the resume. A job that is refused as `halted` would be given back.
#[tokio::test(flavor = "multi_thread")]
async fn a_halt_takes_work_back_until_it_is_ended() {
    let server = Server::start(Profile::Fast).await;
    let mut host = server.host("a", false).await;
    let bus = server.bus().await;
    let mut gate = Gate::start(&bus);
    // A task each: what is taken back again and again waits longer each time.
    for (key, scope) in [("a", "all"), ("b", "lane.default"), ("c", "agent.gate"), ("t", "task.t")] {
        accepted(&bus, &submit(key)).await;
        gate.until(key, Seen::Started).await;
        accepted(&bus, &halt(scope)).await;
        gate.until(key, Seen::Canceled).await;
        eventually("the attempt is taken back", || async {
            (count(&bus, key, "attempt-withdrawn").await == 1).then_some(())
        })
        .await;
        if scope == "all" {
            eventually("the lane holds it", || async {
                let held = lane(&bus).await;
                (held.waiting == 1 && held.blocks.first()?.what == Limit::Held).then_some(())
            })
            .await;
            assert_eq!(refused(&bus, &submit("u")).await, "halted");
            host.stop().await;
            host = server.host("b", false).await;
            assert_eq!(refused(&bus, &submit("u")).await, "halted", "another host knows it too");
        }
        accepted(&bus, &resume(scope)).await;
        let resumed = Instant::now();
        gate.until(key, Seen::Started).await;
        let after = resumed.elapsed();
        assert!(after < AT_ONCE, "the first job after the end of `{scope}` begins after {after:?}");
        if key != "t" {
            accepted(&bus, &command(key, &Command::Cancel { reason: String::new() })).await;
            gate.until(key, Seen::Canceled).await;
        }
    }
    gate.open();
    eventually("it completes", || async { (count(&bus, "t", "completed").await == 1).then_some(()) }).await;
    for key in ["a", "b", "c", "t"] {
        // No attempt was used up, and none was refused after the resume.
        for (event, times) in [("attempt-failed", 0), ("attempt-withdrawn", 1), ("job-issued", 2)] {
            assert_eq!(count(&bus, key, event).await, times, "{event} of `{key}`");
        }
    }
    accepted(&bus, &submit("u")).await;
    gate.stop().await;
    host.stop().await;
}

/// Goal: a halt without a reason, of nothing, or ended twice is refused. Method: one of each.
#[tokio::test(flavor = "multi_thread")]
async fn a_halt_says_why_and_what() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("a", false).await;
    let bus = host.bus();
    let mute = command("all", &Halt::Halt { reason: String::new(), grace_ms: 0 });
    assert_eq!(refused(bus, &mute).await, "reason-missing");
    assert_eq!(refused(bus, &halt("everything")).await, "unknown-scope");
    assert_eq!(refused(bus, &resume("all")).await, "not-halted");
    host.stop().await;
}

/// The skill of the [`Payer`], and its name.
const PAYER: &str = "payer";

/// An agent whose only effect goes on until the test lets it end, whatever it is told.
struct Payer {
    begun: watch::Sender<bool>,
    may_end: watch::Receiver<bool>,
}

fn card(name: &str) -> AgentCard {
    let skill = Skill { id: name.into(), name: name.into(), ..Skill::default() };
    AgentCard {
        name: Key::parse(name).expect("a constant"),
        description: "an agent of a test".into(),
        version: "1".into(),
        skills: vec![skill],
        dependencies: Vec::new(),
    }
}

impl Agent for Payer {
    fn card(&self) -> AgentCard {
        card(PAYER)
    }

    fn run(&self, work: Work) -> BoxFuture<'static, Result<Done, Failure>> {
        let (begun, mut may_end) = (self.begun.clone(), self.may_end.clone());
        Box::pin(async move {
            let pay = async |_| {
                begun.send_replace(true);
                let ended = may_end.wait_for(|may| *may).await;
                ended.map(|_| Value::from("a receipt")).map_err(|_| Failure::canceled())
            };
            work.effect(Effect::new("pay"), pay).await?;
            Ok(Done::default())
        })
    }
}

/// Goal: what is under way may end within the grace, and is not done again. Method: an effect that takes
/// longer than a lane needs to hear of the halt and shorter than the grace; one attempt only.
#[tokio::test(flavor = "multi_thread")]
async fn what_ends_within_its_grace_counts_and_is_not_done_again() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("a", false).await;
    let bus = server.bus().await;
    let (begun, mut has_begun) = watch::channel(false);
    let (end, may_end) = watch::channel(false);
    let stop = CancellationToken::new();
    let worker = Worker::new(bus.clone(), Arc::new(Payer { begun, may_end }), "payer-1", 1);
    let working = tokio::spawn(worker.run(stop.clone()));
    let submission = Submit { skill: PAYER.into(), attempts_max: Some(1), ..Submit::new("pay") };
    accepted(&bus, &command("bill", &Command::Submit(submission))).await;
    has_begun.wait_for(|begun| *begun).await.expect("the effect begins");
    accepted(&bus, &halt_with("all", 60_000)).await;
    // The lane has heard of it, and the worker's next command comes behind that.
    eventually("the lane to hold", || async {
        let blocks = lane(&bus).await.blocks;
        blocks.iter().any(|block| block.what == Limit::Held).then_some(())
    })
    .await;
    assert_eq!(count(&bus, "bill", "attempt-withdrawn").await, 0, "it has its grace");
    end.send_replace(true);
    eventually("it completes", || async { (count(&bus, "bill", "completed").await == 1).then_some(()) })
        .await;
    for (event, times) in [("job-issued", 1), ("attempt-withdrawn", 0), ("attempt-failed", 0)] {
        assert_eq!(count(&bus, "bill", event).await, times, "{event}");
    }
    accepted(&bus, &resume("all")).await;
    stop.cancel();
    working.await.expect("no panic").expect("it ends well");
    host.stop().await;
}

/// Goal: a halt holds where nobody answers for the lane, and for a worker that does not follow halts.
/// Method: the lane is kept apart, and a worker that speaks the protocol and nothing more goes on.
#[tokio::test(flavor = "multi_thread")]
async fn the_host_lets_nothing_begin_where_the_lane_does_not_answer() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("a", false).await;
    let bus = server.bus().await;
    plain::register(&bus, plain::WORKER).await;
    let submission = Submit { skill: plain::AGENT.into(), ..Submit::new("ask") };
    accepted(&bus, &command("t", &Command::Submit(submission))).await;
    let job = plain::next_job(&mut plain::connection(&bus).await, plain::WORKER).await;
    let renew = || query("t", &Query::Renew { attempt: 1, token: job.token.clone(), progressed: true });
    let effect = |name: &str, step| {
        let (token, effect, detail) = (job.token.clone(), name.into(), String::new());
        command(
            "t",
            &Command::RecordEffect {
                attempt: 1,
                token,
                effect,
                step,
                detail,
                key: None,
                result: Value::Null,
            },
        )
    };
    assert!(view::<Value>(&bus, &renew()).await.is_some(), "the attempt begins");
    accepted(&bus, &effect("pay", EffectStep::Intended)).await;
    accepted(&bus, &effect("pay", EffectStep::Started)).await;
    accepted(&bus, &effect("mail", EffectStep::Intended)).await;
    let entity = EntityAddress::new(Kind::from_static("lane"), Key::parse("default").expect("a key"));
    let quarantine =
        Healer::Quarantine { entity, reason: "a lane without owner".into(), evidence: Default::default() };
    accepted(&bus, &command("quarantine", &quarantine)).await;
    let until_refused = async |what: &str, ask: &Ask, wanted: &str| {
        eventually(what, || async {
            let Reply::Refused { refusal, .. } = bus.query(ask, PATIENCE).await.expect("an answer") else {
                return None;
            };
            (refusal.code == wanted).then_some(())
        })
        .await;
    };
    let describe = query("default", &lane::Query::Describe);
    until_refused("the lane to be silent", &describe, "entity-quarantined").await;
    accepted(&bus, &halt("all")).await;
    until_refused("the grace to be over", &renew(), "halted").await;
    assert_eq!(refused(&bus, &effect("mail", EffectStep::Started)).await, "halted");
    // What is under way may end.
    accepted(&bus, &effect("pay", EffectStep::Completed)).await;
    accepted(&bus, &command("t", &plain::complete(&job))).await;
    host.stop().await;
}
