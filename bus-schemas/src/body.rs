//! Bodies of commands and queries: their encoding, and the checks for bodies from outside.
//!
//! A derived reader accepts more than its schema says: a list for an object's fields in order, a number for a
//! name, an object for a word. So a body from outside is compared with what was decoded from it.

mod words;

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::envelope::ContentType;

pub use words::plain;

/// How deep the lists and objects of a command may nest. Events, mail and jobs wrap a command in a few more
/// levels, and JSON readers commonly stop at 128.
pub const NESTING_MAX: usize = 64;

/// The encoded content of a command or an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Body {
    /// The encoding.
    pub content_type: ContentType,
    /// The bytes as received.
    pub bytes: Bytes,
}

/// Why a body could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The bytes are not one value of their content type.
    #[error("the body is not one value of {language}: {reason}")]
    Malformed {
        /// The name of the content type.
        language: &'static str,
        /// The decoder's message.
        reason: String,
    },
    /// The value does not match the schema.
    #[error("{0}")]
    Mismatch(String),
}

impl From<serde_json::Error> for BodyError {
    fn from(error: serde_json::Error) -> Self {
        let reason = plain(&error.to_string());
        match error.is_data() {
            true => Self::Mismatch(reason),
            false => Self::Malformed { language: "JSON", reason },
        }
    }
}

impl From<rmp_serde::decode::Error> for BodyError {
    fn from(error: rmp_serde::decode::Error) -> Self {
        let reason = plain(&error.to_string());
        match error {
            rmp_serde::decode::Error::Syntax(_) => Self::Mismatch(reason),
            _ => Self::Malformed { language: "MessagePack", reason },
        }
    }
}

impl Body {
    /// Encodes a value as JSON.
    pub fn json<T: Serialize>(value: &T) -> Self {
        let bytes =
            serde_json::to_vec(value).expect("types of this crate have string keys and write to memory");
        Self { content_type: ContentType::Json, bytes: bytes.into() }
    }
    /// Decodes a value that this system wrote or checked before.
    pub fn read<'a, T: Deserialize<'a>>(&'a self) -> Result<T, BodyError> {
        Ok(match self.content_type {
            ContentType::Json => serde_json::from_slice(&self.bytes)?,
            ContentType::Msgpack => rmp_serde::from_slice(&self.bytes)?,
        })
    }
    /// Decodes and checks a value from outside. It must be one object of its content type, nested at most
    /// [`NESTING_MAX`] deep, with text as names and numbers that JSON can express, and with lists, objects,
    /// numbers and words where the schema has them.
    pub fn read_strictly<'a, T: Deserialize<'a> + Serialize>(&'a self) -> Result<T, BodyError> {
        let levels = self.visit(Levels(NESTING_MAX))?;
        // The decoder itself tells the words of one flat JSON object apart.
        if levels == 1 && self.content_type == ContentType::Json {
            return self.read().or_else(|_| self.read_located());
        }
        let came = self.visit(OutlineVisitor)?;
        // A decoder would read a list as the fields of an object.
        if !matches!(came, Outline::Object(_)) {
            let found = came.sort();
            return Err(BodyError::Mismatch(format!("the body must be an object, and is {found}")));
        }
        let value: T = self.read().or_else(|_| self.read_located())?;
        let read = serde_json::to_value(&value)?;
        matches(&came, &Outline::deserialize(read)?).map_err(|misfit| {
            let Misfit { place, expected, found } = misfit;
            BodyError::Mismatch(format!("`{place}` must be {expected}, and is {found}"))
        })?;
        Ok(value)
    }

    /// Decodes a value of sound bytes again, to say where it does not match the schema.
    fn read_located<'a, T: Deserialize<'a>>(&'a self) -> Result<T, BodyError> {
        match self.content_type {
            ContentType::Json => {
                let mut reader = serde_json::Deserializer::from_slice(&self.bytes);
                serde_path_to_error::deserialize(&mut reader).map_err(|error| located(&error))
            }
            ContentType::Msgpack => {
                let mut rest = &self.bytes[..];
                let mut reader = rmp_serde::Deserializer::new(&mut rest);
                serde_path_to_error::deserialize(&mut reader).map_err(|error| located(&error))
            }
        }
    }

    /// Visits the whole body; bytes after the value are an error.
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
                    behind => Err(BodyError::Malformed {
                        language: "MessagePack",
                        reason: format!("{behind} bytes stand behind the value"),
                    }),
                }
            }
        }
    }
}

/// The mismatch at its place in the body.
fn located<E: fmt::Display>(error: &serde_path_to_error::Error<E>) -> BodyError {
    let (place, reason) = (error.path().to_string(), plain(&error.inner().to_string()));
    BodyError::Mismatch(match place.as_str() {
        // An object whose kind a field tells has its fields read twice, and the path is lost.
        "." | "?" => reason,
        place => format!("`{place}`: {reason}"),
    })
}

/// Visits a value and counts how deep it nests; holds the levels that are left.
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

/// A field name. In MessagePack a number or bytes may stand for it, which is refused.
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

/// The sort of a value, without its content.
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

impl Outline {
    /// The JSON type, with its article.
    fn sort(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool => "a boolean",
            Self::Number => "a number",
            Self::Text => "a string",
            Self::List(_) => "an array",
            Self::Object(_) => "an object",
        }
    }
}

/// The place where a body differs from what was decoded from it.
struct Misfit {
    place: String,
    expected: &'static str,
    found: &'static str,
}

impl Misfit {
    /// The same place, from one level above.
    fn below(mut self, name: &str) -> Self {
        let separator = if self.place.is_empty() || self.place.starts_with('[') { "" } else { "." };
        self.place = [name, separator, &self.place].concat();
        self
    }
}

/// Compares the body with what was decoded from it. A missing field has its default, and a default may be
/// missing when it is encoded again.
fn matches(came: &Outline, read: &Outline) -> Result<(), Misfit> {
    match (came, read) {
        (Outline::Null, _)
        | (_, Outline::Null)
        | (Outline::Bool, Outline::Bool)
        | (Outline::Number, Outline::Number)
        | (Outline::Text, Outline::Text) => Ok(()),
        (Outline::List(came), Outline::List(read)) => {
            came.iter().zip(read).enumerate().try_for_each(|(index, (came, read))| {
                matches(came, read).map_err(|misfit| misfit.below(&format!("[{index}]")))
            })
        }
        (Outline::Object(came), Outline::Object(read)) => came.iter().try_for_each(|(name, came)| {
            read.get(name).map_or(Ok(()), |read| matches(came, read).map_err(|misfit| misfit.below(name)))
        }),
        _ => Err(Misfit { place: String::new(), expected: read.sort(), found: came.sort() }),
    }
}

/// Decodes the outline of a whole value.
struct OutlineVisitor;

impl<'de> DeserializeSeed<'de> for OutlineVisitor {
    type Value = Outline;
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Outline, D::Error> {
        d.deserialize_any(self)
    }
}

impl<'de> Deserialize<'de> for Outline {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(OutlineVisitor)
    }
}

impl<'de> Visitor<'de> for OutlineVisitor {
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
        while let Some(value) = values.next_element_seed(OutlineVisitor)? {
            list.push(value);
        }
        Ok(Outline::List(list))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Outline, A::Error> {
        let mut object = BTreeMap::new();
        while let Some(name) = entries.next_key_seed(Name)? {
            object.insert(name, entries.next_value_seed(OutlineVisitor)?);
        }
        Ok(Outline::Object(object))
    }
}

#[cfg(test)]
mod tests;
