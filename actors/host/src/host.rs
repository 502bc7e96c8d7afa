//! Starts everything below one supervisor, and stops it in good order.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use actors_runtime::lease::{Placement, chain};
use actors_runtime::supervision::{Child, Intensity, Restart, Supervisor, Work};
use bus_client::{Bus, Profile};
use futures::StreamExt;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, ConfigError};
use crate::embedded::{self, Embedded, Listening};

/// How long stopping may take in all, before what still runs is killed.
const STOP_DEADLINE: Duration = Duration::from_secs(10);
/// How long a start may take until every partition answers.
const READY_DEADLINE: Duration = Duration::from_secs(60);
/// Failures that one branch bears: more than that within a minute is no accident.
const BRANCH: Intensity = Intensity { failures: 64, within: Duration::from_secs(60) };
/// Failures within a minute that are borne for each partition. One that always fails does so about
/// seventeen times: a few damaged logs must not take the others down, all of them at once must.
const PARTITION_FAILURES: usize = 12;
/// Failures that the root bears.
const ROOT: Intensity = Intensity { failures: 5, within: Duration::from_secs(60) };

/// Why a process could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is no good.
    #[error("reading the configuration")]
    Config(#[from] ConfigError),
    /// No program to start.
    #[error("no nats-server {NATS} was found", NATS = embedded::NATS_VERSION)]
    ServerMissing { looked: Vec<PathBuf> },
    /// The configured program is another version.
    #[error("`{program}` is version {found}, not {NATS}", NATS = embedded::NATS_VERSION)]
    ServerVersion { program: PathBuf, found: String },
    /// The embedded server did not start.
    #[error("starting the embedded nats-server: {reason}")]
    Embedded { reason: String },
    /// The data directory can not be used.
    #[error("using the data directory `{path}`")]
    DataDir { path: PathBuf, source: std::io::Error },
    /// Another process has its server on the data directory.
    #[error("the data directory `{path}` is in use by another process")]
    DataDirInUse { path: PathBuf },
    /// NATS can not be used.
    #[error("using NATS")]
    Bus(#[from] bus_client::Error),
    /// The supervision tree did not start.
    #[error("starting the supervision tree: {reason}")]
    Supervision { reason: String },
    /// Partitions do not answer.
    #[error("{missing} partitions do not answer after {waited:?}: {reason}")]
    NotReady { missing: usize, waited: Duration, reason: String },
}

impl StartError {
    /// A stable code with a page in `docs/errors/`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Config(_) => "bad-setting",
            Self::ServerMissing { .. } => "nats-server-missing",
            Self::ServerVersion { .. } => "nats-server-version",
            Self::Embedded { .. } => "nats-server-failed",
            Self::DataDir { .. } => "data-dir-unusable",
            Self::DataDirInUse { .. } => "data-dir-in-use",
            Self::Bus(error) => error.code(),
            Self::Supervision { .. } => "supervision-failed",
            Self::NotReady { .. } => "not-ready",
        }
    }
    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Config(_) => "`orrery config check` lists every mistake",
            Self::ServerMissing { .. } => {
                "run `make tools`, or set `nats_server` to the program, or `nats.url` to a running server"
            }
            Self::ServerVersion { .. } => "set `nats_server` to version 2.15.1, or remove the setting",
            Self::Embedded { .. } => {
                "see `nats/nats.log` in the data directory; with a port in use choose another `--nats-port`, or 0"
            }
            Self::DataDir { .. } => "choose another `--data-dir`, or mend its permissions",
            Self::DataDirInUse { .. } => "stop that one with `orrery down`, or choose another `--data-dir`",
            Self::Bus(error) => error.hint(),
            Self::Supervision { .. } => "start again; if it repeats, run with `-v` and report it",
            Self::NotReady { .. } => "another host may hold the partitions; `orrery doctor` shows who",
        }
    }
}

/// Where a running system is found.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Addresses {
    /// NATS.
    pub nats_url: String,
    /// The monitoring of NATS, where known.
    pub monitor_url: Option<String>,
    /// What an acknowledgement means.
    pub profile: Profile,
    /// The first token of every subject.
    pub subject_prefix: String,
    /// How many partitions there are.
    pub partitions: u16,
    /// The version of the NATS server.
    pub server_version: String,
}

/// A started process.
#[derive(Debug)]
pub struct Running {
    bus: Bus,
    addresses: Addresses,
    root: Supervisor,
    edges: Vec<Supervisor>,
    serving: watch::Receiver<usize>,
    /// The name under which this process holds partitions; none when it runs no host.
    host: Option<String>,
    stopping: CancellationToken,
}

/// Starts the embedded server where no URL is given, connects, and starts partitions and agents.
pub async fn start(config: &Config) -> Result<Running, StartError> {
    if let Some(mistake) = config.mistakes().into_iter().next() {
        return Err(mistake.into());
    }
    std::fs::create_dir_all(&config.data_dir)
        .map_err(|source| StartError::DataDir { path: config.data_dir.clone(), source })?;
    let supervision = |error: ractor::SpawnErr| StartError::Supervision { reason: error.to_string() };
    let root = Supervisor::root("orrery", ROOT).await.map_err(supervision)?;
    let mut nats = config.nats.clone();
    let stopping = CancellationToken::new();
    let mut servers = None;
    if nats.url.is_none() {
        let branch = root.below("server", BRANCH).await.map_err(supervision)?;
        let listening = start_server(config, &branch).await?;
        nats.url = Some(listening.nats_url);
        nats.monitor_url = Some(listening.monitor_url);
        servers = Some(branch);
    }
    let bus = Bus::connect(&nats).await?;
    let (serving_sender, serving) = watch::channel(0);
    let mut edges = Vec::new();
    if config.agents {
        let agents = root.below("agents", BRANCH).await.map_err(supervision)?;
        for (agent, capacity) in actors_agents::catalog::shipped() {
            agents.start(worker(&bus, agent, capacity, &host_name(config)));
        }
        edges.push(agents);
    }
    if config.host {
        let failures = PARTITION_FAILURES * usize::from(config.nats.partitions.get());
        let intensity = Intensity { failures, ..BRANCH };
        let partitions = root.below("partitions", intensity).await.map_err(supervision)?;
        let placements = root.below("lease", BRANCH).await.map_err(supervision)?;
        placements.start(placement(&bus, config, &partitions, Arc::new(serving_sender)));
        placements.start(forwarder(&bus));
        edges.extend([placements, partitions]);
    }
    edges.extend(servers);
    let addresses = Addresses {
        nats_url: bus.url().to_owned(),
        monitor_url: nats.monitor_url.clone(),
        profile: bus.profile(),
        subject_prefix: nats.subject_prefix.clone(),
        partitions: nats.partitions.get(),
        server_version: bus.server_version(),
    };
    let host = config.host.then(|| host_name(config));
    Ok(Running { bus, addresses, root, edges, serving, host, stopping })
}

/// The host's name: the same for every process on one data directory, so that a process that was
/// killed is followed at once.
fn host_name(config: &Config) -> String {
    config.host_name.clone().unwrap_or_else(|| {
        let path = config.data_dir.canonicalize().unwrap_or_else(|_| config.data_dir.clone());
        let hash = bus_schemas::Hash::of(path.display().to_string().as_bytes()).to_hex();
        format!("host-{}", &hash[..12])
    })
}

async fn start_server(config: &Config, branch: &Supervisor) -> Result<Listening, StartError> {
    let embedded = Embedded::new(config.nats_server.as_deref(), &config.data_dir, config.nats.profile)?;
    let (child, listening) = embedded.start((config.nats_port, 0)).await?;
    let port = |url: &str| url.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or_default();
    let ports = (port(&listening.nats_url), port(&listening.monitor_url));
    let first = Arc::new(std::sync::Mutex::new(Some(child)));
    let work: Work = Arc::new(move |stop| {
        let (embedded, first) = (embedded.clone(), Arc::clone(&first));
        Box::pin(async move {
            let waiting = first.lock().map_err(|_| "the server's handle is lost".to_owned())?.take();
            let mut child = match waiting {
                Some(child) => child,
                // Clients know the ports, so a restarted server keeps them.
                None => embedded.start(ports).await.map_err(|error| chain(&error))?.0,
            };
            tokio::select! {
                status = child.wait() => Err(format!("nats-server ended: {status:?}")),
                () = stop.cancelled() => { embedded::stop(child).await; Ok(()) }
            }
        })
    });
    branch.start(Child { name: "nats-server".into(), restart: Restart::Always, work });
    Ok(listening)
}

fn worker(bus: &Bus, agent: Arc<dyn actors_agents::Agent>, capacity: usize, host: &str) -> Child {
    let agent_name = agent.card().name.to_string();
    let (bus, name) = (bus.clone(), format!("{host}-{agent_name}"));
    let work: Work = Arc::new(move |stop| {
        let worker = actors_agents::Worker::new(bus.clone(), Arc::clone(&agent), name.clone(), capacity);
        Box::pin(async move { worker.run(stop).await.map_err(|error| chain(&error)) })
    });
    Child { name: agent_name, restart: Restart::Always, work }
}

fn placement(
    bus: &Bus,
    config: &Config,
    partitions: &Supervisor,
    serving: Arc<watch::Sender<usize>>,
) -> Child {
    let registry = Arc::new(actors_logic::registry());
    let (bus, host, partitions) = (bus.clone(), host_name(config), partitions.clone());
    let work: Work = Arc::new(move |stop| {
        let placement = Placement::new(
            bus.clone(),
            Arc::clone(&registry),
            &host,
            partitions.clone(),
            Arc::clone(&serving),
        );
        Box::pin(async move { placement.run(stop).await.map_err(|error| chain(&error)) })
    });
    Child { name: "placement".into(), restart: Restart::Always, work }
}

/// Sends asks on that came without a partition; the hosts share them.
fn forwarder(bus: &Bus) -> Child {
    let bus = bus.clone();
    let work: Work = Arc::new(move |stop| {
        let bus = bus.clone();
        Box::pin(async move {
            let incoming = bus.incoming(bus.subjects().requests(), Some("hosts")).await;
            let mut incoming = incoming.map_err(|error| chain(&error))?;
            loop {
                let request = tokio::select! {
                    request = incoming.next() => request.ok_or("the subscription ended")?,
                    () = stop.cancelled() => return Ok(()),
                };
                match bus.subjects().entity(&request.subject) {
                    Ok(entity) => bus.forward(&entity, request).await,
                    Err(error) => refuse(&bus, request, &error).await,
                }
            }
        })
    });
    Child { name: "forwarder".into(), restart: Restart::Always, work }
}

async fn refuse(bus: &Bus, request: bus_client::asks::Incoming, error: &bus_schemas::subjects::SubjectError) {
    let Some(reply_to) = request.reply_to else { return };
    let refusal = bus_schemas::Refusal::new(bus_schemas::envelope::code::BAD_SUBJECT, chain(error));
    let id = request.id.unwrap_or_else(|| bus_schemas::CommandId::from_text(&request.subject));
    bus.answer(reply_to, actors_runtime::inbox::refusal_reply(id, refusal)).await;
}

impl Running {
    /// The connection.
    pub fn bus(&self) -> &Bus {
        &self.bus
    }
    /// Where the system is found.
    pub fn addresses(&self) -> Addresses {
        self.addresses.clone()
    }
    /// How many partitions this process serves, as it changes.
    pub fn serving(&self) -> watch::Receiver<usize> {
        self.serving.clone()
    }
    /// Waits until every partition answers, here or on another host.
    pub async fn ready(&self) -> Result<(), StartError> {
        let partitions = usize::from(self.addresses.partitions);
        let started = tokio::time::Instant::now();
        let mut serving = self.serving.clone();
        loop {
            let leases = self.bus.leases().await.unwrap_or_default();
            let (held, here) = (leases.holders.len(), *serving.borrow());
            // A lease comes before the takeover: what this host holds it must serve too.
            let ours = self.host.as_ref().map_or(0, |host| {
                let held_here = leases.holders.values().filter(|holder| *holder == host).count();
                held_here.max(1)
            });
            let missing = partitions.saturating_sub(held) + ours.saturating_sub(here);
            if missing == 0 {
                return Ok(());
            }
            if started.elapsed() > READY_DEADLINE {
                let failure = self.edges.iter().find_map(|edge| edge.failures().borrow().clone());
                let reason = failure
                    .map_or_else(|| "no worker failed".into(), |f| format!("{}: {}", f.worker, f.reason));
                return Err(StartError::NotReady { missing, waited: started.elapsed(), reason });
            }
            // Changes here wake at once; those of other hosts are looked for.
            let _ = tokio::time::timeout(Duration::from_millis(100), serving.changed()).await;
        }
    }
    /// Resolves when the supervision tree has given up, with the reason.
    pub async fn failed(&self) -> String {
        self.root.ended().await;
        if self.stopping.is_cancelled() {
            std::future::pending::<()>().await;
        }
        let failure = self.root.failures().borrow().clone();
        failure.map_or_else(|| "the root supervisor ended".into(), |f| format!("{}: {}", f.worker, f.reason))
    }
    /// Stops in good order: agents first, then partitions, the server last.
    pub async fn stop(self) {
        self.stopping.cancel();
        for edge in &self.edges {
            edge.shutdown(STOP_DEADLINE).await;
        }
        self.root.shutdown(STOP_DEADLINE).await;
    }
}
