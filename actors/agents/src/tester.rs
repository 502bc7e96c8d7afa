//! `test`: runs a repository's own tests in the sandbox. Skill `test`.
//!
//! ```text
//! files of git ─→ runners that the project uses ─→ a container each ─→ JUnit ─→ cases
//!                                                    └ failures: once more in a new container ─→ failed or flaky
//! ```
//!
//! Passed, failed, skipped and absent are four things: a test that was asked for and did not run is absent, and so are
//! the tests of a project that has none. None of these counts as passed.

mod junit;
mod runner;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use actors_sandbox::{Entry, Error, Files, Finished, Reason, Run};
use actors_worker::{Agent, Done, Failure, Work};
use bus_schemas::commands::agent::AgentCard;
use bus_schemas::jobs::{Artifact, FailureClass};
use bus_schemas::{Hash, chain, text};
use bytes::Bytes;
use futures::future::{BoxFuture, try_join_all};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use self::junit::Case;
pub(crate) use self::junit::Outcome;
pub(crate) use self::runner::Runner;
use crate::card::{card, skill, unknown_skill};
use crate::repository;
use crate::sandbox::Sandboxes;
use crate::step::look;

const NAME: &str = "test";
/// The verdict of tests that all ran and passed.
pub(crate) const PASSED: &str = "passed";
/// The artifact.
const RESULTS: &str = "tests.json";
/// The files of the repository, as one archive.
const SOURCES: &str = "sources.tar";
/// The most bytes of a repository's files: their archive is an artifact.
const SOURCE_BYTES_MAX: u64 = 60 * 1024 * 1024;
/// The most bytes that are read back from the workspace.
const READ_BACK_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// The most names of tests that must run.
const EXPECTED_MAX: usize = 10_000;
/// The most bytes of output that are streamed; the end of it is kept in the results.
const STREAMED_BYTES_MAX: usize = 256 * 1024;
/// The bytes of output that are kept for a runner without results.
const TAIL_BYTES_MAX: usize = 4_096;

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
        let skills = vec![skill(
            "test",
            "Test",
            "runs the project's own tests in a container without network, with a result for each case",
            &["test", "pytest", "node", "junit", "sandbox"],
        )];
        card(NAME, "runs the tests of a repository in the sandbox", skills)
    }

    fn run(&self, work: Work) -> BoxFuture<'static, Result<Done, Failure>> {
        let sandboxes = Arc::clone(&self.sandboxes);
        Box::pin(async move {
            match work.job.skill.as_str() {
                "test" => test(&work, &sandboxes).await,
                other => Err(unknown_skill(NAME, other)),
            }
        })
    }
}

/// What a job may ask for beside the repository.
#[derive(Debug, Default, Deserialize)]
struct Input {
    /// The tests that must run, by name; one that does not is absent.
    #[serde(default)]
    expect: BTreeSet<String>,
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
    let expected = Input::deserialize(&work.job.input)
        .map_err(|error| invalid(&format!("the input of `test` is wrong: {error}")))?
        .expect;
    if expected.len() > EXPECTED_MAX {
        return Err(invalid(&format!(
            "`expect` has {} names, at most {EXPECTED_MAX} are taken",
            expected.len()
        )));
    }
    let (files, runners) = sources(work).await?;
    let found = results(work, sandboxes, "tests", &files, &runners, &expected).await?;
    let bytes = serde_json::to_vec_pretty(&found).expect("it is plain data");
    let artifact = work.put_artifact(RESULTS, "application/json", Bytes::from(bytes)).await?;
    Ok(Done::with(vec![artifact], found.summary()))
}

/// Runs the tests of files, as a step of the job: a later attempt gets the recorded results.
pub(crate) async fn results(
    work: &Work,
    sandboxes: &Sandboxes,
    step: &str,
    files: &Files,
    runners: &[Runner],
    expected: &BTreeSet<String>,
) -> Result<Results, Failure> {
    let digest = digest(files);
    let input = json!({"files": digest, "runners": runners});
    let ran = work.step(step, &input, || all(work, sandboxes, files, runners)).await?;
    Ok(Results::of(ran, expected, digest))
}

/// The files of the repository as they were when the job first read them, and the runners that it uses.
pub(crate) async fn sources(work: &Work) -> Result<(Files, Vec<Runner>), Failure> {
    let repo = repository::required(&work.job)?;
    let mut read = None;
    let read_them = async || {
        let sources = look(work, move |watch| actors_report::sources(&repo, SOURCE_BYTES_MAX, watch)).await?;
        let mut files = Files::new();
        for source in sources {
            let entry = Entry::File { bytes: source.bytes.into(), executable: source.is_executable };
            files.insert(&source.name, entry).map_err(|error| failed(&error))?;
        }
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
    let runners = runner::used(files.iter().map(|(path, _)| path));
    Ok((files, runners))
}

/// Runs every runner, side by side; those with failures a second time.
async fn all(
    work: &Work,
    sandboxes: &Sandboxes,
    files: &Files,
    runners: &[Runner],
) -> Result<Vec<Ran>, Failure> {
    let ran = runners.iter().map(|runner| async move {
        let mut first = once(work, sandboxes, files, *runner).await?;
        if first.cases.iter().any(|case| case.outcome == Outcome::Failed) {
            work.output(&format!("{}: once more, because there are failures\n", runner.name())).await;
            let second = once(work, sandboxes, files, *runner).await?;
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

/// Runs one runner once, in a container of its own.
async fn once(work: &Work, sandboxes: &Sandboxes, files: &Files, runner: Runner) -> Result<Ran, Failure> {
    let sandbox = sandboxes.get().await?;
    let run = runner.command().iter().copied();
    let run = Run::new(runner.kind(), run).files(files.clone()).read_back(READ_BACK_BYTES_MAX);
    let run = runner.variables().iter().fold(run, |run, (name, value)| run.variable(*name, *value));
    let mut running = sandbox.run(run).map_err(|error| failed(&error))?;
    let (canceled, mut streamed, mut tail) = (work.canceled(), 0, String::new());
    loop {
        let chunk = tokio::select! {
            biased;
            () = canceled.cancelled() => {
                running.cancel();
                // Nothing of the run is left when this returns.
                let _ = running.finish().await;
                return Err(Failure::canceled());
            }
            chunk = running.next() => chunk,
        };
        let Some(chunk) = chunk else { break };
        let said = text::prose(&String::from_utf8_lossy(&chunk.bytes));
        if streamed < STREAMED_BYTES_MAX {
            work.output(&said).await;
        }
        streamed += said.len();
        tail.push_str(&said);
        if tail.len() > 2 * TAIL_BYTES_MAX {
            tail.drain(..tail.ceil_char_boundary(tail.len() - TAIL_BYTES_MAX));
        }
    }
    let finished = running.finish().await.map_err(|error| failed(&error))?;
    ended(runner, finished, tail)
}

/// The results that a run left.
fn ended(runner: Runner, finished: Finished, output: String) -> Result<Ran, Failure> {
    let ended = match finished.reason {
        Reason::Exited(code) => format!("exit {code}"),
        Reason::TimedOut => "step-timeout".to_owned(),
        Reason::OutOfMemory => "out-of-memory".to_owned(),
        Reason::WorkspaceFull => "workspace-too-large".to_owned(),
        Reason::Canceled => return Err(Failure::canceled()),
    };
    let left = finished.workspace.transpose().map_err(|error| failed(&error))?;
    let report = left.as_ref().and_then(|left| left.files.get(runner::REPORT));
    let cases = match report {
        Some(Entry::File { bytes, .. }) => junit::cases(bytes),
        _ => Ok(Vec::new()),
    };
    let cases = cases.map_err(|reason| {
        Failure::permanent(
            "tests-unreadable",
            format!("the results of {} cannot be read: {reason}", runner.name()),
        )
    })?;
    let output = if cases.is_empty() { output } else { String::new() };
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
    runners: Vec<Ran>,
}

impl Results {
    fn of(runners: Vec<Ran>, expected: &BTreeSet<String>, files: Hash) -> Self {
        let cases = || runners.iter().flat_map(|ran| &ran.cases);
        let names: BTreeSet<&str> = cases().map(|case| case.name.as_str()).collect();
        let absent: Vec<String> =
            expected.iter().filter(|name| !names.contains(name.as_str())).cloned().collect();
        let mut counts = BTreeMap::new();
        for case in cases() {
            *counts.entry(case.outcome).or_default() += 1;
        }
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
        Self { verdict, counts, absent, files, runners }
    }

    /// The names of the cases with an outcome.
    pub(crate) fn names(&self, outcome: Outcome) -> impl Iterator<Item = &str> {
        let cases = self.runners.iter().flat_map(|ran| &ran.cases);
        cases.filter(move |case| case.outcome == outcome).map(|case| case.name.as_str())
    }

    /// How far the tests are from passing: cases that fail, tests that did not run, and runners without results.
    pub(crate) fn failures(&self) -> usize {
        let failing = self.names(Outcome::Failed).chain(self.names(Outcome::Flaky)).count();
        failing + self.absent.len() + self.outputs().count()
    }

    /// The failing cases, with their messages.
    pub(crate) fn failing(&self) -> impl Iterator<Item = Value> {
        let cases = self.runners.iter().flat_map(|ran| &ran.cases);
        let failing = cases.filter(|case| matches!(case.outcome, Outcome::Failed | Outcome::Flaky));
        failing.map(|case| json!({"test": case.name, "message": case.message}))
    }

    /// The ends of the outputs of runners that left no results.
    pub(crate) fn outputs(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let silent = self.runners.iter().filter(|ran| ran.cases.is_empty());
        silent.map(|ran| (ran.runner.name(), ran.output.as_str()))
    }

    pub(crate) fn summary(&self) -> Value {
        let ended: BTreeMap<&str, &str> =
            self.runners.iter().map(|ran| (ran.runner.name(), ran.ended.as_str())).collect();
        json!({"verdict": self.verdict, "counts": self.counts, "absent": self.absent.len(), "runners": ended})
    }
}

/// The hash of files: of their paths and contents in order.
fn digest(files: &Files) -> Hash {
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

pub(crate) fn invalid(message: &str) -> Failure {
    Failure::permanent("invalid-input", message)
        .hint("docs/agents/test.md and docs/agents/code.md have examples")
}

/// The failure of an attempt whose sandbox failed. What the engine could not do may work later.
pub(crate) fn failed(error: &Error) -> Failure {
    let may_pass =
        matches!(error, Error::EngineMissing { .. } | Error::EngineFailed { .. } | Error::SandboxEnded);
    let class = if may_pass { FailureClass::Transient } else { FailureClass::Permanent };
    Failure::new(class, error.code(), chain(error)).hint(error.hint())
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
        };
        let cases = cases.iter().map(case).collect();
        Ran { runner: Runner::Pytest, ended: ended.into(), seconds: 0.1, output: String::new(), cases }
    }

    fn verdict(runs: Vec<Ran>, expected: &[&str]) -> &'static str {
        let expected = expected.iter().map(ToString::to_string).collect();
        Results::of(runs, &expected, Hash::of(b"")).verdict
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
