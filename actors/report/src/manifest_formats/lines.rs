//! Manifests that are lists of lines: Python's `requirements.txt`, Go's `go.mod` and Ruby's `Gemfile`.

use super::python::requirement_line;
use crate::manifests::{Dependency, Kind, Problem, Reading};

/// Problems reported per file: a malformed file must not fill the report with a finding per line.
const PROBLEMS_MAX: usize = 20;

/// Words in the name of a list that only developers need.
const DEVELOPMENT: [&str; 7] = ["dev", "develop", "development", "test", "testing", "lint", "doc"];

/// Line ends as pip sees them, which splits lines as Python does.
const PYTHON_LINE_ENDS: [char; 10] =
    ['\n', '\r', '\u{b}', '\u{c}', '\u{1c}', '\u{1d}', '\u{1e}', '\u{85}', '\u{2028}', '\u{2029}'];

/// By pip's rules: a line that ends in a backslash continues in the next one, unless it is a comment.
pub(super) fn requirements(path: &str, text: &str) -> Result<Reading, Problem> {
    let file_name = path.rsplit('/').next().unwrap_or(path);
    let mut words = file_name.split(|c: char| !c.is_alphanumeric());
    let development =
        words.any(|word| DEVELOPMENT.iter().any(|start| word == *start || word == format!("{start}s")));
    let kind = if development { Kind::Dev } else { Kind::Normal };
    let mut reading = Reading::default();
    // The first line of a continued line, and the text so far.
    let mut open: Option<(usize, String)> = None;
    let text = text.replace("\r\n", "\n");
    let mut lines = text.split(PYTHON_LINE_ENDS).enumerate().peekable();
    while let Some((index, line)) = lines.next() {
        let is_comment = line.trim_start().starts_with('#');
        let goes_on = line.ends_with('\\') && !is_comment;
        let (first, mut whole) = open.take().unwrap_or((index, String::new()));
        if is_comment {
            whole.push(' ');
        }
        whole.push_str(if goes_on { line.trim_matches('\\') } else { line });
        if goes_on && lines.peek().is_some() {
            open = Some((first, whole));
            continue;
        }
        match requirement_line(without_comment(&whole), kind) {
            Ok(dependency) => reading.dependencies.extend(dependency),
            Err(wrong) if reading.problems.len() < PROBLEMS_MAX => reading.problems.push(Problem {
                line: Some(first as u64 + 1),
                text: format!("not a requirement: `{}`", wrong.escape_debug()),
            }),
            Err(_) => {}
        }
    }
    Ok(reading)
}

/// A line up to a `#` that stands at its start or behind white space.
fn without_comment(line: &str) -> &str {
    let mut starts = line.match_indices('#').map(|(at, _)| &line[..at]);
    let bare = starts.find(|before| before.is_empty() || before.ends_with(char::is_whitespace));
    bare.unwrap_or(line).trim()
}

pub(super) fn go_mod(_path: &str, text: &str) -> Result<Reading, Problem> {
    let mut reading = Reading::default();
    let mut block = String::new();
    for (index, line) in text.lines().enumerate() {
        let (line, comment) = line.split_once("//").unwrap_or((line, ""));
        let line = line.trim();
        let mut words = line.split_whitespace();
        if line.is_empty() {
        } else if line == ")" {
            block.clear();
        } else if let Some(directive) = line.strip_suffix('(') {
            directive.trim().clone_into(&mut block);
        } else {
            let directive = if block.is_empty() { words.next().unwrap_or_default() } else { block.as_str() };
            match directive {
                "module" => reading.name = words.next().map(|name| unquoted(name).to_owned()),
                "require" => go_require(words, comment, index, &mut reading),
                _ => {}
            }
        }
    }
    if reading.name.is_none() {
        return Err(Problem { line: None, text: "there is no `module` line".to_owned() });
    }
    Ok(reading)
}

fn go_require<'a>(
    mut words: impl Iterator<Item = &'a str>,
    comment: &str,
    index: usize,
    reading: &mut Reading,
) {
    match (words.next(), words.next()) {
        // Indirect requirements are those of the dependencies, whose own manifests state them.
        (Some(_), Some(_)) if comment.split_whitespace().next().is_some_and(is_indirect) => {}
        (Some(name), Some(version)) => {
            reading.dependencies.push(Dependency::new(Kind::Normal, unquoted(name), unquoted(version)));
        }
        _ if reading.problems.len() < PROBLEMS_MAX => {
            let text = "a requirement needs a module and a version".to_owned();
            reading.problems.push(Problem { line: Some(index as u64 + 1), text });
        }
        _ => {}
    }
}

/// Further words of the comment follow a semicolon.
fn is_indirect(word: &str) -> bool {
    word == "indirect" || word == "indirect;"
}

fn unquoted(word: &str) -> &str {
    word.trim_matches(['"', '`'])
}

pub(super) fn gemfile(_path: &str, text: &str) -> Result<Reading, Problem> {
    let mut reading = Reading::default();
    // Whether each open block is a group for developers, and the number of those that are.
    let mut blocks: Vec<bool> = Vec::new();
    let mut groups = 0_usize;
    let mut is_comment = false;
    for line in text.lines() {
        if line.starts_with("__END__") {
            break;
        }
        is_comment = (is_comment || line.starts_with("=begin")) && !line.starts_with("=end");
        let line = if is_comment || line.starts_with("=end") { "" } else { without_comment(line) };
        let development = |text: &str| text.contains(":development") || text.contains(":test");
        let opens = ["if ", "unless ", "case ", "begin"].iter().any(|word| line.starts_with(word));
        if line == "end" {
            groups -= usize::from(blocks.pop() == Some(true));
        } else if opens || line.ends_with(" do") || line.contains(" do |") {
            let is_group = line.starts_with("group") && development(line);
            groups += usize::from(is_group);
            blocks.push(is_group);
        } else if let Some(rest) = line.strip_prefix("gem ").or_else(|| line.strip_prefix("gem(")) {
            let strings = leading_strings(rest);
            let kind = if groups > 0 || development(rest) { Kind::Dev } else { Kind::Normal };
            if let Some((name, requirement)) = strings.split_first() {
                reading.dependencies.push(Dependency::new(kind, *name, requirement.join(", ")));
            }
        }
    }
    Ok(reading)
}

/// The quoted strings at the start of a list of arguments, up to the first other argument.
fn leading_strings(arguments: &str) -> Vec<&str> {
    let mut strings = Vec::new();
    for argument in arguments.split(',') {
        let argument = argument.trim().trim_end_matches(')');
        let quoted = ['"', '\''].iter().find_map(|q| argument.strip_prefix(*q)?.strip_suffix(*q));
        match quoted {
            Some(text) => strings.push(text),
            None => break,
        }
    }
    strings
}

#[cfg(test)]
mod tests {
    use super::{gemfile, go_mod, requirements};
    use crate::manifests::{Kind, Problem, Reading};

    fn read(reading: Result<Reading, Problem>) -> String {
        let shown = reading.unwrap().dependencies.into_iter().map(|one| {
            format!("{}{} {}", if one.kind == Kind::Dev { "dev " } else { "" }, one.name, one.requirement)
        });
        shown.collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn comments_and_line_ends_are_those_of_pip() {
        for (text, expected) in [
            ("# note \\\nrequests==2.0", "requests ==2.0"),
            ("  # note \\\r\nrequests==2.0\r\n", "requests ==2.0"),
            ("requests \\\n  ==2.0 \\\n  --hash=sha256:ab\nfoo", "requests ==2.0, foo *"),
            ("requests \\\n# note \\\nfoo", "requests *, foo *"),
            ("requests # note \\\nfoo\nbar", "requests *, bar *"),
            ("requests==2.0\t# note\rfoo\u{85}bar\u{2028}baz", "requests ==2.0, foo *, bar *, baz *"),
            ("requests==2.0\\", "requests ==2.0"),
            ("git+https://h/x.git#egg=foo # note", "foo git https://h/x.git"),
        ] {
            assert_eq!(read(requirements("requirements.txt", text)), expected, "{text:?}");
        }
        assert_eq!(read(requirements("requirements-docker.txt", "a")), "a *");
        assert_eq!(read(requirements("a/requirements_tests.txt", "a")), "dev a *");
        let problems = requirements("requirements.txt", "a\n???\\\n?\n").unwrap().problems;
        assert_eq!((problems.len(), problems[0].line), (1, Some(2)));
    }

    #[test]
    fn only_direct_requirements_of_a_go_module_count() {
        let text = "module `x.org/m`\nrequire (\n\t\"x.org/a\" v1\n\tx.org/b v2 // indirect; for c\n)\n\
                    require x.org/c v3 // not indirect\n";
        assert_eq!(read(go_mod("go.mod", text)), "x.org/a v1, x.org/c v3");
    }

    #[test]
    fn a_gem_in_a_comment_is_none_and_a_group_lasts_until_its_own_end() {
        let text = "=begin\ngem 'no'\n=end\ngroup :test do\n  if x\n    gem 'a'\n  end\n  gem 'b'\nend\n\
                    gem 'c' # gem 'd'\n__END__\ngem 'e'\n";
        assert_eq!(read(gemfile("Gemfile", text)), "dev a *, dev b *, c *");
    }
}
