//! What a model is shown of a repository: the texts that the failing tests speak of, as far as there is room.

use actors_sandbox::{Entry, Files};
use serde_json::{Value, json};

use crate::checks::code::SECRET_FOUND;
use crate::checks::secrets;

/// The most bytes of files that a model is shown.
const BYTES_MAX: usize = 128 * 1024;
/// A shorter name stands in any text by chance.
const NAME_CHARACTERS_MIN: usize = 3;
/// Endings of programs, which a bug is rather in than in other texts.
const PROGRAMS: [&str; 9] = ["py", "pyi", "js", "mjs", "cjs", "jsx", "ts", "mts", "tsx"];

/// The files, a JSON object each, those first that `said`, what the failing tests say, names. A file that is too long
/// is shown in parts: the definitions that it names.
pub(super) fn files(files: &Files, said: &str, is_fixed: fn(&str) -> bool) -> Vec<Value> {
    let (mut lines, mut left) = (Vec::new(), BYTES_MAX);
    for (path, text) in relevant(files, said) {
        // A secret of the repository is nothing for a model, and a text that is not the file's cannot be replaced.
        if secrets::is_held_in(text) {
            lines.push(json!({"path": path, "read_only": true, "withheld": SECRET_FOUND}));
            continue;
        }
        let read_only = is_fixed(path);
        if text.len() <= left {
            left -= text.len();
            lines.push(json!({"path": path, "read_only": read_only, "text": text}));
            continue;
        }
        for (line, part) in parts(text, said) {
            if part.len() <= left {
                left -= part.len();
                lines.push(
                    json!({"path": path, "read_only": read_only, "part_from_line": line, "text": part}),
                );
            }
        }
    }
    lines
}

/// The texts among the files, those first that the failing tests speak of.
fn relevant<'a>(files: &'a Files, said: &str) -> Vec<(&'a str, &'a str)> {
    let mut texts: Vec<(&str, &str)> = files
        .iter()
        .filter_map(|(path, entry)| match entry {
            Entry::File { bytes, .. } => std::str::from_utf8(bytes).ok().map(|text| (path, text)),
            Entry::Link { .. } => None,
        })
        .collect();
    let tests: String =
        texts.iter().filter(|(path, _)| said.contains(name(path))).map(|(_, text)| *text).collect();
    let rank = |path: &str| {
        let name = name(path);
        let is_long = name.len() >= NAME_CHARACTERS_MIN;
        let is_program = path.rsplit_once('.').is_some_and(|(_, ending)| PROGRAMS.contains(&ending));
        let mentions = [is_long && said.contains(name), is_long && tests.contains(name)];
        (!is_program, mentions.iter().position(|is| *is).unwrap_or(mentions.len()))
    };
    texts.sort_by_cached_key(|(path, text)| (rank(path), text.len()));
    texts
}

/// The name of a module: that of its file, or of its folder where the file stands for the folder.
fn name(path: &str) -> &str {
    let (folders, file) = path.rsplit_once('/').unwrap_or(("", path));
    match file.split('.').next().unwrap_or_default() {
        "__init__" | "__main__" | "index" => folders.rsplit('/').next().unwrap_or_default(),
        name => name,
    }
}

/// The definitions of a text whose names stand in `said`, each with the number of its first line.
fn parts<'a>(text: &'a str, said: &str) -> Vec<(usize, &'a str)> {
    let said = plain(said);
    let mut starts = vec![(1, 0)];
    let (mut at, mut is_blank) = (0, false);
    for (number, line) in text.split_inclusive('\n').enumerate() {
        // What begins at the margin behind an empty line is a definition, or what belongs to the next one.
        if is_blank && line.starts_with(|sign: char| sign.is_alphabetic() || sign == '@' || sign == '_') {
            starts.push((number + 1, at));
        }
        is_blank = line.trim().is_empty();
        at += line.len();
    }
    let ends = starts.iter().skip(1).map(|(_, at)| *at).chain([text.len()]);
    let parts = starts.iter().zip(ends).map(|((line, from), to)| (*line, &text[*from..to]));
    parts.filter(|(_, part)| defined(part).any(|name| said.contains(&plain(name)))).collect()
}

/// The names that a part defines.
fn defined(part: &str) -> impl Iterator<Item = &str> {
    let lines = part.lines().filter(|line| !line.starts_with(char::is_whitespace));
    lines.flat_map(|line| {
        let words =
            line.split(|sign: char| !sign.is_alphanumeric() && sign != '_').filter(|word| !word.is_empty());
        let keywords = ["def", "class", "function", "const", "let", "var"];
        let names = words.clone().zip(words.skip(1)).filter(move |(word, _)| keywords.contains(word));
        names.map(|(_, name)| name).filter(|name| name.len() >= NAME_CHARACTERS_MIN)
    })
}

/// A name as it is written in every style: `interleave_evenly` stands in `InterleaveEvenlyTests`.
fn plain(name: &str) -> String {
    name.chars().filter(|sign| *sign != '_').flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository(all: &[(&str, String)]) -> Files {
        let mut files = Files::new();
        for (path, text) in all {
            files.insert(path, Entry::file(text.clone().into_bytes())).unwrap();
        }
        files
    }

    #[test]
    fn the_program_that_fails_is_shown_first_and_a_long_one_in_parts() {
        let filler =
            (0..9_000).map(|n| format!("\n\ndef filler_{n}():\n    return {n}\n")).collect::<String>();
        let long = format!("import os\n{filler}\n\n@cache\ndef interleave_evenly(a):\n    return a\n");
        let all = repository(&[
            ("README.md", "x".repeat(100_000)),
            ("other/__init__.py", "y".repeat(50_000)),
            ("shapes/__init__.py", "def area(): pass\n".into()),
            ("shapes/more.py", long.clone()),
            ("tests/test_shapes.py", "from shapes import area, more\n".into()),
        ]);
        let said = "tests.test_shapes.InterleaveEvenlyTests::test_area";
        let shown = files(&all, said, super::super::edits::is_fixed);
        let paths: Vec<&str> = shown.iter().filter_map(|line| line["path"].as_str()).collect();
        assert_eq!(
            paths,
            ["shapes/__init__.py", "tests/test_shapes.py", "shapes/more.py", "other/__init__.py"]
        );
        assert_eq!(shown[2]["text"], "@cache\ndef interleave_evenly(a):\n    return a\n");
        let line = long.lines().position(|line| line == "@cache").unwrap() + 1;
        assert_eq!((&shown[2]["part_from_line"], &shown[1]["read_only"]), (&json!(line), &json!(true)));
        assert!(shown.iter().map(|line| line["text"].as_str().unwrap().len()).sum::<usize>() <= BYTES_MAX);
    }
}
