//! `orrery down`: stops the system on the data directory, in good order.

use std::time::Duration;

use actors_host::Config;
use schemars::JsonSchema;
use serde::Serialize;

use crate::discovery::{Discovery, alive};
use crate::failure::{Failure, exit};
use crate::output::{Output, Show};

/// How long a clean stop may take: the host's own deadline is ten seconds, the gateway's five.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often it is looked for.
const LOOK: Duration = Duration::from_millis(50);

/// Nothing but the data directory.
#[derive(Debug, clap::Args)]
pub struct Arguments {}

/// What was stopped.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Stopped {
    /// The process; none when nothing ran.
    pub pid: Option<u32>,
}

impl Show for Stopped {
    fn text(&self) -> String {
        match self.pid {
            Some(pid) => format!("stopped process {pid}"),
            None => "nothing ran here".to_owned(),
        }
    }
}

/// Stops it, and waits until it is gone.
pub async fn run(config: &Config, output: Output) -> Result<(), Failure> {
    let Some(found) = Discovery::find(&config.data_dir)? else {
        output.show(&Stopped { pid: None });
        return Ok(());
    };
    let pid = found.pid.to_string();
    // `kill` is in every shell and on every system; a signal needs no library and no unsafe code.
    let told = tokio::process::Command::new("sh").args(["-c", "kill -TERM \"$0\"", &pid]).output().await;
    match told {
        Ok(told) if told.status.success() => {}
        Ok(told) => return Err(refused(found.pid, String::from_utf8_lossy(&told.stderr).trim())),
        Err(error) => return Err(refused(found.pid, &error.to_string())),
    }
    let gone = async {
        while alive(found.pid) {
            tokio::time::sleep(LOOK).await;
        }
    };
    if tokio::time::timeout(PATIENCE, gone).await.is_err() {
        return Err(refused(found.pid, &format!("it still runs after {PATIENCE:?}")));
    }
    output.show(&Stopped { pid: Some(found.pid) });
    Ok(())
}

fn refused(pid: u32, reason: &str) -> Failure {
    Failure::new("stop-failed", format!("stopping process {pid}: {reason}"))
        .next("look at its log; `kill -9` is safe, nothing acknowledged is lost")
        .exit(exit::UNAVAILABLE)
}
