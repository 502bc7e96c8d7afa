//! Syntax trees: which grammar reads which file, what is a comment in it and what is a function.

use std::ops::ControlFlow;

use tree_sitter::{Language, Node, ParseOptions, Parser};

use super::{LONG_FUNCTION_LINES, Marker};
use crate::report::{Error, Watch, files};

/// A note is quoted up to here; a longer one is a paragraph that is better read in place.
const NOTE_BYTES_MAX: usize = 200;

/// A name is shown up to here; only generated code has longer ones.
const NAME_BYTES_MAX: usize = 120;

/// A language with its parser.
pub(super) struct Grammar {
    language: &'static str,
    extensions: &'static [&'static str],
    comments: &'static [&'static str],
    /// Nodes that are functions by themselves.
    functions: &'static [&'static str],
    /// Nodes that are functions when they are given a name by the node around them.
    values: &'static [&'static str],
    parser: Parser,
}

/// What one file shows.
#[derive(Default)]
pub(super) struct Parsed {
    pub(super) functions: u64,
    pub(super) long_functions: Vec<Function>,
    pub(super) notes: Vec<(Marker, u64, String)>,
    pub(super) syntax_error: bool,
}

pub(super) struct Function {
    pub(super) name: String,
    pub(super) start_line: u64,
    pub(super) lines: u64,
}

const SCRIPT_FUNCTIONS: &[&str] =
    &["function_declaration", "generator_function_declaration", "method_definition"];
const SCRIPT_VALUES: &[&str] = &["arrow_function", "function_expression", "generator_function"];
const SCRIPT_COMMENTS: &[&str] = &["comment", "html_comment"];

impl Grammar {
    /// The five languages, TSX being a dialect with a grammar of its own.
    pub(super) fn all() -> Result<Vec<Self>, Error> {
        let script = |language, extensions, grammar| {
            Self::new(language, extensions, SCRIPT_COMMENTS, SCRIPT_FUNCTIONS, SCRIPT_VALUES, grammar)
        };
        let rust = tree_sitter_rust::LANGUAGE.into();
        let python = tree_sitter_python::LANGUAGE.into();
        let go = tree_sitter_go::LANGUAGE.into();
        let go_functions = &["function_declaration", "method_declaration"];
        Ok(vec![
            Self::new("Rust", &["rs"], &["line_comment", "block_comment"], &["function_item"], &[], rust)?,
            Self::new("Python", &["py", "pyi"], &["comment"], &["function_definition"], &[], python)?,
            Self::new("Go", &["go"], &["comment"], go_functions, &[], go)?,
            script("JavaScript", &["js", "mjs", "cjs", "jsx"], tree_sitter_javascript::LANGUAGE.into())?,
            script("TypeScript", &["ts", "mts", "cts"], tree_sitter_typescript::LANGUAGE_TYPESCRIPT.into())?,
            script("TSX", &["tsx"], tree_sitter_typescript::LANGUAGE_TSX.into())?,
        ])
    }

    fn new(
        language: &'static str,
        extensions: &'static [&'static str],
        comments: &'static [&'static str],
        functions: &'static [&'static str],
        values: &'static [&'static str],
        grammar: Language,
    ) -> Result<Self, Error> {
        let mut parser = Parser::new();
        parser
            .set_language(&grammar)
            .map_err(|source| Error::Grammar { language, source: Box::new(source) })?;
        Ok(Self { language, extensions, comments, functions, values, parser })
    }

    pub(super) fn language(&self) -> &'static str {
        self.language
    }

    pub(super) fn takes(&self, path: &str) -> bool {
        path.rsplit_once('.').is_some_and(|(_, extension)| self.extensions.contains(&extension))
    }

    /// Parses one file. A tree with errors still has its sound parts read.
    pub(super) fn parse(&mut self, text: &str, watch: &Watch) -> Result<Parsed, Error> {
        watch.check()?;
        let mut stop =
            |_: &_| if watch.is_canceled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
        let options = ParseOptions::new().progress_callback(&mut stop);
        let bytes = text.as_bytes();
        let tree =
            self.parser.parse_with_options(&mut |at, _| &bytes[at.min(bytes.len())..], None, Some(options));
        let Some(tree) = tree else {
            // A parser that was stopped would otherwise resume the old file with the next one.
            self.parser.reset();
            watch.check()?;
            return Ok(Parsed { syntax_error: true, ..Parsed::default() });
        };
        let mut parsed = Parsed { syntax_error: tree.root_node().has_error(), ..Parsed::default() };
        // A cursor and no recursion: the depth of a tree is up to whoever wrote the file.
        let mut cursor = tree.walk();
        loop {
            self.visit(cursor.node(), text, &mut parsed);
            if cursor.goto_first_child() {
                continue;
            }
            while !cursor.goto_next_sibling() {
                if !cursor.goto_parent() {
                    return Ok(parsed);
                }
            }
        }
    }

    fn visit(&self, node: Node<'_>, text: &str, parsed: &mut Parsed) {
        let kind = node.kind();
        if self.comments.contains(&kind) {
            notes(node, text, &mut parsed.notes);
            return;
        }
        let name = if self.functions.contains(&kind) && node.is_named() {
            node.child_by_field_name("name")
        } else if self.values.contains(&kind) && node.is_named() {
            match name_around(node) {
                Some(name) => Some(name),
                None => return,
            }
        } else {
            return;
        };
        parsed.functions += 1;
        let start = node.start_position().row as u64;
        let lines = node.end_position().row as u64 - start + 1;
        if lines > LONG_FUNCTION_LINES {
            let name = name.and_then(|name| text.get(name.byte_range())).unwrap_or("(without a name)");
            let name = files::clip(name, NAME_BYTES_MAX).to_owned();
            parsed.long_functions.push(Function { name, start_line: start + 1, lines });
        }
    }
}

/// The name that the node around a function value gives it: a variable, a field, a key or an assignment.
fn name_around(value: Node<'_>) -> Option<Node<'_>> {
    let parent = value.parent()?;
    let field = match parent.kind() {
        "variable_declarator" | "public_field_definition" => "name",
        "field_definition" => "property",
        "pair" => "key",
        "assignment_expression" => "left",
        _ => return None,
    };
    parent.child_by_field_name(field)
}

fn notes(node: Node<'_>, text: &str, notes: &mut Vec<(Marker, u64, String)>) {
    let Some(comment) = text.get(node.byte_range()) else { return };
    let first = node.start_position().row as u64 + 1;
    for (offset, line) in comment.lines().enumerate() {
        if let Some((marker, rest)) = marker_in(line) {
            let rest = rest.trim_end().trim_end_matches("*/").trim_end();
            notes.push((marker, first + offset as u64, files::clip(rest, NOTE_BYTES_MAX).to_owned()));
        }
    }
}

/// The first marker that stands as a word of its own in a line, with the text from it on. Who puts it
/// in quotation marks speaks of it.
fn marker_in(line: &str) -> Option<(Marker, &str)> {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let found = Marker::ALL.into_iter().filter_map(|marker| {
        let (start, _) = line.match_indices(marker.word()).find(|(start, found)| {
            let before = &line[..*start];
            let quoted = before.ends_with(['`', '"']);
            !quoted && !before.ends_with(word) && !line[start + found.len()..].starts_with(word)
        })?;
        Some((start, marker))
    });
    let (start, marker) = found.min()?;
    Some((marker, &line[start..]))
}

#[cfg(test)]
mod tests {
    use super::{Marker, marker_in};

    #[test]
    fn a_marker_is_a_word_of_its_own() {
        assert_eq!(marker_in("// TODO(x): y"), Some((Marker::Todo, "TODO(x): y")));
        assert_eq!(marker_in("# é HACK then FIXME"), Some((Marker::Hack, "HACK then FIXME")));
        assert_eq!(marker_in("// TODOS and XXXL and my_HACK"), None);
        assert_eq!(marker_in("// such as `TODO(x)` or \"FIXME\""), None);
    }
}
