//! The guard of a repair: what edits must not bring along, however green the tests are.
//!
//! ```text
//! edits ─→ secrets, syntax trees ─→ tests ─→ lint, types, security of the changed files, before and after
//! ```
//!
//! Secrets, syntax errors, imports that the image does not have and dangerous constructs refuse edits before a test
//! runs. New findings of high severity refuse edits whose tests pass. Other new findings are reported.

use std::time::Duration;

use actors_sandbox::Files;
use actors_worker::{Failure, Work};
use serde::Serialize;

use crate::checks::{self, Check, Finding, Outcome, Severity, Tool, code, secrets};
use crate::sandbox::Sandboxes;

/// The most findings that a refusal names.
const NAMED_MAX: usize = 5;
/// The most new findings that a report has.
const NEW_MAX: usize = 100;

/// What the guard compares with.
pub(crate) struct Guard<'a> {
    pub(crate) work: &'a Work,
    pub(crate) sandboxes: &'a Sandboxes,
    /// The files without edits; none where all of them are a model's.
    pub(crate) original: &'a Files,
    pub(crate) limit: Duration,
}

/// The checks of a patch.
#[derive(Debug, Default, Serialize)]
pub(super) struct Judged {
    /// The checks of the changed files.
    pub(super) checks: Vec<Check>,
    /// What the patch adds to the findings.
    pub(super) new_findings: Vec<New>,
    /// How many it adds.
    pub(super) new_findings_count: usize,
}

/// A finding that was not there before.
#[derive(Debug, Serialize)]
pub(super) struct New {
    check: String,
    #[serde(flatten)]
    finding: Finding,
}

impl Guard<'_> {
    /// Why the tests of edited files are not run; none if they may be. `round` names the steps.
    pub(crate) async fn refusal(&self, round: usize, edited: &Files) -> Result<Option<String>, Failure> {
        let secrets = secrets::added(self.original, edited);
        if !secrets.is_empty() {
            return Ok(Some(said(code::SECRET_FOUND, &secrets)));
        }
        let after = self.run(&format!("inspect/{round}"), edited, &Tool::INSPECTORS, edited).await?;
        let findings = after.iter().flat_map(|check| check.findings.iter().map(move |one| (check, one)));
        let (wrong, others): (Vec<_>, Vec<_>) = findings.partition(|(check, _)| check.check == "syntax");
        if !wrong.is_empty() {
            return Ok(Some(said(code::SYNTAX_ERROR, wrong.iter().map(|(_, one)| *one))));
        }
        if let Some(broken) = after.iter().find(|check| check.outcome == Outcome::Failed && check.found == 0)
        {
            return Ok(Some(format!("syntax-unchecked: {}", broken.reason)));
        }
        if others.is_empty() {
            return Ok(None);
        }
        let before = format!("inspect/{round}/before");
        let before = self.run(&before, self.original, &Tool::INSPECTORS, edited).await?;
        let new = checks::new_findings(&before, &after);
        let imports: Vec<&Finding> =
            new.iter().filter(|(check, _)| check == "imports").map(|(_, one)| one).collect();
        if !imports.is_empty() {
            return Ok(Some(said(code::DEPENDENCY_NOT_IN_IMAGE, imports)));
        }
        let bad: Vec<&Finding> = high(&new).collect();
        Ok((!bad.is_empty()).then(|| said(code::DANGEROUS_CONSTRUCT, bad)))
    }

    /// The checks of files whose tests pass, or why they do not count.
    pub(super) async fn judged(
        &self,
        round: usize,
        edited: &Files,
    ) -> Result<Result<Judged, String>, Failure> {
        if self.original == edited {
            return Ok(Ok(Judged::default()));
        }
        let before = format!("checks/{round}/before");
        let before = self.run(&before, self.original, &Tool::JUDGES, edited);
        let after = format!("checks/{round}");
        let after = self.run(&after, edited, &Tool::JUDGES, edited);
        let (before, after) = futures::future::try_join(before, after).await?;
        let new = checks::new_findings(&before, &after);
        let bad: Vec<&Finding> = high(&new).collect();
        if !bad.is_empty() {
            return Ok(Err(said(code::SECURITY_FINDING, bad)));
        }
        let new_findings_count = new.len();
        let new = new.into_iter().take(NEW_MAX).map(|(check, finding)| New { check, finding });
        let checks = after.into_iter().map(Check::shown).collect();
        Ok(Ok(Judged { checks, new_findings: new.collect(), new_findings_count }))
    }

    /// Runs tools on those of the files that differ between the original and `edited`.
    async fn run(
        &self,
        step: &str,
        files: &Files,
        tools: &[Tool],
        edited: &Files,
    ) -> Result<Vec<Check>, Failure> {
        let changed = edited.iter().filter(|(path, entry)| self.original.get(path) != Some(entry));
        let changed: Vec<String> = changed.map(|(path, _)| path.to_owned()).collect();
        checks::run(self.work, self.sandboxes, step, files, &changed, tools, self.limit).await
    }
}

fn high(new: &[(String, Finding)]) -> impl Iterator<Item = &Finding> {
    new.iter().map(|(_, one)| one).filter(|one| one.severity == Severity::High)
}

/// A refusal: its code, and the findings that it is for.
fn said<'a>(code: &str, findings: impl IntoIterator<Item = &'a Finding>) -> String {
    let findings = findings.into_iter().take(NAMED_MAX);
    let each = findings.map(|one| format!("{}:{}: {}: {}", one.file, one.line, one.rule, one.message));
    format!("{code}: {}", each.collect::<Vec<_>>().join("; "))
}
