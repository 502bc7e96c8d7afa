//! Stage 1, lease: which partitions this host runs, in equal shares that move when hosts come and go.
//!
//! A lease decides only who tries to write. The log's expected sequence decides who writes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actors_core::{Gates, Registry};
use bus_client::leases::{Lease, Leases};
use bus_client::streams::LEASE_TTL;
use bus_client::{Bus, Error, Trouble};
use bus_schemas::record::DECISION_BYTES_MAX;
use bus_schemas::{PartitionId, chain};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::absence::Absences;
use crate::bounds::Bounds;
use crate::claims::ClaimPool;
use crate::core::Settings;
use crate::crash;
use crate::journal::{GROUP_BYTES_MAX, RECORD_BYTES_RESERVED};
use crate::observer::CommitObserver;
use crate::partition::{self, Error as PartitionError};
use crate::supervision::{Child, Failed, Restart, Supervisor};
use crate::takeover::TakeoverError;
use crate::tenure::Tenure;
use crate::versions::HostPresence;

/// How often leases are renewed: four times in a lease's life, so that three renewals may be lost.
const RENEWAL: Duration = Duration::from_secs(1);
/// Failed rounds before another server is tried.
const FAILED_TURNS: u32 = 2;

/// How long a lease is valid after a renewal, in milliseconds.
const LEASE_TTL_MS: u64 = LEASE_TTL.as_millis() as u64;

/// The stage that is reported as stuck for a partition that is held and does not answer yet.
const TAKEOVER: &str = "lease";

/// A partition that this host holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Held {
    lease: Lease,
    /// The number of its run. An earlier run may still be ending, and must not end this one.
    run: u64,
    /// Whether it drains, to be released.
    draining: bool,
}

/// Runs that have ended.
type Ended = Arc<Mutex<Vec<(PartitionId, u64)>>>;

/// One run of a partition with all its restarts. Everything that can restart it holds a reference, so it is
/// dropped when nothing can.
struct Run {
    partition: PartitionId,
    number: u64,
    ended: Ended,
}

impl Drop for Run {
    fn drop(&mut self) {
        if let Ok(mut ended) = self.ended.lock() {
            ended.push((self.partition, self.number));
        }
    }
}

/// Keeps leases and runs their partitions.
pub struct Placement {
    bus: Bus,
    registry: Arc<Registry>,
    host: String,
    supervisor: Supervisor,
    held: BTreeMap<PartitionId, Held>,
    /// The number of runs started.
    runs: u64,
    ended: Ended,
    serving: Arc<watch::Sender<usize>>,
    gates: Gates,
    bounds: Bounds,
    host_presence: HostPresence,
    places: ClaimPool,
    observer: Option<Arc<dyn CommitObserver>>,
    /// How long each partition's lease is certainly valid.
    tenures: BTreeMap<PartitionId, Tenure>,
    /// The other hosts.
    absences: Absences,
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
        let (held, ended) = (BTreeMap::new(), Ended::default());
        let (host, gates, bounds) = (host.to_owned(), Gates::default(), Bounds::default());
        let host_presence = HostPresence::new(registry.schemas());
        Self {
            bus,
            registry,
            host,
            supervisor,
            held,
            runs: 0,
            ended,
            serving,
            gates,
            bounds,
            host_presence,
            places: ClaimPool::default(),
            observer: None,
            tenures: BTreeMap::new(),
            absences: Absences::default(),
        }
    }

    /// Sets the pool of claims.
    #[must_use]
    pub fn places(mut self, places: ClaimPool) -> Self {
        self.places = places;
        self
    }

    /// Sets the observer of committed records.
    #[must_use]
    pub fn observer(mut self, observer: Option<Arc<dyn CommitObserver>>) -> Self {
        self.observer = observer;
        self
    }

    /// Sets the bounds of the partitions, which may change at run time.
    #[must_use]
    pub fn bounds(mut self, bounds: Bounds) -> Self {
        self.bounds = bounds;
        self
    }

    /// Sets the gates that may refuse a command before it is decided.
    #[must_use]
    pub fn gates(mut self, gates: Gates) -> Self {
        self.gates = gates;
        self
    }

    /// Keeps leases until `stop`; then drains and releases all partitions.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), Error> {
        let mut tick = tokio::time::interval(RENEWAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut renewed, mut failed) = (Instant::now(), 0);
        let mut trouble = Trouble::new("renewing leases", RENEWAL, RENEWAL);
        while !stop.is_cancelled() {
            let gone = tokio::select! {
                () = stop.cancelled() => break,
                _ = tick.tick() => None,
                // No query is answered before the leases are renewed on the new connection.
                () = self.bus.reconnected() => None,
                gone = self.absences.next(&self.bus) => Some(gone),
            };
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.bus.ready() => {}
            }
            // A server that is silent for a moment is no reason to drop partitions: the leases expire by
            // themselves, and the fence holds in any case.
            let turned = match gone {
                Some(host) => self.replace(&host).await,
                None => self.turn().await,
            };
            match turned {
                Ok(()) => {
                    (renewed, failed) = (Instant::now(), 0);
                    trouble.over();
                }
                Err(error) => {
                    trouble.failed(&error);
                    failed += 1;
                }
            }
            // One round may fail while the servers elect a leader. After more the leases have expired, and
            // another server may know of a majority.
            if failed >= FAILED_TURNS && renewed.elapsed() > LEASE_TTL {
                self.bus.change_server().await;
                (renewed, failed) = (Instant::now(), 0);
                // A message sent at once would still go to the server that is being left, and be lost.
                tick.reset();
            }
        }
        self.drain().await
    }

    async fn turn(&mut self) -> Result<(), Error> {
        self.release_ended().await;
        self.bus.renew_host(&self.host, &self.host_presence.presence()).await?;
        self.host_presence.told();
        for (partition, held) in self.held.clone() {
            crash::point("before-renewal");
            let (asked, on) = (partition::steady(), self.bus.connects().count());
            let renewed = self.bus.renew(held.lease, &self.host).await?;
            crash::point("after-renewal");
            match renewed {
                Some(lease) => {
                    self.tenure(partition).renew(asked + LEASE_TTL_MS, on);
                    self.held.insert(partition, Held { lease, ..held });
                }
                None => {
                    self.tenure(partition).end();
                    tracing::warn!(%partition, "the lease is lost; stopping the partition");
                    self.supervisor.stop(&name(partition));
                    self.held.remove(&partition);
                }
            }
        }
        let leases = self.bus.leases().await?;
        self.absences.watch(leases.hosts.iter().filter(|host| **host != self.host));
        self.balance(&leases).await
    }

    /// Takes over the partitions of a host that is gone, up to this host's share.
    async fn replace(&mut self, gone: &str) -> Result<(), Error> {
        let leases = self.bus.leases().await?;
        self.bus.forget_host(gone, &leases).await?;
        tracing::warn!(host = gone, "a host is gone; taking its partitions over");
        self.balance(&leases.without(gone)).await
    }

    /// Releases partitions above this host's share, and takes those that no host runs. Beside a newer program
    /// the share is 0.
    async fn balance(&mut self, leases: &Leases) -> Result<(), Error> {
        let quota = self.host_presence.share(leases, &self.host, self.bus.topology().partitions);
        let mut count = 0;
        for (partition, held) in self.held.iter_mut().filter(|(_, held)| !held.draining) {
            if count < quota {
                count += 1;
                continue;
            }
            tracing::info!(%partition, "draining a partition for another host");
            held.draining = true;
            self.supervisor.stop(&name(*partition));
        }
        if !self.host_presence.is_known(leases) {
            return Ok(());
        }
        for partition in self.bus.topology().all_partitions() {
            let ours = self.held.contains_key(&partition);
            let free = leases.holders.get(&partition).is_none_or(|holder| *holder == self.host);
            if count >= quota || ours || !free || self.host_presence.has_left(partition) {
                continue;
            }
            let (asked, on) = (partition::steady(), self.bus.connects().count());
            let taken = match leases.orphans.get(&partition) {
                Some(orphan) => self.bus.renew(*orphan, &self.host).await?,
                None => self.bus.acquire(partition, &self.host).await?,
            };
            if let Some(lease) = taken {
                crash::point("after-acquire");
                self.tenure(partition).renew(asked + LEASE_TTL_MS, on);
                self.runs += 1;
                self.held.insert(partition, Held { lease, run: self.runs, draining: false });
                self.start(partition);
                count += 1;
            }
        }
        Ok(())
    }

    fn tenure(&mut self, partition: PartitionId) -> Tenure {
        let connects = || Tenure::over(self.bus.connects());
        self.tenures.entry(partition).or_insert_with(connects).clone()
    }

    fn start(&mut self, id: PartitionId) {
        let tenure = self.tenure(id);
        let settings = Settings {
            gates: self.gates.clone(),
            bounds: self.bounds.clone(),
            newest: self.host_presence.newest(),
            places: self.places.clone(),
            tenure,
            stuck: self.host_presence.stuck(),
            observer: self.observer.clone(),
            ..Settings::new(id, self.bus.topology().partitions, &self.host, self.record_bytes_max())
        };
        let (bus, registry) = (self.bus.clone(), Arc::clone(&self.registry));
        let run = Arc::new(Run { partition: id, number: self.runs, ended: Arc::clone(&self.ended) });
        let (serving, host_presence) = (Arc::clone(&self.serving), self.host_presence.clone());
        let work = move |stop: CancellationToken| {
            let (bus, registry, settings) = (bus.clone(), Arc::clone(&registry), settings.clone());
            let (run, serving, host_presence) =
                (Arc::clone(&run), Arc::clone(&serving), host_presence.clone());
            let (stuck, taken) = (host_presence.stuck(), host_presence.stuck());
            let future: futures::future::BoxFuture<'static, Result<(), Failed>> = Box::pin(async move {
                let up = Up { serving: Arc::clone(&serving), counted: Arc::default() };
                let counted = Arc::clone(&up.counted);
                stuck.note(id, TAKEOVER, "the partition is being taken over");
                let result = partition::run(bus, registry, settings, stop, move || {
                    taken.clear(id, TAKEOVER);
                    counted.store(true, std::sync::atomic::Ordering::SeqCst);
                    serving.send_modify(|count| *count += 1);
                });
                let result = result.await;
                drop(up);
                match &result {
                    Err(error @ (PartitionError::Takeover(_) | PartitionError::Bus { .. })) => {
                        stuck.note(id, TAKEOVER, &chain(error));
                    }
                    _ => stuck.clear(id, TAKEOVER),
                }
                // Before the lease is released: this host must not take it again.
                if let Err(PartitionError::Takeover(TakeoverError::Newer { newer, .. })) = &result {
                    host_presence.leave(id, newer.to_string());
                }
                drop(run);
                match result {
                    Ok(()) => Ok(()),
                    Err(PartitionError::Lost { partition, reason }) => {
                        tracing::warn!(%partition, reason, "another host has the partition");
                        Ok(())
                    }
                    Err(PartitionError::Takeover(TakeoverError::Newer { newer, .. })) => {
                        let code = "program-outdated";
                        tracing::error!(partition = %id, code, %newer, "the partition waits for a newer program");
                        Ok(())
                    }
                    Err(error) => Err(Failed::by(&error)),
                }
            });
            future
        };
        self.supervisor.start(Child { name: name(id), restart: Restart::OnFailure, work: Arc::new(work) });
    }

    fn record_bytes_max(&self) -> usize {
        // The rest is room for the last turn.
        let room = self.bus.payload_bytes_max().saturating_sub(DECISION_BYTES_MAX + RECORD_BYTES_RESERVED);
        room.min(GROUP_BYTES_MAX)
    }

    async fn release_ended(&mut self) {
        let ended = self.ended.lock().map(|mut ended| std::mem::take(&mut *ended)).unwrap_or_default();
        for (partition, run) in ended {
            if self.held.get(&partition).is_none_or(|held| held.run != run) {
                continue;
            }
            let Some(held) = self.held.remove(&partition) else { continue };
            crash::point("before-release");
            if let Err(error) = self.bus.release(held.lease).await {
                tracing::warn!(%partition, %error, "releasing a lease; it runs out by itself");
            }
            crash::point("after-release");
        }
    }

    /// Drains every partition, then leaves the list of hosts.
    async fn drain(&mut self) -> Result<(), Error> {
        for partition in self.held.keys() {
            self.supervisor.stop(&name(*partition));
        }
        let mut tick = tokio::time::interval(DRAIN_LOOK);
        while !self.held.is_empty() {
            tick.tick().await;
            self.release_ended().await;
        }
        self.bus.release_host(&self.host).await
    }
}

/// How often a drain checks whether partitions have ended.
const DRAIN_LOOK: Duration = Duration::from_millis(20);

/// Counts a partition out, however its loop ends.
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

fn name(partition: PartitionId) -> String {
    format!("partition-{partition}")
}
