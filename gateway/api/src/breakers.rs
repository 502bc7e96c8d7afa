//! Circuit breakers: which dependencies may be called, and why not.

use bus_schemas::Key;
use bus_schemas::commands::breaker::Description;
use bus_schemas::views::silent::Silent;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The reason for opening or closing a breaker by hand.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeBreaker {
    /// The reason, for whoever is on call.
    pub reason: String,
}

/// A page of known breakers.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct BreakerPage {
    /// The breakers. Pages are by name; within a page those that are not closed come first.
    pub breakers: Vec<Breaker>,
    /// Breakers of the page that did not answer.
    #[serde(default)]
    pub silent: Vec<Silent>,
    /// The cursor of the next page; null on the last page.
    pub next_cursor: Option<String>,
}

/// A breaker with its current status.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Breaker {
    /// The dependency, which is the breaker's key.
    pub dependency: Key,
    /// The breaker's status.
    #[serde(flatten)]
    pub now: Description,
}

/// A breaker after it was opened or closed by hand.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct BreakerChanged {
    /// The breaker after the change.
    #[serde(flatten)]
    pub breaker: Breaker,
    /// Whether the dependency was known before: a misspelled name stops nothing.
    pub known: bool,
}
