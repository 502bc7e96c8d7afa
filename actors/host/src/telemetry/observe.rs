//! The observer: a supervised worker of each process that measures what no stage measures by itself.
//!
//! ```text
//! bus, leases, server, files ─→ looked at          ─┐
//! halts, breakers, lanes, settings ─→ followed, and ├→ metrics
//!                    asked what they would answer  ─┘
//! ```
//!
//! It decides nothing and writes nothing to the bus. What belongs to the whole system is measured by
//! every host, so that it is known as long as one of them lives; who sums such figures counts them
//! several times, and takes the largest instead.

mod entities;
mod system;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use actors_runtime::supervision::{Child, Restart, Work};
use bus_client::{Bus, NatsConfig};
use bus_schemas::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::metric;

/// Between two looks at what is in memory. Metrics are fetched every fifteen seconds as a rule.
const LOOK: Duration = Duration::from_secs(5);

/// What the observer of a process needs.
#[derive(Debug, Clone)]
pub(crate) struct Observer {
    /// The connection.
    pub(crate) bus: Bus,
    /// The server's settings, for its monitoring.
    pub(crate) nats: NatsConfig,
    /// This host's name in leases.
    pub(crate) host: String,
    /// Where crash reports lie.
    pub(crate) data_dir: PathBuf,
    /// Whether this process runs partitions: then it also measures what belongs to the whole system.
    pub(crate) is_host: bool,
    /// How many partitions this process serves.
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

    /// Measures until `stop`. Trouble with the bus is waited out, and is a figure itself.
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

/// The time of this machine.
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Seconds from a time until now; 0 where there is none, or where it is still to come.
fn seconds_since(at: Option<Timestamp>, now: Timestamp) -> f64 {
    at.map_or(0.0, |at| now.0.saturating_sub(at.0) as f64 / 1_000.0)
}
