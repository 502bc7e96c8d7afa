//! Changes of repositories: scheduled, approved, tested, merged or rolled back.

use bus_schemas::commands::change::FileChange;
use bus_schemas::jobs::Artifact;
use bus_schemas::{Key, Revision, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The filter and the page of a list of changes.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListChanges {
    /// Only changes in this state.
    pub state: Option<ChangeState>,
    /// Rows of the page, 1 to 200. Default: 50.
    #[schemars(range(min = 1, max = 200))]
    pub limit: Option<u32>,
    /// The `next_cursor` of the page before.
    pub cursor: Option<String>,
}

/// A page of changes.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct ChangePage {
    /// The changes, newest first.
    pub changes: Vec<Change>,
    /// The cursor of the next page; null on the last page.
    pub next_cursor: Option<String>,
}

/// A change to schedule.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewChange {
    /// The absolute path of the repository's top folder, on the machine of the agents.
    pub repo: String,
    /// The branch that is to have the change.
    pub target: String,
    /// The files with their whole new content; without `text` a file is deleted. At most 256 KiB together.
    #[schemars(length(min = 1, max = 32))]
    pub files: Vec<FileChange>,
    /// The message of the commit.
    #[schemars(length(min = 1, max = 4096))]
    pub message: String,
    /// Tests that must run and pass, by name; beside them all that there are.
    #[serde(default)]
    #[schemars(length(max = 256))]
    pub expect: Vec<String>,
    /// Whether to stop after the tests: no approval is asked for, and nothing is merged.
    #[serde(default)]
    pub dry_run: bool,
    /// Whether an approval is for the very commit of the target, instead of the files that are touched.
    #[serde(default)]
    pub full_base: bool,
    /// The completed task whose result is the ground of the change.
    #[serde(default)]
    pub ground: Option<Key>,
}

/// Why a change is canceled.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CancelChange {
    /// The reason.
    pub reason: String,
}

/// The state of a change.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    JsonSchema,
    strum::IntoStaticStr,
    strum::EnumString,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum ChangeState {
    /// Its diff is not known yet.
    Scheduled,
    /// A person is asked.
    Waiting,
    /// Its branch is made, and its files are tested.
    Testing,
    /// The target has it.
    Merged,
    /// A trial: its tests passed, and nothing of it is left.
    Tested,
    /// Nothing of it is left.
    RolledBack,
    /// Its task ended, and nothing was written.
    Stopped,
    /// Its task ended, and what was written is being removed.
    RollingBack,
    /// What was written could not be removed: a person must.
    RollbackFailed,
}

/// A change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// The change's name, which is also that of its task.
    pub id: Key,
    /// How it stands.
    pub state: ChangeState,
    /// The repository.
    pub repo: String,
    /// The branch that is to have it.
    pub target: String,
    /// The files.
    pub paths: Vec<String>,
    /// The message of the commit.
    pub message: String,
    /// Whether nothing is merged.
    pub dry_run: bool,
    /// Whether an approval is for the very commit of the target.
    pub full_base: bool,
    /// The task whose result is its ground.
    pub ground: Option<Key>,
    /// The commit of the target that its diff is for; null before it is known.
    pub base: Option<String>,
    /// Its branch, which is gone at the end; null before it is known.
    pub branch: Option<String>,
    /// Its diff; null before it is known.
    pub diff: Option<Artifact>,
    /// The approval that it waits or waited for; null where nobody is asked.
    pub approval: Option<Key>,
    /// The commit on its branch; null before there is one.
    pub commit: Option<String>,
    /// The commit of the target that has it; null before there is one.
    pub merged: Option<String>,
    /// Why it was canceled, stopped or rolled back.
    pub reason: Option<String>,
    /// The task that removes what was written, where the change's own task did not.
    pub rollback: Option<Key>,
    /// The caller who scheduled it.
    pub scheduled_by: String,
    /// When it was scheduled, in milliseconds since 1970.
    pub scheduled_at: Timestamp,
    /// The time of the last event, in milliseconds since 1970.
    pub updated_at: Timestamp,
    /// The change's revision: the number of its events.
    pub revision: Revision,
}
