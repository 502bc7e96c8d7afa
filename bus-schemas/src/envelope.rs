//! What every message carries beside its meaning: headers, content types, trace context,
//! replies and refusals.

use std::fmt;

use bytes::Bytes;
use schemars::JsonSchema;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::ids::{CommandId, EntityAddress, Revision};

/// Header names. Those of CloudEvents' binary mode and of W3C are theirs; the rest are ours.
pub mod header {
    /// The command's id; `Nats-Msg-Id` serves as well. Without both the host makes one.
    pub const COMMAND_ID: &str = "Orrery-Command-Id";
    /// `application/json` (the default) or `application/msgpack`.
    pub const CONTENT_TYPE: &str = "Content-Type";
    /// The id that everything caused by one request shares.
    pub const CORRELATION: &str = "Orrery-Correlation";
    /// The command that led to this event.
    pub const CAUSE: &str = "Orrery-Cause";
    /// The entity's revision after this event.
    pub const REVISION: &str = "Orrery-Revision";
    /// The event's schema version.
    pub const SCHEMA: &str = "Orrery-Schema";
    /// The chain hash up to and with this event.
    pub const HASH: &str = "Orrery-Hash";
    /// `<partition>.<log sequence>.<index>`: where in the log this event stands; the cursor of streams.
    pub const CURSOR: &str = "Orrery-Cursor";
    /// The body lies in the blob store under this BLAKE3 hash; the message's own is empty.
    pub const BLOB: &str = "Orrery-Blob";
    /// Why a dead letter could not be done: its beginning, where it is long.
    pub const REASON: &str = "Orrery-Reason";
    /// JetStream's message id.
    pub const MESSAGE_ID: &str = "Nats-Msg-Id";
    /// W3C trace context.
    pub const TRACEPARENT: &str = "traceparent";
    /// CloudEvents: the event's id, `<kind>/<key>/<revision>`.
    pub const CE_ID: &str = "ce-id";
    /// CloudEvents: the event's type, `orrery.<kind>.<type>`.
    pub const CE_TYPE: &str = "ce-type";
    /// CloudEvents: the entity, `/<kind>/<key>`.
    pub const CE_SOURCE: &str = "ce-source";
    /// CloudEvents: when it happened.
    pub const CE_TIME: &str = "ce-time";
    /// CloudEvents: the version of CloudEvents.
    pub const CE_SPECVERSION: &str = "ce-specversion";
}

/// How a body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ContentType {
    /// `application/json`
    #[default]
    Json,
    /// `application/msgpack`: MessagePack with named fields
    Msgpack,
}

impl ContentType {
    /// The media type.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Msgpack => "application/msgpack",
        }
    }
    /// Reads a media type; parameters such as `charset` are ignored.
    pub fn parse(text: &str) -> Option<Self> {
        match text.split(';').next().unwrap_or("").trim().to_ascii_lowercase().as_str() {
            "" | "application/json" | "text/json" => Some(Self::Json),
            "application/msgpack" | "application/vnd.msgpack" | "application/x-msgpack" => {
                Some(Self::Msgpack)
            }
            _ => None,
        }
    }
}

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
    /// Reads a value.
    pub fn read<'a, T: Deserialize<'a>>(&'a self) -> Result<T, BodyError> {
        Ok(match self.content_type {
            ContentType::Json => serde_json::from_slice(&self.bytes)?,
            ContentType::Msgpack => rmp_serde::from_slice(&self.bytes)?,
        })
    }
    /// Checks what holds for every body from outside, whatever its schema: it is one value of its
    /// content type, nested at most [`NESTING_MAX`] deep, and its numbers can be written as JSON.
    pub fn check(&self) -> Result<(), BodyError> {
        match self.content_type {
            ContentType::Json => {
                let mut reader = serde_json::Deserializer::from_slice(&self.bytes);
                Plain(NESTING_MAX).deserialize(&mut reader)?;
                reader.end()?;
            }
            ContentType::Msgpack => {
                let mut reader = rmp_serde::Deserializer::from_read_ref(&self.bytes[..]);
                Plain(NESTING_MAX).deserialize(&mut reader)?;
            }
        }
        Ok(())
    }
}

/// How deep a command's lists and objects may nest. Events, mail and jobs wrap what came in a few
/// levels deeper, and JSON readers commonly stop at 128.
pub const NESTING_MAX: usize = 64;

/// Reads over a value, counting down the levels that it may still nest.
struct Plain(usize);

impl Plain {
    fn deeper<E: serde::de::Error>(&self) -> Result<Self, E> {
        let left = self.0.checked_sub(1);
        left.map(Self).ok_or_else(|| E::custom(format_args!("nested deeper than {NESTING_MAX} levels")))
    }
}

impl<'de> DeserializeSeed<'de> for Plain {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<(), D::Error> {
        d.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Plain {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value that JSON can hold")
    }
    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<(), E> {
        match number.is_finite() {
            true => Ok(()),
            false => Err(E::custom("JSON has no word for a number that is infinite or none")),
        }
    }
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_bytes<E>(self, _: &[u8]) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_some<D: Deserializer<'de>>(self, d: D) -> Result<(), D::Error> {
        d.deserialize_any(self)
    }
    fn visit_none<E>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_newtype_struct<D: Deserializer<'de>>(self, d: D) -> Result<(), D::Error> {
        self.deeper::<D::Error>()?.deserialize(d)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<(), A::Error> {
        while values.next_element_seed(self.deeper()?)?.is_some() {}
        Ok(())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        while entries.next_key_seed(self.deeper()?)?.is_some() {
            entries.next_value_seed(self.deeper()?)?;
        }
        Ok(())
    }
}

/// W3C trace context (level 1) without the vendor state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceContext {
    /// The trace.
    pub trace_id: [u8; 16],
    /// The span that caused this message.
    pub span_id: [u8; 8],
    /// Bit 0: sampled.
    pub flags: u8,
}

impl TraceContext {
    /// Reads a `traceparent` header; anything malformed is none, as the specification asks.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let ([version], [flags]) = (unhex(version)?, unhex(flags)?);
        if version == 0xff || (version == 0 && parts.next().is_some()) {
            return None;
        }
        let context = Self { trace_id: unhex(trace)?, span_id: unhex(span)?, flags };
        (context.trace_id != [0; 16] && context.span_id != [0; 8]).then_some(context)
    }
    /// Writes a `traceparent` header.
    pub fn to_traceparent(self) -> String {
        let mut text = String::with_capacity(55);
        text.push_str("00-");
        hex(&mut text, &self.trace_id);
        text.push('-');
        hex(&mut text, &self.span_id);
        text.push('-');
        hex(&mut text, &[self.flags]);
        text
    }
}

fn hex(text: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N || digits.iter().any(|d| !d.is_ascii_hexdigit() || d.is_ascii_uppercase()) {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

/// Why a command was not done. It is an answer, not a fault: nothing happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Refusal {
    /// A stable word for programs, such as `task-not-found`.
    pub code: SmolStr,
    /// One sentence for people.
    pub message: String,
    /// What to do next, where there is something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// When to try again, in milliseconds, where trying again helps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl Refusal {
    /// A refusal with a code and a sentence.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code: SmolStr::new_static(code), message: message.into(), hint: None, retry_after_ms: None }
    }
    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Codes of refusals that the runtime gives; entities have their own beside these.
pub mod code {
    /// A halt covers what the command would begin.
    pub const HALTED: &str = "halted";
    /// The body is not of the command's schema.
    pub const MALFORMED: &str = "malformed-command";
    /// No entity of this kind exists in this installation.
    pub const UNKNOWN_KIND: &str = "unknown-kind";
    /// The content type is neither JSON nor MessagePack.
    pub const CONTENT_TYPE: &str = "unsupported-content-type";
    /// The body is larger than the bound.
    pub const TOO_LARGE: &str = "too-large";
    /// The subject names no entity.
    pub const BAD_SUBJECT: &str = "bad-subject";
    /// The id was used with another body.
    pub const ID_REUSED: &str = "command-id-reused";
    /// The id is older than what the partition remembers; it may have been applied.
    pub const ID_STALE: &str = "command-id-stale";
    /// The queue is full.
    pub const BUSY: &str = "busy";
    /// A query waited for something that did not happen yet.
    pub const COME_AGAIN: &str = "come-again";
    /// Entities of this kind answer no such query.
    pub const UNKNOWN_QUERY: &str = "unknown-query";
    /// The host that answers may no longer own the partition.
    pub const NOT_OWNER: &str = "not-owner";
    /// A claim is not sound.
    pub const INVALID_CLAIM: &str = "invalid-claim";
    /// Somebody else claims under the worker's name, and began later.
    pub const WORKER_REPLACED: &str = "worker-replaced";
    /// The decision panicked; the command is a dead letter.
    pub const POISON: &str = "poison";
    /// The entity stopped at an event that this version does not know.
    pub const ENTITY_STOPPED: &str = "entity-stopped";
    /// The entity takes no commands until somebody releases it.
    pub const ENTITY_QUARANTINED: &str = "entity-quarantined";
    /// The configuration of the host allows no experiments.
    pub const CHAOS_NOT_ALLOWED: &str = "chaos-not-allowed";
    /// The partition asked is not the one in which the entity lives: the asker's hash is wrong.
    pub const WRONG_PARTITION: &str = "wrong-partition";
}

/// The answer to an ask, sent after the commit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "status", rename_all = "kebab-case")]
pub enum Reply {
    /// The command was applied.
    Accepted {
        /// The command.
        command_id: CommandId,
        /// The entity.
        entity: EntityAddress,
        /// Its revision after the command.
        revision: Revision,
        /// How many events the command led to; 0 when everything was so already.
        #[serde(default)]
        events: u32,
        /// What the entity answers, if anything.
        #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
        result: serde_json::Value,
    },
    /// Nothing happened, and why.
    Refused {
        /// The command.
        command_id: CommandId,
        /// The reason.
        #[serde(flatten)]
        refusal: Refusal,
    },
}
