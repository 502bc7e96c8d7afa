//! The harness of the system tests: real servers, real hosts, deadlines instead of sleeps.
//!
//! Every test has a server of its own, on a free port, in a directory of its own.

pub mod agents;
pub mod check;
pub mod edge;
pub mod load;
pub mod models;
pub mod own_server;
pub mod plain;
pub mod process;
pub mod raw;
pub mod replays;
pub mod sandboxes;
#[path = "../../actors/web/tests/wire/site.rs"]
pub mod site;

use std::path::{Path, PathBuf};
use std::time::Duration;

use actors_agents::Tools;
use actors_host::embedded::{Embedded, Listening, Ports};
use actors_host::{Config, Running};
use bus_client::{Ask, Bus, NatsConfig, Profile};
use bus_schemas::commands::probe::Command as Probe;
use bus_schemas::kinds::is_from_system;
use bus_schemas::wire::{WireCommand, WireQuery};
use bus_schemas::{Body, Caller, EntityAddress, Key, Reply, Revision};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tempfile::TempDir;
use tokio::time::Instant;

/// How long anything in a test may take: generous, because a failing test shall fail for its reason
/// and not for a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A NATS server of a test's own.
pub struct Server {
    directory: TempDir,
    embedded: Embedded,
    child: tokio::process::Child,
    /// Where it listens.
    pub listening: Listening,
    /// What it was started with.
    pub profile: Profile,
}

impl Server {
    /// Starts a server.
    pub async fn start(profile: Profile) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let nats = NatsConfig { profile, ..NatsConfig::default() };
        let embedded = Embedded::new(None, directory.path(), &nats).expect("run `make tools` first");
        let (child, listening) = embedded.start(Ports::default()).await.expect("the server starts");
        Self { directory, embedded, child, listening, profile }
    }
    /// Where its files are.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }
    /// How to connect.
    pub fn config(&self) -> NatsConfig {
        self.embedded.access(&self.listening)
    }
    /// A client without Orrery, with all that a host may do.
    pub async fn client(&self) -> async_nats::Client {
        let (servers, options) = bus_client::access::options(&self.config()).expect("how to connect");
        options.connect(servers).await.expect("the server takes connections")
    }
    /// Where NATS listens, with the password of hosts: for programs that know an address alone.
    pub fn url_with_password(&self) -> String {
        let NatsConfig { user, password_file, .. } = self.config();
        let password = std::fs::read_to_string(password_file.expect("a file")).expect("the password");
        let authority = format!("nats://{}:{}@", user.expect("a user"), password.trim());
        self.listening.nats_url.replacen("nats://", &authority, 1)
    }
    /// A connection of its own.
    pub async fn bus(&self) -> Bus {
        Bus::connect(&self.config()).await.expect("the server can be used")
    }
    /// Kills the server without a word and starts it again on the same ports and files.
    pub async fn crash(&mut self) {
        self.child.kill().await.expect("the server can be killed");
        let (child, listening) =
            self.embedded.start(self.listening.ports()).await.expect("the server starts again");
        self.child = child;
        self.listening = listening;
    }
    /// The server's process.
    pub fn pid(&self) -> u32 {
        self.child.id().expect("the server runs")
    }
    /// Starts a host that runs partitions in this process.
    pub async fn host(&self, name: &str, agents: bool) -> Running {
        let running = self.host_unready(name, agents).await;
        running.ready().await.expect("every partition answers");
        running
    }
    /// Starts a host, some of whose partitions may not answer.
    pub async fn host_unready(&self, name: &str, agents: bool) -> Running {
        self.host_with(name, agents, &Tools::default()).await
    }
    /// Starts a host whose agents have these tools, and waits until every partition answers.
    pub async fn host_of(&self, name: &str, tools: &Tools) -> Running {
        let running = self.host_with(name, true, tools).await;
        running.ready().await.expect("every partition answers");
        running
    }
    async fn host_with(&self, name: &str, agents: bool, tools: &Tools) -> Running {
        if agents {
            actors_report::parse_by(process::program());
        }
        let mut config = Config {
            data_dir: self.directory.path().join(name),
            nats: self.config(),
            host_name: Some(name.to_owned()),
            agents,
            ..Config::default()
        };
        config.code_write.enabled = tools.workspaces.rules().is_some();
        actors_host::start(&config, actors_agents::shipped(tools)).await.expect("the host starts")
    }
}

/// A server and one host with the shipped agents.
pub struct Installation {
    /// The server.
    pub server: Server,
    /// The host.
    pub running: Running,
}

impl Installation {
    /// Starts both.
    pub async fn start() -> Self {
        let server = Server::start(Profile::Durable).await;
        let running = server.host("host-1", true).await;
        Self { server, running }
    }
    /// Where NATS listens.
    pub fn nats_url(&self) -> &str {
        &self.server.listening.nats_url
    }
    /// The host's connection.
    pub fn bus(&self) -> &Bus {
        self.running.bus()
    }
    /// Stops the host in good order.
    pub async fn stop(self) {
        self.running.stop().await;
    }
}

/// Python with nats-py.
pub fn python() -> PathBuf {
    if let Some(python) = std::env::var_os("ORRERY_PYTHON") {
        return python.into();
    }
    let python = repository().join(".tools/venv/bin/python");
    assert!(python.exists(), "no Python with nats-py at {}: run `make tools`", python.display());
    python
}

/// The root of the repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ has a parent").to_path_buf()
}

/// A probe's address.
pub fn probe(key: &str) -> EntityAddress {
    EntityAddress::new(Probe::KIND, Key::parse(key).expect("a test's key"))
}

/// An ask with a command. A host sends it if only the system may.
pub fn command<C: WireCommand>(key: &str, command: &C) -> Ask {
    let ask =
        Ask::new(EntityAddress::new(C::KIND, Key::parse(key).expect("a test's key")), Body::json(command));
    match is_from_system(&C::KIND, &ask.body) {
        true => ask.caller(Caller::SYSTEM.as_str()),
        false => ask,
    }
}

/// An ask with a query.
pub fn query<Q: WireQuery + Serialize>(key: &str, query: &Q) -> Ask {
    Ask::new(EntityAddress::new(Q::KIND, Key::parse(key).expect("a test's key")), Body::json(query))
}

/// What an entity says of itself; none where it refuses to, or nobody answers.
pub async fn view<T: DeserializeOwned>(bus: &Bus, query: &Ask) -> Option<T> {
    match bus.query(query, PATIENCE).await.ok()? {
        Reply::Accepted { result, .. } => {
            Some(serde_json::from_value(result).expect("the view of the query"))
        }
        Reply::Refused { .. } => None,
    }
}

/// Touches a probe.
pub fn touch(key: &str) -> Ask {
    command(key, &Probe::Touch { note: String::new() })
}

/// Asks, and expects that the command is accepted; the revision.
pub async fn accepted(bus: &Bus, ask: &Ask) -> Revision {
    match bus.ask(ask, PATIENCE).await.expect("an answer") {
        Reply::Accepted { revision, .. } => revision,
        Reply::Refused { refusal, .. } => panic!("refused with `{}`: {}", refusal.code, refusal.message),
    }
}

/// Touches the probes `p0` to `p<keys>`, and expects that each of them comes to `revision`.
pub async fn touch_all(bus: &Bus, keys: u64, revision: u64) {
    for key in 0..keys {
        assert_eq!(accepted(bus, &touch(&format!("p{key}"))).await, Revision(revision));
    }
}

/// Waits until a host holds the leases of so many partitions.
pub async fn until_held(bus: &Bus, host: &str, partitions: usize) {
    eventually(&format!("`{host}` to hold {partitions} partitions"), || async {
        let leases = bus.leases().await.ok()?;
        let held = leases.holders.values().filter(|holder| *holder == host).count();
        (held == partitions).then_some(())
    })
    .await;
}

/// Asks, and expects a refusal; its code.
pub async fn refused(bus: &Bus, ask: &Ask) -> String {
    match bus.ask(ask, PATIENCE).await.expect("an answer") {
        Reply::Refused { refusal, .. } => refusal.code.to_string(),
        Reply::Accepted { revision, .. } => panic!("accepted at revision {revision}"),
    }
}

/// Waits until `look` gives something, at most [`PATIENCE`].
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} did not happen within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until an entity's events in the event stream reach a revision.
pub async fn until_revision(bus: &Bus, entity: &EntityAddress, revision: Revision) {
    eventually(&format!("revision {revision} of {entity}"), || async {
        let events = bus.history(entity, Revision(0), 0).await.ok()?;
        (events.last()?.event.revision >= revision).then_some(())
    })
    .await;
}
