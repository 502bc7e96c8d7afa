//! The skill `check`: tests and every other check of a repository, side by side.

use std::collections::BTreeMap;
use std::time::Duration;

use actors_sandbox::Files;
use actors_worker::{Done, Failure, Work};
use serde::Serialize;
use serde_json::json;

use super::{Input, PASSED, Results, report, results, sources};
use crate::checks::{self, Check, Outcome, Tool, secrets};
use crate::sandbox::Sandboxes;

/// The artifact.
const RESULTS: &str = "checks.json";
/// Every check, whether or not a repository has files for it.
const ALL: [&str; 9] =
    ["tests", "syntax", "patterns", "imports", "secrets", "lint", "types", "security", "dependencies"];

/// The results of a job.
#[derive(Debug, Serialize)]
struct Checked {
    /// [`PASSED`], `failed` or `absent`.
    verdict: &'static str,
    checks: Vec<Check>,
    tests: Results,
}

pub(super) async fn check(work: &Work, sandboxes: &Sandboxes) -> Result<Done, Failure> {
    let (expected, limit) = Input::of(work)?;
    let _place = sandboxes.enter(work).await?;
    let (files, runners) = sources(work).await?;
    // Nothing of the project runs before its files were looked at.
    let mut found = looks(work, sandboxes, &files, limit).await?;
    let judged = checks::run(work, sandboxes, "checks", &files, &[], &Tool::JUDGES, limit);
    let tested = results(work, sandboxes, "tests", &files, &runners, &expected, limit);
    let built = checks::image(work, sandboxes, &files);
    let (judged, tests, built) = futures::future::try_join3(judged, tested, built).await?;
    found.extend(judged);
    found.push(built);
    let found = whole(found, &tests, "the repository has no files for it");
    let verdict = verdict(&found, &tests);
    let result = json!({
        "verdict": verdict,
        "passed": names(&found, Outcome::Passed),
        "failed": names(&found, Outcome::Failed),
        "absent": absent(&found),
        "tests": tests.summary(),
    });
    let artifact = report(work, RESULTS, &Checked { verdict, checks: found, tests }).await?;
    Ok(Done::with(vec![artifact], result))
}

/// What is found without running anything of the project.
pub(crate) async fn looks(
    work: &Work,
    sandboxes: &Sandboxes,
    files: &Files,
    limit: Duration,
) -> Result<Vec<Check>, Failure> {
    let mut found = checks::run(work, sandboxes, "inspect", files, &[], &Tool::INSPECTORS, limit).await?;
    let scanned = files.clone();
    found.push(work.blocking(move |_| Ok(secrets::check(&scanned))).await?);
    Ok(found)
}

/// The checks as a report shows them: the tests before them, and after them those that did not run, with the reason.
pub(crate) fn whole(mut found: Vec<Check>, tests: &Results, reason: &str) -> Vec<Check> {
    found.insert(0, of_tests(tests));
    for name in ALL {
        if found.iter().all(|check| check.check != name) {
            found.push(Check::absent(name, "", reason));
        }
    }
    found.into_iter().map(Check::shown).collect()
}

/// The names of the checks with an outcome.
pub(crate) fn names(checks: &[Check], wanted: Outcome) -> Vec<String> {
    checks.iter().filter(|check| check.outcome == wanted).map(name).collect()
}

/// The checks that did not run, each with the reason.
pub(crate) fn absent(checks: &[Check]) -> BTreeMap<String, &str> {
    let absent = checks.iter().filter(|check| check.outcome == Outcome::Absent);
    absent.map(|check| (name(check), check.reason.as_str())).collect()
}

/// The name of a check with its tool, since some have one for each language.
fn name(check: &Check) -> String {
    if check.tool.is_empty() { check.check.clone() } else { format!("{}/{}", check.check, check.tool) }
}

/// The tests as one of the checks; their cases and their analysis are beside it.
fn of_tests(tests: &Results) -> Check {
    match tests.verdict {
        PASSED => Check::ran("tests", "", 0.0, String::new(), Vec::new()),
        "failed" => {
            let reason = format!("{} tests or runners failed; `tests.analysis` says how", tests.failures());
            Check::ran("tests", "", 0.0, reason, Vec::new())
        }
        _ => Check::absent("tests", "", "no test passed or one that must run did not"),
    }
}

/// Passed is what had tests that passed, and no check that failed.
fn verdict(checks: &[Check], tests: &Results) -> &'static str {
    if checks.iter().any(|check| check.outcome == Outcome::Failed) { "failed" } else { tests.verdict }
}
