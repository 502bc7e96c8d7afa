//! Servers that are not there yet, or go and come back: hosts wait for them, say so, and lose no time.

use std::time::{Duration, Instant};

use bus_client::{NatsConfig, Profile, PublishError};
use bus_schemas::{LogSequence, PartitionId, Revision};
use bytes::Bytes;
use system_tests::process::{Launch, send_signal};
use system_tests::{PATIENCE, Server, accepted, eventually, touch};

use crate::own_server::{free_port, free_ports, nats, start_at};
use crate::process::Process;

/// How soon work that was under way goes on once the server is back.
const SOON: Duration = Duration::from_secs(2);

/// Goal: the order in which server and host start is no matter. Method: a host first; it says once what it
/// waits for, and is ready when the server has come.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_waits_for_a_server_that_comes_later() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let ports = free_ports().await;
    let nats = NatsConfig {
        monitor_url: Some(format!("http://127.0.0.1:{}", ports.monitor)),
        ..nats(format!("nats://127.0.0.1:{}", ports.nats), Profile::Fast)
    };
    let launch = Launch {
        nats: nats.clone(),
        data_dir: directory.path().join("host"),
        name: "early".into(),
        agents: false,
        namespace: None,
    };
    let mut host = Process::launch(launch, None);
    eventually("the host to say what it waits for", || async {
        host.log().contains("using NATS does not work; trying again").then_some(())
    })
    .await;
    assert!(host.is_running());
    let store = directory.path().join("store");
    let setting = format!("jetstream {{ store_dir: {store:?} }}");
    let (_server, _) = start_at(ports, directory.path(), &setting).await;
    let said = tokio::time::timeout(PATIENCE, host.said()).await.expect("it goes on");
    assert_eq!(said["ready"], true, "{said}");
    let lines = host.log().matches("using NATS does not work").count();
    assert!(lines <= 2, "{lines} lines");
    host.kill().await;
}

/// Goal: a host that waits for a server ends when it is told to. Method: no server at all, and SIGTERM
/// before the start has ended; the crash host does not listen for it then, so the start itself is dropped.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_waits_can_be_interrupted() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let config = actors_host::Config {
        data_dir: directory.path().to_owned(),
        nats: nats(format!("nats://127.0.0.1:{}", free_port().await), Profile::Fast),
        ..actors_host::Config::default()
    };
    let began = Instant::now();
    let interrupted = tokio::time::sleep(Duration::from_millis(300));
    let started = actors_host::start_unless(&config, Vec::new(), interrupted).await;
    assert_eq!(started.expect_err("nobody listens").code(), "interrupted");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

/// Goal: what was under way when a server restarts does not wait out its time. Method: a server that is
/// frozen takes an append in and is killed before it can answer; the answer comes soon after it is back.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_under_way_is_looked_for_when_the_server_is_back() {
    let mut server = Server::start(Profile::Fast).await;
    let bus = server.bus().await;
    let record = Bytes::from_static(b"a record of nobody");
    send_signal(server.pid(), "STOP").await;
    let append = async {
        let answer = bus.append(PartitionId(0), LogSequence(0), record).await;
        (answer, Instant::now())
    };
    let restart = async {
        // The append was begun before this, and now lies at the frozen server.
        bus.flush().await;
        server.crash().await;
        Instant::now()
    };
    let ((answer, answered), back) = tokio::join!(append, restart);
    let late = answered.saturating_duration_since(back);
    assert!(late < SOON, "{late:?}: {answer:?}");
    assert!(matches!(answer, Ok(_) | Err(PublishError::Unanswered(_))), "{answer:?}");
}

/// Goal: a host outlives its server, however often and long that is away, and says so in a few lines of which
/// none is an error. Method: the server is killed several times under a caller, once for longer.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_outlives_its_server_and_complains_little() {
    let mut server = Server::start(Profile::Durable).await;
    let mut host = Process::start(&server, "host", true).await;
    let bus = server.bus().await;
    for round in 1..=5 {
        server.crash().await;
        let back = Instant::now();
        assert_eq!(accepted(&bus, &touch("p")).await, Revision(round));
        assert!(back.elapsed() < 3 * SOON, "{:?}; it logged: {}", back.elapsed(), host.log());
    }
    assert!(host.is_running(), "{}", host.log());
    let log = host.log();
    let errors = log.lines().filter(|line| line.contains("ERROR")).collect::<Vec<_>>();
    assert!(errors.is_empty(), "{errors:#?}");
    host.kill().await;
}
