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

use std::path::{Path, PathBuf};
use std::sync::Arc;

use actors_worker::{Agent, Done, Effect, Failure, Reconciled, Work};
use actors_workspace::{Access, Declared, Error, WriteSet};
use bus_schemas::Key;
use bus_schemas::commands::agent::AgentCard;
use bus_schemas::commands::change::{Command, Schedule, Step};
use bus_schemas::jobs::{FailureClass, PastEffect};
use futures::future::BoxFuture;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use smol_str::ToSmolStr;

use crate::card::{card, typed, unknown_skill};
use crate::git::changes::{identity, signed};
use crate::sandbox::Sandboxes;
use crate::workspaces::{Workspaces, within};

use plan::Plan;

pub(crate) const NAME: &str = "change";
const SKILL: &str = "change";
const ROLL_BACK: &str = "roll-back-change";
/// The artifact that every result has.
const DIFF: &str = "change.diff";
/// The effects.
const BRANCH: &str = "branch";
const DROP: &str = "drop";
/// The tool of all effects.
const TOOL: &str = "git";

/// What an attempt works with.
#[derive(Debug, Clone)]
struct Tools {
    workspaces: Arc<Workspaces>,
    sandboxes: Arc<Sandboxes>,
}

/// Changes files that a person approved.
#[derive(Debug)]
pub struct Change {
    tools: Tools,
}

impl Change {
    /// An agent that writes by the rules of these workspaces.
    pub fn new(workspaces: Arc<Workspaces>, sandboxes: Arc<Sandboxes>) -> Self {
        Self { tools: Tools { workspaces, sandboxes } }
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
        let skills = vec![
            typed::<Schedule, Changed>(
                SKILL,
                "Change",
                "changes files of a repository when a person has approved them, and its tests pass",
                &["change", "approval", "git"],
            ),
            typed::<RollBackInput, RolledBack>(
                ROLL_BACK,
                "Roll a change back",
                "removes the branch and the tree of a change that was stopped",
                &["change", "git"],
            ),
        ];
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
                ROLL_BACK => roll_back(&work, &tools).await,
                other => Err(unknown_skill(NAME, other)),
            }
        })
    }
}

/// What a change may have left.
#[derive(Debug, Clone)]
struct Leftover {
    repo: String,
    change: Key,
    commit: String,
}

/// A change whose traces are to be removed.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RollBackInput {
    /// The absolute path of the repository's top folder.
    repo: String,
    /// The branch that was to have the change.
    target: String,
    /// The change.
    change: Key,
    /// The commit on its branch.
    commit: String,
}

/// What was found when a change was rolled back.
#[derive(Debug, Serialize, JsonSchema)]
struct RolledBack {
    /// The commit of the target, where that has the change already.
    merged: Option<String>,
}

async fn change(work: &Work, tools: &Tools) -> Result<Done, Failure> {
    tools.workspaces.writing()?;
    let asked: Schedule = crate::failure::input(&work.job)?;
    let key = &work.job.task.key;
    work.tell(key, "adopt", &Command::Adopt { plan: asked.plan() }).await?;
    let committed = committed(work, tools, &asked).await?;
    let ended = carried_out(work, tools, &asked, &committed).await;
    // What may pass is tried again on the same tree.
    let may_pass = ended.as_ref().is_err_and(|failure| failure.class() == Some(FailureClass::Transient));
    if !may_pass {
        let Schedule { repo, .. } = asked.clone();
        dropped(work, tools, &Leftover { repo, change: key.clone(), commit: committed.commit.clone() })
            .await?;
    }
    let Ended { outcome, reason, merged } = ended?;
    match (outcome, &reason) {
        (Outcome::Merged, _) => {}
        (Outcome::Tested, _) => record(work, Step::Tested).await?,
        (Outcome::RolledBack, reason) => {
            record(work, Step::RolledBack { reason: reason.clone().unwrap_or_default() }).await?;
        }
    }
    let Committed { commit, plan } = committed;
    let branch = branch_of(key.as_str());
    let artifact = work.put_artifact(DIFF, "text/x-diff", plan.diff.into_bytes().into()).await?;
    let changed = Changed { outcome, reason, base: plan.composed.base, branch, commit, merged };
    Ok(Done::with(vec![artifact], json!(changed)))
}

/// Tells the change that it has come a step further.
async fn record(work: &Work, step: Step) -> Result<(), Failure> {
    let name = match &step {
        Step::Proposed { .. } => "proposed",
        Step::Approved => "approved",
        Step::Applied { .. } => "applied",
        Step::Branched => "branched",
        Step::SyntaxPassed | Step::SyntaxFailed { .. } => "syntax",
        Step::TestsStarted => "tests-started",
        Step::TestsPassed | Step::TestsFailed { .. } => "tests",
        Step::Merged { .. } | Step::Tested | Step::RolledBack { .. } => "end",
    };
    work.tell(&work.job.task.key, &format!("record-{name}"), &Command::Record(step)).await
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
    asked: &Schedule,
    committed: &Committed,
) -> Result<Ended, Failure> {
    let rolled_back = |why| Ended { outcome: Outcome::RolledBack, reason: Some(why), merged: None };
    record(work, Step::Applied { commit: committed.commit.to_smolstr() }).await?;
    branched(work, tools, asked, committed).await?;
    record(work, Step::Branched).await?;
    if let Some(why) = proof::refusal(work, tools, asked, committed).await? {
        return Ok(rolled_back(why));
    }
    if asked.dry_run {
        return Ok(Ended { outcome: Outcome::Tested, reason: None, merged: None });
    }
    match merge::merge(work, tools, asked, committed).await? {
        Ok(commit) => {
            record(work, Step::Merged { commit: commit.to_smolstr() }).await?;
            Ok(Ended { outcome: Outcome::Merged, reason: None, merged: Some(commit) })
        }
        Err(why) => Ok(rolled_back(why)),
    }
}

/// The name of a change's tree, and of its branch after `orrery/`.
fn name_of(change: &str) -> String {
    format!("change-{change}")
}

fn branch_of(change: &str) -> String {
    format!("orrery/{}", name_of(change))
}

/// The commit of the approved plan, written once.
async fn committed(work: &Work, tools: &Tools, asked: &Schedule) -> Result<Committed, Failure> {
    let plan = plan::approved(work, tools, asked).await?;
    let message = signed(&asked.message, work);
    let (repo, of) = (PathBuf::from(&asked.repo), plan.clone());
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

fn declared(work: &Work, asked: &Schedule, committed: &Committed) -> Result<Declared, Error> {
    Ok(Declared {
        repo: PathBuf::from(&asked.repo),
        branch: branch_of(work.job.task.key.as_str()),
        base: committed.commit.clone(),
        writes: WriteSet::parse(&committed.plan.paths())?,
    })
}

/// Makes the branch and the tree.
async fn branched(
    work: &Work,
    tools: &Tools,
    asked: &Schedule,
    committed: &Committed,
) -> Result<(), Failure> {
    let declared = declared(work, asked, committed).map_err(crate::failure::of_workspace)?;
    let (name, repo) = (name_of(work.job.task.key.as_str()), PathBuf::from(&asked.repo));
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
    let asked: Schedule = crate::failure::input(&work.job)?;
    let committed = committed(work, tools, &asked).await?;
    let declared = declared(work, &asked, &committed).map_err(crate::failure::of_workspace)?;
    let name = name_of(work.job.task.key.as_str());
    let found = within(work, &tools.workspaces, move |workspaces, _| workspaces.trees.find(&name)).await?;
    Ok(match found.filter(|found| found.declared == declared) {
        Some(_) => Reconciled::Done(json!(null)),
        None => Reconciled::NotDone,
    })
}

/// Removes the change's own tree and branch, and nothing else.
async fn dropped(work: &Work, tools: &Tools, left: &Leftover) -> Result<(), Failure> {
    let change = left.change.as_str();
    let (name, branch) = (name_of(change), branch_of(change));
    let detail = format!("remove the branch `{branch}` and its tree");
    let effect =
        Effect::new(DROP).tool(TOOL, json!({"branch": branch, "commit": left.commit})).detail(detail);
    let Leftover { repo, commit, .. } = left.clone();
    work.effect(effect, |_| {
        within(work, &tools.workspaces, move |workspaces, stop| {
            workspaces.trees.remove(&name, &workspaces.roots, true, stop)?;
            let repository = workspaces.repository(Path::new(&repo), Access::Write, stop)?;
            repository.drop_branch(&branch, &commit, stop)
        })
    })
    .await
}

/// Removes what is left of a change that was stopped. A merge that was faster is said to be one.
async fn roll_back(work: &Work, tools: &Tools) -> Result<Done, Failure> {
    tools.workspaces.writing()?;
    let asked: RollBackInput = crate::failure::input(&work.job)?;
    let RollBackInput { repo, target, change, commit } = asked;
    dropped(work, tools, &Leftover { repo: repo.clone(), change: change.clone(), commit: commit.clone() })
        .await?;
    // The branch is gone, so no merge comes any more.
    let find = || {
        within(work, &tools.workspaces, move |workspaces, stop| {
            let repository = workspaces.repository(Path::new(&repo), Access::Write, stop)?;
            let Some(found) = repository.branch(&target, stop)? else { return Ok(None) };
            Ok(repository.contains(&found.commit, &commit, stop)?.then_some(found.commit))
        })
    };
    let merged: Option<String> = work.step("merged", &work.job.input, find).await?;
    if let Some(commit) = &merged {
        work.tell(&change, "record-end", &Command::Record(Step::Merged { commit: commit.to_smolstr() }))
            .await?;
    }
    Ok(Done::with(Vec::new(), json!(RolledBack { merged })))
}
