//! The ways that work in a workspace can fail, each with a stable code and the next step.

use std::io;

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the path `{path}` is refused: {why}")]
    PathRefused { path: String, why: &'static str },
    #[error("`{path}` {why}")]
    NotAllowed { path: String, why: &'static str },
    #[error("there is nothing at `{path}`")]
    PathMissing { path: String },
    #[error("`{path}` is not a folder")]
    NotAFolder { path: String },
    #[error("`{path}` is not a plain file: {what}")]
    NotAFile { path: String, what: &'static str },
    #[error("`{path}` is not {wanted}: {found}")]
    Changed { path: String, wanted: String, found: String },
    #[error("{what} exceeds {limit}")]
    TooLarge { what: String, limit: String },
    #[error("could not {action} `{path}`")]
    Io { action: &'static str, path: String, source: io::Error },
    #[error("the work was stopped")]
    Canceled,
    #[error("{what} is not valid: {why}")]
    Invalid { what: String, why: String },
    #[error("`{path}` is not the top folder of a git repository with a working tree")]
    NotARepository { path: String },
    #[error("could not start the `git` program")]
    GitMissing { source: io::Error },
    #[error("`git {command}` failed: {detail}")]
    GitFailed { command: String, detail: String },
    #[error("there is no {what} `{name}`")]
    RefMissing { what: &'static str, name: String },
    #[error("the branch `{branch}` is not at {wanted} any more, but at {found}")]
    RefMoved { branch: String, wanted: String, found: String },
    #[error("the branch `{branch}` is checked out at `{path}`")]
    CheckedOut { branch: String, path: String },
    #[error("`{path}` has changes that are not committed: {changes}")]
    TreeDirty { path: String, changes: String },
    #[error("`{source_branch}` cannot be merged into `{target}`: both change {paths}")]
    MergeConflict { source_branch: String, target: String, paths: String },
    #[error("`{path}` is not among the paths that the worktree `{worktree}` may change")]
    OutsideWriteSet { path: String, worktree: String },
    #[error("`{path}` is declared by the worktree `{other}` too")]
    WriteSetOverlap { path: String, other: String },
    #[error("the worktree `{name}` exists and is of {what}")]
    WorktreeTaken { name: String, what: String },
    #[error("there is no worktree `{name}`")]
    WorktreeMissing { name: String },
}

impl Error {
    /// A stable code, for programs and for documentation.
    pub fn code(&self) -> &'static str {
        match self {
            Self::PathRefused { .. } => "path-refused",
            Self::NotAllowed { .. } => "workspace-not-allowed",
            Self::PathMissing { .. } => "path-missing",
            Self::NotAFolder { .. } => "not-a-folder",
            Self::NotAFile { .. } => "not-a-file",
            Self::Changed { .. } => "content-changed",
            Self::TooLarge { .. } => "too-large",
            Self::Io { .. } => "file-failed",
            Self::Canceled => "canceled",
            Self::Invalid { .. } => "invalid-input",
            Self::NotARepository { .. } => "not-a-repository",
            Self::GitMissing { .. } => "git-missing",
            Self::GitFailed { .. } => "git-failed",
            Self::RefMissing { .. } => "ref-missing",
            Self::RefMoved { .. } => "ref-moved",
            Self::CheckedOut { .. } => "branch-checked-out",
            Self::TreeDirty { .. } => "tree-dirty",
            Self::MergeConflict { .. } => "merge-conflict",
            Self::OutsideWriteSet { .. } => "outside-write-set",
            Self::WriteSetOverlap { .. } => "write-set-overlap",
            Self::WorktreeTaken { .. } => "worktree-taken",
            Self::WorktreeMissing { .. } => "worktree-missing",
        }
    }

    /// The next step.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::PathRefused { .. } => {
                "give a relative path of visible names, outside of `.git` and `.orrery`"
            }
            Self::NotAllowed { .. } => "an operator allows folders with the setting `workspace.roots`",
            Self::PathMissing { .. } => {
                "check the spelling, and that it is on the machine that runs the agents"
            }
            Self::NotAFolder { .. } => "give a folder; symbolic links are not followed",
            Self::NotAFile { .. } => "give a plain file that has one name; nothing else is read or written",
            Self::Changed { .. } => "read the file again, and decide again what to write",
            Self::TooLarge { .. } => "ask for less: a part, a folder below, a longer pattern",
            Self::Io { .. } => "look at the folder's rights, space and file system",
            Self::Canceled => "ask again when you want the result",
            Self::Invalid { .. } => "correct what the message names",
            Self::NotARepository { .. } => {
                "give the top folder of a git working copy, the one that contains `.git`"
            }
            Self::GitMissing { .. } => "install git on the machine that runs the agents, and check its PATH",
            Self::GitFailed { .. } => {
                "git 2.38 or newer is needed; `git fsck` in the repository finds damage"
            }
            Self::RefMissing { .. } => "`git branch` and `git log` in the repository show what there is",
            Self::RefMoved { .. } => "somebody else was faster: look at what they did, then ask again",
            Self::CheckedOut { .. } => "take another branch, or check out another one there",
            Self::TreeDirty { .. } => "commit the changes, or put them aside; nothing of them was touched",
            Self::MergeConflict { .. } => "bring the changes of the target into the branch, then merge again",
            Self::OutsideWriteSet { .. } => {
                "declare the path when the worktree is made, or leave the file as it was"
            }
            Self::WriteSetOverlap { .. } => {
                "wait until the other worktree is merged and removed, or declare other paths"
            }
            Self::WorktreeTaken { .. } => "give another name, or remove the worktree",
            Self::WorktreeMissing { .. } => "make one with the skill `git-worktree`",
        }
    }

    pub(crate) fn io(action: &'static str, path: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self::Io { action, path: path.into(), source: source.into() }
    }

    pub(crate) fn invalid(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Invalid { what: what.into(), why: why.into() }
    }
}
