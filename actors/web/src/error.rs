//! The ways that a search or a fetch can fail, each with a stable code and the next step.

use std::net::IpAddr;
use std::time::Duration;

/// Why there is nothing to read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The operator has not allowed it.
    #[error("{what} is not allowed here")]
    Off { what: &'static str },
    /// The URL is none that is fetched.
    #[error("the URL `{url}` is refused: {why}")]
    Url { url: String, why: &'static str },
    /// The query is none that is searched for.
    #[error("the query is refused: {why}")]
    Query { why: &'static str },
    /// The host has an address that is not of the public internet.
    #[error("the host `{host}` is refused: {address} is not an address of the public internet")]
    Address { host: String, address: IpAddr },
    /// The site asks programs not to read this.
    #[error("`{host}` asks programs not to fetch `{path}`: {why}")]
    Robots { host: String, path: String, why: String },
    /// There was no answer, or not all of it.
    #[error("`{host}` gave no answer: {why}")]
    Unreachable { host: String, why: String },
    /// The server asks to wait.
    #[error("`{host}` has had enough requests: status {status}")]
    RateLimited { host: String, status: u16, retry_after: Option<Duration> },
    /// The answer is none that can be read.
    #[error("the answer of `{host}` is refused: {why}")]
    Answer { host: String, why: String },
    /// The search does not answer as SearXNG does.
    #[error("the search cannot be used: {why}")]
    Search { why: String },
}

impl Error {
    /// A stable code, for programs and for documentation.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Off { .. } => "web-not-allowed",
            Self::Url { .. } => "url-refused",
            Self::Query { .. } => "invalid-input",
            Self::Address { .. } => "address-refused",
            Self::Robots { .. } => "robots-refused",
            Self::Unreachable { .. } => "web-unreachable",
            Self::RateLimited { .. } => "web-rate-limited",
            Self::Answer { .. } => "web-answer-refused",
            Self::Search { .. } => "search-unusable",
        }
    }

    /// The next step.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Off { .. } => "an operator allows it with the settings `web.search_url` and `web.fetch`",
            Self::Url { .. } => {
                "give an `http` or `https` URL of a public site, without a user or a port of its own"
            }
            Self::Query { .. } => "give a few words",
            Self::Address { .. } => {
                "give a public site; an operator names other hosts with the setting `web.allowed_hosts`"
            }
            Self::Robots { .. } => "take another source, or read the page yourself",
            Self::Unreachable { .. } => "check the address in a browser, and try again later",
            Self::RateLimited { .. } => "wait, then try again",
            Self::Answer { .. } => "take another source: pages of text of at most 4 MiB are read",
            Self::Search { .. } => {
                "an operator lets SearXNG answer in JSON: `json` among `search.formats` in its `settings.yml`"
            }
        }
    }

    /// Whether the same request may succeed later.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::RateLimited { .. })
    }
}
