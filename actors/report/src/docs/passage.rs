//! The lines of a section to quote: those around its best paragraph, word for word.

use std::collections::BTreeSet;

use super::{Indexed, PASSAGE_BYTES_MAX, PASSAGE_LINES_MAX, Passage, stems};
use crate::files;

/// Lines that belong together: between two blank lines, one item of a list, or a whole fenced block of code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Paragraph {
    /// Lines of the section's body, from zero; the end is exclusive.
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) is_code: bool,
}

/// The paragraphs of a section's body.
pub(super) fn paragraphs(lines: &[&str]) -> Vec<Paragraph> {
    let mut found: Vec<Paragraph> = Vec::new();
    let mut fence: Option<&str> = None;
    let mut is_open = false;
    for (index, line) in lines.iter().enumerate() {
        let trimmed = line.trim_start();
        let mark = ["```", "~~~"].into_iter().find(|mark| trimmed.starts_with(mark));
        let (begins, ends) = match (fence, mark) {
            (None, Some(_)) => (true, false),
            (Some(open), Some(mark)) => (false, open == mark),
            _ => (false, false),
        };
        let in_code = fence.is_some() || begins;
        let blank = trimmed.is_empty() && fence.is_none();
        if blank {
            is_open = false;
            continue;
        }
        let indented = !in_code && !is_open && line.starts_with("    ");
        if begins || !is_open || (!in_code && is_item(trimmed)) {
            found.push(Paragraph { start: index, end: index + 1, is_code: in_code || indented });
        } else if let Some(last) = found.last_mut() {
            last.end = index + 1;
        }
        fence = if begins {
            mark
        } else if ends {
            None
        } else {
            fence
        };
        is_open = !ends;
    }
    found
}

/// Whether a line begins an item of a list.
fn is_item(line: &str) -> bool {
    let after_number = line.trim_start_matches(|c: char| c.is_ascii_digit());
    let numbered =
        after_number.len() < line.len() && (after_number.starts_with(". ") || after_number.starts_with(") "));
    numbered || ["- ", "* ", "+ "].iter().any(|bullet| line.starts_with(bullet))
}

/// The paragraph with the most of `wanted`, with the stems it has. The first of equals wins.
pub(super) fn densest(lines: &[&str], wanted: &BTreeSet<String>) -> (Option<Paragraph>, BTreeSet<String>) {
    let mut best: (Option<Paragraph>, BTreeSet<String>) = (None, BTreeSet::new());
    for paragraph in paragraphs(lines) {
        let words = lines[paragraph.start..paragraph.end].iter().flat_map(|line| stems::of(line));
        let present: BTreeSet<String> = words.filter(|word| wanted.contains(word)).collect();
        if present.len() > best.1.len() {
            best = (Some(paragraph), present);
        }
    }
    best
}

/// The first paragraph in which a line of code, or words in backticks, begins with one of `commands`.
pub(super) fn commanding(lines: &[&str], commands: &[impl AsRef<str>]) -> Option<Paragraph> {
    let begins = |text: &str| {
        let text = text.trim_start().trim_start_matches(['$', '>', '%']).trim_start();
        commands.iter().map(AsRef::as_ref).any(|command| {
            text.strip_prefix(command).is_some_and(|rest| {
                command.ends_with(' ') || !rest.starts_with(|c: char| c.is_alphanumeric() || c == '-')
            })
        })
    };
    paragraphs(lines).into_iter().find(|one| {
        let mut inside = lines[one.start..one.end].iter();
        match one.is_code {
            true => inside.any(|line| begins(line)),
            false => inside.any(|line| line.split('`').skip(1).step_by(2).any(begins)),
        }
    })
}

/// Whole lines of a section: from its top where `around` fits in with the lines above it, otherwise from
/// `around` on, with the introducing words before a block of code.
pub(super) fn passage(indexed: &Indexed, around: Option<Paragraph>, score: f32) -> Option<Passage> {
    let lines: Vec<&str> = indexed.body.lines().collect();
    let top = lines.iter().position(|line| !is_decoration(line))?;
    let first = match around {
        Some(one) if one.end > top + PASSAGE_LINES_MAX => {
            let before = paragraphs(&lines).into_iter().rfind(|other| other.end <= one.start);
            let introduced = before
                .filter(|other| one.is_code && !other.is_code && one.end - other.start <= PASSAGE_LINES_MAX);
            introduced.map_or(one.start, |other| other.start).max(top)
        }
        _ => top,
    };
    let mut text = String::new();
    let mut last = first;
    for (index, line) in lines.iter().enumerate().skip(first).take(PASSAGE_LINES_MAX) {
        let room = PASSAGE_BYTES_MAX.saturating_sub(text.len() + 1);
        if index > first {
            if line.len() > room || is_apparatus(line) {
                break;
            }
            text.push('\n');
        }
        text.push_str(files::clip(line, PASSAGE_BYTES_MAX));
        last = index;
    }
    let kept = text.trim_end().len();
    let blank_tail = text[kept..].matches('\n').count();
    text.truncate(kept);
    let line = |index: usize| (indexed.section.body_line + index) as u64;
    Some(Passage {
        file: indexed.file.clone(),
        heading: indexed.section.heading.clone(),
        start_line: line(first),
        end_line: line(last - blank_tail),
        text,
        score,
    })
}

/// Lines that look good on a project page and say nothing: blanks, badges, images, markup, comments, rules.
fn is_decoration(line: &str) -> bool {
    let line = line.trim();
    let starts = ["<", "-->", ".. image::", ".. |", ":target:", ":alt:", "---", "===", "***"];
    line.is_empty() || is_apparatus(line) || starts.iter().any(|start| line.starts_with(start))
}

/// Badges and the targets of links, which end what a passage has to say.
fn is_apparatus(line: &str) -> bool {
    let line = line.trim_start();
    let target =
        line.starts_with('[') && line.split_once("]: ").is_some_and(|(name, _)| !name.contains("]("));
    target || line.starts_with("[![") || line.starts_with("![")
}

#[cfg(test)]
mod tests {
    use super::super::indexed;
    use super::{commanding, paragraphs, passage};

    #[test]
    fn a_passage_starts_at_the_first_line_that_says_something() {
        let text = "# T\n\n[![badge](x)](y)\n\nIt does a thing.\nAnd more.\n\n\n";
        let passage = passage(&indexed("README.md", text)[0], None, 1.0).unwrap();
        assert_eq!((passage.start_line, passage.end_line), (5, 6));
        assert_eq!(passage.text, "It does a thing.\nAnd more.");
    }

    #[test]
    fn code_far_down_a_section_is_quoted_with_its_introduction() {
        let prose = "Words.\n\n".repeat(20);
        let text = format!("# T\n\n{prose}Type this:\n\n```sh\n$ make all\n\nmake test\n```\n\nDone.\n");
        let section = &indexed("README.md", &text)[0];
        let lines: Vec<&str> = section.body.lines().collect();
        let code = commanding(&lines, &["make"]).unwrap();
        assert!(code.is_code && commanding(&lines, &["make install", "mak"]).is_none());
        let passage = passage(section, Some(code), 1.0).unwrap();
        assert!(
            passage.text.starts_with("Type this:\n\n```sh\n$ make all\n\nmake test\n```"),
            "{}",
            passage.text
        );
    }

    #[test]
    fn a_fenced_block_is_one_paragraph_and_so_is_an_item_of_a_list() {
        let lines = ["a", "b", "```", "c", "", "- d", "```", "e", "", "    f", "", "- g", "h", "1. i"];
        let found: Vec<_> = paragraphs(&lines).iter().map(|one| (one.start, one.end, one.is_code)).collect();
        let items = [(11, 13, false), (13, 14, false)];
        assert_eq!(found[..4], [(0, 2, false), (2, 7, true), (7, 8, false), (9, 10, true)]);
        assert_eq!(found[4..], items);
    }
}
