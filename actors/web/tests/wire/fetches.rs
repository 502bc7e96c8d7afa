//! Fetches: pages, the guard, redirects, bounds, `robots.txt` and the cache.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actors_web::{Resolve, Settings, Web};
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::site::{Reply, Site, answer, page};
use crate::web;

fn zipped(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(body).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}

/// A lookup that gives these addresses, one list for each question and the last one for all further questions.
fn lookup(answers: &[&[&str]]) -> (Resolve, Arc<Mutex<Vec<String>>>) {
    let read = |one: &&str| one.parse::<SocketAddr>().expect("an address");
    let answers: Vec<Vec<SocketAddr>> = answers.iter().map(|list| list.iter().map(read).collect()).collect();
    let (asked, number) = (Arc::new(Mutex::new(Vec::new())), AtomicUsize::new(0));
    let seen = Arc::clone(&asked);
    let resolve: Resolve = Arc::new(move |host, port| {
        seen.lock().unwrap().push(format!("{host}:{port}"));
        let now = number.fetch_add(1, Ordering::Relaxed).min(answers.len() - 1);
        let found = answers[now].clone();
        Box::pin(async move { Ok(found) })
    });
    (resolve, asked)
}

/// Goal: a page is text with its links, whichever way it is sent. Method: redirects, compression, encodings.
#[tokio::test]
async fn a_page_is_read_however_it_is_sent() {
    let site = Site::start(|path, own| match path {
        "/robots.txt" => answer("404 Not Found", "", ""),
        "/a?x=1" => answer("301 Moved", "location: /b\r\n", ""),
        "/b" => answer("307 Moved", &format!("location: http://{own}/owls#top\r\n"), ""),
        "/owls" => page("<title>Owls</title><h1>Owls</h1><p>They fly. <a href='mice'>Mice</a>"),
        "/zip" => answer(
            "200 OK",
            "content-type: text/html\r\ncontent-encoding: gzip\r\n",
            zipped("<p>zipped ü".as_bytes()),
        ),
        "/latin" => answer("200 OK", "content-type: text/html; charset=\"ISO-8859-1\"\r\n", b"<p>f\xfcr"),
        "/meta" => {
            answer("200 OK", "content-type: text/html\r\n", b"<meta charset=windows-1251><p>\xcf\xf0\xe8")
        }
        "/bom" => answer("200 OK", "content-type: text/plain\r\n", b"\xff\xfeo\0k\0"),
        "/json" => answer("200 OK", "content-type: application/ld+json\r\n", "{\n  \"a\": 1\n}"),
        _ => answer("404 Not Found", "content-type: text/html\r\n", "<p>gone"),
    })
    .await;
    let web = web(&[&site.host]);
    let owls = web.fetch(&site.url("/a?x=1#part")).await.expect("a page");
    assert_eq!((owls.title.as_str(), owls.text.as_str()), ("Owls", "# Owls\nThey fly. Mice"));
    assert_eq!(owls.links[0].url, site.url("/mice"));
    assert_eq!((owls.url, owls.answered_by), (site.url("/a?x=1"), Some(site.url("/owls"))));
    for (path, text) in [
        ("/zip", "zipped ü"),
        ("/latin", "für"),
        ("/meta", "При"),
        ("/bom", "ok"),
        ("/json", "{\n  \"a\": 1\n}"),
    ] {
        assert_eq!(web.fetch(&site.url(path)).await.expect(path).text, text, "{path}");
    }
    let asked = site.asked();
    assert_eq!(asked.iter().filter(|(path, _)| path == "/robots.txt").count(), 1, "once for a site");
    assert!(asked.iter().all(|(_, head)| {
        let head = head.to_lowercase();
        head.contains("user-agent: orrery/") && !head.contains("cookie") && !head.contains("authorization")
    }));
    let again = web.fetch(&site.url("/a?x=1")).await.expect("a page");
    assert!(again.cached_ms.is_some() && site.asked().len() == asked.len(), "it comes from the cache");
}

/// A name, what the site answers, the code, and a part of the message.
type Case = (&'static str, Reply, &'static str, &'static str);

fn heads() -> Vec<Case> {
    let html = "content-type: text/html\r\n";
    vec![
        ("gone", answer("404 Not Found", html, "no"), "web-answer-refused", "404"),
        ("a login", answer("401 Unauthorized", html, ""), "web-answer-refused", "401"),
        ("a fault", answer("500 Oops", html, ""), "web-unreachable", "500"),
        ("a limit", answer("429 Slow", "retry-after: 7\r\n", ""), "web-rate-limited", "429"),
        ("busy", answer("503 Busy", "", ""), "web-rate-limited", "503"),
        ("not modified", answer("304 Not Modified", "", ""), "web-answer-refused", "304"),
        (
            "a circle",
            answer("302 Found", "location: /x\r\n", ""),
            "web-answer-refused",
            "more than 5 redirects",
        ),
        ("a redirect to nowhere", answer("302 Found", "", ""), "url-refused", "leads nowhere"),
        (
            "a redirect to a file",
            answer("302 Found", "location: file:///etc/passwd\r\n", ""),
            "url-refused",
            "scheme",
        ),
        (
            "a redirect inside",
            answer("302 Found", "location: //10.0.0.1/\r\n", ""),
            "address-refused",
            "10.0.0.1",
        ),
        (
            "a redirect to a port",
            answer("302 Found", "location: //8.8.8.8:22/\r\n", ""),
            "url-refused",
            "port",
        ),
        (
            "a redirect with a user",
            answer("302 Found", "location: http://a:b@example.org/\r\n", ""),
            "url-refused",
            "user",
        ),
    ]
}

fn bodies() -> Vec<Case> {
    let html = "content-type: text/html\r\n";
    let gzip = "content-type: text/html\r\ncontent-encoding: gzip\r\n";
    let bomb = zipped(&vec![b'a'; 64 * 1024 * 1024]);
    let large = format!("HTTP/1.1 200 OK\r\n{html}content-length: 9999999\r\n\r\n").into_bytes();
    vec![
        (
            "a picture",
            answer("200 OK", "content-type: image/png\r\n", "x"),
            "web-answer-refused",
            "image/png",
        ),
        ("no type", answer("200 OK", "", "x"), "web-answer-refused", "no text"),
        (
            "an endless body",
            Reply::Endless(format!("HTTP/1.1 200 OK\r\n{html}\r\n").into_bytes()),
            "web-answer-refused",
            "more than 4194304",
        ),
        ("a large body", Reply::Endless(large), "web-answer-refused", "more than 4194304"),
        ("a bomb", answer("200 OK", gzip, bomb), "web-answer-refused", "more than 4194304"),
        ("broken gzip", answer("200 OK", gzip, "no gzip"), "web-answer-refused", "decompressed"),
        (
            "another encoding",
            answer("200 OK", "content-type: text/html\r\ncontent-encoding: br\r\n", "x"),
            "web-answer-refused",
            "`br`",
        ),
        (
            "a cut body",
            Reply::Bytes(format!("HTTP/1.1 200 OK\r\n{html}content-length: 99\r\n\r\n<p>").into_bytes()),
            "web-unreachable",
            "broke",
        ),
        ("no HTTP", Reply::Bytes(b"\x16\x03\x01\r\n\r\n".to_vec()), "web-unreachable", "asking"),
        ("nothing", Reply::Bytes(Vec::new()), "web-unreachable", "asking"),
    ]
}

/// Goal: each way in which a site can go wrong is told as what it is. Method: a table.
#[tokio::test]
async fn every_fault_of_a_site_has_its_code() {
    for (name, reply, code, part) in [heads(), bodies()].concat() {
        let site = Site::start(move |path, _| match path {
            "/robots.txt" => answer("404 Not Found", "", ""),
            _ => reply.clone(),
        })
        .await;
        let error = web(&[&site.host]).fetch(&site.url("/x")).await.expect_err(name);
        assert_eq!(error.code(), code, "{name}: {error}");
        assert!(error.to_string().contains(part), "{name}: {error}");
    }
    for stuck in ["", "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\n\r\n<p>"] {
        let site = Site::start(move |path, _| match path {
            "/robots.txt" => answer("404 Not Found", "", ""),
            _ => Reply::Stuck(stuck.into()),
        })
        .await;
        let web = web(&[&site.host]).within(Duration::from_millis(200));
        let error = web.fetch(&site.url("/x")).await.unwrap_err();
        assert_eq!((error.code(), error.may_pass()), ("web-unreachable", true), "{error}");
    }
    let closed = { Site::start(|_, _| page("")).await.host.clone() };
    let error = web(&[&closed]).fetch(&format!("http://{closed}/")).await.unwrap_err();
    assert_eq!(error.code(), "robots-refused", "who says nothing allows nothing: {error}");
}

/// Goal: nothing but the public internet is reached, whatever a URL or a name says. Method: addresses in every
/// spelling, names that lead inside, and a name that gives another address with each question.
#[tokio::test]
async fn nothing_inside_is_reached() {
    let site = Site::start(|_, _| page("secret")).await;
    let port = site.host.rsplit(':').next().expect("a port");
    let guarded = web(&[]);
    for host in [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "2130706433",
        "0x7f.1",
        "0.0.0.0",
    ] {
        let error = guarded.fetch(&format!("http://{host}/")).await.unwrap_err();
        assert!(matches!(error.code(), "address-refused" | "web-unreachable"), "{host}: {error}");
        let error = guarded.fetch(&format!("http://{host}:{port}/")).await.unwrap_err();
        assert_eq!(error.code(), "url-refused", "{host}: {error}");
    }
    for address in
        ["169.254.169.254:80", "10.1.2.3:80", "100.64.1.1:80", "[fd00::1]:80", "[fe80::1]:80", "224.0.0.1:80"]
    {
        for found in [&[address][..], &["8.8.8.8:80", address]] {
            let (resolve, _) = lookup(&[found]);
            let error = web(&[]).resolving(resolve).fetch("http://example.org/").await.unwrap_err();
            assert_eq!(error.code(), "address-refused", "{found:?}: {error}");
        }
    }
    // Another host of the operator's list opens this one neither by its address nor by a redirect.
    let (resolve, _) = lookup(&[&[&site.host]]);
    let error = web(&["other.example"]).resolving(resolve).fetch("http://example.org/").await.unwrap_err();
    assert_eq!(error.code(), "address-refused");
    assert!(site.paths().is_empty(), "no connection was made");
}

/// Goal: the connection goes to the very address that was checked. Method: a name that no server knows, which the
/// lookup places at a real server the first two times, for `robots.txt` and for the page, and inside afterwards; a
/// second lookup between the check and the connection would find the other address.
#[tokio::test]
async fn the_address_that_was_checked_is_the_one_that_is_asked() {
    let site = Site::start(|_, _| page("<p>here")).await;
    let (host, port) = site.host.rsplit_once(':').expect("a port");
    let name = format!("rebinding.example:{port}");
    let (resolve, asked) = lookup(&[&[&site.host], &[&site.host], &["10.0.0.1:80"]]);
    let web = web(&[&name]).resolving(resolve);
    let found = web.fetch(&format!("http://{name}/a")).await.expect("a page");
    assert_eq!((found.text.as_str(), host), ("here", "127.0.0.1"));
    assert_eq!(*asked.lock().unwrap(), [name.clone(), name.clone()], "one lookup for each request");
    assert!(site.asked()[1].1.contains(&format!("host: {name}")), "asked by its name: {:?}", site.asked());
}

/// Goal: what a site asks of programs is heeded, also where it cannot say. Method: rules, and each way to have none.
#[tokio::test]
async fn what_a_site_asks_of_programs_is_heeded() {
    let rules = "user-agent: *\ndisallow: /private\n\nuser-agent: orrery\ndisallow: /ours\n";
    let plain = "content-type: text/plain\r\n";
    let gone = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nuser";
    let cases: Vec<(&str, Reply, [bool; 3])> = vec![
        ("rules", answer("200 OK", plain, rules), [true, true, false]),
        ("none", answer("404 Not Found", "", rules), [true; 3]),
        ("forbidden", answer("403 Forbidden", "", ""), [true; 3]),
        ("a fault", answer("500 Oops", "", rules), [false; 3]),
        ("a cut file", Reply::Bytes(gone.into()), [false; 3]),
        ("a page", page("<p>welcome"), [true; 3]),
        ("a circle", answer("301 Moved", "location: /robots.txt\r\n", ""), [true; 3]),
        ("elsewhere", answer("301 Moved", "location: /rules\r\n", ""), [true, true, false]),
    ];
    for (name, reply, allowed) in cases {
        let site = Site::start(move |path, _| match path {
            "/robots.txt" => reply.clone(),
            "/rules" => answer("200 OK", plain, rules),
            _ => page("<p>read"),
        })
        .await;
        let web = web(&[&site.host]);
        for (path, allowed) in ["/a", "/private", "/ours?x"].into_iter().zip(allowed) {
            let code = web.fetch(&site.url(path)).await.map(|_| "").unwrap_or_else(|error| error.code());
            assert_eq!(code, if allowed { "" } else { "robots-refused" }, "{name}: {path}");
        }
    }
    // A redirect is no way around the rules.
    let site = Site::start(|path, _| match path {
        "/robots.txt" => answer("200 OK", "", "user-agent: *\ndisallow: /ours"),
        _ => answer("302 Found", "location: /ours\r\n", ""),
    })
    .await;
    assert_eq!(web(&[&site.host]).fetch(&site.url("/a")).await.unwrap_err().code(), "robots-refused");
}

#[tokio::test]
async fn nothing_is_fetched_unless_an_operator_allows_it() {
    let site = Site::start(|_, _| page("")).await;
    assert_eq!(Web::default().fetch(&site.url("/")).await.unwrap_err().code(), "web-not-allowed");
    let settings = Settings { allowed_hosts: vec!["a b".to_owned()], ..Settings::default() };
    assert_eq!(Web::new(&settings).unwrap_err().0, "web.allowed_hosts");
    assert_eq!(Web::default().allows(), (false, false));
    let twice = |cache_age| async move {
        let site = Site::start(|_, _| page("<p>x")).await;
        let settings =
            Settings { fetch: true, allowed_hosts: vec![site.host.clone()], cache_age, search_url: None };
        let web = Web::new(&settings).expect("settings");
        for _ in 0..2 {
            web.fetch(&site.url("/x")).await.expect("a page");
        }
        site.paths().iter().filter(|path| *path == "/x").count()
    };
    assert_eq!((twice(Duration::ZERO).await, twice(Duration::from_secs(60)).await), (2, 1));
}
