//! Backup and restore over the network: three servers of one cluster, and no data directory at all.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use actors_host::embedded;
use bus_client::{Ask, Bus, NatsConfig, Profile};
use bus_schemas::commands::probe::Command as Probe;
use bus_schemas::wire::WireCommand;
use bus_schemas::{Body, EntityAddress, Key, Reply};
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::world::{Ended, PATIENCE, World, eventually, orrery, program};

/// Probes of each sort: some in every partition.
const PROBES: u64 = 16;
/// Commands of each sort that are acknowledged before the backup.
const ROUNDS: u64 = 96;

/// Three servers of one cluster, each with a store of its own.
struct Cluster {
    directory: TempDir,
    servers: Vec<Child>,
    nats: NatsConfig,
}

impl Cluster {
    fn start() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        // All are held until all are known: none is given twice.
        let held: Vec<TcpListener> =
            (0..9).map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port")).collect();
        let ports: Vec<u16> = held.iter().map(|one| one.local_addr().expect("an address").port()).collect();
        drop(held);
        let all = |scheme: &str, from: usize| {
            let urls = ports.iter().skip(from).step_by(3).map(|port| format!("{scheme}://127.0.0.1:{port}"));
            urls.collect::<Vec<_>>().join(",")
        };
        let server = embedded::find(None).expect("run `make tools` first");
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/nats-cluster.conf");
        let servers = (0..3).map(|index| {
            let port = |of: usize| ports[3 * index + of].to_string();
            Command::new(&server)
                .arg("-c")
                .arg(&shipped)
                .env("NATS_NAME", format!("server-{index}"))
                .env("NATS_HOST", "127.0.0.1")
                .env("NATS_PORT", port(0))
                .env("NATS_MONITOR_PORT", port(1))
                .env("NATS_ROUTE_PORT", port(2))
                .env("NATS_ROUTES", format!("[{}]", all("nats", 2)))
                .env("NATS_STORE", directory.path().join(format!("server-{index}")))
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("the server starts")
        });
        let nats = NatsConfig {
            url: Some(all("nats", 0)),
            monitor_url: Some(all("http", 1)),
            profile: Profile::Replicated,
            ..NatsConfig::default()
        };
        let cluster = Self { servers: servers.collect(), nats, directory };
        let settings = format!(
            "[nats]\nurl = \"{}\"\nmonitor_url = \"{}\"\nprofile = \"replicated\"\n",
            all("nats", 0),
            all("http", 1)
        );
        std::fs::write(cluster.settings(), settings).expect("a file");
        cluster
    }

    fn settings(&self) -> PathBuf {
        self.directory.path().join("orrery.toml")
    }

    /// Waits until the servers take streams: they are one cluster then, and an installation is made.
    fn until_whole(&self, runtime: &Runtime) {
        eventually("three servers to be one", || runtime.block_on(Bus::connect(&self.nats)).ok());
    }

    /// Runs the binary against it, as on a machine that has no files of the installation.
    fn orrery(&self, arguments: &[&str]) -> Ended {
        let nowhere = self.directory.path().join("nowhere");
        let settings = self.settings();
        let ended = orrery(&nowhere, &[&["--config", text(&settings)], arguments].concat());
        assert!(!nowhere.join("nats").exists(), "no server was started here");
        ended
    }

    /// Starts a host on it, without waiting.
    fn host(&self) -> Child {
        Command::new(program())
            .arg("--data-dir")
            .arg(self.directory.path().join("host"))
            .arg("--config")
            .arg(self.settings())
            .args(["up", "--http", "127.0.0.1:0"])
            .stdout(Stdio::null())
            .spawn()
            .expect("the binary runs")
    }

    /// Ends what [`Cluster::host`] started.
    fn end_host(&self, mut host: Child) {
        let directory = self.directory.path().join("host");
        orrery(&directory, &["--config", text(&self.settings()), "down"]).good();
        host.wait().expect("it was our child");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for server in &mut self.servers {
            // One that has ended by itself is no matter here.
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn to(sort: &str, number: u64, command: &Probe) -> Ask {
    let key = Key::parse(&format!("{sort}{}", number % PROBES)).expect("a key");
    Ask::new(EntityAddress::new(Probe::KIND, key), Body::json(command))
}

/// Asks that send mail between partitions, and durable commands, all acknowledged.
async fn work(nats: &NatsConfig) {
    let bus = Bus::connect_only(nats).await.expect("a connection");
    for number in 0..ROUNDS {
        let target = Key::parse(&format!("to{}", (number * 7) % PROBES)).expect("a key");
        let forward = to("from", number, &Probe::Forward { to: target });
        let reply = bus.ask(&forward, PATIENCE).await.expect("an answer");
        assert!(matches!(reply, Reply::Accepted { .. }), "{reply:?}");
        let touch = to("handed", number, &Probe::Touch { note: String::new() });
        bus.hand_over(&touch).await.expect("it is stored");
    }
}

/// How often the probes of a sort were touched in all.
fn touched(read: impl Fn(&[&str]) -> Ended, sort: &str) -> u64 {
    let revision = |number: u64| {
        let ended = read(&["replay", &format!("probe/{sort}{number}"), "--json"]);
        if ended.status == 0 { ended.line()["revision"].as_u64().expect("a number") } else { 0 }
    };
    (0..PROBES).map(revision).sum()
}

fn assert_whole(restored: &Value, written: &Value) {
    for count in ["messages", "records"] {
        assert_eq!(restored[count], written[count], "{restored}");
    }
    assert_eq!(restored["verified"]["findings"], 0, "{restored}");
}

/// Goal: an installation on three servers is backed up and restored over the network, into three other
/// servers and into a single one. Method: a host works while the backup is taken from a machine
/// without any of its files; each restore is audited, counted, and goes on with new commands.
#[test]
fn three_servers_are_backed_up_and_restored_over_the_network() {
    let runtime = Runtime::new().expect("threads");
    let cluster = Cluster::start();
    cluster.until_whole(&runtime);
    let host = cluster.host();
    runtime.block_on(work(&cluster.nats));
    let directory = tempfile::tempdir().expect("a temporary directory");
    let backup = directory.path().join("backup");
    let written = cluster.orrery(&["backup", text(&backup), "--json"]).good().line();
    cluster.orrery(&["restore", text(&backup)]).failed("still-running", 69);
    cluster.end_host(host);
    drop(cluster);

    let other = Cluster::start();
    other.until_whole(&runtime);
    let restored = other.orrery(&["restore", text(&backup), "--json"]).good().line();
    assert_whole(&restored, &written);
    runtime.block_on(async {
        let bus = Bus::connect_only(&other.nats).await.expect("a connection");
        // It refuses streams with fewer copies than the profile promises.
        Bus::connect(&other.nats).await.expect("every stream has three copies");
        assert!(bus.leases().await.expect("leases").hosts.is_empty(), "nobody holds a lease");
    });
    other.orrery(&["verify", "--all"]).good();
    let host = other.host();
    runtime.block_on(work(&other.nats));
    eventually("old and new commands, each once", || {
        let counts = ["from", "to", "handed"].map(|sort| touched(|verb| other.orrery(verb), sort));
        (counts == [2 * ROUNDS; 3]).then_some(())
    });
    other.orrery(&["verify", "--all"]).good();
    other.end_host(host);
    drop(other);

    let single = tempfile::tempdir().expect("a temporary directory");
    let restored = orrery(single.path(), &["restore", text(&backup), "--json"]).good().line();
    assert_whole(&restored, &written);
    let world = World::start_in(single);
    eventually("what was acknowledged", || {
        let counts = ["from", "to", "handed"].map(|sort| touched(|verb| world.orrery(verb), sort));
        (counts == [ROUNDS; 3]).then_some(())
    });
    world.orrery(&["verify", "--all"]).good();
}
