//! Which kinds of entity an installation has.

use std::collections::BTreeMap;
use std::fmt;

use bus_schemas::wire::{WireCommand, WireEvent};
use bus_schemas::{Hash, Kind, Revision};
use serde_json::Value;

use crate::entity::Entity;
use crate::instance::{Instance, Live};

/// Makes live entities of every known kind.
#[derive(Default)]
pub struct Registry {
    kinds: BTreeMap<Kind, Makers>,
}

type Restore = fn(Revision, Hash, Value) -> Result<Box<dyn Instance>, serde_json::Error>;

struct Makers {
    new: fn() -> Box<dyn Instance>,
    rests_under_halt: bool,
    schema: u16,
    restore: Restore,
}

impl Registry {
    /// Adds a kind.
    #[must_use]
    pub fn with<T: Entity>(mut self) -> Self {
        let makers = Makers {
            new: || Box::new(Live::<T>::new()),
            rests_under_halt: T::RESTS_UNDER_HALT,
            schema: T::Event::SCHEMA,
            restore: |revision, hash, state| Ok(Box::new(Live::<T>::restore(revision, hash, state)?)),
        };
        self.kinds.insert(T::Command::KIND, makers);
        self
    }
    /// Whether the kind is known.
    pub fn knows(&self, kind: &Kind) -> bool {
        self.kinds.contains_key(kind)
    }
    /// Whether the timers of this kind wait while everything is halted.
    pub fn rests_under_halt(&self, kind: &Kind) -> bool {
        self.kinds.get(kind).is_some_and(|makers| makers.rests_under_halt)
    }
    /// An entity to which nothing has happened yet.
    pub fn make(&self, kind: &Kind) -> Option<Box<dyn Instance>> {
        self.kinds.get(kind).map(|makers| (makers.new)())
    }
    /// An entity as a snapshot has it; none when the kind is unknown.
    pub fn restore(
        &self,
        kind: &Kind,
        revision: Revision,
        hash: Hash,
        state: Value,
    ) -> Option<Result<Box<dyn Instance>, serde_json::Error>> {
        self.kinds.get(kind).map(|makers| (makers.restore)(revision, hash, state))
    }
    /// The schema version of a kind up to which this program reads; none when the kind is unknown.
    pub fn schema(&self, kind: &Kind) -> Option<u16> {
        self.kinds.get(kind).map(|makers| makers.schema)
    }
    /// The schema version of every kind up to which this program reads.
    pub fn schemas(&self) -> BTreeMap<Kind, u16> {
        self.kinds.iter().map(|(kind, makers)| (kind.clone(), makers.schema)).collect()
    }
    /// All kinds.
    pub fn kinds(&self) -> impl Iterator<Item = &Kind> {
        self.kinds.keys()
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.kinds.keys()).finish()
    }
}
