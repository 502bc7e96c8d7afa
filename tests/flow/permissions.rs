//! Who comes to the embedded server without a name: what is theirs works, and what hosts trust they cannot write.

use std::time::Duration;

use async_nats::jetstream;
use bus_client::{Bus, NatsConfig, Profile};
use bus_schemas::commands::task::{Command as Task, Submit};
use bus_schemas::jobs::StepResult;
use bus_schemas::{CommandId, Hash, kinds};
use futures::{StreamExt, TryStreamExt};
use system_tests::raw::{Raw, dead_letter};
use system_tests::{PATIENCE, Server, accepted, command, eventually, plain, touch};

/// How long somebody waits for an answer that never comes.
const NEVER: Duration = Duration::from_millis(300);

/// Goal: a service without credentials does what the README shows: it hands over, asks, follows events, and reads
/// blobs. Method: a plain client, with the subjects of the protocol.
#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_name_asks_and_reads() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("a", false).await;
    let (raw, bus) = (Raw::connect(&server).await, server.bus().await);
    raw.store("orrery.do.me.probe.p", &[], r#"{"type":"touch"}"#).await.expect("it is handed over");
    raw.store("orrery.do.me.probe.p.q", &[], r#"{"type":"touch"}"#).await.expect("so is a key with steps");
    assert_eq!(raw.request("orrery.request.me.probe.r", &[], r#"{"type":"touch"}"#).await.code(), "accepted");
    let hash = bus.put_blob(b"a large body").await.expect("a blob");
    // The blob store keeps an object as pieces in a stream, and its name as another message.
    let piece = raw.next_after("OBJ_orrery_blobs", "$O.orrery_blobs.C.>", 0).await.expect("a piece");
    assert_eq!((&piece.1[..], hash.to_hex().len()), (&b"a large body"[..], 64));
    let mut heard = raw.client.subscribe("orrery.evt.probe.>").await.expect("a subject");
    raw.client.flush().await.expect("the server listens");
    assert_eq!(raw.request("orrery.request.me.probe.s", &[], r#"{"type":"touch"}"#).await.code(), "accepted");
    tokio::time::timeout(PATIENCE, heard.next()).await.expect("in time").expect("an event");
    let (mut sequence, mut events) = (0, 0);
    while events < 4 {
        let found =
            eventually("an event", || raw.next_after("ORRERY_EVENTS", "orrery.evt.probe.>", sequence)).await;
        (sequence, events) = (found.0, events + 1);
    }
    host.stop().await;
}

/// Subjects that a client without a name cannot use.
const FORBIDDEN: [&str; 49] = [
    "orrery.log.0",
    "orrery.mail.0",
    "orrery.receipt.0",
    "orrery.mark.0",
    "orrery.evt.probe.p",
    "orrery.dead.probe.x",
    "orrery.out.t",
    "orrery.needs",
    "orrery.heard",
    "orrery.here.a",
    "orrery.places.a",
    "orrery.claimed",
    "orrery.taken-over",
    "orrery.stop.noop.w",
    "$KV.orrery_leases.partition.0",
    "$KV.orrery_settings.partitions",
    "$KV.orrery_snapshots.probe.p",
    "$KV.orrery_cache.x",
    "$O.orrery_blobs.C.x",
    "$O.orrery_blobs.M.x",
    "$O.orrery_private.C.x",
    "$O.orrery_private.M.x",
    "$JS.API.STREAM.DELETE.ORRERY_LOG_0",
    "$JS.API.STREAM.PURGE.ORRERY_EVENTS",
    "$JS.API.STREAM.UPDATE.ORRERY_EVENTS",
    "$JS.API.STREAM.MSG.DELETE.ORRERY_LOG_0",
    "$JS.API.STREAM.MSG.GET.ORRERY_LOG_0",
    "$JS.API.DIRECT.GET.KV_orrery_leases",
    "$JS.API.DIRECT.GET.KV_orrery_snapshots",
    "$JS.API.DIRECT.GET.ORRERY_DEAD",
    "$JS.API.DIRECT.GET.OBJ_orrery_private",
    "$JS.API.DIRECT.GET.OBJ_orrery_private.$O.orrery_private.M.x",
    "$JS.API.STREAM.MSG.GET.OBJ_orrery_private",
    "$JS.API.STREAM.INFO.OBJ_orrery_private",
    "$JS.API.DIRECT.GET.KV_orrery_cache",
    "$JS.API.STREAM.MSG.GET.KV_orrery_cache",
    "$JS.API.STREAM.INFO.KV_orrery_cache",
    "$JS.API.CONSUMER.CREATE.ORRERY_LOG_0",
    "$JS.API.CONSUMER.CREATE.ORRERY_EVENTS",
    "$JS.API.CONSUMER.CREATE.ORRERY_EVENTS.mine",
    "$JS.API.CONSUMER.CREATE.ORRERY_EVENTS.mine.orrery.evt.>",
    "$JS.API.CONSUMER.DURABLE.CREATE.ORRERY_EVENTS.mine",
    "$JS.API.CONSUMER.CREATE.OBJ_orrery_blobs.mine",
    "$JS.API.CONSUMER.CREATE.ORRERY_OUTPUT.mine",
    "$JS.API.CONSUMER.DELETE.ORRERY_EVENTS.mine",
    "$JS.API.CONSUMER.MSG.NEXT.ORRERY_EVENTS.mine",
    "$JS.ACK.ORRERY_INBOX_0.c.1.1.1.1.0",
    "$JS.FC.ORRERY_EVENTS.c.x",
    "$SYS.REQ.SERVER.PING",
];

/// Goal: nothing that a host trusts can be written by who has no name, nor are its answers heard. Method: each
/// subject of the table, while somebody with a name listens; each stream and bucket by JetStream's own requests.
#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_name_writes_nothing_that_hosts_trust() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("a", false).await;
    let (raw, bus) = (Raw::connect(&server).await, server.bus().await);
    let topology = bus.topology();
    let before = logs(&bus).await;
    for subject in FORBIDDEN {
        let asked = tokio::time::timeout(NEVER, raw.client.request(subject, "{}".into())).await;
        assert!(!matches!(asked, Ok(Ok(_))), "`{subject}` answers {asked:?}");
    }
    assert!(raw.store("orrery.log.0", &[], "rubbish").await.is_none());
    for subject in
        ["_INBOX_orrery.>", "orrery.log.>", "orrery.mail.>", "orrery.request.>", "orrery.claim.>", ">"]
    {
        let mut heard = raw.client.subscribe(subject).await.expect("a subject");
        accepted(&bus, &touch("listened-to")).await;
        let heard = tokio::time::timeout(NEVER, heard.next()).await;
        assert!(!matches!(heard, Ok(Some(_))), "`{subject}` is heard: {heard:?}");
    }
    let after = logs(&bus).await;
    let touched =
        topology.all_partitions().filter(|id| before[id.0 as usize] != after[id.0 as usize]).count();
    assert_eq!(touched, 1, "only what was asked is in the logs: {before:?} {after:?}");
    host.stop().await;
}

/// Goal: who has no name reads and hears neither the token of another's job nor what hosts keep for themselves. Method:
/// a large job of a worker without a name, which reports something large under its token, while somebody listens to
/// all answers; a host that leaves its snapshots; then everything that such a client can read is looked at, and what
/// hosts read, where the token is.
#[tokio::test(flavor = "multi_thread")]
async fn no_token_lies_where_who_has_no_name_reads() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("a", false).await;
    let (raw, insider, bus) = (Raw::connect(&server).await, Raw::insider(&server).await, server.bus().await);
    let worker = NatsConfig { user: None, password_file: None, ..server.config() };
    let worker = Bus::connect_only(&worker).await.expect("no credentials are needed");
    let mut heard = raw.client.subscribe("_INBOX.>").await.expect("a subject");
    raw.client.flush().await.expect("the server listens");
    plain::register(&worker, plain::WORKER).await;
    let input = "x".repeat(100_000).into();
    let submit = Task::Submit(Submit { skill: plain::AGENT.into(), input, ..Submit::new("a large job") });
    accepted(&bus, &command("large", &submit)).await;
    let job = plain::next_job(&mut plain::connection(&worker).await, plain::WORKER).await;
    let (input, result) = (Hash::of(b"input"), serde_json::Value::from("y".repeat(40_000)));
    let step = |name: &str| StepResult { name: name.into(), input, result: result.clone() };
    let steps = vec![step("one"), step("two")];
    accepted(&bus, &command("large", &Task::RecordStep { attempt: 1, token: job.token.clone(), steps }))
        .await;
    let mut answers = 0;
    while answers == 0 {
        let answer = tokio::time::timeout(PATIENCE, heard.next()).await.expect("in time").expect("an answer");
        let text = String::from_utf8_lossy(&answer.payload).into_owned();
        assert!(!text.contains(job.token.as_str()), "{text}");
        answers += usize::from(text.contains("\"status\":\"issued\""));
    }
    refused_reports(&raw, &bus, &job.token).await;
    host.stop().await;
    let is_named = |text: &str| text.contains(job.token.as_str()) || text.contains("partition-");
    let mut jobs = 0;
    for stream in ["OBJ_orrery_blobs", "ORRERY_EVENTS", "ORRERY_OUTPUT"] {
        let mut sequence = 0;
        while let Some((at, bytes)) = raw.next_after(stream, ">", sequence).await {
            let text = String::from_utf8_lossy(&bytes);
            assert!(!is_named(&text), "message {at} of {stream}: {}", &text[..text.len().min(200)]);
            (sequence, jobs) = (at, jobs + usize::from(text.contains("\"id\":\"large/1\"")));
        }
    }
    assert_eq!(jobs, 1, "who has no name reads the job itself");
    let (mut sequence, mut named) = (0, 0);
    while let Some((at, bytes)) = insider.next_after("OBJ_orrery_private", ">", sequence).await {
        (sequence, named) = (at, named + usize::from(is_named(&String::from_utf8_lossy(&bytes))));
    }
    assert!(named > 8, "hosts keep a report and the snapshots of all partitions: {named}");
}

/// Hands over reports that nobody can accept: of an attempt that is over, with an unknown field, and cut in the middle.
/// Each becomes a dead letter, whose event tells the hash of the token.
async fn refused_reports(raw: &Raw, bus: &Bus, token: &str) {
    let report = |attempt: u32| format!(r#"{{"type":"complete-job","attempt":{attempt},"token":"{token}""#);
    let reports = [
        ("late", format!("{}}}", report(7))),
        ("more", format!(r#"{},"colour":1}}"#, report(1))),
        ("cut", report(1)),
    ];
    for (name, body) in reports {
        let id = [("Orrery-Command-Id", name)];
        raw.store("orrery.do.me.task.large", &id, body.clone()).await.expect("it is stored");
        let kept = dead_letter(bus, CommandId::from_text(name)).await.payload.expect("a payload").content;
        let rest = body.replace(token, &Hash::of_token(token).to_hex());
        let expected = serde_json::from_str::<serde_json::Value>(&rest).map_or_else(
            |_| rest.split("token").next().expect("a beginning").to_owned(),
            |fields| fields.to_string(),
        );
        assert_eq!(kept, expected, "{name}");
    }
}

/// Goal: the server tells nobody but hosts who is connected and what is stored. Method: its monitoring, with and without
/// the secret in its address, which stays the same when the server starts again.
#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_name_sees_no_monitoring() {
    let mut server = Server::start(Profile::Fast).await;
    let monitor = server.listening.monitor_url.clone();
    let (open, secret) = monitor.rsplit_once('/').expect("a path");
    let status = async |url: String| reqwest::get(url).await.expect("the server answers").status().as_u16();
    for page in ["connz?subs=1", "jsz?streams=1", "varz", "subsz", "routez", "accountz", "healthz", ""] {
        assert_eq!(status(format!("{open}/{page}")).await, 404, "{page}");
    }
    for page in ["connz", "jsz", "healthz"] {
        assert_eq!(status(format!("{monitor}/{page}")).await, 200, "{page}");
    }
    assert!(secret.len() == 64 && !bus_client::redacted_url(&monitor).contains(secret));
    let stored = bus_client::server::storage(&server.config()).await.expect("hosts look there");
    assert!(stored[0].monitor.starts_with(open) && !stored[0].monitor.contains(secret), "{stored:?}");
    server.crash().await;
    assert_eq!(server.listening.monitor_url, monitor);
}

/// Goal: no reply becomes state that hosts trust, although the one who replies may write it. Method: every request
/// of who has no name, with each protected subject as its reply subject; then every message of every stream is
/// looked at.
#[tokio::test(flavor = "multi_thread")]
async fn no_reply_is_stored() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("a", false).await;
    let (raw, bus) = (Raw::connect(&server).await, server.bus().await);
    accepted(&bus, &touch("p")).await;
    let requests = [
        ("$JS.API.INFO", ""),
        ("$JS.API.STREAM.NAMES", ""),
        ("$JS.API.STREAM.INFO.ORRERY_EVENTS", ""),
        ("$JS.API.STREAM.MSG.GET.ORRERY_EVENTS", r#"{"seq":1}"#),
        ("$JS.API.DIRECT.GET.ORRERY_EVENTS", r#"{"seq":1}"#),
        ("$JS.API.DIRECT.GET.ORRERY_EVENTS.orrery.evt.probe.p", ""),
        ("orrery.do.me.probe.q", r#"{"type":"touch"}"#),
        ("orrery.request.me.probe.r", r#"{"type":"touch"}"#),
        ("orrery.query.me.probe.r", r#"{"type":"describe"}"#),
        ("orrery.batch.0.me", "rubbish"),
        ("orrery.claim.noop", "{}"),
    ];
    for protected in PROTECTED {
        for (subject, body) in requests {
            raw.request_to(subject, protected, body).await;
        }
    }
    // The server and the host answer in order: when these are answered, so are the former ones.
    for (subject, body) in requests {
        raw.client.request(subject, body.into()).await.unwrap_or_else(|error| panic!("{subject}: {error}"));
    }
    let context = jetstream::new(server.client().await);
    let mut names = context.stream_names();
    let mut looked_at = 0;
    while let Some(name) = names.try_next().await.expect("names") {
        let mut stream = context.get_stream(&name).await.expect("a stream");
        let state = stream.info().await.expect("its state").state.clone();
        for sequence in state.first_sequence..=state.last_sequence {
            let Ok(message) = stream.get_raw_message(sequence).await else { continue };
            let text = String::from_utf8_lossy(&message.payload);
            let signs = ["io.nats.jetstream.api", r#"{"stream":"#, r#""command_id":"#];
            // A record of a log holds replies too, in MessagePack.
            let is_reply = text.starts_with(['{', '[']) && signs.iter().any(|sign| text.contains(sign));
            assert!(!is_reply && !message.subject.contains("stolen"), "{name} {}: {text}", message.subject);
            looked_at += 1;
        }
    }
    assert!(looked_at > 20, "{looked_at} messages are hardly all");
    accepted(&bus, &touch("p")).await;
    host.stop().await;
}

/// Subjects of every kind of stored message that only hosts may write.
const PROTECTED: [&str; 11] = [
    "orrery.log.0",
    "orrery.mark.0",
    "orrery.evt.probe.stolen",
    "orrery.dead.probe.stolen",
    "orrery.out.stolen",
    "orrery.cmd.0.orrery-system.probe.stolen",
    "$KV.orrery_leases.partition.0",
    "$KV.orrery_settings.installation",
    "$KV.orrery_snapshots.probe.stolen",
    "$O.orrery_blobs.M.stolen",
    "$O.orrery_private.M.stolen",
];

/// Goal: nobody but the system tells an entity what only the system knows: what a worker got, who is lost, what is
/// over. Method: every command of the system from who has no name, asked and handed over, also by way of a dead
/// letter and under the system's own name; then each as a host sends it.
#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_name_is_not_taken_for_the_system() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("a", false).await;
    let (raw, insider) = (Raw::connect(&server).await, Raw::insider(&server).await);
    for kind in kinds::kinds() {
        for name in kinds::system_commands(&kind) {
            let body = format!(r#"{{"type":"{name}"}}"#);
            let answer = raw.request(&format!("orrery.request.me.{kind}.x"), &[], body.clone()).await;
            assert_eq!(answer.code(), "system-command", "{kind} {name}");
            let answer = insider.request(&format!("orrery.request.orrery-system.{kind}.x"), &[], body).await;
            assert_ne!(answer.code(), "system-command", "{kind} {name} of a host");
        }
    }
    let token = Hash::of(b"mine");
    let assign = serde_json::json!({
        "type": "assign", "agent": "noop", "worker": "w", "claim": "c", "attempt": 1, "token": token,
    });
    let assign = assign.to_string();
    let named = [("Orrery-Command-Id", "0199c7a5-7a4e-7cc3-a4a7-6f0c5b6a1f10")];
    raw.store("orrery.do.me.task.x", &named, assign.clone()).await.expect("it is stored");
    let letter = "orrery.request.me.dead-letter.0199c7a57a4e7cc3a4a76f0c5b6a1f10";
    eventually("the refusal is a dead letter that nobody redrives", || async {
        let answer = raw.request(letter, &[], r#"{"type":"redrive"}"#).await;
        (answer.code() == "not-redrivable").then_some(())
    })
    .await;
    for subject in [
        "orrery.do.orrery-system.task.x",
        "orrery.do.orrery-system.task.x.y",
        "orrery.cmd.0.orrery-system.task.x",
        "orrery.request.orrery-system.task.x",
        "orrery.ask.0.orrery-system.task.x",
        "orrery.query.orrery-system.task.x",
        "orrery.view.0.orrery-system.task.x",
        "orrery.batch.0.orrery-system",
    ] {
        let asked = tokio::time::timeout(NEVER, raw.client.request(subject, assign.clone().into())).await;
        assert!(!matches!(asked, Ok(Ok(_))), "`{subject}` answers {asked:?}");
    }
    host.stop().await;
}

async fn logs(bus: &Bus) -> Vec<u64> {
    let mut all = Vec::new();
    for partition in bus.topology().all_partitions() {
        all.push(bus.state_of(&bus.topology().log(partition)).await.expect("a log").last_sequence);
    }
    all
}
