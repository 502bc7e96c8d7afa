//! What a site asks of programs: `robots.txt`, by RFC 9309.
//!
//! | the answer for `/robots.txt` | what it means |
//! | --- | --- |
//! | 2xx | its rules |
//! | 4xx, or more redirects than are followed | everything may be fetched |
//! | anything else, or none | nothing may be fetched |

use std::fmt::Write;

/// Our product token, which sites name in `user-agent` lines.
pub(crate) const TOKEN: &str = "orrery";
/// The bytes of a file that are read: RFC 9309 asks for at least 500 KiB.
pub(crate) const BYTES_MAX: usize = 512 * 1024;
/// The path of the file, which may always be fetched.
pub(crate) const PATH: &str = "/robots.txt";

/// The rules of a site for this program.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Robots {
    rules: Vec<Rule>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    allows: bool,
    /// The path, in the form of [`normal`], with `*` and `$` as they stand.
    path: String,
}

impl Robots {
    /// Reads a file. Whatever is no rule is passed over.
    pub fn parse(text: &str) -> Self {
        let (mut ours, mut all): (Option<Vec<Rule>>, Vec<Rule>) = (None, Vec::new());
        // Which group the next rule belongs to, and whether the last line named a program.
        let (mut is_ours, mut is_all, mut is_head) = (false, false, false);
        for line in text.trim_start_matches('\u{feff}').split(['\n', '\r']) {
            let line = line.split('#').next().unwrap_or_default();
            let Some((key, value)) = line.split_once(':') else { continue };
            let (key, value) = (key.trim().to_ascii_lowercase(), value.trim());
            match key.as_str() {
                "user-agent" => {
                    if !is_head {
                        (is_ours, is_all) = (false, false);
                    }
                    is_head = true;
                    is_ours |= token(value).eq_ignore_ascii_case(TOKEN);
                    is_all |= value.starts_with('*');
                    if is_ours {
                        ours.get_or_insert_default();
                    }
                }
                "allow" | "disallow" => {
                    is_head = false;
                    // An empty path is no rule.
                    if value.is_empty() {
                        continue;
                    }
                    let rule = Rule { allows: key == "allow", path: normal(value) };
                    if let Some(ours) = ours.as_mut().filter(|_| is_ours) {
                        ours.push(rule.clone());
                    }
                    if is_all {
                        all.push(rule);
                    }
                }
                _ => {}
            }
        }
        Self { rules: ours.unwrap_or(all) }
    }

    /// Whether a path with its query may be fetched: the longest rule decides, and of two as long the one that allows.
    pub fn allows(&self, path: &str) -> bool {
        if path == PATH {
            return true;
        }
        let path = normal(path);
        let applying = self.rules.iter().filter(|rule| matches(&rule.path, &path));
        applying.max_by_key(|rule| (rule.path.len(), rule.allows)).is_none_or(|rule| rule.allows)
    }
}

/// The product token that a `user-agent` line begins with.
fn token(value: &str) -> &str {
    let end = value.find(|letter: char| !(letter.is_ascii_alphabetic() || matches!(letter, '-' | '_')));
    &value[..end.unwrap_or(value.len())]
}

/// A path in one form: unreserved characters plain, others that are encoded with capital digits, and non-ASCII encoded.
fn normal(path: &str) -> String {
    let (bytes, mut out, mut at) = (path.as_bytes(), String::with_capacity(path.len()), 0);
    while at < bytes.len() {
        let digits = bytes.get(at + 1..at + 3).and_then(|two| std::str::from_utf8(two).ok());
        let coded = digits.filter(|_| bytes[at] == b'%').and_then(|two| u8::from_str_radix(two, 16).ok());
        let (byte, is_coded) = coded.map_or((bytes[at], false), |byte| (byte, true));
        let is_unreserved = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
        if is_unreserved || (!is_coded && byte.is_ascii()) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        at += if is_coded { 3 } else { 1 };
    }
    out
}

/// Whether a rule's path, with `*` for anything and `$` at its end for the end, begins a path.
fn matches(rule: &str, path: &str) -> bool {
    let (rule, is_whole) = rule.strip_suffix('$').map_or((rule, false), |rule| (rule, true));
    let mut parts = rule.split('*');
    let Some(mut rest) = path.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return !is_whole || rest.is_empty() };
    for part in middle {
        let Some(found) = rest.find(part) else { return false };
        rest = &rest[found + part.len()..];
    }
    if is_whole { rest.ends_with(last) } else { rest.contains(last) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of RFC 9309, sections 2.2.1 to 2.2.3 and 5, and of the edges around them.
    #[test]
    fn rules_decide_as_the_rfc_says() {
        let cases = [
            ("", "/a", true),
            ("user-agent: *\ndisallow: /", "/a", false),
            ("user-agent: *\ndisallow: /\n", "/robots.txt", true),
            ("User-Agent: *\nDisallow:\n", "/a", true),
            ("user-agent: other\ndisallow: /", "/a", true),
            // A group of our own stands alone, in any case and with a version.
            ("user-agent: *\ndisallow: /\n\nuser-agent: ORRERY/1.0\nallow: /", "/a", true),
            ("user-agent: orrery-news\ndisallow: /", "/a", true),
            ("user-agent: orrery\nuser-agent: other\ndisallow: /x", "/x", false),
            (
                "user-agent: orrery\ndisallow: /a\nuser-agent: other\ndisallow: /\nuser-agent: orrery\ndisallow: /b",
                "/b",
                false,
            ),
            ("user-agent: orrery\n\nuser-agent: *\ndisallow: /", "/a", false),
            // The longest rule, and of two as long the one that allows.
            ("user-agent: *\nallow: /p\ndisallow: /", "/page", true),
            ("user-agent: *\nallow: /folder\ndisallow: /folder", "/folder/page", true),
            ("user-agent: *\nallow: /page\ndisallow: /*.htm", "/page.htm", false),
            (
                "user-agent: *\nallow: /example/page/\ndisallow: /example/page/disallowed.gif",
                "/example/page/disallowed.gif",
                false,
            ),
            ("user-agent: *\ndisallow: *.gif$\nallow: /publications/", "/a.gif", false),
            ("user-agent: *\ndisallow: *.gif$", "/a.gif?x", true),
            ("user-agent: *\ndisallow: /*/b*c$", "/a/b/c/c", false),
            ("user-agent: *\ndisallow: /a?b", "/a?b=1", false),
            ("user-agent: *\ndisallow: /foo/bar/%E3%83%84", "/foo/bar/ツ", false),
            ("user-agent: *\ndisallow: /foo/bar/ツ", "/foo/bar/%e3%83%84", false),
            ("user-agent: *\ndisallow: /foo/bar/%62%61%7A", "/foo/bar/baz", false),
            ("\u{feff}user-agent: *\r\ndisallow: /x # why\r\nsitemap: /y", "/x", false),
            ("disallow: /\nuser-agent: *", "/a", true),
            ("<html>user-agent: *\ndisallow: /", "/a", true),
        ];
        for (text, path, allowed) in cases {
            assert_eq!(Robots::parse(text).allows(path), allowed, "{path} by {text:?}");
        }
    }
}
