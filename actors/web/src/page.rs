//! A page as readable text: title, headings, paragraphs, lists and links, without what a reader does not see.
//!
//! Scripts, styles, forms, menus and hidden elements are left out. The parser is a tokenizer by WHATWG's rules: what is
//! nested wrongly is read in the order of the file.

use std::collections::BTreeSet;

use bus_schemas::text;
use html5gum::{DefaultEmitter, StartTag, Token, Tokenizer};
use serde::{Deserialize, Serialize};
use url::Url;

/// The most bytes of a page's text.
const TEXT_BYTES_MAX: usize = 256 * 1024;
/// The most bytes of a title, and of a link's text.
const LINE_BYTES_MAX: usize = 300;
/// The most links, and the longest.
const LINKS_MAX: usize = 200;
const LINK_BYTES_MAX: usize = 1_024;

/// Elements that show no text.
const SILENT: [&str; 14] = [
    "script", "style", "noscript", "template", "svg", "math", "iframe", "object", "canvas", "audio", "video",
    "select", "button", "textarea",
];
/// Elements around the text of a page: read only where nothing else is there.
const AROUND: [&str; 4] = ["nav", "footer", "aside", "form"];
/// Elements without an end.
const VOID: [&str; 13] =
    ["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"];
/// Elements whose end may be left out: the next one of the same name ends them.
const OPEN_ENDED: [&str; 8] = ["p", "li", "dt", "dd", "td", "th", "tr", "option"];
/// Elements that begin a line.
const BLOCKS: [&str; 28] = [
    "address",
    "article",
    "blockquote",
    "br",
    "caption",
    "dd",
    "details",
    "div",
    "dl",
    "dt",
    "fieldset",
    "figcaption",
    "figure",
    "header",
    "hr",
    "legend",
    "li",
    "main",
    "ol",
    "p",
    "pre",
    "section",
    "summary",
    "table",
    "tr",
    "ul",
    "body",
    "title",
];

/// A page that was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// The URL that was asked for.
    pub url: String,
    /// The URL that answered, if redirects led to another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered_by: Option<String>,
    /// The media type.
    pub media_type: String,
    /// The title; empty without one.
    pub title: String,
    /// The text, line by line; headings begin with `#`.
    pub text: String,
    /// Whether the text was cut.
    pub is_cut: bool,
    /// Links to other pages.
    pub links: Vec<Link>,
    /// The bytes of the answer after its decompression.
    pub bytes: u64,
    /// The age of the answer in milliseconds, if it came from the cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_ms: Option<u64>,
}

impl Page {
    /// Whether the page contains a quote, wherever its lines break.
    pub fn contains(&self, quote: &str) -> bool {
        let quote = words(quote);
        !quote.is_empty() && [&self.text, &self.title].iter().any(|text| words(text).contains(&quote))
    }
}

/// A link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Its text.
    pub text: String,
    /// The page that it leads to.
    pub url: String,
}

/// The readable part of a page: its title, its text, whether the text was cut, and its links.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Readable {
    pub(crate) title: String,
    pub(crate) text: String,
    pub(crate) is_cut: bool,
    pub(crate) links: Vec<Link>,
}

/// A text with one blank between its words.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Reads HTML. Relative links are below `base`.
pub(crate) fn read_html(html: &str, base: &Url) -> Readable {
    let narrow = Reader::read(html, base, &AROUND);
    // A page that is all menu, or whose menu has no end, is read as it is.
    if narrow.text.is_empty() { Reader::read(html, base, &[]) } else { narrow }
}

/// Reads plain text.
pub(crate) fn read_plain(plain: &str) -> Readable {
    let mut reader = Reader::default();
    for line in plain.lines() {
        reader.line.push_str(line);
        reader.end_line(true);
    }
    reader.done()
}

#[derive(Default)]
struct Reader {
    out: Readable,
    seen: BTreeSet<String>,
    /// The line that is being read, and what it begins with.
    line: String,
    mark: String,
    /// The element that is passed over, and how often it is open.
    passed: Option<(String, usize)>,
    is_title: bool,
    /// How often `pre` is open.
    pre: usize,
    /// The link that is open: its target, and where in the line its text begins.
    link: Option<(String, usize)>,
}

impl Reader {
    fn read(html: &str, base: &Url, around: &[&str]) -> Readable {
        let mut emitter = DefaultEmitter::default();
        // Scripts and titles hold text and no tags.
        emitter.naively_switch_states(true);
        let mut reader = Self::default();
        for token in Tokenizer::new_with_emitter(html, emitter) {
            let Ok(token) = token;
            match token {
                Token::StartTag(tag) => reader.start(&tag, base, around),
                Token::EndTag(tag) => reader.end(&String::from_utf8_lossy(&tag.name)),
                Token::String(text) => reader.text(&String::from_utf8_lossy(&text)),
                Token::Comment(_) | Token::Doctype(_) | Token::Error(_) => {}
            }
            if reader.out.is_cut {
                break;
            }
        }
        reader.done()
    }

    fn start(&mut self, tag: &StartTag<()>, base: &Url, around: &[&str]) {
        let name = String::from_utf8_lossy(&tag.name).into_owned();
        let is_void = VOID.contains(&name.as_str());
        if let Some((passed, depth)) = &mut self.passed {
            if *passed != name {
                return;
            }
            if !OPEN_ENDED.contains(&name.as_str()) {
                *depth += 1;
                return;
            }
            self.passed = None;
        }
        let is_silent = SILENT.contains(&name.as_str()) || around.contains(&name.as_str());
        if !is_void && (is_silent || is_hidden(tag)) {
            self.end_line(false);
            self.passed = Some((name, 1));
            return;
        }
        if BLOCKS.contains(&name.as_str()) {
            self.end_line(false);
        }
        match name.as_str() {
            "title" => self.is_title = self.out.title.is_empty(),
            "pre" => self.pre += 1,
            "li" => self.mark = "- ".to_owned(),
            "td" | "th" if !self.line.trim().is_empty() => self.line.push_str(" | "),
            "a" => {
                let target = tag.attributes.get(&b"href"[..]).and_then(|href| {
                    let href = String::from_utf8_lossy(href);
                    let mut url = base.join(href.trim()).ok()?;
                    url.set_fragment(None);
                    let is_page = matches!(url.scheme(), "http" | "https") && url != *base;
                    (is_page && url.as_str().len() <= LINK_BYTES_MAX).then(|| url.to_string())
                });
                self.link = target.map(|target| (target, self.line.len()));
            }
            _ => {
                if let Some(level) = heading(&name) {
                    self.end_line(false);
                    self.mark = format!("{} ", "#".repeat(level));
                }
            }
        }
    }

    fn end(&mut self, name: &str) {
        if let Some((passed, depth)) = &mut self.passed {
            if passed == name {
                *depth -= 1;
                if *depth == 0 {
                    self.passed = None;
                }
            }
            return;
        }
        match name {
            "title" if self.is_title => {
                self.is_title = false;
                let title = words(&std::mem::take(&mut self.line));
                self.out.title = text::cut(&text::one_line(&title), LINE_BYTES_MAX);
            }
            "a" => self.end_link(),
            "pre" => {
                self.end_line(true);
                self.pre = self.pre.saturating_sub(1);
            }
            _ if BLOCKS.contains(&name) || heading(name).is_some() => self.end_line(false),
            _ => {}
        }
    }

    fn text(&mut self, text: &str) {
        if self.passed.is_some() {
            return;
        }
        if self.pre == 0 {
            self.line.push_str(text);
            return;
        }
        for (number, line) in text.split('\n').enumerate() {
            if number > 0 {
                self.end_line(true);
            }
            self.line.push_str(line);
        }
    }

    fn end_link(&mut self) {
        let Some((url, from)) = self.link.take() else { return };
        let text = words(self.line.get(from..).unwrap_or_default());
        if self.out.links.len() < LINKS_MAX && !text.is_empty() && self.seen.insert(url.clone()) {
            self.out.links.push(Link { text: text::cut(&text::one_line(&text), LINE_BYTES_MAX), url });
        }
    }

    /// Ends the line; a line as it stands keeps its blanks, and may be empty.
    fn end_line(&mut self, as_it_stands: bool) {
        if self.is_title {
            return;
        }
        self.end_link();
        let line = std::mem::take(&mut self.line);
        let line = if as_it_stands { line.trim_end().to_owned() } else { words(&line) };
        if line.is_empty() && !as_it_stands {
            return;
        }
        let line = format!("{}{}", std::mem::take(&mut self.mark), text::prose(&line));
        // Two empty lines in a row say no more than one.
        if line.is_empty() && (self.out.text.is_empty() || self.out.text.ends_with("\n\n")) {
            return;
        }
        if self.out.text.len() + line.len() >= TEXT_BYTES_MAX {
            self.out.is_cut = true;
            let rest = TEXT_BYTES_MAX - self.out.text.len();
            self.out.text.push_str(&line[..line.floor_char_boundary(rest)]);
            return;
        }
        self.out.text.push_str(&line);
        self.out.text.push('\n');
    }

    fn done(mut self) -> Readable {
        self.is_title = false;
        if !self.out.is_cut {
            self.end_line(false);
        }
        self.out.text.truncate(self.out.text.trim_end().len());
        self.out
    }
}

/// The level of a heading.
fn heading(name: &str) -> Option<usize> {
    let level = name.strip_prefix('h')?.parse().ok()?;
    (1..=6).contains(&level).then_some(level)
}

/// Whether an element says itself that nobody sees it.
fn is_hidden(tag: &StartTag<()>) -> bool {
    let value =
        |name: &[u8]| tag.attributes.get(name).map(|value| String::from_utf8_lossy(value).to_lowercase());
    let style: String = value(b"style").unwrap_or_default().split_whitespace().collect();
    value(b"hidden").is_some()
        || value(b"aria-hidden").is_some_and(|value| value == "true")
        || ["display:none", "visibility:hidden", "font-size:0", "opacity:0;"]
            .iter()
            .any(|rule| style.contains(rule))
        || style.ends_with("opacity:0")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(html: &str) -> Readable {
        read_html(html, &Url::parse("https://example.org/a/b").unwrap())
    }

    #[test]
    fn a_page_is_read_as_a_person_sees_it() {
        let page = read(
            "<!doctype html><html><head><title> On\n owls &amp; mice </title><style>p{}</style>\
             <script>var a = '</p>secret';</script></head><body><nav><a href=/menu>menu</a></nav>\
             <h1>Owls</h1><p>They <b>fly</b>\n at   night.<p>See <a href='../c#x'>the <i>next</i> page</a> or \
             <a href='mailto:a@b'>write</a>.<ul><li>one<li>two</ul><table><tr><th>a<th>b<tr><td>1<td>2</table>\
             <pre>  x = 1\n\n  y\n</pre><noscript>no</noscript><!-- ignore --><footer>imprint</footer>",
        );
        assert_eq!(page.title, "On owls & mice");
        assert_eq!(
            page.text,
            "# Owls\nThey fly at night.\nSee the next page or write.\n- one\n- two\na | b\n1 | 2\n  x = 1\n\n  y"
        );
        assert_eq!(page.links, [Link { text: "the next page".into(), url: "https://example.org/c".into() }]);
    }

    #[test]
    fn what_nobody_sees_is_not_read() {
        for hidden in [
            "<p hidden>bad</p>",
            "<div style='color:red; display : none'>bad<div>bad</div>bad</div>",
            "<span aria-hidden=true>bad</span>",
            "<li style='visibility:hidden'>bad<li>",
            "<template>bad</template>",
            "<p style='opacity:0'>bad<p>",
            "<svg><text>bad</text></svg>",
            "<textarea>bad</textarea>",
            "<span style=font-size:0px>bad</span>",
            "<!-- bad -->",
            "<script>bad",
            "<style>bad",
        ] {
            let page = read(&format!("<p>good</p>{hidden}"));
            assert!(!page.text.contains("bad") && page.text.contains("good"), "{hidden}: {}", page.text);
        }
        let seen = read("<p hidden>bad</p><p>good</p><div hidden><div>bad</div></div>fine\u{202e}\u{200b}");
        assert_eq!(seen.text, "good\nfine\u{fffd}\u{fffd}", "and what hides is marked");
        assert_eq!(read("<nav>only this").text, "only this", "a page that is all menu is read");
    }

    #[test]
    fn nothing_grows_without_a_bound() {
        let page = read(&"<p>ä word</p>".repeat(100_000));
        assert!(page.is_cut && page.text.len() <= TEXT_BYTES_MAX && page.text.ends_with("rd"));
        let page = read(&format!(
            "<title>{}</title>{}",
            "t".repeat(9_999),
            (0..999).map(|n| format!("<a href=/{n}>x</a>")).collect::<String>()
        ));
        assert_eq!((page.links.len(), page.title.len()), (LINKS_MAX, LINE_BYTES_MAX));
        assert!(read(&"<div>".repeat(200_000)).text.is_empty());
        assert!(read(&"<".repeat(100_000)).text.len() <= TEXT_BYTES_MAX);
        assert!(read_plain(&"x".repeat(TEXT_BYTES_MAX * 2)).is_cut);
    }

    #[test]
    fn a_quote_is_found_wherever_its_lines_break() {
        let text = "# Owls\nThey fly\nat night.".to_owned();
        let page = Page {
            url: String::new(),
            answered_by: None,
            media_type: String::new(),
            title: "On owls".into(),
            text,
            is_cut: false,
            links: Vec::new(),
            bytes: 0,
            cached_ms: None,
        };
        for (quote, is_there) in [
            ("They fly at night.", true),
            ("fly  at\nnight", true),
            ("On owls", true),
            ("They FLY", false),
            ("", false),
            ("  ", false),
            ("They swim", false),
        ] {
            assert_eq!(page.contains(quote), is_there, "{quote}");
        }
    }
}
