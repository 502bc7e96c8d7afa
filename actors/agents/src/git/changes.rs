//! Branches, trees of tasks, and commits.

use std::path::PathBuf;
use std::sync::Arc;

use actors_worker::{Done, Effect, Failure, Reconciled, Work};
use actors_workspace::{Access, Declared, Error, Identity, WorkspacePath, Worktree, WriteSet};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::failure::input;
use crate::workspaces::{Workspaces, tree_name, within};

/// The effects, each the only one of its job.
pub(super) const BRANCH: &str = "branch";
pub(super) const WORKTREE: &str = "worktree";
pub(super) const REMOVE: &str = "worktree-remove";
pub(super) const COMMIT: &str = "commit";
/// The tool of all effects.
pub(super) const TOOL: &str = "git";
/// Paths of a commit that its result names; the commit has all.
const SHOWN_MAX: usize = 100;

/// A branch to make.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BranchInput {
    /// The absolute path of the repository's top folder.
    repo: PathBuf,
    /// The name of the branch.
    name: String,
    /// The commit.
    #[serde(default = "head")]
    at: String,
}

/// A branch that was made.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(super) struct BranchResult {
    /// The name.
    name: String,
    /// The commit.
    commit: String,
}

/// A tree to make.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WorktreeInput {
    /// The absolute path of the repository's top folder.
    repo: PathBuf,
    /// The name of the tree; absent for the name of the task at the top.
    name: Option<String>,
    /// The branch that its commits go to; absent for `orrery/` and the name. One that is there goes on.
    branch: Option<String>,
    /// The commit that a new branch begins with.
    #[serde(default = "head")]
    base: String,
    /// The files and folders that may change; none for all.
    #[serde(default)]
    writes: Vec<String>,
}

/// A tree to remove.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RemoveInput {
    /// The name of the tree; absent for the name of the task at the top.
    name: Option<String>,
    /// Whether changes that no commit has are thrown away.
    #[serde(default)]
    discard: bool,
}

/// Whether there was a tree.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(super) struct Removed {
    /// The name of the tree.
    name: String,
    /// Whether there was one.
    removed: bool,
}

/// A commit to make.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CommitInput {
    /// The name of the tree; absent for the name of the task at the top.
    worktree: Option<String>,
    /// The message, to which the task is added.
    #[schemars(length(min = 1, max = 16_000))]
    message: String,
}

/// What was committed.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(super) struct Committed {
    /// The branch.
    branch: String,
    /// The commit; that of the branch where nothing has changed.
    commit: String,
    /// The commit before it.
    parent: String,
    /// The number of paths that it changes.
    changed: usize,
    /// The first hundred of them.
    paths: Vec<String>,
}

fn head() -> String {
    "HEAD".to_owned()
}

/// Who makes commits. The time is decided once for each, so that a repeat makes the same one.
pub(crate) fn identity() -> Identity {
    let time = i64::try_from(bus_client::now().0 / 1_000).unwrap_or(i64::MAX);
    Identity { name: "Orrery".to_owned(), email: "orrery@localhost".to_owned(), time }
}

/// A message with the task that the commit comes from.
pub(crate) fn signed(message: &str, work: &Work) -> String {
    format!("{}\n\nOrrery-Task: {}\n", message.trim_end(), work.job.task.key)
}

async fn wanted_branch(work: &Work, workspaces: &Arc<Workspaces>) -> Result<BranchResult, Failure> {
    let asked: BranchInput = input(&work.job)?;
    let decide = || {
        within(work, workspaces, move |workspaces, stop| {
            let repository = workspaces.repository(&asked.repo, Access::Write, stop)?;
            let commit = repository.commit_id(&asked.at, stop)?;
            Ok(BranchResult { name: asked.name, commit })
        })
    };
    work.step(BRANCH, &work.job.input, decide).await
}

pub(super) async fn branch(work: &Work, workspaces: &Arc<Workspaces>) -> Result<Done, Failure> {
    let BranchInput { repo, .. } = input(&work.job)?;
    let wanted = wanted_branch(work, workspaces).await?;
    let detail = format!("make the branch `{}` at {}", wanted.name, wanted.commit);
    let effect = Effect::new(BRANCH).tool(TOOL, json!({"repo": repo, "branch": wanted})).detail(detail);
    let made: BranchResult = work
        .effect(effect, |key| {
            within(work, workspaces, move |workspaces, stop| {
                let repository = workspaces.repository(&repo, Access::Write, stop)?;
                repository.move_branch(
                    &wanted.name,
                    &wanted.commit,
                    None,
                    &format!("orrery: {key}"),
                    stop,
                )?;
                Ok(wanted)
            })
        })
        .await?;
    Ok(Done::with(Vec::new(), json!(made)))
}

pub(super) async fn settle_branch(work: &Work, workspaces: &Arc<Workspaces>) -> Result<Reconciled, Failure> {
    let BranchInput { repo, .. } = input(&work.job)?;
    let wanted = wanted_branch(work, workspaces).await?;
    let result = json!(wanted);
    settle_ref(work, workspaces, repo, wanted.name, wanted.commit, result).await
}

/// Whether a branch has a commit: nobody else makes that one, so then it was moved to it.
async fn settle_ref(
    work: &Work,
    workspaces: &Arc<Workspaces>,
    repo: PathBuf,
    branch: String,
    commit: String,
    result: serde_json::Value,
) -> Result<Reconciled, Failure> {
    let is_done = within(work, workspaces, move |workspaces, stop| {
        let repository = workspaces.repository(&repo, Access::Write, stop)?;
        match repository.branch(&branch, stop)? {
            Some(found) => repository.contains(&found.commit, &commit, stop),
            None => Ok(false),
        }
    })
    .await?;
    Ok(if is_done { Reconciled::Done(result) } else { Reconciled::NotDone })
}

async fn wanted_tree(work: &Work, workspaces: &Arc<Workspaces>) -> Result<(String, Declared), Failure> {
    let asked: WorktreeInput = input(&work.job)?;
    let name = tree_name(asked.name.as_deref(), &work.job);
    let branch = asked.branch.unwrap_or_else(|| format!("orrery/{name}"));
    let decide = || {
        within(work, workspaces, move |workspaces, stop| {
            let writes = WriteSet::parse(&asked.writes)?;
            let repository = workspaces.repository(&asked.repo, Access::Write, stop)?;
            let base = match repository.branch(&branch, stop)? {
                Some(found) => {
                    repository.check_free(&found)?;
                    found.commit
                }
                None => repository.commit_id(&asked.base, stop)?,
            };
            Ok(Declared { repo: repository.top().to_owned(), branch, base, writes })
        })
    };
    Ok((name, work.step(WORKTREE, &work.job.input, decide).await?))
}

pub(super) async fn worktree(work: &Work, workspaces: &Arc<Workspaces>) -> Result<Done, Failure> {
    let (name, declared) = wanted_tree(work, workspaces).await?;
    let detail = format!("make the worktree `{name}` of `{}`", declared.repo.display());
    let effect = Effect::new(WORKTREE).tool(TOOL, json!({"name": name, "declared": declared})).detail(detail);
    let made: Worktree = work
        .effect(effect, |_| {
            within(work, workspaces, move |workspaces, stop| {
                let repository = workspaces.repository(&declared.repo, Access::Write, stop)?;
                workspaces.trees.make(&repository, &name, &declared, stop)
            })
        })
        .await?;
    Ok(Done::with(Vec::new(), json!(made)))
}

pub(super) async fn settle_worktree(
    work: &Work,
    workspaces: &Arc<Workspaces>,
) -> Result<Reconciled, Failure> {
    let (name, declared) = wanted_tree(work, workspaces).await?;
    let found = within(work, workspaces, move |workspaces, _| workspaces.trees.find(&name)).await?;
    Ok(match found.filter(|found| found.declared == declared) {
        Some(found) => Reconciled::Done(json!(found)),
        None => Reconciled::NotDone,
    })
}

pub(super) async fn remove(work: &Work, workspaces: &Arc<Workspaces>) -> Result<Done, Failure> {
    let RemoveInput { name, discard } = input(&work.job)?;
    let name = tree_name(name.as_deref(), &work.job);
    let detail = format!("remove the worktree `{name}`");
    let effect = Effect::new(REMOVE).tool(TOOL, json!({"name": name, "discard": discard})).detail(detail);
    let removed: Removed = work
        .effect(effect, |_| {
            within(work, workspaces, move |workspaces, stop| {
                let removed = workspaces.trees.remove(&name, &workspaces.roots, discard, stop)?;
                Ok(Removed { name, removed })
            })
        })
        .await?;
    Ok(Done::with(Vec::new(), json!(removed)))
}

pub(super) async fn settle_remove(work: &Work, workspaces: &Arc<Workspaces>) -> Result<Reconciled, Failure> {
    let RemoveInput { name, .. } = input(&work.job)?;
    let name = tree_name(name.as_deref(), &work.job);
    let asked = name.clone();
    let is_gone = within(work, workspaces, move |workspaces, _| workspaces.trees.is_gone(&asked)).await?;
    // What is left of a tree is removed by the repeat.
    Ok(if is_gone { Reconciled::Done(json!(Removed { name, removed: true })) } else { Reconciled::NotDone })
}

/// Checks changed paths against the rules of the settings.
pub(super) fn check_paths(workspaces: &Workspaces, paths: &[String]) -> Result<(), Error> {
    let Some(rules) = workspaces.rules() else { return Ok(()) };
    paths.iter().try_for_each(|path| rules.check_path(&WorkspacePath::parse(path)?))
}

/// The commit that the tree's changes amount to, decided once; without changes that of the branch.
async fn wanted_commit(work: &Work, workspaces: &Arc<Workspaces>) -> Result<Committed, Failure> {
    let CommitInput { worktree, message } = input(&work.job)?;
    let name = tree_name(worktree.as_deref(), &work.job);
    let message = signed(&message, work);
    let decide = || {
        within(work, workspaces, move |workspaces, stop| {
            let tree = workspaces.trees.get(&name)?;
            let repository = workspaces.repository(&tree.declared.repo, Access::Write, stop)?;
            let branch = tree.declared.branch.clone();
            let written = workspaces.trees.write_commit(&repository, &tree, &message, &identity(), stop)?;
            let (commit, parent, mut paths) = match written {
                Some(written) => written,
                None => {
                    let tip = repository.tip(&branch, stop)?;
                    (tip.clone(), tip, Vec::new())
                }
            };
            check_paths(workspaces, &paths)?;
            let changed = paths.len();
            paths.truncate(SHOWN_MAX);
            Ok(Committed { branch, commit, parent, changed, paths })
        })
    };
    work.step(COMMIT, &work.job.input, decide).await
}

pub(super) async fn commit(work: &Work, workspaces: &Arc<Workspaces>) -> Result<Done, Failure> {
    let CommitInput { worktree, .. } = input(&work.job)?;
    let name = tree_name(worktree.as_deref(), &work.job);
    let wanted = wanted_commit(work, workspaces).await?;
    if wanted.changed > 0 {
        let detail = format!("move the branch `{}` to {}", wanted.branch, wanted.commit);
        let arguments = json!({"worktree": name, "branch": wanted.branch, "commit": wanted.commit, "parent": wanted.parent});
        let effect = Effect::new(COMMIT).tool(TOOL, arguments).detail(detail);
        let (moved, tree) = (wanted.clone(), name.clone());
        let _: String = work
            .effect(effect, |key| {
                within(work, workspaces, move |workspaces, stop| {
                    let tree = workspaces.trees.get(&tree)?;
                    let repository = workspaces.repository(&tree.declared.repo, Access::Write, stop)?;
                    let (from, why) = (Some(moved.parent.as_str()), format!("orrery: {key}"));
                    repository.move_branch(&moved.branch, &moved.commit, from, &why, stop)?;
                    Ok(moved.commit)
                })
            })
            .await?;
        // A step of its own: the tree learns of it also where the attempt that moved the branch has ended.
        let moved = wanted.commit.clone();
        let advance = || {
            within(work, workspaces, move |workspaces, stop| {
                workspaces.trees.advance(&workspaces.trees.get(&name)?, &moved, stop)
            })
        };
        work.step("advance", &wanted.commit, advance).await?;
    }
    Ok(Done::with(Vec::new(), json!(wanted)))
}

pub(super) async fn settle_commit(work: &Work, workspaces: &Arc<Workspaces>) -> Result<Reconciled, Failure> {
    let CommitInput { worktree, .. } = input(&work.job)?;
    let name = tree_name(worktree.as_deref(), &work.job);
    let wanted = wanted_commit(work, workspaces).await?;
    let tree: Result<Worktree, Error> = workspaces.trees.get(&name);
    let repo = tree.map_err(crate::failure::of_workspace)?.declared.repo;
    let result = json!(wanted.commit);
    settle_ref(work, workspaces, repo, wanted.branch, wanted.commit, result).await
}
