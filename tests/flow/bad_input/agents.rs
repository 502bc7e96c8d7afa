//! Bad input on the agents' side: jobs that are none, reports that fit nothing, output without bound.

use bus_client::Profile;
use bus_schemas::commands::task::{Command, Submit};
use bus_schemas::events::task::Event;
use bus_schemas::{CommandId, Hash};
use system_tests::agents::{GATE, Gate, Told, settled, task};
use system_tests::edge::Edge;
use system_tests::raw::{Raw, dead_payload};
use system_tests::{Server, accepted, command, eventually};

use super::events;

fn submit(skill: &str) -> Command {
    Command::Submit(Submit { skill: skill.into(), ..Submit::new("nothing") })
}

/// Goal: a job that nobody can read blocks no queue. Method: garbage in front of real work.
#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_job_is_buried_and_the_queue_goes_on() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("a", true).await;
    let (raw, bus) = (Raw::connect(&server).await, host.bus());
    for body in ["", "garbage", "[]", r#"{"id":"t/1"}"#, r#"{"id":"t/1","task":{"kind":"task","key":"a b"}}"#]
    {
        raw.store("orrery.job.no-op", &[], body).await.expect("it is stored");
        assert_eq!(dead_payload(bus, "job", &Hash::of(body.as_bytes()).to_hex()).await, body);
    }
    accepted(bus, &command("t", &submit("noop"))).await;
    assert!(matches!(settled(bus, "t").await, Event::Completed { .. }));
    eventually("an empty job queue", || async {
        let state = bus.state_of(&bus.topology().jobs()).await.ok()?;
        (state.messages == 0).then_some(())
    })
    .await;
    host.stop().await;
}

/// Goal: a job for an attempt that its task does not know is not worked on, and does not come again.
/// Method: well-formed jobs for a task that is not there and for an attempt of the future.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_nobody_wants_is_forgotten() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("a", false).await;
    let (raw, bus) = (Raw::connect(&server).await, host.bus());
    let mut gate = Gate::start(bus);
    accepted(bus, &command("t", &submit(GATE))).await;
    gate.until("t", Told::Started).await;
    for (key, attempt) in [("nothing", 1), ("t", 9)] {
        let job = serde_json::json!({
            "id": format!("{key}/{attempt}"), "task": {"kind": "task", "key": key}, "attempt": attempt,
            "agent": GATE, "skill": GATE, "goal": "x", "lease_ms": 30_000,
            "correlation": CommandId::from_text("stray"),
        });
        raw.store("orrery.job.gate", &[], job.to_string()).await.expect("it is stored");
    }
    gate.open();
    assert!(matches!(settled(bus, "t").await, Event::Completed { .. }));
    eventually("an empty job queue", || async {
        let state = bus.state_of(&bus.topology().jobs()).await.ok()?;
        (state.messages == 0).then_some(())
    })
    .await;
    let started = events(bus, &task("t")).await.iter().filter(|name| *name == "job-started").count();
    assert_eq!(started, 1, "the stray attempt was never begun");
    assert!(events(bus, &task("nothing")).await.is_empty());
    gate.stop().await;
    host.stop().await;
}

/// Goal: a report that does not fit is refused by code, and the attempt that runs is not hurt.
/// Method: one report for each mistake while the job waits; then the real one.
#[tokio::test(flavor = "multi_thread")]
async fn reports_that_do_not_fit_are_refused() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("a", false).await;
    let (raw, bus) = (Raw::connect(&server).await, host.bus());
    let mut gate = Gate::start(bus);
    accepted(bus, &command("t", &submit(GATE))).await;
    gate.until("t", Told::Started).await;
    let before = eventually("the events of the start", || async {
        let events = events(bus, &task("t")).await;
        (events.last()? == "job-started").then_some(events)
    })
    .await;
    let artifact = |hash: &str| {
        format!(
            r#"{{"type":"complete-job","attempt":1,"artifacts":[{{"name":"a","media_type":"b","hash":"{hash}","bytes":1}}]}}"#
        )
    };
    let many = format!(
        r#"{{"type":"complete-job","attempt":1,"artifacts":[{}]}}"#,
        vec![format!(r#"{{"name":"a","media_type":"b","hash":"{}","bytes":1}}"#, "0".repeat(64)); 1_001]
            .join(",")
    );
    let cases = [
        (r#"{"type":"complete-job","attempt":2}"#.to_owned(), "stale-attempt"),
        (r#"{"type":"complete-job","attempt":0}"#.to_owned(), "stale-attempt"),
        (r#"{"type":"complete-job","attempt":-1}"#.to_owned(), "malformed-command"),
        (r#"{"type":"complete-job","attempt":4294967296}"#.to_owned(), "malformed-command"),
        (r#"{"type":"renew-lease","attempt":7}"#.to_owned(), "stale-attempt"),
        (r#"{"type":"start-job","attempt":1,"worker":"stranger"}"#.to_owned(), "attempt-taken"),
        (artifact("zz"), "malformed-command"),
        (artifact(&"0".repeat(63)), "malformed-command"),
        (artifact(&"G".repeat(64)), "malformed-command"),
        (many, "too-many-artifacts"),
        (
            r#"{"type":"fail-job","attempt":1,"class":"sad","code":"c","message":"m"}"#.to_owned(),
            "malformed-command",
        ),
        (
            r#"{"type":"record-effect","attempt":1,"effect":"e","step":"completed"}"#.to_owned(),
            "illegal-effect-step",
        ),
        (
            r#"{"type":"record-effect","attempt":1,"effect":"","step":"intended"}"#.to_owned(),
            "invalid-effect",
        ),
    ];
    for (body, wanted) in cases {
        let code = eventually("an answer", || async {
            let answer = raw.request("orrery.request.task.t", &[], body.clone()).await.code();
            (answer != "nobody").then_some(answer)
        })
        .await;
        assert_eq!(code, wanted, "{}", &body[..body.len().min(200)]);
    }
    let nobody =
        raw.request("orrery.request.task.nothing", &[], r#"{"type":"complete-job","attempt":1}"#).await;
    assert_eq!(nobody.code(), "task-not-found");
    assert_eq!(events(bus, &task("t")).await, before, "nothing happened");
    gate.open();
    assert!(matches!(settled(bus, "t").await, Event::Completed { .. }));
    gate.stop().await;
    host.stop().await;
}

/// Goal: output is for people and can not hurt: what is too long, unreadable or of nobody leaves the
/// task and its readers as they are. Method: bad chunks beside a good one; a client reads the stream
/// with output to its end.
#[tokio::test(flavor = "multi_thread")]
async fn bad_output_hurts_nobody() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("a", false).await;
    let (raw, bus) = (Raw::connect(&server).await, host.bus());
    let mut gate = Gate::start(bus);
    let edge = Edge::start(bus, &server.directory().join("gateway")).await;
    accepted(bus, &command("t", &submit(GATE))).await;
    gate.until("t", Told::Started).await;
    let chunk = |number: u64, text: &str| serde_json::json!({"attempt": 1, "number": number, "text": text});
    raw.publish("orrery.out.t", chunk(1, &"x".repeat(500_000)).to_string()).await;
    raw.publish("orrery.out.t", "garbage").await;
    raw.publish("orrery.out.t", r#"{"attempt":-1}"#).await;
    raw.publish("orrery.out.nothing", chunk(1, "stray").to_string()).await;
    raw.publish("orrery.out.t", chunk(2, "good").to_string()).await;
    let path = "/v1/tasks/t/events?output=true";
    let until_good = edge.events(path, None, |sent| sent.data["text"] == "good").await;
    let output: Vec<_> = until_good.iter().filter(|sent| sent.name == "output").collect();
    assert!(output.iter().all(|sent| sent.data["task"] == "t"));
    let longest = output.iter().map(|sent| sent.data["text"].as_str().map_or(0, str::len)).max();
    assert!(longest.is_some_and(|bytes| bytes <= 64 * 1024), "a chunk of {longest:?} bytes came through");
    gate.open();
    let whole = edge.events(path, None, |_| false).await;
    assert_eq!(whole.last().map(|sent| sent.name.as_str()), Some("end"));
    assert!(matches!(settled(bus, "t").await, Event::Completed { .. }));
    edge.stop().await;
    gate.stop().await;
    host.stop().await;
}
