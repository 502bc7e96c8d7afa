//! The report as one HTML page.
//!
//! The template escapes every value; only the charts, which escape their own text, are inserted as they are.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior};
use serde::Serialize;

use super::charts::{self, Charts};
use super::highlights::Highlight;
use super::{Meta, Report, words};
use crate::hotspots::LONG_FUNCTION_LINES;
use crate::{Error, Inputs, Review};

/// The template. Its sections follow the questions of a newcomer.
const TEMPLATE: &str = include_str!("page/page.html");

/// The style sheet: light and dark by the reader's setting; printed without the navigation.
const STYLE: &str = include_str!("page/style.css");

/// The template's name ends in `.html`, which is what turns escaping on.
const NAME: &str = "report.html";

/// Rows and entries on the page, so that a browser opens it at once; the artifacts have the rest.
#[derive(Serialize)]
struct Limits {
    languages: usize,
    contributors: usize,
    manifests: usize,
    dependencies: usize,
    findings: usize,
    notes: usize,
    rows: usize,
}

const LIMITS: Limits = Limits {
    languages: 40,
    contributors: 50,
    manifests: 60,
    dependencies: 100,
    findings: 50,
    notes: 200,
    rows: 50,
};

#[derive(Serialize)]
struct View<'a> {
    meta: &'a Meta,
    inputs: &'a Inputs,
    review: &'a Review,
    highlights: &'a [Highlight],
    charts: Charts,
    limits: Limits,
    long_function_lines: u64,
    style: &'static str,
}

/// Renders the page.
pub(super) fn page(report: &Report<'_>) -> Result<String, Error> {
    let view = View {
        meta: report.meta,
        inputs: report.inputs,
        review: report.review,
        highlights: &report.highlights,
        charts: charts::charts(report.inputs)?,
        limits: LIMITS,
        long_function_lines: LONG_FUNCTION_LINES,
        style: STYLE,
    };
    render(&view).map_err(|source| Error::Render { what: "page", source: Box::new(source) })
}

fn render(view: &View<'_>) -> Result<String, minijinja::Error> {
    let mut environment = Environment::new();
    // A misspelled name is a fault of the template and must not become an empty cell.
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    environment.add_filter("number", |value: u64| words::number(value));
    environment.add_filter("bytes", |value: u64| words::bytes(value));
    environment.add_filter("percent", |part: u64, whole: u64| words::percent(part, whole));
    environment.add_filter("day", |time: Option<String>| words::day(time.as_deref()).to_owned());
    environment.add_filter("name", |text: String| words::one_line(&text));
    environment.add_filter("quote", |text: String| words::lines(&text));
    environment.add_template(NAME, TEMPLATE)?;
    environment.get_template(NAME)?.render(Serde(view))
}
