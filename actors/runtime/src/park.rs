//! Queries that wait for something to happen to their entity: kept in memory, asked again after each of
//! its turns, and told to come again after [`WAIT_MS`].

use std::collections::{BTreeSet, HashMap};

use bus_schemas::claims::WAIT_MS;
use bus_schemas::envelope::code;
use bus_schemas::{CommandId, EntityAddress, Refusal};

use crate::inbox::Item;

/// Queries that wait in one partition: with more, callers are told that it is busy.
pub const PARKED_MAX: usize = 10_000;

/// The queries that wait in a partition.
#[derive(Debug, Default)]
pub struct Parked {
    items: HashMap<u64, Waiting>,
    of: HashMap<EntityAddress, BTreeSet<u64>>,
    /// By the time at which they are told to come again.
    until: BTreeSet<(u64, u64)>,
    next: u64,
}

#[derive(Debug)]
struct Waiting {
    entity: EntityAddress,
    until: u64,
    item: Item,
}

impl Parked {
    /// Keeps a query; gives it back where there is no room. `until` is when it was to be told to come
    /// again, for one that waited before.
    pub fn keep(&mut self, entity: EntityAddress, mut item: Item, now: u64) -> Result<(), Box<Item>> {
        if self.items.len() >= PARKED_MAX {
            return Err(Box::new(item));
        }
        let until = *item.waits_until.get_or_insert(now + WAIT_MS);
        self.next += 1;
        self.of.entry(entity.clone()).or_default().insert(self.next);
        self.until.insert((until, self.next));
        self.items.insert(self.next, Waiting { entity, until, item });
        Ok(())
    }

    /// Whether a query waits for this entity.
    pub fn waits_for(&self, entity: &EntityAddress) -> bool {
        self.of.contains_key(entity)
    }

    /// The queries that wait for an entity, oldest first.
    pub fn take(&mut self, entity: &EntityAddress) -> Vec<Item> {
        let numbers = self.of.remove(entity).unwrap_or_default();
        numbers.into_iter().filter_map(|number| self.remove(number)).collect()
    }

    /// The queries that have waited long enough.
    pub fn expired(&mut self, now: u64) -> Vec<Item> {
        let mut expired = Vec::new();
        while let Some((until, number)) = self.until.first().copied()
            && until <= now
        {
            expired.extend(self.remove(number));
        }
        expired
    }

    /// When the next one is told to come again.
    pub fn next_due(&self) -> Option<u64> {
        self.until.first().map(|(until, _)| *until)
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    fn remove(&mut self, number: u64) -> Option<Item> {
        let Waiting { entity, until, item } = self.items.remove(&number)?;
        self.until.remove(&(until, number));
        if let Some(numbers) = self.of.get_mut(&entity) {
            numbers.remove(&number);
            if numbers.is_empty() {
                self.of.remove(&entity);
            }
        }
        Some(item)
    }
}

/// What a query is told that has waited in vain.
pub fn come_again(id: CommandId) -> (CommandId, Refusal) {
    let refusal = Refusal::new(code::COME_AGAIN, format!("nothing happened within {WAIT_MS} ms"));
    (id, Refusal { retry_after_ms: Some(0), ..refusal }.hint("ask again"))
}
