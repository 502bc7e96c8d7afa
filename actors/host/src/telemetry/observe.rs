//! The observer: a supervised worker of each process that measures what no stage measures.
//!
//! ```text
//! bus, leases, server, files ─→ looked at          ─┐
//! halts, breakers, lanes, settings ─→ followed, and ├→ metrics
//!                    asked what they would answer  ─┘
//! ```
//!
//! It decides nothing and writes nothing to the bus. Figures of the whole system are measured by every host,
//! so that they are known as long as one host lives; do not sum such figures over hosts, take the largest.

mod entities;
mod system;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use actors_runtime::supervision::{Child, Restart, Work};
use bus_client::{Bus, NatsConfig};
use bus_schemas::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::metric;

/// The interval of measurements in memory. Metrics are usually scraped every fifteen seconds.
const LOOK: Duration = Duration::from_secs(5);

/// The dependencies of a process's observer.
#[derive(Debug, Clone)]
pub(crate) struct Observer {
    /// The connection.
    pub(crate) bus: Bus,
    /// The server's settings, for its monitoring.
    pub(crate) nats: NatsConfig,
    /// This host's name in leases.
    pub(crate) host: String,
    /// The data directory, with the crash reports.
    pub(crate) data_dir: PathBuf,
    /// Whether this process runs partitions: then it also measures figures of the whole system.
    pub(crate) is_host: bool,
    /// The number of partitions that this process serves.
    pub(crate) serving: watch::Receiver<usize>,
}

impl Observer {
    /// The observer as a supervised worker.
    pub(crate) fn child(self) -> Child {
        metric::describe();
        actors_runtime::metric::describe();
        let work: Work = Arc::new(move |stop| {
            let observer = self.clone();
            Box::pin(async move {
                observer.run(stop).await;
                Ok(())
            })
        });
        Child { name: "observer".into(), restart: Restart::Always, work }
    }

    /// Measures until `stop`. Trouble with the bus is waited out, and is itself a figure.
    async fn run(self, stop: CancellationToken) {
        let (tell_hosts, hosts) = watch::channel(Vec::new());
        let following = async {
            match self.is_host {
                true => entities::run(&self.bus, hosts).await,
                false => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            never = following => match never {},
            () = system::run(&self, tell_hosts) => {}
        }
    }
}

/// Seconds from a time until now; 0 when there is none, or when it is in the future.
fn seconds_since(at: Option<Timestamp>, now: Timestamp) -> f64 {
    at.map_or(0.0, |at| now.0.saturating_sub(at.0) as f64 / 1_000.0)
}
