//! The tools of the images: how each is called, and how what it says is read.

use actors_sandbox::{Entry, Files, Kind};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Finding, Severity};

const INSPECT_PYTHON: &str = include_str!("inspect.py");
const INSPECT_NODE: &str = include_str!("inspect.mjs");
const LINT_NODE: &str = include_str!("lint.mjs");
const AUDIT: &str = include_str!("audit.py");
/// Where the advisories lie in the workspace.
pub(super) const ADVISORIES: &str = ".orrery-advisories";

/// A tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Tool {
    /// Syntax trees of Python.
    Ast,
    Ruff,
    Mypy,
    Bandit,
    /// Syntax trees of JavaScript.
    Espree,
    Eslint,
    Tsc,
    PipAudit,
}

impl Tool {
    /// What looks at syntax trees before anything runs.
    pub(crate) const INSPECTORS: [Self; 2] = [Self::Ast, Self::Espree];
    /// What judges files as a whole.
    pub(crate) const JUDGES: [Self; 6] =
        [Self::Ruff, Self::Mypy, Self::Bandit, Self::Eslint, Self::Tsc, Self::PipAudit];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ast => "ast",
            Self::Ruff => "ruff",
            Self::Mypy => "mypy",
            Self::Bandit => "bandit",
            Self::Espree => "espree",
            Self::Eslint => "eslint",
            Self::Tsc => "tsc",
            Self::PipAudit => "pip-audit",
        }
    }

    pub(super) fn kind(self) -> Kind {
        match self {
            Self::Ast | Self::Ruff | Self::Mypy | Self::Bandit | Self::PipAudit => Kind::Python,
            Self::Espree | Self::Eslint | Self::Tsc => Kind::Node,
        }
    }

    /// The checks that it makes.
    pub(super) fn checks(self) -> impl Iterator<Item = &'static str> {
        let checks: &[&str] = match self {
            Self::Ast | Self::Espree => &["syntax", "patterns", "imports"],
            Self::Ruff | Self::Eslint => &["lint"],
            Self::Mypy | Self::Tsc => &["types"],
            Self::Bandit => &["security"],
            Self::PipAudit => &["dependencies"],
        };
        checks.iter().copied()
    }

    /// Whether a file is of its language.
    pub(super) fn knows(self, path: &str) -> bool {
        if self == Self::PipAudit {
            return path.starts_with("requirements") && path.ends_with(".txt") && !path.contains('/');
        }
        let ends: &[&str] = match self {
            Self::Ast | Self::Ruff | Self::Mypy | Self::Bandit => &["py"],
            Self::Espree | Self::Eslint => &["js", "mjs", "cjs"],
            Self::Tsc => &["ts", "mts", "cts", "tsx", "js", "mjs", "cjs"],
            Self::PipAudit => &[],
        };
        path.rsplit_once('.').is_some_and(|(_, end)| ends.contains(&end))
    }

    /// What it needs of a project that the project does not have.
    pub(super) fn lacks(self, files: &Files) -> Option<&'static str> {
        let has_options = matches!(files.get("tsconfig.json"), Some(Entry::File { .. }));
        (self == Self::Tsc && !has_options).then_some("the project has no `tsconfig.json`")
    }

    /// Its command for these files, or for all. None of the project's files can stand in for a part of a tool: the
    /// path of Python has the image alone.
    pub(super) fn command(self, only: &[String]) -> Vec<String> {
        let node = |script| vec!["node", "--input-type=module", "-e", script, "--"];
        let mut command = match self {
            Self::Ast => vec!["python3", "-I", "-c", INSPECT_PYTHON],
            Self::Ruff => vec!["ruff", "check", "--output-format=json-lines", "--exit-zero", "--"],
            Self::Mypy => vec![
                "mypy",
                "--output=json",
                "--no-error-summary",
                "--ignore-missing-imports",
                "--explicit-package-bases",
                "--",
            ],
            Self::Bandit => vec![
                "bandit",
                "-q",
                "-r",
                "-f",
                "custom",
                "--msg-template",
                "{relpath}\t{line}\t{severity}\t{test_id}\t{msg}",
                "--",
            ],
            Self::Espree => node(INSPECT_NODE),
            Self::Eslint => node(LINT_NODE),
            Self::Tsc => vec!["tsc", "--noEmit", "--pretty", "false", "-p", "tsconfig.json"],
            Self::PipAudit => vec!["python3", "-I", "-c", AUDIT, ADVISORIES],
        };
        match self {
            // A type and a version are matters of the whole project.
            Self::Tsc | Self::PipAudit => {}
            Self::Ruff | Self::Mypy | Self::Bandit if only.is_empty() => command.push("."),
            _ => command.extend(only.iter().map(String::as_str)),
        }
        command.into_iter().map(str::to_owned).collect()
    }

    /// Whether it said everything that it had to say.
    pub(super) fn is_whole(self, ended: &str, said: &str) -> bool {
        match self {
            Self::Ast | Self::Espree | Self::Eslint | Self::PipAudit => {
                ended == "exit 0" && said.lines().next_back().is_some_and(|line| line.starts_with("[\"end\""))
            }
            Self::Ruff => ended == "exit 0",
            Self::Bandit => ["exit 0", "exit 1"].contains(&ended),
            // A file that mypy cannot parse ends it with 2, and with a line that says so.
            Self::Mypy | Self::Tsc => {
                ["exit 0", "exit 1"].contains(&ended) || ended == "exit 2" && !self.read(said).is_empty()
            }
        }
    }

    /// The findings that it printed, each with its check. What is no finding is left out.
    pub(super) fn read(self, said: &str) -> Vec<(&'static str, Finding)> {
        let line = |line: &str| match self {
            Self::Ast | Self::Espree | Self::Eslint | Self::PipAudit => own(self, line),
            Self::Ruff => ruff(line).map(|finding| ("lint", finding)),
            Self::Mypy => mypy(line).map(|finding| ("types", finding)),
            Self::Bandit => bandit(line).map(|finding| ("security", finding)),
            Self::Tsc => tsc(line).map(|finding| ("types", finding)),
        };
        said.lines().filter_map(line).collect()
    }
}

/// A line of a script of ours.
fn own(tool: Tool, line: &str) -> Option<(&'static str, Finding)> {
    let (check, file, number, rule, severity, message): (String, String, u32, String, String, String) =
        serde_json::from_str(line).ok()?;
    let check = tool.checks().find(|known| *known == check)?;
    Some((check, Finding::new(&file, number, &rule, severity_of(&severity), &message)))
}

fn ruff(line: &str) -> Option<Finding> {
    let said: Value = serde_json::from_str(line).ok()?;
    let rule = said["code"].as_str().unwrap_or("syntax");
    let at = number(&said["location"]["row"]);
    Some(Finding::new(said["filename"].as_str()?, at, rule, Severity::Medium, said["message"].as_str()?))
}

fn mypy(line: &str) -> Option<Finding> {
    let said: Value = serde_json::from_str(line).ok()?;
    let severity = if said["severity"] == "error" { Severity::Medium } else { Severity::Low };
    let rule = said["code"].as_str().unwrap_or("mypy");
    Some(Finding::new(
        said["file"].as_str()?,
        number(&said["line"]),
        rule,
        severity,
        said["message"].as_str()?,
    ))
}

fn bandit(line: &str) -> Option<Finding> {
    let mut parts = line.splitn(5, '\t');
    let (file, at, severity) = (parts.next()?, parts.next()?.parse().ok()?, parts.next()?);
    Some(Finding::new(file, at, parts.next()?, severity_of(&severity.to_lowercase()), parts.next()?))
}

/// A line such as `a.ts(1,7): error TS2322: …`; one about the options has no place.
fn tsc(line: &str) -> Option<Finding> {
    let (place, said) = line.split_once("error TS")?;
    let (rule, message) = said.split_once(": ")?;
    let (file, at) = match place.trim_end_matches(": ").rsplit_once('(') {
        Some((file, at)) => (file, at.split(',').next()?.parse().ok()?),
        None => ("tsconfig.json", 1),
    };
    Some(Finding::new(file, at, &format!("TS{rule}"), Severity::Medium, message))
}

fn number(value: &Value) -> u32 {
    value.as_u64().and_then(|number| u32::try_from(number).ok()).unwrap_or(1)
}

fn severity_of(word: &str) -> Severity {
    match word {
        "high" => Severity::High,
        "low" | "undefined" => Severity::Low,
        _ => Severity::Medium,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn short(tool: Tool, said: &str) -> Vec<(&'static str, String, u32, String, Severity)> {
        let each =
            |(check, one): (&'static str, Finding)| (check, one.file, one.line, one.rule, one.severity);
        tool.read(said).into_iter().map(each).collect()
    }

    #[test]
    fn what_each_tool_prints_is_read() {
        use Severity::{High, Low, Medium};
        for (tool, said, check, file, line, rule, severity) in [
            (
                Tool::Ast,
                r#"["patterns", "a.py", 3, "dangerous-call", "high", "`eval` …"]"#,
                "patterns",
                "a.py",
                3,
                "dangerous-call",
                High,
            ),
            (
                Tool::Ruff,
                r#"{"code":"F401","filename":"/workspace/a.py","location":{"column":8,"row":2},"message":"unused"}"#,
                "lint",
                "a.py",
                2,
                "F401",
                Medium,
            ),
            (
                Tool::Mypy,
                r#"{"file": "a.py", "line": 6, "column": 1, "message": "m", "hint": null, "code": "return-value", "severity": "error"}"#,
                "types",
                "a.py",
                6,
                "return-value",
                Medium,
            ),
            (Tool::Bandit, "./a.py\t5\tHIGH\tB602\tshell\tequals True", "security", "a.py", 5, "B602", High),
            (Tool::Bandit, "a.py\t5\tLOW\tB101\tassert", "security", "a.py", 5, "B101", Low),
            (Tool::Tsc, "web/t.ts(1,7): error TS2322: Type", "types", "web/t.ts", 1, "TS2322", Medium),
            (Tool::Tsc, "error TS5023: Unknown option", "types", "tsconfig.json", 1, "TS5023", Medium),
        ] {
            let wanted = vec![(check, file.to_owned(), line, rule.to_owned(), severity)];
            assert_eq!(short(tool, said), wanted, "{said}");
        }
        for tool in Tool::INSPECTORS.into_iter().chain(Tool::JUDGES) {
            assert_eq!(short(tool, "Traceback\n{\"a\": 1}\n[]\n\t\t\t\t\nerror TS"), [], "{tool:?}");
        }
    }

    #[test]
    fn an_end_that_is_none_is_no_pass() {
        assert!(Tool::Ast.is_whole("exit 0", "[\"end\", \"\", 0, \"\", \"\", \"4\"]\n"));
        assert!(!Tool::Ast.is_whole("exit 0", ""), "nothing was said");
        assert!(!Tool::Eslint.is_whole("exit 1", "[\"end\"]"));
        assert!(!Tool::Ruff.is_whole("step-timeout", "") && !Tool::Mypy.is_whole("exit 2", ""));
        assert!(
            !Tool::Bandit.is_whole("out-of-memory", "")
                && Tool::Tsc.is_whole("exit 2", "a.ts(1,1): error TS1: x")
        );
    }
}
