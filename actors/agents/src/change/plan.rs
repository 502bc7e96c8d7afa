//! What a change will be, and a person's approval of it.

use std::path::Path;

use actors_sandbox::Kind;
use actors_worker::{Failure, Work, canonical};
use actors_workspace::{Access, Composed, Error, NewFile, Stop, WorkspacePath};
use bus_schemas::commands::approval::{BaseCheck, Call, Grounds, Request, Use};
use bus_schemas::commands::change::{FileChange, Schedule, Step};
use bus_schemas::views::task::TaskState;
use bus_schemas::{Hash, Key, text};
use serde::{Deserialize, Serialize};
use serde_json::json;
use smol_str::ToSmolStr;

use super::{DIFF, NAME, Tools, branch_of, record};
use crate::code_write::CodeWrite;
use crate::sandbox::failed;
use crate::workspaces::{Workspaces, within};

/// The most files of a change, and the most bytes of its diff: a person reads all of it.
const FILES_MAX: usize = 32;
const DIFF_BYTES_MAX: usize = 64 * 1024;
/// The bytes of the goal that a person is shown beside the calls.
const HINT_BYTES_MAX: usize = 4_000;
/// How long an approval can be used: a worker begins within seconds, and an installation may be down for a while.
const USE_WITHIN_MS: u64 = 3_600_000;

/// What a change is on top of what the target is now.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Plan {
    pub(super) composed: Composed,
    pub(super) diff: String,
    grounds: Grounds,
    ground: Option<Ground>,
    /// Whether all files are the agents' own: then nobody is asked.
    is_own: bool,
}

/// The task that a change rests on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Ground {
    task: Key,
    /// The hash of its result.
    result: Hash,
}

impl Plan {
    pub(super) fn paths(&self) -> Vec<String> {
        self.composed.files.iter().map(|file| file.path.clone()).collect()
    }
}

/// The plan that a person approved, as it is now; where nobody has to be asked, the plan itself.
pub(super) async fn approved(work: &Work, tools: &Tools, asked: &Schedule) -> Result<Plan, Failure> {
    let plan = planned(work, tools, asked, "plan").await?;
    let key = &work.job.task.key;
    let rules = tools.workspaces.writing()?;
    let approval = (!asked.dry_run && !plan.is_own).then(|| key.clone());
    let diff = work.put_artifact(DIFF, "text/x-diff", plan.diff.clone().into_bytes().into()).await?;
    let base = plan.composed.base.to_smolstr();
    let proposed = Step::Proposed { base, branch: branch_of(key.as_str()), diff, approval: approval.clone() };
    record(work, proposed).await?;
    let Some(approval) = approval else { return Ok(plan) };
    // Decided once: a restart may have brought other approvers.
    let decide = || async {
        Ok(Request {
            hint: Some(text::cut(&text::prose(&work.job.goal), HINT_BYTES_MAX)),
            tools: vec![call(work, asked, &plan)],
            grounds: plan.grounds.clone(),
            base_check: if asked.full_base { BaseCheck::FullBase } else { BaseCheck::TouchedFiles },
            task: approval.clone(),
            approvers: rules.approvers.iter().map(ToSmolStr::to_smolstr).collect(),
            answer_within_ms: rules.answer_within_ms,
            use_within_ms: USE_WITHIN_MS,
        })
    };
    let request: Request = work.step("request", &work.job.input, decide).await?;
    work.ask_approval(&approval, &request).await?;
    let answers = work.job.answers.len();
    if answers == 0 {
        return Err(Failure::approval_required(&approval));
    }
    // Looked at again: what a person approved may have changed since.
    let now = planned(work, tools, asked, &format!("dispatch/{answers}")).await?;
    let tools = vec![call(work, asked, &now)];
    let call = Use { task: approval.clone(), tools, grounds: now.grounds.clone() };
    work.use_approval(&approval, &call).await?;
    record(work, Step::Approved).await?;
    Ok(now)
}

/// The call that a person approves. Everything in it is made from the bytes, except `goal`, which is nobody's promise.
fn call(work: &Work, asked: &Schedule, plan: &Plan) -> Call {
    let args = json!({
        "repo": asked.repo,
        "target": asked.target,
        "message": asked.message,
        "files": plan.composed.files,
        "diff": plan.diff,
        "tests": asked.expect,
        "goal": work.job.goal,
        "ground": plan.ground,
    });
    Call { call_id: work.job.task.key.to_smolstr(), name: NAME.to_smolstr(), args }
}

async fn planned(work: &Work, tools: &Tools, asked: &Schedule, step: &str) -> Result<Plan, Failure> {
    let (rules, input) = (tools.workspaces.writing()?.clone(), asked.clone());
    let decide = || async {
        // Waits for the keeper, which knows the images.
        tools.sandboxes.serves(Kind::Python).await?;
        let images = tools.sandboxes.images().await?;
        if images.is_empty() {
            return Err(failed(&actors_sandbox::Error::KeeperLost));
        }
        let ground = ground(work, asked).await?;
        // What the tests run in: other images are other settings.
        let settings = json!(images.iter().map(|image| image.manifest.as_str()).collect::<Vec<_>>());
        let settings = Hash::of(canonical(&settings).as_bytes()).to_hex();
        let policy = rules.policy_version();
        let (composed, diff, is_own) = within(work, &tools.workspaces, move |workspaces, stop| {
            composed(workspaces, &rules, &input, stop)
        })
        .await?;
        let grounds = Grounds {
            base: composed.base.to_smolstr(),
            policy_version: policy.to_smolstr(),
            settings_version: settings[..32].to_smolstr(),
        };
        Ok(Plan { composed, diff, grounds, ground, is_own })
    };
    work.step(step, &work.job.input, decide).await
}

/// The task whose result is the ground of the change, with the hash of that result.
async fn ground(work: &Work, asked: &Schedule) -> Result<Option<Ground>, Failure> {
    let Some(key) = &asked.ground else { return Ok(None) };
    let task = work.task(key).await?;
    if task.state != TaskState::Completed {
        let message = format!("the task `{key}`, the ground of the change, is not completed");
        return Err(Failure::permanent("ground-not-completed", message)
            .hint("name a completed task, or leave the ground out"));
    }
    let found = json!([task.skill, task.result, task.artifacts]);
    Ok(Some(Ground { task: key.clone(), result: Hash::of(canonical(&found).as_bytes()) }))
}

/// The change as objects, its diff, and whether all of its files are the agents' own.
fn composed(
    workspaces: &Workspaces,
    rules: &CodeWrite,
    input: &Schedule,
    stop: Stop<'_>,
) -> Result<(Composed, String, bool), Error> {
    let invalid = |what: &str, why: String| Err(Error::Invalid { what: what.to_owned(), why });
    if !(1..=FILES_MAX).contains(&input.files.len()) {
        return invalid("the change", format!("1 to {FILES_MAX} files are allowed"));
    }
    let repository = workspaces.repository(Path::new(&input.repo), Access::Write, stop)?;
    let base = repository.tip(&input.target, stop)?;
    if let Some(target) = repository.branch(&input.target, stop)? {
        repository.check_tree(&target, stop)?;
    }
    let mut files = Vec::new();
    for FileChange { path, text } in &input.files {
        let path = WorkspacePath::parse(path)?;
        rules.check(&path, text.as_ref().map_or(0, String::len))?;
        if files.iter().any(|known: &NewFile| known.path == path) {
            return invalid("the change", format!("`{path}` is named twice"));
        }
        files.push(NewFile { path, content: text.clone().map(String::into_bytes) });
    }
    let is_own = rules.owns(files.iter().map(|file| &file.path));
    let composed = repository.compose(&base, &files, stop)?;
    let diff = repository.diff(&base, Some(&composed.tree), None, stop)?.patch;
    if diff.is_empty() {
        return invalid("the change", "the target has these files already".to_owned());
    }
    match String::from_utf8(diff) {
        Ok(diff) if diff.len() <= DIFF_BYTES_MAX => Ok((composed, diff, is_own)),
        Ok(_) => {
            Err(Error::TooLarge { what: "the diff".to_owned(), limit: format!("{DIFF_BYTES_MAX} bytes") })
        }
        Err(_) => invalid("the change", "the diff is no text".to_owned()),
    }
}
