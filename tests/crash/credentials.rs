//! A server that does not let everybody in: credentials reach it from wherever they stand, and nobody else.

use std::process::Stdio;

use bus_client::{Bus, NatsConfig, Profile};
use bus_schemas::topology::PARTITIONS_DEFAULT;
use system_tests::eventually;
use system_tests::own_server::{free_port, program};
use system_tests::process::{Launch, Process};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

/// A password with every sign that means something in a URL.
const PASSWORD: &str = "s@f:e/%,?#";
/// As a URL has it.
const ENCODED: &str = "s%40f%3Ae%2F%25%2C%3F%23";
const TOKEN: &str = "t0k@n%";
const TOKEN_ENCODED: &str = "t0k%40n%25";

/// A server with this authorization.
async fn start(directory: &TempDir, authorization: &str) -> (Child, u16) {
    let port = free_port().await;
    let store = directory.path().join("store");
    let file = directory.path().join("own.conf");
    let text = format!(
        "host: 127.0.0.1\nport: {port}\nmax_payload: 8MB\n{}jetstream {{ store_dir: {store:?} }}\nauthorization {{ {authorization} }}\n",
        actors_host::embedded::mappings(PARTITIONS_DEFAULT)
    );
    std::fs::write(&file, text).expect("a file");
    let child = Command::new(program()).arg("-c").arg(&file).stderr(Stdio::null()).kill_on_drop(true).spawn();
    eventually("the server to listen", || async { TcpStream::connect(("127.0.0.1", port)).await.ok() }).await;
    (child.expect("the server starts"), port)
}

fn config(url: String) -> NatsConfig {
    // Under `fast` nobody looks at the monitoring.
    let monitor_url = Some("http://127.0.0.1:1".to_owned());
    NatsConfig { url: Some(url), monitor_url, profile: Profile::Fast, ..NatsConfig::default() }
}

async fn denied(config: &NatsConfig) {
    let error = Bus::connect(config).await.expect_err("it is not let in");
    assert_eq!(error.code(), "nats-denied", "{error}");
    for secret in [PASSWORD, ENCODED, "wrong"] {
        assert!(!format!("{error} {error:?} {config:?}").contains(secret), "{error:?} {config:?}");
    }
}

/// Goal: a user and a password work, from the URL and from a file, and a wrong one is named at once. Method:
/// a real server with a user, each way in, and a host that does its work there.
#[tokio::test(flavor = "multi_thread")]
async fn a_user_with_a_password_is_let_in() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (_server, port) =
        start(&directory, &format!("users: [{{ user: \"me@home\", password: {PASSWORD:?} }}]")).await;
    let url = config(format!("nats://me%40home:{ENCODED}@127.0.0.1:{port}"));
    let bus = Bus::connect(&url).await.expect("it is let in");
    assert!(!bus.url().contains('@') && !format!("{bus:?} {url:?}").contains(ENCODED), "{bus:?} {url:?}");
    bus.reconnect().await.expect("a second connection is let in too");
    denied(&config(format!("nats://127.0.0.1:{port}"))).await;
    denied(&config(format!("nats://me%40home:wrong@127.0.0.1:{port}"))).await;

    let file = directory.path().join("password");
    std::fs::write(&file, format!("{PASSWORD}\n")).expect("a file");
    let open = config(format!("nats://127.0.0.1:{port}"));
    let named =
        NatsConfig { user: Some("me@home".into()), password_file: Some(file.clone()), ..open.clone() };
    Bus::connect(&named).await.expect("it is let in");
    std::fs::write(&file, "").expect("a file");
    let empty = Bus::connect(&named).await.expect_err("there is no password");
    assert_eq!(empty.code(), "bad-setting", "{empty}");
    let twice = NatsConfig { token_file: Some(file), ..url.clone() };
    assert_eq!(Bus::connect(&twice).await.expect_err("it is said twice").code(), "bad-setting");

    let launch = Launch {
        nats: url,
        data_dir: directory.path().join("host"),
        name: "host".into(),
        agents: true,
        namespace: None,
    };
    let mut host = Process::launch(launch, None).until_ready().await;
    assert!(!host.log().contains(ENCODED) && !host.log().contains(PASSWORD), "{}", host.log());
    host.kill().await;
}

/// Goal: a token works, from the URL and from a file. Method: a real server with one.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_let_in() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (_server, port) = start(&directory, &format!("token: {TOKEN:?}")).await;
    Bus::connect(&config(format!("nats://{TOKEN_ENCODED}@127.0.0.1:{port}"))).await.expect("it is let in");
    let file = directory.path().join("token");
    std::fs::write(&file, TOKEN).expect("a file");
    let open = config(format!("nats://127.0.0.1:{port}"));
    denied(&open).await;
    Bus::connect(&NatsConfig { token_file: Some(file), ..open }).await.expect("it is let in");
}
