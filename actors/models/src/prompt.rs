//! Prompts: templates with a name and a version, and the hashes by which a recorded call names them.
//!
//! A template is part of the program. Text of people and tools is only ever a variable of it, never template source.

use bus_schemas::Hash;
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior};
use serde::{Deserialize, Serialize};

/// A version of a prompt. A version is never changed: another text is another version.
#[derive(Debug, Clone, Copy)]
pub struct Prompt {
    /// The name.
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
    name: &'static str,
    version: u32,
    reason: String,
}

impl Prompt {
    /// The text with its variables. A variable that is missing is an error, and none is escaped: the text is for a
    /// model.
    pub fn render(&self, variables: &impl Serialize) -> Result<(String, PromptRef), PromptError> {
        let failed = |error: minijinja::Error| PromptError {
            name: self.name,
            version: self.version,
            reason: error.to_string(),
        };
        let mut environment = Environment::empty();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.add_template("prompt", self.template).map_err(failed)?;
        let text = environment.get_template("prompt").and_then(|template| template.render(Serde(variables)));
        let text = text.map_err(failed)?;
        let rendered = Hash::of(text.as_bytes());
        let template = Hash::of(self.template.as_bytes());
        Ok((text, PromptRef { name: self.name.to_owned(), version: self.version, template, rendered }))
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
}
