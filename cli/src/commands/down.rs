//! `orrery down`: stops the system on the data directory gracefully.

use std::time::Duration;

use actors_host::{Config, StartError, embedded};
use schemars::JsonSchema;
use serde::Serialize;

use crate::discovery::Discovery;
use crate::failure::{Failure, exit};
use crate::output::{Output, Show};

/// Timeout of a graceful stop: the host's own deadline is ten seconds, the gateway's five.
const PATIENCE: Duration = Duration::from_secs(20);
/// The polling interval while the system stops.
const LOOK: Duration = Duration::from_millis(50);

/// No options of its own.
#[derive(Debug, clap::Args)]
pub struct Arguments {}

/// The result of the stop.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Stopped {
    /// The id of the stopped process; `null` when none ran.
    pub pid: Option<u32>,
    /// The id of the `nats-server` process that a killed system had left behind; `null` when there was none.
    pub left_behind: Option<u32>,
}

impl Show for Stopped {
    fn text(&self) -> String {
        let process = self.pid.map(|pid| format!("stopped process {pid}"));
        let server = self.left_behind.map(|pid| {
            format!("stopped the nats-server (process {pid}) that a killed system had left behind")
        });
        let lines: Vec<String> = process.into_iter().chain(server).collect();
        if lines.is_empty() { "nothing ran here".to_owned() } else { lines.join("\n") }
    }
}

/// Stops the system and a server that it may have left behind, and waits until both are gone.
pub async fn run(config: &Config, output: Output) -> Result<(), Failure> {
    let found = Discovery::find(&config.data_dir)?;
    if let Some(found) = &found {
        stop(found).await?;
    }
    let left_behind = match embedded::reap(&config.data_dir).await {
        Ok(left_behind) => left_behind,
        // The process was stopped, and another one has started already.
        Err(StartError::DataDirInUse { .. }) if found.is_some() => None,
        Err(error @ StartError::DataDirInUse { .. }) => {
            return Err(Failure::from(error)
                .next("a starting system, or a verb that reads the data directory, uses it: wait until that is done, and try again"));
        }
        Err(error) => return Err(error.into()),
    };
    Discovery::forget(&config.data_dir);
    output.show(&Stopped { pid: found.map(|found| found.pid), left_behind });
    Ok(())
}

async fn stop(found: &Discovery) -> Result<(), Failure> {
    let pid = found.pid.to_string();
    // `kill` is in every shell: sending a signal needs no library and no unsafe code.
    let told = tokio::process::Command::new("sh").args(["-c", "kill -TERM \"$0\"", &pid]).output().await;
    match told {
        Ok(told) if told.status.success() => {}
        Ok(told) => return Err(refused(found.pid, String::from_utf8_lossy(&told.stderr).trim())),
        Err(error) => return Err(refused(found.pid, &error.to_string())),
    }
    let gone = async {
        while found.alive() {
            tokio::time::sleep(LOOK).await;
        }
    };
    if tokio::time::timeout(PATIENCE, gone).await.is_err() {
        return Err(refused(found.pid, &format!("the process still runs after {PATIENCE:?}")));
    }
    Ok(())
}

fn refused(pid: u32, reason: &str) -> Failure {
    Failure::new("stop-failed", format!("stopping process {pid}: {reason}"))
        .next("look at its log; `kill -9` is safe, nothing acknowledged is lost")
        .exit(exit::UNAVAILABLE)
}
