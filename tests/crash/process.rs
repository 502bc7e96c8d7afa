//! Hosts as processes: started, killed, frozen, terminated.

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use bus_client::NatsConfig;
use serde_json::Value;
use system_tests::{PATIENCE, Server};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// SIGABRT: how a crash point ends the process.
const ABORTED: i32 = 6;

/// A host that can be killed.
pub struct Process {
    child: Child,
    nats: NatsConfig,
    data_dir: PathBuf,
    name: String,
    agents: bool,
}

impl Process {
    /// Starts a host and waits until every partition answers.
    pub async fn start(server: &Server, name: &str, agents: bool) -> Self {
        let mut process = Self::begin(server, name, agents, None);
        let said = process.said().await;
        assert_eq!(said["ready"], true, "{said}; it logged: {}", process.log());
        process
    }

    /// Starts a host that dies where `crash_at` says, and does not wait.
    pub fn begin(server: &Server, name: &str, agents: bool, crash_at: Option<&str>) -> Self {
        let nats = server.config();
        let data_dir = server.directory().join(name);
        let child = spawn(&nats, &data_dir, name, agents, crash_at);
        Self { child, nats, data_dir, name: name.to_owned(), agents }
    }

    /// What it prints once: that it is ready, or why not. Its end is null.
    pub async fn said(&mut self) -> Value {
        let stdout = self.child.stdout.take().expect("it was piped and not read before");
        let line = BufReader::new(stdout).lines().next_line().await.expect("a pipe");
        line.map_or(Value::Null, |line| serde_json::from_str(&line).expect("one line of JSON"))
    }

    /// Everything that it logged, in all its lives.
    pub fn log(&self) -> String {
        std::fs::read_to_string(log_file(&self.data_dir)).unwrap_or_default()
    }

    /// Whether it runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for its end; whether it was by a crash point.
    pub async fn aborted(&mut self) -> bool {
        self.ended().await.signal() == Some(ABORTED)
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> ExitStatus {
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        ended.unwrap_or_else(|_| panic!("it still runs; it logged: {}", self.log())).expect("it is our child")
    }

    /// Kills it without a word, if it still runs.
    pub async fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill().await;
    }

    /// Kills it without a word and starts it again on the same data, without a crash point.
    pub async fn restart(&mut self) {
        self.kill().await;
        self.child = spawn(&self.nats, &self.data_dir, &self.name, self.agents, None);
    }

    /// Sends a signal, such as `STOP`.
    pub async fn signal(&self, signal: &str) {
        let pid = self.child.id().expect("it runs").to_string();
        let sent = Command::new("kill").arg(format!("-{signal}")).arg(pid).status().await;
        assert!(sent.expect("kill runs").success());
    }
}

fn log_file(data_dir: &Path) -> PathBuf {
    data_dir.with_extension("log")
}

fn spawn(nats: &NatsConfig, data_dir: &Path, name: &str, agents: bool, crash_at: Option<&str>) -> Child {
    let log = File::options().create(true).append(true).open(log_file(data_dir)).expect("a file");
    let mut command = Command::new(env!("CARGO_BIN_EXE_crash-host"));
    command
        .env("ORRERY__DATA_DIR", data_dir)
        .env("ORRERY__NATS__URL", nats.url.as_deref().expect("the server's"))
        .env("ORRERY__NATS__MONITOR_URL", nats.monitor_url.as_deref().expect("the server's"))
        .env("ORRERY__NATS__PROFILE", nats.profile.as_str())
        .env("ORRERY__HOST_NAME", name)
        .env("ORRERY__AGENTS", agents.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .kill_on_drop(true);
    if let Some(place) = crash_at {
        command.env("ORRERY_CRASH_AT", place);
    }
    command.spawn().expect("the host starts")
}
