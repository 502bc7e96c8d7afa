//! The traits of commands, events and queries on the wire.

use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer, Serialize};

use crate::ids::Timestamp;

/// A command enum: JSON or MessagePack with the command's name in `type`.
pub trait WireCommand: Serialize + DeserializeOwned {
    /// The kind of entity that decides it.
    const KIND: crate::Kind;
}

/// An event enum: JSON with the event's name in `type`.
pub trait WireEvent: Serialize + DeserializeOwned {
    /// The kind of entity that the event belongs to.
    const KIND: crate::Kind;
    /// The schema version that this program writes.
    const SCHEMA: u16;
    /// The wire name of this event.
    fn event_type(&self) -> &'static str;
    /// The steps from version n (counted from 1) to n + 1; without a step a version is read as it is.
    fn lifts() -> &'static [crate::upcast::Lift] {
        crate::upcast::lifts(&Self::KIND)
    }
}

/// A state folded from the events of one kind, for followers of the event stream.
pub trait EventFold: std::fmt::Debug + Clone + Default + Send + Sync + 'static {
    /// The event type.
    type Event: WireEvent;
    /// Applies an event of the entity with this key.
    fn apply(&mut self, key: &crate::Key, event: &Self::Event);
}

/// A query enum: JSON or MessagePack with the query's name in `type`. The owner of the entity answers it from
/// memory and records nothing.
pub trait WireQuery: Serialize + DeserializeOwned {
    /// The kind of entity that answers it.
    const KIND: crate::Kind;
    /// The wire names of all queries.
    const NAMES: &'static [&'static str];
}

/// The query type of an entity that answers none.
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

/// Deserializes a command or query without fields: a derived reader would ignore further fields.
pub(crate) fn no_fields<'de, D: Deserializer<'de>>(d: D) -> Result<(), D::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct NoFields {}
    NoFields::deserialize(d).map(|NoFields {}| ())
}

/// Deserializes an optional number up to the maximum of OpenAPI's `int64`.
pub fn int64<'de, D: Deserializer<'de>>(d: D) -> Result<Option<u64>, D::Error> {
    at_most(d, i64::MAX.unsigned_abs())
}

/// Deserializes an optional time in milliseconds since 1970, up to the last that RFC 3339 can write.
pub fn time<'de, D: Deserializer<'de>>(d: D) -> Result<Option<u64>, D::Error> {
    at_most(d, Timestamp::MAX.0)
}

/// Like [`int64`], for a required field.
pub fn some_int64<'de, D: Deserializer<'de>>(d: D) -> Result<u64, D::Error> {
    int64(d)?.ok_or_else(|| D::Error::custom("a number is expected"))
}

/// Like [`time`], for a required field.
pub fn some_time<'de, D: Deserializer<'de>>(d: D) -> Result<u64, D::Error> {
    time(d)?.ok_or_else(|| D::Error::custom("a time is expected"))
}

fn at_most<'de, D: Deserializer<'de>>(d: D, max: u64) -> Result<Option<u64>, D::Error> {
    match Option::<u64>::deserialize(d)? {
        Some(number) if number > max => {
            Err(D::Error::custom(format_args!("{number} is out of range: at most {max} is taken")))
        }
        number => Ok(number),
    }
}

/// Whether a field has its default and is left out.
pub fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
