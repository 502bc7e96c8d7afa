//! Edits: exact texts that replace exact texts, and the patch that they amount to.

use std::fmt::Write;

use actors_sandbox::{Entry, Files};
use actors_worker::Failure;
use actors_workspace::WorkspacePath;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The most edits of a round.
const EDITS_MAX: usize = 32;
/// The most bytes of a text of an edit.
const TEXT_BYTES_MAX: usize = 64 * 1024;
/// Lines of context around a change, as in every patch.
const CONTEXT: usize = 3;
/// Files that decide how tests run.
const FIXED: [&str; 10] = [
    "conftest.py",
    "pytest.ini",
    "tox.ini",
    "setup.cfg",
    "pyproject.toml",
    "package.json",
    "package-lock.json",
    "sitecustomize.py",
    "usercustomize.py",
    "pytest.py",
];

/// An edit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Edit {
    /// The file.
    pub(super) path: String,
    /// A text that stands exactly once in the file.
    pub(super) old: String,
    /// What replaces it.
    pub(super) new: String,
}

/// The schema of a model's answer.
pub(super) fn schema() -> Value {
    // Without bounds of lengths: servers that make a grammar of a schema refuse large ones. `applied` has them.
    let text = json!({"type": "string"});
    json!({
        "type": "object",
        "properties": {"edits": {"type": "array", "minItems": 1, "maxItems": EDITS_MAX, "items": {
            "type": "object",
            "properties": {"path": {"type": "string"}, "old": text, "new": text},
            "required": ["path", "old", "new"],
            "additionalProperties": false,
        }}},
        "required": ["edits"],
        "additionalProperties": false,
    })
}

/// The edits of an answer that fits the schema.
pub(super) fn read(answer: &Value) -> Result<Vec<Edit>, Failure> {
    serde_json::from_value(answer["edits"].clone())
        .map_err(|error| Failure::permanent("invalid-output", format!("the edits cannot be read: {error}")))
}

/// Whether a file of a repository is a test, or decides how tests run: it cannot be edited.
pub(super) fn is_fixed(path: &str) -> bool {
    let (folders, name) = path.rsplit_once('/').unwrap_or(("", path));
    let is_test = name.starts_with("test_") || name.ends_with("_test.py") || name.contains(".test.");
    let in_tests = folders.split('/').any(|folder| ["test", "tests", "testing"].contains(&folder));
    is_test || in_tests || decides(path)
}

/// Whether a file decides how tests run. What Python loads before everything else can make any test pass.
pub(crate) fn decides(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    name.ends_with(".pth") || FIXED.contains(&name)
}

/// The files after all edits, or why none of them counts: a code to count by, and a sentence. What is fixed cannot be
/// edited.
pub(super) fn applied(files: &Files, edits: &[Edit], is_fixed: fn(&str) -> bool) -> Result<Files, String> {
    let mut edited = files.clone();
    for Edit { path, old, new } in edits {
        WorkspacePath::parse(path).map_err(|error| format!("path-refused: {error}"))?;
        let Some(Entry::File { bytes, executable }) = edited.get(path) else {
            return Err(format!("no-such-file: `{path}` is no file of the repository"));
        };
        if is_fixed(path) {
            return Err(format!(
                "test-edited: `{path}` is a test or decides how tests run, and cannot be edited"
            ));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| format!("no-text: `{path}` is no text"))?;
        if old.len().max(new.len()) > TEXT_BYTES_MAX {
            return Err(format!("edit-too-large: a text for `{path}` has more than {TEXT_BYTES_MAX} bytes"));
        }
        let found = if old.is_empty() { 0 } else { text.matches(old.as_str()).count() };
        if found != 1 {
            return Err(format!(
                "text-differs: the old text stands {found} times in `{path}`, and must stand there once"
            ));
        }
        if old == new {
            return Err(format!("no-change: the edit of `{path}` changes nothing"));
        }
        let entry =
            Entry::File { bytes: text.replacen(old.as_str(), new, 1).into(), executable: *executable };
        edited.replace(path, entry).map_err(|error| format!("{}: {error}", error.code()))?;
    }
    Ok(edited)
}

/// The differences as a patch in unified format: for each file one hunk, from its first to its last changed line.
pub(super) fn patch(before: &Files, after: &Files) -> String {
    let mut patch = String::new();
    for (path, entry) in after.iter() {
        let (Entry::File { bytes: new, .. }, Some(Entry::File { bytes: old, .. })) =
            (entry, before.get(path))
        else {
            continue;
        };
        if let (Ok(old), Ok(new), true) = (std::str::from_utf8(old), std::str::from_utf8(new), old != new) {
            let _ = write!(patch, "--- a/{path}\n+++ b/{path}\n{}", hunk(old, new));
        }
    }
    patch
}

fn hunk(old: &str, new: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) =
        (old.split_inclusive('\n').collect(), new.split_inclusive('\n').collect());
    let same = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let shorter = old.len().min(new.len()) - same;
    let tail = old.iter().rev().zip(new.iter().rev()).take(shorter).take_while(|(a, b)| a == b).count();
    let from = same.saturating_sub(CONTEXT);
    let behind = tail.min(CONTEXT);
    let (old_end, new_end) = (old.len() - tail, new.len() - tail);
    let start = |from: usize, count: usize| if count == 0 { from } else { from + 1 };
    let (old_count, new_count) = (old_end + behind - from, new_end + behind - from);
    let mut hunk =
        format!("@@ -{},{old_count} +{},{new_count} @@\n", start(from, old_count), start(from, new_count));
    let mut lines = |sign: char, lines: &[&str]| {
        for line in lines {
            let _ = write!(hunk, "{sign}{line}");
            if !line.ends_with('\n') {
                hunk.push_str("\n\\ No newline at end of file\n");
            }
        }
    };
    lines(' ', &old[from..same]);
    lines('-', &old[same..old_end]);
    lines('+', &new[same..new_end]);
    lines(' ', &old[old_end..old_end + behind]);
    hunk
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn files(all: &[(&str, &str)]) -> Files {
        let mut files = Files::new();
        for (path, text) in all {
            files.insert(path, Entry::file(text.as_bytes().to_vec())).unwrap();
        }
        files
    }

    fn edit(path: &str, old: &str, new: &str) -> Edit {
        Edit { path: path.into(), old: old.into(), new: new.into() }
    }

    #[test]
    fn only_an_exact_text_in_a_file_that_is_no_test_is_replaced() {
        let before = files(&[
            ("a.py", "x = 1\ny = 1\n"),
            ("tests/test_a.py", "z"),
            ("conftest.py", "z"),
            ("b/x.pth", "z"),
        ]);
        let after =
            applied(&before, &[edit("a.py", "x = 1", "x = 2"), edit("a.py", "x = 2\n", "x = 3\n")], is_fixed)
                .unwrap();
        assert_eq!(after.get("a.py"), Some(&Entry::file("x = 3\ny = 1\n".as_bytes().to_vec())));
        for (wrong, part) in [
            (edit("a.py", " = ", "="), "2 times"),
            (edit("a.py", "x  = 1", "x = 2"), "0 times"),
            (edit("a.py", "", "x = 2"), "0 times"),
            (edit("a.py", "x = 1", "x = 1"), "changes nothing"),
            (edit("../a.py", "x", "y"), "is refused"),
            (edit("/etc/passwd", "x", "y"), "is refused"),
            (edit(".git/config", "x", "y"), "is refused"),
            (edit("new.py", "x", "y"), "no file"),
            (edit("tests/test_a.py", "z", "y"), "cannot be edited"),
            (edit("conftest.py", "z", "y"), "cannot be edited"),
            (edit("b/x.pth", "z", "y"), "cannot be edited"),
        ] {
            let reason =
                applied(&before, &[edit("a.py", "y = 1", "y = 2"), wrong.clone()], is_fixed).unwrap_err();
            assert!(reason.contains(part), "{wrong:?}: {reason}");
        }
    }

    #[test]
    fn a_patch_is_one_that_git_applies() {
        for (old, new) in [
            ("a\nb\nc\nd\ne\nf\ng\nh\n", "a\nb\nc\nD\nE2\ne\nf\ng\nh\n"),
            ("a\n", "b\n"),
            ("a\nb", "a\nc"),
            ("a\nb\n", "a\n"),
            ("a\na\n", "a\na\na\n"),
            ("a", "a\n"),
            ("\n\n\n\n\nx\n", "y\n\n\n\n\n\n"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("f"), old).unwrap();
            std::fs::write(folder.path().join("p"), patch(&files(&[("f", old)]), &files(&[("f", new)])))
                .unwrap();
            let applied =
                Command::new("git").current_dir(folder.path()).args(["apply", "p"]).output().unwrap();
            assert!(
                applied.status.success(),
                "{old:?} to {new:?}: {}",
                String::from_utf8_lossy(&applied.stderr)
            );
            assert_eq!(std::fs::read_to_string(folder.path().join("f")).unwrap(), new);
        }
        assert_eq!(patch(&files(&[("f", "a")]), &files(&[("f", "a")])), "");
    }
}
