//! A search by SearXNG's interface: `GET /search?q=…&format=json`.

use bus_schemas::text;
use hyper::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use crate::error::Error;

/// The most results, and how many unless the search says.
const RESULTS_MAX: usize = 20;
/// The most bytes of a query, of a title, of what is said of a result, and of a URL.
const QUERY_BYTES_MAX: usize = 512;
const TITLE_BYTES_MAX: usize = 300;
const CONTENT_BYTES_MAX: usize = 1_024;
const URL_BYTES_MAX: usize = 2_048;
/// The most engines that are named as silent, and the most bytes of each word about them.
const ENGINES_MAX: usize = 32;
const WORD_BYTES_MAX: usize = 100;
/// The highest page of results.
const PAGES_MAX: u32 = 10;

/// What is searched for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Search {
    /// A few words.
    pub query: String,
    /// The page of results, from 1.
    pub page: u32,
}

/// One result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// The page.
    pub url: String,
    /// Its title.
    pub title: String,
    /// What the search says of it.
    pub content: String,
}

/// What a search found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Searched {
    /// The results, the best one first.
    pub results: Vec<Found>,
    /// Search engines that did not answer, with the reason: fewer results than there are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub silent: Vec<String>,
    /// The age of the answer in milliseconds, if it came from the cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_ms: Option<u64>,
}

impl Search {
    /// The query, if it is one.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let why = match &self.query {
            query if query.trim().is_empty() => "a query is not empty",
            query if query.len() > QUERY_BYTES_MAX => "a query has at most 512 bytes",
            query if query.chars().any(char::is_control) => "a query has no control characters",
            _ if !(1..=PAGES_MAX).contains(&self.page) => "a page of results is 1 to 10",
            _ => return Ok(()),
        };
        Err(Error::Query { why })
    }

    /// The URL to ask, below the address of the instance.
    pub(crate) fn url(&self, instance: &Url) -> Url {
        let mut url = instance.clone();
        url.set_path(&format!("{}/search", instance.path().trim_end_matches('/')));
        url.query_pairs_mut()
            .append_pair("q", self.query.trim())
            .append_pair("format", "json")
            .append_pair("pageno", &self.page.to_string());
        url
    }
}

/// Reads an answer. Its `media_type` is without parameters.
pub(crate) fn read(status: StatusCode, media_type: &str, body: &[u8]) -> Result<Searched, Error> {
    let unusable = |why: String| Error::Search { why };
    // SearXNG refuses a format that its settings do not list.
    if status == StatusCode::FORBIDDEN {
        return Err(unusable("JSON is refused (status 403)".to_owned()));
    }
    if !status.is_success() {
        return Err(unusable(format!("the status is {}", status.as_u16())));
    }
    if media_type != "application/json" {
        let media_type = text::cut(&text::one_line(media_type), WORD_BYTES_MAX);
        return Err(unusable(format!("the answer is `{media_type}` and not `application/json`")));
    }
    let answer: Value =
        serde_json::from_slice(body).map_err(|error| unusable(format!("the answer is no JSON: {error}")))?;
    let Some(results) = answer.get("results").and_then(Value::as_array) else {
        return Err(unusable("the answer has no `results`".to_owned()));
    };
    let results = results.iter().filter_map(found).take(RESULTS_MAX).collect();
    let silent = answer.get("unresponsive_engines").and_then(Value::as_array);
    let silent = silent.into_iter().flatten().filter_map(engine).take(ENGINES_MAX).collect();
    Ok(Searched { results, silent, cached_ms: None })
}

/// A result with a page of the web.
fn found(result: &Value) -> Option<Found> {
    let line = |name: &str, bytes_max| {
        let said = result.get(name).and_then(Value::as_str).unwrap_or_default();
        text::cut(&text::one_line(said), bytes_max)
    };
    let url = Url::parse(result.get("url")?.as_str()?).ok()?;
    let is_page = matches!(url.scheme(), "http" | "https") && url.as_str().len() <= URL_BYTES_MAX;
    is_page.then(|| Found {
        url: url.to_string(),
        title: line("title", TITLE_BYTES_MAX),
        content: line("content", CONTENT_BYTES_MAX),
    })
}

/// An engine that did not answer: `["name", "reason"]`.
fn engine(pair: &Value) -> Option<String> {
    let [name, reason] = pair.as_array()?.as_slice() else { return None };
    let word = |value: &Value| Some(text::cut(&text::one_line(value.as_str()?), WORD_BYTES_MAX));
    Some(format!("{}: {}", word(name)?, word(reason)?))
}
