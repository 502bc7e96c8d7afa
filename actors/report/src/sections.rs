//! Sections of documentation: the text from one heading to the next, with its line numbers.

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use super::{files, languages};

/// The languages that have headings, as the table of languages calls them.
pub(super) const MARKDOWN: &str = "Markdown";
pub(super) const RST: &str = "reStructuredText";

/// Bytes of a heading that are shown; a longer one is a paragraph that looks like a heading.
const HEADING_BYTES_MAX: usize = 160;

/// The characters that underline a heading in reStructuredText.
const RST_RULES: &str = "=-~^\"'`#*+:._<>";

/// A heading and the lines under it, up to the next heading of any level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Section {
    /// The heading; empty for the text before the first one.
    pub(super) heading: String,
    /// The headings above this one, outermost first.
    pub(super) above: Vec<String>,
    /// The first line, from 1; the heading's own line where there is one.
    pub(super) start_line: usize,
    /// The first line of the text under the heading.
    pub(super) body_line: usize,
    /// The last line, inclusive.
    pub(super) end_line: usize,
}

/// A heading found in a text: its words, its first line and the first line after it.
struct Heading {
    words: String,
    /// The level, from 1; a heading is below the last one of a smaller level.
    level: usize,
    line: usize,
    body_line: usize,
}

/// Cuts a text by the rules of the format that its name indicates.
pub(super) fn split(path: &str, text: &str) -> Vec<Section> {
    let headings = match languages::by_path(path).map(|language| language.name) {
        Some(MARKDOWN) => markdown_headings(text),
        Some(RST) => rst_headings(text),
        _ => Vec::new(),
    };
    sections(headings, front_matter_lines(text) + 1, text.lines().count())
}

fn sections(headings: Vec<Heading>, top: usize, lines: usize) -> Vec<Section> {
    let mut sections = Vec::with_capacity(headings.len() + 1);
    let first = headings.first().map_or(lines + 1, |heading| heading.line);
    if first > top {
        sections.push(Section {
            heading: String::new(),
            above: Vec::new(),
            start_line: top,
            body_line: top,
            end_line: first - 1,
        });
    }
    let mut headings = headings.into_iter().peekable();
    let mut open: Vec<(usize, String)> = Vec::new();
    while let Some(heading) = headings.next() {
        let end_line = headings.peek().map_or(lines, |next| next.line - 1);
        open.truncate(open.iter().take_while(|(level, _)| *level < heading.level).count());
        let above = open.iter().map(|(_, words)| words.clone()).collect();
        open.push((heading.level, heading.words.clone()));
        sections.push(Section {
            heading: heading.words,
            above,
            start_line: heading.line,
            body_line: heading.body_line,
            end_line,
        });
    }
    sections
}

/// The number of lines of the settings that some site generators expect between two rules at the top.
fn front_matter_lines(text: &str) -> usize {
    let mut lines = text.lines();
    if lines.next().map(str::trim_end) != Some("---") {
        return 0;
    }
    lines.position(|line| line.trim_end() == "---").map_or(0, |index| index + 2)
}

/// Headings on their own lines; one inside a quotation or a list item belongs to that.
fn markdown_headings(text: &str) -> Vec<Heading> {
    let starts: Vec<usize> =
        std::iter::once(0).chain(text.match_indices('\n').map(|(position, _)| position + 1)).collect();
    let line_of = |offset: usize| starts.partition_point(|start| *start <= offset);
    let options = Options::ENABLE_TABLES | Options::ENABLE_YAML_STYLE_METADATA_BLOCKS;
    let mut headings = Vec::new();
    let mut depth = 0_usize;
    let mut open: Option<(usize, String)> = None;
    for (event, range) in Parser::new_ext(text, options).into_offset_iter() {
        match event {
            Event::Start(Tag::Heading { level, .. }) if depth == 0 => {
                depth += 1;
                open = Some((level as usize, String::new()));
            }
            Event::End(TagEnd::Heading(_)) if depth == 1 => {
                depth = 0;
                let Some((level, words)) = open.take() else { continue };
                let source = text[range.clone()].trim_end();
                let last = line_of(range.start + source.len().saturating_sub(1));
                headings.push(Heading {
                    words: shorten(&words),
                    level,
                    line: line_of(range.start),
                    body_line: last + 1,
                });
            }
            Event::Start(_) => depth += 1,
            Event::End(_) => depth = depth.saturating_sub(1),
            Event::Text(words) | Event::Code(words) => {
                if let Some((_, heading)) = open.as_mut() {
                    heading.push_str(&words);
                }
            }
            Event::SoftBreak | Event::HardBreak => {
                if let Some((_, heading)) = open.as_mut() {
                    heading.push(' ');
                }
            }
            _ => {}
        }
    }
    headings
}

/// A line of words underlined by a rule that is at least as long, with an optional rule above.
fn rst_headings(text: &str) -> Vec<Heading> {
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    let mut headings = Vec::new();
    // The level of a rule is set by its first use.
    let mut styles: Vec<(Option<char>, bool)> = Vec::new();
    let mut index = 0;
    while index + 1 < lines.len() {
        let (words, rule) = (lines[index], lines[index + 1]);
        let titled = !words.trim().is_empty() && !is_rule(words) && is_rule(rule);
        if titled && rule.chars().count() >= words.chars().count() {
            let overlined = index > 0 && is_rule(lines[index - 1]) && lines[index - 1] == rule;
            let line = if overlined { index } else { index + 1 };
            let style = (rule.chars().next(), overlined);
            let known = styles.iter().position(|one| *one == style);
            let level = 1 + known.unwrap_or_else(|| {
                styles.push(style);
                styles.len() - 1
            });
            headings.push(Heading { words: shorten(words), level, line, body_line: index + 3 });
            index += 2;
        } else {
            index += 1;
        }
    }
    headings
}

fn is_rule(line: &str) -> bool {
    let mut chars = line.chars();
    chars
        .next()
        .is_some_and(|first| line.len() >= 2 && RST_RULES.contains(first) && chars.all(|next| next == first))
}

fn shorten(words: &str) -> String {
    files::clip(words.trim(), HEADING_BYTES_MAX).to_owned()
}

#[cfg(test)]
mod tests {
    use super::split;

    fn outline(path: &str, text: &str) -> Vec<(String, usize, usize, usize)> {
        let sections = split(path, text).into_iter();
        sections.map(|one| (one.heading, one.start_line, one.body_line, one.end_line)).collect()
    }

    #[test]
    fn markdown_is_cut_at_its_headings() {
        let text = "intro\n\n# One `a`\ntext\n```\n# not a heading\n```\nTwo\n===\n\nend\n";
        let expected = [("", 1, 1, 2), ("One a", 3, 4, 7), ("Two", 8, 10, 11)];
        assert_eq!(outline("a.md", text), expected.map(|(h, a, b, c)| (h.to_owned(), a, b, c)));
    }

    #[test]
    fn settings_at_the_top_are_not_a_section() {
        let expected = [("", 4, 4, 5), ("One", 6, 7, 6)];
        let text = "---\ntitle: x\n---\n\nintro\n# One\n";
        assert_eq!(outline("a.md", text), expected.map(|(h, a, b, c)| (h.to_owned(), a, b, c)));
    }

    #[test]
    fn a_section_knows_what_it_stands_under() {
        let markdown = "# Thing\n## Install\n### Linux\na\n## Use\nb\n";
        let rst = "Thing\n=====\n\nInstall\n-------\n\nLinux\n~~~~~\na\n\nUse\n---\nb\n";
        for (path, text) in [("a.md", markdown), ("a.rst", rst)] {
            let above: Vec<_> = split(path, text).into_iter().map(|one| one.above.join("/")).collect();
            assert_eq!(above, ["", "Thing", "Thing/Install", "Thing"], "{path}");
        }
    }

    #[test]
    fn restructured_text_is_cut_at_its_rules() {
        let text = "=====\nTitle\n=====\n\ntext\n\nNext\n----\nmore\n";
        let expected = [("Title", 1, 4, 6), ("Next", 7, 9, 9)];
        assert_eq!(outline("a.rst", text), expected.map(|(h, a, b, c)| (h.to_owned(), a, b, c)));
    }
}
