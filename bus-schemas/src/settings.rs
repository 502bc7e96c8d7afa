//! The settings that are changed while the system runs: documents of `config/<name>`, by name.
//!
//! Each name has one Rust type. A document is JSON; what it leaves out has its default, what it says
//! beyond the type is a mistake, and every mistake is told with its place (a JSON pointer, RFC 6901).
//! Durations are text: a whole number with a unit, such as `"500ms"`, `"30s"`, `"15m"`, `"6h"`, `"1d"`.
//!
//! Pure: nothing here stores or applies a document. Cron expressions are checked by the entity,
//! which has the means to read them.

mod breakers;
mod difference;
mod duration;
mod lanes;
mod limits;
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
pub use retry::{Backoff, Retry, RetryPolicy};

/// The largest document in bytes, written as JSON without spaces: with it, a command and a mail stay
/// well below what one message may have.
pub const VALUE_BYTES_MAX: usize = 32 * 1024;
/// Mistakes that are told at once: more would not be read.
pub const MISTAKES_MAX: usize = 64;

/// A document of a name.
pub trait Setting: Serialize + DeserializeOwned + JsonSchema + Default {
    /// The key of its entity.
    const NAME: &'static str;

    /// What the types can not say, each with its place. A rule about two fields is not looked at where
    /// one of them is among the `unfit`.
    fn mistakes(&self, unfit: &Unfit) -> Vec<Mistake>;
}

/// Places of a document at which something stands that is no such thing at all: a text for a number, a
/// number out of its bounds. In their stead stands a default, about which nobody shall be told anything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unfit(BTreeSet<String>);

impl Unfit {
    /// Whether a field of what stands at `parent` is among them.
    pub fn has(&self, parent: &str, field: &str) -> bool {
        self.0.contains(&pointer(parent, field))
    }
    /// Whether a place is among them, or lies in one of them.
    fn covers(&self, place: &str) -> bool {
        let ends = place.match_indices('/').map(|(end, _)| end).chain([place.len()]);
        ends.into_iter().any(|end| self.0.contains(&place[..end]))
    }
}

/// What is wrong with a document, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Mistake {
    /// A JSON pointer (RFC 6901); empty for the whole document.
    pub pointer: String,
    /// What is wrong, in words.
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

/// One step of a JSON pointer.
pub(crate) fn pointer(parent: &str, step: &str) -> String {
    format!("{parent}/{}", step.replace('~', "~0").replace('/', "~1"))
}

/// What is known of one name, with its type erased.
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

/// Every name of this release.
const KNOWN: [Known; 4] =
    [Known::of::<Breakers>(), Known::of::<Lanes>(), Known::of::<Limits>(), Known::of::<Retry>()];

fn known(name: &str) -> Option<&'static Known> {
    KNOWN.iter().find(|known| known.name == name)
}

/// The names, in order.
pub fn names() -> impl Iterator<Item = &'static str> {
    KNOWN.iter().map(|known| known.name)
}

/// The document that holds as long as nobody has said anything; none for a name that there is not.
pub fn default_value(name: &str) -> Option<Value> {
    known(name).map(|known| (known.default)())
}

/// The JSON Schema of a document; none for a name that there is not.
pub fn schema(name: &str) -> Option<Value> {
    known(name).map(|known| (known.schema)())
}

/// A document with what it leaves out, and without what is not set: two documents that mean the same
/// are the same then. One that can not be read stays as it is.
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

/// Every mistake in a document; none for a name that there is not.
pub fn mistakes(name: &str, value: &Value) -> Option<Vec<Mistake>> {
    known(name).map(|known| (known.mistakes)(value))
}

/// Reads a document of a type, or tells every mistake in it.
pub fn read<T: Setting>(value: &Value) -> Result<T, Vec<Mistake>> {
    read_with(value, |_| Vec::new())
}

/// Reads a document by rules of the caller's as well, which are asked with whatever of it can be read.
/// Every mistake is told at once, those of the shape first.
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
        // The shape says more, with a place; what it does not know is still never taken.
        Err(error) if mistakes.is_empty() => mistakes.push(Mistake::new("", error.to_string())),
        Err(_) => {}
    }
    mistakes.truncate(MISTAKES_MAX);
    Err(mistakes)
}

fn schema_of<T: Setting>() -> Value {
    let mut settings = SchemaSettings::draft2020_12();
    // A document is read here, and what has a default may be left out.
    settings.contract = Contract::Deserialize;
    settings.inline_subschemas = true;
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

/// What an entity that watches `config/<name>` is told, at once and at each activation: the command
/// `apply-config` of its kind holds this. Version 0 is the default: nobody has activated anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApplyConfig {
    /// Which settings.
    pub name: SmolStr,
    /// Which version of them.
    pub version: u64,
    /// The document.
    pub value: Value,
}

impl ApplyConfig {
    /// The command's body, for whatever kind takes it.
    pub fn body(&self) -> Body {
        #[derive(Serialize)]
        #[serde(tag = "type", rename_all = "kebab-case")]
        enum Command<'a> {
            ApplyConfig(&'a ApplyConfig),
        }
        Body::json(&Command::ApplyConfig(self))
    }
}
