//! The checks of the test pipeline beside the tests: what tools say about files, each in a container of its own.
//!
//! ```text
//! files ─→ tools that know their languages ─→ a container each ─→ lines of findings ─→ checks
//! ```
//!
//! A check is passed, failed or absent. Absent is what could not be run, with the reason, and never counts as passed.
//! Syntax trees are read and patterns looked for before anything of the project runs: defence in depth, since a
//! program that wants to hide its meaning can.

pub(crate) mod secrets;
mod tools;

use std::collections::BTreeMap;
use std::time::Duration;

use actors_sandbox::{Entry, Files, Run, Trial};
use actors_worker::{Failure, Work};
use bus_schemas::text;
use futures::future::try_join_all;
use serde::{Deserialize, Serialize};
use serde_json::json;

pub(crate) use self::tools::Tool;
use crate::sandbox::{Sandboxes, ended, failed};
use crate::tester;

/// The most findings that a check keeps, those of the highest severity.
const KEPT_MAX: usize = 1_000;
/// The most findings of a check that a report shows.
const SHOWN_MAX: usize = 100;
/// The most bytes of a message, and of a path or a rule.
const MESSAGE_BYTES_MAX: usize = 512;
const NAME_BYTES_MAX: usize = 512;
/// The most bytes of what a tool says that are read.
const OUTPUT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The codes of findings and refusals, which `docs/errors` explains.
pub mod code {
    /// A secret in a file.
    pub const SECRET_FOUND: &str = "secret-found";
    /// A file that its language does not read.
    pub const SYNTAX_ERROR: &str = "syntax-error";
    /// An import of what the image does not have.
    pub const DEPENDENCY_NOT_IN_IMAGE: &str = "dependency-not-in-image";
    /// What runs texts as programs, starts a shell, or sees through tests.
    pub const DANGEROUS_CONSTRUCT: &str = "dangerous-construct";
    /// What a security check calls a fault of high severity.
    pub const SECURITY_FINDING: &str = "security-finding";
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Severity {
    /// Advice, with which a check passes.
    Low,
    /// A fault.
    Medium,
    /// A fault with which no patch leaves.
    High,
}

/// What a tool says about a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Finding {
    pub(crate) file: String,
    pub(crate) line: u32,
    pub(crate) rule: String,
    pub(crate) severity: Severity,
    pub(crate) message: String,
}

impl Finding {
    /// A finding whose texts come from outside: bounded, and visible.
    fn new(file: &str, line: u32, rule: &str, severity: Severity, message: &str) -> Self {
        let short = |text: &str, most: usize| text::cut(&text::one_line(text), most);
        let file = file.trim_start_matches("/workspace/").trim_start_matches("./");
        Self {
            file: short(file, NAME_BYTES_MAX),
            line,
            rule: short(rule, NAME_BYTES_MAX),
            severity,
            message: short(message, MESSAGE_BYTES_MAX),
        }
    }

    /// What is the same in two versions of a file: lines move.
    fn identity(&self) -> (&str, &str, &str) {
        (&self.file, &self.rule, &self.message)
    }
}

/// What became of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Outcome {
    /// It ran to its end, and found nothing above [`Severity::Low`].
    Passed,
    /// It found something, or did not end as it should.
    Failed,
    /// It did not run.
    Absent,
}

/// A check by a tool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Check {
    pub(crate) check: String,
    pub(crate) tool: String,
    pub(crate) outcome: Outcome,
    /// Why it is absent, or how it ended if not as it should.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) reason: String,
    pub(crate) seconds: f64,
    /// The number of findings; those that are listed may be fewer.
    pub(crate) found: usize,
    pub(crate) findings: Vec<Finding>,
}

impl Check {
    pub(crate) fn absent(check: &str, tool: &str, reason: impl Into<String>) -> Self {
        Self {
            check: check.to_owned(),
            tool: tool.to_owned(),
            outcome: Outcome::Absent,
            reason: reason.into(),
            seconds: 0.0,
            found: 0,
            findings: Vec::new(),
        }
    }

    /// A check that ran, with its findings; `reason` says how it ended if not as it should.
    pub(crate) fn ran(
        check: &str,
        tool: &str,
        seconds: f64,
        reason: String,
        mut findings: Vec<Finding>,
    ) -> Self {
        let is_failed = !reason.is_empty() || findings.iter().any(|one| one.severity > Severity::Low);
        let found = findings.len();
        findings.sort_by(|a, b| (b.severity, &a.file, a.line).cmp(&(a.severity, &b.file, b.line)));
        findings.truncate(KEPT_MAX);
        let outcome = if is_failed { Outcome::Failed } else { Outcome::Passed };
        Self { outcome, reason, seconds, found, findings, ..Self::absent(check, tool, "") }
    }

    /// The check with as many findings as a report shows.
    pub(crate) fn shown(mut self) -> Self {
        self.findings.truncate(SHOWN_MAX);
        self
    }
}

/// Runs tools side by side, as a step of the job; `only` names the files to look at, none means all.
pub(crate) async fn run(
    work: &Work,
    sandboxes: &Sandboxes,
    step: &str,
    files: &Files,
    only: &[String],
    tools: &[Tool],
    seconds: Duration,
) -> Result<Vec<Check>, Failure> {
    let input = json!({"files": tester::digest(files), "only": only, "tools": tools});
    let all = || async {
        let each = tools.iter().map(|tool| one(work, sandboxes, files, only, *tool, seconds));
        Ok(try_join_all(each).await?.into_iter().flatten().collect::<Vec<Check>>())
    };
    work.step(step, &input, all).await
}

async fn one(
    work: &Work,
    sandboxes: &Sandboxes,
    files: &Files,
    only: &[String],
    tool: Tool,
    seconds: Duration,
) -> Result<Vec<Check>, Failure> {
    let absent =
        |reason: String| Ok(tool.checks().map(|check| Check::absent(check, tool.name(), &*reason)).collect());
    let named: Vec<&str> = files.iter().map(|(path, _)| path).filter(|path| tool.knows(path)).collect();
    let asked: Vec<String> = only.iter().filter(|path| tool.knows(path)).cloned().collect();
    if named.is_empty() || !only.is_empty() && asked.is_empty() {
        return Ok(Vec::new());
    }
    if let Some(reason) = tool.lacks(files) {
        return absent(reason.to_owned());
    }
    let mut files = files.clone();
    if tool == Tool::PipAudit {
        let Some(advisories) = sandboxes.advisories().await? else {
            return absent("no file of advisories is given: the setting `sandbox.advisories`".to_owned());
        };
        files.replace(tools::ADVISORIES, Entry::file(advisories)).map_err(|error| failed(&error))?;
    }
    if !sandboxes.serves(tool.kind()).await? {
        return absent(format!("there is no image of the sandbox for {}", tool.kind().name()));
    }
    let run = Run::new(tool.kind(), tool.command(&asked)).files(files).wall_clock(seconds);
    let ran = sandboxes.run(work, run, OUTPUT_BYTES_MAX, false).await?;
    let ended = ended(ran.finished.reason)?;
    let said = String::from_utf8_lossy(&ran.stdout);
    let found = tool.read(&said);
    let is_whole = tool.is_whole(&ended, &said) && !ran.finished.truncated;
    let reason = if is_whole {
        String::new()
    } else if let Some(name) = tester::missing_dependency(&ran.tail) {
        return absent(format!("{}: {name}", code::DEPENDENCY_NOT_IN_IMAGE));
    } else {
        text::cut(&text::one_line(&format!("{ended}: {}", ran.tail.trim())), MESSAGE_BYTES_MAX)
    };
    let elapsed = ran.finished.elapsed.as_secs_f64();
    let of = |check: &str| {
        let findings = found.iter().filter(|(of, _)| *of == check).map(|(_, finding)| finding.clone());
        Check::ran(check, tool.name(), elapsed, reason.clone(), findings.collect())
    };
    Ok(tool.checks().map(of).collect())
}

/// Builds an image of the project on trial, as a step of the job.
pub(crate) async fn image(work: &Work, sandboxes: &Sandboxes, files: &Files) -> Result<Check, Failure> {
    let input = json!({"files": tester::digest(files)});
    let built = async || {
        let begun = std::time::Instant::now();
        let built = sandboxes.build(work, files).await?;
        let seconds = begun.elapsed().as_secs_f64();
        let failed = |reason: &str| text::cut(&text::one_line(reason), MESSAGE_BYTES_MAX);
        Ok(match built {
            Trial::Untried(reason) => Check::absent("image", "engine", reason),
            Trial::Built => Check::ran("image", "engine", seconds, String::new(), Vec::new()),
            Trial::Failed(reason) => Check::ran("image", "engine", seconds, failed(&reason), Vec::new()),
        })
    };
    work.step("image", &input, built).await
}

/// The findings of `after` that `before` does not have, by check. Lines move, so they are not compared; of findings
/// that are alike, as many are new as there are more.
pub(crate) fn new_findings(before: &[Check], after: &[Check]) -> Vec<(String, Finding)> {
    let mut known = BTreeMap::new();
    for check in before {
        for finding in &check.findings {
            *known.entry((&*check.check, &*check.tool, finding.identity())).or_insert(0_usize) += 1;
        }
    }
    let mut new = Vec::new();
    for check in after {
        for finding in &check.findings {
            match known.get_mut(&(&*check.check, &*check.tool, finding.identity())) {
                Some(left) if *left > 0 => *left -= 1,
                _ => new.push((check.check.clone(), finding.clone())),
            }
        }
    }
    new
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(file: &str, line: u32, severity: Severity) -> Finding {
        Finding::new(file, line, "r", severity, "m")
    }

    #[test]
    fn a_check_fails_with_more_than_advice_and_with_an_end_of_its_own() {
        let check = |reason: &str, findings| Check::ran("lint", "ruff", 0.0, reason.to_owned(), findings);
        assert_eq!(check("", vec![]).outcome, Outcome::Passed);
        assert_eq!(check("", vec![finding("a", 1, Severity::Low)]).outcome, Outcome::Passed);
        assert_eq!(check("", vec![finding("a", 1, Severity::Medium)]).outcome, Outcome::Failed);
        assert_eq!(check("exit 2", vec![]).outcome, Outcome::Failed);
        assert_eq!(Check::absent("lint", "ruff", "why").outcome, Outcome::Absent);
    }

    #[test]
    fn findings_are_bounded_and_the_worst_are_kept() {
        let mut many: Vec<Finding> = (0..3_000).map(|line| finding("a", line, Severity::Low)).collect();
        many.push(finding("z", 9, Severity::High));
        let check = Check::ran("security", "bandit", 0.0, String::new(), many);
        assert_eq!((check.found, check.findings.len()), (3_001, KEPT_MAX));
        assert_eq!(check.findings[0].file, "z");
        assert_eq!(check.shown().findings.len(), SHOWN_MAX);
        let long = Finding::new(&"f".repeat(9_000), 1, "r\n", Severity::Low, &"m\u{202e}".repeat(9_000));
        assert!(long.file.len() <= NAME_BYTES_MAX && long.message.len() <= MESSAGE_BYTES_MAX);
        assert!(text::is_line(&long.rule) && text::is_line(&long.message));
    }

    #[test]
    fn new_is_what_was_not_there_wherever_it_stands() {
        let check = |findings| vec![Check::ran("lint", "ruff", 0.0, String::new(), findings)];
        let before = check(vec![finding("a", 1, Severity::Low), finding("a", 9, Severity::Low)]);
        let after = check(vec![
            finding("a", 5, Severity::Low),
            finding("a", 15, Severity::Low),
            finding("a", 20, Severity::Low),
            finding("b", 1, Severity::High),
        ]);
        let new = new_findings(&before, &after);
        let short: Vec<_> = new.iter().map(|(check, one)| (check.as_str(), one.file.as_str())).collect();
        assert_eq!(short, [("lint", "b"), ("lint", "a")], "one of three alike is new");
        assert!(new_findings(&after, &before).is_empty());
    }
}
