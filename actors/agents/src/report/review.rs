//! The review: the artifacts checked against each other and against the repository.
//!
//! A check looks the facts up again by another way than the one that made them, so that it can fail.
//! It says what was compared and, when it failed, names the first things that did not agree.

mod citations;
mod counts;

use std::collections::HashMap;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Error, Inputs, Watch, files};

/// How many disagreements a failed check names; more do not help to find the cause.
pub const EVIDENCE_MAX: usize = 10;

/// What the review found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Review {
    pub checks: Vec<Check>,
    pub passed: u64,
    pub failed: u64,
}

impl Review {
    /// Whether every check passed.
    pub fn is_clean(&self) -> bool {
        self.failed == 0
    }
}

/// One thing that was checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Check {
    /// A stable name, such as `passages-quoted`.
    pub name: String,
    pub passed: bool,
    /// What was compared, in a sentence.
    pub detail: String,
    /// What did not agree, at most [`EVIDENCE_MAX`].
    pub evidence: Vec<String>,
}

/// Checks `inputs` against each other and against the repository at `repo`.
pub fn review(repo: &Path, inputs: &Inputs, watch: &Watch) -> Result<Review, Error> {
    let mut sizes = HashMap::new();
    files::walk(repo, watch, "listing files again", |entry| {
        sizes.insert(entry.name, entry.bytes);
        Ok(())
    })?;
    let steps: [&dyn Fn() -> Result<Check, Error>; 13] = [
        &|| Ok(counts::inventory_sums(&inputs.inventory)),
        &|| Ok(counts::inventory_repository(&inputs.inventory, &sizes)),
        &|| Ok(counts::largest_files(&inputs.inventory, &sizes)),
        &|| counts::history_head(repo, &inputs.history, watch),
        &|| counts::history_commits(repo, &inputs.history, watch),
        &|| Ok(counts::history_sums(&inputs.history)),
        &|| Ok(counts::churn_files(repo, &inputs.history)),
        &|| Ok(counts::bus_factors(repo, &inputs.history)),
        &|| Ok(counts::manifest_files(&inputs.manifests, &sizes)),
        &|| Ok(counts::hotspot_sums(&inputs.hotspots, &inputs.inventory)),
        &|| citations::notes(repo, &inputs.hotspots, &sizes, watch),
        &|| citations::long_functions(repo, &inputs.hotspots, &sizes, watch),
        &|| citations::passages(repo, &inputs.docs, &sizes, watch),
    ];
    let mut checks = Vec::with_capacity(steps.len());
    for (done, step) in steps.iter().enumerate() {
        watch.check()?;
        watch.progress(done as u64, Some(steps.len() as u64), "checking the artifacts");
        checks.push(step()?);
    }
    watch.progress(steps.len() as u64, Some(steps.len() as u64), "checking the artifacts");
    let passed = checks.iter().filter(|check| check.passed).count() as u64;
    Ok(Review { failed: checks.len() as u64 - passed, passed, checks })
}

/// A check in the making: it fails with the first disagreement.
struct Draft {
    name: &'static str,
    compared: u64,
    disagreements: u64,
    evidence: Vec<String>,
}

impl Draft {
    fn new(name: &'static str) -> Self {
        Self { name, compared: 0, disagreements: 0, evidence: Vec::new() }
    }

    /// Counts one comparison; `evidence` says what is wrong when it does not hold.
    fn expect(&mut self, holds: bool, evidence: impl FnOnce() -> String) {
        self.compared += 1;
        if !holds {
            self.disagreements += 1;
            if self.evidence.len() < EVIDENCE_MAX {
                self.evidence.push(evidence());
            }
        }
    }

    /// Counts one comparison of two numbers that should be the same.
    fn expect_equal(&mut self, what: &str, stated: u64, found: u64) {
        self.expect(stated == found, || format!("{what}: stated {stated}, found {found}"));
    }

    /// Ends the check with what was compared.
    fn finish(self, what: &str) -> Check {
        let detail = match self.disagreements {
            0 => format!("{what}: {} compared, all agree", self.compared),
            count => format!("{what}: {} compared, {count} do not agree", self.compared),
        };
        Check { name: self.name.to_owned(), passed: self.disagreements == 0, detail, evidence: self.evidence }
    }
}
