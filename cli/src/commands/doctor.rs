//! `orrery doctor`: checks with a verdict and a fix each.
//!
//! Checks the machine, then the server, then the system. Checks that depend on a failed one are left out,
//! since their failure would say nothing new. Changes nothing.

mod held;
mod machine;
mod system;
mod versions;

use actors_host::Config;
use schemars::JsonSchema;
use serde::Serialize;

use crate::commands::explain;
use crate::failure::Failure;
use crate::output::{Output, Show};
use crate::session::Session;

/// No options of its own.
#[derive(Debug, clap::Args)]
pub struct Arguments {}

/// The verdict of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// All is well.
    Ok,
    /// The checked part works, but somebody should look.
    Warn,
    /// The checked part does not work.
    Fail,
}

/// One check.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Check {
    /// The name of the check.
    pub check: String,
    /// The verdict.
    pub verdict: Verdict,
    /// What was found.
    pub detail: String,
    /// What to do; `null` when all is well.
    pub fix: Option<String>,
}

impl Check {
    fn ok(check: &str, detail: impl Into<String>) -> Self {
        Self { check: check.to_owned(), verdict: Verdict::Ok, detail: detail.into(), fix: None }
    }
    fn warn(check: &str, detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { verdict: Verdict::Warn, fix: Some(fix.into()), ..Self::ok(check, detail) }
    }
    fn fail(check: &str, detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { verdict: Verdict::Fail, fix: Some(fix.into()), ..Self::ok(check, detail) }
    }
    /// Makes a failure a failed check: its message, its code and its next step.
    fn of(check: &str, failure: Failure) -> Self {
        let fix = failure.next.unwrap_or_else(|| explain::advice(&failure.code));
        Self::fail(check, format!("{} ({})", failure.message, failure.code), fix)
    }
}

impl Show for Check {
    fn text(&self) -> String {
        let verdict = match self.verdict {
            Verdict::Ok => "ok  ",
            Verdict::Warn => "WARN",
            Verdict::Fail => "FAIL",
        };
        let line = format!("{verdict}  {:<12} {}", self.check, self.detail);
        match &self.fix {
            Some(fix) => format!("{line}\n      {:<12} fix: {fix}", ""),
            None => line,
        }
    }
}

/// Runs all checks; fails when one fails.
pub async fn run(config: &Config, _: Arguments, output: Output) -> Result<(), Failure> {
    let mut failed = 0;
    let mut tell = |check: Check| {
        failed += u32::from(check.verdict == Verdict::Fail);
        output.show(&check);
    };
    tell(Check::ok("config", "valid"));
    machine::checks(config).await.into_iter().for_each(&mut tell);
    match Session::connect(config).await {
        Err(failure) => tell(Check::of("system", failure)),
        Ok(session) => {
            system::checks(&session).await.into_iter().for_each(&mut tell);
            held::checks(&session).await.into_iter().for_each(&mut tell);
        }
    }
    match failed {
        0 => Ok(()),
        many => Err(Failure::new("checks-failed", format!("{many} checks failed"))
            .next("each failed check shows its fix")),
    }
}
