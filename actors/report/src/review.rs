//! The review: the artifacts checked against each other and against the repository.
//!
//! A check looks the facts up again in another way than the one that produced them, so that it can fail. It
//! says what was compared and, when it failed, names the first disagreements.

mod citations;
mod counts;

use std::collections::{HashMap, HashSet};
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::files::{Entry, Tree};
use super::{Error, Inputs, Watch};

/// Disagreements that a failed check names; more do not help to find the cause.
pub const EVIDENCE_MAX: usize = 10;

/// The result of the review.
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

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Check {
    /// A stable name, such as `passages-quoted`.
    pub name: String,
    pub passed: bool,
    /// What was compared, in a sentence.
    pub detail: String,
    /// The disagreements, at most [`EVIDENCE_MAX`].
    pub evidence: Vec<String>,
}

/// Checks `inputs` against each other and against the repository at `repo`.
pub fn review(repo: &Path, inputs: &Inputs, watch: &Watch) -> Result<Review, Error> {
    let mut files = Files::list(repo, watch)?;
    type Step<'a> = &'a dyn Fn(&mut Files<'_>) -> Result<Check, Error>;
    let steps: [Step<'_>; 13] = [
        &|_| Ok(counts::inventory_sums(&inputs.inventory)),
        &|files| Ok(counts::inventory_repository(&inputs.inventory, files)),
        &|files| Ok(counts::largest_files(&inputs.inventory, files)),
        &|_| counts::history_head(repo, &inputs.history, watch),
        &|_| counts::history_commits(repo, &inputs.history, watch),
        &|_| Ok(counts::history_sums(&inputs.history)),
        &|files| Ok(counts::churn_files(&inputs.history, files)),
        &|files| Ok(counts::bus_factors(&inputs.history, files)),
        &|files| Ok(counts::manifest_files(&inputs.manifests, files)),
        &|_| Ok(counts::hotspot_sums(&inputs.hotspots, &inputs.inventory)),
        &|files| citations::notes(&inputs.hotspots, files, watch),
        &|files| citations::long_functions(&inputs.hotspots, files, watch),
        &|files| citations::passages(&inputs.docs, files, watch),
    ];
    let mut checks = Vec::with_capacity(steps.len());
    for (done, step) in steps.iter().enumerate() {
        watch.check()?;
        watch.progress(done as u64, Some(steps.len() as u64), "checking the artifacts");
        checks.push(step(&mut files)?);
    }
    watch.progress(steps.len() as u64, Some(steps.len() as u64), "checking the artifacts");
    let passed = checks.iter().filter(|check| check.passed).count() as u64;
    Ok(Review { failed: checks.len() as u64 - passed, passed, checks })
}

/// The files of the repository, listed again.
struct Files<'a> {
    tree: Tree<'a>,
    by_name: HashMap<String, Entry>,
    /// Everything else that git lists, and the folders at the top, which end in `/`.
    names: HashSet<String>,
    count: u64,
    bytes: u64,
    bytes_most: u64,
}

impl<'a> Files<'a> {
    fn list(repo: &Path, watch: &'a Watch) -> Result<Self, Error> {
        let mut tree = Tree::read(repo, watch)?;
        let names = tree.names();
        let mut by_name = HashMap::new();
        let (mut count, mut bytes, mut bytes_most) = (0, 0, 0);
        tree.each("listing files again", |_, entry| {
            count += 1;
            bytes += entry.bytes;
            bytes_most = entry.bytes.max(bytes_most);
            by_name.insert(entry.name.clone(), entry);
            Ok(())
        })?;
        Ok(Self { tree, by_name, names, count, bytes, bytes_most })
    }

    /// The text of a file that an analysis has read.
    fn text(&mut self, name: &str, bytes_max: u64) -> Result<Option<String>, Error> {
        match self.by_name.get(name) {
            Some(entry) => self.tree.text(entry, bytes_max),
            None => Ok(None),
        }
    }
}

/// A check in progress: it fails with the first disagreement.
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

    /// Counts one comparison; `evidence` describes the disagreement when it fails.
    fn expect(&mut self, holds: bool, evidence: impl FnOnce() -> String) {
        self.compared += 1;
        if !holds {
            self.disagreements += 1;
            if self.evidence.len() < EVIDENCE_MAX {
                self.evidence.push(evidence());
            }
        }
    }

    /// Counts one comparison of two numbers that should be equal.
    fn expect_equal(&mut self, what: &str, stated: u64, found: u64) {
        self.expect(stated == found, || format!("{what}: stated {stated}, found {found}"));
    }

    /// Ends the check with a description of what was compared.
    fn finish(self, what: &str) -> Check {
        let detail = match self.disagreements {
            0 => format!("{what}: {} compared, all agree", self.compared),
            count => format!("{what}: {} compared, {count} do not agree", self.compared),
        };
        Check { name: self.name.to_owned(), passed: self.disagreements == 0, detail, evidence: self.evidence }
    }
}
