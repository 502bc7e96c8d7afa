//! Pages of lists: the options that choose one, and the line that leads to the next.

use gateway_api::paging::Paging;

/// The page to show.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Page {
    /// Rows in the page, 1 to 200 [default: 50]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=200))]
    pub limit: Option<u32>,
    /// The page to show: `next_cursor` of the page before
    #[arg(long)]
    pub cursor: Option<String>,
}

impl From<Page> for Paging {
    fn from(page: Page) -> Self {
        Self { limit: page.limit, cursor: page.cursor }
    }
}

/// A page as text, with the line that leads to the next page.
pub fn shown(mut text: String, next_cursor: Option<&String>) -> String {
    if let Some(cursor) = next_cursor {
        text.push_str(&format!("\nmore: --cursor {cursor}"));
    }
    text
}
