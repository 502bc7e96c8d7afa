//! Status, history, blame, differences and branches. Nothing is changed.

use std::path::PathBuf;
use std::sync::Arc;

use actors_worker::{Done, Failure, Work};
use actors_workspace::{Access, Diff, Error, WorkspacePath};
use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::failure::input;
use crate::step::stored;
use crate::workspaces::{Workspaces, within};

/// The artifact of a diff.
const PATCH: &str = "diff.patch";
/// Commits of a log, and lines of a blame, when the job asks for no other number.
const COMMITS: usize = 50;
const LINES: u64 = 500;

/// A repository.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RepoInput {
    /// The absolute path of its top folder.
    repo: PathBuf,
}

/// A part of the history.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LogInput {
    /// The absolute path of the repository's top folder.
    repo: PathBuf,
    /// The newest commit.
    #[serde(default = "head")]
    commit: String,
    /// Only commits that changed this file or folder.
    path: Option<String>,
    /// The most commits.
    #[serde(default = "commits")]
    #[schemars(range(min = 1, max = 1_000))]
    count: usize,
}

/// Lines of a file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BlameInput {
    /// The absolute path of the repository's top folder.
    repo: PathBuf,
    /// The file.
    path: String,
    /// The commit whose file it is.
    #[serde(default = "head")]
    commit: String,
    /// The first line.
    #[serde(default = "one")]
    #[schemars(range(min = 1))]
    first: u64,
    /// The most lines.
    #[serde(default = "lines")]
    #[schemars(range(min = 1, max = 5_000))]
    count: u64,
}

/// Two states.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DiffInput {
    /// The absolute path of the repository's top folder.
    repo: PathBuf,
    /// The former commit.
    #[serde(default = "head")]
    from: String,
    /// The later commit; absent for the files of the working copy that git knows.
    to: Option<String>,
    /// Only this file or folder.
    path: Option<String>,
}

fn head() -> String {
    "HEAD".to_owned()
}
fn commits() -> usize {
    COMMITS
}
fn one() -> u64 {
    1
}
fn lines() -> u64 {
    LINES
}

/// The state of a working copy; `status.json` has the files.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct StatusResult {
    /// The branch; null where a commit is checked out.
    branch: Option<String>,
    /// The commit; null before the first one.
    commit: Option<String>,
    /// Files that git knows and that differ.
    changed: usize,
    /// Files that git does not know.
    untracked: usize,
}

/// How much was found; the artifacts have it.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Count {
    /// Commits, lines, files or branches.
    count: usize,
}

fn checked(path: Option<&str>) -> Result<Option<WorkspacePath>, Error> {
    path.map(WorkspacePath::parse).transpose()
}

pub(super) async fn status(work: &Work, workspaces: &Arc<Workspaces>) -> Result<Done, Failure> {
    let RepoInput { repo } = input(&work.job)?;
    let found = within(work, workspaces, move |workspaces, stop| {
        workspaces.repository(&repo, Access::Read, stop)?.status(stop)
    })
    .await?;
    let changed = found.entries.iter().filter(|entry| entry.is_tracked()).count();
    let untracked = found.entries.len() - changed;
    let result =
        StatusResult { branch: found.branch.clone(), commit: found.commit.clone(), changed, untracked };
    stored(work, "status.json", &found, &result).await
}

pub(super) async fn log(work: &Work, workspaces: &Arc<Workspaces>) -> Result<Done, Failure> {
    let LogInput { repo, commit, path, count } = input(&work.job)?;
    let found = within(work, workspaces, move |workspaces, stop| {
        let repository = workspaces.repository(&repo, Access::Read, stop)?;
        let commit = repository.commit_id(&commit, stop)?;
        repository.log(&commit, checked(path.as_deref())?.as_ref(), count, stop)
    })
    .await?;
    stored(work, "log.json", &found, &Count { count: found.len() }).await
}

pub(super) async fn blame(work: &Work, workspaces: &Arc<Workspaces>) -> Result<Done, Failure> {
    let BlameInput { repo, path, commit, first, count } = input(&work.job)?;
    let found = within(work, workspaces, move |workspaces, stop| {
        let path = WorkspacePath::parse(&path)?;
        let repository = workspaces.repository(&repo, Access::Read, stop)?;
        let commit = repository.commit_id(&commit, stop)?;
        repository.blame(&commit, &path, first, count, stop)
    })
    .await?;
    stored(work, "blame.json", &found, &Count { count: found.len() }).await
}

pub(super) async fn diff(work: &Work, workspaces: &Arc<Workspaces>) -> Result<Done, Failure> {
    let DiffInput { repo, from, to, path } = input(&work.job)?;
    let found: Diff = within(work, workspaces, move |workspaces, stop| {
        let path = checked(path.as_deref())?;
        let repository = workspaces.repository(&repo, Access::Read, stop)?;
        let from = repository.commit_id(&from, stop)?;
        let to = to.map(|to| repository.commit_id(&to, stop)).transpose()?;
        repository.diff(&from, to.as_deref(), path.as_ref(), stop)
    })
    .await?;
    let patch = work.put_artifact(PATCH, "text/x-diff", Bytes::from(found.patch.clone())).await?;
    let mut done = stored(work, "diff.json", &found, &Count { count: found.files.len() }).await?;
    done.artifacts.push(patch);
    Ok(done)
}

pub(super) async fn branches(work: &Work, workspaces: &Arc<Workspaces>) -> Result<Done, Failure> {
    let RepoInput { repo } = input(&work.job)?;
    let found = within(work, workspaces, move |workspaces, stop| {
        workspaces.repository(&repo, Access::Read, stop)?.branches(stop)
    })
    .await?;
    stored(work, "branches.json", &found, &Count { count: found.len() }).await
}
