//! The deadlines of leases that workers must renew. They are memory only: renewals are not in the log, and
//! after a takeover every lease has its whole time again.
//!
//! Times are milliseconds on the monotonic clock, so that setting the wall clock ends no lease.

use std::collections::{BTreeSet, HashMap};

use bus_schemas::EntityAddress;
use bus_schemas::record::LeaseChange;
use smol_str::SmolStr;

/// The name of a lease: its entity, and the name within it.
pub type LeaseName = (EntityAddress, SmolStr);

/// The leases of a partition's entities.
#[derive(Debug, Default)]
pub struct Renewals {
    held: HashMap<LeaseName, Held>,
    due: BTreeSet<(u64, EntityAddress, SmolStr)>,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    until: u64,
    ms: u64,
    is_renewed: bool,
    /// Whether a lease that is never renewed leads to another command than one that falls silent.
    has_first: bool,
}

impl Renewals {
    /// Applies the lease changes of a turn.
    pub fn apply(&mut self, entity: &EntityAddress, changes: &[LeaseChange], now: u64) {
        for change in changes {
            match change {
                LeaseChange::Begin { name, first_ms, ms, unrenewed, silent } => {
                    let has_first = unrenewed != silent;
                    let held = Held { until: now + first_ms, ms: *ms, is_renewed: false, has_first };
                    self.set((entity.clone(), name.clone()), Some(held));
                }
                LeaseChange::End { name } => self.set((entity.clone(), name.clone()), None),
            }
        }
    }

    /// Gives a lease found at a takeover its whole time.
    pub fn begin_anew(&mut self, lease: LeaseName, ms: u64, now: u64) {
        let held = Held { until: now + ms, ms, is_renewed: true, has_first: false };
        self.set(lease, Some(held));
    }

    /// Renews a lease; `false` if it is not held.
    pub fn renew(&mut self, entity: &EntityAddress, name: &str, now: u64) -> bool {
        let lease = (entity.clone(), SmolStr::new(name));
        let Some(held) = self.held.get(&lease).copied() else { return false };
        let held = Held { until: now + held.ms, is_renewed: true, ..held };
        self.set(lease, Some(held));
        true
    }

    /// The expired leases, each with whether it was ever renewed. Each gets its time again: if the command
    /// leads to nothing, it is sent again.
    pub fn lapsed(&mut self, now: u64, bound: usize) -> Vec<(LeaseName, bool)> {
        let mut lapsed = Vec::new();
        while lapsed.len() < bound
            && let Some((until, entity, name)) = self.due.first().cloned()
            && until <= now
        {
            let lease = (entity, name);
            let Some(held) = self.held.get(&lease).copied() else { break };
            self.set(lease.clone(), Some(Held { until: now + held.ms, ..held }));
            lapsed.push((lease, held.is_renewed));
        }
        lapsed
    }

    /// The leases of an entity that were never renewed and have a command for that case.
    pub fn not_begun(&self, entity: &EntityAddress) -> Vec<SmolStr> {
        let not_begun =
            self.held.iter().filter(|((of, _), held)| of == entity && held.has_first && !held.is_renewed);
        not_begun.map(|((_, name), _)| name.clone()).collect()
    }

    /// The next deadline.
    pub fn next_due(&self) -> Option<u64> {
        self.due.first().map(|(until, ..)| *until)
    }

    fn set(&mut self, lease: LeaseName, held: Option<Held>) {
        if let Some(before) = self.held.remove(&lease) {
            self.due.remove(&(before.until, lease.0.clone(), lease.1.clone()));
        }
        if let Some(held) = held {
            self.due.insert((held.until, lease.0.clone(), lease.1.clone()));
            self.held.insert(lease, held);
        }
    }
}
