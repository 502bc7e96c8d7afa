//! Gates: checks of the host that may refuse a command or query, for now or for a caller, before it is
//! decided. A gate is no part of the decision. The log holds nothing of it, except the refusal of a command
//! without a waiting caller.

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;

use bus_schemas::record::Source;
use bus_schemas::{Body, EntityAddress, Key, Kind, Refusal, Timestamp};
use serde::Deserialize;
use smol_str::SmolStr;

/// A command or a query, as a gate sees it.
#[derive(Debug, Clone, Copy)]
pub struct GateRequest<'a> {
    /// The addressed entity.
    pub entity: &'a EntityAddress,
    /// The source of the command; `None` for a query.
    pub source: Option<&'a Source>,
    /// The sender, if it is named.
    pub caller: Option<&'a SmolStr>,
    /// The encoded command or query.
    pub body: &'a Body,
    /// The time.
    pub now: Timestamp,
    /// The entity's state; `None` if the entity has stopped.
    pub memory: Option<&'a dyn Any>,
}

impl<'a> GateRequest<'a> {
    /// The entity's state, if it has the type `S`.
    pub fn state<S: 'static>(&self) -> Option<&'a S> {
        self.memory?.downcast_ref()
    }
    /// The decoded command or query; `None` if it cannot be decoded, for which the decision refuses it.
    pub fn read<T: Deserialize<'a>>(&self) -> Option<T> {
        self.body.read().ok()
    }
}

/// A check that may refuse.
pub trait Gate: Debug + Send + Sync {
    /// Admits or refuses a command or a query.
    fn admit(&self, request: &GateRequest<'_>) -> Result<(), Refusal>;

    /// Whether to withhold the work of an entity, in a lane, from an agent for now.
    fn withholds(&self, _entity: &EntityAddress, _lane: &Key, _agent: &Key) -> bool {
        false
    }

    /// The kinds whose timers are suspended for now.
    fn resting(&self) -> &[Kind] {
        &[]
    }
}

/// All gates of a host, in the order in which they are asked. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Gates(Arc<[Box<dyn Gate>]>);

impl FromIterator<Box<dyn Gate>> for Gates {
    fn from_iter<I: IntoIterator<Item = Box<dyn Gate>>>(gates: I) -> Self {
        Self(gates.into_iter().collect())
    }
}

impl Gates {
    /// Admits a request, or returns the first refusal.
    pub fn admit(&self, request: &GateRequest<'_>) -> Result<(), Refusal> {
        self.0.iter().try_for_each(|gate| gate.admit(request))
    }
    /// Whether a gate withholds the work.
    pub fn withhold(&self, entity: &EntityAddress, lane: &Key, agent: &Key) -> bool {
        self.0.iter().any(|gate| gate.withholds(entity, lane, agent))
    }
    /// The kinds whose timers are suspended for now: nearly always none.
    pub fn resting(&self) -> Vec<&Kind> {
        self.0.iter().flat_map(|gate| gate.resting()).collect()
    }
}
