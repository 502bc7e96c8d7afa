//! Hosts as processes: started, killed, frozen, terminated.

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use bus_client::NatsConfig;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::{PATIENCE, Server};

/// SIGABRT: how a crash point ends the process.
const ABORTED: i32 = 6;

/// What a host is started with.
#[derive(Debug, Clone)]
pub struct Launch {
    /// How it connects.
    pub nats: NatsConfig,
    /// Where its files lie; its log lies beside.
    pub data_dir: PathBuf,
    /// Its name in leases and records.
    pub name: String,
    /// Whether it runs the shipped agents.
    pub agents: bool,
    /// The network namespace that it lives in; the test's own when there is none.
    pub namespace: Option<String>,
}

/// A host that can be killed.
pub struct Process {
    child: Child,
    launch: Launch,
}

impl Process {
    /// Starts a host and waits until every partition answers.
    pub async fn start(server: &Server, name: &str, agents: bool) -> Self {
        Self::begin(server, name, agents, None).until_ready().await
    }

    /// Starts a host that dies where `crash_at` says, and does not wait.
    pub fn begin(server: &Server, name: &str, agents: bool, crash_at: Option<&str>) -> Self {
        let (nats, data_dir) = (server.config(), server.directory().join(name));
        Self::launch(Launch { nats, data_dir, name: name.to_owned(), agents, namespace: None }, crash_at)
    }

    /// Starts a host, wherever and however, and does not wait.
    pub fn launch(launch: Launch, crash_at: Option<&str>) -> Self {
        Self { child: spawn(&launch, crash_at), launch }
    }

    /// Waits until every partition answers.
    pub async fn until_ready(mut self) -> Self {
        let said = self.said().await;
        assert_eq!(said["ready"], true, "{said}; it logged: {}", self.log());
        self
    }

    /// What it prints once: that it is ready, or why not. Its end is null.
    pub async fn said(&mut self) -> Value {
        let stdout = self.child.stdout.take().expect("it was piped and not read before");
        let line = BufReader::new(stdout).lines().next_line().await.expect("a pipe");
        line.map_or(Value::Null, |line| serde_json::from_str(&line).expect("one line of JSON"))
    }

    /// Its name in leases and records.
    pub fn name(&self) -> &str {
        &self.launch.name
    }

    /// The process's number, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Everything that it logged, in all its lives.
    pub fn log(&self) -> String {
        std::fs::read_to_string(log_file(&self.launch.data_dir)).unwrap_or_default()
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
        self.child = spawn(&self.launch, None);
    }

    /// Sends a signal, such as `STOP`.
    pub async fn signal(&self, signal: &str) {
        send_signal(self.child.id().expect("it runs"), signal).await;
    }
}

/// Sends a signal to a process of the test's own.
pub async fn send_signal(pid: u32, signal: &str) {
    let sent = Command::new("kill").arg(format!("-{signal}")).arg(pid.to_string()).status().await;
    assert!(sent.expect("kill runs").success());
}

/// A command that runs in a network namespace, or in the test's own.
pub fn command_in(namespace: Option<&str>, program: &Path) -> Command {
    let Some(namespace) = namespace else { return Command::new(program) };
    // `ip` becomes the program, so the process keeps its number and its parent.
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace]).arg(program);
    command
}

fn log_file(data_dir: &Path) -> PathBuf {
    data_dir.with_extension("log")
}

/// The program: Cargo names it to the tests that it runs, and it lies above the test's own.
pub(crate) fn program() -> PathBuf {
    if let Some(named) = std::env::var_os("CARGO_BIN_EXE_crash-host") {
        return named.into();
    }
    let own = std::env::current_exe().expect("a process has a program");
    let above = own.parent().and_then(Path::parent).expect("Cargo puts tests into a folder of their own");
    let program = above.join("crash-host");
    assert!(program.is_file(), "no host at {}: run this test with Cargo", program.display());
    program
}

fn spawn(launch: &Launch, crash_at: Option<&str>) -> Child {
    let Launch { nats, data_dir, name, agents, namespace } = launch;
    let log = File::options().create(true).append(true).open(log_file(data_dir)).expect("a file");
    let mut command = command_in(namespace.as_deref(), &program());
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
    // The agents may write in a folder `work` beside the data, where a test has made one.
    let work = data_dir.with_file_name("work");
    if work.is_dir() {
        command.env("ORRERY__WORKSPACE__ROOTS", serde_json::json!([work]).to_string());
        command.env("ORRERY__CODE_WRITE__ENABLED", "true");
    }
    // And run programs, by the engine whose socket it has written there.
    if let Ok(socket) = std::fs::read_to_string(data_dir.with_file_name("engine")) {
        command.env("ORRERY__SANDBOX__SOCKET", socket);
    }
    // The agents ask the models of a file beside the data, where a test has written one.
    let models = data_dir.with_file_name("models.toml");
    if models.is_file() {
        command.env("ORRERY__MODELS", models);
    }
    if let Some((user, file)) = nats.user.as_ref().zip(nats.password_file.as_ref()) {
        command.env("ORRERY__NATS__USER", user).env("ORRERY__NATS__PASSWORD_FILE", file);
    }
    if let Some(place) = crash_at {
        command.env("ORRERY_CRASH_AT", place);
    }
    command.spawn().expect("the host starts")
}
