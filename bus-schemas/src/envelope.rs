//! What every message carries beside its meaning: headers, content types, trace context,
//! replies and refusals.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

pub use crate::body::{Body, BodyError, NESTING_MAX};
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
            "" | "application/json" => Some(Self::Json),
            "application/msgpack" => Some(Self::Msgpack),
            _ => None,
        }
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
