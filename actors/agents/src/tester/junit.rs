//! Reports in the format of JUnit, as pytest and Node write them.
//!
//! A report is written by a program that nobody trusts: it is bounded, and text of it is made visible.

use bus_schemas::text;
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use serde::{Deserialize, Serialize};

/// The most bytes of a report.
const REPORT_BYTES_MAX: usize = 32 * 1024 * 1024;
/// The most cases of a report.
const CASES_MAX: usize = 50_000;
/// The most bytes of a name.
const NAME_BYTES_MAX: usize = 512;
/// The most bytes of a message.
const MESSAGE_BYTES_MAX: usize = 2_048;

/// The most places of a failure.
const LOCATIONS_MAX: usize = 10;
/// The most bytes of the text of a failure that are looked at.
const TRACE_BYTES_MAX: usize = 64 * 1024;

/// A line of a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Location {
    pub(crate) file: String,
    pub(crate) line: u32,
}

/// What became of a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Outcome {
    /// It ran, and nothing was wrong.
    Passed,
    /// It ran or was to be run, and something was wrong.
    Failed,
    /// It failed, and passed in a second run.
    Flaky,
    /// It says that it does not apply here.
    Skipped,
}

/// A test with its outcome.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Case {
    /// `class::name`, or `name` where there is no class.
    pub(super) name: String,
    pub(super) outcome: Outcome,
    pub(super) seconds: f64,
    /// Why it failed or was skipped.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) message: String,
    /// Where it failed: files of the project alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) locations: Vec<Location>,
}

/// The cases of a report, or why it cannot be read. `is_file` knows the files of the project.
pub(super) fn cases(report: &[u8], is_file: impl Fn(&str) -> bool) -> Result<Vec<Case>, String> {
    if report.len() > REPORT_BYTES_MAX {
        return Err(format!("the report has more than {REPORT_BYTES_MAX} bytes"));
    }
    let mut reader = Reader::from_reader(report);
    let (mut cases, mut open): (Vec<Case>, Option<Case>) = (Vec::new(), None);
    let (mut buffer, mut trace) = (Vec::new(), String::new());
    loop {
        let event = reader.read_event_into(&mut buffer).map_err(|error| error.to_string())?;
        let is_empty = matches!(event, Event::Empty(_));
        match event {
            Event::Start(tag) | Event::Empty(tag) => match tag.local_name().as_ref() {
                b"testcase" => {
                    if cases.len() >= CASES_MAX {
                        return Err(format!("the report has more than {CASES_MAX} cases"));
                    }
                    let case = begun(&tag)?;
                    trace.clear();
                    if is_empty { cases.push(case) } else { open = Some(case) }
                }
                // pytest reports a broken collection as an error, Node a failed test as a failure.
                b"failure" | b"error" => note(open.as_mut(), Outcome::Failed, &tag)?,
                b"skipped" => note(open.as_mut(), Outcome::Skipped, &tag)?,
                _ => {}
            },
            Event::Text(said) if open.is_some() && trace.len() < TRACE_BYTES_MAX => {
                trace.push_str(&String::from_utf8_lossy(&said));
            }
            Event::End(tag) if tag.local_name().as_ref() == b"testcase" => {
                if let Some(case) = open.as_mut().filter(|case| case.outcome == Outcome::Failed) {
                    case.locations = locations(&trace, &is_file);
                    explain(case, &trace);
                }
                cases.extend(open.take());
            }
            Event::Eof => {
                return if open.is_none() { Ok(cases) } else { Err("the report breaks off".to_owned()) };
            }
            _ => {}
        }
        buffer.clear();
    }
}

/// Adds what pytest marks as the error where the message does not say it: that of a broken collection says nothing.
fn explain(case: &mut Case, trace: &str) {
    let errors = trace.lines().filter_map(|line| line.strip_prefix("E ")).map(str::trim);
    let mut said = case.message.clone();
    for error in errors.filter(|error| !error.is_empty() && !case.message.contains(error)) {
        said.push('\n');
        said.push_str(error);
    }
    case.message = text::cut(&text::prose(&said), MESSAGE_BYTES_MAX);
}

/// The places in a trace: each a path of the project, a colon and a number.
fn locations(trace: &str, is_file: &impl Fn(&str) -> bool) -> Vec<Location> {
    let mut found: Vec<Location> = Vec::new();
    for word in trace.split(|sign: char| sign.is_whitespace() || "()\"',".contains(sign)) {
        let word = word.trim_start_matches("file://").trim_start_matches("/workspace/");
        let mut parts = word.split(':');
        let (Some(file), Some(line)) = (parts.next(), parts.next().and_then(|line| line.parse().ok())) else {
            continue;
        };
        let place = Location { file: file.to_owned(), line };
        if is_file(file) && !found.contains(&place) {
            found.push(place);
        }
        if found.len() == LOCATIONS_MAX {
            break;
        }
    }
    found
}

fn attribute(tag: &BytesStart<'_>, name: &str) -> Result<String, String> {
    let found = tag.try_get_attribute(name).map_err(|error| error.to_string())?;
    let value = found.map(|found| found.unescape_value().map(|value| value.into_owned()));
    value.transpose().map(Option::unwrap_or_default).map_err(|error| error.to_string())
}

fn begun(tag: &BytesStart<'_>) -> Result<Case, String> {
    let (class, name) = (attribute(tag, "classname")?, attribute(tag, "name")?);
    // Node writes the same class for every case.
    let name = if class.is_empty() || class == "test" { name } else { format!("{class}::{name}") };
    let seconds = attribute(tag, "time")?.parse().ok().filter(|seconds: &f64| seconds.is_finite());
    let name = text::cut(&text::one_line(&name), NAME_BYTES_MAX);
    Ok(Case {
        name,
        outcome: Outcome::Passed,
        seconds: seconds.unwrap_or_default(),
        message: String::new(),
        locations: Vec::new(),
    })
}

fn note(case: Option<&mut Case>, outcome: Outcome, tag: &BytesStart<'_>) -> Result<(), String> {
    let Some(case) = case else { return Ok(()) };
    // A failure says more than a skip.
    if case.outcome != Outcome::Failed {
        case.outcome = outcome;
        case.message = text::cut(&text::prose(&attribute(tag, "message")?), MESSAGE_BYTES_MAX);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{
        CASES_MAX, Case, LOCATIONS_MAX, MESSAGE_BYTES_MAX, NAME_BYTES_MAX, Outcome, REPORT_BYTES_MAX,
    };

    fn cases(report: &[u8]) -> Result<Vec<Case>, String> {
        super::cases(report, |file| ["tests/test_a.py", "lib.py", "web/lib.mjs"].contains(&file))
    }

    #[test]
    fn a_failure_has_its_places_in_the_project() {
        let report = br#"<testsuite><testcase name="a"><failure message="m">def test():
            tests/test_a.py:5:
            /usr/lib/python3.11/json.py:3: in loads
            lib.py:3: ZeroDivisionError
            lib.py:3: again, other.py:4: and lib.py:x</failure></testcase>
            <testcase name="b"><failure message="m"> at g (file:///workspace/web/lib.mjs:1:30) at node:vm:3</failure></testcase>
            <testcase name="d"><error message="collection failure">test_a.py:1: in x
E   ModuleNotFoundError: No module named 'requests'
E   collection failure</error></testcase>
            <testcase name="c"><system-out>lib.py:9</system-out></testcase></testsuite>"#;
        let found = cases(report).unwrap();
        let places = |at: usize| {
            found[at].locations.iter().map(|one| (one.file.as_str(), one.line)).collect::<Vec<_>>()
        };
        assert_eq!(places(0), [("tests/test_a.py", 5), ("lib.py", 3)]);
        assert_eq!((places(1), places(3)), (vec![("web/lib.mjs", 1)], vec![]));
        assert_eq!(found[2].message, "collection failure\nModuleNotFoundError: No module named 'requests'");
        let many: String = (0..99).map(|line| format!("lib.py:{line} ")).collect();
        let many = cases(format!("<testcase name='a'><error>{many}</error></testcase>").as_bytes()).unwrap();
        assert_eq!(many[0].locations.len(), LOCATIONS_MAX);
    }

    #[test]
    fn cases_of_pytest_and_node_are_read() {
        let report = br#"<?xml version="1.0"?><testsuites><testsuite name="pytest">
            <testcase classname="tests.test_a" name="test_one" time="0.5" />
            <testcase classname="tests.test_a" name="test_two[&lt;x&gt;]" time="nan"><failure message="assert 1 == 2">long
            text</failure></testcase>
            <testcase classname="tests.test_a" name="test_three"><skipped type="pytest.skip" message="not here"/></testcase>
            <testcase classname="" name="tests.test_b"><error message="collection failure">x</error></testcase>
            </testsuite><testsuite name="node"><testcase name="adds" classname="test" time="0.1"/></testsuite></testsuites>"#;
        let found = cases(report).unwrap();
        let short: Vec<_> =
            found.iter().map(|case| (case.name.as_str(), case.outcome, case.message.as_str())).collect();
        assert_eq!(
            short,
            [
                ("tests.test_a::test_one", Outcome::Passed, ""),
                ("tests.test_a::test_two[<x>]", Outcome::Failed, "assert 1 == 2"),
                ("tests.test_a::test_three", Outcome::Skipped, "not here"),
                ("tests.test_b", Outcome::Failed, "collection failure"),
                ("adds", Outcome::Passed, ""),
            ]
        );
        assert_eq!((found[0].seconds, found[1].seconds), (0.5, 0.0));
    }

    #[test]
    fn a_report_that_is_none_is_refused_and_text_is_bounded() {
        for wrong in
            [&b"<testsuite><testcase name='a'>"[..], b"<testsuite></testcas>", b"<testcase name='&nope;'/>"]
        {
            assert!(cases(wrong).is_err(), "{}", String::from_utf8_lossy(wrong));
        }
        assert_eq!(cases(b"").unwrap(), []);
        let long = format!(
            "<testcase name='{}\u{202e}'><failure message='{}'/></testcase>",
            "n".repeat(9_000),
            "m".repeat(9_000)
        );
        let case = cases(long.as_bytes()).unwrap().remove(0);
        assert!(case.name.len() <= NAME_BYTES_MAX && case.message.len() <= MESSAGE_BYTES_MAX);
        let many = "<testcase name='a'/>".repeat(CASES_MAX + 1);
        assert!(cases(many.as_bytes()).is_err());
        assert!(cases(&vec![b' '; REPORT_BYTES_MAX + 1]).is_err());
    }
}
