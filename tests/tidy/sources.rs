//! Rules for every Rust file: its opening, its length, its name, and what may not stand in it.

use crate::files::{self, File, Findings, is_word_at};

/// A file this long has more than one subject.
const LINES_MAX: usize = 800;

/// What may not open a line of code, and what to do instead. Written in two parts, or this file
/// would break its own rule.
const FORBIDDEN: [(&str, &str); 5] = [
    (concat!("#[", "ignore"), "make the test pass on every machine, or assert the known fault with a FIXME"),
    (concat!("#[", "should_panic"), "assert on the error, or on `catch_unwind` of the one call that panics"),
    (concat!("todo", "!("), "write it, or leave it out"),
    (concat!("unimplemented", "!("), "write it, or leave it out"),
    (concat!("dbg", "!("), "use `tracing`"),
];

/// What an open end is called: `TODO(design): a sentence`.
const OPEN_ENDS: [&str; 3] = ["(design): ", "(cleanup): ", "(robustness): "];

/// Every Rust file, held against one rule.
#[track_caller]
fn hold(rule: impl Fn(&File, &mut Findings)) {
    let mut findings = Findings::default();
    for file in files::with("rs") {
        rule(file, &mut findings);
    }
    findings.assert_none();
}

/// How many findings a rule has in a text.
fn found(rule: impl Fn(&File, &mut Findings), path: &str, text: &str) -> usize {
    let mut findings = Findings::default();
    rule(&File::specimen(path, text), &mut findings);
    findings.count()
}

fn opening(file: &File, findings: &mut Findings) {
    if !file.text.starts_with("//! ") {
        findings.add(&file.path, 1, "no `//!`", "say in the first line what the file owns");
    }
}

fn length(file: &File, findings: &mut Findings) {
    let lines = file.text.lines().count();
    if lines > LINES_MAX {
        let wrong = format!("{lines} lines, more than {LINES_MAX}");
        findings.add(&file.path, LINES_MAX + 1, wrong, "split it by subject, best at 400");
    }
}

fn name(file: &File, findings: &mut Findings) {
    if file.path.ends_with("/mod.rs") {
        findings.add(&file.path, 0, "a `mod.rs`", "name it after its folder, beside the folder");
    }
}

/// A line without its comment, and without what stands in quotes: agents read other people's code, so
/// their tests hold all of this as data. Empty for lines of comment.
fn code(line: &str) -> String {
    let line = line.trim_start();
    if line.starts_with("//") {
        return String::new();
    }
    line.split('"').step_by(2).collect()
}

fn marks(file: &File, findings: &mut Findings) {
    for (number, line) in file.lines() {
        let code = code(line);
        for (mark, fix) in FORBIDDEN {
            let stands = |(at, _): (usize, &str)| {
                let before = code[..at].chars().next_back();
                !before.is_some_and(|before| before.is_alphanumeric() || before == '_')
            };
            if code.match_indices(mark).any(stands) {
                findings.add(&file.path, number, format!("`{mark}`"), fix);
            }
        }
    }
}

fn reasons(file: &File, findings: &mut Findings) {
    for opening in ["[allow(", "[expect("] {
        for (at, _) in file.text.match_indices(opening) {
            let is_attribute = matches!(file.text[..at].chars().next_back(), Some('#' | '!'));
            let attribute = file.text[at..].split(")]").next().unwrap_or_default();
            if is_attribute && !attribute.contains("reason = ") {
                let fix = "add `reason = \"…\"`";
                findings.add(&file.path, file.line_at(at), format!("`#{opening}…)]` without a reason"), fix);
            }
        }
    }
}

fn unwraps(file: &File, findings: &mut Findings) {
    if file.is_test() || !file.path.contains("/src/") {
        return;
    }
    let unwrap = concat!(".unw", "rap()");
    for (number, line) in file.lines().take_while(|(_, line)| line.trim() != "#[cfg(test)]") {
        if code(line).contains(unwrap) {
            findings.add(&file.path, number, format!("`{unwrap}`"), "say `expect(\"why it cannot fail\")`");
        }
    }
}

fn open_ends(file: &File, findings: &mut Findings) {
    for (number, line) in file.lines() {
        // Quotes before it: text that somebody else's code is made of in a test.
        let comment = line.split_once("// ").filter(|(before, _)| !before.contains('"'));
        let Some(rest) = comment.and_then(|(_, comment)| comment.strip_prefix(concat!("TO", "DO"))) else {
            continue;
        };
        if !OPEN_ENDS.iter().any(|end| rest.starts_with(end)) {
            let fix = "write `(design): `, `(cleanup): ` or `(robustness): ` and a sentence after it";
            findings.add(&file.path, number, "an open end of no sort", fix);
        } else if ["decide", "fold", "journal"].iter().any(|stage| file.path.contains(stage)) {
            findings.add(&file.path, number, "an open end in a stage that must not have one", "close it");
        }
    }
}

/// A tuple as a parameter hides how many parameters a function has. A function with a single one may be made
/// for `map` and the like, which pass it the pairs of an iterator.
fn tuples(file: &File, findings: &mut Findings) {
    let text: String = file.text.lines().map(|line| code(line) + "\n").collect();
    let code = File::specimen(&file.path, &text);
    for (at, _) in text.match_indices("fn ").filter(|(at, _)| is_word_at(&text, *at, "fn")) {
        let parameters = parameters(&text[at + "fn ".len()..]);
        let is_tuple = |parameter: &&str| parameter.trim_start_matches(['&', ' ', '\n']).starts_with('(');
        if parameters.len() > 1 && parameters.iter().any(is_tuple) {
            let fix = "name each, or make a struct where they are one thing";
            findings.add(&file.path, code.line_at(at), "a tuple as a parameter", fix);
        }
    }
}

/// The parameters of a function, from its name on.
fn parameters(function: &str) -> Vec<&str> {
    let (mut depth, mut begin, mut before) = (0_usize, None, ' ');
    let mut found = Vec::new();
    for (at, sign) in function.char_indices() {
        match (sign, begin) {
            ('(' | '[' | '{' | '<', _) => {
                // Those before it are of the generics.
                if (sign, depth) == ('(', 0) {
                    begin = Some(at + 1);
                }
                depth += 1;
            }
            (')' | ']' | '}' | '>', _) if (before, sign) != ('-', '>') => {
                depth = depth.saturating_sub(1);
                if let (0, Some(begin)) = (depth, begin) {
                    found.push(&function[begin..at]);
                    break;
                }
            }
            (',', Some(from)) if depth == 1 => {
                found.push(&function[from..at]);
                begin = Some(at + 1);
            }
            _ => {}
        }
        before = sign;
    }
    // Behind the last comma there may be nothing.
    found.retain(|parameter| !parameter.trim().is_empty());
    found
}

#[test]
fn a_source_file_opens_by_saying_what_it_owns() {
    hold(opening);
    assert_eq!(found(opening, "a/src/b.rs", "use std::fmt;\n"), 1);
}

#[test]
fn a_source_file_is_short() {
    hold(length);
    assert_eq!(found(length, "a/src/b.rs", &"\n".repeat(LINES_MAX + 1)), 1);
    assert_eq!(found(length, "a/src/b.rs", &"\n".repeat(LINES_MAX)), 0);
}

#[test]
fn a_module_is_named_after_its_folder() {
    hold(name);
    assert_eq!(found(name, "a/src/b/mod.rs", ""), 1);
}

#[test]
fn no_test_is_skipped_and_nothing_is_left_to_write() {
    hold(marks);
    for (mark, _) in FORBIDDEN {
        assert_eq!(found(marks, "a/src/b.rs", &format!("    {mark}\n")), 1, "{mark}");
        assert_eq!(found(marks, "a/src/b.rs", &format!("    // {mark}\n")), 0, "{mark}");
    }
}

#[test]
fn a_lint_is_set_aside_with_a_reason() {
    hold(reasons);
    let bare = concat!("#", "[allow(dead_code)]\n");
    let reasoned = concat!("#", "[allow(\n    dead_code,\n    reason = \"why\"\n)]\n");
    assert_eq!((found(reasons, "a/src/b.rs", bare), found(reasons, "a/src/b.rs", reasoned)), (1, 0));
}

#[test]
fn only_tests_unwrap() {
    hold(unwraps);
    let text = concat!("    x.unw", "rap();\n#[cfg(test)]\nmod tests { x.unw", "rap(); }\n");
    assert_eq!((found(unwraps, "a/src/b.rs", text), found(unwraps, "a/tests/b.rs", text)), (1, 0));
}

#[test]
fn an_open_end_says_of_what_sort_it_is() {
    hold(open_ends);
    let (bare, sorted) = (concat!("// TO", "DO later\n"), concat!("// TO", "DO(design): ask whom.\n"));
    assert_eq!((found(open_ends, "a/src/b.rs", bare), found(open_ends, "a/src/b.rs", sorted)), (1, 0));
    assert_eq!(found(open_ends, "a/src/fold.rs", sorted), 1);
}

#[test]
fn a_parameter_is_no_tuple() {
    hold(tuples);
    for text in [
        "fn f(a: A, (b, c): (B, C)) {}\n",
        "    fn f(&self, (b, c): (B, C)) {}\n",
        "fn f<T: Fn(A) -> B>(\n    &(a, b): &(A, T),\n    c: C,\n) {}\n",
    ] {
        assert_eq!(found(tuples, "a/src/b.rs", text), 1, "{text}");
    }
    for text in [
        "fn f((a, b): (A, B)) {}\n",
        "fn f(\n    (a, b): (A, B),\n) {}\n",
        "fn f(a: (A, B), Pair(b, c): Pair, act: impl FnOnce(A, (B, C)) -> D) {}\n",
        "    let f = |a, (b, c)| a;\n",
        "// fn f(a: A, (b, c): (B, C)) {}\n",
    ] {
        assert_eq!(found(tuples, "a/src/b.rs", text), 0, "{text}");
    }
}
