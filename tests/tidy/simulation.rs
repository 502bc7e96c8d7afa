//! The invariants of the simulation: what the documentation promises is what is checked, and each of
//! them is shown to notice a world that breaks it.

use std::collections::BTreeSet;

use crate::files::{self, File, Findings};

/// Where the invariants are told to people.
const TOLD: &str = "docs/semantics.md";
/// The section with their table.
const SECTION: &str = "## The simulation";
/// Where the table that says when each is checked stands.
const LISTED: &str = "tests/sim/invariants.rs";
/// Where each is shown to bite.
const SHOWN: &str = "tests/sim/mutations.rs";

/// Whether a word is made as names of invariants are: small letters, at least one `_`.
fn is_name(word: &str) -> bool {
    word.contains('_') && word.split('_').all(|part| !part.is_empty() && part.bytes().all(is_small))
}

fn is_small(byte: u8) -> bool {
    byte.is_ascii_lowercase()
}

/// The names in the first column of a table.
fn first_column<'a>(rows: impl Iterator<Item = &'a str>) -> BTreeSet<String> {
    let cells = rows.filter_map(|row| row.strip_prefix("| ")?.split(" | ").next());
    let words = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    words.filter(|word| is_name(word)).map(str::to_owned).collect()
}

/// The names in the table of a section.
fn told(file: &File) -> BTreeSet<String> {
    let lines = file.text.lines().skip_while(|line| *line != SECTION).skip(1);
    first_column(lines.take_while(|line| !line.starts_with("## ")))
}

/// The names in the table that opens a module.
fn listed(file: &File) -> BTreeSet<String> {
    first_column(file.text.lines().filter_map(|line| line.strip_prefix("//! ")))
}

/// The names that code holds as strings; comments are left out, and so are fields of a state, as in
/// `state["under_way"]`.
fn checked(file: &File) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for line in file.text.lines().filter(|line| !line.trim_start().starts_with("//")) {
        let parts: Vec<&str> = line.split('"').collect();
        for around in parts.windows(3).step_by(2) {
            let [before, word, after] = around else { continue };
            let is_field = before.ends_with('[') && after.starts_with(']');
            if is_name(word) && !is_field {
                names.insert((*word).to_owned());
            }
        }
    }
    names
}

/// Tells what of `wanted` a place does not have, and what it has beside that.
fn compare(findings: &mut Findings, path: &str, found: &BTreeSet<String>, wanted: &BTreeSet<String>) {
    for name in wanted.difference(found) {
        let fix = "tell, check and break every invariant under the same name";
        findings.add(path, 0, format!("the invariant `{name}` is not here"), fix);
    }
    for name in found.difference(wanted) {
        let fix = "check it in tests/sim, or strike the name";
        findings.add(path, 0, format!("`{name}` is no invariant of the simulation"), fix);
    }
}

#[test]
fn every_invariant_is_told_and_shown_to_bite() {
    let is_model = |file: &&File| file.path.starts_with("tests/sim/") && file.path != SHOWN;
    let wanted: BTreeSet<String> = files::with("rs").filter(is_model).flat_map(checked).collect();
    assert!(wanted.contains("no_double"), "the names are strings in tests/sim: {wanted:?}");
    let mut findings = Findings::default();
    compare(&mut findings, TOLD, &told(files::at(TOLD)), &wanted);
    compare(&mut findings, LISTED, &listed(files::at(LISTED)), &wanted);
    compare(&mut findings, SHOWN, &checked(files::at(SHOWN)), &wanted);
    findings.assert_none();

    let page = "| `not_this` | x |\n## The simulation\n| `one_name` | about `other_name` |\n## Next\n| `nor_this` |\n";
    let table = "//! | `one_name`, `two_names` | at `no_place` |\n// | `three_names` |\n";
    let code = "hold(true, \"one_name\", || \"a text with under_score\");\n// \"two_names\"\nviolated(\"UPPER_CASE\", state[\"a_field\"]);\n";
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(told(&File::specimen("x.md", page)), names(&["one_name"]));
    assert_eq!(listed(&File::specimen("x.rs", table)), names(&["one_name", "two_names"]));
    assert_eq!(checked(&File::specimen("x.rs", code)), names(&["one_name"]));
    let mut found = Findings::default();
    compare(&mut found, "x", &names(&["one_name", "two_names"]), &names(&["one_name", "three_names"]));
    assert_eq!(found.count(), 2);
}
