//! The differences between two documents, place by place.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::pointer;

/// One place at which two documents differ.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Difference {
    /// A JSON pointer (RFC 6901); empty for the whole document.
    pub pointer: String,
    /// The value before; missing if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// The value after; missing if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

/// Every place at which `after` differs from `before`, in the order of the fields. Lists are compared as a
/// whole, because their entries have no names.
pub fn differences(before: &Value, after: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    compare("", Some(before), Some(after), &mut found);
    found
}

fn compare(place: &str, before: Option<&Value>, after: Option<&Value>, found: &mut Vec<Difference>) {
    match (before, after) {
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            for name in names {
                compare(&pointer(place, name), old.get(name), new.get(name), found);
            }
        }
        (before, after) if before == after => {}
        (before, after) => found.push(Difference {
            pointer: place.to_owned(),
            before: before.cloned(),
            after: after.cloned(),
        }),
    }
}
