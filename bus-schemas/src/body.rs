//! Bodies of commands and queries: how they are written, and what holds for each one from outside.
//!
//! A derived reader takes more than its schema says: a list for an object's fields in their order, a number
//! for a name, an object for a word. What somebody else wrote is therefore held against what was read of it.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::envelope::ContentType;

/// How deep a command's lists and objects may nest. Events, mail and jobs wrap what came in a few
/// levels deeper, and JSON readers commonly stop at 128.
pub const NESTING_MAX: usize = 64;

/// A command's or an event's content, as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Body {
    /// How it is written.
    pub content_type: ContentType,
    /// The bytes as they came.
    pub bytes: Bytes,
}

/// Why a body could not be read.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// Not JSON, or not of the schema.
    #[error("reading JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// Not MessagePack, or not of the schema.
    #[error("reading MessagePack: {0}")]
    Msgpack(#[from] rmp_serde::decode::Error),
}

impl Body {
    /// Writes a value as JSON.
    pub fn json<T: Serialize>(value: &T) -> Self {
        let bytes =
            serde_json::to_vec(value).expect("types of this crate have string keys and write to memory");
        Self { content_type: ContentType::Json, bytes: bytes.into() }
    }
    /// Reads a value that this system wrote, or that was checked before.
    pub fn read<'a, T: Deserialize<'a>>(&'a self) -> Result<T, BodyError> {
        Ok(match self.content_type {
            ContentType::Json => serde_json::from_slice(&self.bytes)?,
            ContentType::Msgpack => rmp_serde::from_slice(&self.bytes)?,
        })
    }
    /// Reads a value that somebody else wrote. It is one value of its content type, nested at most
    /// [`NESTING_MAX`] deep; its names are text, its numbers can be written as JSON, and it has lists,
    /// objects, numbers and words where the schema has them.
    pub fn read_strictly<'a, T: Deserialize<'a> + Serialize>(&'a self) -> Result<T, BodyError> {
        let levels = self.visit(Levels(NESTING_MAX))?;
        let value: T = self.read()?;
        // The words of one flat JSON object are told apart by the reader itself.
        if levels > 1 || self.content_type == ContentType::Msgpack {
            let read = serde_json::to_value(&value)?;
            matches(&self.visit(Whole)?, &Outline::deserialize(read)?)
                .map_err(|place| self.misread(&format!("another type is expected at `{place}`")))?;
        }
        Ok(value)
    }

    fn misread(&self, reason: &str) -> BodyError {
        match self.content_type {
            ContentType::Json => serde_json::Error::custom(reason).into(),
            ContentType::Msgpack => rmp_serde::decode::Error::custom(reason).into(),
        }
    }

    /// Reads over the whole body; bytes behind the value are an error.
    fn visit<T>(&self, seed: impl for<'de> DeserializeSeed<'de, Value = T>) -> Result<T, BodyError> {
        match self.content_type {
            ContentType::Json => {
                let mut reader = serde_json::Deserializer::from_slice(&self.bytes);
                let value = seed.deserialize(&mut reader)?;
                reader.end()?;
                Ok(value)
            }
            ContentType::Msgpack => {
                let mut rest = &self.bytes[..];
                let value = seed.deserialize(&mut rmp_serde::Deserializer::new(&mut rest))?;
                match rest.len() {
                    0 => Ok(value),
                    behind => Err(self.misread(&format!("{behind} bytes stand behind the value"))),
                }
            }
        }
    }
}

/// Reads over a value, counting down the levels that it may still nest; how many it has.
struct Levels(usize);

impl Levels {
    fn deeper<E: serde::de::Error>(&self) -> Result<Self, E> {
        let left = self.0.checked_sub(1);
        left.map(Self).ok_or_else(|| E::custom(format_args!("nested deeper than {NESTING_MAX} levels")))
    }
}

impl<'de> DeserializeSeed<'de> for Levels {
    type Value = usize;
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<usize, D::Error> {
        d.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Levels {
    type Value = usize;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value that JSON can hold")
    }
    fn visit_bool<E>(self, _: bool) -> Result<usize, E> {
        Ok(0)
    }
    fn visit_i64<E>(self, _: i64) -> Result<usize, E> {
        Ok(0)
    }
    fn visit_u64<E>(self, _: u64) -> Result<usize, E> {
        Ok(0)
    }
    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<usize, E> {
        match number.is_finite() {
            true => Ok(0),
            false => Err(E::custom("JSON has no word for a number that is infinite or none")),
        }
    }
    fn visit_str<E>(self, _: &str) -> Result<usize, E> {
        Ok(0)
    }
    fn visit_bytes<E>(self, _: &[u8]) -> Result<usize, E> {
        Ok(0)
    }
    fn visit_unit<E>(self) -> Result<usize, E> {
        Ok(0)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<usize, A::Error> {
        let mut levels = 0;
        while let Some(below) = values.next_element_seed(self.deeper()?)? {
            levels = levels.max(below);
        }
        // A list is never flat.
        Ok(levels + 2)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<usize, A::Error> {
        let mut levels = 0;
        while entries.next_key_seed(Name)?.is_some() {
            levels = levels.max(entries.next_value_seed(self.deeper()?)?);
        }
        Ok(levels + 1)
    }
}

/// Reads the name of a field. In MessagePack a number or bytes may stand for it, which are no names.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = String;
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<String, D::Error> {
        d.deserialize_any(self)
    }
}

impl Visitor<'_> for Name {
    type Value = String;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name that is text")
    }
    fn visit_str<E>(self, name: &str) -> Result<String, E> {
        Ok(name.to_owned())
    }
}

/// What sort of value stands where.
#[derive(Debug)]
enum Outline {
    Null,
    Bool,
    Number,
    /// Text, or the bytes of an id or a hash.
    Text,
    List(Vec<Outline>),
    Object(BTreeMap<String, Outline>),
}

/// Holds what came against what was read of it; the place where they differ. What was left out has its
/// default, and what is its default may be left out where it is written again.
fn matches(came: &Outline, read: &Outline) -> Result<(), String> {
    let below = |name: &dyn fmt::Display, found: Result<(), String>| {
        found.map_err(|place| if place.is_empty() { name.to_string() } else { format!("{name}/{place}") })
    };
    match (came, read) {
        (Outline::Null, _)
        | (_, Outline::Null)
        | (Outline::Bool, Outline::Bool)
        | (Outline::Number, Outline::Number)
        | (Outline::Text, Outline::Text) => Ok(()),
        (Outline::List(came), Outline::List(read)) => came
            .iter()
            .zip(read)
            .enumerate()
            .try_for_each(|(index, (came, read))| below(&index, matches(came, read))),
        (Outline::Object(came), Outline::Object(read)) => came.iter().try_for_each(|(name, came)| {
            read.get(name).map_or(Ok(()), |read| below(name, matches(came, read)))
        }),
        _ => Err(String::new()),
    }
}

/// Reads the outline of a whole value.
struct Whole;

impl<'de> DeserializeSeed<'de> for Whole {
    type Value = Outline;
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Outline, D::Error> {
        d.deserialize_any(self)
    }
}

impl<'de> Deserialize<'de> for Outline {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(Whole)
    }
}

impl<'de> Visitor<'de> for Whole {
    type Value = Outline;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value that JSON can hold")
    }
    fn visit_bool<E>(self, _: bool) -> Result<Outline, E> {
        Ok(Outline::Bool)
    }
    fn visit_i64<E>(self, _: i64) -> Result<Outline, E> {
        Ok(Outline::Number)
    }
    fn visit_u64<E>(self, _: u64) -> Result<Outline, E> {
        Ok(Outline::Number)
    }
    fn visit_f64<E>(self, _: f64) -> Result<Outline, E> {
        Ok(Outline::Number)
    }
    fn visit_str<E>(self, _: &str) -> Result<Outline, E> {
        Ok(Outline::Text)
    }
    fn visit_bytes<E>(self, _: &[u8]) -> Result<Outline, E> {
        Ok(Outline::Text)
    }
    fn visit_unit<E>(self) -> Result<Outline, E> {
        Ok(Outline::Null)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Outline, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = values.next_element_seed(Whole)? {
            list.push(value);
        }
        Ok(Outline::List(list))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Outline, A::Error> {
        let mut object = BTreeMap::new();
        while let Some(name) = entries.next_key_seed(Name)? {
            object.insert(name, entries.next_value_seed(Whole)?);
        }
        Ok(Outline::Object(object))
    }
}

#[cfg(test)]
mod tests;
