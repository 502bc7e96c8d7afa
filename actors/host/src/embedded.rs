//! The embedded server: a private `nats-server` with a durable store, supervised like everything else.

mod users;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use bus_client::NatsConfig;
use bus_client::streams::FORMAT;
use bus_schemas::subjects::Subjects;
use bus_schemas::topology::Topology;
use serde::Deserialize;
use tokio::process::{Child, Command};
use tokio::time::Instant;

use crate::host::StartError;

/// The version that is downloaded and tested with.
pub const NATS_VERSION: &str = "2.15.1";
/// Timeout of the server's start, with the recovery of a large store.
const START_DEADLINE: Duration = Duration::from_secs(60);
/// The polling interval for the server's start and end.
const LOOK: Duration = Duration::from_millis(20);
/// Timeout of a graceful stop: less than the supervisor's, so that a killed server is waited for as well.
const STOP_DEADLINE: Duration = Duration::from_secs(8);

/// Lines of the server's log in an error message: its errors come in pairs at most.
const LAST_WORDS: usize = 3;
/// The directory of the server's files in the data directory.
const DIRECTORY: &str = "nats";
/// The configuration that all servers share, those of people and this one.
const BASE: &str = include_str!("../../../nats.conf");
/// The name under which the server's own file includes it.
const BASE_FILE: &str = "base.conf";
/// The last format whose server had one account.
const FORMER_FORMAT: u16 = 3;
/// Where that server kept its streams, which were in the account of everybody.
const FORMER_STREAMS: &str = "store/jetstream/$G/streams";
/// The variable that bounds the server's memory: near the bound its garbage collector works harder, and frees
/// more.
const MEMORY: &str = "GOMEMLIMIT";
/// The bound for a small store, in bytes. With half of it the server has half the throughput under full load.
const MEMORY_BYTES_MIN: u64 = 256 << 20;
/// The size of a store per byte of the bound. The server keeps every subject in memory; with a bound below
/// that, it would do little else than collect garbage.
const STORE_PER_MEMORY: u64 = 4;
/// The file in [`DIRECTORY`] in which the server writes its process id.
const PID_FILE: &str = "nats.pid";

/// The ports to listen on; 0 picks a free one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ports {
    pub nats: u16,
    pub monitor: u16,
}

/// The addresses of a running server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listening {
    /// `nats://127.0.0.1:<port>`
    pub nats_url: String,
    /// `http://127.0.0.1:<port>/<secret>`: the server answers nowhere else, since it lists connections and streams to
    /// anybody who asks.
    pub monitor_url: String,
}

impl Listening {
    /// The ports, with which a restarted server is found where its clients look for it.
    pub fn ports(&self) -> Ports {
        let port = |url: &str| url.split([':', '/']).find_map(|part| part.parse().ok()).unwrap_or_default();
        Ports { nats: port(&self.nats_url), monitor: port(&self.monitor_url) }
    }
}

/// What the server is started with.
#[derive(Debug, Clone)]
pub struct Embedded {
    program: PathBuf,
    directory: PathBuf,
    /// The settings of the installation on it.
    nats: NatsConfig,
    password: String,
    /// The path of the monitoring.
    monitor_path: String,
    /// Locked while any clone lives: two servers on one store destroy it. The lock ends with the process, so
    /// a killed one leaves none behind.
    _lock: Arc<std::fs::File>,
}

/// The file in which the server writes its ports.
#[derive(Debug, Deserialize)]
struct PortsFile {
    nats: Vec<String>,
    monitoring: Vec<String>,
}

impl Embedded {
    /// Finds the program and prepares the directory. Of `nats`, the profile, the prefix and the partitions
    /// count.
    pub fn new(program: Option<&Path>, data_dir: &Path, nats: &NatsConfig) -> Result<Self, StartError> {
        let unusable = |source| StartError::DataDir { path: data_dir.to_path_buf(), source };
        let directory = data_dir.join(DIRECTORY);
        let directory =
            std::fs::create_dir_all(&directory).and_then(|()| directory.canonicalize()).map_err(unusable)?;
        std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o700)).map_err(unusable)?;
        let program = find(program)?;
        let lock = lock(&directory, data_dir)?;
        let (password, password_file) = users::password(&directory).map_err(unusable)?;
        let user = Some(users::HOST.to_owned());
        let nats = NatsConfig { user, password_file: Some(password_file), ..nats.clone() };
        let monitor_path = users::made_up();
        Ok(Self { program, directory, nats, password, monitor_path, _lock: Arc::new(lock) })
    }

    /// How hosts and verbs connect to the server once it listens.
    pub fn access(&self, listening: &Listening) -> NatsConfig {
        let Listening { nats_url, monitor_url } = listening.clone();
        NatsConfig { url: Some(nats_url), monitor_url: Some(monitor_url), ..self.nats.clone() }
    }

    /// Starts the server and waits until it listens.
    pub async fn start(&self, ports: Ports) -> Result<(Child, Listening), StartError> {
        self.start_unless(ports, std::future::pending()).await
    }

    /// As [`start`](Self::start), and gives up when `interrupted` resolves first. When this fails, the server
    /// has ended; a caller that drops the future has it killed without knowing when it has ended.
    pub async fn start_unless(
        &self,
        ports: Ports,
        interrupted: impl Future<Output = ()>,
    ) -> Result<(Child, Listening), StartError> {
        stop_former(&self.directory).await;
        if self.directory.join(FORMER_STREAMS).is_dir() {
            return Err(bus_client::Error::Format { found: FORMER_FORMAT, wanted: FORMAT }.into());
        }
        let failed = |reason: String| StartError::Embedded { reason };
        for port in [ports.nats, ports.monitor] {
            free(port)?;
        }
        let io = |error: std::io::Error| failed(error.to_string());
        for entry in std::fs::read_dir(&self.directory).map_err(io)?.flatten() {
            if entry.path().extension().is_some_and(|extension| extension == "ports") {
                std::fs::remove_file(entry.path()).map_err(io)?;
            }
        }
        let config = self.directory.join("nats.conf");
        std::fs::write(self.directory.join(BASE_FILE), BASE).map_err(io)?;
        users::private(&config, &self.config(ports)?).map_err(io)?;
        let log = std::fs::File::create(self.directory.join("nats.log")).map_err(io)?;
        let bound = (bytes_below(&self.directory) / STORE_PER_MEMORY).max(MEMORY_BYTES_MIN).to_string();
        let mut child = Command::new(&self.program)
            .env(MEMORY, std::env::var_os(MEMORY).unwrap_or_else(|| bound.into()))
            .arg("-c")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::from(log.try_clone().map_err(io)?))
            .stderr(Stdio::from(log))
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| failed(format!("`{}`: {error}", self.program.display())))?;
        let started = tokio::select! {
            started = self.until_it_listens(&mut child) => started,
            () = interrupted => Err(StartError::Interrupted),
        };
        match started {
            Ok(listening) => Ok((child, listening)),
            Err(error) => {
                // It may have ended by itself; what matters is that it has ended.
                let _ = child.kill().await;
                Err(error)
            }
        }
    }

    async fn until_it_listens(&self, child: &mut Child) -> Result<Listening, StartError> {
        let deadline = Instant::now() + START_DEADLINE;
        loop {
            if let Some(listening) = self.listening(child.id()) {
                return Ok(listening);
            }
            let ended =
                child.try_wait().map_err(|error| StartError::Embedded { reason: error.to_string() })?;
            if let Some(status) = ended {
                return Err(self.failed(&format!("the server ended with {status}")));
            }
            if Instant::now() > deadline {
                return Err(self.failed(&format!("the server does not listen after {START_DEADLINE:?}")));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Why the server did not start, from its log.
    fn failed(&self, what: &str) -> StartError {
        let log = std::fs::read_to_string(self.directory.join("nats.log")).unwrap_or_default();
        match taken(&log) {
            Some(address) => StartError::PortInUse { address },
            None => StartError::Embedded { reason: format!("{what}: {}", last_words(&log)) },
        }
    }

    fn listening(&self, pid: Option<u32>) -> Option<Listening> {
        let name = format!("nats-server_{}.ports", pid?);
        let text = std::fs::read_to_string(self.directory.join(name)).ok()?;
        let ports: PortsFile = serde_json::from_str(&text).ok()?;
        Some(Listening {
            nats_url: ports.nats.into_iter().next()?,
            monitor_url: format!("{}/{}", ports.monitoring.into_iter().next()?, self.monitor_path),
        })
    }

    fn config(&self, ports: Ports) -> Result<String, StartError> {
        let subjects = Subjects::new(&self.nats.subject_prefix)
            .map_err(|error| StartError::Embedded { reason: error.to_string() })?;
        let topology = Topology { subjects, partitions: self.nats.partitions.get() };
        let port = |port: u16| if port == 0 { "-1".to_owned() } else { port.to_string() };
        let quoted = |path: &Path| serde_json::to_string(&path.display().to_string()).unwrap_or_default();
        Ok(format!(
            "# Written by orrery at every start.\n\
             include ./{BASE_FILE}\n\
             server_name: orrery-embedded\n\
             port: {}\nhttp: \"127.0.0.1:{}\"\nhttp_base_path: \"/{}\"\n\
             pid_file: {}\nports_file_dir: {}\n\
             {}\
             jetstream {{\n  store_dir: {}\n  sync_interval: {}\n}}\n",
            port(ports.nats),
            port(ports.monitor),
            self.monitor_path,
            quoted(&self.pid_file()),
            quoted(&self.directory),
            users::lines(&self.password, &topology),
            quoted(&self.directory.join("store")),
            self.nats.profile.fsync(),
        ))
    }

    fn pid_file(&self) -> PathBuf {
        self.directory.join(PID_FILE)
    }
}

/// The subject mappings of the server's configuration: handed-over commands go to the streams of their
/// partitions.
pub fn mappings(partitions: u16) -> String {
    let lines = Subjects::mappings(partitions).map(|(from, to)| format!("  \"{from}\": \"{to}\"\n"));
    format!("mappings = {{\n{}}}\n", lines.concat())
}

/// The bytes of the files below a directory. Unreadable files count 0.
fn bytes_below(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let bytes = entries.map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => bytes_below(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    });
    bytes.sum()
}

/// Stops the server that a killed process left behind on a data directory, and returns its process id. `None`
/// when there is none; an error when a live process uses the store.
pub async fn reap(data_dir: &Path) -> Result<Option<u32>, StartError> {
    let directory = data_dir.join(DIRECTORY);
    let directory = match directory.canonicalize() {
        Ok(directory) => directory,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(StartError::DataDir { path: data_dir.to_path_buf(), source }),
    };
    let _lock = lock(&directory, data_dir)?;
    Ok(stop_former(&directory).await)
}

/// Stops the server of a killed process: it holds the store.
async fn stop_former(directory: &Path) -> Option<u32> {
    let text = std::fs::read_to_string(directory.join(PID_FILE)).ok()?;
    let pid = text.trim().parse::<u32>().ok()?;
    let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let ours = directory.join("nats.conf").display().to_string();
    if !String::from_utf8_lossy(&command).contains(&ours) {
        return None;
    }
    tracing::warn!(pid, "stopping the server that a former process left behind");
    terminate(pid).await;
    Some(pid)
}

/// Locks the store for this process.
fn lock(directory: &Path, data_dir: &Path) -> Result<std::fs::File, StartError> {
    let unusable = |source| StartError::DataDir { path: data_dir.to_path_buf(), source };
    let file = std::fs::File::create(directory.join("lock")).map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => {
            Err(StartError::DataDirInUse { path: data_dir.to_path_buf() })
        }
        Err(std::fs::TryLockError::Error(source)) => Err(unusable(source)),
    }
}

/// Refuses a port that another program holds, before a server is started. Another program may still take it
/// before the server does; then the server's log says so.
fn free(port: u16) -> Result<(), StartError> {
    if port == 0 {
        return Ok(());
    }
    let address = std::net::SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, port));
    match std::net::TcpListener::bind(address) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            Err(StartError::PortInUse { address: address.to_string() })
        }
        Err(error) => Err(StartError::Embedded { reason: format!("listening on `{address}`: {error}") }),
    }
}

/// The address that the server could not listen on, from its log.
fn taken(log: &str) -> Option<String> {
    let line = log.lines().find(|line| line.contains("address already in use"))?;
    let (_, after) = line.split_once("listen tcp ")?;
    Some(after.split(": ").next().unwrap_or(after).to_owned())
}

/// The server's errors, or the end of its log when there are none.
fn last_words(log: &str) -> String {
    let complaint = |line: &&str| line.contains("[FTL]") || line.contains("[ERR]");
    let mut lines: Vec<&str> = log.lines().rev().filter(complaint).take(LAST_WORDS).collect();
    if lines.is_empty() {
        lines = log.lines().rev().take(LAST_WORDS).collect();
    }
    lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
}

/// Asks a process to end and waits until it has; kills it after the deadline.
pub async fn terminate(pid: u32) {
    let deadline = Instant::now() + STOP_DEADLINE;
    let mut signal = "-TERM";
    while Path::new(&format!("/proc/{pid}")).exists() {
        let sent = Command::new("kill").arg(signal).arg(pid.to_string()).stderr(Stdio::null()).status().await;
        if sent.is_err() {
            return;
        }
        if Instant::now() > deadline {
            signal = "-KILL";
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Stops a server gracefully.
pub async fn stop(mut child: Child) {
    if let Some(pid) = child.id() {
        let sent = Command::new("kill").arg("-TERM").arg(pid.to_string()).status().await;
        if sent.is_ok() && tokio::time::timeout(STOP_DEADLINE, child.wait()).await.is_ok() {
            return;
        }
    }
    if let Err(error) = child.kill().await {
        tracing::warn!(%error, "killing the embedded server");
    }
}

/// Finds the program: the configured one, or the right version on the PATH, or the one from `make tools`.
pub fn find(configured: Option<&Path>) -> Result<PathBuf, StartError> {
    if let Some(program) = configured {
        return named(program, "the setting `nats_server`");
    }
    if let Some(program) = std::env::var_os("ORRERY_NATS_SERVER") {
        return named(Path::new(&program), "`ORRERY_NATS_SERVER`");
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut candidates: Vec<PathBuf> =
        std::env::split_paths(&path).map(|directory| directory.join("nats-server")).collect();
    candidates.push(PathBuf::from(".tools/nats-server"));
    if let Ok(executable) = std::env::current_exe() {
        candidates.extend(executable.ancestors().map(|directory| directory.join(".tools/nats-server")));
    }
    let mut seen = Vec::new();
    for program in candidates.into_iter().filter(|program| program.is_file()) {
        match version(&program) {
            Ok(version) if version == NATS_VERSION => return Ok(program),
            Ok(version) => seen.push(format!("`{}` is version {version}", program.display())),
            Err(reason) => seen.push(format!("`{}`: {reason}", program.display())),
        }
    }
    if seen.is_empty() {
        seen.push("neither on the PATH nor in `.tools`".to_owned());
    }
    Err(StartError::ServerMissing { seen: seen.join(", ") })
}

/// The configured program, or an error.
fn named(program: &Path, named_by: &'static str) -> Result<PathBuf, StartError> {
    let program = program.to_path_buf();
    match version(&program) {
        Ok(version) if version == NATS_VERSION => Ok(program),
        Ok(found) => Err(StartError::ServerVersion { program, found }),
        Err(reason) => Err(StartError::ServerUnusable { named_by, program, reason }),
    }
}

/// The version that a program reports, or why it is no `nats-server`.
fn version(program: &Path) -> Result<String, String> {
    let metadata = std::fs::metadata(program).map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("the program is not a file".to_owned());
    }
    let asked = std::process::Command::new(program).arg("--version").stdin(Stdio::null()).output();
    let output = asked.map_err(|error| format!("the program cannot be run: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    match text.trim().strip_prefix("nats-server: v") {
        Some(version) => Ok(version.to_owned()),
        None => Err(format!("`--version` names none ({})", output.status)),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_log_tells_which_address_is_taken_and_otherwise_what_was_wrong() {
        let log = "[1] [INF] Starting\n[1] [FTL] Error listening on port: 127.0.0.1:4222, \"listen tcp 127.0.0.1:4222: bind: address already in use\"\n";
        assert_eq!(super::taken(log).as_deref(), Some("127.0.0.1:4222"));
        let log = "[1] [FTL] no space left\n[1] [INF] Restored 7 messages\n";
        assert_eq!((super::taken(log), super::last_words(log)), (None, "[1] [FTL] no space left".to_owned()));
        assert_eq!(super::last_words("[1] [INF] Starting"), "[1] [INF] Starting");
    }
}
