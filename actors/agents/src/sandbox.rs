//! The sandbox of this process, connected when the first job needs it.

use std::fmt;

use actors_sandbox::{Config, Sandbox};
use actors_worker::Failure;
use tokio::sync::OnceCell;

use crate::tester::failed;

/// The sandbox that agents share. Without a configuration, work that needs one fails as `no-sandbox`.
#[derive(Default)]
pub struct Sandboxes {
    config: Option<Config>,
    connected: OnceCell<Sandbox>,
}

impl fmt::Debug for Sandboxes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sandboxes {:?}", self.config)
    }
}

impl Sandboxes {
    /// A sandbox of these images.
    pub fn new(config: Config) -> Self {
        Self { config: Some(config), connected: OnceCell::new() }
    }

    /// Cancels every run, and removes every container.
    pub async fn close(&self) {
        if let Some(sandbox) = self.connected.get() {
            sandbox.clone().close().await;
        }
    }

    /// The sandbox. An engine that is not there is looked for again by the next job.
    pub(crate) async fn get(&self) -> Result<&Sandbox, Failure> {
        let Some(config) = &self.config else {
            let message = "this work runs programs, and the process has no sandbox to run them in";
            return Err(Failure::permanent("no-sandbox", message)
                .hint("name the folder of the images in the setting `sandbox.images`; docs/guides/use-the-sandbox.md"));
        };
        let connect = || async { Sandbox::connect(config.clone()).await };
        self.connected.get_or_try_init(connect).await.map_err(|error| failed(&error))
    }
}
