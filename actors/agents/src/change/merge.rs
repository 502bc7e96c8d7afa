//! The merge of a change whose tests passed.

use std::path::Path;

use actors_worker::{Effect, Failure, Reconciled, Work};
use actors_workspace::{Access, Guard};
use bus_schemas::commands::change::Schedule;
use serde_json::json;

use super::{Committed, TOOL, Tools, branch_of};
use crate::git::changes::{identity, signed};
use crate::git::merge::{Merged, Wanted, followed, moved, was_slower};
use crate::workspaces::within;

/// The effect of a merge: `merge/1` and so on.
pub(super) const MERGE: &str = "merge";
/// How often a merge is made again because the target has moved.
const TRIES_MAX: u32 = 10;

/// The commit of the target with the change, or why there is none.
pub(super) async fn merge(
    work: &Work,
    tools: &Tools,
    asked: &Schedule,
    committed: &Committed,
) -> Result<Result<String, String>, Failure> {
    for number in 1..=TRIES_MAX {
        let name = format!("{MERGE}/{number}");
        let wanted = match wanted(work, tools, asked, committed, &name).await {
            Ok(Some(wanted)) => wanted,
            Ok(None) => {
                return Ok(Err("base-changed: the target has other content where it is touched".to_owned()));
            }
            Err(Failure::Failed(failure)) if failure.code == "merge-conflict" => {
                return Ok(Err(failure.message));
            }
            Err(failure) => return Err(failure),
        };
        let arguments = json!({"target": asked.target, "from": wanted.merge.target, "to": wanted.commit});
        let detail = format!("move the branch `{}` to {}", asked.target, wanted.commit);
        let effect = Effect::new(name).tool(TOOL, arguments).detail(detail);
        let (repo, target) = (asked.repo.clone(), asked.target.clone());
        // Whoever rolls the change back drops the branch first: then a late merge moves nothing.
        let guard = Guard { branch: branch_of(work.job.task.key.as_str()), commit: committed.commit.clone() };
        let outcome: Result<Merged, Failure> = work
            .effect(effect, |key| {
                within(work, &tools.workspaces, move |workspaces, stop| {
                    let repository = workspaces.repository(Path::new(&repo), Access::Write, stop)?;
                    moved(&repository, &target, &wanted, Some(&guard), &format!("orrery: {key}"), stop)
                })
            })
            .await;
        match outcome {
            Ok(merged) => return Ok(Ok(merged.commit)),
            Err(failure) if was_slower(&failure) => {}
            Err(Failure::Failed(failure))
                if ["tree-dirty", "branch-checked-out"].contains(&failure.code.as_str()) =>
            {
                return Ok(Err(format!("{}: {}", failure.code, failure.message)));
            }
            Err(failure) => return Err(failure),
        }
    }
    Ok(Err(format!("ref-moved: the target moved {TRIES_MAX} times while the change was merged")))
}

/// The merge on top of what the target is now; `None` where that is not what a person approved.
async fn wanted(
    work: &Work,
    tools: &Tools,
    asked: &Schedule,
    committed: &Committed,
    effect: &str,
) -> Result<Option<Wanted>, Failure> {
    let (asked, committed, branch) =
        (asked.clone(), committed.clone(), branch_of(work.job.task.key.as_str()));
    let message = signed(&asked.message, work);
    let input = json!([committed.commit, asked.target]);
    let decide = || {
        within(work, &tools.workspaces, move |workspaces, stop| {
            let repository = workspaces.repository(Path::new(&asked.repo), Access::Write, stop)?;
            let merge = repository.merge_check(&branch, &asked.target, stop)?;
            let composed = &committed.plan.composed;
            let is_same = match asked.full_base {
                true => merge.target == composed.base,
                false => repository.is_as_before(&merge.target, &composed.files, stop)?,
            };
            if !is_same || merge.source != committed.commit {
                return Ok(None);
            }
            let commit = repository.write_merge(&merge, &message, &identity(), stop)?;
            Ok(Some(Wanted { merge, commit }))
        })
    };
    work.step(effect, &input, decide).await
}

/// Finds out whether a merge was done.
pub(super) async fn settle(work: &Work, tools: &Tools, effect: &str) -> Result<Reconciled, Failure> {
    let asked: Schedule = crate::failure::input(&work.job)?;
    let committed = super::committed(work, tools, &asked).await?;
    let Some(wanted) = wanted(work, tools, &asked, &committed, effect).await? else {
        return Ok(Reconciled::NotDone);
    };
    let merged = within(work, &tools.workspaces, move |workspaces, stop| {
        let repository = workspaces.repository(Path::new(&asked.repo), Access::Write, stop)?;
        let Some(found) = repository.branch(&asked.target, stop)? else { return Ok(None) };
        if !repository.contains(&found.commit, &wanted.commit, stop)? {
            return Ok(None);
        }
        let has_tree = found.commit == wanted.commit && found.is_here(&repository);
        followed(&repository, &wanted, has_tree, stop).map(Some)
    })
    .await?;
    Ok(merged.map_or(Reconciled::NotDone, |merged| Reconciled::Done(json!(merged))))
}
