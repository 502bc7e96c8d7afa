//! The search: SearXNG's JSON, its errors, and answers of anything else.

use std::time::Duration;

use actors_web::{Error, Found, Search, Settings, Web};
use serde_json::json;

use crate::site::{Reply, Site, answer};

fn searching(site: &Site, path: &str) -> Web {
    let (search_url, cache_age) = (Some(site.url(path)), Duration::from_secs(60));
    Web::new(&Settings { search_url, cache_age, ..Settings::default() }).expect("settings")
}

fn words(query: &str) -> Search {
    Search { query: query.to_owned(), page: 1 }
}

const JSON: &str = "content-type: application/json\r\n";

/// An answer as SearXNG gives it, and results that are none.
fn searxng() -> String {
    let result = |url: &str| {
        json!({"url": url, "title": "On\nowls", "content": "They fly.", "engine": "e", "engines": ["e"], "score": 1.0,
               "positions": [1], "category": "general", "parsed_url": ["https", "h", "/", "", "", ""]})
    };
    let mut results =
        vec![result("https://example.org/owls"), result("javascript:alert(1)"), json!(3), json!({})];
    results.extend((0..50).map(|number| result(&format!("https://example.org/{number}"))));
    json!({"query": "owls", "number_of_results": 54, "results": results, "answers": [], "corrections": [],
           "infoboxes": [], "suggestions": ["owl"], "unresponsive_engines": [["slow", "timeout"], ["odd"]]})
    .to_string()
}

/// Goal: what SearXNG finds is there in its order, bounded, with the engines that were silent; an answer without gaps
/// comes from the cache the next time. Method: an instance below a path, with results that are no pages.
#[tokio::test]
async fn a_search_gives_what_the_instance_found() {
    let site = Site::start(|path, _| match path.contains("pageno=2") {
        true => answer("200 OK", JSON, r#"{"results": [], "unresponsive_engines": []}"#),
        false => answer("200 OK", JSON, searxng()),
    })
    .await;
    let web = searching(&site, "/searx/");
    let found = web.search(&words(" owls & mice ")).await.expect("results");
    let first = Found {
        url: "https://example.org/owls".into(),
        title: "On owls".into(),
        content: "They fly.".into(),
    };
    assert_eq!((found.results.len(), &found.results[0]), (20, &first));
    assert_eq!((found.silent, found.cached_ms), (vec!["slow: timeout".to_owned()], None));
    assert_eq!(site.paths(), ["/searx/search?q=owls+%26+mice&format=json&pageno=1"]);

    // Two of one, then one of another that is complete.
    assert_eq!(web.search(&words("owls & mice")).await.expect("results").cached_ms, None);
    let second = Search { page: 2, ..words("owls") };
    assert_eq!(web.search(&second).await.expect("none").cached_ms, None);
    assert!(web.search(&second).await.expect("none").cached_ms.is_some());
    assert_eq!(site.paths().len(), 3);
}

/// Goal: every answer that is none of SearXNG's is told as what it is. Method: a table.
#[tokio::test]
async fn a_search_that_cannot_be_used_says_why() {
    let limited = "content-type: text/html\r\nretry-after: 120\r\n";
    let cases: Vec<(&str, Reply, &str, &str)> = vec![
        (
            "json is off",
            answer("403 Forbidden", "content-type: text/html\r\n", "no"),
            "search-unusable",
            "403",
        ),
        ("a limiter", answer("429 Too Many Requests", limited, "slow"), "web-rate-limited", "429"),
        ("a page", answer("200 OK", "content-type: text/html\r\n", "<html>"), "search-unusable", "text/html"),
        ("no type", answer("200 OK", "", "{}"), "search-unusable", "``"),
        ("broken JSON", answer("200 OK", JSON, "{\"results\": ["), "search-unusable", "no JSON"),
        ("deep JSON", answer("200 OK", JSON, "[".repeat(100_000)), "search-unusable", "no JSON"),
        ("another shape", answer("200 OK", JSON, "{\"results\": 3}"), "search-unusable", "`results`"),
        ("a redirect", answer("302 Found", "location: /other\r\n", ""), "search-unusable", "302"),
        ("nothing there", answer("404 Not Found", "", ""), "search-unusable", "404"),
        ("a fault", answer("500 Oops", "", ""), "web-unreachable", "500"),
        ("busy", answer("503 Busy", "", ""), "web-rate-limited", "503"),
        (
            "a cut body",
            Reply::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{".to_vec()),
            "web-unreachable",
            "broke",
        ),
        ("no HTTP", Reply::Bytes(b"hello\r\n\r\n".to_vec()), "web-unreachable", "asking"),
        (
            "an endless body",
            Reply::Endless(b"HTTP/1.1 200 OK\r\n\r\n".to_vec()),
            "web-answer-refused",
            "more than",
        ),
    ];
    for (name, reply, code, part) in cases {
        let site = Site::start(move |_, _| reply.clone()).await;
        let error = searching(&site, "").search(&words("owls")).await.expect_err(name);
        assert_eq!(error.code(), code, "{name}: {error}");
        assert!(error.to_string().contains(part), "{name}: {error}");
        if name == "a limiter" {
            let Error::RateLimited { retry_after, .. } = error else { panic!("{error:?}") };
            assert_eq!(retry_after, Some(Duration::from_secs(120)));
        }
    }
    let site = Site::start(|_, _| Reply::Stuck(Vec::new())).await;
    let error =
        searching(&site, "").within(Duration::from_millis(50)).search(&words("owls")).await.unwrap_err();
    assert_eq!((error.code(), error.may_pass()), ("web-unreachable", true), "{error}");
}

#[tokio::test]
async fn a_search_needs_an_instance_and_a_query() {
    assert_eq!(Web::default().search(&words("owls")).await.unwrap_err().code(), "web-not-allowed");
    let site = Site::start(|_, _| answer("200 OK", JSON, "{}")).await;
    let web = searching(&site, "");
    for (query, page) in [("", 1), (" ", 1), ("a\nb", 1), (&*"x".repeat(513), 1), ("owls", 0), ("owls", 11)] {
        let search = Search { query: query.to_owned(), page };
        assert_eq!(web.search(&search).await.unwrap_err().code(), "invalid-input", "{query} {page}");
    }
    assert!(site.paths().is_empty());
    for bad in ["", "searx", "ftp://h/", "http://ada:x@h/", "http://h/?q=1"] {
        let settings = Settings { search_url: Some(bad.to_owned()), ..Settings::default() };
        assert_eq!(Web::new(&settings).unwrap_err().0, "web.search_url", "{bad}");
    }
}
