//! Branches: read, and moved from the value that was seen.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{LIST_BYTES_MAX, Repository, is_branch_name};
use crate::git::{failed, output, run};
use crate::{Error, Stop};

/// The most branches of a list.
const BRANCHES_MAX: usize = 10_000;
/// The value of a branch that is not there.
const ABSENT: &str = "absent";

/// A branch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Branch {
    /// The name, without `refs/heads/`.
    pub name: String,
    /// The commit.
    pub commit: String,
    /// The working copy that has it checked out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checked_out: Option<PathBuf>,
    /// Whether it only stands for another branch.
    #[serde(skip)]
    is_symbolic: bool,
}

/// A branch that must be at a commit while another one moves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guard {
    /// The branch.
    pub branch: String,
    /// The commit.
    pub commit: String,
}

impl Branch {
    /// Whether this repository's own tree has it checked out.
    pub fn is_here(&self, repository: &Repository) -> bool {
        let here = |path: &PathBuf| path.canonicalize().is_ok_and(|path| path == repository.top);
        self.checked_out.as_ref().is_some_and(here)
    }
}

impl Repository {
    /// The branches, by name.
    pub fn branches(&self, stop: Stop<'_>) -> Result<Vec<Branch>, Error> {
        self.listed("refs/heads/", stop)
    }

    /// A branch; `None` if there is none of this name.
    pub fn branch(&self, name: &str, stop: Stop<'_>) -> Result<Option<Branch>, Error> {
        if !is_branch_name(name) {
            let name = bus_schemas::text::one_line(name);
            return Err(Error::invalid(format!("the name `{name}`"), "no branch can have it"));
        }
        let found = self.listed(&format!("refs/heads/{name}"), stop)?;
        let found = found.into_iter().find(|branch| branch.name == name);
        match found {
            Some(branch) if branch.is_symbolic => Err(Error::invalid(
                format!("the branch `{name}`"),
                "the name stands for another branch: give that one",
            )),
            found => Ok(found),
        }
    }

    /// The commit of a branch that must be there.
    pub fn tip(&self, name: &str, stop: Stop<'_>) -> Result<String, Error> {
        let found = self.branch(name, stop)?;
        found
            .map(|branch| branch.commit)
            .ok_or_else(|| Error::RefMissing { what: "branch", name: name.to_owned() })
    }

    fn listed(&self, pattern: &str, stop: Stop<'_>) -> Result<Vec<Branch>, Error> {
        let mut command = self.itself();
        command.args(["for-each-ref", "--count", &BRANCHES_MAX.to_string()]);
        command
            .args(["--format=%(refname:lstrip=2)%00%(objectname)%00%(symref)%00%(worktreepath)%00", pattern]);
        let said = output(&mut command, &[], LIST_BYTES_MAX, stop)?;
        let fields: Vec<&[u8]> = said.split(|byte| *byte == 0).collect();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_start_matches('\n').to_owned();
        let branch = |four: &[&[u8]]| Branch {
            name: text(four[0]),
            commit: text(four[1]),
            is_symbolic: !four[2].is_empty(),
            checked_out: Some(PathBuf::from(text(four[3]))).filter(|path| !path.as_os_str().is_empty()),
        };
        Ok(fields.chunks_exact(4).map(branch).collect())
    }

    /// Moves a branch from one commit to another, if it is there still; without the former commit it is made, if it is
    /// not there. Does nothing to a tree that has it checked out: that is [`Repository::follow`].
    pub fn move_branch(
        &self,
        name: &str,
        to: &str,
        from: Option<&str>,
        why: &str,
        stop: Stop<'_>,
    ) -> Result<(), Error> {
        self.move_while(name, to, from, None, why, stop)
    }

    /// Like [`Self::move_branch`], and only while another branch is where it was seen, in one transaction.
    pub fn move_while(
        &self,
        name: &str,
        to: &str,
        from: Option<&str>,
        guard: Option<&Guard>,
        why: &str,
        stop: Stop<'_>,
    ) -> Result<(), Error> {
        self.branch(name, stop)?;
        let zero = "0".repeat(to.len());
        let mut command = self.itself();
        // Hooks by configuration are no files in `hooksPath`: each is switched off by its name.
        let configured = super::super::git::guarded_hooks(&self.top, stop)?;
        command.args(configured);
        command.env("GIT_COMMITTER_NAME", "Orrery").env("GIT_COMMITTER_EMAIL", "orrery@localhost");
        command.args(["update-ref", "--no-deref", "-m", why, "--stdin"]);
        let mut orders = format!("update refs/heads/{name} {to} {}\n", from.unwrap_or(&zero));
        if let Some(Guard { branch, commit }) = guard {
            self.branch(branch, stop)?;
            orders.push_str(&format!("verify refs/heads/{branch} {commit}\n"));
        }
        let done = run(&mut command, orders.as_bytes(), LIST_BYTES_MAX, stop)?;
        if done.status.success() {
            return Ok(());
        }
        let moved = |branch: &str, wanted: Option<&str>| {
            let found = self.branch(branch, stop)?.map(|branch| branch.commit);
            let said = |commit: Option<&str>| commit.unwrap_or(ABSENT).to_owned();
            let (wanted, is_moved) = (said(wanted), found.as_deref() != wanted);
            let (branch, found) = (branch.to_owned(), said(found.as_deref()));
            Ok::<_, Error>(is_moved.then_some(Error::RefMoved { branch, wanted, found }))
        };
        let guarded = guard.map_or(Ok(None), |guard| moved(&guard.branch, Some(&guard.commit)))?;
        match guarded.map_or_else(|| moved(name, from), |error| Ok(Some(error)))? {
            Some(error) => Err(error),
            None => Err(failed(&command, &done.stderr)),
        }
    }

    /// Refuses a branch that a working copy has checked out.
    pub fn check_free(&self, branch: &Branch) -> Result<(), Error> {
        match &branch.checked_out {
            None => Ok(()),
            Some(path) => {
                let (branch, path) = (branch.name.clone(), path.display().to_string());
                Err(Error::CheckedOut { branch, path })
            }
        }
    }

    /// Whether a branch may be moved although a tree has it checked out: this repository's own tree without changes.
    /// Says whether that tree must follow.
    pub fn check_tree(&self, branch: &Branch, stop: Stop<'_>) -> Result<bool, Error> {
        let Some(path) = &branch.checked_out else { return Ok(false) };
        if !branch.is_here(self) {
            self.check_free(branch)?;
        }
        let status = self.status(stop)?;
        let changed: Vec<String> = status
            .entries
            .iter()
            .filter(|entry| entry.is_tracked())
            .map(|entry| entry.path.clone())
            .collect();
        if changed.is_empty() {
            return Ok(true);
        }
        Err(Error::TreeDirty { path: path.display().to_string(), changes: super::some(&changed) })
    }

    /// Brings a tree without changes from one commit to the other, as a merge does: a file that somebody changes
    /// meanwhile stops it, and stays. Says whether the tree followed.
    pub fn follow(&self, from: &str, to: &str, stop: Stop<'_>) -> Result<bool, Error> {
        let mut command = self.isolated_in(&self.top, &self.index);
        command.args(["read-tree", "-m", "-u", "--no-recurse-submodules", from, to]);
        Ok(run(&mut command, &[], LIST_BYTES_MAX, stop)?.status.success())
    }

    pub(crate) fn index(&self) -> &Path {
        &self.index
    }
}
