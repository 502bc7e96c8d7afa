//! An owner of partitions in its own process: a host that can be killed.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use actors_host::Config;
use bus_client::NatsConfig;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::oneshot;

use crate::error::Error;
use crate::installation::Installation;

/// The line that an owner writes once its partitions answer.
const READY: &str = "ready";
/// Timeout for an owner's [`READY`], with a store of some gigabytes.
const READY_DEADLINE: Duration = Duration::from_secs(60);

/// The settings of an owner, passed on its command line as JSON.
#[derive(Debug, Serialize, Deserialize)]
struct Settings {
    data_dir: PathBuf,
    host_name: String,
    nats: NatsConfig,
}

/// Runs an owner until its standard input ends: the program behind `owner_command`.
///
/// `settings` is the argument that the benchmark appended to the command.
pub async fn run(settings: &str) -> Result<(), Error> {
    let settings: Settings = serde_json::from_str(settings)
        .map_err(|error| Error::answer("reading an owner's settings", error))?;
    let config = Config {
        data_dir: settings.data_dir,
        nats: settings.nats,
        host_name: Some(settings.host_name),
        agents: false,
        ..Config::default()
    };
    let running = actors_host::start(&config, Vec::new()).await?;
    running.ready().await?;
    println!("{READY}");
    let (sender, ended) = oneshot::channel::<()>();
    // A thread of its own, so that nothing waits for the read when the host fails. The benchmark writes
    // nothing: the read returns when the benchmark has ended, for whatever reason.
    std::thread::spawn(move || {
        let read = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        drop((read, sender));
    });
    tokio::select! {
        _ = ended => {}
        reason = running.failed() => return Err(Error::answer("running an owner", reason)),
    }
    running.stop().await;
    Ok(())
}

/// An owner's process, as the benchmark sees it. It is killed when this is dropped.
pub(crate) struct Owner {
    child: Child,
}

impl Owner {
    /// Starts an owner with a host name, without waiting for it.
    pub fn start(command: &[OsString], installation: &Installation, host_name: &str) -> Result<Self, Error> {
        let [program, arguments @ ..] = command else {
            return Err(Error::Option { option: "owner command", reason: "names no program" });
        };
        let settings = Settings {
            data_dir: installation.host_directory(host_name),
            host_name: host_name.to_owned(),
            nats: installation.config(),
        };
        let settings = serde_json::to_string(&settings).expect("settings have string keys");
        let child = Command::new(program)
            .args(arguments)
            .arg(settings)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(Error::io("starting an owner"))?;
        Ok(Self { child })
    }

    /// Waits until the owner's partitions answer.
    pub async fn ready(&mut self) -> Result<(), Error> {
        let output = self.child.stdout.take();
        let output =
            output.ok_or_else(|| Error::answer("waiting for an owner", "the owner was waited for before"))?;
        let mut lines = BufReader::new(output).lines();
        let late = Error::Late { what: "an owner", seconds: READY_DEADLINE.as_secs() };
        let line = tokio::time::timeout(READY_DEADLINE, lines.next_line()).await.map_err(|_| late)?;
        match line.map_err(Error::io("waiting for an owner"))? {
            Some(line) if line == READY => Ok(()),
            Some(line) => Err(Error::answer("waiting for an owner", line)),
            None => Err(Error::answer("waiting for an owner", "the owner ended")),
        }
    }

    /// The id of the process, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Kills the owner as `kill -9` does, without waiting.
    pub fn kill(&mut self) -> Result<(), Error> {
        self.child.start_kill().map_err(Error::io("killing an owner"))
    }

    /// Waits until the process has ended.
    pub async fn gone(&mut self) -> Result<(), Error> {
        self.child.wait().await.map(drop).map_err(Error::io("waiting for the end of an owner"))
    }

    /// Stops the owner gracefully.
    pub async fn stop(mut self) -> Result<(), Error> {
        drop(self.child.stdin.take());
        self.gone().await
    }
}
