//! The kinds of entity of an installation.

use std::collections::BTreeMap;
use std::fmt;

use bus_schemas::wire::{WireCommand, WireEvent};
use bus_schemas::{Hash, Kind, Revision};
use serde_json::Value;

use crate::entity::Entity;
use crate::instance::{Instance, Live};
use crate::undeliverable::Undeliverable;

/// Makes live entities of every known kind, and holds the policy for commands that cannot be delivered.
pub struct Registry {
    undeliverable: &'static dyn Undeliverable,
    kinds: BTreeMap<Kind, Makers>,
}

type Restore = fn(Revision, Hash, Value) -> Result<Box<dyn Instance>, serde_json::Error>;

struct Makers {
    new: fn() -> Box<dyn Instance>,
    schema: u16,
    restore: Restore,
}

impl Registry {
    /// A registry without kinds.
    pub fn new(undeliverable: &'static dyn Undeliverable) -> Self {
        Self { undeliverable, kinds: BTreeMap::new() }
    }
    /// The policy for commands that cannot be delivered.
    pub fn undeliverable(&self) -> &'static dyn Undeliverable {
        self.undeliverable
    }
    /// Adds a kind.
    #[must_use]
    pub fn with<T: Entity>(mut self) -> Self {
        let makers = Makers {
            new: || Box::new(Live::<T>::new()),
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
    /// An entity without events; `None` if the kind is unknown.
    pub fn make(&self, kind: &Kind) -> Option<Box<dyn Instance>> {
        self.kinds.get(kind).map(|makers| (makers.new)())
    }
    /// An entity from a snapshot; `None` if the kind is unknown.
    pub fn restore(
        &self,
        kind: &Kind,
        revision: Revision,
        hash: Hash,
        state: Value,
    ) -> Option<Result<Box<dyn Instance>, serde_json::Error>> {
        self.kinds.get(kind).map(|makers| (makers.restore)(revision, hash, state))
    }
    /// The highest schema version of a kind that this program reads; `None` if the kind is unknown.
    pub fn schema(&self, kind: &Kind) -> Option<u16> {
        self.kinds.get(kind).map(|makers| makers.schema)
    }
    /// The highest schema version that this program reads, for every kind.
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
