//! Manifests that are lists of lines: Python's `requirements.txt`, Go's `go.mod` and Ruby's `Gemfile`.

use crate::report::manifests::{Dependency, Kind, Problem, Reading};

/// One malformed file must not fill the report with a finding per line.
const PROBLEMS_MAX: usize = 20;

pub(super) fn requirements(path: &str, text: &str) -> Result<Reading, Problem> {
    let file_name = path.rsplit('/').next().unwrap_or(path);
    let development = ["dev", "test", "lint", "doc"].iter().any(|word| file_name.contains(word));
    let kind = if development { Kind::Dev } else { Kind::Normal };
    let mut reading = Reading::default();
    let mut joined = String::new();
    for (index, line) in text.lines().enumerate() {
        if let Some(start) = line.strip_suffix('\\') {
            joined.push_str(start);
            continue;
        }
        joined.push_str(line);
        let whole = std::mem::take(&mut joined);
        let bare = without_comment(&whole);
        // Options such as `-r other.txt` and `--hash=…` name no dependency of their own.
        if bare.is_empty() || bare.starts_with('-') {
            continue;
        }
        let bare = bare.split(" --hash").next().unwrap_or(bare);
        match python_requirement(bare, kind) {
            Some(dependency) => reading.dependencies.push(dependency),
            None if reading.problems.len() < PROBLEMS_MAX => reading.problems.push(Problem {
                line: Some(index as u64 + 1),
                text: format!("not a requirement: `{}`", bare.escape_debug()),
            }),
            None => {}
        }
    }
    Ok(reading)
}

fn without_comment(line: &str) -> &str {
    let line = line.trim();
    if line.starts_with('#') { "" } else { line.split(" #").next().unwrap_or(line).trim() }
}

/// A PEP 508 requirement: name, extras, version or address; what follows `;` is when it applies.
pub(super) fn python_requirement(text: &str, kind: Kind) -> Option<Dependency> {
    let text = text.split(';').next().unwrap_or(text).trim();
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let end = text.find(|c| !allowed(c)).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return None;
    }
    let rest = rest.trim_start();
    let rest = match rest.strip_prefix('[') {
        Some(extras) => extras.split_once(']')?.1.trim_start(),
        None => rest,
    };
    let version = rest.trim_matches(['(', ')']).trim();
    let known = version.is_empty() || version.starts_with(['=', '<', '>', '!', '~', '@', '^', '*']);
    known.then(|| Dependency::new(kind, name, version.trim_start_matches('@').trim()))
}

pub(super) fn go_mod(_path: &str, text: &str) -> Result<Reading, Problem> {
    let mut reading = Reading::default();
    let mut block = String::new();
    for (index, line) in text.lines().enumerate() {
        let (line, comment) = line.split_once("//").unwrap_or((line, ""));
        let line = line.trim();
        let mut words = line.split_whitespace();
        if line.is_empty() {
        } else if line == ")" {
            block.clear();
        } else if let Some(directive) = line.strip_suffix('(') {
            directive.trim().clone_into(&mut block);
        } else {
            let directive = if block.is_empty() { words.next().unwrap_or_default() } else { block.as_str() };
            match directive {
                "module" => reading.name = words.next().map(|name| name.trim_matches('"').to_owned()),
                "require" => go_require(words, comment, index, &mut reading),
                _ => {}
            }
        }
    }
    if reading.name.is_none() {
        return Err(Problem { line: None, text: "there is no `module` line".to_owned() });
    }
    Ok(reading)
}

fn go_require<'a>(
    mut words: impl Iterator<Item = &'a str>,
    comment: &str,
    index: usize,
    reading: &mut Reading,
) {
    match (words.next(), words.next()) {
        // Indirect requirements are those of the dependencies, which their own manifests state.
        (Some(_), Some(_)) if comment.trim() == "indirect" => {}
        (Some(name), Some(version)) => {
            reading.dependencies.push(Dependency::new(Kind::Normal, name.trim_matches('"'), version));
        }
        _ if reading.problems.len() < PROBLEMS_MAX => {
            let text = "a requirement needs a module and a version".to_owned();
            reading.problems.push(Problem { line: Some(index as u64 + 1), text });
        }
        _ => {}
    }
}

pub(super) fn gemfile(_path: &str, text: &str) -> Result<Reading, Problem> {
    let mut reading = Reading::default();
    // Whether each open `do` block is a group for developers.
    let mut blocks: Vec<bool> = Vec::new();
    for line in text.lines() {
        let line = without_comment(line);
        let development = |text: &str| text.contains(":development") || text.contains(":test");
        if line == "end" {
            blocks.pop();
        } else if line.ends_with(" do") {
            blocks.push(line.starts_with("group") && development(line));
        } else if let Some(rest) = line.strip_prefix("gem ").or_else(|| line.strip_prefix("gem(")) {
            let strings = leading_strings(rest);
            let kind = if blocks.contains(&true) || development(rest) { Kind::Dev } else { Kind::Normal };
            if let Some((name, requirement)) = strings.split_first() {
                reading.dependencies.push(Dependency::new(kind, *name, requirement.join(", ")));
            }
        }
    }
    Ok(reading)
}

/// The quoted strings at the start of a list of arguments, up to the first argument that is none.
fn leading_strings(arguments: &str) -> Vec<&str> {
    let mut strings = Vec::new();
    for argument in arguments.split(',') {
        let argument = argument.trim().trim_end_matches(')');
        let quoted = ['"', '\''].iter().find_map(|q| argument.strip_prefix(*q)?.strip_suffix(*q));
        match quoted {
            Some(text) => strings.push(text),
            None => break,
        }
    }
    strings
}
