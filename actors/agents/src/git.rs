//! `git`: what a repository holds, and changes to it. Skill `history` for a report; the others for work.
//!
//! ```text
//! git-worktree ─→ files are written in the tree ─→ git-commit ─→ git-merge-check ─→ git-merge ─→ git-worktree-remove
//! ```
//!
//! What a change will be is decided once, as a step: which commit, which tree, at what time. The change itself is one
//! effect: a ref that moves from the value that was seen, or a folder that appears under its name. So a repeat does
//! nothing, and after a crash the repository says whether it was done.

pub(crate) mod changes;
pub(crate) mod merge;
mod reads;

use std::sync::Arc;

use actors_report::Watch;
use actors_worker::{Agent, Done, Failure, Reconciled, Work};
use bus_schemas::Key;
use bus_schemas::commands::agent::{AgentCard, Skill};
use bus_schemas::jobs::PastEffect;
use futures::future::BoxFuture;
use serde_json::json;

use crate::card::{card, typed, unknown_skill};
use crate::repository::RepositoryInput;
use crate::step::{Counts, analyse, reading};
use crate::workspaces::Workspaces;

const NAME: &str = "git";
/// The program that reads the history: the key of its breaker.
const TOOL: &str = "tool.git";

/// Reads repositories, and changes them where the operator allows it.
#[derive(Debug)]
pub struct Git {
    workspaces: Arc<Workspaces>,
}

impl Git {
    /// An agent for these workspaces.
    pub fn new(workspaces: Arc<Workspaces>) -> Self {
        Self { workspaces }
    }
}

impl Agent for Git {
    fn card(&self) -> AgentCard {
        let mut skills = readers();
        if self.workspaces.rules().is_some() {
            skills.extend(changers());
        }
        let dependencies = vec![Key::parse(TOOL).expect("a constant")];
        AgentCard { dependencies, ..card(NAME, "reads git repositories, commits and merges", skills) }
    }

    fn reconcile(&self, work: Work, effect: PastEffect) -> BoxFuture<'static, Result<Reconciled, Failure>> {
        let workspaces = Arc::clone(&self.workspaces);
        Box::pin(async move {
            match effect.effect.split('/').next().unwrap_or_default() {
                changes::BRANCH => changes::settle_branch(&work, &workspaces).await,
                changes::WORKTREE => changes::settle_worktree(&work, &workspaces).await,
                changes::REMOVE => changes::settle_remove(&work, &workspaces).await,
                changes::COMMIT => changes::settle_commit(&work, &workspaces).await,
                merge::MERGE => merge::settle(&work, &workspaces, &effect.effect).await,
                other => Ok(Reconciled::Unknown(format!("the agent has no effect `{other}`"))),
            }
        })
    }

    fn run(&self, work: Work) -> BoxFuture<'static, Result<Done, Failure>> {
        let workspaces = Arc::clone(&self.workspaces);
        Box::pin(async move { work.breakers().call(TOOL, || run(&work, &workspaces)).await })
    }
}

async fn run(work: &Work, workspaces: &Arc<Workspaces>) -> Result<Done, Failure> {
    let skill = work.job.skill.as_str();
    if changers().iter().any(|known| known.id == skill) {
        workspaces.writing()?;
    }
    match skill {
        "history" => history(work).await,
        "git-status" => reading(work, || reads::status(work, workspaces)).await,
        "git-log" => reading(work, || reads::log(work, workspaces)).await,
        "git-blame" => reading(work, || reads::blame(work, workspaces)).await,
        "git-diff" => reading(work, || reads::diff(work, workspaces)).await,
        "git-branches" => reading(work, || reads::branches(work, workspaces)).await,
        "git-branch" => changes::branch(work, workspaces).await,
        "git-worktree" => changes::worktree(work, workspaces).await,
        "git-worktree-remove" => changes::remove(work, workspaces).await,
        "git-commit" => changes::commit(work, workspaces).await,
        "git-merge-check" => reading(work, || merge::check(work, workspaces)).await,
        "git-merge" => merge::merge(work, workspaces).await,
        other => Err(unknown_skill(NAME, other)),
    }
}

async fn history(work: &Work) -> Result<Done, Failure> {
    let summary = |found: &actors_report::History| {
        json!({
            "commits": found.commits,
            "contributors": found.contributors_total,
            "weeks": found.weeks.len(),
            "head": found.head,
            "truncated": found.truncated,
        })
    };
    let now = i64::try_from(bus_client::now().0 / 1_000).unwrap_or(i64::MAX);
    let read = move |repo: &std::path::Path, watch: &Watch| actors_report::history(repo, now, watch);
    analyse(work, "history", read, summary).await
}

fn readers() -> Vec<Skill> {
    vec![
        typed::<RepositoryInput, Counts>(
            "history",
            "History",
            "counts commits by week, contributors, churn and the bus factor of every folder",
            &["git", "commits", "contributors", "churn"],
        ),
        typed::<reads::RepoInput, reads::StatusResult>(
            "git-status",
            "Status",
            "says which files of a working copy differ from its commit",
            &["git", "status"],
        ),
        typed::<reads::LogInput, reads::Count>(
            "git-log",
            "Log",
            "lists commits, or those that changed a path",
            &["git", "log", "commits"],
        ),
        typed::<reads::BlameInput, reads::Count>(
            "git-blame",
            "Blame",
            "says which commit wrote each line of a file",
            &["git", "blame"],
        ),
        typed::<reads::DiffInput, reads::Count>(
            "git-diff",
            "Diff",
            "compares two commits, or a commit with the working copy",
            &["git", "diff", "patch"],
        ),
        typed::<reads::RepoInput, reads::Count>(
            "git-branches",
            "Branches",
            "lists the branches, and where they are checked out",
            &["git", "branches"],
        ),
        typed::<merge::MergeInput, merge::Checked>(
            "git-merge-check",
            "Check a merge",
            "says whether a branch can be merged, and what would change; moves nothing",
            &["git", "merge"],
        ),
    ]
}

fn changers() -> Vec<Skill> {
    vec![
        typed::<changes::BranchInput, changes::BranchResult>(
            "git-branch",
            "Make a branch",
            "makes a branch at a commit",
            &["git", "branch"],
        ),
        typed::<changes::WorktreeInput, actors_workspace::Worktree>(
            "git-worktree",
            "Make a worktree",
            "makes a tree for a task, on a branch of its own, with the paths that it may change",
            &["git", "worktree"],
        ),
        typed::<changes::RemoveInput, changes::Removed>(
            "git-worktree-remove",
            "Remove a worktree",
            "removes the tree of a task; its branch stays",
            &["git", "worktree"],
        ),
        typed::<changes::CommitInput, changes::Committed>(
            "git-commit",
            "Commit",
            "commits what has changed in the tree of a task",
            &["git", "commit"],
        ),
        typed::<merge::MergeInput, merge::Merged>(
            "git-merge",
            "Merge",
            "merges a branch into another one, which moves only from where it was seen",
            &["git", "merge"],
        ),
    ]
}
