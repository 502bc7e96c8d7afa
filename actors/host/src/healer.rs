//! The healer: a supervised worker of each process that detects trouble, acts where it may, and records what
//! it did and why.
//!
//! ```text
//! supervisors ─→ reports ──┐                     ┌→ `note`        healer/<host>
//! events ─→ lost workers ──┤                     │
//!           poison ────────┼→ what to do about it ┼→ `quarantine`  healer/quarantine
//!           quarantine ────┤                     │
//! disk, memory, lag ───────┘                     └→ metrics
//! ```
//!
//! | what it sees | what is done | by whom |
//! | --- | --- | --- |
//! | a supervised worker failed | `restart` after a pause | its supervisor; noted here |
//! | a supervisor bore too many failures | `escalate` to the one above it | the supervisor; noted here |
//! | a worker of an agent is silent | `replace`: its jobs go to others as their leases end | the tasks; noted here |
//! | an entity poisons command after command | `quarantine` | here |
//! | disk, memory or lag pass a threshold | `warn`, and `clear` when they are back | here |
//! | a breaker opens, probes or closes | `hold`, `probe`, `ease`, `drain` | the breaker, noted in `healer/log` |
//!
//! Its notes are handed over under ids until JetStream has them, so they reach the log whatever happens to
//! the process; the number of waiting notes is bounded. It decides nothing that an entity could decide:
//! entities are replayed, and this is not.

mod follow;
mod measure;
mod metric;
pub(crate) mod notes;
mod poison;
mod threshold;

use std::path::PathBuf;
use std::sync::Arc;

use actors_runtime::supervision::{Child, Failed, Report, Restart, Work};
use bus_client::{Bus, NatsConfig};
use bus_schemas::Key;
use bus_schemas::commands::healer::Action;
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;

use self::notes::Notes;
use crate::quarantine::Quarantine;

pub(crate) use self::follow::load_quarantine;
pub use self::metric::describe;

/// Capacity of the queue of supervisors' reports. A supervisor tolerates some dozens of failures before it
/// gives up.
pub(crate) const REPORTS_MAX: usize = 1_024;

/// The dependencies of a process's healer.
#[derive(Debug, Clone)]
pub(crate) struct Healer {
    /// The connection.
    pub(crate) bus: Bus,
    /// The server's settings, for its monitoring.
    pub(crate) nats: NatsConfig,
    /// This host's name: the key of the entity that records its acts.
    pub(crate) host: Key,
    /// The directory whose disk is watched.
    pub(crate) data_dir: PathBuf,
    /// Whether this process runs partitions: then it also watches figures of the whole system.
    pub(crate) is_host: bool,
    /// The quarantined entities.
    pub(crate) quarantine: Quarantine,
    /// Reports of supervisors. A restarted healer continues with the same queue.
    pub(crate) reports: Arc<Mutex<mpsc::Receiver<Report>>>,
}

impl Healer {
    /// The healer as a supervised worker.
    pub(crate) fn child(self) -> Child {
        metric::describe();
        // Waiting notes outlive a failure of the healer.
        let notes = Notes::new(&self.host);
        let work: Work = Arc::new(move |stop| {
            let (healer, notes) = (self.clone(), notes.clone());
            Box::pin(async move { healer.run(notes, stop).await })
        });
        Child { name: "healer".into(), restart: Restart::Always, work }
    }

    async fn run(self, notes: Notes, stop: CancellationToken) -> Result<(), Failed> {
        let following = async {
            match self.is_host {
                true => follow::run(&self, &notes).await,
                false => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            ended = following => return ended,
            () = self.note_reports(&notes) => {}
            () = measure::run(&self, &notes) => {}
            () = notes.send_all(&self.bus) => {}
        }
        // The servers stop last, so the waiting notes can still be sent.
        notes.send_rest(&self.bus).await;
        Ok(())
    }

    /// Records what supervisors did.
    async fn note_reports(&self, notes: &Notes) {
        let mut reports = self.reports.lock().await;
        while let Some(report) = reports.recv().await {
            let Report { worker, reason, failures, within, pause } = report;
            let evidence = [("failures", failures.to_string()), ("within_s", within.as_secs().to_string())];
            match pause {
                Some(pause) => {
                    let reason = format!("the worker failed and is started again after {pause:?}: {reason}");
                    notes.act(Action::Restart, &worker, reason, evidence);
                }
                None => {
                    let reason = format!("{failures} failures are too many, the last one: {reason}");
                    notes.act(Action::Escalate, &worker, reason, evidence);
                }
            }
        }
        // The supervision tree has ended, and this worker is about to.
        std::future::pending().await
    }
}
