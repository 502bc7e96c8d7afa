//! Identifiers and small measures: entity addresses, command ids, revisions, hashes, times.
//!
//! All of them are newtypes, so that a revision cannot be passed for a sequence.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use smol_str::SmolStr;
use uuid::Uuid;

/// The longest key in bytes. NATS keeps every subject in memory, so keys stay short.
pub const KEY_BYTES_MAX: usize = 160;
/// The longest kind in bytes.
pub const KIND_BYTES_MAX: usize = 32;
/// The longest name of a caller in bytes.
pub const CALLER_BYTES_MAX: usize = 64;

/// Why a text is no id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text is empty, or longer than the limit.
    #[error("`{what}` must have 1 to {max} bytes, has {len}")]
    Length { what: &'static str, max: usize, len: usize },
    /// A character that a subject token must not have, so that a key cannot inject subjects.
    #[error("`{what}` may hold letters, digits, `-` and `_`{extra}, found {found:?}")]
    Character { what: &'static str, extra: &'static str, found: char },
    /// A character that a prefix must not have: stream names use it in capitals, with `_` for `-`.
    #[error("a prefix may hold small letters, digits and `-`, found {0:?}")]
    Prefix(char),
    /// An empty step before, between or after dots.
    #[error("a key has no empty steps: something must stand on both sides of each dot, found {0:?}")]
    EmptyStep(String),
    /// The text is not `<kind>/<key>`.
    #[error("an entity is written `<kind>/<key>`, found {0:?}")]
    Address(String),
}

/// Checks that `text` is one accepted subject token.
fn check_token(what: &'static str, text: &str, max: usize, extra: &'static str) -> Result<(), Error> {
    if text.is_empty() || text.len() > max {
        return Err(Error::Length { what, max, len: text.len() });
    }
    match text.chars().find(|c| !(c.is_ascii_alphanumeric() || *c == '-' || *c == '_')) {
        Some(found) => Err(Error::Character { what, extra, found }),
        None => Ok(()),
    }
}

/// The kind of an entity: `task`, `agent`, `lane` …
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct Kind(#[schemars(length(min = 1, max = 32), regex(pattern = r"^[A-Za-z0-9_-]+$"))] SmolStr);

/// The key of an entity among those of its kind. Dots make a path: `<root>.<step>` is a child of `<root>`,
/// and everything below one root lives in one partition.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct Key(
    #[schemars(length(min = 1, max = 160), regex(pattern = r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$"))] SmolStr,
);

/// A caller: one token of the subject, so that the server's permissions can bind it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Caller(SmolStr);

impl Caller {
    /// A caller that gives no name.
    pub const UNNAMED: Self = Self(SmolStr::new_static("unnamed"));
    /// A host that sends a command which only the system sends. Servers with users give nobody else this name.
    pub const SYSTEM: Self = Self(SmolStr::new_static("orrery-system"));

    /// Checks the name of a caller.
    pub fn parse(text: &str) -> Result<Self, Error> {
        check_token("caller", text, CALLER_BYTES_MAX, "").map(|()| Self(SmolStr::new(text)))
    }
    /// A caller for any name, such as a host's: invalid characters become `-`, and the rest is cut off.
    pub fn of(name: &str) -> Self {
        let token = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
        let text: SmolStr = name.chars().take(CALLER_BYTES_MAX).map(token).collect();
        if text.is_empty() { Self::UNNAMED } else { Self(text) }
    }
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<Caller> for SmolStr {
    fn from(Caller(text): Caller) -> Self {
        text
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Kind {
    /// A kind that is known at compile time.
    pub const fn from_static(text: &'static str) -> Self {
        Self(SmolStr::new_static(text))
    }
    /// Checks a kind.
    pub fn parse(text: &str) -> Result<Self, Error> {
        check_token("kind", text, KIND_BYTES_MAX, "").map(|()| Self(SmolStr::new(text)))
    }
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Key {
    /// Checks a key.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.is_empty() || text.len() > KEY_BYTES_MAX {
            return Err(Error::Length { what: "key", max: KEY_BYTES_MAX, len: text.len() });
        }
        if text.split('.').any(str::is_empty) {
            return Err(Error::EmptyStep(text.to_owned()));
        }
        for token in text.split('.') {
            check_token("key", token, KEY_BYTES_MAX, ", and `.` between the steps of a path")?;
        }
        Ok(Self(SmolStr::new(text)))
    }
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
    /// Whether this key is `top` or below it.
    pub fn is_within(&self, top: &Self) -> bool {
        let rest = self.0.strip_prefix(top.0.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }
    /// The first token, which decides the partition.
    pub fn root(&self) -> &str {
        self.0.split('.').next().unwrap_or(&self.0)
    }
    /// The key without its last step; `None` for a root.
    pub fn parent(&self) -> Option<Self> {
        self.0.rsplit_once('.').map(|(parent, _)| Self(SmolStr::new(parent)))
    }
    /// The key one step below this one.
    pub fn child(&self, step: &str) -> Result<Self, Error> {
        check_token("key", step, KEY_BYTES_MAX, "")?;
        Self::parse(&format!("{}.{step}", self.0))
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = SmolStr::deserialize(d)?;
        check_token("kind", &text, KIND_BYTES_MAX, "").map_err(serde::de::Error::custom)?;
        Ok(Self(text))
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = SmolStr::deserialize(d)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The address of an event-sourced actor: `<kind>/<key>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EntityAddress {
    /// The kind.
    pub kind: Kind,
    /// The key.
    pub key: Key,
}

impl EntityAddress {
    /// An address from a kind and a key.
    pub fn new(kind: Kind, key: Key) -> Self {
        Self { kind, key }
    }
    /// The partition of this entity, of `count`.
    pub fn partition(&self, count: u16) -> PartitionId {
        PartitionId::of(self.key.root(), count)
    }
}

impl fmt::Display for EntityAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.key)
    }
}

impl FromStr for EntityAddress {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        let (kind, key) = text.split_once('/').ok_or_else(|| Error::Address(text.into()))?;
        Ok(Self::new(Kind::parse(kind)?, Key::parse(key)?))
    }
}

/// An address as one text, `<kind>/<key>`: the form for people and other systems.
pub mod address_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use super::EntityAddress;

    /// Serializes an address.
    pub fn serialize<S: Serializer>(address: &EntityAddress, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(address)
    }
    /// Deserializes an address.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<EntityAddress, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// The number of a partition, from 0.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema, Default,
)]
#[serde(transparent)]
pub struct PartitionId(pub u16);

impl PartitionId {
    /// The partition of a root token, of `count`.
    ///
    /// FNV-1a, 32 bit, modulo the count. A NATS server computes the same for `{{partition(count, token)}}`
    /// (ADR-36), so servers and clients route alike.
    pub fn of(root: &str, count: u16) -> Self {
        let hash = root
            .bytes()
            .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        Self((hash % u32::from(count.max(1))) as u16)
    }
    /// The root token of entities that belong to this partition, of `count`: the smallest number, in decimal
    /// digits, whose partition this is.
    pub fn token(self, count: u16) -> SmolStr {
        let mut numbers = 0_u32..;
        let found = numbers.find_map(|number| {
            let text = smol_str::format_smolstr!("{number}");
            (Self::of(&text, count) == self).then_some(text)
        });
        found.expect("the hash of some number falls into each partition")
    }
}

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema, Default,
        )]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// The next number.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

number!(
    /// The number of events of an entity: 1, 2, 3 … without gaps.
    Revision
);
number!(
    /// The stream sequence of a commit record in its partition's log.
    LogSequence
);
number!(
    /// How often a partition was taken over. A larger epoch fences a smaller one.
    Epoch
);
number!(
    /// Milliseconds since 1970-01-01T00:00:00Z.
    Timestamp
);

impl Timestamp {
    /// The last millisecond that RFC 3339 can write: 9999-12-31T23:59:59.999Z.
    pub const MAX: Self = Self(253_402_300_799_999);
    /// Whether it is 0: the default of a field that was left out.
    pub fn is_zero(&self) -> bool {
        self.0 == 0
    }
    /// This time plus `milliseconds`, at most [`Self::MAX`].
    #[must_use]
    pub fn plus_ms(self, milliseconds: u64) -> Self {
        Self(self.0.saturating_add(milliseconds)).min(Self::MAX)
    }
    /// Parses RFC 3339; `None` for anything else and for times before 1970.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let time = chrono::DateTime::parse_from_rfc3339(text).ok()?;
        u64::try_from(time.timestamp_millis()).ok().map(Self)
    }
    /// RFC 3339 in UTC with milliseconds, for headers and people. A time after [`Self::MAX`] is written as
    /// [`Self::MAX`].
    pub fn to_rfc3339(self) -> String {
        chrono::DateTime::from_timestamp_millis(i64::try_from(self.min(Self::MAX).0).unwrap_or_default())
            .map(|time| time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true))
            .unwrap_or_default()
    }
}

/// The id of a command, unique for ever; the same id gets the first reply again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct CommandId(pub Uuid);

impl CommandId {
    /// An id from a text. A UUID is taken as it is; any other text is hashed to a version 8 UUID, so that a
    /// service may use its own ids.
    pub fn from_text(text: &str) -> Self {
        Uuid::try_parse(text).map_or_else(|_| Self::hashed(&[text.as_bytes()]), Self)
    }
    /// The id of the `index`th message or item that this command caused, for a `purpose`.
    #[must_use]
    pub fn derive(self, purpose: &str, index: u32) -> Self {
        Self::hashed(&[self.0.as_bytes(), purpose.as_bytes(), &index.to_be_bytes()])
    }
    /// The creation time of a version 7 id; `None` for other versions.
    pub fn made_at(self) -> Option<Timestamp> {
        if self.0.get_version_num() != 7 {
            return None;
        }
        let (seconds, nanoseconds) = self.0.get_timestamp()?.to_unix();
        Some(Timestamp(seconds * 1_000 + u64::from(nanoseconds) / 1_000_000))
    }
    fn hashed(parts: &[&[u8]]) -> Self {
        let mut hasher = blake3::Hasher::new();
        for part in parts {
            hasher.update(&(part.len() as u64).to_be_bytes());
            hasher.update(part);
        }
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        Self(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }
}

impl fmt::Display for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A BLAKE3 hash: of an event and all before it, of a commit record, of a blob.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// The hash of bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
    /// SHA-256 of the token of a job: workers of any language have it without another package.
    pub fn of_token(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }
    /// The next link of an entity's chain: over the previous hash, the revision, the type, the schema version
    /// and the body.
    #[must_use]
    pub fn link(self, revision: Revision, event_type: &str, schema: u16, body: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.0);
        hasher.update(&revision.0.to_be_bytes());
        hasher.update(&(event_type.len() as u32).to_be_bytes());
        hasher.update(event_type.as_bytes());
        hasher.update(&schema.to_be_bytes());
        hasher.update(body);
        Self(*hasher.finalize().as_bytes())
    }
    /// 64 hexadecimal digits.
    pub fn to_hex(self) -> String {
        blake3::Hash::from_bytes(self.0).to_hex().to_string()
    }
    /// Parses 64 hexadecimal digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        blake3::Hash::from_hex(text).ok().map(|hash| Self(*hash.as_bytes()))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}

impl Serialize for Hash {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if s.is_human_readable() { s.serialize_str(&self.to_hex()) } else { s.serialize_bytes(&self.0) }
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        if d.is_human_readable() { d.deserialize_str(HashVisitor) } else { d.deserialize_bytes(HashVisitor) }
    }
}

/// Accepts bytes and text from any format: serde buffers the content of tagged enums and then calls every
/// format human-readable, and other languages write hexadecimal digits into MessagePack.
struct HashVisitor;

impl serde::de::Visitor<'_> for HashVisitor {
    type Value = Hash;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a hash of 64 hexadecimal digits or 32 bytes")
    }
    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Hash, E> {
        Hash::from_hex(text).ok_or_else(|| E::custom("not 64 hexadecimal digits"))
    }
    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Hash, E> {
        bytes.try_into().map(Hash).map_err(|_| E::custom("a hash has 32 bytes"))
    }
}

impl JsonSchema for Hash {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Hash".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "pattern": "^[0-9a-f]{64}$", "description": "BLAKE3, hexadecimal"})
    }
}
