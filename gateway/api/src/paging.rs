//! The page of a list without a filter.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The page to return. Lists with a filter have the same fields beside it.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Paging {
    /// Rows in the page. Default: 50.
    #[schemars(range(min = 1, max = 200))]
    pub limit: Option<u32>,
    /// The page to return: `next_cursor` of the page before.
    pub cursor: Option<String>,
}
