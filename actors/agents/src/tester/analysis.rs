//! The failure analysis: what is wrong after a run of tests, in one structure for people, programs and models.

use std::collections::{BTreeMap, BTreeSet};

use bus_schemas::text;
use serde::{Deserialize, Serialize};

use super::Ran;
use super::junit::{Location, Outcome};

/// The most failing tests, and the most names of dependencies.
const FAILING_MAX: usize = 200;
const MISSING_MAX: usize = 20;
/// The most bytes of the name of a dependency.
const NAME_BYTES_MAX: usize = 128;

/// What is wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Analysis {
    /// Failing and flaky tests.
    pub(crate) failing: Vec<FailingTest>,
    /// How many more fail.
    pub(crate) more: usize,
    /// Runners that left no results.
    pub(crate) silent: Vec<Silent>,
    /// What tests import and the image does not have: `dependency-not-in-image`.
    pub(crate) missing_dependencies: Vec<String>,
}

/// A test that fails.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FailingTest {
    pub(crate) test: String,
    pub(crate) outcome: Outcome,
    pub(crate) message: String,
    /// Where in the project it failed, in the order of the runner's trace.
    pub(crate) locations: Vec<Location>,
}

/// A runner without results.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Silent {
    pub(crate) runner: String,
    pub(crate) ended: String,
    /// The end of its output.
    pub(crate) output: String,
}

impl Analysis {
    pub(super) fn of(runners: &[Ran]) -> Self {
        let cases = || runners.iter().flat_map(|ran| &ran.cases);
        let is_wrong = |outcome| matches!(outcome, Outcome::Failed | Outcome::Flaky);
        let wrong = || cases().filter(move |case| is_wrong(case.outcome));
        let failing = wrong().take(FAILING_MAX).map(|case| FailingTest {
            test: case.name.clone(),
            outcome: case.outcome,
            message: case.message.clone(),
            locations: case.locations.clone(),
        });
        let silent = runners.iter().filter(|ran| ran.cases.is_empty()).map(|ran| Silent {
            runner: ran.runner.name().to_owned(),
            ended: ran.ended.clone(),
            output: ran.output.clone(),
        });
        let said = wrong().map(|case| case.message.as_str());
        let said = said.chain(runners.iter().map(|ran| ran.output.as_str()));
        let missing: BTreeSet<String> = said.filter_map(missing_dependency).take(MISSING_MAX).collect();
        Self {
            failing: failing.collect(),
            more: wrong().count().saturating_sub(FAILING_MAX),
            silent: silent.collect(),
            missing_dependencies: missing.into_iter().collect(),
        }
    }

    /// The analysis with at most so many failing tests.
    pub(crate) fn cut(mut self, failing_max: usize) -> Self {
        self.more += self.failing.len().saturating_sub(failing_max);
        self.failing.truncate(failing_max);
        self
    }
}

/// The name of what a program wanted to import and the image does not have, as Python and Node say it.
pub(crate) fn missing_dependency(said: &str) -> Option<String> {
    let quoted = |head: &str| {
        let rest = &said[said.find(head)? + head.len()..];
        rest.split_once('\'').map(|(name, _)| name)
    };
    let python = || Some(quoted("No module named '")?.split('.').next().unwrap_or_default());
    let node = || {
        let name = quoted("Cannot find package '").or_else(|| quoted("Cannot find module '"))?;
        let parts = if name.starts_with('@') { 2 } else { 1 };
        let end = name.match_indices('/').nth(parts - 1).map_or(name.len(), |(at, _)| at);
        Some(&name[..end])
    };
    let name = python().or_else(node)?;
    let is_name = !name.is_empty() && !name.starts_with(['.', '/', '#']) && name.len() <= NAME_BYTES_MAX;
    (is_name && text::is_line(name)).then(|| name.to_owned())
}

/// Counts by outcome.
pub(super) fn counts(runners: &[Ran]) -> BTreeMap<Outcome, usize> {
    let mut counts = BTreeMap::new();
    for case in runners.iter().flat_map(|ran| &ran.cases) {
        *counts.entry(case.outcome).or_default() += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_image_lacks_is_named() {
        for (said, name) in [
            ("E   ModuleNotFoundError: No module named 'requests'", Some("requests")),
            ("ModuleNotFoundError: No module named 'google.cloud'", Some("google")),
            (
                "Error [ERR_MODULE_NOT_FOUND]: Cannot find package 'left-pad' imported from /workspace/a",
                Some("left-pad"),
            ),
            ("Error: Cannot find module '@scope/name/deep'\nRequire stack:", Some("@scope/name")),
            ("Error: Cannot find module './lib.mjs'", None),
            ("Cannot find module '/workspace/x.js'", None),
            ("No module named ''", None),
            ("No module named 'open", None),
            ("assert 1 == 2", None),
        ] {
            assert_eq!(missing_dependency(said).as_deref(), name, "{said}");
        }
    }
}
