//! Merging without a tree: git merges the objects, and the target moves if it is where it was.

use serde::{Deserialize, Serialize};

use super::{Identity, LIST_BYTES_MAX, Repository, check_message, fields, some};
use crate::git::{failed, line, run};
use crate::{Error, Stop};

/// A merge that can be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Merge {
    /// The commit of the target.
    pub target: String,
    /// The commit of the branch.
    pub source: String,
    /// The tree of the result.
    pub tree: String,
    /// Paths that the branch changes, against where it left the target.
    pub changed: Vec<String>,
    /// Whether the target has all of the branch already.
    pub is_merged: bool,
}

impl Repository {
    /// Merges two branches as objects: says what would come of it, or where they conflict. No ref moves.
    pub fn merge_check(&self, source: &str, target: &str, stop: Stop<'_>) -> Result<Merge, Error> {
        let (from, into) = (self.tip(source, stop)?, self.tip(target, stop)?);
        if self.contains(&into, &from, stop)? {
            let tree = self.object(&into, "tree", stop)?;
            return Ok(Merge { target: into, source: from, tree, changed: Vec::new(), is_merged: true });
        }
        let mut command = self.isolated();
        command.args(["merge-base", &into, &from]);
        let base = line(&mut command, stop).map_err(|_| {
            Error::invalid(
                format!("a merge of `{source}` into `{target}`"),
                "the two have no commit in common",
            )
        })?;
        let mut command = self.isolated();
        command.args(["merge-tree", "--write-tree", "-z", "--name-only", "--no-messages", &into, &from]);
        let done = run(&mut command, &[], LIST_BYTES_MAX, stop)?;
        let mut said = fields(&done.stdout);
        match (done.status.code(), said.next()) {
            (Some(0), Some(tree)) => {
                let changed = self.changed_paths(base.lines().next().unwrap_or_default(), &from, stop)?;
                Ok(Merge { target: into, source: from, tree, changed, is_merged: false })
            }
            (Some(1), Some(_)) => Err(Error::MergeConflict {
                source_branch: source.to_owned(),
                target: target.to_owned(),
                paths: some(&said.filter(|path| !path.is_empty()).collect::<Vec<_>>()),
            }),
            _ => Err(failed(&command, &done.stderr)),
        }
    }

    /// Writes the commit of a merge.
    pub fn write_merge(
        &self,
        merge: &Merge,
        message: &str,
        by: &Identity,
        stop: Stop<'_>,
    ) -> Result<String, Error> {
        check_message(message)?;
        self.write_commit(&merge.tree, &[&merge.target, &merge.source], message, by, stop)
    }
}
