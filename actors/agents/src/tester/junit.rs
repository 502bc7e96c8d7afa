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
}

/// The cases of a report, or why it cannot be read.
pub(super) fn cases(report: &[u8]) -> Result<Vec<Case>, String> {
    if report.len() > REPORT_BYTES_MAX {
        return Err(format!("the report has more than {REPORT_BYTES_MAX} bytes"));
    }
    let mut reader = Reader::from_reader(report);
    let (mut cases, mut open): (Vec<Case>, Option<Case>) = (Vec::new(), None);
    let mut buffer = Vec::new();
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
                    if is_empty { cases.push(case) } else { open = Some(case) }
                }
                // pytest reports a broken collection as an error, Node a failed test as a failure.
                b"failure" | b"error" => note(open.as_mut(), Outcome::Failed, &tag)?,
                b"skipped" => note(open.as_mut(), Outcome::Skipped, &tag)?,
                _ => {}
            },
            Event::End(tag) if tag.local_name().as_ref() == b"testcase" => cases.extend(open.take()),
            Event::Eof => {
                return if open.is_none() { Ok(cases) } else { Err("the report breaks off".to_owned()) };
            }
            _ => {}
        }
        buffer.clear();
    }
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
    Ok(Case { name, outcome: Outcome::Passed, seconds: seconds.unwrap_or_default(), message: String::new() })
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
    use super::*;

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
