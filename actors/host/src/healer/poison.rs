//! Detects entities that poison command after command. Pure: times come from the dead letters.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use bus_schemas::{EntityAddress, Timestamp};

/// Poison commands of one entity …
pub(super) const POISON_MAX: usize = 5;
/// … within this time put it into quarantine: one bad command is a dead letter, this many mean a bad entity.
pub(super) const WITHIN: Duration = Duration::from_secs(10 * 60);
/// Entities counted at once. Beyond that, those that poisoned longest ago are forgotten: they are the least
/// likely to go on.
const ENTITIES_MAX: usize = 10_000;

/// The times of each entity's latest poison commands.
#[derive(Debug, Default)]
pub(super) struct Poisoned {
    times: HashMap<EntityAddress, VecDeque<Timestamp>>,
}

impl Poisoned {
    /// Counts a poison command of `entity`. Returns whether there are now too many.
    pub(super) fn count(&mut self, entity: &EntityAddress, at: Timestamp) -> bool {
        if !self.times.contains_key(entity) && self.times.len() >= ENTITIES_MAX {
            let oldest = self.times.iter().min_by_key(|(_, times)| times.back().copied());
            if let Some(entity) = oldest.map(|(entity, _)| entity.clone()) {
                self.times.remove(&entity);
            }
        }
        let within = u64::try_from(WITHIN.as_millis()).unwrap_or(u64::MAX);
        let times = self.times.entry(entity.clone()).or_default();
        times.push_back(at);
        times.retain(|time| at.0.saturating_sub(time.0) < within);
        let too_many = times.len() >= POISON_MAX;
        if too_many {
            self.times.remove(entity);
        }
        too_many
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entity(key: &str) -> EntityAddress {
        format!("probe/{key}").parse().expect("a constant of a test")
    }

    #[test]
    fn many_within_the_time_are_too_many_and_single_ones_are_not() {
        let mut poisoned = Poisoned::default();
        let minute = |n: u64| Timestamp(1_000_000 + n * 60_000);
        for n in 0..4 {
            assert!(!poisoned.count(&entity("a"), minute(n)));
            assert!(!poisoned.count(&entity("b"), minute(n * 4)));
        }
        assert!(poisoned.count(&entity("a"), minute(5)), "five within ten minutes");
        assert!(!poisoned.count(&entity("b"), minute(16)), "five in sixteen");
        assert!(!poisoned.count(&entity("a"), minute(6)), "counted anew");
    }
}
