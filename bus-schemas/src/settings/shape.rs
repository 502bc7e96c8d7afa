//! Compares a document with the JSON Schema of its type, and reports every place that does not match.
//!
//! serde stops at the first mistake and does not name its place. This check knows only the schema keywords
//! that the types of this folder use; serde still decodes whatever passes.

use serde_json::{Map, Value};

use super::duration::{Duration, FORMAT};
use super::{Mistake, pointer};

/// Every place of `value` that does not match `schema`, in the order of the fields.
pub(super) fn mistakes(schema: &Value, value: &Value) -> Vec<Mistake> {
    let mut found = Vec::new();
    walk(schema, value, "", &mut found);
    found
}

fn walk(schema: &Value, value: &Value, place: &str, found: &mut Vec<Mistake>) {
    if let Some(choices) = schema.get("anyOf").or_else(|| schema.get("oneOf")).and_then(Value::as_array) {
        return one_of(choices, value, place, found);
    }
    if let Some(reason) = wrong_type(schema, value) {
        found.push(Mistake::new(place, reason));
        return;
    }
    match value {
        Value::Object(fields) => object(schema, fields, place, found),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                walk(&schema["items"], item, &pointer(place, &index.to_string()), found);
            }
        }
        Value::String(text) => {
            found.extend(wrong_text(schema, text).map(|reason| Mistake::new(place, reason)))
        }
        Value::Number(_) => {
            found.extend(wrong_number(schema, value).map(|reason| Mistake::new(place, reason)))
        }
        Value::Null | Value::Bool(_) => {}
    }
}

/// The document with mismatches replaced by the default of their place, or by a value of their type, so that
/// the rest can be decoded and checked as well.
pub(super) fn mended(schema: &Value, value: &Value) -> Value {
    match value {
        Value::Object(fields) if wrong_type(schema, value).is_none() && !has_choices(schema) => {
            mended_object(schema, fields)
        }
        Value::Array(items) if wrong_type(schema, value).is_none() => {
            items.iter().map(|item| mended(&schema["items"], item)).collect()
        }
        value if mistakes(schema, value).is_empty() => value.clone(),
        _ => stopgap(schema),
    }
}

fn mended_object(schema: &Value, fields: &Map<String, Value>) -> Value {
    let known = |name: &str| schema["properties"].get(name);
    let more = schema.get("additionalProperties").filter(|more| more.is_object());
    // Unknown fields are left out.
    let field = |(name, value): (&String, &Value)| Some((name.clone(), mended(known(name).or(more)?, value)));
    let mut mended: Map<String, Value> = fields.iter().filter_map(field).collect();
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        mended.entry(name).or_insert_with(|| known(name).map(stopgap).unwrap_or_default());
    }
    mended.into()
}

/// A value that matches: the default, if the schema names one.
fn stopgap(schema: &Value) -> Value {
    if let Some(default) = schema.get("default") {
        return default.clone();
    }
    match schema["type"].as_str() {
        Some("object") => mended_object(schema, &Map::new()),
        Some("array") => Value::Array(Vec::new()),
        Some("string") if schema["format"] == FORMAT => Duration::default().to_string().into(),
        Some("string") => String::new().into(),
        Some("integer" | "number") => schema.get("minimum").cloned().unwrap_or_else(|| 0.into()),
        Some("boolean") => false.into(),
        _ => Value::Null,
    }
}

fn has_choices(schema: &Value) -> bool {
    schema.get("anyOf").or_else(|| schema.get("oneOf")).is_some()
}

/// Reports a value that matches none of the choices. Words are listed; for a value that may be null, the
/// mistake is that of the other choice.
fn one_of(choices: &[Value], value: &Value, place: &str, found: &mut Vec<Mistake>) {
    let words: Vec<&str> = choices.iter().filter_map(|choice| choice["const"].as_str()).collect();
    if words.len() == choices.len() {
        if !words.iter().any(|word| value == word) {
            found.push(Mistake::new(
                place,
                format!("is {value}, and must be one of `{}`", words.join("`, `")),
            ));
        }
        return;
    }
    let fits = |choice: &Value| {
        let mut inner = Vec::new();
        walk(choice, value, place, &mut inner);
        inner
    };
    let tried: Vec<Vec<Mistake>> = choices.iter().map(fits).collect();
    if tried.iter().any(Vec::is_empty) {
        return;
    }
    let main = choices.iter().position(|choice| choice["type"] != "null").unwrap_or_default();
    found.extend(tried.into_iter().nth(main).unwrap_or_default());
}

fn object(schema: &Value, fields: &Map<String, Value>, place: &str, found: &mut Vec<Mistake>) {
    let known = schema["properties"].as_object();
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if !fields.contains_key(name) {
            found.push(Mistake::new(pointer(place, name), "is missing"));
        }
    }
    for (name, value) in fields {
        let inner = pointer(place, name);
        match (known.and_then(|known| known.get(name)), &schema["additionalProperties"]) {
            (Some(schema), _) => walk(schema, value, &inner, found),
            (None, Value::Bool(false)) => {
                let names: Vec<&str> = known.into_iter().flat_map(Map::keys).map(String::as_str).collect();
                let reason = format!("is unknown here; there are `{}`", names.join("`, `"));
                found.push(Mistake::new(inner, reason));
            }
            (None, Value::Object(_)) => walk(&schema["additionalProperties"], value, &inner, found),
            (None, _) => {}
        }
    }
}

fn name_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn wrong_type(schema: &Value, value: &Value) -> Option<String> {
    let wanted: Vec<&str> = match &schema["type"] {
        Value::String(name) => vec![name],
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        _ => return None,
    };
    let found = name_of(value);
    let fits = wanted.iter().any(|name| *name == found || (*name == "number" && found == "integer"));
    (!fits).then(|| format!("is of the type {found}, and must be {}", wanted.join(" or ")))
}

fn wrong_text(schema: &Value, text: &str) -> Option<String> {
    if schema["format"] == FORMAT {
        return text.parse::<Duration>().err().map(|wrong| format!("is \"{text}\", and that {wrong}"));
    }
    let words = schema["enum"].as_array()?;
    let listed: Vec<&str> = words.iter().filter_map(Value::as_str).collect();
    (!listed.contains(&text)).then(|| format!("is \"{text}\", and must be one of `{}`", listed.join("`, `")))
}

fn wrong_number(schema: &Value, value: &Value) -> Option<String> {
    let number = value.as_f64()?;
    let format_max = match schema["format"].as_str() {
        Some("uint8") => Some(f64::from(u8::MAX)),
        Some("uint32") => Some(f64::from(u32::MAX)),
        _ => None,
    };
    let (min, max) = (schema["minimum"].as_f64(), schema["maximum"].as_f64().or(format_max));
    let below = min.filter(|min| number < *min).map(|min| format!("is {value}, and must be at least {min}"));
    below.or_else(|| {
        max.filter(|max| number > *max).map(|max| format!("is {value}, and must be at most {max}"))
    })
}
