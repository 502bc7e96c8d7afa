//! `test`: runs a repository's own tests in the sandbox, and with skill `check` the whole pipeline: tests, lint, types
//! and more. Skills `test`, `check`.
//!
//! ```text
//! files of git ─→ runners that the project uses ─→ a container each ─→ JUnit ─→ cases
//!                                                    └ failures: once more in a new container ─→ failed or flaky
//! ```
//!
//! Passed, failed, skipped and absent are four things: a test that was asked for and did not run is absent, and so are
//! the tests of a project that has none. None of these counts as passed.

mod analysis;
mod junit;
pub(crate) mod pipeline;
mod runner;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use actors_report::Source;
use actors_sandbox::{Entry, Error, Files, Run};
use actors_worker::{Agent, Done, Failure, Work};
use bus_schemas::Hash;
use bus_schemas::commands::agent::AgentCard;
use bus_schemas::jobs::Artifact;
use bytes::Bytes;
use futures::future::{BoxFuture, try_join_all};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub(crate) use self::analysis::{Analysis, missing_dependency};
use self::junit::Case;
pub(crate) use self::junit::Outcome;
pub(crate) use self::runner::Runner;
use crate::card::{card, typed, unknown_skill};
use crate::checks::secrets;
use crate::failure::input;
use crate::repository;
use crate::sandbox::{Limits, Ran as Program, STEP_MAX, Sandboxes, ended, failed};
use crate::step::{Counts, look};

const NAME: &str = "test";
/// The verdict of tests that all ran and passed.
pub(crate) const PASSED: &str = "passed";
/// The artifact.
const RESULTS: &str = "tests.json";
/// The files of the repository, as one archive.
const SOURCES: &str = "sources.tar";
/// The most bytes of a repository's files: their archive is an artifact.
pub(crate) const SOURCE_BYTES_MAX: u64 = 60 * 1024 * 1024;
/// The most bytes that are read back from the workspace.
const READ_BACK_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Runs tests.
pub struct Tester {
    sandboxes: Arc<Sandboxes>,
}

impl Tester {
    /// A tester that runs everything in these sandboxes.
    pub fn new(sandboxes: Arc<Sandboxes>) -> Self {
        Self { sandboxes }
    }
}

impl Agent for Tester {
    fn card(&self) -> AgentCard {
        let skills = vec![
            typed::<Input, Counts>(
                "test",
                "Test",
                "runs the project's own tests in a container without network, with a result for each case",
                &["test", "pytest", "node", "junit", "sandbox"],
            ),
            typed::<Input, Counts>(
                "check",
                "Check",
                "runs the project's tests, linters, type checkers and security checks in containers without network; what cannot run is absent, never passed",
                &["check", "pipeline", "lint", "types", "security", "sandbox"],
            ),
        ];
        card(NAME, "runs the tests of a repository in the sandbox", skills)
    }

    fn run(&self, work: Work) -> BoxFuture<'static, Result<Done, Failure>> {
        let sandboxes = Arc::clone(&self.sandboxes);
        Box::pin(async move {
            match work.job.skill.as_str() {
                "test" => test(&work, &sandboxes).await,
                "check" => pipeline::check(&work, &sandboxes).await,
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
    /// The tests that must run, by name; one that does not is absent.
    #[serde(default)]
    #[schemars(length(max = 10_000))]
    expect: BTreeSet<String>,
    /// The most seconds of a program.
    #[serde(default)]
    #[schemars(range(min = 1, max = 300))]
    step_seconds: Option<u64>,
}

impl Input {
    fn of(work: &Work) -> Result<(BTreeSet<String>, Duration), Failure> {
        let Self { expect, step_seconds, .. } = input(&work.job)?;
        Ok((expect, step_limit(step_seconds)?))
    }
}

/// How long a program of a job may run.
pub(crate) fn step_limit(seconds: Option<u64>) -> Result<Duration, Failure> {
    let limit = seconds.map_or(STEP_MAX, Duration::from_secs);
    if limit.is_zero() || limit > STEP_MAX {
        return Err(invalid(&format!(
            "`step_seconds` is 1 to {}, not {}",
            STEP_MAX.as_secs(),
            limit.as_secs()
        )));
    }
    Ok(limit)
}

/// The results of one runner.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Ran {
    runner: Runner,
    /// How the program ended, in a word.
    ended: String,
    seconds: f64,
    /// The end of its output, where it left no results.
    output: String,
    cases: Vec<Case>,
}

async fn test(work: &Work, sandboxes: &Sandboxes) -> Result<Done, Failure> {
    let (expected, limit) = Input::of(work)?;
    let _place = sandboxes.enter(work).await?;
    let (files, runners) = sources(work).await?;
    let found = results(work, sandboxes, "tests", &files, &runners, &expected, limit).await?;
    let artifact = report(work, RESULTS, &found).await?;
    Ok(Done::with(vec![artifact], found.summary()))
}

/// Stores a report, in which the kind of each secret stands in the secret's place.
pub(crate) async fn report(work: &Work, name: &str, report: &impl Serialize) -> Result<Artifact, Failure> {
    let mut whole = serde_json::to_value(report).expect("it is plain data");
    secrets::hide(&mut whole);
    let bytes = serde_json::to_vec_pretty(&whole).expect("it is plain data");
    work.put_artifact(name, "application/json", Bytes::from(bytes)).await
}

/// Runs the tests of files, as a step of the job: a later attempt gets the recorded results.
pub(crate) async fn results(
    work: &Work,
    sandboxes: &Sandboxes,
    step: &str,
    files: &Files,
    runners: &[Runner],
    expected: &BTreeSet<String>,
    limit: Duration,
) -> Result<Results, Failure> {
    let digest = digest(files);
    let input = json!({"files": digest, "runners": runners});
    let ran = work.step(step, &input, || all(work, sandboxes, files, runners, limit)).await?;
    Ok(Results::of(ran, expected, digest, limit))
}

/// As [`results`], with one run of each runner. Who goes on by the number of failures need not know which are flaky.
pub(crate) async fn once_each(
    work: &Work,
    sandboxes: &Sandboxes,
    step: &str,
    files: &Files,
    runners: &[Runner],
    expected: &BTreeSet<String>,
    limit: Duration,
) -> Result<Results, Failure> {
    let digest = digest(files);
    let input = json!({"files": digest, "runners": runners});
    let each = || try_join_all(runners.iter().map(|runner| once(work, sandboxes, files, *runner, limit)));
    let ran = work.step(step, &input, each).await?;
    Ok(Results::of(ran, expected, digest, limit))
}

/// The files of the repository as they were when the job first read them, and the runners that it uses.
pub(crate) async fn sources(work: &Work) -> Result<(Files, Vec<Runner>), Failure> {
    let repo = repository::required(&work.job)?;
    let mut read = None;
    let read_them = async || {
        let sources = look(work, move |watch| actors_report::sources(&repo, SOURCE_BYTES_MAX, watch)).await?;
        let files = files_of(sources).map_err(|error| failed(&error))?;
        let archive = files.to_archive(0).expect("it is written to memory");
        read = Some(files);
        work.put_artifact(SOURCES, "application/x-tar", Bytes::from(archive)).await
    };
    let archive: Artifact =
        work.step("sources", &json!({"repo": work.job.input.get("repo")}), read_them).await?;
    let files = match read {
        Some(files) => files,
        // A later attempt works on what the first one saw.
        None => Files::from_archive(&*work.get_artifact(&archive).await?).map_err(|error| failed(&error))?,
    };
    let runners = runners_of(&files);
    Ok((files, runners))
}

/// The runners that a project with these files uses.
pub(crate) fn runners_of(files: &Files) -> Vec<Runner> {
    runner::used(files.iter().map(|(path, _)| path))
}

/// The files of a repository as they go into a workspace.
pub(crate) fn files_of(sources: Vec<Source>) -> Result<Files, Error> {
    let mut files = Files::new();
    for source in sources {
        let entry = Entry::File { bytes: source.bytes.into(), executable: source.is_executable };
        files.insert(&source.name, entry)?;
    }
    Ok(files)
}

/// Runs every runner, side by side; those with failures a second time.
async fn all(
    work: &Work,
    sandboxes: &Sandboxes,
    files: &Files,
    runners: &[Runner],
    limit: Duration,
) -> Result<Vec<Ran>, Failure> {
    let ran = runners.iter().map(|runner| async move {
        let mut first = once(work, sandboxes, files, *runner, limit).await?;
        if first.cases.iter().any(|case| case.outcome == Outcome::Failed) {
            work.output(&format!("{}: once more, because there are failures\n", runner.name())).await;
            let second = once(work, sandboxes, files, *runner, limit).await?;
            mark_flaky(&mut first.cases, &second.cases);
        }
        Ok(first)
    });
    try_join_all(ran).await
}

/// A case that failed and passed in a second run of the same files is flaky.
fn mark_flaky(first: &mut [Case], second: &[Case]) {
    let has_passed = |case: &&Case| case.outcome == Outcome::Passed;
    let passed: BTreeSet<&str> = second.iter().filter(has_passed).map(|case| case.name.as_str()).collect();
    for case in first.iter_mut().filter(|case| case.outcome == Outcome::Failed) {
        if passed.contains(case.name.as_str()) {
            case.outcome = Outcome::Flaky;
        }
    }
}

/// Runs one runner once, in a container of its own; in a second one where the project's options are not known here.
async fn once(
    work: &Work,
    sandboxes: &Sandboxes,
    files: &Files,
    runner: Runner,
    limit: Duration,
) -> Result<Ran, Failure> {
    let ran = one_run(work, sandboxes, files, runner, &[], limit).await?;
    let Some(without) = runner.without_options(&ran.ended) else { return Ok(ran) };
    let what = "once more without the project's own options, which need what the image does not have";
    work.output(&format!("{}: {what}\n", runner.name())).await;
    one_run(work, sandboxes, files, runner, without, limit).await
}

/// A run of one runner, with further arguments.
async fn one_run(
    work: &Work,
    sandboxes: &Sandboxes,
    files: &Files,
    runner: Runner,
    arguments: &'static [&'static str],
    limit: Duration,
) -> Result<Ran, Failure> {
    let run = Run::new(runner.kind(), runner.command().iter().chain(arguments).copied());
    let run = run.files(files.clone()).read_back(READ_BACK_BYTES_MAX).wall_clock(limit);
    let run = runner.variables().iter().fold(run, |run, (name, value)| run.variable(*name, *value));
    let Program { finished, tail, .. } = sandboxes.run(work, run, 0, true).await?;
    let ended = ended(finished.reason)?;
    let left = finished.workspace.transpose().map_err(|error| failed(&error))?;
    let report = left.as_ref().and_then(|left| left.files.get(runner::REPORT));
    let cases = match report {
        Some(Entry::File { bytes, .. }) => junit::cases(bytes, |file| files.get(file).is_some()),
        _ => Ok(Vec::new()),
    };
    let cases = cases.map_err(|reason| {
        let message = format!("the results of {} cannot be read: {reason}", runner.name());
        Failure::permanent("tests-unreadable", message)
    })?;
    let output = if cases.is_empty() { tail } else { String::new() };
    Ok(Ran { runner, ended, seconds: finished.elapsed.as_secs_f64(), output, cases })
}

/// The results of a job.
#[derive(Debug, Serialize)]
pub(crate) struct Results {
    /// [`PASSED`], `failed` or `absent`.
    pub(crate) verdict: &'static str,
    /// Cases by outcome.
    counts: BTreeMap<Outcome, usize>,
    /// Tests that must run, and did not.
    pub(crate) absent: Vec<String>,
    /// The hash of the files that were tested.
    files: Hash,
    pub(crate) analysis: Analysis,
    limits: Limits,
    runners: Vec<Ran>,
}

impl Results {
    fn of(runners: Vec<Ran>, expected: &BTreeSet<String>, files: Hash, limit: Duration) -> Self {
        let cases = || runners.iter().flat_map(|ran| &ran.cases);
        let names: BTreeSet<&str> = cases().map(|case| case.name.as_str()).collect();
        let absent: Vec<String> =
            expected.iter().filter(|name| !names.contains(name.as_str())).cloned().collect();
        // A runner that ended in any other way, or without a result, has not said everything.
        let is_whole = |ran: &Ran| match ran.cases.is_empty() {
            true => ran.runner.has_none(&ran.ended),
            false => ["exit 0", "exit 1"].contains(&ran.ended.as_str()),
        };
        let has_failed = cases().any(|case| matches!(case.outcome, Outcome::Failed | Outcome::Flaky));
        let is_broken = !runners.iter().all(is_whole);
        let verdict = if has_failed || is_broken {
            "failed"
        } else if !absent.is_empty() || !cases().any(|case| case.outcome == Outcome::Passed) {
            "absent"
        } else {
            PASSED
        };
        let (counts, analysis) = (analysis::counts(&runners), Analysis::of(&runners));
        Self { verdict, counts, absent, files, analysis, limits: Limits::of(limit), runners }
    }

    /// The names of the cases with an outcome.
    pub(crate) fn names(&self, outcome: Outcome) -> impl Iterator<Item = &str> {
        let cases = self.runners.iter().flat_map(|ran| &ran.cases);
        cases.filter(move |case| case.outcome == outcome).map(|case| case.name.as_str())
    }

    /// The names of the failing cases.
    pub(crate) fn failing_names(&self) -> impl Iterator<Item = &str> {
        self.names(Outcome::Failed).chain(self.names(Outcome::Flaky))
    }

    /// How far the tests are from passing: cases that fail, tests that did not run, and runners without results.
    pub(crate) fn failures(&self) -> usize {
        self.failing_names().count() + self.absent.len() + self.analysis.silent.len()
    }

    pub(crate) fn summary(&self) -> Value {
        let ended: BTreeMap<&str, &str> =
            self.runners.iter().map(|ran| (ran.runner.name(), ran.ended.as_str())).collect();
        json!({"verdict": self.verdict, "counts": self.counts, "absent": self.absent.len(), "runners": ended})
    }
}

/// The hash of files: of their paths and contents in order.
pub(crate) fn digest(files: &Files) -> Hash {
    let mut text = String::new();
    for (path, entry) in files.iter() {
        let content = match entry {
            Entry::File { bytes, executable } => format!("{} {executable}", Hash::of(bytes).to_hex()),
            Entry::Link { target } => format!("link {target}"),
        };
        text.push_str(&format!("{path}\0{content}\n"));
    }
    Hash::of(text.as_bytes())
}

fn invalid(message: &str) -> Failure {
    Failure::permanent("invalid-input", message)
        .hint("docs/agents/test.md and docs/agents/code.md have examples")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ran(ended: &str, cases: &[(&str, Outcome)]) -> Ran {
        let case = |(name, outcome): &(&str, Outcome)| Case {
            name: (*name).into(),
            outcome: *outcome,
            seconds: 0.0,
            message: String::new(),
            locations: Vec::new(),
        };
        let cases = cases.iter().map(case).collect();
        Ran { runner: Runner::Pytest, ended: ended.into(), seconds: 0.1, output: String::new(), cases }
    }

    fn verdict(runs: Vec<Ran>, expected: &[&str]) -> &'static str {
        let expected = expected.iter().map(ToString::to_string).collect();
        Results::of(runs, &expected, Hash::of(b""), STEP_MAX).verdict
    }

    #[test]
    fn a_case_that_passes_the_second_time_is_flaky() {
        use Outcome::{Failed, Flaky, Passed, Skipped};
        let mut first = ran("exit 1", &[("a", Failed), ("b", Failed), ("c", Passed), ("d", Failed)]).cases;
        let second = ran("exit 1", &[("a", Passed), ("b", Failed), ("c", Failed), ("d", Skipped)]).cases;
        mark_flaky(&mut first, &second);
        let outcomes: Vec<_> = first.iter().map(|case| case.outcome).collect();
        assert_eq!(outcomes, [Flaky, Failed, Passed, Failed]);
    }

    #[test]
    fn nothing_that_did_not_run_counts_as_passed() {
        use Outcome::{Failed, Flaky, Passed, Skipped};
        for (runs, expected, wanted) in [
            (vec![ran("exit 0", &[("a", Passed), ("b", Skipped)])], &[][..], "passed"),
            (vec![ran("exit 0", &[("a", Passed)])], &["a"], "passed"),
            (vec![ran("exit 0", &[("a", Passed)])], &["b"], "absent"),
            (vec![ran("exit 0", &[("b", Skipped)])], &[], "absent"),
            (vec![ran("exit 5", &[])], &[], "absent"),
            (vec![], &[], "absent"),
            (vec![ran("exit 1", &[("a", Passed), ("b", Failed)])], &[], "failed"),
            (vec![ran("exit 1", &[("a", Flaky)])], &[], "failed"),
            (vec![ran("exit 1", &[])], &[], "failed"),
            (vec![ran("exit 2", &[])], &[], "failed"),
            (vec![ran("exit 137", &[("a", Passed)])], &[], "failed"),
            (vec![ran("step-timeout", &[("a", Passed)])], &[], "failed"),
            (vec![ran("exit 0", &[("a", Passed)]), ran("out-of-memory", &[])], &[], "failed"),
        ] {
            assert_eq!(verdict(runs.clone(), expected), wanted, "{runs:?}");
        }
    }
}
