//! The embedded default: a private `nats-server` with a durable store, supervised like everything else.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use bus_client::Profile;
use serde::Deserialize;
use tokio::process::{Child, Command};
use tokio::time::Instant;

use crate::host::StartError;

/// The version that is obtained and tested with.
pub const NATS_VERSION: &str = "2.15.1";
/// How long the server may take to say where it listens; recovery of a large store included.
const START_DEADLINE: Duration = Duration::from_secs(60);
/// How often it is looked whether the server has started or ended.
const LOOK: Duration = Duration::from_millis(20);
/// How long a server gets to end in good order.
const STOP_DEADLINE: Duration = Duration::from_secs(10);

/// Where a running server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listening {
    /// `nats://127.0.0.1:<port>`
    pub nats_url: String,
    /// `http://127.0.0.1:<port>`
    pub monitor_url: String,
}

/// What the server is started with.
#[derive(Debug, Clone)]
pub struct Embedded {
    program: PathBuf,
    directory: PathBuf,
    profile: Profile,
    /// Locked while any clone lives: two servers on one store destroy it. The lock ends with the
    /// process, so one that was killed leaves none behind.
    _lock: Arc<std::fs::File>,
}

/// The file in which the server says where it listens.
#[derive(Debug, Deserialize)]
struct PortsFile {
    nats: Vec<String>,
    monitoring: Vec<String>,
}

impl Embedded {
    /// Finds the program and prepares the directory.
    pub fn new(program: Option<&Path>, data_dir: &Path, profile: Profile) -> Result<Self, StartError> {
        let directory = data_dir.join("nats");
        let made = std::fs::create_dir_all(&directory).and_then(|()| directory.canonicalize());
        let directory =
            made.map_err(|source| StartError::DataDir { path: data_dir.to_path_buf(), source })?;
        let program = find(program)?;
        let lock = lock(&directory).map_err(|error| match error {
            std::fs::TryLockError::WouldBlock => StartError::DataDirInUse { path: data_dir.to_path_buf() },
            std::fs::TryLockError::Error(source) => {
                StartError::DataDir { path: data_dir.to_path_buf(), source }
            }
        })?;
        Ok(Self { program, directory, profile, _lock: Arc::new(lock) })
    }

    /// Starts the server and waits until it listens. `ports` are those of NATS and of its
    /// monitoring; 0 picks free ones.
    pub async fn start(&self, ports: (u16, u16)) -> Result<(Child, Listening), StartError> {
        self.stop_former().await;
        let failed = |reason: String| StartError::Embedded { reason };
        let io = |error: std::io::Error| failed(error.to_string());
        for entry in std::fs::read_dir(&self.directory).map_err(io)?.flatten() {
            if entry.path().extension().is_some_and(|extension| extension == "ports") {
                std::fs::remove_file(entry.path()).map_err(io)?;
            }
        }
        let config = self.directory.join("nats.conf");
        std::fs::write(&config, self.config(ports)).map_err(io)?;
        let log = std::fs::File::create(self.directory.join("nats.log")).map_err(io)?;
        let mut child = Command::new(&self.program)
            .arg("-c")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::from(log.try_clone().map_err(io)?))
            .stderr(Stdio::from(log))
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| failed(format!("`{}`: {error}", self.program.display())))?;
        let deadline = Instant::now() + START_DEADLINE;
        loop {
            if let Some(listening) = self.listening(child.id()) {
                return Ok((child, listening));
            }
            if let Some(status) = child.try_wait().map_err(io)? {
                return Err(failed(format!("it ended with {status}: {}", self.last_words())));
            }
            if Instant::now() > deadline {
                return Err(failed(format!(
                    "it does not listen after {START_DEADLINE:?}: {}",
                    self.last_words()
                )));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn listening(&self, pid: Option<u32>) -> Option<Listening> {
        let name = format!("nats-server_{}.ports", pid?);
        let text = std::fs::read_to_string(self.directory.join(name)).ok()?;
        let ports: PortsFile = serde_json::from_str(&text).ok()?;
        Some(Listening {
            nats_url: ports.nats.into_iter().next()?,
            monitor_url: ports.monitoring.into_iter().next()?,
        })
    }

    /// The end of the server's log, for an error message.
    fn last_words(&self) -> String {
        let text = std::fs::read_to_string(self.directory.join("nats.log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(5).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
    }

    fn config(&self, (nats, monitor): (u16, u16)) -> String {
        let port = |port: u16| if port == 0 { "-1".to_owned() } else { port.to_string() };
        let quoted = |path: &Path| serde_json::to_string(&path.display().to_string()).unwrap_or_default();
        format!(
            "# Written by orrery at every start.\n\
             server_name: orrery-embedded\n\
             host: 127.0.0.1\nport: {}\nhttp: \"127.0.0.1:{}\"\n\
             max_payload: 8MB\nmax_pending: 256MB\nmax_connections: 16384\n\
             pid_file: {}\nports_file_dir: {}\n\
             jetstream {{\n  store_dir: {}\n  sync_interval: {}\n}}\n",
            port(nats),
            port(monitor),
            quoted(&self.pid_file()),
            quoted(&self.directory),
            quoted(&self.directory.join("store")),
            self.profile.fsync(),
        )
    }

    fn pid_file(&self) -> PathBuf {
        self.directory.join("nats.pid")
    }

    /// A process that was killed leaves its server behind; it holds the store and must go first.
    async fn stop_former(&self) {
        let Ok(text) = std::fs::read_to_string(self.pid_file()) else { return };
        let Ok(pid) = text.trim().parse::<u32>() else { return };
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let ours = self.directory.join("nats.conf").display().to_string();
        if !String::from_utf8_lossy(&command).contains(&ours) {
            return;
        }
        tracing::warn!(pid, "stopping the server that a former process left behind");
        terminate(pid).await;
    }
}

fn lock(directory: &Path) -> Result<std::fs::File, std::fs::TryLockError> {
    let file = std::fs::File::create(directory.join("lock")).map_err(std::fs::TryLockError::Error)?;
    file.try_lock()?;
    Ok(file)
}

/// Tells a process to end and waits until it has; after the deadline it is killed.
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

/// Stops a server in good order.
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

/// The program: as configured, or of the right version on the PATH, or as `make tools` left it.
pub fn find(configured: Option<&Path>) -> Result<PathBuf, StartError> {
    if let Some(program) = configured {
        return match version(program) {
            Some(version) if version == NATS_VERSION => Ok(program.to_path_buf()),
            Some(found) => Err(StartError::ServerVersion { program: program.to_path_buf(), found }),
            None => Err(StartError::ServerMissing { looked: vec![program.to_path_buf()] }),
        };
    }
    let mut candidates: Vec<PathBuf> =
        std::env::var_os("ORRERY_NATS_SERVER").map(PathBuf::from).into_iter().collect();
    let path = std::env::var_os("PATH").unwrap_or_default();
    candidates.extend(std::env::split_paths(&path).map(|directory| directory.join("nats-server")));
    candidates.push(PathBuf::from(".tools/nats-server"));
    if let Ok(executable) = std::env::current_exe() {
        let above = executable.ancestors().map(|directory| directory.join(".tools/nats-server"));
        candidates.extend(above);
    }
    let found =
        candidates.iter().find(|program| version(program).is_some_and(|version| version == NATS_VERSION));
    found.cloned().ok_or(StartError::ServerMissing { looked: candidates })
}

fn version(program: &Path) -> Option<String> {
    if !program.is_file() {
        return None;
    }
    let output = std::process::Command::new(program).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.trim().strip_prefix("nats-server: v").map(str::to_owned)
}
