//! `code`: makes the tests of a repository pass. Skill `repair`.
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

mod edits;
mod guard;
mod shown;

use std::collections::BTreeSet;
use std::sync::Arc;

use actors_models::{Message, Models, Offer, Prompt, PromptRef, Question, Schema};
use actors_sandbox::Files;
use actors_worker::{Agent, Done, Failure, Work};
use bus_schemas::commands::agent::AgentCard;
use bytes::Bytes;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::json;

use self::edits::Edit;
use self::guard::{Guard, Judged};
use crate::card::{card, skill, unknown_skill};
use crate::checks::code::DEPENDENCY_NOT_IN_IMAGE;
use crate::checks::secrets;
use crate::manifest::{self, ModelUsed, Used};
use crate::sandbox::{Limits, Sandboxes};
use crate::tester::{self, Outcome, Results, Runner};

const NAME: &str = "code";
/// The artifacts.
const PATCH: &str = "repair.patch";
const REPORT: &str = "repair.json";
/// Rounds of edits when the job asks for no other number, and the most.
const ROUNDS: u32 = 3;
const ROUNDS_MAX: u32 = 10;
/// The most failing tests that a model is shown.
const SHOWN_FAILURES_MAX: usize = 20;

pub(crate) const PROMPT: Prompt =
    Prompt { name: "repair", version: 1, template: include_str!("prompts/repair.v1.j2") };

/// Repairs code.
pub struct Code {
    models: Arc<Models>,
    sandboxes: Arc<Sandboxes>,
}

impl Code {
    /// An agent that asks these models and runs tests in these sandboxes.
    pub fn new(models: Arc<Models>, sandboxes: Arc<Sandboxes>) -> Self {
        Self { models, sandboxes }
    }
}

impl Agent for Code {
    fn card(&self) -> AgentCard {
        let skills = vec![skill(
            "repair",
            "Repair",
            "makes the tests of a repository pass, in bounded rounds; leaves a patch and writes nothing; needs a model",
            &["code", "repair", "tests", "patch", "sandbox", "model"],
        )];
        card(NAME, "repairs code until its tests pass", skills)
    }

    fn run(&self, work: Work) -> BoxFuture<'static, Result<Done, Failure>> {
        let (models, sandboxes) = (Arc::clone(&self.models), Arc::clone(&self.sandboxes));
        Box::pin(async move {
            match work.job.skill.as_str() {
                "repair" => repair(&work, &models, &sandboxes).await,
                other => Err(unknown_skill(NAME, other)),
            }
        })
    }
}

/// What a job may ask for beside the repository.
#[derive(Debug, Deserialize)]
struct Input {
    /// The tests that must pass at the end, by name.
    #[serde(default)]
    expect: BTreeSet<String>,
    /// The most rounds of edits.
    #[serde(default = "default_rounds")]
    rounds: u32,
    /// The most seconds of a program.
    #[serde(default)]
    step_seconds: Option<u64>,
}

fn default_rounds() -> u32 {
    ROUNDS
}

/// What became of a round.
#[derive(Debug, Serialize)]
struct Round {
    edits: Vec<Edit>,
    /// Why the edits do not count: a code to count by, and a sentence; empty if they do.
    refused: String,
    provider: String,
    model: String,
    prompts: Vec<PromptRef>,
}

impl Round {
    fn without_edits(refused: String) -> Self {
        let (edits, prompts) = (Vec::new(), Vec::new());
        Self { edits, refused, provider: String::new(), model: String::new(), prompts }
    }
}

/// The best files so far, with their tests and, where these pass, their checks.
struct Best {
    files: Files,
    tests: Results,
    judged: Judged,
}

async fn repair(work: &Work, models: &Models, sandboxes: &Sandboxes) -> Result<Done, Failure> {
    let input = Input::deserialize(&work.job.input)
        .map_err(|error| tester::invalid(&format!("the input of `repair` is wrong: {error}")))?;
    if !(1..=ROUNDS_MAX).contains(&input.rounds) {
        return Err(tester::invalid(&format!("`rounds` is 1 to {ROUNDS_MAX}, not {}", input.rounds)));
    }
    let limit = tester::step_limit(input.step_seconds)?;
    let _place = sandboxes.enter(work).await?;
    let (original, runners) = tester::sources(work).await?;
    let mut expected = input.expect;
    let tests = tester::once_each(work, sandboxes, "tests/0", &original, &runners, &expected, limit).await?;
    let failing: Vec<String> = tests.failing_names().map(str::to_owned).collect();
    // What passes now must run and pass at the end too: a test that is gone is no pass.
    expected.extend(tests.names(Outcome::Passed).map(str::to_owned));
    let mut best = Best { files: original.clone(), tests, judged: Judged::default() };
    let guard = Guard { work, sandboxes, original: &original, limit };
    let mut rounds = Vec::new();
    while best.tests.verdict != tester::PASSED && rounds.len() < input.rounds as usize {
        let number = rounds.len() + 1;
        let (instructions, prompt) = models.prompt(work, &PROMPT, &json!({})).await?;
        let mut question = question(&work.job.goal, &best.files, &best.tests, rounds.last());
        question.messages.insert(0, Message::system(instructions));
        question.prompts.push(prompt);
        let answer = match models.offer(work, &format!("repair/{number}"), &question).await? {
            Offer::Answer(answer) => answer,
            // A round without edits: the next one may have some.
            Offer::Unusable { unusable, message } => {
                work.output(&format!("round {number}: no edits: {message}\n")).await;
                rounds.push(Round::without_edits(format!("{unusable}: {message}")));
                continue;
            }
        };
        let edits = edits::read(&answer.value)?;
        work.output(&format!("round {number}: {} edits by {}\n", edits.len(), answer.model)).await;
        let refused = match edits::applied(&best.files, &edits) {
            Err(reason) => reason,
            Ok(edited) => tried(&guard, number, edited, &runners, &expected, &mut best).await?,
        };
        let (provider, model, prompts) = (answer.provider, answer.model, answer.prompts);
        rounds.push(Round { edits, refused, provider, model, prompts });
    }
    report(models, &guard, &failing, &best, &rounds).await
}

/// Tries edited files, and keeps them if they are better. Otherwise says why they do not count.
async fn tried(
    guard: &Guard<'_>,
    number: usize,
    edited: Files,
    runners: &[Runner],
    expected: &BTreeSet<String>,
    best: &mut Best,
) -> Result<String, Failure> {
    if let Some(reason) = guard.refusal(number, &edited).await? {
        return Ok(reason);
    }
    let (work, sandboxes, step) = (guard.work, guard.sandboxes, format!("tests/{number}"));
    let tests = tester::once_each(work, sandboxes, &step, &edited, runners, expected, guard.limit).await?;
    let judged = if tests.verdict == tester::PASSED {
        match guard.judged(number, &edited).await? {
            Err(reason) => return Ok(reason),
            Ok(judged) => judged,
        }
    } else if tests.failures() < best.tests.failures() {
        Judged::default()
    } else {
        let (before, after) = (best.tests.failures(), tests.failures());
        return Ok(format!(
            "no-better: rolled back: {before} tests failed before these edits, and {after} after"
        ));
    };
    *best = Best { files: edited, tests, judged };
    Ok(String::new())
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

async fn report(
    models: &Models,
    guard: &Guard<'_>,
    failing_before: &[String],
    best: &Best,
    rounds: &[Round],
) -> Result<Done, Failure> {
    let work = guard.work;
    let verdict = match (best.tests.verdict == tester::PASSED, rounds.is_empty()) {
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
        models: rounds.iter().filter(|round| !round.provider.is_empty()).map(answered).collect(),
        outputs: &artifacts,
    };
    let manifest = manifest::leave(work, models, guard.sandboxes, guard.original, used).await?;
    artifacts.push(manifest);
    let mut result = json!({"verdict": verdict, "rounds": rounds.len(), "tests": best.tests.summary()});
    result["new_findings"] = best.judged.new_findings_count.into();
    let missing = &best.tests.analysis.missing_dependencies;
    if !missing.is_empty() {
        result[DEPENDENCY_NOT_IN_IMAGE] = json!(missing);
    }
    Ok(Done::with(artifacts, result))
}

fn answered(round: &Round) -> ModelUsed {
    ModelUsed { provider: round.provider.clone(), model: round.model.clone() }
}

/// What a model is asked after its instructions: the failing tests, and files of the repository, each on a line of its
/// own.
fn question(goal: &str, files: &Files, found: &Results, former: Option<&Round>) -> Question {
    let analysis = found.analysis.clone().cut(SHOWN_FAILURES_MAX);
    let mut lines = vec![json!({"goal": goal}), json!({"absent": found.absent}), json!(analysis)];
    if let Some(Round { edits, refused, .. }) = former {
        let what = if refused.is_empty() { "these edits were kept, and tests still fail" } else { refused };
        lines.push(json!({"former_edits": edits, "result": what}));
    }
    lines.iter_mut().for_each(secrets::hide);
    lines.extend(shown::files(files, &json!(analysis.failing).to_string()));
    let material: Vec<String> = lines.iter().map(ToString::to_string).collect();
    Question {
        messages: vec![Message::user(material.join("\n"))],
        schema: Schema { name: "edits".into(), schema: edits::schema() },
        prompts: Vec::new(),
    }
}
