//! Until when what somebody outside holds is to be renewed. Only memory: renewals are not in the log, and
//! after a takeover everything that is held has its whole time anew.
//!
//! Time is that of the clock that never goes back, in milliseconds: a clock that is set does not end
//! leases.

use std::collections::{BTreeSet, HashMap};

use bus_schemas::EntityAddress;
use bus_schemas::record::LeaseChange;
use smol_str::SmolStr;

/// A lease: whose, and which.
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
    /// Whether nobody renewing it in its first time is another matter than silence later on.
    has_first: bool,
}

impl Renewals {
    /// Follows what a turn said of its entity's leases.
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

    /// Gives a lease that was found at a takeover its whole time.
    pub fn begin_anew(&mut self, lease: LeaseName, ms: u64, now: u64) {
        let held = Held { until: now + ms, ms, is_renewed: true, has_first: false };
        self.set(lease, Some(held));
    }

    /// Somebody renewed a lease; whether it is held.
    pub fn renew(&mut self, entity: &EntityAddress, name: &str, now: u64) -> bool {
        let lease = (entity.clone(), SmolStr::new(name));
        let Some(held) = self.held.get(&lease).copied() else { return false };
        let held = Held { until: now + held.ms, is_renewed: true, ..held };
        self.set(lease, Some(held));
        true
    }

    /// The leases that nobody renewed in time, and whether somebody ever did. Each has its time again: if
    /// nothing comes of the word, it is said again.
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

    /// The leases of an entity that nobody has renewed yet, where that is a matter of its own.
    pub fn not_begun(&self, entity: &EntityAddress) -> Vec<SmolStr> {
        let not_begun =
            self.held.iter().filter(|((of, _), held)| of == entity && held.has_first && !held.is_renewed);
        not_begun.map(|((_, name), _)| name.clone()).collect()
    }

    /// When the next one lapses.
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
