//! Commands for `change`: a change of a repository, from its request to the merge. The key is that of its task.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::commands::task::Failure;
use crate::ids::Key;
use crate::jobs::Artifact;
use crate::views::task::TaskState;
use crate::wire::is_default;

/// A command for a change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Command {
    /// Schedules a change: submits the task that carries it out, under the same key. An equal repeat changes nothing.
    Schedule(Schedule),
    /// From the worker of a task with the skill `change`: the change that it carries out. Changes nothing where it was
    /// scheduled as such.
    Adopt {
        /// The change.
        plan: Plan,
    },
    /// From the worker: the change has come a step further. A repeat changes nothing.
    Record(Step),
    /// Cancels the change. What was written is removed again; what was merged stays.
    Cancel {
        /// The reason.
        reason: String,
    },
    /// From a task that the change follows: how it ended.
    SettleTask {
        /// Its final state.
        state: TaskState,
        /// Its failure.
        #[serde(default)]
        failure: Option<Failure>,
    },
}
crate::wire::wire_command!(Command, "change");

/// A change with the contents of its files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// The absolute path of the repository's top folder.
    pub repo: String,
    /// The branch that is to have the change.
    pub target: String,
    /// The files.
    #[schemars(length(min = 1, max = 32))]
    pub files: Vec<FileChange>,
    /// The message of the commit.
    #[schemars(length(min = 1, max = 4096))]
    pub message: String,
    /// Tests that must run and pass, by name; beside them all that there are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub expect: Vec<String>,
    /// Whether to stop after the tests: no approval is asked for, and nothing is merged.
    #[serde(default, skip_serializing_if = "is_default")]
    pub dry_run: bool,
    /// Whether an approval is for the very commit of the target, instead of the files that are touched.
    #[serde(default, skip_serializing_if = "is_default")]
    pub full_base: bool,
    /// The completed task whose result is the ground of the change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ground: Option<Key>,
}

/// A file that a change writes or deletes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileChange {
    /// The path in the repository.
    pub path: String,
    /// The whole new content; absent to delete the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// What a change is, without the contents of its files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The absolute path of the repository's top folder.
    pub repo: String,
    /// The branch that is to have the change.
    pub target: String,
    /// The paths of the files.
    pub paths: Vec<String>,
    /// The message of the commit.
    pub message: String,
    /// Whether nothing is merged.
    #[serde(default, skip_serializing_if = "is_default")]
    pub dry_run: bool,
    /// Whether an approval is for the very commit of the target.
    #[serde(default, skip_serializing_if = "is_default")]
    pub full_base: bool,
    /// The task whose result is the ground of the change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ground: Option<Key>,
}

impl Schedule {
    /// The change without the contents of its files.
    pub fn plan(&self) -> Plan {
        Plan {
            repo: self.repo.clone(),
            target: self.target.clone(),
            paths: self.files.iter().map(|file| file.path.clone()).collect(),
            message: self.message.clone(),
            dry_run: self.dry_run,
            full_base: self.full_base,
            ground: self.ground.clone(),
        }
    }
}

/// A step that a change has made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "step", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Step {
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
    },
    /// A person has approved the diff, and the approval is used.
    Approved,
    /// The change is a commit; no branch leads to it yet.
    Applied {
        /// The commit.
        commit: SmolStr,
    },
    /// The branch and its tree exist.
    Branched,
    /// No secret was found, and the syntax is right.
    SyntaxPassed,
    /// A secret was found, or the syntax is wrong.
    SyntaxFailed {
        /// The reason.
        reason: String,
    },
    /// The tests run.
    TestsStarted,
    /// All tests passed.
    TestsPassed,
    /// Not all tests passed.
    TestsFailed {
        /// The reason.
        reason: String,
    },
    /// The target has the change. Final.
    Merged {
        /// The commit of the target.
        commit: SmolStr,
    },
    /// A trial ended, its tests passed, and nothing of it is left. Final.
    Tested,
    /// Nothing of the change is left. Final.
    RolledBack {
        /// The reason.
        reason: String,
    },
}
