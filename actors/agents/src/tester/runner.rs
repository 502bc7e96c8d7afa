//! The runners of tests, and how a project is seen to use one.

use actors_sandbox::Kind;
use serde::{Deserialize, Serialize};

/// Where a runner leaves its report, below the workspace.
pub(super) const REPORT: &str = ".orrery-junit.xml";

/// A runner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Runner {
    /// pytest, which runs `unittest` as well.
    Pytest,
    /// The runner of Node.
    Node,
}

impl Runner {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Pytest => "pytest",
            Self::Node => "node",
        }
    }

    /// The image that has it.
    pub(super) fn kind(self) -> Kind {
        match self {
            Self::Pytest => Kind::Python,
            Self::Node => Kind::Node,
        }
    }

    pub(super) fn command(self) -> &'static [&'static str] {
        match self {
            Self::Pytest => &[
                "python3",
                "-m",
                "pytest",
                "-q",
                "-p",
                "no:cacheprovider",
                "--junitxml=/workspace/.orrery-junit.xml",
            ],
            Self::Node => &[
                "node",
                "--test",
                "--test-reporter=junit",
                "--test-reporter-destination=/workspace/.orrery-junit.xml",
            ],
        }
    }

    pub(super) fn variables(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Pytest => {
                &[("PYTHONPATH", "/workspace:/workspace/src:/opt/python"), ("PYTHONDONTWRITEBYTECODE", "1")]
            }
            Self::Node => &[("NO_COLOR", "1")],
        }
    }

    /// The arguments without the options of the project's own settings, where an end means that those are not known:
    /// `--cov` needs a plugin that the image does not have.
    pub(super) fn without_options(self, ended: &str) -> Option<&'static [&'static str]> {
        (self == Self::Pytest && ended == "exit 4").then_some(&["-o", "addopts="])
    }

    /// Whether an end means that there are no tests.
    pub(super) fn has_none(self, ended: &str) -> bool {
        self == Self::Pytest && ended == "exit 5"
    }
}

/// The runners that a project with these files uses.
pub(super) fn used<'a>(names: impl Iterator<Item = &'a str>) -> Vec<Runner> {
    let (mut python, mut node) = (false, false);
    for name in names {
        let file = name.rsplit('/').next().unwrap_or_default();
        python |= file.starts_with("test_") && file.ends_with(".py") || file.ends_with("_test.py");
        node |= [".test.js", ".test.mjs", ".test.cjs"].iter().any(|end| file.ends_with(end))
            || name.split('/').any(|folder| folder == "test")
                && [".js", ".mjs", ".cjs"].iter().any(|end| file.ends_with(end));
    }
    [(python, Runner::Pytest), (node, Runner::Node)]
        .into_iter()
        .filter_map(|(is, runner)| is.then_some(runner))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runners_are_known_by_the_files_of_tests() {
        let of = |names: &[&str]| used(names.iter().copied());
        assert_eq!(of(&["src/a.py", "tests/test_a.py"]), [Runner::Pytest]);
        assert_eq!(of(&["a_test.py", "lib/x.test.mjs"]), [Runner::Pytest, Runner::Node]);
        assert_eq!(of(&["test/a.js"]), [Runner::Node]);
        assert_eq!(of(&["package.json", "src/latest.js", "contest.py", "testing.py"]), []);
    }
}
