//! Servers that do not keep the promise: each is refused with a code before any work is taken.

use std::num::NonZeroU16;
use std::process::Stdio;

use actors_host::Config;
use actors_host::embedded::{Embedded, Ports};
use actors_runtime::inbox::COMMAND_BYTES_MAX;
use bus_client::{Bus, NatsConfig, Profile};
use bus_schemas::Body;
use bus_schemas::commands::probe::Command as Probe;
use bus_schemas::commands::task::{Command as Task, Plan, PlanStep, Query, Submit};
use bus_schemas::views::task::{Task as View, TaskState};
use system_tests::{Server, accepted, command, eventually, query, view};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::process::Command;

use crate::own_server::{free_port, free_ports, nats, program, start, start_taking};

/// The greeting of a server that is too old, as it goes over the wire.
const OLD: &str = "INFO {\"server_id\":\"X\",\"server_name\":\"old\",\"version\":\"2.10.4\",\"go\":\"\",\
                   \"host\":\"127.0.0.1\",\"port\":4222,\"headers\":true,\"max_payload\":1048576,\
                   \"proto\":1,\"jetstream\":true,\"client_id\":1}\r\n";

async fn code(config: &NatsConfig) -> &'static str {
    Bus::connect(config).await.expect_err("the server is refused").code()
}

/// Goal: no JetStream is said at once. Method: a real server with JetStream off.
#[tokio::test]
async fn a_server_without_jetstream_is_refused() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (_child, config) = start(directory.path(), "").await;
    assert_eq!(code(&config).await, "nats-without-jetstream");
}

/// Goal: a host does not start where its records may not fit into a message. Method: a real server with half of the
/// default limit.
#[tokio::test]
async fn a_server_that_takes_small_messages_only_is_refused() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let jetstream = format!("jetstream {{ store_dir: {:?} }}", directory.path().join("store"));
    let (_child, config) = start_taking("512KB", free_ports().await, directory.path(), &jetstream).await;
    let fast = NatsConfig { profile: Profile::Fast, ..config };
    assert_eq!(code(&fast).await, "nats-small-payload");
    let config = Config { data_dir: directory.path().join("host"), nats: fast, ..Config::default() };
    let error = actors_host::start(&config, Vec::new()).await.expect_err("the server is refused");
    assert_eq!(error.code(), "nats-small-payload", "{error}");
}

/// Goal: a server with the default limit is enough for the largest that callers may send. Method: a plan of 256 steps with
/// as much input as a command holds, whose children all begin; many large commands at once for one partition; a failure
/// whose reason is as long as a command.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_the_default_limit_takes_the_largest_commands() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let jetstream = format!("jetstream {{ store_dir: {:?} }}", directory.path().join("store"));
    let (_child, config) = start_taking("1MB", free_ports().await, directory.path(), &jetstream).await;
    let nats = NatsConfig { profile: Profile::Fast, ..config };
    let config = Config { data_dir: directory.path().join("host"), nats, ..Config::default() };
    let host = actors_host::start(&config, Vec::new()).await.expect("the host starts");
    host.ready().await.expect("every partition answers");
    let bus = host.bus();
    let step = |number: usize| PlanStep {
        step: format!("s{number}").into(),
        goal: "g".repeat(100),
        skill: "nobody-has-this".into(),
        input: "i".repeat(700).into(),
        after: Vec::new(),
        optional: false,
    };
    let plan = Plan { steps: (0..256).map(step).collect() };
    let submit = Task::Submit(Submit { plan: Some(plan), ..Submit::new("all of it") });
    let size = Body::json(&submit).bytes.len();
    assert!((200_000..COMMAND_BYTES_MAX).contains(&size), "{size}");
    accepted(bus, &command("big", &submit)).await;
    for number in [0, 128, 255] {
        let describe = query(&format!("big.s{number}"), &Query::Describe);
        let child: View = eventually("the child", || view(bus, &describe)).await;
        assert_eq!(child.state, TaskState::Submitted);
    }
    let note = "n".repeat(COMMAND_BYTES_MAX - 100);
    let large =
        (0..32).map(|number| command(&format!("large.p{number}"), &Probe::Touch { note: note.clone() }));
    let large: Vec<_> = large.collect();
    futures::future::join_all(large.iter().map(|ask| accepted(bus, ask))).await;
    // The reason is cut: the command is done, and its partition goes on.
    let reason = "\u{1}".repeat(40_000);
    accepted(bus, &command("big", &Task::Cancel { reason })).await;
    accepted(bus, &command("large.p0", &Probe::Touch { note: String::new() })).await;
    host.stop().await;
}

/// Goal: a host does not start where what is handed over would be stored nowhere, or where no partition reads
/// it. Method: a real server that maps for another number of partitions, and one that maps nothing.
#[tokio::test]
async fn a_server_that_does_not_map_is_refused_by_hosts() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let of_four = NatsConfig {
        profile: Profile::Fast,
        partitions: NonZeroU16::new(4).expect("four"),
        ..NatsConfig::default()
    };
    let embedded = Embedded::new(Some(&program()), directory.path(), &of_four).expect("nobody uses it");
    let (_other, listening) = embedded.start(Ports::default()).await.expect("the server starts");
    let of_four = NatsConfig { partitions: NatsConfig::default().partitions, ..embedded.access(&listening) };
    let port = free_port().await;
    let mut plain = Command::new(program());
    plain.args(["-js", "-p", &port.to_string(), "-sd"]).arg(directory.path().join("plain"));
    let _plain = plain.stderr(Stdio::null()).kill_on_drop(true).spawn().expect("the server starts");
    for nats in [of_four, nats(format!("nats://127.0.0.1:{port}"), Profile::Fast)] {
        eventually("the server", || async { Bus::connect_only(&nats).await.ok() }).await;
        let config = Config { data_dir: directory.path().join("host"), nats, ..Config::default() };
        let error = actors_host::start(&config, Vec::new()).await.expect_err("the server is refused");
        assert_eq!(error.code(), "mapping-missing", "{error}");
    }
}

/// Goal: an acknowledgement means what the profile says. Method: a real server that syncs lazily, and
/// one of which nobody can say how it syncs; a host refuses both as a connection does.
#[tokio::test]
async fn a_server_that_syncs_lazily_is_refused_under_durable() {
    let server = Server::start(Profile::Fast).await;
    let durable = NatsConfig { profile: Profile::Durable, ..server.config() };
    assert_eq!(code(&durable).await, "nats-lazy-sync");
    let unchecked = NatsConfig { monitor_url: Some("http://127.0.0.1:1".into()), ..durable.clone() };
    assert_eq!(code(&unchecked).await, "nats-unchecked");
    let config = Config { data_dir: server.directory().join("host"), nats: durable, ..Config::default() };
    let error = actors_host::start(&config, Vec::new()).await.expect_err("the server is refused");
    assert_eq!(error.code(), "nats-lazy-sync", "{error}");
    assert!(Bus::connect(&server.config()).await.is_ok(), "`fast` promises no more than that");
}

/// Goal: an old server is named, and one that is not there too. Method: a listener that greets as an old
/// server does, since none is at hand; then a port where nobody listens.
#[tokio::test]
async fn a_server_that_is_too_old_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("nats://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            if stream.write_all(OLD.as_bytes()).await.is_err() {
                continue;
            }
            let mut buffer = [0; 1024];
            while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {
                if stream.write_all(b"PONG\r\n").await.is_err() {
                    break;
                }
            }
        }
    });
    assert_eq!(code(&nats(url, Profile::Fast)).await, "nats-too-old");
    assert_eq!(code(&nats("nats://127.0.0.1:1".into(), Profile::Fast)).await, "nats-unreachable");
}

/// Goal: a port in use and a data directory in use are named. Method: take both first.
#[tokio::test]
async fn what_is_in_use_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let config = Config {
        data_dir: directory.path().to_owned(),
        nats_port: listener.local_addr().expect("an address").port(),
        nats_server: Some(program()),
        ..Config::default()
    };
    let error = actors_host::start(&config, Vec::new()).await.expect_err("the port is taken");
    assert_eq!(error.code(), "nats-port-in-use", "{error}");
    assert!(error.to_string().contains(&config.nats_port.to_string()), "{error}");
    let _holder =
        Embedded::new(Some(&program()), directory.path(), &NatsConfig::default()).expect("nobody uses it");
    let error = actors_host::start(&config, Vec::new()).await.expect_err("the directory is taken");
    assert_eq!(error.code(), "data-dir-in-use", "{error}");
}
