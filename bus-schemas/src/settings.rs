//! The settings that change while the system runs: the documents of `settings/<name>`, by name.
//!
//! Each name has one Rust type. A document is JSON: a missing field has its default, an unknown field is a
//! mistake, and every mistake is reported with its place (a JSON pointer, RFC 6901). Durations are text: a
//! whole number with a unit, such as `"500ms"`, `"30s"`, `"15m"`, `"6h"`, `"1d"`.
//!
//! Pure: nothing here stores or applies a document. The entity checks cron expressions, because it has a
//! parser for them.

mod breakers;
mod difference;
mod duration;
mod lanes;
mod limits;
mod prompts;
mod retry;
mod shape;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;

use schemars::JsonSchema;
use schemars::generate::{Contract, SchemaSettings};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use smol_str::SmolStr;

use crate::Body;

pub use breakers::{BreakerPolicy, Breakers};
pub use difference::{Difference, differences};
pub use duration::Duration;
pub use lanes::{Lane, Lanes, MaintenanceWindow};
pub use limits::{Budget, Limits};
pub use prompts::{ActivePrompt, Prompts, is_prompt_name};
pub use retry::{Backoff, Retry, RetryPolicy};

/// The largest document in bytes, as JSON without spaces: a command or mail that contains it stays well below
/// the server's message limit.
pub const VALUE_BYTES_MAX: usize = 32 * 1024;
/// The most mistakes that are reported at once: more would not be read.
pub const MISTAKES_MAX: usize = 64;

/// What the name of an owner or a skill must be, for mistakes.
const NAME: &str = "a name has 1 to 64 bytes of visible text";

/// The document type of a name.
pub trait Setting: Serialize + DeserializeOwned + JsonSchema + Default {
    /// The key of the settings entity.
    const NAME: &'static str;

    /// Mistakes that the types cannot express, each with its place. A rule about two fields is skipped if one
    /// of them is in `unfit`.
    fn mistakes(&self, unfit: &Unfit) -> Vec<Mistake>;
}

/// Places of a document with a value of the wrong sort: a text for a number, a number out of its bounds. A
/// default stands in for such a value, and must not cause further mistakes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unfit(BTreeSet<String>);

impl Unfit {
    /// Whether a field of the value at `parent` is among them.
    pub fn has(&self, parent: &str, field: &str) -> bool {
        self.0.contains(&pointer(parent, field))
    }
    /// Whether a place is among them, or within one of them.
    fn covers(&self, place: &str) -> bool {
        let ends = place.match_indices('/').map(|(end, _)| end).chain([place.len()]);
        ends.into_iter().any(|end| self.0.contains(&place[..end]))
    }
}

/// A mistake in a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Mistake {
    /// A JSON pointer (RFC 6901); empty for the whole document.
    pub pointer: String,
    /// The mistake, in words.
    pub reason: String,
}

impl Mistake {
    /// A mistake at a place.
    pub fn new(pointer: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), reason: reason.into() }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` {}", self.pointer, self.reason)
    }
}

/// A JSON pointer with one more step.
pub(crate) fn pointer(parent: &str, step: &str) -> String {
    format!("{parent}/{}", step.replace('~', "~0").replace('/', "~1"))
}

/// One settings name with its type erased.
struct Known {
    name: &'static str,
    default: fn() -> Value,
    schema: fn() -> Value,
    mistakes: fn(&Value) -> Vec<Mistake>,
    filled: fn(&Value) -> Option<Value>,
}

impl Known {
    const fn of<T: Setting>() -> Self {
        Self {
            name: T::NAME,
            default: || serde_json::to_value(T::default()).expect("settings have string keys"),
            schema: schema_of::<T>,
            mistakes: |value| read::<T>(value).err().unwrap_or_default(),
            filled: |value| serde_json::to_value(serde_json::from_value::<T>(value.clone()).ok()?).ok(),
        }
    }
}

/// All names of this release.
const KNOWN: [Known; 5] = [
    Known::of::<Breakers>(),
    Known::of::<Lanes>(),
    Known::of::<Limits>(),
    Known::of::<Prompts>(),
    Known::of::<Retry>(),
];

fn known(name: &str) -> Option<&'static Known> {
    KNOWN.iter().find(|known| known.name == name)
}

/// All names, in order.
pub fn names() -> impl Iterator<Item = &'static str> {
    KNOWN.iter().map(|known| known.name)
}

/// The default document; `None` for an unknown name.
pub fn default_value(name: &str) -> Option<Value> {
    known(name).map(|known| (known.default)())
}

/// The JSON Schema of a document; `None` for an unknown name.
pub fn schema(name: &str) -> Option<Value> {
    known(name).map(|known| (known.schema)())
}

/// A document with its defaults filled in and unset fields removed, so that documents with the same meaning
/// are equal. A document that cannot be read is returned as it is.
pub fn filled(name: &str, value: &Value) -> Value {
    let mut filled = known(name).and_then(|known| (known.filled)(value)).unwrap_or_else(|| value.clone());
    drop_nulls(&mut filled);
    filled
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// All mistakes in a document; `None` for an unknown name.
pub fn mistakes(name: &str, value: &Value) -> Option<Vec<Mistake>> {
    known(name).map(|known| (known.mistakes)(value))
}

/// Decodes a document, or returns all its mistakes.
pub fn read<T: Setting>(value: &Value) -> Result<T, Vec<Mistake>> {
    read_with(value, |_| Vec::new())
}

/// Decodes a document and also applies the caller's rules, on as much of it as can be read. All mistakes are
/// returned at once, those of the shape first.
pub fn read_with<T: Setting>(
    value: &Value,
    rules: impl FnOnce(&T) -> Vec<Mistake>,
) -> Result<T, Vec<Mistake>> {
    let bytes = value.to_string().len();
    if bytes > VALUE_BYTES_MAX {
        let reason = format!("has {bytes} bytes; at most {VALUE_BYTES_MAX} are taken");
        return Err(vec![Mistake::new("", reason)]);
    }
    let schema = schema_of::<T>();
    let mut mistakes = shape::mistakes(&schema, value);
    let unfit = Unfit(mistakes.iter().map(|mistake| mistake.pointer.clone()).collect());
    match serde_json::from_value::<T>(shape::mended(&schema, value)) {
        Ok(document) => {
            let more = document.mistakes(&unfit).into_iter().chain(rules(&document));
            mistakes.extend(more.filter(|mistake| !unfit.covers(&mistake.pointer)));
            if mistakes.is_empty() {
                return Ok(document);
            }
        }
        // The shape check reports more, with places; what only serde refuses is still refused.
        Err(error) if mistakes.is_empty() => mistakes.push(Mistake::new("", error.to_string())),
        Err(_) => {}
    }
    mistakes.truncate(MISTAKES_MAX);
    Err(mistakes)
}

fn schema_of<T: Setting>() -> Value {
    let mut settings = SchemaSettings::draft2020_12();
    // A document is decoded here, so a field with a default may be missing.
    settings.contract = Contract::Deserialize;
    settings.inline_subschemas = true;
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

/// The content of the command `apply-settings`, which an entity that watches `settings/<name>` gets at once
/// and at each activation. Version 0 is the default: no version was activated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApplySettings {
    /// The name of the settings.
    pub name: SmolStr,
    /// The version.
    pub version: u64,
    /// The document.
    pub value: Value,
}

impl ApplySettings {
    /// The command's body, for an entity of any kind.
    pub fn body(&self) -> Body {
        #[derive(Serialize)]
        #[serde(tag = "type", rename_all = "kebab-case")]
        enum Command<'a> {
            ApplySettings(&'a ApplySettings),
        }
        Body::json(&Command::ApplySettings(self))
    }
}
