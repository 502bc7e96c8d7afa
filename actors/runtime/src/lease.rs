//! Stage 1, lease: which partitions this host runs. Balanced by quota; moved when hosts come and go.
//!
//! A lease only decides who tries. Who writes is decided by the log's expected sequence.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actors_core::Registry;
use bus_client::leases::{Lease, Leases};
use bus_client::{Bus, Error};
use bus_schemas::PartitionId;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::core::Settings;
use crate::inbox::COMMAND_BYTES_MAX;
use crate::journal::GROUP_BYTES_SHARE;
use crate::partition::{self, Error as PartitionError};
use crate::supervision::{Child, Restart, Supervisor};

/// How often leases are renewed: four times in a lease's life, so that three renewals may be lost.
const RENEWAL: Duration = Duration::from_secs(1);
/// The largest group in bytes, whatever the server would take: larger ones only make callers wait.
const RECORD_BYTES_MAX: usize = 1 << 20;

/// What a host holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    /// Ours, and running.
    Running(Lease),
    /// On its way out: draining, then released.
    Draining(Lease),
}

/// Keeps leases and runs the partitions that they are for.
pub struct Placement {
    bus: Bus,
    registry: Arc<Registry>,
    host: String,
    supervisor: Supervisor,
    held: BTreeMap<PartitionId, Held>,
    ended: Arc<Mutex<Vec<PartitionId>>>,
    serving: Arc<watch::Sender<usize>>,
}

/// How many partitions each of `hosts` runs at most.
pub fn quota(partitions: u16, hosts: usize) -> usize {
    usize::from(partitions).div_ceil(hosts.max(1))
}

impl Placement {
    /// A host without partitions. `serving` counts the partitions that answer.
    pub fn new(
        bus: Bus,
        registry: Arc<Registry>,
        host: &str,
        supervisor: Supervisor,
        serving: Arc<watch::Sender<usize>>,
    ) -> Self {
        let (held, ended) = (BTreeMap::new(), Arc::default());
        Self { bus, registry, host: host.to_owned(), supervisor, held, ended, serving }
    }

    /// Keeps leases until `stop`; then drains and releases all of them.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), Error> {
        let mut tick = tokio::time::interval(RENEWAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = tick.tick() => {}
            }
            // A server that does not answer for a moment is no reason to drop partitions: the
            // leases run out by themselves, and the fence holds in any case.
            if let Err(error) = self.turn().await {
                tracing::warn!(%error, "renewing leases");
            }
        }
        self.drain().await
    }

    async fn turn(&mut self) -> Result<(), Error> {
        self.release_ended().await?;
        self.bus.renew_host(&self.host).await?;
        for (partition, held) in self.held.clone() {
            let (Held::Running(lease) | Held::Draining(lease)) = held;
            match self.bus.renew(lease, &self.host).await? {
                Some(lease) => {
                    let renewed = if held == Held::Running(lease) { held } else { again(held, lease) };
                    self.held.insert(partition, renewed);
                }
                None => {
                    tracing::warn!(%partition, "the lease is lost; stopping the partition");
                    self.supervisor.stop(&name(partition));
                    self.held.remove(&partition);
                }
            }
        }
        let leases = self.bus.leases().await?;
        self.balance(&leases).await
    }

    /// Gives away what is above our share, and takes what nobody runs.
    async fn balance(&mut self, leases: &Leases) -> Result<(), Error> {
        let partitions = self.bus.topology().partitions;
        let quota = quota(partitions, leases.hosts.len());
        let running: Vec<PartitionId> = self
            .held
            .iter()
            .filter(|(_, held)| matches!(held, Held::Running(_)))
            .map(|(id, _)| *id)
            .collect();
        for partition in running.iter().skip(quota) {
            if let Some(Held::Running(lease)) = self.held.get(partition).copied() {
                tracing::info!(%partition, "draining a partition for another host");
                self.held.insert(*partition, Held::Draining(lease));
                self.supervisor.stop(&name(*partition));
            }
        }
        let mut count = running.len().min(quota);
        for partition in self.bus.topology().all_partitions() {
            let ours = self.held.contains_key(&partition);
            let free = leases.holders.get(&partition).is_none_or(|holder| *holder == self.host);
            if count >= quota || ours || !free {
                continue;
            }
            if let Some(lease) = self.bus.acquire(partition, &self.host).await? {
                self.held.insert(partition, Held::Running(lease));
                self.start(partition);
                count += 1;
            }
        }
        Ok(())
    }

    fn start(&self, id: PartitionId) {
        let settings = Settings::new(id, self.bus.topology().partitions, &self.host, self.record_bytes_max());
        let (bus, registry) = (self.bus.clone(), Arc::clone(&self.registry));
        let (ended, serving) = (Arc::clone(&self.ended), Arc::clone(&self.serving));
        let work = move |stop: CancellationToken| {
            let (bus, registry, settings) = (bus.clone(), Arc::clone(&registry), settings.clone());
            let (ended, serving) = (Arc::clone(&ended), Arc::clone(&serving));
            let future: futures::future::BoxFuture<'static, Result<(), String>> = Box::pin(async move {
                let up = Up { serving: Arc::clone(&serving), counted: Arc::default() };
                let counted = Arc::clone(&up.counted);
                let result = partition::run(bus, registry, settings, stop, move || {
                    counted.store(true, std::sync::atomic::Ordering::SeqCst);
                    serving.send_modify(|count| *count += 1);
                });
                let result = result.await;
                drop(up);
                match result {
                    Ok(()) => {}
                    Err(PartitionError::Lost { partition, reason }) => {
                        tracing::warn!(%partition, reason, "another host has the partition");
                    }
                    Err(error) => return Err(chain(&error)),
                }
                if let Ok(mut ended) = ended.lock() {
                    ended.push(id);
                }
                Ok(())
            });
            future
        };
        self.supervisor.start(Child { name: name(id), restart: Restart::OnFailure, work: Arc::new(work) });
    }

    fn record_bytes_max(&self) -> usize {
        let share = (self.bus.payload_bytes_max() as f64 * GROUP_BYTES_SHARE) as usize;
        // A group below the largest command could never be written.
        share.clamp(COMMAND_BYTES_MAX, RECORD_BYTES_MAX)
    }

    async fn release_ended(&mut self) -> Result<(), Error> {
        let ended = self.ended.lock().map(|mut ended| std::mem::take(&mut *ended)).unwrap_or_default();
        for partition in ended {
            if let Some(Held::Running(lease) | Held::Draining(lease)) = self.held.remove(&partition) {
                self.supervisor.stop(&name(partition));
                self.bus.release(lease).await?;
            }
        }
        Ok(())
    }

    /// Drains every partition, then leaves the list of hosts.
    async fn drain(&mut self) -> Result<(), Error> {
        for partition in self.held.keys() {
            self.supervisor.stop(&name(*partition));
        }
        let mut tick = tokio::time::interval(DRAIN_LOOK);
        while !self.held.is_empty() {
            tick.tick().await;
            self.release_ended().await?;
        }
        self.bus.release_host(&self.host).await
    }
}

/// How often a drain looks whether partitions have ended.
const DRAIN_LOOK: Duration = Duration::from_millis(20);

/// Counts a partition out however its loop ends.
struct Up {
    serving: Arc<watch::Sender<usize>>,
    counted: Arc<std::sync::atomic::AtomicBool>,
}

impl Drop for Up {
    fn drop(&mut self) {
        if self.counted.load(std::sync::atomic::Ordering::SeqCst) {
            self.serving.send_modify(|count| *count = count.saturating_sub(1));
        }
    }
}

fn again(held: Held, lease: Lease) -> Held {
    match held {
        Held::Running(_) => Held::Running(lease),
        Held::Draining(_) => Held::Draining(lease),
    }
}

fn name(partition: PartitionId) -> String {
    format!("partition-{partition}")
}

/// An error with its causes in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
