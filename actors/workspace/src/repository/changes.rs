//! What differs between commits, the index and the files.

use std::fs;
use std::process::Command;

use serde::Serialize;

use super::{LIST_BYTES_MAX, Repository, fields};
use crate::git::output;
use crate::{Error, Stop, WorkspacePath};

/// The largest patch.
pub const DIFF_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The state of the working tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// The branch that is checked out; absent if it is a commit.
    pub branch: Option<String>,
    /// The commit; absent before the first one.
    pub commit: Option<String>,
    /// What differs, by path.
    pub entries: Vec<StatusEntry>,
}

/// A file that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StatusEntry {
    /// The path.
    pub path: String,
    /// Two letters as `git status --short` has them: of the index and of the file.
    pub state: String,
}

impl StatusEntry {
    /// Whether git knows the file.
    pub fn is_tracked(&self) -> bool {
        self.state != "??"
    }
}

/// The differences of two states.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diff {
    /// The files.
    pub files: Vec<FileDiff>,
    /// The patch in git's format.
    #[serde(skip)]
    pub patch: Vec<u8>,
}

/// A file with the lines that were added and removed; neither is known of a file that is no text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileDiff {
    /// The path.
    pub path: String,
    /// Lines added.
    pub added: Option<u64>,
    /// Lines removed.
    pub removed: Option<u64>,
}

impl Repository {
    /// The state of the working tree: what `git status` says, without the repository's filters. Submodules are not
    /// looked into.
    pub fn status(&self, stop: Stop<'_>) -> Result<Status, Error> {
        let mut head = self.itself();
        head.args(["symbolic-ref", "--quiet", "--short", "HEAD"]);
        let branch = crate::git::line(&mut head, stop).ok();
        let commit = self.commit_id("HEAD", stop).ok();
        let own = match &commit {
            Some(commit) => format!("{commit}\n"),
            None => "ref: refs/heads/none\n".to_owned(),
        };
        let top = self.top.display().to_string();
        fs::write(self.own.path().join("HEAD"), own).map_err(|source| Error::io("look at", top, source))?;
        let mut command = self.isolated_in(&self.top, self.index());
        command.args([
            "status",
            "--porcelain=v1",
            "-z",
            "--untracked-files=all",
            "--ignore-submodules=all",
            "--no-renames",
        ]);
        let said = output(&mut command, &[], LIST_BYTES_MAX, stop)?;
        let entry = |line: String| {
            let (state, path) = (line.get(..2)?, line.get(3..)?);
            Some(StatusEntry { path: path.to_owned(), state: state.to_owned() })
        };
        Ok(Status { branch, commit, entries: fields(&said).filter_map(entry).collect() })
    }

    /// The differences from one commit to another, or to the files of the working tree that git knows.
    pub fn diff(
        &self,
        from: &str,
        to: Option<&str>,
        path: Option<&WorkspacePath>,
        stop: Stop<'_>,
    ) -> Result<Diff, Error> {
        let command = |format: &[&str]| {
            let mut command = match to {
                Some(_) => self.isolated(),
                None => self.isolated_in(&self.top, self.index()),
            };
            command.args([
                "diff",
                "--no-ext-diff",
                "--no-textconv",
                "--no-color",
                "--no-renames",
                "--ignore-submodules=all",
            ]);
            command.args(format).arg(from).args(to).arg("--");
            command.args(path.map(literal));
            command
        };
        let files = numbers(&mut command(&["--numstat", "-z"]), stop)?;
        let patch =
            output(&mut command(&["--patch", "--full-index", "--binary"]), &[], DIFF_BYTES_MAX, stop)?;
        Ok(Diff { files, patch })
    }

    /// The paths that differ between two commits or trees.
    pub fn changed_paths(&self, from: &str, to: &str, stop: Stop<'_>) -> Result<Vec<String>, Error> {
        let mut command = self.isolated();
        command.args(["diff-tree", "-r", "-z", "--name-only", "--no-renames", from, to]);
        Ok(fields(&output(&mut command, &[], LIST_BYTES_MAX, stop)?).collect())
    }
}

/// A path as git takes it, without its patterns.
pub(super) fn literal(path: &WorkspacePath) -> String {
    format!(":(top,literal){path}")
}

fn numbers(command: &mut Command, stop: Stop<'_>) -> Result<Vec<FileDiff>, Error> {
    let said = output(command, &[], LIST_BYTES_MAX, stop)?;
    let file = |line: String| {
        let mut parts = line.splitn(3, '\t');
        let (added, removed, path) = (parts.next()?, parts.next()?, parts.next()?);
        Some(FileDiff { path: path.to_owned(), added: added.parse().ok(), removed: removed.parse().ok() })
    };
    Ok(fields(&said).filter_map(file).collect())
}
