//! Syntax trees: the grammar of each language, and its comments and functions.
//!
//! The grammars are C code, which a file can crash. So this runs only in the process of
//! [`parser`](super::parser).

use serde::{Deserialize, Serialize};
use tree_sitter::{Language, LanguageError, Node, Parser};

use super::{LONG_FUNCTION_LINES, LONG_FUNCTIONS_LISTED, Marker, NOTES_LISTED};
use crate::files;

/// Bytes of a note that are quoted; a longer one is a paragraph that is better read in place.
const NOTE_BYTES_MAX: usize = 200;

/// Bytes of a name that are shown; only generated code has longer ones.
const NAME_BYTES_MAX: usize = 120;

/// A language with its parser.
pub(super) struct Grammar {
    pub(super) language: &'static str,
    comments: &'static [&'static str],
    /// Nodes that are functions by themselves.
    functions: &'static [&'static str],
    /// Nodes that are functions when the node around them names them.
    values: &'static [&'static str],
    parser: Parser,
}

/// The findings of one file.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Parsed {
    pub(super) functions: u64,
    pub(super) long_total: u64,
    /// The longest functions.
    pub(super) long_functions: Vec<Function>,
    pub(super) notes_total: u64,
    /// The first notes.
    pub(super) notes: Vec<(Marker, u64, String)>,
    pub(super) syntax_error: bool,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Function {
    pub(super) name: String,
    pub(super) start_line: u64,
    pub(super) lines: u64,
}

/// The languages with a grammar, as the table of languages calls them. TSX is a dialect with a grammar of its own.
pub(super) const LANGUAGES: [&str; 6] = ["Rust", "Python", "Go", "JavaScript", "TypeScript", "TSX"];

const SCRIPT_FUNCTIONS: &[&str] =
    &["function_declaration", "generator_function_declaration", "method_definition"];
const SCRIPT_VALUES: &[&str] = &["arrow_function", "function_expression", "generator_function"];
const SCRIPT_COMMENTS: &[&str] = &["comment", "html_comment"];

impl Grammar {
    /// One of each of [`LANGUAGES`].
    pub(super) fn all() -> Result<Vec<Self>, LanguageError> {
        let script = |language, grammar| {
            Self::new(language, SCRIPT_COMMENTS, SCRIPT_FUNCTIONS, SCRIPT_VALUES, grammar)
        };
        let rust = tree_sitter_rust::LANGUAGE.into();
        let python = tree_sitter_python::LANGUAGE.into();
        let go = tree_sitter_go::LANGUAGE.into();
        let go_functions = &["function_declaration", "method_declaration"];
        Ok(vec![
            Self::new("Rust", &["line_comment", "block_comment"], &["function_item"], &[], rust)?,
            Self::new("Python", &["comment"], &["function_definition"], &[], python)?,
            Self::new("Go", &["comment"], go_functions, &[], go)?,
            script("JavaScript", tree_sitter_javascript::LANGUAGE.into())?,
            script("TypeScript", tree_sitter_typescript::LANGUAGE_TYPESCRIPT.into())?,
            script("TSX", tree_sitter_typescript::LANGUAGE_TSX.into())?,
        ])
    }

    fn new(
        language: &'static str,
        comments: &'static [&'static str],
        functions: &'static [&'static str],
        values: &'static [&'static str],
        grammar: Language,
    ) -> Result<Self, LanguageError> {
        let mut parser = Parser::new();
        parser.set_language(&grammar)?;
        Ok(Self { language, comments, functions, values, parser })
    }

    /// Parses one file. The valid parts of a tree with errors are still read.
    pub(super) fn parse(&mut self, text: &str) -> Parsed {
        let Some(tree) = self.parser.parse(text, None) else {
            return Parsed { syntax_error: true, ..Parsed::default() };
        };
        let mut parsed = Parsed { syntax_error: tree.root_node().has_error(), ..Parsed::default() };
        // A cursor and no recursion: the depth of a tree is chosen by whoever wrote the file. The path down
        // is kept for the same reason: a node looks for its parent from the top.
        let mut cursor = tree.walk();
        let mut above: Vec<Node<'_>> = Vec::new();
        'tree: loop {
            let node = cursor.node();
            self.visit(node, above.last().copied(), text, &mut parsed);
            if cursor.goto_first_child() {
                above.push(node);
                continue;
            }
            while !cursor.goto_next_sibling() {
                if !cursor.goto_parent() {
                    break 'tree;
                }
                above.pop();
            }
        }
        parsed.long_functions.sort_by_key(|one| (std::cmp::Reverse(one.lines), one.start_line));
        parsed.long_functions.truncate(LONG_FUNCTIONS_LISTED);
        parsed
    }

    fn visit(&self, node: Node<'_>, parent: Option<Node<'_>>, text: &str, parsed: &mut Parsed) {
        let kind = node.kind();
        if self.comments.contains(&kind) {
            return notes(node, text, parsed);
        }
        let name = if self.functions.contains(&kind) && node.is_named() {
            node.child_by_field_name("name")
        } else if self.values.contains(&kind) && node.is_named() {
            match parent.and_then(name_around) {
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
            parsed.long_total += 1;
            parsed.long_functions.push(Function { name, start_line: start + 1, lines });
        }
    }
}

/// The name that the node around a function value gives it: a variable, a field, a key or an assignment.
fn name_around(parent: Node<'_>) -> Option<Node<'_>> {
    let field = match parent.kind() {
        "variable_declarator" | "public_field_definition" => "name",
        "field_definition" => "property",
        "pair" => "key",
        "assignment_expression" => "left",
        _ => return None,
    };
    parent.child_by_field_name(field)
}

fn notes(node: Node<'_>, text: &str, parsed: &mut Parsed) {
    let Some(comment) = text.get(node.byte_range()) else { return };
    let first = node.start_position().row as u64 + 1;
    for (offset, line) in comment.lines().enumerate() {
        if let Some((marker, rest)) = marker_in(line) {
            parsed.notes_total += 1;
            if parsed.notes.len() == NOTES_LISTED {
                continue;
            }
            let rest = rest.trim_end().trim_end_matches("*/").trim_end();
            parsed.notes.push((marker, first + offset as u64, files::clip(rest, NOTE_BYTES_MAX).to_owned()));
        }
    }
}

/// The first marker that is a word of its own in a line, with the text from it on. A marker in quotation
/// marks does not count.
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
    use super::{Grammar, LANGUAGES, Marker, marker_in};

    #[test]
    fn every_language_has_its_grammar() {
        let names: Vec<_> = Grammar::all().unwrap().iter().map(|grammar| grammar.language).collect();
        assert_eq!(names, LANGUAGES);
    }

    #[test]
    fn a_marker_is_a_word_of_its_own() {
        assert_eq!(marker_in("// TODO(x): y"), Some((Marker::Todo, "TODO(x): y")));
        assert_eq!(marker_in("# é HACK then FIXME"), Some((Marker::Hack, "HACK then FIXME")));
        assert_eq!(marker_in("// TODOS and XXXL and my_HACK"), None);
        assert_eq!(marker_in("// such as `TODO(x)` or \"FIXME\""), None);
    }
}
