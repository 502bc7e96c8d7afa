//! Servers that do not keep the promise: each is refused with a code before any work is taken, and
//! one whose disk is full stops taking work without losing any.

use std::path::Path;
use std::process::Stdio;

use actors_host::Config;
use actors_host::embedded::Embedded;
use bus_client::{Bus, NatsConfig, Profile};
use bus_schemas::Revision;
use bus_schemas::commands::probe::Command as Probe;
use system_tests::{Server, accepted, command, eventually, repository, touch};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};

use crate::check::whole;

fn program() -> std::path::PathBuf {
    actors_host::embedded::find(Some(&repository().join(".tools/nats-server")))
        .expect("run `make tools` first")
}

fn nats(url: String, profile: Profile) -> NatsConfig {
    NatsConfig { url: Some(url), profile, ..NatsConfig::default() }
}

async fn code(config: &NatsConfig) -> &'static str {
    Bus::connect(config).await.expect_err("the server is refused").code()
}

/// A port that was free just now.
async fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    listener.local_addr().expect("an address").port()
}

/// A server with a configuration of the test's own.
async fn start(directory: &Path, jetstream: &str) -> (Child, NatsConfig) {
    let (port, monitor) = (free_port().await, free_port().await);
    let file = directory.join("own.conf");
    let text = format!(
        "host: 127.0.0.1\nport: {port}\nhttp: \"127.0.0.1:{monitor}\"\nmax_payload: 8MB\n{jetstream}\n"
    );
    std::fs::write(&file, text).expect("a file");
    let child = Command::new(program())
        .arg("-c")
        .arg(&file)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("the server starts");
    let config = NatsConfig {
        monitor_url: Some(format!("http://127.0.0.1:{monitor}")),
        ..nats(format!("nats://127.0.0.1:{port}"), Profile::Durable)
    };
    eventually("the server to listen", || async { Bus::connect_only(&config).await.ok() }).await;
    (child, config)
}

/// Goal: no JetStream is said at once. Method: a real server with JetStream off.
#[tokio::test]
async fn a_server_without_jetstream_is_refused() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (_child, config) = start(directory.path(), "").await;
    assert_eq!(code(&config).await, "nats-without-jetstream");
}

/// Goal: an acknowledgement means what the profile says. Method: a real server that syncs lazily.
#[tokio::test]
async fn a_server_that_syncs_lazily_is_refused_under_durable() {
    let server = Server::start(Profile::Fast).await;
    let durable = NatsConfig { profile: Profile::Durable, ..server.config() };
    assert_eq!(code(&durable).await, "nats-lazy-sync");
    let unchecked = NatsConfig { monitor_url: Some("http://127.0.0.1:1".into()), ..durable };
    assert_eq!(code(&unchecked).await, "nats-unchecked");
    assert!(Bus::connect(&server.config()).await.is_ok(), "`fast` promises no more than that");
}

/// Goal: an old server is named. Method: a listener that greets as one, since none is at hand.
#[tokio::test]
async fn a_server_that_is_too_old_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("nats://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let info = "INFO {\"server_id\":\"X\",\"server_name\":\"old\",\"version\":\"2.10.4\",\"go\":\"\",\"host\":\"127.0.0.1\",\"port\":4222,\"headers\":true,\"max_payload\":1048576,\"proto\":1,\"jetstream\":true,\"client_id\":1}\r\n";
            if stream.write_all(info.as_bytes()).await.is_err() {
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
    let error = actors_host::start(&config).await.expect_err("the port is taken");
    assert_eq!(error.code(), "nats-server-failed", "{error}");
    assert!(error.to_string().contains("address already in use"), "{error}");
    let _holder = Embedded::new(Some(&program()), directory.path(), Profile::Fast).expect("nobody uses it");
    let error = actors_host::start(&config).await.expect_err("the directory is taken");
    assert_eq!(error.code(), "data-dir-in-use", "{error}");
}

async fn mount(arguments: &[&str], place: &Path) -> bool {
    let done = Command::new("mount").args(arguments).arg(place).status().await;
    done.is_ok_and(|status| status.success())
}

/// Goal: a full disk loses nothing that was acknowledged. Method: a store on a small file system,
/// filled through the durable inbox until the server refuses; then room, a restart, and a look.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_work_and_loses_none() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = directory.path().join("store");
    std::fs::create_dir(&store).expect("a directory");
    assert!(
        mount(&["-t", "tmpfs", "-o", "size=48m", "tmpfs"], &store).await,
        "this test mounts a small file system and needs root"
    );
    let place = store.join("js");
    let jetstream =
        format!("jetstream {{ store_dir: {place:?}, sync_interval: always, max_file_store: 10GB }}");
    let (mut child, config) = start(directory.path(), &jetstream).await;
    let host = Config {
        data_dir: directory.path().join("host"),
        nats: config.clone(),
        agents: false,
        ..Config::default()
    };
    let running = actors_host::start(&host).await.expect("the host starts");
    running.ready().await.expect("every partition answers");
    let bus = Bus::connect(&config).await.expect("the server is sound");
    let mut acknowledged = Vec::new();
    let note = "x".repeat(60_000);
    let refused = loop {
        let ask = command(&format!("p{}", acknowledged.len() % 8), &Probe::Touch { note: note.clone() });
        match bus.hand_over(&ask).await {
            Ok(_) => acknowledged.push(ask.id),
            Err(error) => break error,
        }
        assert!(acknowledged.len() < 10_000, "the disk is never full");
    };
    println!("{} acknowledged, then: {refused}", acknowledged.len());
    assert!(acknowledged.len() > 50, "the disk was full too early: {refused}");
    assert!(mount(&["-o", "remount,size=512m"], &store).await, "a larger file system");
    running.stop().await;
    child.kill().await.expect("it runs");
    let (mut child, config) = start(directory.path(), &jetstream).await;
    let host = Config { nats: config.clone(), ..host };
    let running = actors_host::start(&host).await.expect("the host starts again");
    running.ready().await.expect("every partition answers");
    let bus = Bus::connect(&config).await.expect("the server is sound");
    eventually("every acknowledged command", || async {
        // Each look makes a consumer for each log, and a server has a bound on them.
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        let applied = crate::check::logs(&bus).await.applied;
        acknowledged.iter().all(|id| applied.contains_key(id)).then_some(())
    })
    .await;
    whole(&bus).await;
    assert_eq!(accepted(&bus, &touch("fresh")).await, Revision(1));
    running.stop().await;
    child.kill().await.expect("it runs");
    let done = Command::new("umount").arg("--lazy").arg(&store).status().await;
    assert!(done.expect("umount runs").success());
}
