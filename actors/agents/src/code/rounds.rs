//! The rounds of a repair: test, let a model edit what fails, look at the edits, and test again, until everything
//! passes or the rounds are over. Where the files come from and where they go is not decided here.

use std::collections::BTreeSet;

use actors_models::{Message, Models, Offer, Prompt, PromptRef, Question, Schema};
use actors_sandbox::Files;
use actors_worker::Failure;
use serde::Serialize;
use serde_json::json;

use super::edits::{self, Edit};
use super::guard::{Guard, Judged};
use super::shown;
use crate::checks::secrets;
use crate::manifest::ModelUsed;
use crate::tester::{self, Outcome, Results, Runner};

/// Rounds of edits when the job asks for no other number; the schemas of the inputs have the most.
pub(crate) const ROUNDS: u32 = 3;
/// The most failing tests that a model is shown.
const SHOWN_FAILURES_MAX: usize = 20;

pub(crate) const PROMPT: Prompt =
    Prompt { name: "repair", version: 1, template: include_str!("../prompts/repair.v1.j2") };

/// What the rounds begin with.
pub(super) struct Begin<'a> {
    pub(super) guard: Guard<'a>,
    pub(super) files: Files,
    pub(super) runners: Vec<Runner>,
    /// The tests that must pass at the end, by name.
    pub(super) expected: BTreeSet<String>,
    /// The most rounds of edits.
    pub(super) rounds: u32,
    /// Whether a file cannot be edited.
    pub(super) is_fixed: fn(&str) -> bool,
}

/// What the rounds came to.
pub(super) struct Ended<'a> {
    pub(super) guard: Guard<'a>,
    /// The tests that failed at the beginning.
    pub(super) failing_before: Vec<String>,
    pub(super) best: Best,
    pub(super) rounds: Vec<Round>,
}

/// What became of a round.
#[derive(Debug, Serialize)]
pub(super) struct Round {
    edits: Vec<Edit>,
    /// Why the edits do not count: a code to count by, and a sentence; empty if they do.
    refused: String,
    provider: String,
    model: String,
    pub(super) prompts: Vec<PromptRef>,
}

impl Round {
    fn without_edits(refused: String) -> Self {
        let (edits, prompts) = (Vec::new(), Vec::new());
        Self { edits, refused, provider: String::new(), model: String::new(), prompts }
    }

    /// The model that answered.
    pub(super) fn answered(&self) -> Option<ModelUsed> {
        let (provider, model) = (self.provider.clone(), self.model.clone());
        (!provider.is_empty()).then_some(ModelUsed { provider, model })
    }
}

/// The best files so far, with their tests and, where these pass, their checks.
pub(super) struct Best {
    pub(super) files: Files,
    pub(super) tests: Results,
    pub(super) judged: Judged,
    /// Why files whose tests pass do not count; empty if they do.
    refused: String,
}

impl Best {
    /// Whether there is nothing left to mend.
    pub(super) fn is_good(&self) -> bool {
        self.tests.verdict == tester::PASSED && self.refused.is_empty()
    }
}

/// Tests the files, and lets a model edit them.
pub(super) async fn run<'a>(begin: Begin<'a>, models: &Models) -> Result<Ended<'a>, Failure> {
    let Begin { guard, files, runners, mut expected, rounds: rounds_max, is_fixed } = begin;
    let (work, sandboxes) = (guard.work, guard.sandboxes);
    let tests =
        tester::once_each(work, sandboxes, "tests/0", &files, &runners, &expected, guard.limit).await?;
    let failing_before: Vec<String> = tests.failing_names().map(str::to_owned).collect();
    // What passes now must run and pass at the end too: a test that is gone is no pass.
    expected.extend(tests.names(Outcome::Passed).map(str::to_owned));
    let (judged, refused) = match tests.verdict == tester::PASSED {
        true => guard
            .judged(0, &files)
            .await?
            .map_or_else(|why| (Judged::default(), why), |judged| (judged, String::new())),
        false => (Judged::default(), String::new()),
    };
    let mut best = Best { files, tests, judged, refused };
    let mut rounds: Vec<Round> = Vec::new();
    while !best.is_good() && rounds.len() < rounds_max as usize {
        let number = rounds.len() + 1;
        let (instructions, prompt) = models.prompt(work, &PROMPT, &json!({})).await?;
        let mut question = question(&work.job.goal, &best, rounds.last(), is_fixed);
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
        let refused = match edits::applied(&best.files, &edits, is_fixed) {
            Err(reason) => reason,
            Ok(edited) => tried(&guard, number, edited, &runners, &expected, &mut best).await?,
        };
        let (provider, model, prompts) = (answer.provider, answer.model, answer.prompts);
        rounds.push(Round { edits, refused, provider, model, prompts });
    }
    Ok(Ended { guard, failing_before, best, rounds })
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
    *best = Best { files: edited, tests, judged, refused: String::new() };
    Ok(String::new())
}

/// What a model is asked after its instructions: the failing tests, and files of the project, each on a line of its
/// own.
fn question(goal: &str, best: &Best, former: Option<&Round>, is_fixed: fn(&str) -> bool) -> Question {
    let analysis = best.tests.analysis.clone().cut(SHOWN_FAILURES_MAX);
    let mut lines = vec![json!({"goal": goal}), json!({"absent": best.tests.absent}), json!(analysis)];
    if !best.refused.is_empty() {
        lines.push(json!({"result": best.refused}));
    }
    if let Some(Round { edits, refused, .. }) = former {
        let what = if refused.is_empty() { "these edits were kept, and tests still fail" } else { refused };
        lines.push(json!({"former_edits": edits, "result": what}));
    }
    lines.iter_mut().for_each(secrets::hide);
    lines.extend(shown::files(&best.files, &json!(analysis.failing).to_string(), is_fixed));
    let material: Vec<String> = lines.iter().map(ToString::to_string).collect();
    Question {
        messages: vec![Message::user(material.join("\n"))],
        schema: Schema { name: "edits".into(), schema: edits::schema() },
        prompts: Vec::new(),
    }
}
