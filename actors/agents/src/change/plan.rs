//! What a change will be, and a person's approval of it.

use std::path::PathBuf;

use actors_sandbox::Kind;
use actors_worker::{Failure, Work, canonical};
use actors_workspace::{Access, Composed, Error, NewFile, WorkspacePath, WriteSet};
use bus_schemas::commands::approval::{BaseCheck, Call, Grounds, Request, Use};
use bus_schemas::{Hash, text};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use smol_str::ToSmolStr;

use super::{NAME, Tools};
use crate::sandbox::failed;
use crate::workspaces::within;

/// The version of the rules that are written here; raised with them.
const RULES: u32 = 1;
/// The most files of a change, and the most bytes of its diff: a person reads all of it.
const FILES_MAX: usize = 32;
const DIFF_BYTES_MAX: usize = 64 * 1024;
/// The bytes of the goal that a person is shown beside the calls.
const HINT_BYTES_MAX: usize = 4_000;
/// How long an approval can be used: a worker begins within seconds, and an installation may be down for a while.
const USE_WITHIN_MS: u64 = 3_600_000;

/// Which files of repositories may be changed, and who approves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeWrite {
    allowed: WriteSet,
    /// `None` forbids nothing beside what no path may name.
    forbidden: Option<WriteSet>,
    file_bytes_max: u64,
    approvers: Vec<String>,
    answer_within_ms: u64,
}

impl CodeWrite {
    /// Allows changes, to the files and folders in `allowed` (all if it is empty) that are not in `forbidden`.
    pub fn new(allowed: &[String], forbidden: &[String], file_bytes_max: u64) -> Result<Self, Error> {
        let forbidden = if forbidden.is_empty() { None } else { Some(WriteSet::parse(forbidden)?) };
        let (allowed, approvers) = (WriteSet::parse(allowed)?, Vec::new());
        Ok(Self { allowed, forbidden, file_bytes_max, approvers, answer_within_ms: 86_400_000 })
    }

    /// Lets only these callers approve, within a time.
    #[must_use]
    pub fn answered_by(self, approvers: Vec<String>, within_ms: u64) -> Self {
        Self { approvers, answer_within_ms: within_ms, ..self }
    }

    fn policy_version(&self) -> String {
        let Self { allowed, forbidden, file_bytes_max, .. } = self;
        hashed(&json!([RULES, allowed, forbidden, file_bytes_max]))
    }

    fn check(&self, path: &WorkspacePath, bytes: usize) -> Result<(), Error> {
        let is_forbidden = self.forbidden.as_ref().is_some_and(|forbidden| forbidden.has(path));
        if is_forbidden || !self.allowed.has(path) {
            return Err(Error::PathRefused {
                path: path.to_string(),
                why: "the settings `code_write` forbid it",
            });
        }
        if bytes as u64 > self.file_bytes_max {
            let limit = format!("{} bytes, the setting `code_write.file_bytes_max`", self.file_bytes_max);
            return Err(Error::TooLarge { what: format!("the content for `{path}`"), limit });
        }
        Ok(())
    }
}

/// A change to make.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangeInput {
    /// The absolute path of the repository's top folder.
    pub(super) repo: PathBuf,
    /// The branch that is to have the change.
    pub(super) target: String,
    /// The files with their whole new content.
    #[schemars(length(min = 1, max = 32))]
    files: Vec<FileInput>,
    /// The message of the commit.
    #[schemars(length(min = 1, max = 16_000))]
    pub(super) message: String,
    /// Tests that must run and pass, by name; beside them all that there are.
    #[serde(default)]
    pub(super) expect: std::collections::BTreeSet<String>,
    /// Whether to stop after the tests: no approval is asked for, and nothing is merged.
    #[serde(default)]
    pub(super) dry_run: bool,
    /// Whether the approval is for the very commit of the target, instead of the files that are touched.
    #[serde(default)]
    pub(super) full_base: bool,
    /// The task whose result is the ground of the change, for the person who approves.
    #[serde(default)]
    ground: Option<String>,
}

/// A file with its new content.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct FileInput {
    /// The path.
    path: String,
    /// The whole content.
    text: String,
}

/// What a change is on top of what the target is now.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Plan {
    pub(super) composed: Composed,
    pub(super) diff: String,
    grounds: Grounds,
}

/// The plan that a person approved, as it is now; for a trial the plan itself.
pub(super) async fn approved(work: &Work, tools: &Tools, asked: &ChangeInput) -> Result<Plan, Failure> {
    let plan = planned(work, tools, asked, "plan").await?;
    if asked.dry_run {
        return Ok(plan);
    }
    let approval = work.job.task.key.clone();
    // Decided once: a restart may have brought other approvers.
    let decide = || async {
        Ok(Request {
            hint: Some(text::cut(&text::prose(&work.job.goal), HINT_BYTES_MAX)),
            tools: vec![call(work, asked, &plan)],
            grounds: plan.grounds.clone(),
            base_check: if asked.full_base { BaseCheck::FullBase } else { BaseCheck::TouchedFiles },
            task: approval.clone(),
            approvers: tools.rules.approvers.iter().map(ToSmolStr::to_smolstr).collect(),
            answer_within_ms: tools.rules.answer_within_ms,
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
    Ok(now)
}

/// The call that a person approves. Everything in it is made from the bytes, except `goal`, which is nobody's promise.
fn call(work: &Work, asked: &ChangeInput, plan: &Plan) -> Call {
    let args = json!({
        "repo": asked.repo,
        "target": asked.target,
        "message": asked.message,
        "files": plan.composed.files,
        "diff": plan.diff,
        "tests": asked.expect,
        "goal": work.job.goal,
        "ground": asked.ground,
    });
    Call { call_id: work.job.task.key.to_smolstr(), name: NAME.to_smolstr(), args }
}

async fn planned(work: &Work, tools: &Tools, asked: &ChangeInput, step: &str) -> Result<Plan, Failure> {
    let (rules, input) = (tools.rules.clone(), asked.clone());
    let decide = || async {
        // Waits for the keeper, which knows the images.
        tools.sandboxes.serves(Kind::Python).await?;
        let images = tools.sandboxes.images().await?;
        if images.is_empty() {
            return Err(failed(&actors_sandbox::Error::KeeperLost));
        }
        let grounds = |base: &str| Grounds {
            base: base.to_smolstr(),
            policy_version: tools.rules.policy_version().to_smolstr(),
            // What the tests run in: other images are other settings.
            settings_version: hashed(&images.iter().map(|image| image.manifest.as_str()).collect())
                .to_smolstr(),
        };
        let (composed, diff): (Composed, String) =
            within(work, &tools.workspaces, move |workspaces, stop| {
                let invalid = |what: &str, why: String| Err(Error::Invalid { what: what.to_owned(), why });
                if !(1..=FILES_MAX).contains(&input.files.len()) {
                    return invalid("the change", format!("1 to {FILES_MAX} files are allowed"));
                }
                let repository = workspaces.repository(&input.repo, Access::Write, stop)?;
                let base = repository.tip(&input.target, stop)?;
                if let Some(target) = repository.branch(&input.target, stop)? {
                    repository.check_tree(&target, stop)?;
                }
                let mut files = Vec::new();
                for FileInput { path, text } in input.files {
                    let path = WorkspacePath::parse(&path)?;
                    rules.check(&path, text.len())?;
                    if files.iter().any(|known: &NewFile| known.path == path) {
                        return invalid("the change", format!("`{path}` is named twice"));
                    }
                    files.push(NewFile { path, content: text.into_bytes() });
                }
                let composed = repository.compose(&base, &files, stop)?;
                let diff = repository.diff(&base, Some(&composed.tree), None, stop)?.patch;
                if diff.is_empty() {
                    return invalid("the change", "the target has these files already".to_owned());
                }
                match String::from_utf8(diff) {
                    Ok(diff) if diff.len() <= DIFF_BYTES_MAX => Ok((composed, diff)),
                    Ok(_) => Err(Error::TooLarge {
                        what: "the diff".to_owned(),
                        limit: format!("{DIFF_BYTES_MAX} bytes"),
                    }),
                    Err(_) => invalid("the change", "the diff is no text".to_owned()),
                }
            })
            .await?;
        let grounds = grounds(&composed.base);
        Ok(Plan { composed, diff, grounds })
    };
    work.step(step, &work.job.input, decide).await
}

fn hashed(value: &Value) -> String {
    Hash::of(canonical(value).as_bytes()).to_hex()[..32].to_owned()
}
