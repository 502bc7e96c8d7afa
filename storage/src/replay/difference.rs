//! The differences between two JSON values: paths as in JSON Pointer (RFC 6901), operations as in JSON Patch
//! (RFC 6902) without moves.

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

/// Characters of a value shown in a line.
const VALUE_CHARS_MAX: usize = 160;

/// One change.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "op", rename_all = "lowercase")]
pub enum Change {
    /// The path has a value now, and had none.
    Add {
        /// A JSON Pointer.
        path: String,
        /// The value now.
        value: Value,
    },
    /// The path has no value any more.
    Remove {
        /// A JSON Pointer.
        path: String,
        /// The value before.
        was: Value,
    },
    /// The value at the path has changed.
    Replace {
        /// A JSON Pointer.
        path: String,
        /// The value before.
        was: Value,
        /// The value now.
        value: Value,
    },
}

/// For people: one line; a state where there was none has a line for each field with a value.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Add { path, value: Value::Object(fields) } if path.is_empty() => {
                let line =
                    |(name, value): (&String, &Value)| format!("+ /{}: {}", escaped(name), short(value));
                let said = fields.iter().filter(|(_, value)| !is_empty(value)).map(line);
                f.write_str(&said.collect::<Vec<_>>().join("\n  "))
            }
            Self::Add { path, value } => write!(f, "+ {path}: {}", short(value)),
            Self::Remove { path, was } => write!(f, "- {path}: {}", short(was)),
            Self::Replace { path, was, value } => write!(f, "~ {path}: {} → {}", short(was), short(value)),
        }
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(VALUE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// The changes that lead from one value to the other.
pub fn between(before: &Value, after: &Value) -> Vec<Change> {
    let mut changes = Vec::new();
    compare(String::new(), before, after, &mut changes);
    changes
}

fn compare(path: String, before: &Value, after: &Value, changes: &mut Vec<Change>) {
    match (before, after) {
        _ if before == after => {}
        (Value::Object(old), Value::Object(new)) => {
            for (name, was) in old {
                let path = format!("{path}/{}", escaped(name));
                match new.get(name) {
                    Some(value) => compare(path, was, value, changes),
                    None => changes.push(Change::Remove { path, was: was.clone() }),
                }
            }
            for (name, value) in new.iter().filter(|(name, _)| !old.contains_key(*name)) {
                let path = format!("{path}/{}", escaped(name));
                changes.push(Change::Add { path, value: value.clone() });
            }
        }
        (Value::Array(old), Value::Array(new)) => {
            for (index, (was, value)) in old.iter().zip(new).enumerate() {
                compare(format!("{path}/{index}"), was, value, changes);
            }
            // From the end, so that the operations can be applied in order.
            for (index, was) in old.iter().enumerate().skip(new.len()).rev() {
                changes.push(Change::Remove { path: format!("{path}/{index}"), was: was.clone() });
            }
            for (index, value) in new.iter().enumerate().skip(old.len()) {
                changes.push(Change::Add { path: format!("{path}/{index}"), value: value.clone() });
            }
        }
        (Value::Null, _) => changes.push(Change::Add { path, value: after.clone() }),
        _ => changes.push(Change::Replace { path, was: before.clone(), value: after.clone() }),
    }
}

fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_change_has_its_path() {
        let before = json!({"a": 1, "b": {"c/d": [1, 2, 3]}, "gone": true});
        let after = json!({"a": 2, "b": {"c/d": [1, 5]}, "new": null});
        let changes: Vec<String> = between(&before, &after).iter().map(Change::to_string).collect();
        assert_eq!(
            changes,
            ["~ /a: 1 → 2", "~ /b/c~1d/1: 2 → 5", "- /b/c~1d/2: 3", "- /gone: true", "+ /new: null"]
        );
        assert!(between(&after, &after).is_empty());
    }

    #[test]
    fn what_begins_is_shown_field_by_field() {
        let after = json!({"goal": "x", "attempt": 0, "agent": null, "answers": [], "effects": {}});
        let begun = between(&Value::Null, &after);
        assert_eq!(begun, [Change::Add { path: String::new(), value: after }]);
        assert_eq!(begun[0].to_string(), "+ /attempt: 0\n  + /goal: \"x\"");
    }
}
