//! The front: what an operator allows, the cache, a search and a fetch.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{io, mem};

use futures::future::BoxFuture;
use url::Url;

use crate::address::{self, Hosts};
use crate::cache::Cache;
use crate::error::Error;
use crate::fetch::{Answer, BODY_BYTES_MAX, Way};
use crate::page::{Page, Readable, read_html, read_plain};
use crate::robots::{self, Robots};
use crate::search::{self, Search, Searched};

/// The most redirects of a fetch.
const REDIRECTS_MAX: usize = 5;
/// How long one search or one fetch may take, with its redirects and with `robots.txt`.
const WHOLE: Duration = Duration::from_secs(30);
/// How long the rules of a site are kept, and how long it is remembered that it has not told them.
const ROBOTS_AGE: Duration = Duration::from_secs(24 * 3_600);
const SILENCE_AGE: Duration = Duration::from_secs(60);

/// Looks up the addresses of a host at a port.
pub type Resolve = Arc<dyn Fn(String, u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> + Send + Sync>;

/// What an operator allows.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The address of a SearXNG instance; without it there is no search.
    pub search_url: Option<String>,
    /// Whether pages are fetched.
    pub fetch: bool,
    /// Hosts beside the public internet that may be fetched from: `host`, or `host:port`.
    pub allowed_hosts: Vec<String>,
    /// How old an answer from the cache may be; zero for none.
    pub cache_age: Duration,
}

/// The web. By default nothing of it may be used.
pub struct Web {
    search: Option<Url>,
    fetches: bool,
    hosts: Hosts,
    cache_age: Duration,
    whole: Duration,
    resolve: Resolve,
    pages: Mutex<Cache<Page>>,
    searches: Mutex<Cache<Searched>>,
    robots: Mutex<Cache<Arc<Result<Robots, String>>>>,
}

impl fmt::Debug for Web {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Web").field("search", &self.search.is_some()).field("fetches", &self.fetches).finish()
    }
}

impl Default for Web {
    fn default() -> Self {
        Self::new(&Settings::default()).expect("settings that allow nothing are valid")
    }
}

impl Web {
    /// The web as far as settings allow it, or the setting that is wrong, with the reason.
    pub fn new(settings: &Settings) -> Result<Self, (&'static str, String)> {
        let search = settings.search_url.as_deref().map(|text| {
            let url = Url::parse(text).ok().filter(|url| {
                let is_web = matches!(url.scheme(), "http" | "https") && url.has_host();
                is_web && url.username().is_empty() && url.password().is_none() && url.query().is_none()
            });
            let wanted = "is not `https://host/path` or `http://host/path` without a user and a query";
            url.ok_or_else(|| ("web.search_url", wanted.to_owned()))
        });
        let hosts = Hosts::new(&settings.allowed_hosts).map_err(|entry| {
            let reason = format!("`{}` is neither `host` nor `host:port`", address::shown(&entry));
            ("web.allowed_hosts", reason)
        })?;
        let resolve: Resolve = Arc::new(|host, port| {
            Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
        });
        Ok(Self {
            search: search.transpose()?,
            fetches: settings.fetch,
            hosts,
            cache_age: settings.cache_age,
            whole: WHOLE,
            resolve,
            pages: Mutex::default(),
            searches: Mutex::default(),
            robots: Mutex::default(),
        })
    }

    /// With another way to look up hosts.
    #[must_use]
    pub fn resolving(mut self, resolve: Resolve) -> Self {
        self.resolve = resolve;
        self
    }

    /// With another bound of the time that a search or a fetch may take.
    #[must_use]
    pub fn within(mut self, whole: Duration) -> Self {
        self.whole = whole;
        self
    }

    /// Whether there is a search, and whether pages are fetched.
    pub fn allows(&self) -> (bool, bool) {
        (self.search.is_some(), self.fetches)
    }

    fn way<'a>(&'a self, hosts: &'a Hosts) -> Way<'a> {
        Way { hosts, resolve: &self.resolve, end: tokio::time::Instant::now() + self.whole }
    }

    /// Searches the web.
    pub async fn search(&self, search: &Search) -> Result<Searched, Error> {
        let instance = self.search.as_ref().ok_or(Error::Off { what: "a search of the web" })?;
        search.check()?;
        let url = search.url(instance);
        let known = lock(&self.searches).get(url.as_str(), Instant::now());
        if let Some((searched, age)) = known {
            return Ok(Searched { cached_ms: Some(milliseconds(age)), ..searched });
        }
        // The operator has named this host, wherever it is.
        let port = instance.port_or_known_default().unwrap_or_default();
        let named = format!("{}:{port}", instance.host_str().unwrap_or_default());
        let hosts =
            Hosts::new(&[named]).map_err(|_| Error::Search { why: "the address has no host".into() })?;
        let answer = self.way(&hosts).ask(&url, "application/json", BODY_BYTES_MAX).await?;
        let host = address::name(&url);
        // SearXNG says 403 for a format that is off, and 429 to programs that ask too often.
        if matches!(answer.status.as_u16(), 429 | 500..) {
            answer.expect_good(&host)?;
        }
        let body = answer.body(&host, BODY_BYTES_MAX)?;
        let searched = search::read(answer.status, &answer.media_type(), &body)?;
        // What some engines had no answer for may be complete a moment later.
        if searched.silent.is_empty() {
            let cache = &mut lock(&self.searches);
            cache.put(url.into(), searched.clone(), body.len(), Instant::now(), self.cache_age);
        }
        Ok(searched)
    }

    /// Fetches a page.
    pub async fn fetch(&self, text: &str) -> Result<Page, Error> {
        if !self.fetches {
            return Err(Error::Off { what: "fetching pages of the web" });
        }
        let asked = self.hosts.check(text)?;
        let known = lock(&self.pages).get(asked.as_str(), Instant::now());
        if let Some((page, age)) = known {
            return Ok(Page { cached_ms: Some(milliseconds(age)), ..page });
        }
        let way = self.way(&self.hosts);
        let mut url = asked.clone();
        for _ in 0..=REDIRECTS_MAX {
            self.heed(&way, &url).await?;
            let accept =
                "text/html, application/xhtml+xml, text/plain;q=0.9, application/json;q=0.8, */*;q=0.1";
            let answer = way.ask(&url, accept, BODY_BYTES_MAX).await?;
            if let Some(next) = answer.redirect(&url, &self.hosts) {
                url = next?;
                continue;
            }
            let page = read(&asked, &url, &answer)?;
            let bytes = page.text.len() + page.links.len() * mem::size_of::<crate::Link>() * 4;
            lock(&self.pages).put(asked.into(), page.clone(), bytes, Instant::now(), self.cache_age);
            return Ok(page);
        }
        let why = format!("more than {REDIRECTS_MAX} redirects");
        Err(Error::Answer { host: address::name(&asked), why })
    }

    /// Refuses what a site asks programs not to fetch.
    async fn heed(&self, way: &Way<'_>, url: &Url) -> Result<(), Error> {
        let origin = url.origin().ascii_serialization();
        let known = lock(&self.robots).get(&origin, Instant::now());
        let rules = match known {
            Some((rules, _)) => rules,
            None => {
                let rules = Arc::new(self.rules(way, url).await?);
                let age = if rules.is_ok() { ROBOTS_AGE } else { SILENCE_AGE };
                lock(&self.robots).put(
                    origin,
                    Arc::clone(&rules),
                    robots::BYTES_MAX / 4,
                    Instant::now(),
                    age,
                );
                rules
            }
        };
        let path = url[url::Position::BeforePath..].to_owned();
        let why = match rules.as_ref() {
            Ok(rules) if rules.allows(&path) => return Ok(()),
            Ok(_) => "robots.txt says so".to_owned(),
            Err(why) => format!("robots.txt cannot be read: {why}"),
        };
        Err(Error::Robots { host: address::name(url), path: address::shown(&path), why })
    }

    /// The rules of a URL's site, or why nobody knows them. What the guard refuses is refused for the page as well.
    async fn rules(&self, way: &Way<'_>, url: &Url) -> Result<Result<Robots, String>, Error> {
        let mut place = url.clone();
        place.set_path(robots::PATH);
        place.set_query(None);
        for _ in 0..=REDIRECTS_MAX {
            let answer = match way.ask(&place, "text/plain", robots::BYTES_MAX).await {
                Ok(answer) => answer,
                // A page of the same host would be refused too.
                Err(error @ Error::Address { .. }) => return Err(error),
                Err(error) => return Ok(Err(error.to_string())),
            };
            match answer.redirect(&place, &self.hosts) {
                Some(next) => place = next?,
                None if answer.status.is_client_error() => return Ok(Ok(Robots::default())),
                None if answer.status.is_success() => {
                    let host = address::name(&place);
                    let body = answer.body(&host, robots::BYTES_MAX);
                    let text = body.map(|body| String::from_utf8_lossy(&body).into_owned());
                    return Ok(text.map(|text| Robots::parse(&text)).map_err(|error| error.to_string()));
                }
                None => return Ok(Err(format!("the status is {}", answer.status.as_u16()))),
            }
        }
        Ok(Ok(Robots::default()))
    }
}

/// The page of an answer.
fn read(asked: &Url, url: &Url, answer: &Answer) -> Result<Page, Error> {
    let host = address::name(url);
    answer.expect_good(&host)?;
    let media_type = answer.media_type();
    let is_html = matches!(media_type.as_str(), "text/html" | "application/xhtml+xml");
    let is_text = media_type.starts_with("text/")
        || matches!(media_type.as_str(), "application/json" | "application/xml")
        || media_type.ends_with("+json")
        || media_type.ends_with("+xml");
    if !is_html && !is_text {
        let media_type = address::shown(&media_type);
        return Err(Error::Answer { host, why: format!("`{media_type}` is no text") });
    }
    let body = answer.body(&host, BODY_BYTES_MAX)?;
    let whole = answer.text(&body);
    let Readable { title, text, is_cut, links } =
        if is_html { read_html(&whole, url) } else { read_plain(&whole) };
    Ok(Page {
        url: asked.to_string(),
        answered_by: (url != asked).then(|| url.to_string()),
        media_type,
        title,
        text,
        is_cut,
        links,
        bytes: body.len() as u64,
        cached_ms: None,
    })
}

fn milliseconds(age: Duration) -> u64 {
    u64::try_from(age.as_millis()).unwrap_or(u64::MAX)
}

fn lock<T>(cache: &Mutex<T>) -> MutexGuard<'_, T> {
    cache.lock().unwrap_or_else(PoisonError::into_inner)
}
