//! Stage 1, lease, modelled: hosts that hold leases, die, freeze, come back, and have their own clocks, one
//! of which may be set and one of which never goes back.

use std::collections::BTreeMap;

use actors_runtime::claims::ClaimPool;
use actors_runtime::core::Moment;
use actors_runtime::tenure::Tenure;
use bus_client::Connects;
use bus_schemas::commands::agent::Registration;
use bus_schemas::{Key, PartitionId, Timestamp};

use super::follow::{Follower, HostView};
use super::{BEGINNING, Happening, HostId, OwnerId, Phase, World};
use crate::coverage::Reached;
use crate::faults::Defect;

/// How long a lease holds without renewal, in milliseconds.
const LEASE_TTL_MS: u64 = 4_000;
/// How often leases are renewed.
const RENEWAL_MS: u64 = 1_000;
/// How often in a calm world, where nothing is lost.
const RENEWAL_CALM_MS: u64 = 3_000;
/// How far a clock may be off, in milliseconds.
const SKEW_MS_MAX: u64 = 4_000;
/// What the clock that never goes back may show when a process begins, in milliseconds.
const STEADY_MS_MAX: u64 = 100_000;

/// A host.
#[derive(Debug)]
pub struct Host {
    pub alive: bool,
    /// The host stands still until then.
    pub frozen_until: u64,
    /// How much its clock is ahead, shifted by [`SKEW_MS_MAX`].
    skew: u64,
    /// The highest time that its clock has shown before it was set.
    shown: Timestamp,
    /// What the clock that never goes back showed when the world began.
    steady: u64,
    /// Counts its processes: what was meant for a former one is lost.
    pub process: u32,
    /// What it knows of halts.
    pub view: HostView,
    /// The claims that wait for work of its partitions.
    pub pool: ClaimPool,
    /// What agents said of themselves, and when.
    pub known: BTreeMap<Key, (Registration, u64)>,
    /// How long each lease is valid for sure.
    tenures: BTreeMap<PartitionId, Tenure>,
}

impl Host {
    fn new(skew: u64, steady: u64, process: u32) -> Self {
        let view = HostView::default();
        let pool = ClaimPool::under(view.gates(), "undelivered");
        let (known, tenures) = (BTreeMap::new(), BTreeMap::new());
        let (alive, frozen_until, shown) = (true, 0, Timestamp(0));
        Self { alive, frozen_until, skew, shown, steady, process, view, pool, known, tenures }
    }
}

/// Who tries to run a partition.
#[derive(Debug, Clone, Copy)]
pub struct Lease {
    pub host: HostId,
    pub until: u64,
}

impl World {
    pub(super) fn start_hosts(&mut self, count: usize) {
        for id in 0..count {
            let skew = self.random.below(2 * SKEW_MS_MAX);
            let steady = self.random.below(STEADY_MS_MAX);
            self.hosts.push(Host::new(skew, steady, 0));
            let first = self.random.between(1, 300);
            self.soon(first, Happening::Leases(id));
            self.soon(first, Happening::PoolLooks(id));
            self.soon(first, Happening::TellsHeard(id));
        }
    }

    /// What a host's clock shows.
    pub(super) fn clock(&self, host: HostId) -> Timestamp {
        let skew = self.hosts.get(host).map_or(SKEW_MS_MAX, |host| host.skew);
        Timestamp(self.time + skew - SKEW_MS_MAX)
    }
    /// The highest time that a host's clock has shown since it is up.
    pub(super) fn clock_high(&self, host: HostId) -> Timestamp {
        self.clock(host).max(self.hosts[host].shown)
    }
    /// When the true time is at which a host's clock shows `at`.
    pub(super) fn when(&self, host: HostId, at: Timestamp) -> u64 {
        let skew = self.hosts.get(host).map_or(SKEW_MS_MAX, |host| host.skew);
        at.0 + SKEW_MS_MAX - skew
    }
    /// What a host's clock that never goes back shows.
    pub(super) fn steady(&self, host: HostId) -> u64 {
        let passed = self.time - BEGINNING;
        let passed = if self.defect == Some(Defect::SteadyClockStands) { 0 } else { passed };
        passed + self.hosts.get(host).map_or(0, |host| host.steady) + 1
    }
    /// When the true time is at which that clock shows `at`.
    pub(super) fn when_steady(&self, host: HostId, at: u64) -> u64 {
        let steady = self.hosts.get(host).map_or(0, |host| host.steady);
        (at + BEGINNING).saturating_sub(steady + 1)
    }
    /// The moment on both clocks of a host.
    pub(super) fn moment(&self, host: HostId) -> Moment {
        Moment { now: self.clock(host), steady: self.steady(host) }
    }
    /// How long a host's lease of a partition is valid for sure.
    pub(super) fn tenure(&mut self, host: HostId, partition: PartitionId) -> Tenure {
        if self.defect == Some(Defect::TenureNeverEnds) {
            return Tenure::endless();
        }
        self.hosts[host].tenures.entry(partition).or_insert_with(|| Tenure::over(Connects::default())).clone()
    }
    /// Until when an owner's host stands still; none for an owner that is gone.
    pub(super) fn frozen_until(&self, owner: OwnerId) -> Option<u64> {
        let owner = self.owners.get(&owner)?;
        self.hosts.get(owner.host).map(|host| host.frozen_until)
    }

    /// Kills a host with all its owners: what is on its way stays on its way.
    pub(super) fn kill_host(&mut self, host: HostId) {
        self.note(format_args!("host {host} dies"));
        self.hosts[host].alive = false;
        self.owners.retain(|_, owner| owner.host != host);
        let away = self.random.between(200, 6_000);
        self.soon(away, Happening::HostReturns(host));
    }

    pub(super) fn host_returns(&mut self, host: HostId) {
        if !self.hosts[host].alive {
            self.note(format_args!("host {host} is back"));
            let (skew, steady) = (self.random.below(2 * SKEW_MS_MAX), self.random.below(STEADY_MS_MAX));
            let frozen_until = self.hosts[host].frozen_until;
            let fresh = Host::new(skew, steady, self.hosts[host].process + 1);
            self.hosts[host] = Host { frozen_until, ..fresh };
            self.hears(Follower::Host(host));
            self.expect_registered(host);
            // Its process is a new one: what it held, it starts again.
            for (partition, lease) in self.leases.clone() {
                if lease.host == host && lease.until > self.time {
                    self.extend(host, partition);
                    self.soon(1, Happening::TakeOver(host, partition));
                }
            }
        }
    }

    /// Ends the loop of an owner as the fence or a drain does: its fan-out goes on.
    pub(super) fn end_owner(&mut self, id: OwnerId) {
        let Some(owner) = self.owners.get_mut(&id) else { return };
        owner.phase = Phase::Ended;
        // The loop lets its core go; here the fan-out keeps it.
        owner.core.leave();
        let (host, partition) = (owner.host, owner.partition);
        if self.leases.get(&partition).is_some_and(|lease| lease.host == host)
            && !self.owners.values().any(|other| other.host == host && other.serves(partition))
        {
            // It is free, and nobody else who held it before can renew it.
            self.leases.insert(partition, Lease { host, until: 0 });
        }
    }

    /// One turn of a host's placement: what may happen to hosts happens here as well.
    pub(super) fn renew_leases(&mut self, host: HostId) {
        let pause = if self.calm { RENEWAL_CALM_MS } else { RENEWAL_MS };
        self.soon(pause, Happening::Leases(host));
        self.host_faults(host);
        if !self.hosts[host].alive || self.hosts[host].frozen_until > self.time {
            return;
        }
        if self.fault(self.faults.renewal_lost, Reached::RenewalLost) {
            return;
        }
        for partition in self.partitions() {
            let lease = self.leases.get(&partition).copied();
            let valid = lease.filter(|lease| lease.until > self.time);
            let ours = lease.is_none_or(|lease| lease.host == host);
            let running = self.owner_of(host, partition);
            match (valid, running) {
                // A lease that ran out is renewed as well, as long as nobody else took it.
                (_, Some(_)) if ours => self.extend(host, partition),
                (_, Some(owner)) => {
                    self.tenure(host, partition).end();
                    self.drain(owner);
                }
                (Some(_), None) if ours => self.acquire(host, partition),
                // The server says that nobody is there: the lease is taken before it has run out.
                (Some(lease), None) if !self.hosts[lease.host].alive && self.random.chance(600) => {
                    self.coverage.note(Reached::HostMissed);
                    self.acquire(host, partition);
                }
                (None, None) if self.random.chance(600) => self.acquire(host, partition),
                _ => {}
            }
        }
    }

    fn host_faults(&mut self, host: HostId) {
        if self.hosts[host].alive && self.fault(self.faults.host_dies, Reached::HostDied) {
            self.kill_host(host);
        }
        if self.fault(self.faults.host_freezes, Reached::HostFroze) {
            let until = self.time + self.random.between(500, 12_000);
            self.note(format_args!("host {host} freezes for {} ms", until - self.time));
            self.hosts[host].frozen_until = until;
        }
        if self.fault(self.faults.clock_set, Reached::ClockSet) {
            self.hosts[host].shown = self.hosts[host].shown.max(self.clock(host));
            self.hosts[host].skew = self.random.below(2 * SKEW_MS_MAX);
            self.note(format_args!("host {host} sets its clock"));
        }
        if self.fault(self.faults.time_jumps, Reached::TimeJumped) {
            let jump = self.random.between(1_000, 200_000);
            self.note(format_args!("time jumps by {jump} ms"));
            self.time += jump;
        }
        // One that has ended has no loop any more.
        let running = self.owners.values().filter(|owner| owner.host == host && owner.phase != Phase::Ended);
        let owners: Vec<OwnerId> = running.map(|owner| owner.id).collect();
        if let Some(owner) = self.random.pick(&owners).copied() {
            if self.fault(self.faults.loop_dies, Reached::LoopDied) {
                self.note(format_args!("owner {owner} dies"));
                self.owners.remove(&owner);
            } else if self.fault(self.faults.rebalances, Reached::Rebalanced) {
                self.drain(owner);
            }
        }
    }

    fn owner_of(&self, host: HostId, partition: PartitionId) -> Option<OwnerId> {
        let mut owners = self.owners.values();
        owners.find(|owner| owner.host == host && owner.serves(partition)).map(|owner| owner.id)
    }

    fn extend(&mut self, host: HostId, partition: PartitionId) {
        self.leases.insert(partition, Lease { host, until: self.time + LEASE_TTL_MS });
        let until = self.steady(host) + LEASE_TTL_MS;
        self.tenure(host, partition).renew(until, 0);
    }

    fn acquire(&mut self, host: HostId, partition: PartitionId) {
        self.extend(host, partition);
        self.soon(1, Happening::TakeOver(host, partition));
    }

    /// The host is told to give a partition away, in good order.
    fn drain(&mut self, owner: OwnerId) {
        if let Some(owner) = self.owners.get_mut(&owner)
            && owner.phase == Phase::Serving
        {
            owner.phase = Phase::Draining;
            owner.core.dismiss_parked();
            let (id, partition) = (owner.id, owner.partition);
            self.note(format_args!("owner {id} drains partition {partition}"));
            self.wake(id);
        }
    }

    /// Hosts return and stay.
    pub(super) fn calm_hosts(&mut self) {
        for host in 0..self.hosts.len() {
            self.hosts[host].frozen_until = 0;
            self.host_returns(host);
        }
    }
}
