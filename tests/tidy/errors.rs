//! Error codes and their entries: every code that a person may meet has one in
//! `docs/errors/errors.toml`, refusals of entities also a row in `docs/protocol.md`, and no entry is about a code
//! that is gone. The build checks that entries are complete.

use std::collections::{BTreeMap, BTreeSet};

use crate::files::{self, File, Findings};

/// The table of codes.
const TABLE: &str = "docs/errors/errors.toml";
/// What to do about a code that is not in it.
const MISSING: &str = "write an entry for it in docs/errors/errors.toml";

/// Where a code is given: the file and the line.
type Codes = BTreeMap<String, (String, usize)>;

/// Words of lower-case letters and digits, joined by `-`.
fn is_code(text: &str) -> bool {
    let word = |word: &str| {
        !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    text.split('-').all(word)
}

/// The strings in quotes in a piece of code that may be codes, with where they begin.
fn quoted(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    let parts = code.split('"').enumerate().map(move |(index, part)| {
        let begins = at;
        at += part.len() + 1;
        (index, begins, part)
    });
    parts.filter(|(index, _, part)| index % 2 == 1 && is_code(part)).map(|(_, begins, part)| (begins, part))
}

/// The blocks of code that open with a text, up to the brace at the opening line's indentation.
fn blocks<'a>(file: &'a File, opening: &str) -> Vec<(usize, &'a str)> {
    let starts = file.text.match_indices(opening).map(|(at, _)| at);
    let blocks = starts.map(|at| {
        let line = file.text[..at].rfind('\n').map_or(0, |end| end + 1);
        let indentation = file.text[line..].chars().take_while(|each| *each == ' ').count();
        let close = format!("\n{}}}", " ".repeat(indentation));
        let end = file.text[at..].find(&close).map_or(file.text.len(), |length| at + length);
        (at, &file.text[at..end])
    });
    blocks.collect()
}

/// The codes that are the first text argument of a call.
fn first_arguments<'a>(file: &'a File, call: &str) -> Vec<(usize, &'a str)> {
    let calls = file.text.match_indices(call).map(|(at, _)| at + call.len());
    let arguments = calls.filter_map(|at| {
        let rest = &file.text[at..];
        let argument = rest.trim_start();
        // `Failure::new(class, "code", …)` names its class first.
        let argument = match argument.split_once(',') {
            Some((class, after)) if class.starts_with("FailureClass::") => after.trim_start(),
            _ => argument,
        };
        let (code, _) = argument.strip_prefix('"')?.split_once('"')?;
        is_code(code).then_some((at, code))
    });
    arguments.collect()
}

/// The program's own text: without its tests.
fn program(file: &File) -> Option<File> {
    if file.is_test() || !file.path.contains("/src/") {
        return None;
    }
    let text = file.text.split("#[cfg(test)]").next().unwrap_or_default();
    Some(File::specimen(&file.path, text))
}

fn note(codes: &mut Codes, file: &File, found: Vec<(usize, &str)>) {
    for (at, code) in found {
        codes.entry(code.to_owned()).or_insert_with(|| (file.path.clone(), file.line_at(at)));
    }
}

/// The codes of one file that owe an entry.
fn owed_by(file: &File, codes: &mut Codes) {
    for opening in ["fn code(&self) -> &'static str {", "fn code(self) -> &'static str {", "pub mod code {"] {
        for (at, block) in blocks(file, opening) {
            note(codes, file, quoted(block).map(|(inside, code)| (at + inside, code)).collect());
        }
    }
    let (calls, arms): (&[&str], bool) = match &file.path {
        path if path.starts_with("cli/") => {
            (&["Failure::new(", "Failure::of(", "Self::of("], path.ends_with("failure.rs"))
        }
        path if ["actors/worker/", "actors/agents/", "actors/models/"]
            .iter()
            .any(|folder| path.starts_with(folder)) =>
        {
            (&["Failure::new(", "Failure::permanent(", "Failure::transient(", "Failure::ambiguous("], false)
        }
        path if path.starts_with("storage/") => (&["Advice::new("], false),
        _ => (&[], false),
    };
    for call in calls {
        note(codes, file, first_arguments(file, call));
    }
    if arms {
        note(codes, file, first_arguments(file, "=>"));
    }
}

fn all_owed() -> Codes {
    let mut codes = Codes::new();
    for file in files::with("rs").filter_map(program) {
        owed_by(&file, &mut codes);
    }
    codes
}

/// The codes that entities refuse with.
fn of_entities() -> Codes {
    let mut codes = Codes::new();
    for file in files::with("rs").filter(|file| file.path.starts_with("actors/logic/")).filter_map(program) {
        note(&mut codes, &file, first_arguments(&file, "Refusal::new("));
    }
    codes
}

/// The codes of the table with their lines, in the order of the lines.
fn listed(table: &File) -> Vec<(&str, usize)> {
    let heading = |line| str::strip_suffix(str::strip_prefix(line, '[')?, ']');
    let codes = table.lines().filter_map(|(number, line)| Some((heading(line)?, number)));
    codes.filter(|(code, _)| is_code(code)).collect()
}

/// Whether the table has an entry for a code.
pub fn is_explained(code: &str) -> bool {
    listed(files::at(TABLE)).iter().any(|(known, _)| *known == code)
}

#[test]
fn every_error_code_has_an_entry() {
    let mut codes = all_owed();
    codes.extend(of_entities());
    let mut findings = Findings::default();
    for (code, (path, line)) in codes.iter().filter(|(code, _)| !is_explained(code)) {
        findings.add(path, *line, format!("the code `{code}` is not explained"), MISSING);
    }
    findings.assert_none();

    // One of each sort: without them the search above would find nothing and be content.
    for known in [
        "nats-lazy-sync",
        "busy",
        "too-many-streams",
        "not-running",
        "no-answer",
        "unknown-skill",
        "task-final",
    ] {
        assert!(codes.contains_key(known), "`{known}` is given by the program and was not found");
    }
}

/// The codes that tasks fail with stand as text in their entity.
fn of_failures() -> Codes {
    let mut codes = Codes::new();
    let logic = files::with("rs").filter(|file| file.path.starts_with("actors/logic/src/task"));
    for file in logic.filter_map(program) {
        note(&mut codes, &file, quoted(&file.text).collect());
    }
    codes
}

#[test]
fn every_entry_is_about_a_code_that_exists() {
    let mut given: BTreeSet<String> = all_owed().into_keys().collect();
    given.extend(of_entities().into_keys());
    given.extend(of_failures().into_keys());
    let mut findings = Findings::default();
    for (code, line) in listed(files::at(TABLE)).into_iter().filter(|(code, _)| !given.contains(*code)) {
        let fix = "delete the entry, or give the code";
        findings.add(TABLE, line, format!("the program gives no code `{code}`"), fix);
    }
    findings.assert_none();
}

#[test]
fn entries_are_in_the_order_of_their_codes() {
    let mut findings = Findings::default();
    for pair in listed(files::at(TABLE)).windows(2) {
        if let [(before, _), (code, line)] = pair
            && before >= code
        {
            findings.add(TABLE, *line, format!("`{code}` behind `{before}`"), "sort the entries");
        }
    }
    findings.assert_none();
    let specimen = File::specimen(TABLE, "[b]\nwhy = \"\"\"\n[A](b) is\n[a-c]\"\"\"\n[a-c]\n");
    assert_eq!(listed(&specimen), [("b", 1), ("a-c", 5)]);
}

#[test]
fn the_protocol_lists_every_refusal_of_entities() {
    let file = files::at("docs/protocol.md");
    let rows = file.lines().skip_while(|(_, line)| *line != "## Refusals").skip(1);
    let rows =
        rows.take_while(|(_, line)| !line.starts_with("## ")).filter(|(_, line)| line.starts_with("| `"));
    let mut listed: BTreeMap<&str, usize> = BTreeMap::new();
    for (number, row) in rows {
        let cell = row.split('|').nth(1).unwrap_or_default();
        listed.extend(cell.split('`').skip(1).step_by(2).map(|code| (code, number)));
    }
    let mut findings = Findings::default();
    for (code, (path, line)) in of_entities() {
        if !listed.contains_key(code.as_str()) {
            let fix = "add a row to the table of refusals in docs/protocol.md";
            findings.add(&path, line, format!("`{code}` is not in the protocol"), fix);
        }
    }
    for (code, number) in listed.iter().filter(|(code, _)| !is_explained(code)) {
        findings.add(&file.path, *number, format!("the refusal `{code}` is not explained"), MISSING);
    }
    let literal = |code: &str| {
        let folders = ["bus-schemas/src/", "actors/logic/src/", "actors/runtime/src/"];
        let sources =
            files::with("rs").filter(|each| folders.iter().any(|folder| each.path.starts_with(folder)));
        sources.filter_map(program).any(|each| each.text.contains(&format!("\"{code}\"")))
    };
    for (code, number) in listed.iter().filter(|(code, _)| !literal(code)) {
        let fix = "take it out of the table";
        findings.add(&file.path, *number, format!("nothing refuses with `{code}`"), fix);
    }
    findings.assert_none();
    assert!(listed.len() > 30, "the table of refusals is not where it was: {} codes", listed.len());
}
