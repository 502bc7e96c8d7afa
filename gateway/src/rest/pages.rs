//! The pages of error codes: what `type` of a problem points to.

use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};

use super::extract::Path;
use super::problem::{Problem, code};

/// Codes and their pages in `docs/errors/`, sorted by code.
const PAGES: &[(&str, &str)] = &include!(concat!(env!("OUT_DIR"), "/pages.rs"));

/// Browsers show plain text and offer Markdown as a download.
const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const MARKDOWN: HeaderValue = HeaderValue::from_static("text/markdown; charset=utf-8");

/// What an error code means, why it is given, and what to do.
#[utoipa::path(get, path = "/errors/{code}", operation_id = "explainError", tag = "operations", params(("code" = String, Path, description = "a problem's `code`")),
    responses((status = 200, description = "a page in Markdown; as plain text for browsers", content_type = "text/markdown")))]
pub async fn show(Path(name): Path<String>, headers: HeaderMap) -> Result<Response, Problem> {
    let page = page(&name).ok_or_else(|| {
        Problem::new(code::ROUTE_NOT_FOUND, "there is no page about this code")
            .hint("agents may fail with codes of their own: ask whoever wrote the agent")
    })?;
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = if accept.contains("text/html") { PLAIN } else { MARKDOWN };
    Ok(([(header::CONTENT_TYPE, media_type)], page).into_response())
}

/// The page about a code.
fn page(code: &str) -> Option<&'static str> {
    let at = PAGES.binary_search_by(|(known, _)| known.cmp(&code)).ok()?;
    PAGES.get(at).map(|(_, page)| *page)
}

#[cfg(test)]
mod tests {
    use super::{PAGES, page};

    #[test]
    fn every_page_is_found_by_its_code() {
        assert!(PAGES.len() > 90);
        for (code, text) in PAGES {
            assert!(page(code) == Some(text) && text.starts_with(&format!("# {code}\n")), "{code}");
        }
        assert_eq!(page("no-such-code"), None);
    }
}
