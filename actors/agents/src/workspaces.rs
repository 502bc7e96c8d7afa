//! The workspaces of this process: the folders that the operator allows, and the trees of tasks.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use actors_worker::{Failure, Watch, Work};
use actors_workspace::{Access, Error, Folder, Repository, Roots, Stop, Worktrees};
use bus_schemas::jobs::Job;

use crate::code_write::CodeWrite;
use crate::failure::of_workspace;

/// The workspaces. By default nothing may be written.
#[derive(Debug, Clone, Default)]
pub struct Workspaces {
    pub(crate) roots: Roots,
    pub(crate) trees: Worktrees,
    code_write: Option<CodeWrite>,
}

impl Workspaces {
    /// Opens the operator's folders; trees of tasks lie in `data`, the folder of the installation.
    pub fn new(roots: &[PathBuf], data: &Path) -> Result<Self, Error> {
        Ok(Self { roots: Roots::new(roots, data)?, trees: Worktrees::new(data), code_write: None })
    }

    /// Lets agents write, by these rules.
    #[must_use]
    pub fn writable(self, rules: CodeWrite) -> Self {
        Self { code_write: Some(rules), ..self }
    }

    /// The rules of what agents may write; `None` where they may not.
    pub fn rules(&self) -> Option<&CodeWrite> {
        self.code_write.as_ref()
    }

    /// The rules for a job that writes. Every skill that writes asks here before anything else.
    pub(crate) fn writing(&self) -> Result<&CodeWrite, Failure> {
        self.rules().ok_or_else(|| {
            Failure::permanent("code-write-disabled", "this installation writes no files of repositories")
                .hint("an operator allows it with the setting `code_write.enabled`")
        })
    }

    /// Opens the workspace that an input names: a folder, or the tree of a task.
    pub(crate) fn open(
        &self,
        workspace: Option<&Path>,
        worktree: Option<&str>,
        access: Access,
    ) -> Result<Folder, Error> {
        match (workspace, worktree) {
            (Some(path), None) => self.roots.open(path, access),
            (None, Some(name)) => self.roots.open(&self.trees.get(name)?.path, access),
            _ => Err(Error::Invalid {
                what: "the workspace".to_owned(),
                why: "give either `workspace` or `worktree`".to_owned(),
            }),
        }
    }

    /// Opens a repository.
    pub(crate) fn repository(
        &self,
        repo: &Path,
        access: Access,
        stop: Stop<'_>,
    ) -> Result<Repository, Error> {
        Repository::open(repo, &self.roots, access, stop)
    }
}

/// Runs a part of a job that works in a workspace, on its own thread.
pub(crate) async fn within<T: Send + 'static>(
    work: &Work,
    workspaces: &Arc<Workspaces>,
    part: impl FnOnce(&Workspaces, Stop<'_>) -> Result<T, Error> + Send + 'static,
) -> Result<T, Failure> {
    let workspaces = Arc::clone(workspaces);
    work.blocking(move |watch: Watch| part(&workspaces, &|| watch.is_canceled()).map_err(of_workspace)).await
}

/// The name of a task's tree: the one that the input gives, or the task at the top.
pub(crate) fn tree_name(given: Option<&str>, job: &Job) -> String {
    given.map_or_else(|| job.task.key.root().to_owned(), str::to_owned)
}
