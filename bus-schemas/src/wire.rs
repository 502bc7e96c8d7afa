//! What commands and events have in common on the wire.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};

/// A command enum: JSON or MessagePack with the command's name in `type`.
pub trait WireCommand: Serialize + DeserializeOwned {
    /// The kind of entity that decides it.
    const KIND: crate::Kind;
}

/// An event enum: JSON with the event's name in `type`.
pub trait WireEvent: Serialize + DeserializeOwned {
    /// The kind of entity that it happened to.
    const KIND: crate::Kind;
    /// The schema version that this program writes.
    const SCHEMA: u16;
    /// The wire name of this event.
    fn event_type(&self) -> &'static str;
    /// The steps from version n (counted from 1) to n + 1; a version without a step is read as it is.
    fn lifts() -> &'static [crate::upcast::Lift] {
        crate::upcast::lifts(&Self::KIND)
    }
}

/// A query enum: JSON or MessagePack with the query's name in `type`. A query is answered from what
/// the owner of the entity has in memory, and leaves no trace.
pub trait WireQuery: Serialize + DeserializeOwned {
    /// The kind of entity that answers it.
    const KIND: crate::Kind;
    /// The wire names of all of them.
    const NAMES: &'static [&'static str];
}

/// The queries of an entity that answers none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum NoQuery {}

impl WireQuery for NoQuery {
    const KIND: crate::Kind = crate::Kind::from_static("none");
    const NAMES: &'static [&'static str] = &[];
}

/// Ties an event enum to its kind, schema version and names.
macro_rules! wire_event {
    ($event:ty, $kind:literal, $schema:literal) => {
        impl $crate::wire::WireEvent for $event {
            const KIND: $crate::Kind = $crate::Kind::from_static($kind);
            const SCHEMA: u16 = $schema;
            fn event_type(&self) -> &'static str {
                self.into()
            }
        }
    };
}
pub(crate) use wire_event;

/// Ties a command enum to its kind.
macro_rules! wire_command {
    ($command:ty, $kind:literal) => {
        impl $crate::wire::WireCommand for $command {
            const KIND: $crate::Kind = $crate::Kind::from_static($kind);
        }
    };
}
pub(crate) use wire_command;

/// Ties a query enum to its kind.
macro_rules! wire_query {
    ($query:ty, $kind:literal) => {
        impl $crate::wire::WireQuery for $query {
            const KIND: $crate::Kind = $crate::Kind::from_static($kind);
            const NAMES: &'static [&'static str] = <$query as strum::VariantNames>::VARIANTS;
        }
    };
}
pub(crate) use wire_query;

/// Reads a command or a query without fields: derived readers pass over whatever stands beside its name.
pub(crate) fn no_fields<'de, D: Deserializer<'de>>(d: D) -> Result<(), D::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct NoFields {}
    NoFields::deserialize(d).map(|NoFields {}| ())
}

/// Whether a field says nothing, and is left out.
pub fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
