//! `code`: makes the tests of a repository pass. Skill `repair`.
//!
//! ```text
//! tests ─→ all pass? ─→ done
//!   ▲         │ no
//!   │         ▼
//!   └── edits ◀── a model: exact texts to replace, in files that are no tests
//! ```
//!
//! The repository is never written: the agent works on a copy, in the sandbox, and leaves a patch. An edit counts only
//! when its old text stands exactly once in its file; edits that leave more tests failing than before are rolled back.
//! Tests and what decides how tests run cannot be edited, and what passed at the beginning must pass at the end.

mod edits;

use std::collections::BTreeSet;
use std::sync::Arc;

use actors_models::{Message, Models, Prompt, PromptRef, Question, Schema};
use actors_sandbox::{Entry, Files};
use actors_worker::{Agent, Done, Failure, Work};
use bus_schemas::commands::agent::AgentCard;
use bytes::Bytes;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use self::edits::Edit;
use crate::card::{card, skill, unknown_skill};
use crate::sandbox::Sandboxes;
use crate::tester::{self, Outcome, Results};

const NAME: &str = "code";
/// The artifacts.
const PATCH: &str = "repair.patch";
const REPORT: &str = "repair.json";
/// Rounds of edits when the job asks for no other number, and the most.
const ROUNDS: u32 = 3;
const ROUNDS_MAX: u32 = 10;
/// The most failing tests that a model is shown.
const SHOWN_FAILURES_MAX: usize = 20;
/// The most bytes of files that a model is shown.
const SHOWN_BYTES_MAX: usize = 128 * 1024;

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
}

fn default_rounds() -> u32 {
    ROUNDS
}

/// What became of a round.
#[derive(Debug, Serialize)]
struct Round {
    edits: Vec<Edit>,
    /// Why the edits do not count; empty if they do.
    refused: String,
    provider: String,
    model: String,
}

async fn repair(work: &Work, models: &Models, sandboxes: &Sandboxes) -> Result<Done, Failure> {
    let input = Input::deserialize(&work.job.input)
        .map_err(|error| tester::invalid(&format!("the input of `repair` is wrong: {error}")))?;
    if !(1..=ROUNDS_MAX).contains(&input.rounds) {
        return Err(tester::invalid(&format!("`rounds` is 1 to {ROUNDS_MAX}, not {}", input.rounds)));
    }
    let (original, runners) = tester::sources(work).await?;
    let mut expected = input.expect;
    let mut best = tester::results(work, sandboxes, "tests/0", &original, &runners, &expected).await?;
    // What passes now must run and pass at the end too: a test that is gone is no pass.
    expected.extend(best.names(Outcome::Passed).map(str::to_owned));
    let (mut files, mut rounds) = (original.clone(), Vec::new());
    while best.verdict != tester::PASSED && rounds.len() < input.rounds as usize {
        let number = rounds.len() + 1;
        let prompt = models.prompt(work, &PROMPT, &json!({})).await?;
        let question = question(&work.job.goal, &files, &best, rounds.last(), prompt);
        let answer = models.ask(work, &format!("repair/{number}"), &question).await?;
        let edits = edits::read(&answer.value)?;
        work.output(&format!("round {number}: {} edits by {}\n", edits.len(), answer.model)).await;
        let refused = match edits::applied(&files, &edits) {
            Err(reason) => reason,
            Ok(edited) => {
                let step = format!("tests/{number}");
                let found = tester::results(work, sandboxes, &step, &edited, &runners, &expected).await?;
                if found.verdict == tester::PASSED || found.failures() < best.failures() {
                    (files, best) = (edited, found);
                    String::new()
                } else {
                    let failures = (best.failures(), found.failures());
                    format!(
                        "rolled back: {} tests failed before these edits, and {} after",
                        failures.0, failures.1
                    )
                }
            }
        };
        rounds.push(Round { edits, refused, provider: answer.provider, model: answer.model });
    }
    report(work, &original, &files, &best, &rounds).await
}

async fn report(
    work: &Work,
    original: &Files,
    files: &Files,
    found: &Results,
    rounds: &[Round],
) -> Result<Done, Failure> {
    let verdict = match (found.verdict == tester::PASSED, rounds.is_empty()) {
        (true, true) => "nothing-to-repair",
        (true, false) => "repaired",
        (false, _) => "not-repaired",
    };
    let whole = json!({"verdict": verdict, "rounds": rounds, "tests": found});
    let bytes = serde_json::to_vec_pretty(&whole).expect("it is plain data");
    let mut artifacts = vec![work.put_artifact(REPORT, "application/json", Bytes::from(bytes)).await?];
    let patch = edits::patch(original, files);
    // A patch that leaves tests failing is in the report only: nobody should apply it by mistake.
    if verdict == "repaired" {
        artifacts.push(work.put_artifact(PATCH, "text/x-diff; charset=utf-8", Bytes::from(patch)).await?);
    }
    let result = json!({"verdict": verdict, "rounds": rounds.len(), "tests": found.summary()});
    Ok(Done::with(artifacts, result))
}

/// What a model is asked: the failing tests, and files of the repository, each on a line of its own.
fn question(
    goal: &str,
    files: &Files,
    found: &Results,
    former: Option<&Round>,
    (instructions, prompt): (String, PromptRef),
) -> Question {
    let failing: Vec<Value> = found.failing().take(SHOWN_FAILURES_MAX).collect();
    let mut lines = vec![json!({"goal": goal}), json!({"failing": failing, "absent": found.absent})];
    lines.extend(found.outputs().map(|(runner, output)| json!({"runner": runner, "output": output})));
    if let Some(Round { edits, refused, .. }) = former {
        let what = if refused.is_empty() { "these edits were kept, and tests still fail" } else { refused };
        lines.push(json!({"former_edits": edits, "result": what}));
    }
    let mut left = SHOWN_BYTES_MAX;
    for (path, text) in relevant(files, &failing) {
        if text.len() <= left {
            left -= text.len();
            lines.push(json!({"path": path, "read_only": edits::is_fixed(path), "text": text}));
        }
    }
    let material: Vec<String> = lines.iter().map(ToString::to_string).collect();
    Question {
        messages: vec![Message::system(instructions), Message::user(material.join("\n"))],
        schema: Schema { name: "edits".into(), schema: edits::schema() },
        prompts: vec![prompt],
    }
}

/// The texts among the files, those first that the failing tests speak of.
fn relevant<'a>(files: &'a Files, failing: &[Value]) -> Vec<(&'a str, &'a str)> {
    let said = Value::from(failing.to_vec()).to_string();
    let stem = |path: &str| {
        let name = path.rsplit('/').next().unwrap_or_default();
        name.split('.').next().unwrap_or_default().to_owned()
    };
    let mut texts: Vec<(&str, &str)> = files
        .iter()
        .filter_map(|(path, entry)| match entry {
            Entry::File { bytes, .. } => std::str::from_utf8(bytes).ok().map(|text| (path, text)),
            Entry::Link { .. } => None,
        })
        .collect();
    let tests: String =
        texts.iter().filter(|(path, _)| said.contains(&stem(path))).map(|(_, text)| *text).collect();
    let rank = |path: &str| match stem(path) {
        name if name.len() > 2 && said.contains(&name) => 0,
        name if name.len() > 2 && tests.contains(&name) => 1,
        _ => 2,
    };
    texts.sort_by_key(|(path, text)| (rank(path), text.len()));
    texts
}
