//! The table of faults and their tests: every test that it names is one, and no fault is left out.

use std::collections::BTreeSet;

use crate::files::{self, File, Findings};

/// The file with the table.
const TABLE: &str = "docs/changes/unreleased/faults.md";
/// The number of the last fault.
const LAST: u32 = 59;
/// The first line of the table.
const HEADING: &str = "| fault | test | related faults found |";

/// Whether a text is the name of a function: commands, paths and error codes are none.
fn is_name(text: &str) -> bool {
    let part = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    !text.is_empty() && text.bytes().all(part)
}

/// The names in backquotes in a row of the table, behind its first column.
fn named(row: &str) -> impl Iterator<Item = &str> {
    let cells = row.split('|').skip(2);
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).filter(|text| is_name(text))
}

/// The names of the tests in a source file: functions with an attribute that says so.
fn tests(file: &File) -> impl Iterator<Item = &str> {
    let (mut is_test, mut found) = (false, Vec::new());
    for (_, line) in file.lines() {
        let line = line.trim_start();
        if line.starts_with("#[") {
            is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
        } else if let Some((_, name)) = line.split_once("fn ").filter(|_| is_test) {
            found.extend(name.split(['(', '<']).next());
            is_test = false;
        }
    }
    found.into_iter()
}

/// The numbers in the first column of a row.
fn numbers(row: &str) -> impl Iterator<Item = u32> {
    let cell = row.split('|').nth(1).unwrap_or_default();
    cell.split([' ', ','])
        .map_while(|word| match word {
            "" => Some(None),
            word => word.parse().ok().map(Some),
        })
        .flatten()
}

/// The numbers of the faults that the table leaves out. There never was a fault 47.
fn left_out(file: &File) -> Vec<u32> {
    let rows = file.lines().skip_while(|(_, line)| *line != HEADING).skip(2);
    let known: BTreeSet<u32> =
        rows.take_while(|(_, line)| line.starts_with('|')).flat_map(|(_, row)| numbers(row)).collect();
    (1..=LAST).filter(|number| *number != 47 && !known.contains(number)).collect()
}

fn tests_of_faults(file: &File, tests: &BTreeSet<&str>, findings: &mut Findings) {
    let rows = file.lines().skip_while(|(_, line)| *line != HEADING);
    for (number, row) in rows.take_while(|(_, line)| line.starts_with('|')) {
        for name in named(row).filter(|name| !tests.contains(name)) {
            let fix = "name a test of the repository's Rust sources";
            findings.add(&file.path, number, format!("no test is called `{name}`"), fix);
        }
    }
}

#[test]
fn every_test_of_a_fault_exists() {
    let known: BTreeSet<&str> = files::with("rs").flat_map(tests).collect();
    let table = files::at(TABLE);
    assert!(table.text.contains(HEADING), "{TABLE} has no table of faults");
    let mut findings = Findings::default();
    tests_of_faults(table, &known, &mut findings);
    findings.assert_none();
    assert_eq!(left_out(table), Vec::<u32>::new(), "{TABLE} leaves faults out");

    let source = File::specimen(
        "a/src/b.rs",
        "#[test]\nasync fn known() {}\n#[tokio::test]\n#[x]\nfn other<T>() {}\nfn no() {}\n",
    );
    let known: BTreeSet<&str> = tests(&source).collect();
    assert_eq!(known, BTreeSet::from(["known", "other"]));
    let rows = "| --- | --- | --- |\n| 1, 2 `here` | `known`, `gone` | `too-large`: `missing`, `other` |\n";
    let mut found = Findings::default();
    tests_of_faults(&File::specimen("x.md", &format!("{HEADING}\n{rows}")), &known, &mut found);
    assert_eq!(found.count(), 2);
    assert_eq!(numbers("| 42, 43 rates of 3 |").collect::<Vec<_>>(), [42, 43]);
}
