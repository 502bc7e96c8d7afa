//! Bad input on the agents' side: jobs that are none, reports that fit nothing, output without bound.

use bus_client::Profile;
use bus_schemas::commands::task::{Command, Submit};
use bus_schemas::events::task::Event;
use system_tests::agents::{GATE, Gate, Seen, settled, task};
use system_tests::edge::Edge;
use system_tests::raw::Raw;
use system_tests::{Server, accepted, command, eventually, plain};

use super::events;

fn submit(skill: &str) -> Command {
    Command::Submit(Submit { skill: skill.into(), ..Submit::new("nothing") })
}

/// Goal: a report that does not fit is refused by code, and the attempt that runs is not hurt.
/// Method: one report for each mistake while the job waits; then the real one.
#[tokio::test(flavor = "multi_thread")]
async fn reports_that_do_not_fit_are_refused() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("a", false).await;
    let (raw, bus) = (Raw::connect(&server).await, host.bus());
    plain::register(bus, plain::WORKER).await;
    accepted(bus, &command("t", &submit(plain::AGENT))).await;
    let job = plain::next_job(&mut plain::connection(bus).await, plain::WORKER).await;
    let before = eventually("the events of the start", || async {
        let events = events(bus, &task("t")).await;
        (events.last()? == "job-issued").then_some(events)
    })
    .await;
    let token = &job.token;
    let report = |of: &str, rest: &str| format!(r#"{{"type":"{of}","attempt":1,"token":"{token}",{rest}}}"#);
    let listed = |hash: &str| format!(r#"{{"name":"a","media_type":"b","hash":"{hash}","bytes":1}}"#);
    let artifact = |hash: &str| report("complete-job", &format!(r#""artifacts":[{}]"#, listed(hash)));
    let many = vec![listed(&"0".repeat(64)); 1_001].join(",");
    let many = report("complete-job", &format!(r#""artifacts":[{many}]"#));
    let with = |attempt: &str| format!(r#"{{"type":"complete-job","attempt":{attempt},"token":"{token}"}}"#);
    let cases = [
        (with("2"), "stale-attempt"),
        (with("0"), "stale-attempt"),
        (with("-1"), "malformed-command"),
        (with("4294967296"), "malformed-command"),
        (r#"{"type":"complete-job","attempt":1}"#.to_owned(), "malformed-command"),
        (r#"{"type":"complete-job","attempt":1,"token":"guessed"}"#.to_owned(), "stale-attempt"),
        (artifact("zz"), "malformed-command"),
        (artifact(&"0".repeat(63)), "malformed-command"),
        (artifact(&"G".repeat(64)), "malformed-command"),
        (many, "too-many-artifacts"),
        (report("fail-job", r#""class":"sad","code":"c","message":"m""#), "malformed-command"),
        (report("record-effect", r#""effect":"e","step":"completed""#), "illegal-effect-step"),
        (report("record-effect", r#""effect":"","step":"intended""#), "invalid-effect"),
        (report("record-step", r#""steps":[]"#), "invalid-step"),
    ];
    for (body, wanted) in cases {
        let code = eventually("an answer", || async {
            let answer = raw.request("orrery.request.test.task.t", &[], body.clone()).await.code();
            (answer != "nobody").then_some(answer)
        })
        .await;
        assert_eq!(code, wanted, "{}", &body[..body.len().min(200)]);
    }
    let nobody = raw.request("orrery.request.test.task.nothing", &[], with("1")).await;
    assert_eq!(nobody.code(), "task-not-found");
    assert_eq!(events(bus, &task("t")).await, before, "nothing happened");
    accepted(bus, &command("t", &plain::complete(&job))).await;
    assert!(matches!(settled(bus, "t").await, Event::Completed { .. }));
    host.stop().await;
}

/// Goal: output is for people and cannot hurt: what is too long, unreadable or of nobody leaves the
/// task and its readers as they are. Method: bad chunks beside a good one; a client reads the stream
/// with output to its end.
#[tokio::test(flavor = "multi_thread")]
async fn bad_output_hurts_nobody() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("a", false).await;
    let (raw, bus) = (Raw::insider(&server).await, host.bus());
    let mut gate = Gate::start(bus);
    let edge = Edge::start(bus, &server.directory().join("gateway")).await;
    accepted(bus, &command("t", &submit(GATE))).await;
    gate.until("t", Seen::Started).await;
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
