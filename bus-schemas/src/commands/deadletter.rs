//! Commands for `deadletter`: what could not be done. The key is the entry.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::ids::{CommandId, EntityAddress, Key, Timestamp};
use crate::payload::Payload;
use crate::views::task::TaskState;

/// The classes that are not a code of a refusal.
pub mod class {
    /// A handed-over command that its entity refused: nobody waited for the answer.
    pub const REFUSED: &str = "refused";
    /// A task that failed for good.
    pub const JOB_FAILED: &str = "job-failed";
    /// A task whose side effect may have happened: redriven by name, and never by a campaign.
    pub const JOB_AMBIGUOUS: &str = "job-ambiguous";
    /// A notification that its receiver did not take.
    pub const NOTIFICATION_FAILED: &str = "notification-failed";
}

/// What a dead letter can be told.
#[expect(
    clippy::large_enum_variant,
    reason = "one lives for a moment, and boxes would show in the schema's users"
)]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Command {
    /// From the runtime or a task: this could not be done. The payload lies in the dead-letter stream.
    Record(Entry),
    /// Sends something else when it is redriven. The original stays where it is.
    Edit {
        /// What is sent instead.
        payload: Payload,
        /// For whom it is, where that was not known or was wrong.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<EntityAddress>,
        /// Who.
        #[serde(default)]
        by: String,
        /// Why.
        #[serde(default)]
        reason: String,
    },
    /// Tries it once more.
    Redrive {
        /// Who.
        #[serde(default)]
        by: String,
        /// Why.
        #[serde(default)]
        reason: String,
        /// The campaign that it belongs to: then a refusal is told to the campaign instead.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        campaign: Option<Key>,
    },
    /// From the runtime, a task or the sender of notifications: what came of a redrive.
    SettleRedrive {
        /// Which redrive; none for the current one.
        #[serde(default)]
        redrive: Option<CommandId>,
        /// What came of it.
        outcome: Outcome,
        /// From a task: which one. An entry of another one is not meant.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        task: Option<Key>,
    },
    /// Gives it up: it is kept, and nothing more is done.
    Drop {
        /// Who.
        #[serde(default)]
        by: String,
        /// Why.
        #[serde(default)]
        reason: String,
    },
}
crate::wire::wire_command!(Command, "deadletter");

/// What a dead letter answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::VariantNames)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
#[strum(serialize_all = "kebab-case")]
pub enum Query {
    /// Answers with its [`Payloads`].
    #[serde(deserialize_with = "crate::wire::no_fields")]
    Describe,
}
crate::wire::wire_query!(Query, "deadletter");

/// What could not be done, as it came and as it was edited.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Payloads {
    /// As it was recorded; none where it is too large for an entity, and lies in the dead-letter stream alone.
    pub recorded: Option<Payload>,
    /// What is sent instead; none where nobody edited it.
    pub edited: Option<Payload>,
}

/// What could not be done, why, and where it came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// `poison`, `malformed-command`, `unknown-kind`, `refused`, `job-failed` …
    pub class: SmolStr,
    /// For people.
    pub reason: String,
    /// The kind it was meant for, as written.
    pub kind: String,
    /// The key it was meant for, as written.
    pub key: String,
    /// The command.
    pub command_id: CommandId,
    /// What everything caused by one request shares.
    pub correlation: CommandId,
    /// The W3C trace, if there is one.
    #[serde(default)]
    pub traceparent: Option<String>,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was given up.
    pub at: Timestamp,
    /// What led to `reason`, the nearest cause first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
    /// What may be done about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// How it came: `ask`, `inbox`, `mail`, `timer`, `task`, `agent` or `webhook`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<SmolStr>,
    /// The subject it came on, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Who sent it, where they said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller: Option<SmolStr>,
    /// The command that led to it, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<CommandId>,
    /// What it depends on and failed by: the key of a breaker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dependency: Option<Key>,
    /// The command's bytes, of a failed task its `submit`; none where there are none, or more than a
    /// command may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Payload>,
}

impl Entry {
    /// An entry of one attempt, of which nothing more is known. `to` are the kind and the key it was
    /// meant for, as written; `ids` those of the command and of the request.
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

/// What came of a redrive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "end", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Outcome {
    /// The receiver took it.
    Accepted,
    /// The receiver did not take it.
    Refused {
        /// Why, for programs.
        code: SmolStr,
        /// Why, for people.
        message: String,
    },
    /// From the task itself: what failed is completed.
    Completed,
    /// From the root of the tree that was retried: it has come to its end.
    Ended {
        /// How.
        state: TaskState,
    },
}
