//! What documents point at is there: files, headings, tests.

use std::collections::{BTreeMap, BTreeSet};

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use crate::errors;
use crate::files::{self, File, Findings};

/// The anchors of a document's headings, as GitHub makes them.
fn anchors(file: &File) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    let mut heading: Option<String> = None;
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for event in Parser::new_ext(&file.text, Options::ENABLE_TABLES) {
        match event {
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::Text(text) | Event::Code(text) => {
                if let Some(heading) = &mut heading {
                    heading.push_str(&text);
                }
            }
            Event::End(TagEnd::Heading(_)) => {
                let anchor = anchor(&heading.take().unwrap_or_default());
                let before = seen.entry(anchor.clone()).or_default();
                anchors.insert(if *before == 0 { anchor } else { format!("{anchor}-{before}") });
                *before += 1;
            }
            _ => {}
        }
    }
    anchors
}

/// Letters, digits, `-` and `_` in lower case, spaces as `-`, and nothing else.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    let kept = kept.chars().filter(|each| each.is_alphanumeric() || matches!(each, ' ' | '-' | '_'));
    kept.map(|each| if each == ' ' { '-' } else { each }).collect()
}

/// The links and images of a document: where they stand and where they go.
fn destinations(file: &File) -> Vec<(usize, String)> {
    let events = Parser::new_ext(&file.text, Options::ENABLE_TABLES).into_offset_iter();
    let links = events.filter_map(|(event, range)| match event {
        Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
            Some((file.line_at(range.start), dest_url.into_string()))
        }
        _ => None,
    });
    links.collect()
}

/// A path from the root, with `.` and `..` worked out. None when it leaves the repository.
fn resolve(from: &str, to: &str) -> Option<String> {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in to.split('/').filter(|part| !part.is_empty() && *part != ".") {
        if part == ".." {
            parts.pop()?;
        } else {
            parts.push(part);
        }
    }
    Some(parts.join("/"))
}

/// Why a link goes nowhere.
fn broken(file: &File, destination: &str) -> Option<String> {
    if destination.contains("://") || destination.starts_with("mailto:") {
        return None;
    }
    let (path, fragment) = destination.split_once('#').unwrap_or((destination, ""));
    let Some(target) = (if path.is_empty() { Some(file.path.clone()) } else { resolve(&file.path, path) })
    else {
        return Some(format!("`{destination}` leaves the repository"));
    };
    if path.starts_with('/') || !(target == file.path || files::exists(&target)) {
        return Some(format!("`{destination}` is not there"));
    }
    if fragment.is_empty() || !target.ends_with(".md") {
        return None;
    }
    let found = if target == file.path { anchors(file) } else { anchors(files::at(&target)) };
    (!found.contains(fragment)).then(|| format!("`{target}` has no heading `#{fragment}`"))
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut findings = Findings::default();
    for file in files::with("md") {
        for (line, destination) in destinations(file) {
            if let Some(wrong) = broken(file, &destination) {
                findings.add(&file.path, line, wrong, "correct the link, or write what it promises");
            }
        }
    }
    findings.assert_none();

    let specimen = File::specimen("docs/x.md", "# One, `two`!\n\n[a](#one-two) [b](#three) [c](gone.md)\n");
    let broken: Vec<bool> =
        destinations(&specimen).iter().map(|(_, to)| broken(&specimen, to).is_some()).collect();
    assert_eq!(broken, [false, true, true]);
    assert_eq!(resolve("docs/x.md", "../../etc"), None);
}

/// The documents that a line of any file speaks of by their path from the root.
fn spoken_of(line: &str) -> Vec<&str> {
    let starts = line.match_indices("docs/").filter(|(at, _)| {
        let before = line[..*at].chars().next_back();
        !before.is_some_and(|before| before.is_alphanumeric() || matches!(before, '/' | '.' | '-' | '_'))
    });
    let paths = starts.filter_map(|(at, _)| {
        let rest = &line[at..];
        let end = rest.find(|each: char| !(each.is_ascii_alphanumeric() || "/-_.".contains(each)));
        let path = rest[..end.unwrap_or(rest.len())].trim_end_matches('.');
        path.ends_with(".md").then_some(path)
    });
    paths.collect()
}

#[test]
fn documents_that_code_speaks_of_exist() {
    let mut findings = Findings::default();
    // Reports on other repositories and their tests speak of documents that are not ours.
    let foreign = ["actors/report/", "cli/tests/", "tests/tidy/"];
    let ours = files::all().iter().filter(|file| !foreign.iter().any(|folder| file.path.starts_with(folder)));
    for file in ours.filter(|file| !file.path.starts_with("docs/")) {
        for (number, line) in file.lines() {
            for path in spoken_of(line).into_iter().filter(|path| !files::exists(path)) {
                let fix = "write the document, or name another";
                findings.add(&file.path, number, format!("`{path}` is not there"), fix);
            }
        }
    }
    findings.assert_none();
    assert_eq!(spoken_of("see docs/a-b/c.md. Or ../docs/d.md, `docs/<e>.md`."), ["docs/a-b/c.md"]);
}

/// The codes that a line tells people to ask about.
fn asked_about(line: &str) -> Vec<&str> {
    let asked = line.split("orrery explain ").skip(1);
    let codes = asked.map(|rest| {
        let end =
            rest.find(|each: char| !(each.is_ascii_lowercase() || each.is_ascii_digit() || each == '-'));
        &rest[..end.unwrap_or(rest.len())]
    });
    codes.filter(|code| !code.is_empty()).collect()
}

#[test]
fn codes_that_are_to_be_asked_about_are_explained() {
    let mut findings = Findings::default();
    for file in files::all().iter().filter(|file| !file.path.starts_with("tests/tidy/")) {
        for (number, line) in file.lines() {
            for code in asked_about(line).into_iter().filter(|code| !errors::is_explained(code)) {
                let fix = "name a code of docs/errors/errors.toml";
                findings.add(&file.path, number, format!("`{code}` is not explained"), fix);
            }
        }
    }
    findings.assert_none();
    assert_eq!(asked_about("`orrery explain CODE`, `orrery explain not-there`, {}"), ["not-there"]);
}

/// The tests that a row of the table of promises names.
fn named_tests(row: &str) -> Vec<&str> {
    let last = row.trim().trim_end_matches('|').rsplit('|').next().unwrap_or_default();
    let quoted = last.split('`').skip(1).step_by(2);
    quoted.filter(|name| name.contains('_') && !name.contains(['/', '.'])).collect()
}

#[test]
fn every_promise_is_shown_by_a_test_that_exists() {
    let file = files::at("docs/semantics.md");
    let mut rows = 0;
    let mut findings = Findings::default();
    let promises = file.lines().skip_while(|(_, line)| !line.contains("shown by"));
    for (number, row) in promises.skip(2).take_while(|(_, line)| line.starts_with('|')) {
        rows += 1;
        for name in named_tests(row) {
            let definition = format!("fn {name}(");
            if !files::with("rs").any(|source| source.text.contains(&definition)) {
                let fix = "name the test that shows it, or write it";
                findings.add(&file.path, number, format!("no test is called `{name}`"), fix);
            }
        }
    }
    findings.assert_none();
    assert!(rows >= 5, "the table of promises is not where it was: {rows} rows");
}
