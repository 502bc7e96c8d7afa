//! The report itself: a Markdown text and a self-contained HTML page, from the same artifacts.
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

/// What a report says about its origin. The time is an argument, so that the same input gives the same
/// report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Meta {
    pub title: String,
    /// The user's goal; may be empty.
    pub goal: String,
    /// The name of the repository, such as its folder or address.
    pub repo: String,
    /// The time of the report, in RFC 3339.
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

/// The data that both formats show.
struct Report<'a> {
    inputs: &'a Inputs,
    review: &'a Review,
    meta: &'a Meta,
    highlights: Vec<Highlight>,
}

/// Composes the report from reviewed artifacts. A failed check hides nothing: it is shown at the top.
pub fn compose(inputs: &Inputs, review: &Review, meta: &Meta) -> Result<Composed, Error> {
    let report = Report { inputs, review, meta, highlights: highlights::highlights(inputs, review, meta) };
    Ok(Composed { markdown: markdown::markdown(&report), html: page::page(&report)? })
}
