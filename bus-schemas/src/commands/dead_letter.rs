//! Commands for `dead-letter`: commands and tasks that could not be done. The key is the entry.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::ids::{CommandId, EntityAddress, Key, Timestamp};
use crate::payload::Payload;
use crate::views::task::TaskState;

/// The classes of dead letters that are not codes of refusals.
pub mod class {
    /// A handed-over command that its entity refused: no caller waited for the reply.
    pub const REFUSED: &str = "refused";
    /// A task that failed for good.
    pub const JOB_FAILED: &str = "job-failed";
    /// A task whose side effect may have happened. It can be redriven by its key, and never by a redrive.
    pub const JOB_AMBIGUOUS: &str = "job-ambiguous";
    /// A notification that its receiver did not accept.
    pub const NOTIFICATION_FAILED: &str = "notification-failed";
}

/// A command for a dead letter.
#[expect(
    clippy::large_enum_variant,
    reason = "one lives for a moment, and boxes would show in the schema's users"
)]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Command {
    /// From the runtime or a task: records what could not be done. The payload is in the dead-letter stream.
    Record(Entry),
    /// Replaces what a redrive sends. The original payload is kept.
    Edit {
        /// The payload to send instead.
        payload: Payload,
        /// The receiver, if it was unknown or wrong.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<EntityAddress>,
        /// The reason.
        #[serde(default)]
        reason: String,
    },
    /// Sends the command once more.
    Redrive {
        /// The reason.
        #[serde(default)]
        reason: String,
        /// The redrive it is part of, which is then told of a refusal.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        in_redrive: Option<Key>,
    },
    /// From the runtime, a task or the notifier: the outcome of a redrive.
    SettleRedrive {
        /// The id of the redrive; absent for the current one.
        #[serde(default)]
        redrive: Option<CommandId>,
        /// The outcome.
        outcome: Outcome,
        /// From a task: its key. An entry of another task ignores the command.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        task: Option<Key>,
    },
    /// Gives the dead letter up: it is kept, and nothing more is done.
    Drop {
        /// The reason.
        #[serde(default)]
        reason: String,
    },
}
crate::wire::wire_command!(Command, "dead-letter");

/// A query of a dead letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::VariantNames)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
#[strum(serialize_all = "kebab-case")]
pub enum Query {
    /// Answers with its [`Payloads`].
    #[serde(deserialize_with = "crate::wire::no_fields")]
    Describe,
}
crate::wire::wire_query!(Query, "dead-letter");

/// The payload of a dead letter, as recorded and as edited.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Payloads {
    /// The recorded payload; `null` if it is too large for an entity, and only in the dead-letter stream.
    pub recorded: Option<Payload>,
    /// The edited payload; `null` if nobody edited it.
    pub edited: Option<Payload>,
}

/// What could not be done, why, and where it came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The class: `poison`, `malformed-command`, `unknown-kind`, `refused`, `job-failed` …
    pub class: SmolStr,
    /// The reason, for people.
    pub reason: String,
    /// The kind of the addressed entity, as written.
    pub kind: String,
    /// The key of the addressed entity, as written.
    pub key: String,
    /// The id of the command.
    pub command_id: CommandId,
    /// The correlation, shared by everything that one request caused.
    pub correlation: CommandId,
    /// The W3C trace context, if there is one.
    #[serde(default)]
    pub traceparent: Option<String>,
    /// How many attempts were made.
    pub attempts: u32,
    /// When it was given up.
    pub at: Timestamp,
    /// The causes of `reason`, the nearest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
    /// What may help.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// How the command came: `ask`, `inbox`, `mail`, `timer`, `task`, `agent` or `webhook`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<SmolStr>,
    /// The subject it came on, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The caller, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller: Option<SmolStr>,
    /// The id of the command that caused it, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<CommandId>,
    /// The key of the breaker of the dependency that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dependency: Option<Key>,
    /// The command's bytes, of a failed task its `submit`; absent if there are none, or more than a command
    /// may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Payload>,
}

impl Entry {
    /// An entry with one attempt and no further details. `to` is the addressed kind and key, as written;
    /// `ids` are those of the command and of the correlation.
    pub fn new(
        class: &str,
        reason: impl Into<String>,
        to: (&str, &str),
        ids: (CommandId, CommandId),
        at: Timestamp,
    ) -> Self {
        Self {
            class: SmolStr::new(class),
            reason: reason.into(),
            kind: to.0.to_owned(),
            key: to.1.to_owned(),
            command_id: ids.0,
            correlation: ids.1,
            traceparent: None,
            attempts: 1,
            at,
            causes: Vec::new(),
            hint: None,
            source: None,
            subject: None,
            caller: None,
            cause: None,
            dependency: None,
            payload: None,
        }
    }
}

/// The outcome of a redrive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "end", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Outcome {
    /// The receiver accepted the command.
    Accepted,
    /// The receiver refused the command.
    Refused {
        /// A stable code for programs.
        code: SmolStr,
        /// The reason, for people.
        message: String,
    },
    /// From the task itself: the task that had failed is completed.
    Completed,
    /// From the root of a retried tree: the tree has ended.
    Ended {
        /// Its final state.
        state: TaskState,
    },
}
