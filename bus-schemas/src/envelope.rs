//! The envelope of messages: headers, content types, trace context, replies and refusals.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

pub use crate::body::{Body, BodyError, NESTING_MAX};
use crate::ids::{CommandId, EntityAddress, Revision};

/// Header names. CloudEvents' binary mode and W3C define some of them; the rest are Orrery's.
pub mod header {
    /// The command's id; `Nats-Msg-Id` serves as well. Without either the host makes one.
    pub const COMMAND_ID: &str = "Orrery-Command-Id";
    /// `application/json` (the default) or `application/msgpack`.
    pub const CONTENT_TYPE: &str = "Content-Type";
    /// The correlation, shared by everything that one request caused.
    pub const CORRELATION: &str = "Orrery-Correlation";
    /// The command that caused this event.
    pub const CAUSE: &str = "Orrery-Cause";
    /// The entity's revision after this event.
    pub const REVISION: &str = "Orrery-Revision";
    /// The event's schema version.
    pub const SCHEMA: &str = "Orrery-Schema";
    /// The chain hash up to and with this event.
    pub const HASH: &str = "Orrery-Hash";
    /// `<partition>.<log sequence>.<index>`: the event's place in the log, and the cursor of streams.
    pub const CURSOR: &str = "Orrery-Cursor";
    /// The BLAKE3 hash of a body in the blob store; the message's own body is empty.
    pub const BLOB: &str = "Orrery-Blob";
    /// Why a command became a dead letter, cut if it is long.
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

/// The encoding of a body.
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
    /// The trace id.
    pub trace_id: [u8; 16],
    /// The id of the span that caused this message.
    pub span_id: [u8; 8],
    /// Bit 0: sampled.
    pub flags: u8,
}

impl TraceContext {
    /// Parses a `traceparent` header; `None` if it is malformed, as the specification asks.
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
    /// Formats a `traceparent` header.
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

/// Why a command was refused. A refusal is a reply, not a fault: nothing happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Refusal {
    /// A stable code for programs, such as `task-not-found`.
    pub code: SmolStr,
    /// One sentence for people.
    pub message: String,
    /// What to do next, if anything helps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// When to retry, in milliseconds, if a retry helps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl Refusal {
    /// A refusal with a code and a message.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code: SmolStr::new_static(code), message: message.into(), hint: None, retry_after_ms: None }
    }
    /// Adds a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// The codes of the runtime's refusals; entities have further codes.
pub mod code {
    /// A halt covers what the command would begin.
    pub const HALTED: &str = "halted";
    /// The body does not match the command's schema.
    pub const MALFORMED: &str = "malformed-command";
    /// No entity of this kind exists in this installation.
    pub const UNKNOWN_KIND: &str = "unknown-kind";
    /// The content type is neither JSON nor MessagePack.
    pub const CONTENT_TYPE: &str = "unsupported-content-type";
    /// The body is larger than the limit.
    pub const TOO_LARGE: &str = "too-large";
    /// The subject names no entity.
    pub const BAD_SUBJECT: &str = "bad-subject";
    /// The command id was used with another body.
    pub const ID_REUSED: &str = "command-id-reused";
    /// The command id is older than those that the partition remembers, so the command may have been applied.
    pub const ID_STALE: &str = "command-id-stale";
    /// The partition's queue is full.
    pub const BUSY: &str = "busy";
    /// The query waited for something that has not happened yet; ask again.
    pub const COME_AGAIN: &str = "come-again";
    /// Entities of this kind do not answer this query.
    pub const UNKNOWN_QUERY: &str = "unknown-query";
    /// The answering host may no longer own the partition.
    pub const NOT_OWNER: &str = "not-owner";
    /// The claim is invalid.
    pub const INVALID_CLAIM: &str = "invalid-claim";
    /// Another worker claims under the same name, and began later.
    pub const WORKER_REPLACED: &str = "worker-replaced";
    /// The decision panicked; the command is a dead letter.
    pub const POISON: &str = "poison";
    /// The entity stopped at an event that this version does not know.
    pub const ENTITY_STOPPED: &str = "entity-stopped";
    /// Only the system sends the command.
    pub const SYSTEM_COMMAND: &str = "system-command";
    /// The entity takes no commands until it is released.
    pub const ENTITY_QUARANTINED: &str = "entity-quarantined";
    /// The configuration of the host allows no experiments.
    pub const CHAOS_NOT_ALLOWED: &str = "chaos-not-allowed";
    /// The entity lives in another partition: the sender's hash is wrong.
    pub const WRONG_PARTITION: &str = "wrong-partition";
}

/// The reply to an ask, sent after the commit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "status", rename_all = "kebab-case")]
pub enum Reply {
    /// The command was applied.
    Accepted {
        /// The command.
        command_id: CommandId,
        /// The entity.
        entity: EntityAddress,
        /// The entity's revision after the command.
        revision: Revision,
        /// How many events the command caused; 0 if it changed nothing.
        #[serde(default)]
        events: u32,
        /// The entity's result, if there is one.
        #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
        result: serde_json::Value,
    },
    /// The command was refused; nothing happened.
    Refused {
        /// The command.
        command_id: CommandId,
        /// Why it was refused.
        #[serde(flatten)]
        refusal: Refusal,
    },
}

impl Reply {
    /// The command that this replies to.
    pub fn command_id(&self) -> CommandId {
        match self {
            Self::Accepted { command_id, .. } | Self::Refused { command_id, .. } => *command_id,
        }
    }
}
