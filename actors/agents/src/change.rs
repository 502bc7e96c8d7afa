//! `change`: changes a few files of a repository when a person has approved the very bytes. Skill `change`.
//!
//! ```text
//! plan ─→ a person approves ─→ dispatch: the plan again, and the approval is used ─→ commit ─→ branch, tree
//!   ─→ secrets, syntax ─→ tests ─→ merge ─→ drop
//!          └───────────────┴────────┴─→ drop: its own branch and tree go, and nothing else
//! ```
//!
//! Nothing is written before a person has approved, except objects that no ref leads to. What is shown is made from the
//! bytes. A merge is made of objects, and moves the target only from the commit that was looked at.

mod merge;
mod plan;
mod proof;

use std::sync::Arc;

use actors_worker::{Agent, Done, Effect, Failure, Reconciled, Work};
use actors_workspace::{Access, Declared, Error, WriteSet};
use bus_schemas::commands::agent::AgentCard;
use bus_schemas::jobs::{FailureClass, PastEffect};
use futures::future::BoxFuture;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::card::{card, typed, unknown_skill};
use crate::git::changes::{identity, signed};
use crate::sandbox::Sandboxes;
use crate::workspaces::{Workspaces, within};

pub use plan::CodeWrite;
use plan::{ChangeInput, Plan};

pub(crate) const NAME: &str = "change";
const SKILL: &str = "change";
/// The effects.
const BRANCH: &str = "branch";
const DROP: &str = "drop";
/// The tool of all effects.
const TOOL: &str = "git";

/// What an attempt works with.
#[derive(Debug, Clone)]
struct Tools {
    rules: Arc<CodeWrite>,
    workspaces: Arc<Workspaces>,
    sandboxes: Arc<Sandboxes>,
}

/// Changes files that a person approved.
#[derive(Debug)]
pub struct Change {
    tools: Tools,
}

impl Change {
    /// An agent with these rules.
    pub fn new(rules: Arc<CodeWrite>, workspaces: Arc<Workspaces>, sandboxes: Arc<Sandboxes>) -> Self {
        Self { tools: Tools { rules, workspaces, sandboxes } }
    }
}

/// What became of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Outcome {
    /// The target has it.
    Merged,
    /// Nothing of it is left; the reason says why.
    RolledBack,
    /// A trial: its tests passed, and nothing of it is left.
    Tested,
}

/// The result of a change.
#[derive(Debug, Serialize, JsonSchema)]
struct Changed {
    outcome: Outcome,
    /// Why nothing is left of it.
    reason: Option<String>,
    /// The commit that it was made for.
    base: String,
    /// The branch, which is gone.
    branch: String,
    /// The commit on the branch.
    commit: String,
    /// The commit of the target with the change.
    merged: Option<String>,
}

/// The commit of a change, on no branch yet.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Committed {
    commit: String,
    plan: Plan,
}

impl Agent for Change {
    fn card(&self) -> AgentCard {
        let skills = vec![typed::<ChangeInput, Changed>(
            SKILL,
            "Change",
            "changes files of a repository when a person has approved them, and its tests pass",
            &["change", "approval", "git"],
        )];
        card(NAME, "changes files that a person approved", skills)
    }

    fn reconcile(&self, work: Work, effect: PastEffect) -> BoxFuture<'static, Result<Reconciled, Failure>> {
        let tools = self.tools.clone();
        Box::pin(async move {
            match effect.effect.split('/').next().unwrap_or_default() {
                BRANCH => settle_branch(&work, &tools).await,
                merge::MERGE => merge::settle(&work, &tools, &effect.effect).await,
                // What is left is removed by the repeat.
                DROP => Ok(Reconciled::NotDone),
                other => Ok(Reconciled::Unknown(format!("the agent has no effect `{other}`"))),
            }
        })
    }

    fn run(&self, work: Work) -> BoxFuture<'static, Result<Done, Failure>> {
        let tools = self.tools.clone();
        Box::pin(async move {
            match work.job.skill.as_str() {
                SKILL => change(&work, &tools).await,
                other => Err(unknown_skill(NAME, other)),
            }
        })
    }
}

async fn change(work: &Work, tools: &Tools) -> Result<Done, Failure> {
    let asked: ChangeInput = crate::failure::input(&work.job)?;
    let committed = committed(work, tools, &asked).await?;
    let ended = carried_out(work, tools, &asked, &committed).await;
    // What may pass is tried again on the same tree.
    let may_pass = ended.as_ref().is_err_and(|failure| failure.class() == Some(FailureClass::Transient));
    if !may_pass {
        dropped(work, tools, &asked, &committed).await?;
    }
    let Ended { outcome, reason, merged } = ended?;
    let Committed { commit, plan } = committed;
    let branch = branch_of(work);
    let artifact = work.put_artifact("change.diff", "text/x-diff", plan.diff.into_bytes().into()).await?;
    let changed = Changed { outcome, reason, base: plan.composed.base, branch, commit, merged };
    Ok(Done::with(vec![artifact], json!(changed)))
}

/// How a change ended.
struct Ended {
    outcome: Outcome,
    reason: Option<String>,
    merged: Option<String>,
}

async fn carried_out(
    work: &Work,
    tools: &Tools,
    asked: &ChangeInput,
    committed: &Committed,
) -> Result<Ended, Failure> {
    let rolled_back = |why| Ended { outcome: Outcome::RolledBack, reason: Some(why), merged: None };
    branched(work, tools, asked, committed).await?;
    if let Some(why) = proof::refusal(work, tools, asked, committed).await? {
        return Ok(rolled_back(why));
    }
    if asked.dry_run {
        return Ok(Ended { outcome: Outcome::Tested, reason: None, merged: None });
    }
    Ok(match merge::merge(work, tools, asked, committed).await? {
        Ok(commit) => Ended { outcome: Outcome::Merged, reason: None, merged: Some(commit) },
        Err(why) => rolled_back(why),
    })
}

/// The name of the tree, and of the branch after `orrery/`.
fn name_of(work: &Work) -> String {
    format!("change-{}", work.job.task.key)
}

fn branch_of(work: &Work) -> String {
    format!("orrery/{}", name_of(work))
}

/// The commit of the approved plan, written once.
async fn committed(work: &Work, tools: &Tools, asked: &ChangeInput) -> Result<Committed, Failure> {
    let plan = plan::approved(work, tools, asked).await?;
    let message = signed(&asked.message, work);
    let (repo, of) = (asked.repo.clone(), plan.clone());
    let write = || {
        within(work, &tools.workspaces, move |workspaces, stop| {
            let repository = workspaces.repository(&repo, Access::Write, stop)?;
            let base = of.composed.base.clone();
            let commit = repository.write_commit(&of.composed.tree, &[&base], &message, &identity(), stop)?;
            Ok(Committed { commit, plan: of })
        })
    };
    work.step("commit", &json!([asked.repo, plan.composed, asked.message]), write).await
}

fn declared(work: &Work, asked: &ChangeInput, committed: &Committed) -> Result<Declared, Error> {
    let paths: Vec<String> = committed.plan.composed.files.iter().map(|file| file.path.clone()).collect();
    Ok(Declared {
        repo: asked.repo.clone(),
        branch: branch_of(work),
        base: committed.commit.clone(),
        writes: WriteSet::parse(&paths)?,
    })
}

/// Makes the branch and the tree.
async fn branched(
    work: &Work,
    tools: &Tools,
    asked: &ChangeInput,
    committed: &Committed,
) -> Result<(), Failure> {
    let declared = declared(work, asked, committed).map_err(crate::failure::of_workspace)?;
    let (name, repo) = (name_of(work), asked.repo.clone());
    let detail = format!("make the branch `{}` and a tree of it", declared.branch);
    let effect = Effect::new(BRANCH).tool(TOOL, json!({"declared": declared})).detail(detail);
    work.effect(effect, |_| {
        within(work, &tools.workspaces, move |workspaces, stop| {
            let repository = workspaces.repository(&repo, Access::Write, stop)?;
            workspaces.trees.make(&repository, &name, &declared, stop).map(drop)
        })
    })
    .await
}

async fn settle_branch(work: &Work, tools: &Tools) -> Result<Reconciled, Failure> {
    let asked: ChangeInput = crate::failure::input(&work.job)?;
    let committed = committed(work, tools, &asked).await?;
    let declared = declared(work, &asked, &committed).map_err(crate::failure::of_workspace)?;
    let name = name_of(work);
    let found = within(work, &tools.workspaces, move |workspaces, _| workspaces.trees.find(&name)).await?;
    Ok(match found.filter(|found| found.declared == declared) {
        Some(_) => Reconciled::Done(json!(null)),
        None => Reconciled::NotDone,
    })
}

/// Removes the change's own tree and branch, and nothing else.
async fn dropped(
    work: &Work,
    tools: &Tools,
    asked: &ChangeInput,
    committed: &Committed,
) -> Result<(), Failure> {
    let (name, branch) = (name_of(work), branch_of(work));
    let detail = format!("remove the branch `{branch}` and its tree");
    let effect =
        Effect::new(DROP).tool(TOOL, json!({"branch": branch, "commit": committed.commit})).detail(detail);
    let (repo, commit) = (asked.repo.clone(), committed.commit.clone());
    work.effect(effect, |_| {
        within(work, &tools.workspaces, move |workspaces, stop| {
            workspaces.trees.remove(&name, &workspaces.roots, true, stop)?;
            workspaces.repository(&repo, Access::Write, stop)?.drop_branch(&branch, &commit, stop)
        })
    })
    .await
}
