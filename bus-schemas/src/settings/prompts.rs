//! `prompts`: which version of each prompt is active.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::{Mistake, Setting, Unfit, pointer};
use crate::ids::Hash;

/// The most prompts in one document.
const PROMPTS_MAX: usize = 256;
/// The most bytes of a name.
const NAME_BYTES_MAX: usize = 64;

/// The active versions. A task keeps the version that it used first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Prompts {
    /// The active version by the name of the prompt. A prompt that is not named has the version that the program ships.
    pub active: BTreeMap<SmolStr, ActivePrompt>,
}

/// A version of a prompt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ActivePrompt {
    /// The version, at least 1.
    #[schemars(range(min = 1))]
    pub version: u32,
    /// BLAKE3 of its template, as `orrery prompts list` prints it: a template that was changed since is not used.
    pub template: Hash,
}

/// Whether a text is the name of a prompt: 1 to 64 letters, digits, `-` and `_`.
pub fn is_prompt_name(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(letter)
}

impl Setting for Prompts {
    const NAME: &'static str = "prompts";

    fn mistakes(&self, _: &Unfit) -> Vec<Mistake> {
        let mut mistakes = Vec::new();
        if self.active.len() > PROMPTS_MAX {
            let reason = format!("has {} entries; at most {PROMPTS_MAX} are taken", self.active.len());
            mistakes.push(Mistake::new("/active", reason));
        }
        for name in self.active.keys().filter(|name| !is_prompt_name(name)) {
            let reason =
                format!("is no name of a prompt: 1 to {NAME_BYTES_MAX} letters, digits, `-` and `_`");
            mistakes.push(Mistake::new(pointer("/active", name), reason));
        }
        mistakes
    }
}
