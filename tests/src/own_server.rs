//! A NATS server with a configuration of the test's own.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use actors_host::embedded::Ports;
use bus_client::{Bus, NatsConfig, Profile};
use bus_schemas::topology::PARTITIONS_DEFAULT;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};

use crate::{eventually, repository};

/// The server's program.
pub fn program() -> PathBuf {
    let configured = std::env::var_os("ORRERY_NATS_SERVER").map(PathBuf::from);
    let program = configured.unwrap_or_else(|| repository().join(".tools/nats-server"));
    actors_host::embedded::find(Some(&program)).expect("run `make tools` first")
}

/// How to connect, where nothing is known of the monitoring.
pub fn nats(url: String, profile: Profile) -> NatsConfig {
    NatsConfig { url: Some(url), profile, ..NatsConfig::default() }
}

/// A port that was free just now.
pub async fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    listener.local_addr().expect("an address").port()
}

/// Ports that were free just now.
pub async fn free_ports() -> Ports {
    Ports { nats: free_port().await, monitor: free_port().await }
}

/// A server whose configuration has `jetstream` as its last line, and how to connect to it.
pub async fn start(directory: &Path, jetstream: &str) -> (Child, NatsConfig) {
    start_at(free_ports().await, directory, jetstream).await
}

/// As [`start`], on these ports.
pub async fn start_at(ports: Ports, directory: &Path, jetstream: &str) -> (Child, NatsConfig) {
    start_taking("8MB", ports, directory, jetstream).await
}

/// As [`start_at`], with a limit of messages.
pub async fn start_taking(
    max_payload: &str,
    ports: Ports,
    directory: &Path,
    jetstream: &str,
) -> (Child, NatsConfig) {
    let Ports { nats: port, monitor } = ports;
    let file = directory.join("own.conf");
    let text = format!(
        "host: 127.0.0.1\nport: {port}\nhttp: \"127.0.0.1:{monitor}\"\nmax_payload: {max_payload}\n{}{jetstream}\n",
        actors_host::embedded::mappings(PARTITIONS_DEFAULT)
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
