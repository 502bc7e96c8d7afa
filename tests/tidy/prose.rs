//! Prose is written one sentence to a line, so that a change of one sentence is a change of one line. Inability is
//! written as one word, also in comments and messages.

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use crate::files::{self, File, Findings, is_word_at};

/// Folders with prose of which the rule is not asked, with the reason.
const EXCEPTED: [(&str, &str); 1] = [("bus-schemas/schemas/vendor/", "it is other people's")];

/// Inability in two words. Written in two parts, or this file would break its own rule.
const TWO_WORDS: &str = concat!("can ", "not");

/// The first words of a text whose subject is a riddle.
const RIDDLES: [&str; 3] = ["\"it ", "\"they ", "\"that of "];

/// Words whose full stop ends no sentence.
const ABBREVIATIONS: [&str; 3] = ["e.g.", "i.e.", "etc."];

/// Whether a line holds the end of a sentence and the beginning of the next one.
fn holds_two(line: &str) -> bool {
    let mut words = line.split(' ').peekable();
    while let Some(word) = words.next() {
        let ends = word.trim_end_matches([')', '"', '*']).ends_with(['.', '!', '?']);
        let begins = words.peek().and_then(|next| next.trim_start_matches(['(', '"', '*']).chars().next());
        if ends && !ABBREVIATIONS.contains(&word) && begins.is_some_and(char::is_uppercase) {
            return true;
        }
    }
    false
}

/// Whether a line that is not the last of its paragraph ends in the middle of a sentence.
fn breaks_off(line: &str) -> bool {
    !line.trim_end().trim_end_matches([')', '"', '*']).ends_with(['.', '!', '?', ':', ';'])
}

/// The lines of every paragraph that is neither in a list, nor in a table, nor quoted; code as `X`.
fn paragraphs(file: &File) -> Vec<Vec<(usize, String)>> {
    let (mut found, mut nested, mut current) = (Vec::new(), 0_usize, None::<Vec<(usize, String)>>);
    for (event, range) in Parser::new_ext(&file.text, Options::ENABLE_TABLES).into_offset_iter() {
        match event {
            Event::Start(Tag::List(_) | Tag::BlockQuote(_) | Tag::Table(_)) => nested += 1,
            Event::End(TagEnd::List(_) | TagEnd::BlockQuote(_) | TagEnd::Table) => nested -= 1,
            Event::Start(Tag::Paragraph) if nested == 0 => {
                current = Some(vec![(file.line_at(range.start), String::new())]);
            }
            Event::End(TagEnd::Paragraph) => found.extend(current.take()),
            Event::SoftBreak | Event::HardBreak => {
                if let Some(lines) = &mut current {
                    lines.push((file.line_at(range.end), String::new()));
                }
            }
            Event::Text(text) => add(&mut current, &text),
            Event::Code(_) => add(&mut current, "X"),
            _ => {}
        }
    }
    found
}

fn add(paragraph: &mut Option<Vec<(usize, String)>>, text: &str) {
    if let Some((_, line)) = paragraph.as_mut().and_then(|lines| lines.last_mut()) {
        line.push_str(text);
    }
}

fn sentences(file: &File, findings: &mut Findings) {
    for lines in paragraphs(file) {
        let last = lines.len() - 1;
        for (index, (number, line)) in lines.iter().enumerate() {
            if holds_two(line) {
                findings.add(&file.path, *number, "two sentences on one line", "begin a line with each");
            }
            if index < last && breaks_off(line) {
                findings.add(&file.path, *number, "a sentence on two lines", "write it on one line");
            }
        }
    }
}

#[test]
fn prose_has_one_sentence_to_a_line() {
    let mut findings = Findings::default();
    let asked = |file: &&File| !EXCEPTED.iter().any(|(folder, _)| file.path.starts_with(folder));
    for file in files::with("md").filter(asked) {
        sentences(file, &mut findings);
    }
    findings.assert_none();

    let mut found = Findings::default();
    sentences(
        &File::specimen("x.md", "One. Two.\n\nThis breaks\noff.\n\nSee `a. B`: it is\n\n- One. Two.\n"),
        &mut found,
    );
    assert_eq!(found.count(), 2);
}

/// Outside comments and strings of Rust the words cannot follow each other.
fn inability(file: &File, findings: &mut Findings) {
    for (number, line) in file.lines() {
        let line = line.to_ascii_lowercase();
        if line.match_indices(TWO_WORDS).any(|(at, _)| is_word_at(&line, at, TWO_WORDS)) {
            findings.add(&file.path, number, format!("`{TWO_WORDS}`"), "write `cannot`");
        }
    }
}

#[test]
fn inability_is_one_word() {
    let mut findings = Findings::default();
    let asked = |file: &&File| !EXCEPTED.iter().any(|(folder, _)| file.path.starts_with(folder));
    for file in files::with("md").chain(files::with("rs")).filter(asked) {
        inability(file, &mut findings);
    }
    findings.assert_none();

    let text =
        format!("// It {TWO_WORDS} stop.\nlet x = \"{TWO_WORDS}\";\n// It {TWO_WORDS}hing, it cannot.\n");
    let mut found = Findings::default();
    inability(&File::specimen("a/src/b.rs", &text), &mut found);
    assert_eq!(found.count(), 2);
}

/// Texts of the product that begin with a pronoun. Messages of assertions are for those who read the test.
fn riddles(file: &File, findings: &mut Findings) {
    let product = file.text.split("#[cfg(test)]").next().unwrap_or_default();
    for (number, line) in (1..).zip(product.lines()) {
        let riddle = RIDDLES.iter().find(|riddle| line.contains(**riddle));
        if let Some(riddle) = riddle.filter(|_| !line.contains("assert") && !line.contains("expect(")) {
            let fix = "name what the sentence is about";
            findings.add(&file.path, number, format!("a text begins with `{}`", &riddle[1..]), fix);
        }
    }
}

#[test]
fn a_text_names_its_subject() {
    let mut findings = Findings::default();
    let sources = files::with("rs").filter(|file| !file.is_test() && file.path.contains("/src/"));
    let product =
        |file: &&File| !["tests/", "testing/", "tests.rs"].iter().any(|part| file.path.contains(part));
    sources.filter(product).for_each(|file| riddles(file, &mut findings));
    findings.assert_none();

    let mut found = Findings::default();
    let text = "let a = \"it is\";\nassert!(b, \"it is\");\n#[cfg(test)]\nlet c = \"it is\";\n";
    riddles(&File::specimen("a/src/b.rs", text), &mut found);
    assert_eq!(found.count(), 1);
}
