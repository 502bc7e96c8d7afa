//! The web for the agent `research`: the skills `web-search` and `fetch`, and the same as tools of a conversation.
//!
//! Each request is a recorded step and a tool call of the budget: a later attempt, and a replay, makes none again.
//! Citations are looked up in the pages that a conversation fetched.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use actors_models::ToolError;
use actors_web::{Error, Page, Search, Searched, Web, normal};
use actors_worker::{Done, Failure, Work};
use bus_schemas::commands::task::Usage;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard};

use crate::checks::secrets;
use crate::failure::{input, of_web};
use crate::step::{reading, stored};

/// How long a request can be reserved in the budget: longer than it may take.
const LEASE: Duration = Duration::from_secs(120);
/// The bytes of a page that one call shows, and the links: a model reads all of them in each later turn.
const PART_BYTES: usize = 12 * 1024;
const LINKS_SHOWN: usize = 40;

/// What is searched for.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SearchInput {
    /// A few words; the goal of the task unless they are given.
    #[schemars(length(min = 1, max = 512))]
    query: Option<String>,
    /// The page of results, from 1.
    #[serde(default = "first")]
    #[schemars(range(min = 1, max = 10))]
    page: u32,
}

fn first() -> u32 {
    1
}

/// What is fetched.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FetchInput {
    /// The URL of the page.
    #[schemars(length(min = 1, max = 2_048))]
    url: String,
}

/// A search; `search.json` has the results.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct WebSearched {
    /// The number of results.
    results: usize,
    /// Search engines that did not answer, with the reason.
    silent: Vec<String>,
    /// Whether the answer came from the cache.
    from_cache: bool,
}

/// A page; `page.json` has its text and its links.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Fetched {
    /// The URL that answered.
    url: String,
    /// The title.
    title: String,
    /// The bytes of the text.
    bytes: usize,
    /// Whether the text was cut.
    is_cut: bool,
    /// Whether the page came from the cache.
    from_cache: bool,
}

/// A request within the budget of the tree. It ends when the job does.
async fn metered<T>(work: &Work, request: impl Future<Output = Result<T, Error>>) -> Result<T, Failure> {
    let (one, canceled) = (Usage { tool_calls: 1, ..Usage::default() }, work.canceled());
    work.spend(one, LEASE, async |meter| {
        meter.add(one);
        tokio::select! {
            biased;
            () = canceled.cancelled() => Err(Failure::canceled()),
            answer = request => answer.map_err(|error| of_web(&error)),
        }
    })
    .await
}

/// The skill `web-search`.
pub(crate) async fn search(work: &Work, web: &Web) -> Result<Done, Failure> {
    let SearchInput { query, page } = input(&work.job)?;
    let search = Search { query: query.unwrap_or_else(|| work.job.goal.clone()), page };
    reading(work, async || {
        let found: Searched = metered(work, web.search(&search)).await?;
        let from_cache = found.cached_ms.is_some();
        let result = WebSearched { results: found.results.len(), silent: found.silent.clone(), from_cache };
        stored(work, "search.json", &found, &result).await
    })
    .await
}

/// The skill `fetch`.
pub(crate) async fn fetch(work: &Work, web: &Web) -> Result<Done, Failure> {
    let FetchInput { url } = input(&work.job)?;
    reading(work, async || {
        let page: Page = metered(work, web.fetch(&url)).await?;
        let answered = page.answered_by.as_ref().unwrap_or(&page.url).clone();
        let result = Fetched {
            url: answered,
            title: page.title.clone(),
            bytes: page.text.len(),
            is_cut: page.is_cut,
            from_cache: page.cached_ms.is_some(),
        };
        stored(work, "page.json", &page, &result).await
    })
    .await
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SearchCall {
    /// A few words.
    #[schemars(length(min = 1, max = 512))]
    query: String,
    /// The page of results, from 1.
    #[schemars(range(min = 1, max = 10))]
    page: Option<u32>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FetchCall {
    /// The URL of the page.
    #[schemars(length(min = 1, max = 2_048))]
    url: String,
    /// The part of a long page, from 1.
    #[schemars(range(min = 1, max = 100))]
    part: Option<usize>,
}

/// What tools of the web showed in a conversation.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Seen {
    Results(Searched),
    Page(Box<Page>),
}

/// What was seen so far: each of it is a recorded step of its own, so that a later attempt knows it too.
#[derive(Default)]
struct Memory {
    /// Whether what earlier attempts recorded was read.
    is_whole: bool,
    count: u32,
    /// The URLs that may be fetched.
    shown: BTreeSet<String>,
    pages: BTreeMap<String, Page>,
}

impl Memory {
    fn add(&mut self, seen: Seen) {
        self.count += 1;
        let urls: Vec<String> = match seen {
            Seen::Results(found) => found.results.into_iter().map(|result| result.url).collect(),
            Seen::Page(page) => {
                let urls = page.links.iter().map(|link| link.url.clone()).collect();
                self.pages.insert(page.url.clone(), *page);
                urls
            }
        };
        self.shown.extend(urls.iter().filter_map(|url| normal(url)));
    }
}

/// The web in a conversation, whose handlers meter its calls. Cheap to clone.
///
/// What is fetched must stand in the question, among the results of a search, or among the links of a page that was
/// fetched: a model that is talked into it can put nothing that it knows into a URL.
#[derive(Clone)]
pub(crate) struct Surfer {
    web: Arc<Web>,
    work: Work,
    memory: Arc<Mutex<Memory>>,
}

impl Surfer {
    pub(crate) fn new(web: &Arc<Web>, work: &Work) -> Self {
        let signs =
            |letter: char| matches!(letter, '"' | '\'' | '<' | '>' | '(' | ')' | ',' | ';' | '.' | '?' | '!');
        let named = work.job.goal.split_whitespace().filter_map(|word| normal(word.trim_matches(signs)));
        let memory = Memory { shown: named.collect(), ..Memory::default() };
        Self { web: Arc::clone(web), work: work.clone(), memory: Arc::new(Mutex::new(memory)) }
    }

    /// Reads what earlier attempts have seen.
    pub(crate) async fn recall(&self) -> Result<(), Failure> {
        self.memory().await.map(drop)
    }

    /// What was seen, also by earlier attempts.
    async fn memory(&self) -> Result<MutexGuard<'_, Memory>, Failure> {
        let mut memory = self.memory.lock().await;
        while !memory.is_whole {
            let next = memory.count + 1;
            match self.work.recalled(&name(next), &next).await? {
                Some(seen) => memory.add(seen),
                None => memory.is_whole = true,
            }
        }
        Ok(memory)
    }

    async fn remember(&self, seen: Seen) -> Result<(), Failure> {
        let mut memory = self.memory().await?;
        let next = memory.count + 1;
        memory.add(self.work.step(&name(next), &next, || async { Ok(seen) }).await?);
        Ok(())
    }

    /// A page that was fetched in this conversation.
    pub(crate) async fn page(&self, url: &str) -> Result<Option<Page>, Failure> {
        Ok(self.memory().await?.pages.get(url).cloned())
    }

    /// The tool `web-search`.
    pub(crate) async fn search(self, asked: SearchCall) -> Result<Value, ToolError> {
        let search = Search { query: asked.query, page: asked.page.unwrap_or(1) };
        let found = self.web.search(&search).await.map_err(told)?;
        let shown = hidden(json!(found));
        self.remember(Seen::Results(found)).await?;
        Ok(shown)
    }

    /// The tool `fetch`.
    pub(crate) async fn fetch(self, asked: FetchCall) -> Result<Value, ToolError> {
        let Some(url) = normal(&asked.url) else {
            return Err(ToolError::Refused("this is no URL of a page".to_owned()));
        };
        let page = match self.page(&url).await? {
            Some(page) => page,
            None if !self.memory().await?.shown.contains(&url) => {
                let why = "this URL stands neither in the question, nor among the results of a search or the links of a \
                           page that were shown: search first";
                return Err(ToolError::Refused(why.to_owned()));
            }
            None => {
                let page = self.web.fetch(&url).await.map_err(told)?;
                self.remember(Seen::Page(Box::new(page.clone()))).await?;
                page
            }
        };
        part(&page, asked.part.unwrap_or(1))
    }
}

/// A part of a page as a model sees it.
fn part(page: &Page, part: usize) -> Result<Value, ToolError> {
    let parts = page.text.len().div_ceil(PART_BYTES).max(1);
    if !(1..=parts).contains(&part) {
        return Err(ToolError::Refused(format!("the page has {parts} parts")));
    }
    let at = |number: usize| page.text.floor_char_boundary((number * PART_BYTES).min(page.text.len()));
    let links = page.links.iter().take(LINKS_SHOWN).collect::<Vec<_>>();
    let text = &page.text[at(part - 1)..at(part)];
    Ok(hidden(json!({
        "url": page.url, "title": page.title, "text": text, "part": part, "parts": parts, "links": links,
    })))
}

/// What the model is told of a request that failed.
fn told(error: Error) -> ToolError {
    ToolError::Refused(error.to_string())
}

fn hidden(mut value: Value) -> Value {
    secrets::hide(&mut value);
    value
}

/// The name of the step that records what was seen.
fn name(number: u32) -> String {
    format!("web/{number}")
}
