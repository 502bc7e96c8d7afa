//! Dead letters: commands, tasks and webhook posts that failed for good, with their payloads.

use bus_schemas::payload::Encoding;
use bus_schemas::{ContentType, Key, Revision, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use strum::{EnumString, IntoStaticStr};

/// The filter and the page of a list of dead letters.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListDeadLetters {
    /// Only dead letters in this state.
    pub state: Option<DeadLetterState>,
    /// Only dead letters of this class: `poison`, `malformed-command`, `unknown-kind`, `refused`,
    /// `job-failed` …
    pub class: Option<String>,
    /// Only dead letters meant for an entity of this kind.
    pub kind: Option<String>,
    /// Only dead letters meant for an entity whose key begins with this.
    pub key: Option<String>,
    /// Only dead letters that failed because of this dependency: the key of a breaker.
    pub dependency: Option<String>,
    /// Only dead letters recorded at this time or later, in milliseconds since 1970.
    #[serde(deserialize_with = "bus_schemas::wire::time", default)]
    pub since: Option<u64>,
    /// Only dead letters recorded before this time, in milliseconds since 1970.
    #[serde(deserialize_with = "bus_schemas::wire::time", default)]
    pub before: Option<u64>,
    /// Rows in the page. Default: 50.
    #[schemars(range(min = 1, max = 200))]
    pub limit: Option<u32>,
    /// The page to return: `next_cursor` of the page before.
    pub cursor: Option<String>,
}

/// The filter of dead letters; all conditions must hold.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeadLetterFilter {
    /// Only dead letters in this state.
    pub state: Option<DeadLetterState>,
    /// Only dead letters of this class: `poison`, `malformed-command`, `unknown-kind`, `refused`,
    /// `job-failed` …
    pub class: Option<String>,
    /// Only dead letters meant for an entity of this kind.
    pub kind: Option<String>,
    /// Only dead letters meant for an entity whose key begins with this.
    pub key: Option<String>,
    /// Only dead letters that failed because of this dependency: the key of a breaker.
    pub dependency: Option<String>,
    /// Only dead letters recorded at this time or later, in milliseconds since 1970.
    #[serde(deserialize_with = "bus_schemas::wire::time", default)]
    pub since: Option<u64>,
    /// Only dead letters recorded before this time, in milliseconds since 1970.
    #[serde(deserialize_with = "bus_schemas::wire::time", default)]
    pub before: Option<u64>,
}

impl ListDeadLetters {
    /// A list of the dead letters that a filter selects, from the first page on.
    pub fn of(filter: DeadLetterFilter) -> Self {
        let DeadLetterFilter { state, class, kind, key, dependency, since, before } = filter;
        Self { state, class, kind, key, dependency, since, before, limit: None, cursor: None }
    }
    /// The filter without the page.
    pub fn filter(self) -> DeadLetterFilter {
        let Self { state, class, kind, key, dependency, since, before, .. } = self;
        DeadLetterFilter { state, class, kind, key, dependency, since, before }
    }
}

/// A page of dead letters.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct DeadLetterPage {
    /// The dead letters, newest first.
    pub dead_letters: Vec<DeadLetter>,
    /// The cursor of the next page; null on the last page.
    pub next_cursor: Option<String>,
}

/// A dead letter with its payload.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct DeadLetterWithPayload {
    /// The dead letter.
    #[serde(flatten)]
    pub letter: DeadLetter,
    /// The original payload; null when there is none.
    pub payload: Option<Content>,
    /// The edited payload, which a redrive sends instead; null when it was not edited.
    pub edited: Option<Content>,
}

/// The bytes of a command.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "DeadLetterPayload")]
pub struct Content {
    /// The format of the command.
    pub content_type: ContentType,
    /// The encoding of the bytes in `content`.
    pub encoding: Encoding,
    /// The bytes, encoded.
    pub content: String,
    /// The number of bytes.
    pub bytes: usize,
}

/// What a redrive sends instead: either `json`, or `content`.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EditPayload {
    /// The command, as JSON.
    pub json: Option<Value>,
    /// The bytes of the command, in `encoding`.
    pub content: Option<String>,
    /// The encoding of the bytes in `content`: `text` or `base64`. Default: `text`.
    pub encoding: Option<Encoding>,
    /// The format of the command in `content`: `json` or `msgpack`. Default: `json`.
    pub content_type: Option<ContentType>,
    /// The entity to send the command to, as `<kind>/<key>`. Default: unchanged.
    pub to: Option<String>,
    /// The reason, for people.
    #[serde(default)]
    pub reason: String,
}

/// The reason for a change.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    /// The reason, for people.
    #[serde(default)]
    pub reason: String,
}

/// The state of a dead letter.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, IntoStaticStr, EnumString,
)]
#[strum(serialize_all = "kebab-case")]
#[serde(rename_all = "kebab-case")]
pub enum DeadLetterState {
    /// Nothing has been done about it.
    Waiting,
    /// A redrive is under way.
    Redriving,
    /// A redrive succeeded.
    Redriven,
    /// Dropped: the entry is kept, and never redriven.
    Dropped,
}

/// A command, task or webhook post that failed for good, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeadLetter {
    /// The dead letter's id.
    pub entry: Key,
    /// The dead letter's state.
    pub state: DeadLetterState,
    /// The class: `poison`, `malformed-command`, `unknown-kind`, `refused`, `job-failed` …
    pub class: String,
    /// Why it was recorded, for people.
    pub reason: String,
    /// The causes of `reason`, the nearest first.
    pub causes: Vec<String>,
    /// What can be done about it.
    pub hint: Option<String>,
    /// Why each redrive failed, oldest first; at most 20.
    pub failures: Vec<DeadLetterFailure>,
    /// The kind of the entity that it was meant for, as sent.
    pub kind: String,
    /// The key of the entity that it was meant for, as sent.
    pub key: String,
    /// The entity that an edit sends it to, as `<kind>/<key>`; null when no edit changed that.
    pub to: Option<String>,
    /// How it arrived: `ask`, `inbox`, `mail`, `timer`, `task`, `agent` or `webhook`.
    pub source: Option<String>,
    /// The subject it arrived on; null when not known.
    pub subject: Option<String>,
    /// The caller; null when the message named none.
    pub caller: Option<String>,
    /// The id of the command that caused it; null when none did.
    pub cause: Option<String>,
    /// The dependency because of which it failed: the key of a breaker.
    pub dependency: Option<String>,
    /// The id of the command.
    pub command_id: String,
    /// The id shared by everything that one request caused.
    pub correlation: String,
    /// The W3C trace context; null when there is none.
    pub traceparent: Option<String>,
    /// Attempts made so far, including redrives.
    pub attempts: u32,
    /// Redrives made so far.
    pub redrives: u32,
    /// Edits made so far.
    pub edits: u32,
    /// The entity that received the latest redrive, as `<kind>/<key>`: a failed task that was edited is
    /// submitted as a new one.
    #[serde(default)]
    pub target: Option<String>,
    /// The bulk redrive that the latest redrive was part of; null when it was part of none.
    pub in_redrive: Option<String>,
    /// The caller who edited, redrove or dropped it last.
    pub by: Option<String>,
    /// When it was recorded, in milliseconds since 1970.
    pub at: Timestamp,
    /// The time of the last change, in milliseconds since 1970.
    pub updated_at: Timestamp,
    /// The dead letter's revision: the number of its events.
    pub revision: Revision,
}

/// Why a redrive failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeadLetterFailure {
    /// A stable code, for programs.
    pub code: String,
    /// The reason, for people.
    pub reason: String,
    /// When the redrive failed, in milliseconds since 1970.
    pub at: Timestamp,
}
