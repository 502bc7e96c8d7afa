//! Work that could begin and places that are free, beside each other: in a calm world not for long.

use std::collections::BTreeMap;

use bus_schemas::claims::WAIT_MS;
use bus_schemas::{CommandId, Key, PartitionId};

use super::{HostId, WorkerId, World};
use crate::invariants::lanes::Ready;
use crate::invariants::{Check, hold};

/// How long work may wait beside a free place that fits, in a calm world, while the worker is sent nothing else: a
/// claim waits five seconds at the wrong host at most, is made again within two, and is passed on within one; a job
/// that nobody begins is taken back after two, and a claim of which nothing was heard is repeated after six.
const FREE_MS_MAX: u64 = 16_000;
/// How long it may wait beside a claim in the pool of the very host that has the work: a commit and the load of
/// an entity.
const FREE_HERE_MS_MAX: u64 = 1_500;
/// What the wild time has left behind is over by then: leases, jobs on their way, workers that are lost.
const SETTLE_MS: u64 = 15_000;

/// Since when something waits, or is free.
#[derive(Debug, Default)]
pub struct Free {
    /// Since when it is calm.
    since: u64,
    work: BTreeMap<(Key, Ready), u64>,
    places: BTreeMap<WorkerId, u64>,
    /// The claims that wait in the pool of a host.
    pooled: BTreeMap<CommandId, Pooled>,
}

/// A claim in a pool.
#[derive(Debug)]
struct Pooled {
    host: HostId,
    worker: WorkerId,
    since: u64,
}

impl Free {
    /// It is calm from now on.
    pub fn begin(&mut self, now: u64) {
        self.since = now;
    }
    /// A worker is sent jobs: its places are in use, also where it never begins what it was sent.
    pub fn is_served(&mut self, worker: WorkerId, now: u64) {
        self.places.insert(worker, now);
    }
    /// A claim comes into a pool.
    pub fn arrives(&mut self, claim: CommandId, host: HostId, worker: WorkerId, since: u64) {
        self.pooled.insert(claim, Pooled { host, worker, since });
    }
    /// A claim has left its pool.
    pub fn leaves(&mut self, claim: CommandId) {
        self.pooled.remove(&claim);
    }
}

impl World {
    /// In a calm world no place stays free for long beside work that it fits, whichever hosts have the
    /// two.
    pub(super) fn places_find_work(&mut self) -> Check {
        let now = self.time;
        let is_halted = !self.audit.active_halts().is_empty();
        if !self.calm || now < self.free.since + SETTLE_MS || is_halted {
            self.free.work.clear();
            self.free.places.clear();
            return Ok(());
        }
        let ready = self.audit.ready_work();
        self.free.work.retain(|known, _| ready.contains(known));
        for work in ready {
            self.free.work.entry(work).or_insert(now);
        }
        for (id, worker) in self.workers.iter().enumerate() {
            if worker.is_alive() && worker.registered && worker.free() > 0 {
                self.free.places.entry(id).or_insert(now);
            } else {
                self.free.places.remove(&id);
            }
        }
        // None waits for longer; what died with its host or worker is no place any more.
        self.free.pooled.retain(|_, pooled| now <= pooled.since + WAIT_MS);
        self.free_places_elsewhere(now)?;
        self.free_places_here(now)
    }

    fn free_places_elsewhere(&self, now: u64) -> Check {
        for ((task, ready), waits) in &self.free.work {
            for (id, free) in &self.free.places {
                let (worker, since) = (&self.workers[*id], *waits.max(free));
                let fits = worker.fits(ready.agent.as_ref(), &ready.lane, &ready.skill);
                hold(!fits || now <= since + FREE_MS_MAX, "places_find_work", || {
                    let name = &worker.name;
                    format!("`{task}` waits beside a free place of worker {name} for {} ms", now - since)
                })?;
            }
        }
        Ok(())
    }

    fn free_places_here(&self, now: u64) -> Check {
        for ((task, ready), waits) in &self.free.work {
            let partition = PartitionId::of(task.root(), self.shape.partitions);
            let owner = self.owners.values().find(|owner| owner.listens(partition)).map(|owner| owner.host);
            for (claim, pooled) in self.free.pooled.iter().filter(|(_, pooled)| Some(pooled.host) == owner) {
                let (worker, since) = (&self.workers[pooled.worker], *waits.max(&pooled.since));
                let fits = worker.fits(ready.agent.as_ref(), &ready.lane, &ready.skill);
                hold(!fits || now <= since + FREE_HERE_MS_MAX, "places_find_work", || {
                    let late = now - since;
                    format!("`{task}` waits beside claim {claim} on its own host for {late} ms")
                })?;
            }
        }
        Ok(())
    }
}
