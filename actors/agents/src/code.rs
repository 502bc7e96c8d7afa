//! `code`: makes the tests of a repository pass, and of the parts of a project a project. Skills `repair`, `assemble`.
//!
//! ```text
//! tests ─→ all pass? ─→ the guard: no new finding of high severity ─→ done
//!   ▲         │ no
//!   │         ▼
//!   └── the guard ◀── edits ◀── a model: exact texts to replace, in files that are no tests
//! ```
//!
//! The repository is never written: the agent works on a copy, in the sandbox, and leaves a patch. An edit counts only
//! when its old text stands exactly once in its file; edits that leave more tests failing than before are rolled back.
//! Tests and what decides how tests run cannot be edited, and what passed at the beginning must pass at the end.

mod assemble;
pub(crate) mod edits;
pub(crate) mod guard;
mod rounds;
mod shown;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use actors_models::Models;
use actors_worker::{Agent, Done, Failure, Reconciled, Work};
use bus_schemas::commands::agent::AgentCard;
use bus_schemas::jobs::PastEffect;
use bytes::Bytes;
use futures::future::BoxFuture;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use self::guard::{Guard, Judged};
use self::rounds::{Begin, Ended, Round};
pub(crate) use self::rounds::{PROMPT, ROUNDS};
use crate::card::{card, typed, unknown_skill};
use crate::failure::input;
use crate::manifest::{self, Used};
use crate::orchestrator::BuildInput;
use crate::sandbox::{Limits, Sandboxes};
use crate::tester::{self, Results};
use crate::workspaces::Workspaces;

const NAME: &str = "code";
/// The artifacts.
const PATCH: &str = "repair.patch";
const REPORT: &str = "repair.json";

/// Repairs code.
pub struct Code {
    models: Arc<Models>,
    sandboxes: Arc<Sandboxes>,
    workspaces: Arc<Workspaces>,
}

impl Code {
    /// An agent that asks these models, runs tests in these sandboxes, and writes projects into these workspaces.
    pub fn new(models: Arc<Models>, sandboxes: Arc<Sandboxes>, workspaces: Arc<Workspaces>) -> Self {
        Self { models, sandboxes, workspaces }
    }
}

impl Agent for Code {
    fn card(&self) -> AgentCard {
        let skills = vec![
            typed::<Input, Repaired>(
                "repair",
                "Repair",
                "makes the tests of a repository pass, in bounded rounds; leaves a patch and writes nothing; needs a model",
                &["code", "repair", "tests", "patch", "sandbox", "model"],
            ),
            typed::<Option<BuildInput>, assemble::Built>(
                "assemble",
                "Assemble",
                "makes a project of a specification and its parts, and repairs it in bounded rounds; needs a model where tests fail",
                &["code", "project", "tests", "sandbox", "model"],
            ),
        ];
        card(NAME, "repairs code until its tests pass", skills)
    }

    fn reconcile(&self, _: Work, effect: PastEffect) -> BoxFuture<'static, Result<Reconciled, Failure>> {
        Box::pin(async move {
            match effect.effect.as_str() {
                // A file that holds its content already is not written again, and no other is written over.
                assemble::WRITE => Ok(Reconciled::NotDone),
                other => Ok(Reconciled::Unknown(format!("the agent has no effect `{other}`"))),
            }
        })
    }

    fn run(&self, work: Work) -> BoxFuture<'static, Result<Done, Failure>> {
        let (models, sandboxes) = (Arc::clone(&self.models), Arc::clone(&self.sandboxes));
        let workspaces = Arc::clone(&self.workspaces);
        Box::pin(async move {
            match work.job.skill.as_str() {
                "repair" => repair(&work, &models, &sandboxes).await,
                "assemble" => assemble::assemble(&work, &models, &sandboxes, &workspaces).await,
                other => Err(unknown_skill(NAME, other)),
            }
        })
    }
}

/// The repository, and what a job may ask for beside it.
#[derive(Debug, Deserialize, JsonSchema)]
struct Input {
    /// The absolute path of the repository's top folder.
    #[allow(dead_code, reason = "the schema of an input; the path is read with that of every other skill")]
    repo: PathBuf,
    /// The tests that must pass at the end, by name.
    #[serde(default)]
    expect: BTreeSet<String>,
    /// The most rounds of edits.
    #[serde(default = "default_rounds")]
    #[schemars(range(min = 1, max = 10))]
    rounds: u32,
    /// The most seconds of a program.
    #[serde(default)]
    #[schemars(range(min = 1, max = 300))]
    step_seconds: Option<u64>,
}

fn default_rounds() -> u32 {
    ROUNDS
}

/// What a repair came to.
#[derive(Debug, Serialize, JsonSchema)]
struct Repaired {
    /// `repaired`, `not-repaired` or `nothing-to-repair`.
    verdict: &'static str,
    /// Rounds of edits.
    rounds: usize,
    /// The last run of the tests.
    tests: Value,
    /// Findings below high severity that the edits bring along.
    new_findings: usize,
    /// What tests import and the image does not have.
    #[serde(rename = "dependency-not-in-image", skip_serializing_if = "Vec::is_empty")]
    missing: Vec<String>,
}

async fn repair(work: &Work, models: &Models, sandboxes: &Sandboxes) -> Result<Done, Failure> {
    let Input { expect: expected, rounds, step_seconds, .. } = input(&work.job)?;
    let limit = tester::step_limit(step_seconds)?;
    let _place = sandboxes.enter(work).await?;
    let (original, runners) = tester::sources(work).await?;
    let guard = Guard { work, sandboxes, original: &original, limit };
    let files = original.clone();
    let begin = Begin { guard, files, runners, expected, rounds, is_fixed: edits::is_fixed };
    report(models, rounds::run(begin, models).await?).await
}

/// What the artifact says.
#[derive(Serialize)]
struct Report<'a> {
    verdict: &'static str,
    /// The tests that failed at the beginning.
    failing_before: &'a [String],
    rounds: &'a [Round],
    tests: &'a Results,
    #[serde(flatten)]
    judged: &'a Judged,
}

async fn report(models: &Models, ended: Ended<'_>) -> Result<Done, Failure> {
    let Ended { guard, failing_before, best, rounds } = &ended;
    let work = guard.work;
    let verdict = match (best.is_good(), rounds.is_empty()) {
        (true, true) => "nothing-to-repair",
        (true, false) => "repaired",
        (false, _) => "not-repaired",
    };
    let whole = Report { verdict, failing_before, rounds, tests: &best.tests, judged: &best.judged };
    let mut artifacts = vec![tester::report(work, REPORT, &whole).await?];
    // A patch that leaves tests failing is in the report only: nobody should apply it by mistake.
    if verdict == "repaired" {
        let patch = edits::patch(guard.original, &best.files);
        artifacts.push(work.put_artifact(PATCH, "text/x-diff; charset=utf-8", Bytes::from(patch)).await?);
    }
    let used = Used {
        limits: Limits::of(guard.limit),
        prompts: rounds.iter().flat_map(|round| round.prompts.clone()).collect(),
        models: rounds.iter().filter_map(Round::answered).collect(),
        outputs: &artifacts,
    };
    let manifest = manifest::leave(work, models, guard.sandboxes, guard.original, used).await?;
    artifacts.push(manifest);
    let result = Repaired {
        verdict,
        rounds: rounds.len(),
        tests: best.tests.summary(),
        new_findings: best.judged.new_findings_count,
        missing: best.tests.analysis.missing_dependencies.clone(),
    };
    Ok(Done::with(artifacts, json!(result)))
}
