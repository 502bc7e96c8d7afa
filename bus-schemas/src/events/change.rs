//! Events of `change`. Subject `<prefix>.evt.change.<key>`, ordered per change. Every step of a change is one, with its
//! branch and the hash of its diff: together they are the ledger of changes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::commands::change::Plan;
use crate::commands::task::Failure;
use crate::ids::{Hash, Key, Timestamp};
use crate::jobs::Artifact;

/// The branch and the diff of a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Trace {
    /// The branch.
    pub branch: String,
    /// The hash of the diff.
    pub diff: Hash,
    /// The time of the event.
    pub at: Timestamp,
}

/// An event of a change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, strum::IntoStaticStr)]
#[serde(tag = "type", rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Event {
    /// The change was scheduled.
    Scheduled {
        /// The change.
        #[serde(flatten)]
        plan: Plan,
        /// The caller who scheduled it.
        by: String,
        /// The time of the event.
        at: Timestamp,
    },
    /// The diff is known, and a person is asked where an approval is named.
    Proposed {
        /// The commit of the target that the diff is for.
        base: SmolStr,
        /// The branch that the change will have.
        branch: String,
        /// The diff.
        diff: Artifact,
        /// The approval that it waits for; none where nobody is asked.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        approval: Option<Key>,
        /// The time of the event.
        at: Timestamp,
    },
    /// A person has approved the diff, and the approval is used.
    Approved {
        #[serde(flatten)]
        trace: Trace,
    },
    /// The change is a commit; no branch leads to it yet.
    Applied {
        /// The commit.
        commit: SmolStr,
        #[serde(flatten)]
        trace: Trace,
    },
    /// The branch and its tree exist.
    Branched {
        #[serde(flatten)]
        trace: Trace,
    },
    /// No secret was found, and the syntax is right.
    SyntaxPassed {
        #[serde(flatten)]
        trace: Trace,
    },
    /// A secret was found, or the syntax is wrong.
    SyntaxFailed {
        /// The reason.
        reason: String,
        #[serde(flatten)]
        trace: Trace,
    },
    /// The tests run.
    TestsStarted {
        #[serde(flatten)]
        trace: Trace,
    },
    /// All tests passed.
    TestsPassed {
        #[serde(flatten)]
        trace: Trace,
    },
    /// Not all tests passed.
    TestsFailed {
        /// The reason.
        reason: String,
        #[serde(flatten)]
        trace: Trace,
    },
    /// The target has the change. Final.
    Merged {
        /// The commit of the target.
        commit: SmolStr,
        #[serde(flatten)]
        trace: Trace,
    },
    /// A trial ended, its tests passed, and nothing of it is left. Final.
    Tested {
        #[serde(flatten)]
        trace: Trace,
    },
    /// Nothing of the change is left. Final.
    RolledBack {
        /// The reason.
        reason: String,
        #[serde(flatten)]
        trace: Trace,
    },
    /// Somebody asked for the end of the change.
    CancelRequested {
        /// The reason.
        reason: String,
        /// The caller.
        by: String,
        /// The time of the event.
        at: Timestamp,
    },
    /// The task of the change ended before the change did. What was written is removed, if anything was.
    Stopped {
        /// The failure; none where the task was canceled.
        failure: Option<Failure>,
        /// The task that removes what was written; none where nothing was.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rollback: Option<Key>,
        /// The time of the event.
        at: Timestamp,
    },
    /// What was written could not be removed. A person must: the failure says what.
    RollbackFailed {
        /// The failure.
        failure: Failure,
        #[serde(flatten)]
        trace: Trace,
    },
}
crate::wire::wire_event!(Event, "change", 1);
