//! The report itself: one Markdown text and one HTML page that needs nothing else, from the same artifacts.
//!
//! Everything that comes from the repository is escaped. The page loads no script, font, image or style from
//! anywhere; its charts are drawn here and their numbers stand beside them as tables.

mod charts;
mod highlights;
mod markdown;
mod page;
mod words;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::highlights::Highlight;
use super::{Error, Inputs, Review};

/// What a report says about itself. The time is an argument, so that the same input gives the same report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Meta {
    pub title: String,
    /// What the user asked for; may be empty.
    pub goal: String,
    /// How the repository is called, such as its folder or address.
    pub repo: String,
    /// RFC 3339.
    pub generated_at: String,
    /// The full hash of the commit.
    pub commit: String,
}

/// A report in two formats.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Composed {
    pub markdown: String,
    pub html: String,
}

/// Everything that both formats show.
struct Report<'a> {
    inputs: &'a Inputs,
    review: &'a Review,
    meta: &'a Meta,
    highlights: Vec<Highlight>,
}

/// Composes the report of reviewed artifacts. A failed check does not hide anything: it is shown at the top.
pub fn compose(inputs: &Inputs, review: &Review, meta: &Meta) -> Result<Composed, Error> {
    let report = Report { inputs, review, meta, highlights: highlights::highlights(inputs, review, meta) };
    Ok(Composed { markdown: markdown::markdown(&report), html: page::page(&report)? })
}
