//! The table of error codes, `docs/errors/errors.toml`: what each means, why it is given, and what to do.
//!
//! The gateway serves the entries as pages, and the command line prints them without a gateway.

use schemars::JsonSchema;
use serde::Serialize;

/// All entries, sorted by code.
pub const ALL: &[Entry] = include!(concat!(env!("OUT_DIR"), "/errors.rs"));

/// The entry of one code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Entry {
    /// The code.
    pub code: &'static str,
    /// The HTTP status; none where the code never leaves by HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// What happened, in one sentence.
    pub summary: &'static str,
    /// The cause, as Markdown.
    pub why: &'static str,
    /// What to do, as Markdown.
    pub next: &'static str,
}

impl Entry {
    /// The page about the code, as Markdown.
    pub fn page(&self) -> String {
        let Self { code, summary, why, next, .. } = self;
        let status = self.status.map_or("none".to_owned(), |status| status.to_string());
        format!(
            "# {code}\n\n{summary}\nHTTP status: {status}.\n\n## Why\n\n{why}\n\n## What to do\n\n{next}\n"
        )
    }
}

/// The entry of a code; none for an agent's own codes.
pub fn find(code: &str) -> Option<&'static Entry> {
    let at = ALL.binary_search_by_key(&code, |entry| entry.code).ok()?;
    ALL.get(at)
}

#[cfg(test)]
mod tests;
