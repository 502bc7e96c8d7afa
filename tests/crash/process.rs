//! Hosts as processes: started, killed, frozen.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use bus_client::NatsConfig;
use system_tests::Server;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// A host that can be killed.
pub struct Process {
    child: Child,
    nats: NatsConfig,
    data_dir: PathBuf,
    name: String,
    agents: bool,
}

impl Process {
    /// Starts a host and waits until it says that it is ready, or why not.
    pub async fn start(server: &Server, name: &str, agents: bool) -> Self {
        let mut process = Self::begin(server, name, agents, None);
        process.said().await;
        process
    }

    /// Starts a host that dies where `crash_at` says, and does not wait.
    pub fn begin(server: &Server, name: &str, agents: bool, crash_at: Option<&str>) -> Self {
        let nats = server.config();
        let data_dir = server.directory().join(name);
        let child = spawn(&nats, &data_dir, name, agents, crash_at);
        Self { child, nats, data_dir, name: name.to_owned(), agents }
    }

    /// The first line that it prints: `ready`, or an error.
    pub async fn said(&mut self) -> String {
        let stdout = self.child.stdout.take().expect("it was piped and not read before");
        let line = BufReader::new(stdout).lines().next_line().await.expect("a pipe");
        line.unwrap_or_default()
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for its end; whether it was by SIGABRT, as a crash point ends it.
    pub async fn aborted(&mut self) -> bool {
        use std::os::unix::process::ExitStatusExt;
        let status = self.child.wait().await.expect("it is our child");
        status.signal() == Some(6)
    }

    /// Kills it without a word and starts it again on the same data, without a crash point.
    pub async fn restart(&mut self) {
        self.kill().await;
        self.child = spawn(&self.nats, &self.data_dir, &self.name, self.agents, None);
    }

    /// Kills it without a word.
    pub async fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill().await;
    }

    /// Sends a signal, such as `STOP`.
    pub async fn signal(&self, signal: &str) {
        let pid = self.child.id().expect("it runs").to_string();
        let sent = Command::new("kill").arg(format!("-{signal}")).arg(pid).status().await;
        assert!(sent.expect("kill runs").success());
    }
}

fn spawn(nats: &NatsConfig, data_dir: &Path, name: &str, agents: bool, crash_at: Option<&str>) -> Child {
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
        .kill_on_drop(true);
    if let Some(place) = crash_at {
        command.env("ORRERY_CRASH_AT", place);
    }
    command.spawn().expect("the host starts")
}
