//! Events of `approval`. Subject `<prefix>.evt.approval.<key>`, ordered per approval. Approved, rejected, timed out
//! and canceled are four outcomes, of which a request has exactly one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::commands::approval::{Request, ToolCall};
use crate::ids::{Key, Timestamp};

/// An event of an approval.
#[allow(clippy::large_enum_variant, reason = "approvals are few, and a box would show in every match")]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, strum::IntoStaticStr)]
#[serde(tag = "type", rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Event {
    /// A person is asked.
    Requested {
        /// The request.
        request: Request,
        /// Its calls with their ids.
        tools: Vec<ToolCall>,
        /// The caller who asked.
        by: String,
        /// When the request is over without an answer.
        answer_by: Timestamp,
        /// The time of the event.
        at: Timestamp,
    },
    /// A person approved the calls.
    Approved {
        /// The ids of the calls.
        ids: Vec<SmolStr>,
        /// The person.
        by: String,
        /// When the approval is over without a use.
        use_by: Timestamp,
        /// The time of the event.
        at: Timestamp,
    },
    /// A person rejected the calls.
    Rejected {
        /// The reason.
        rejection_reason: String,
        /// The person.
        by: String,
        /// The time of the event.
        at: Timestamp,
    },
    /// Nobody answered in time. No person decided anything.
    TimedOut {
        /// The time of the event.
        at: Timestamp,
    },
    /// The request was withdrawn before its answer.
    Canceled {
        /// The reason.
        reason: String,
        /// The caller who withdrew it.
        by: String,
        /// The time of the event.
        at: Timestamp,
    },
    /// A task used the approval: nobody else can.
    Used {
        /// The task.
        task: Key,
        /// The commit that the calls are based on now.
        base: SmolStr,
        /// The worker.
        by: String,
        /// The time of the event.
        at: Timestamp,
    },
    /// The approval was not used in time.
    Lapsed {
        /// The time of the event.
        at: Timestamp,
    },
    /// The approval was withdrawn before its use.
    Revoked {
        /// The reason.
        reason: String,
        /// The caller who withdrew it.
        by: String,
        /// The time of the event.
        at: Timestamp,
    },
}
crate::wire::wire_event!(Event, "approval", 1);
