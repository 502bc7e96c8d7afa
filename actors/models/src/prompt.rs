//! Prompts: templates with a name and a version, and the hashes by which a recorded call names them.
//!
//! A template is the program's or the operator's. Text of people and tools is only ever a variable of it, never template
//! source.

use std::io::{self, Write};

use bus_schemas::Hash;
use minijinja::value::Serde;
use minijinja::{Environment, ErrorKind, UndefinedBehavior};
use serde::{Deserialize, Serialize};

/// The most bytes of a rendered prompt.
const RENDERED_BYTES_MAX: usize = 1024 * 1024;
/// The most instructions of a rendering: some for each byte, and an end for loops that write nothing.
const FUEL: u64 = 4 * 1024 * 1024;

/// A version of a prompt that the program ships. A version is never changed: another text is another version.
#[derive(Debug, Clone, Copy)]
pub struct Prompt {
    /// The name: letters, digits, `-` and `_`.
    pub name: &'static str,
    /// The version, from 1.
    pub version: u32,
    /// The template, in the syntax of Jinja.
    pub template: &'static str,
}

/// What a recorded call says about its prompt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromptRef {
    /// The name.
    pub name: String,
    /// The version.
    pub version: u32,
    /// The hash of the template.
    pub template: Hash,
    /// The hash of the rendered text.
    pub rendered: Hash,
}

/// A variable that the template names was not given, or the template is wrong.
#[derive(Debug, thiserror::Error)]
#[error("rendering the prompt `{name}` version {version}: {reason}")]
pub struct PromptError {
    name: String,
    version: u32,
    reason: String,
}

impl Prompt {
    /// The text with its variables, whichever version is active; agents use [`crate::Models::prompt`].
    pub fn render(&self, variables: &impl Serialize) -> Result<(String, PromptRef), PromptError> {
        render(self.name, self.version, self.template, variables)
    }

    /// The hash of its template.
    pub fn hash(&self) -> Hash {
        Hash::of(self.template.as_bytes())
    }
}

/// The text of a template with its variables. A variable that is missing is an error, and none is escaped: the text is
/// for a model.
pub fn render(
    name: &str,
    version: u32,
    template: &str,
    variables: &impl Serialize,
) -> Result<(String, PromptRef), PromptError> {
    let failed = |reason: String| PromptError { name: name.to_owned(), version, reason };
    let mut environment = environment();
    environment.add_template("prompt", template).map_err(|error| failed(error.to_string()))?;
    let mut text = Bounded::default();
    let parsed = environment.get_template("prompt");
    let rendered = parsed.and_then(|parsed| parsed.render_captured_to(Serde(variables), &mut text).map(drop));
    rendered.map_err(|error| {
        failed(match error.kind() {
            ErrorKind::WriteFailure => format!("the text has more than {RENDERED_BYTES_MAX} bytes"),
            _ => error.to_string(),
        })
    })?;
    let text = String::from_utf8(text.0).map_err(|error| failed(error.to_string()))?;
    let (template, rendered) = (Hash::of(template.as_bytes()), Hash::of(text.as_bytes()));
    Ok((text, PromptRef { name: name.to_owned(), version, template, rendered }))
}

/// Why a text is no template; `None` if it is one.
pub(crate) fn wrong(template: &str) -> Option<String> {
    environment().add_template("prompt", template).err().map(|error| error.to_string())
}

/// Nothing is built in: a template has its variables and the syntax.
fn environment<'a>() -> Environment<'a> {
    let mut environment = Environment::empty();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment
}

/// A text that stops growing.
#[derive(Default)]
struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > RENDERED_BYTES_MAX {
            return Err(io::Error::other("too long"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const PROMPT: Prompt =
        Prompt { name: "t", version: 2, template: "Rules:{% for rule in rules %}\n- {{ rule }}{% endfor %}" };

    #[test]
    fn text_of_people_is_never_a_template() {
        let rules = ["no {{ secrets }}", "{% include 'x' %} & <b>"];
        let (text, named) = PROMPT.render(&json!({"rules": rules})).unwrap();
        assert_eq!(text, "Rules:\n- no {{ secrets }}\n- {% include 'x' %} & <b>");
        assert_eq!((named.name.as_str(), named.version), ("t", 2));
        assert_eq!(named.rendered, Hash::of(text.as_bytes()));
        assert_eq!(named.template, Hash::of(PROMPT.template.as_bytes()));
    }

    #[test]
    fn a_missing_variable_is_an_error() {
        let error = PROMPT.render(&json!({"rule": 1})).unwrap_err().to_string();
        assert!(error.contains("prompt `t` version 2") && error.contains("undefined"), "{error}");
    }

    #[test]
    fn a_text_without_end_is_stopped() {
        let error = PROMPT.render(&json!({"rules": vec!["x".repeat(1024); 1024]})).unwrap_err().to_string();
        assert!(error.contains("1048576 bytes"), "{error}");
    }
}
