//! Starts everything below one supervisor, and stops it gracefully.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use actors_runtime::Gates;
use actors_runtime::bounds::Bounds;
use actors_runtime::claims::ClaimPool;
use actors_runtime::lease::Placement;
use actors_runtime::observer::CommitObserver;
use actors_runtime::supervision::{Child, Failed, Intensity, Report, Restart, Supervisor, Work};
use actors_worker::{Agent, Agents, Worker};
use bus_client::leases::Leases;
use bus_client::{Bus, Folded, Follower, NatsConfig, Trouble, patiently};
use bus_schemas::halts::Halts;
use bus_schemas::{Key, PartitionId};
use futures::StreamExt;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::claims::Door;
use crate::config::{Config, ConfigError};
use crate::declared::Manifests;
use crate::embedded::{self, Embedded, Ports};
use crate::gates;
use crate::healer::{self, Healer};
use crate::quarantine::Quarantine;
use crate::sweeper::{Sweeper, Tasks};
use crate::telemetry::observe::Observer;
use crate::webhook::Webhook;

/// Total time of a graceful stop, after which the rest is killed.
const STOP_DEADLINE: Duration = Duration::from_secs(10);
/// Timeout of a start, until every partition answers.
const READY_DEADLINE: Duration = Duration::from_secs(60);
/// The polling interval while partitions start.
const LOOK: Duration = Duration::from_millis(100);
/// The longest pause between retries while the server does not report the leases.
const READY_PAUSE_MAX: Duration = Duration::from_secs(1);
/// Failures that one branch tolerates: more within a minute are no accident.
const BRANCH: Intensity = Intensity { failures: 64, within: Duration::from_secs(60) };
/// Failures within a minute tolerated for each partition. A partition that always fails does so about
/// seventeen times: a few damaged logs must not take the others down, all of them at once must.
const PARTITION_FAILURES: usize = 12;
/// Failures that the root tolerates.
const ROOT: Intensity = Intensity { failures: 5, within: Duration::from_secs(60) };

/// Why a process could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is invalid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// No server program was found; `seen` says what was found instead.
    #[error("no nats-server {NATS} was found: {seen}", NATS = embedded::NATS_VERSION)]
    ServerMissing { seen: String },
    /// The configured program is no `nats-server`.
    #[error("{named_by} is `{program}`, and that is no nats-server: {reason}")]
    ServerUnusable { named_by: &'static str, program: PathBuf, reason: String },
    /// The configured program is of another version.
    #[error("`{program}` is version {found}, not {NATS}", NATS = embedded::NATS_VERSION)]
    ServerVersion { program: PathBuf, found: String },
    /// The port of the embedded server is in use.
    #[error("the embedded nats-server cannot listen on `{address}`: another program does")]
    PortInUse { address: String },
    /// The embedded server did not start.
    #[error("starting the embedded nats-server: {reason}")]
    Embedded { reason: String },
    /// The data directory cannot be used.
    #[error("using the data directory `{path}`")]
    DataDir { path: PathBuf, source: std::io::Error },
    /// Another process runs its server on the data directory.
    #[error("the data directory `{path}` is in use by another process")]
    DataDirInUse { path: PathBuf },
    /// NATS cannot be used.
    #[error("using NATS")]
    Bus(#[from] bus_client::Error),
    /// The start was interrupted.
    #[error("the start was interrupted")]
    Interrupted,
    /// The supervision tree did not start.
    #[error("starting the supervision tree: {reason}")]
    Supervision { reason: String },
    /// Some partitions do not answer.
    #[error("{missing} partitions do not answer after {:.0} s: {reason}", .waited.as_secs_f64())]
    NotReady { missing: usize, waited: Duration, reason: String },
    /// A partition has no owner, and its log needs a newer program.
    #[error("partition {partition} waits for a newer program: {reason}")]
    Outdated { partition: PartitionId, reason: String },
}

impl StartError {
    /// A stable code with an entry in `docs/errors/`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Config(_) => "bad-setting",
            Self::ServerMissing { .. } | Self::ServerUnusable { .. } => "nats-server-missing",
            Self::ServerVersion { .. } => "nats-server-version",
            Self::PortInUse { .. } => "nats-port-in-use",
            Self::Embedded { .. } => "nats-server-failed",
            Self::DataDir { .. } => "data-dir-unusable",
            Self::DataDirInUse { .. } => "data-dir-in-use",
            Self::Bus(error) => error.code(),
            Self::Interrupted => "interrupted",
            Self::Supervision { .. } => "supervision-failed",
            Self::NotReady { .. } => "not-ready",
            Self::Outdated { .. } => "program-outdated",
        }
    }
    /// The next step.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Config(_) => "`orrery config check` lists every mistake",
            Self::ServerMissing { .. } => {
                "run `make tools`, or set `nats_server` to the program, or `nats.url` to a running server"
            }
            Self::ServerUnusable { .. } => {
                "set it to a `nats-server` program of version 2.15.1, or remove the setting"
            }
            Self::ServerVersion { .. } => "set `nats_server` to version 2.15.1, or remove the setting",
            Self::PortInUse { .. } => {
                "choose another `--nats-port`, or 0 for a free one; a system that runs there is stopped by `orrery down` with its data directory"
            }
            Self::Embedded { .. } => "see `nats/nats.log` in the data directory",
            Self::DataDir { .. } => "choose another `--data-dir`, or mend its permissions",
            Self::DataDirInUse { .. } => "stop that one with `orrery down`, or choose another `--data-dir`",
            Self::Bus(error) => error.hint(),
            Self::Interrupted => "the same command again starts anew",
            Self::Supervision { .. } => "start again; if it repeats, run with `-v` and report it",
            Self::NotReady { .. } => "another host may hold the partitions; `orrery doctor` shows who",
            Self::Outdated { .. } => {
                "start the newer version again, or restore the backup that was taken before it ran"
            }
        }
    }
}

/// The addresses of a running system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// The NATS settings, with the address of the embedded server where that is used.
    pub nats: NatsConfig,
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
    /// The host name under which this process owns partitions; `None` when it runs no host.
    host: Option<String>,
    stopping: CancellationToken,
}

/// What was started so far, in the order in which it is stopped; the servers last.
#[derive(Debug, Default)]
struct Branches {
    edges: Vec<Supervisor>,
    servers: Option<Supervisor>,
}

/// Starts the embedded server where no URL is given, connects, and starts partitions, and these agents where
/// the settings have this process run agents. A failed start leaves nothing running.
pub async fn start(config: &Config, agents: impl Into<Agents>) -> Result<Running, StartError> {
    start_unless(config, agents, std::future::pending()).await
}

/// As [`start`], and gives up when `interrupted` resolves first.
pub async fn start_unless(
    config: &Config,
    agents: impl Into<Agents>,
    interrupted: impl Future<Output = ()>,
) -> Result<Running, StartError> {
    if let Some(mistake) = config.mistakes().into_iter().next() {
        return Err(mistake.into());
    }
    std::fs::create_dir_all(&config.data_dir)
        .map_err(|source| StartError::DataDir { path: config.data_dir.clone(), source })?;
    let (told, reports) = tokio::sync::mpsc::channel(healer::REPORTS_MAX);
    let root = Supervisor::root_reporting("orrery", ROOT, told).await.map_err(supervision)?;
    let mut branches = Branches::default();
    match start_all(config, agents.into(), &root, reports, &mut branches, interrupted).await {
        Ok((bus, addresses, serving)) => {
            let host = config.host.then(|| host_name(config));
            let Branches { mut edges, servers } = branches;
            edges.extend(servers);
            let stopping = CancellationToken::new();
            Ok(Running { bus, addresses, root, edges, serving, host, stopping })
        }
        Err(error) => {
            // The server is a separate process: it would outlive this one.
            stop_all(&root, branches.edges.iter().chain(&branches.servers)).await;
            Err(error)
        }
    }
}

fn supervision(error: ractor::SpawnErr) -> StartError {
    StartError::Supervision { reason: error.to_string() }
}

/// Everything that can fail once there is a root supervisor to stop it.
async fn start_all(
    config: &Config,
    agents: Agents,
    root: &Supervisor,
    reports: tokio::sync::mpsc::Receiver<Report>,
    branches: &mut Branches,
    interrupted: impl Future<Output = ()>,
) -> Result<(Bus, Addresses, watch::Receiver<usize>), StartError> {
    let mut interrupted = std::pin::pin!(interrupted);
    let mut nats = config.nats.clone();
    if nats.url.is_none() {
        let branch = root.below("server", BRANCH).await.map_err(supervision)?;
        branches.servers = Some(branch.clone());
        // Never dropped half-way: the future waits until the server has started, or has ended.
        nats = start_server(config, &branch, interrupted.as_mut()).await?;
    }
    tokio::select! {
        started = start_below(config, agents, nats, root, reports, branches) => started,
        () = interrupted => Err(StartError::Interrupted),
    }
}

async fn start_below(
    config: &Config,
    agents: Agents,
    nats: NatsConfig,
    root: &Supervisor,
    reports: tokio::sync::mpsc::Receiver<Report>,
    branches: &mut Branches,
) -> Result<(Bus, Addresses, watch::Receiver<usize>), StartError> {
    // Later steps read from the bus, and wait for it in the same way.
    let bus = Bus::connect_patiently(&nats, None).await?;
    if config.host {
        patiently("asking where the server stores what is handed over", None, || bus.check_mappings())
            .await?;
    }
    let (serving_sender, serving) = watch::channel(0);
    crate::panics::serving(serving.clone());
    let bounds = Bounds::default();
    if config.agents || config.host {
        let settings = root.below("settings", BRANCH).await.map_err(supervision)?;
        branches.edges.push(settings.clone());
        settings.start(crate::live::child(&bus, &host_name(config), &bounds));
    }
    let chaos = crate::chaos::begin(&bus, config, &host_name(config), branches.edges.first()).await?;
    let disturbed = &chaos.bus;
    if config.agents {
        let workers = root.below("agents", BRANCH).await.map_err(supervision)?;
        branches.edges.push(workers.clone());
        start_agents(&bus, disturbed, config, agents, &workers);
    }
    let quarantine = Quarantine::default();
    let mut sweeping = None;
    if config.host {
        // Before any partition is served: quarantined entities stay in quarantine.
        patiently("reading what is kept apart", None, || healer::load_quarantine(&bus, &quarantine)).await?;
        let failures = PARTITION_FAILURES * usize::from(config.nats.partitions.get());
        let intensity = Intensity { failures, ..BRANCH };
        let placements = root.below("lease", BRANCH).await.map_err(supervision)?;
        branches.edges.push(placements.clone());
        let partitions = root.below("partitions", intensity).await.map_err(supervision)?;
        branches.edges.push(partitions.clone());
        let (halts, follower) = patiently("reading halts", None, || bus.follow::<Halts>()).await?;
        placements.start(following(follower));
        let (undelivered_to, lost) = bus.undelivered().await?;
        let gates = gates::all(&halts, &quarantine, chaos.refusal, config.code_write.enabled);
        let pool = ClaimPool::under(gates.clone(), &undelivered_to);
        placements.start(Door::new(&bus, &host_name(config), pool.clone()).child(lost.boxed()));
        sweeping = sweeper(&bus, config, &halts, &quarantine);
        let observer = sweeping.as_ref().map(|sweeper| sweeper.tasks.clone() as Arc<dyn CommitObserver>);
        let kept = Kept { bounds: &bounds, gates: &gates, pool: &pool, observer: &observer };
        placements.start(placement(disturbed, config, &partitions, Arc::new(serving_sender), kept));
        placements.start(here(&bus, &host_name(config)));
        placements.start(forwarder(disturbed, bus.subjects().requests()));
        placements.start(forwarder(disturbed, bus.subjects().queries()));
        let told = config.dead_letters.webhook.iter();
        told.for_each(|url| placements.start(webhook(&bus, url, &host_name(config))));
    }
    // Stopped after the partitions, so that it can record their end.
    let healers = root.below("healer", BRANCH).await.map_err(supervision)?;
    branches.edges.push(healers.clone());
    healers.start(healer(&bus, &nats, config, quarantine, reports));
    sweeping.into_iter().for_each(|sweeper| healers.start(sweeper.child()));
    let observer = Observer {
        bus: bus.clone(),
        nats: nats.clone(),
        host: host_name(config),
        data_dir: config.data_dir.clone(),
        is_host: config.host,
        serving: serving.clone(),
    };
    healers.start(observer.child());
    let addresses = Addresses { nats: nats.clone(), server_version: bus.server_version() };
    Ok((bus, addresses, serving))
}

/// Starts the agents of the program, and follows the manifests that declare others.
fn start_agents(bus: &Bus, disturbed: &Bus, config: &Config, agents: Agents, workers: &Supervisor) {
    if let Some(declares) = agents.declares {
        let manifests = Manifests {
            disturbed: disturbed.clone(),
            bus: bus.clone(),
            host: host_name(config),
            lanes: config.lanes().expect("the settings were checked"),
            declares,
            own: agents.own.iter().map(|(agent, _)| agent.card()).collect(),
            workers: workers.clone(),
            running: Arc::default(),
        };
        workers.start(manifests.child());
    }
    for (agent, capacity) in agents.own {
        workers.start(worker(disturbed, agent, capacity, config));
    }
}

/// Stops branch after branch, then the rest.
async fn stop_all(root: &Supervisor, branches: impl Iterator<Item = &Supervisor>) {
    for branch in branches {
        branch.shutdown(STOP_DEADLINE).await;
    }
    root.shutdown(STOP_DEADLINE).await;
}

/// The host's name: the same for every process on one data directory, so that a new process follows a killed
/// one at once.
fn host_name(config: &Config) -> String {
    config.host_name.clone().unwrap_or_else(|| {
        let path = config.data_dir.canonicalize().unwrap_or_else(|_| config.data_dir.clone());
        let hash = bus_schemas::Hash::of(path.display().to_string().as_bytes()).to_hex();
        format!("host-{}", &hash[..12])
    })
}

async fn start_server(
    config: &Config,
    branch: &Supervisor,
    interrupted: impl Future<Output = ()>,
) -> Result<NatsConfig, StartError> {
    let embedded = Embedded::new(config.nats_server.as_deref(), &config.data_dir, &config.nats)?;
    let (child, listening) =
        embedded.start_unless(Ports { nats: config.nats_port, monitor: 0 }, interrupted).await?;
    let ports = listening.ports();
    let (first, access) = (Arc::new(std::sync::Mutex::new(Some(child))), embedded.access(&listening));
    let work: Work = Arc::new(move |stop| {
        let (embedded, first) = (embedded.clone(), Arc::clone(&first));
        Box::pin(async move {
            let waiting = first.lock().map_err(|_| "the server's handle is lost".to_owned())?.take();
            let mut child = match waiting {
                Some(child) => child,
                // Clients know the ports, so a restarted server keeps them.
                None => embedded.start(ports).await.map_err(|error| Failed::by(&error))?.0,
            };
            tokio::select! {
                status = child.wait() => Err(format!("nats-server ended: {status:?}").into()),
                () = stop.cancelled() => { embedded::stop(child).await; Ok(()) }
            }
        })
    });
    branch.start(Child { name: "nats-server".into(), restart: Restart::Always, work });
    Ok(access)
}

fn healer(
    bus: &Bus,
    nats: &NatsConfig,
    config: &Config,
    quarantine: Quarantine,
    reports: tokio::sync::mpsc::Receiver<Report>,
) -> Child {
    let healer = Healer {
        bus: bus.clone(),
        nats: nats.clone(),
        host: Key::parse(&host_name(config)).expect("the name of a host is checked"),
        data_dir: config.data_dir.clone(),
        is_host: config.host,
        quarantine,
        reports: Arc::new(tokio::sync::Mutex::new(reports)),
    };
    healer.child()
}

/// The sweeper; `None` where it is turned off.
fn sweeper(bus: &Bus, config: &Config, halts: &Folded<Halts>, quarantine: &Quarantine) -> Option<Sweeper> {
    let after = config.sweep_after.duration()?;
    let host = Key::parse(&host_name(config)).expect("the name of a host is checked");
    let tasks = Tasks::new(&host, after, bus.topology().partitions);
    let (halts, quarantine) = (halts.clone(), quarantine.clone());
    Some(Sweeper { bus: bus.clone(), tasks, halts, quarantine, after })
}

fn worker(bus: &Bus, agent: Arc<dyn Agent>, capacity: usize, config: &Config) -> Child {
    let (agent_name, host) = (agent.card().name.to_string(), host_name(config));
    let lanes = config.lanes().expect("the settings were checked");
    let (bus, name) = (bus.clone(), format!("{host}-{agent_name}"));
    let work: Work = Arc::new(move |stop| {
        let worker = Worker::new(bus.clone(), Arc::clone(&agent), name.clone(), capacity);
        let worker = worker.lanes(lanes.clone());
        Box::pin(async move { worker.run(stop).await.map_err(|error| Failed::by(&error)) })
    });
    Child { name: agent_name, restart: Restart::Always, work }
}

/// What all partitions of a host share.
struct Kept<'a> {
    bounds: &'a Bounds,
    gates: &'a Gates,
    pool: &'a ClaimPool,
    observer: &'a Option<Arc<dyn CommitObserver>>,
}

fn placement(
    bus: &Bus,
    config: &Config,
    partitions: &Supervisor,
    serving: Arc<watch::Sender<usize>>,
    kept: Kept<'_>,
) -> Child {
    let Kept { bounds, gates, pool, observer } = kept;
    let registry = Arc::new(actors_logic::registry());
    let (bus, host, partitions) = (bus.clone(), host_name(config), partitions.clone());
    let (bounds, gates, pool, observer) = (bounds.clone(), gates.clone(), pool.clone(), observer.clone());
    let work: Work = Arc::new(move |stop| {
        let placement = Placement::new(
            bus.clone(),
            Arc::clone(&registry),
            &host,
            partitions.clone(),
            Arc::clone(&serving),
        );
        let placement = placement.bounds(bounds.clone()).gates(gates.clone());
        let placement = placement.places(pool.clone()).observer(observer.clone());
        Box::pin(async move { placement.run(stop).await.map_err(|error| Failed::by(&error)) })
    });
    Child { name: "placement".into(), restart: Restart::Always, work }
}

/// Announces this host to the other hosts.
fn here(bus: &Bus, host: &str) -> Child {
    let (bus, host) = (bus.clone(), host.to_owned());
    let work: Work = Arc::new(move |stop| {
        let (bus, host) = (bus.clone(), host.clone());
        Box::pin(async move {
            tokio::select! {
                said = bus.say_here(&host) => said.map_err(|error| Failed::by(&error)),
                () = stop.cancelled() => Ok(()),
            }
        })
    });
    Child { name: "here".into(), restart: Restart::Always, work }
}

/// Keeps the partitions' view of halts up to date.
fn following(follower: Follower<Halts>) -> Child {
    let work: Work = Arc::new(move |stop| {
        let follower = follower.clone();
        Box::pin(async move {
            tokio::select! {
                never = follower.run() => match never {},
                () = stop.cancelled() => Ok(()),
            }
        })
    });
    Child { name: "halts".into(), restart: Restart::Always, work }
}

/// Posts dead letters to a webhook; the hosts share the work.
fn webhook(bus: &Bus, url: &str, host: &str) -> Child {
    let (bus, url, reporter) = (bus.clone(), url.to_owned(), format!("{host}-webhook"));
    let work: Work = Arc::new(move |stop| {
        let webhook = Webhook::new(bus.clone(), &url, &reporter);
        Box::pin(async move {
            let webhook = webhook.map_err(|error| Failed::by(&error))?;
            webhook.run(stop).await.map_err(|error| Failed::by(&error))
        })
    });
    Child { name: "dead-letter-webhook".into(), restart: Restart::Always, work }
}

/// Forwards asks and queries that arrived without a partition; the hosts share the work.
fn forwarder(bus: &Bus, subject: String) -> Child {
    let (bus, name) = (bus.clone(), format!("forwarder {subject}"));
    let work: Work = Arc::new(move |stop| {
        let (bus, subject) = (bus.clone(), subject.clone());
        Box::pin(async move {
            let forwarder = bus.forwarder(subject).await.map_err(|error| Failed::by(&error))?;
            tokio::select! {
                () = forwarder.run() => Err("the subscription ended".to_owned().into()),
                () = stop.cancelled() => Ok(()),
            }
        })
    });
    Child { name, restart: Restart::Always, work }
}

impl Running {
    /// The connection.
    pub fn bus(&self) -> &Bus {
        &self.bus
    }
    /// The addresses of the system.
    pub fn addresses(&self) -> Addresses {
        self.addresses.clone()
    }
    /// The number of partitions that this process serves, as it changes.
    pub fn serving(&self) -> watch::Receiver<usize> {
        self.serving.clone()
    }
    /// Waits until every partition answers, here or on another host.
    pub async fn ready(&self) -> Result<(), StartError> {
        let partitions = usize::from(self.addresses.nats.partitions.get());
        let mut started = tokio::time::Instant::now();
        let mut serving = self.serving.clone();
        let mut trouble = Trouble::new("reading the leases", LOOK, READY_PAUSE_MAX);
        loop {
            let leases = match self.bus.leases().await {
                Ok(leases) => leases,
                // Partitions get their time once the server answers.
                Err(error) => {
                    trouble.wait(&error).await;
                    started = tokio::time::Instant::now();
                    continue;
                }
            };
            trouble.over();
            let (held, here) = (leases.holders.len(), *serving.borrow());
            // A lease precedes the takeover: this host must also serve the partitions whose leases it has.
            let ours = self.host.as_ref().map_or(0, |host| {
                let held_here = leases.holders.values().filter(|holder| *holder == host).count();
                // Beside a newer program, or where every partition already has a host, this one stands by.
                let share =
                    |own| leases.share(host, own, self.addresses.nats.partitions.get()).unwrap_or_default();
                held_here.max(leases.presences.get(host).map_or(1, share).min(1))
            });
            let missing = partitions.saturating_sub(held) + ours.saturating_sub(here);
            if missing == 0 {
                return Ok(());
            }
            if let Some((partition, reason)) = self.left(&leases) {
                return Err(StartError::Outdated { partition, reason });
            }
            if started.elapsed() > READY_DEADLINE {
                let failures = || self.edges.iter().filter_map(|edge| edge.failures().borrow().clone());
                let mut of_server = failures().filter(|one| one.outside && one.at > started);
                if let Some(failure) = of_server.next() {
                    // Some streams have no leader yet: waiting for it is like waiting for the whole server.
                    trouble.failed(&failure.reason);
                    started = tokio::time::Instant::now();
                    continue;
                }
                let failure = failures().next();
                let reason = failure
                    .map_or_else(|| "no worker failed".into(), |f| format!("{}: {}", f.worker, f.reason));
                return Err(StartError::NotReady { missing, waited: started.elapsed(), reason });
            }
            // Changes here wake it at once; those of other hosts are polled.
            let _ = tokio::time::timeout(LOOK, serving.changed()).await;
        }
    }
    /// A partition that this host leaves to a newer program, and that has no owner.
    fn left(&self, leases: &Leases) -> Option<(PartitionId, String)> {
        let left = &leases.presences.get(self.host.as_ref()?)?.leaves;
        let mut orphans = left.iter().filter(|(partition, _)| !leases.holders.contains_key(partition));
        orphans.next().map(|(partition, reason)| (*partition, reason.clone()))
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
    /// Stops gracefully: agents first, then partitions, the server last.
    pub async fn stop(self) {
        self.stopping.cancel();
        stop_all(&self.root, self.edges.iter()).await;
    }
}
