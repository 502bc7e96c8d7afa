//! Parked queries: kept in memory until their entity has a turn, then asked again, and told to come again
//! after [`WAIT_MS`].

use std::collections::{BTreeSet, HashMap};

use bus_schemas::claims::WAIT_MS;
use bus_schemas::envelope::code;
use bus_schemas::{CommandId, EntityAddress, Refusal};

use crate::inbox::Item;

/// The most parked queries of one partition; further callers are refused as busy.
pub const PARKED_MAX: usize = 10_000;

/// The parked queries of a partition.
#[derive(Debug, Default)]
pub struct Parked {
    items: HashMap<u64, Waiting>,
    of: HashMap<EntityAddress, BTreeSet<u64>>,
    /// The queries by the time at which they are told to come again.
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
    /// Parks a query, or returns it when there is no room. A query that was parked before keeps its deadline,
    /// `waits_until`.
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

    /// Removes the queries that wait for an entity, oldest first.
    pub fn take(&mut self, entity: &EntityAddress) -> Vec<Item> {
        let numbers = self.of.remove(entity).unwrap_or_default();
        numbers.into_iter().filter_map(|number| self.remove(number)).collect()
    }

    /// Removes the queries whose deadline has passed.
    pub fn expired(&mut self, now: u64) -> Vec<Item> {
        let mut expired = Vec::new();
        while let Some((until, number)) = self.until.first().copied()
            && until <= now
        {
            expired.extend(self.remove(number));
        }
        expired
    }

    /// The next deadline.
    pub fn next_due(&self) -> Option<u64> {
        self.until.first().map(|(until, _)| *until)
    }

    /// The number of parked queries.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether no query is parked.
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

/// The refusal for a query that waited in vain.
pub fn come_again(id: CommandId) -> (CommandId, Refusal) {
    let refusal = Refusal::new(code::COME_AGAIN, format!("nothing happened within {WAIT_MS} ms"));
    (id, Refusal { retry_after_ms: Some(0), ..refusal }.hint("ask again"))
}
