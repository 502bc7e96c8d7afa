//! Merges. The queue is the target itself: it moves from the commit that a merge was made for, so of several merges at
//! once one is first, and the others are made again on top of it. For one merge after the other in the order of
//! submission, let a lane with a cap of one have them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use actors_worker::{Done, Effect, Failure, Reconciled, Work};
use actors_workspace::{Access, Error, Guard, Merge, Repository, Stop};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::changes::{TOOL, check_paths, identity, signed};
use crate::failure::input;
use crate::workspaces::{Workspaces, within};

/// The effect of a merge: `merge/1` and so on.
pub(super) const MERGE: &str = "merge";
/// How often a merge is made again because its target has moved: as many others as may be merged at once.
const TRIES_MAX: u32 = 50;
/// The pause after one of these, times their number.
const PAUSE: Duration = Duration::from_millis(20);
/// Paths that a check names; the branch has all.
const SHOWN_MAX: usize = 100;

/// A branch, and what it is merged into.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MergeInput {
    /// The absolute path of the repository's top folder.
    repo: PathBuf,
    /// The branch.
    branch: String,
    /// The branch that it is merged into.
    target: String,
    /// The message, to which the task is added.
    #[schemars(length(min = 1, max = 16_000))]
    message: Option<String>,
}

/// What a merge would do.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(super) struct Checked {
    /// Whether the target has the branch already.
    merged: bool,
    /// The commit of the target.
    target: String,
    /// The commit of the branch.
    branch: String,
    /// The number of paths that the branch changes.
    changed: usize,
    /// The first hundred of them.
    paths: Vec<String>,
}

/// What a merge has done.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Merged {
    /// The commit of the target now.
    pub(crate) commit: String,
    /// Its commit before.
    before: String,
    /// The number of paths that the branch changed.
    changed: usize,
    /// What became of the tree that has the target checked out.
    tree: Tree,
}

/// A tree that has the target of a merge checked out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Tree {
    /// There is none.
    None,
    /// It shows the merge.
    Updated,
    /// Somebody changed a file meanwhile: it shows the former commit, and `git status` calls the difference staged.
    Behind,
}

/// A merge that is decided: its commit is written, and no ref has moved.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Wanted {
    pub(crate) merge: Merge,
    pub(crate) commit: String,
}

/// Checks a merge, and what the branch changes against what its tree declares.
fn checked(
    workspaces: &Workspaces,
    repository: &Repository,
    asked: &MergeInput,
    stop: Stop<'_>,
) -> Result<Merge, Error> {
    let merge = repository.merge_check(&asked.branch, &asked.target, stop)?;
    let trees = workspaces.trees.of(repository.top())?;
    if let Some(tree) = trees.iter().find(|tree| tree.declared.branch == asked.branch) {
        tree.check(&merge.changed)?;
    }
    check_paths(workspaces, &merge.changed)?;
    Ok(merge)
}

pub(super) async fn check(work: &Work, workspaces: &Arc<Workspaces>) -> Result<Done, Failure> {
    let asked: MergeInput = input(&work.job)?;
    let mut merge = within(work, workspaces, move |workspaces, stop| {
        let repository = workspaces.repository(&asked.repo, Access::Write, stop)?;
        let merge = checked(workspaces, &repository, &asked, stop)?;
        if let Some(target) = repository.branch(&asked.target, stop)? {
            repository.check_tree(&target, stop)?;
        }
        Ok(merge)
    })
    .await?;
    let changed = merge.changed.len();
    merge.changed.truncate(SHOWN_MAX);
    let Merge { target, source, is_merged, changed: paths, .. } = merge;
    let checked = Checked { merged: is_merged, target, branch: source, changed, paths };
    Ok(Done::with(Vec::new(), json!(checked)))
}

/// The merge on top of what the target is now; decided once for each try.
async fn wanted(work: &Work, workspaces: &Arc<Workspaces>, effect: &str) -> Result<Wanted, Failure> {
    let asked: MergeInput = input(&work.job)?;
    let message =
        asked.message.clone().unwrap_or_else(|| format!("Merge {} into {}", asked.branch, asked.target));
    let message = signed(&message, work);
    let decide = || {
        within(work, workspaces, move |workspaces, stop| {
            let repository = workspaces.repository(&asked.repo, Access::Write, stop)?;
            let merge = checked(workspaces, &repository, &asked, stop)?;
            let commit = match merge.is_merged {
                true => merge.target.clone(),
                false => repository.write_merge(&merge, &message, &identity(), stop)?,
            };
            Ok(Wanted { merge, commit })
        })
    };
    work.step(effect, &work.job.input, decide).await
}

/// Moves the target, while the guard is where it was, and brings the tree along that has it checked out.
pub(crate) fn moved(
    repository: &Repository,
    target: &str,
    wanted: &Wanted,
    guard: Option<&Guard>,
    why: &str,
    stop: Stop<'_>,
) -> Result<Merged, Error> {
    let from = &wanted.merge.target;
    let found = repository.branch(target, stop)?;
    let has_tree = found.map_or(Ok(false), |found| repository.check_tree(&found, stop))?;
    repository.move_while(target, &wanted.commit, Some(from), guard, why, stop)?;
    followed(repository, wanted, has_tree, stop)
}

pub(crate) fn followed(
    repository: &Repository,
    wanted: &Wanted,
    has_tree: bool,
    stop: Stop<'_>,
) -> Result<Merged, Error> {
    let tree = match has_tree {
        false => Tree::None,
        true if repository.follow(&wanted.merge.target, &wanted.commit, stop)? => Tree::Updated,
        true => Tree::Behind,
    };
    let (commit, before) = (wanted.commit.clone(), wanted.merge.target.clone());
    Ok(Merged { commit, before, changed: wanted.merge.changed.len(), tree })
}

pub(super) async fn merge(work: &Work, workspaces: &Arc<Workspaces>) -> Result<Done, Failure> {
    let asked: MergeInput = input(&work.job)?;
    let mut number = 1;
    loop {
        let name = format!("{MERGE}/{number}");
        let wanted = wanted(work, workspaces, &name).await?;
        if wanted.merge.is_merged {
            let Wanted { commit, .. } = wanted;
            let merged = Merged { before: commit.clone(), commit, changed: 0, tree: Tree::None };
            return Ok(Done::with(Vec::new(), json!(merged)));
        }
        let arguments = json!({"repo": asked.repo, "target": asked.target, "from": wanted.merge.target, "to": wanted.commit});
        let detail = format!("move the branch `{}` to {}", asked.target, wanted.commit);
        let effect = Effect::new(name).tool(TOOL, arguments).detail(detail);
        let (repo, target) = (asked.repo.clone(), asked.target.clone());
        let outcome: Result<Merged, Failure> = work
            .effect(effect, |key| {
                within(work, workspaces, move |workspaces, stop| {
                    let repository = workspaces.repository(&repo, Access::Write, stop)?;
                    moved(&repository, &target, &wanted, None, &format!("orrery: {key}"), stop)
                })
            })
            .await;
        match outcome {
            Ok(merged) => return Ok(Done::with(Vec::new(), json!(merged))),
            Err(failure) if was_slower(&failure) && number < TRIES_MAX => {
                tokio::time::sleep(PAUSE * number).await;
                number += 1;
            }
            Err(failure) => return Err(failure),
        }
    }
}

/// Whether somebody else has moved the target, or is about to.
pub(crate) fn was_slower(failure: &Failure) -> bool {
    match failure {
        Failure::Failed(failure) => {
            failure.code == "ref-moved" || failure.code == "git-failed" && failure.message.contains(".lock")
        }
        Failure::InputRequired { .. } => false,
    }
}

/// Finds out whether a merge was done, and brings the tree along where it was not.
pub(super) async fn settle(
    work: &Work,
    workspaces: &Arc<Workspaces>,
    effect: &str,
) -> Result<Reconciled, Failure> {
    let asked: MergeInput = input(&work.job)?;
    let wanted = wanted(work, workspaces, effect).await?;
    let merged = within(work, workspaces, move |workspaces, stop| {
        let repository = workspaces.repository(&asked.repo, Access::Write, stop)?;
        let Some(found) = repository.branch(&asked.target, stop)? else { return Ok(None) };
        if !repository.contains(&found.commit, &wanted.commit, stop)? {
            return Ok(None);
        }
        // Where others have merged since, theirs is the tree to bring along.
        let has_tree = found.commit == wanted.commit && found.is_here(&repository);
        followed(&repository, &wanted, has_tree, stop).map(Some)
    })
    .await?;
    Ok(merged.map_or(Reconciled::NotDone, |merged| Reconciled::Done(json!(merged))))
}
