//! What the types do not say: the bounds that entities check, and every status that an operation can answer
//! with.
//!
//! A name means the same in all requests, so each bound is defined once.

use bus_schemas::Timestamp;
use serde_json::{Map, Value, json};

/// Characters that no text may hold, as far as a pattern can say it: [`bus_schemas::text`] has the whole rule.
const HIDDEN: &str = concat!(
    r"\u007f-\u009f\u00ad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u17b4\u17b5",
    r"\u180b-\u180f\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ue000-\uf8ff\ufe00-\ufe0d\ufeff\uffa0",
    r"\ufff0-\ufffb",
);
/// A key, as in subjects.
const KEY: &str = r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$";

/// Completes the document.
pub fn finish(document: &mut Value) {
    for (name, schema) in fields(&mut document["components"], "schemas") {
        numbers(schema);
        properties(name, schema);
    }
    fields(&mut document["components"], "parameters").for_each(|(_, shared)| parameter(shared));
    for (path, operations) in fields(document, "paths") {
        for (method, operation) in operations.as_object_mut().into_iter().flatten() {
            numbers(operation);
            items(operation, "parameters").for_each(parameter);
            statuses(path, method, operation);
        }
    }
}

/// The fields of an object, which may be absent.
fn fields<'a>(value: &'a mut Value, name: &str) -> impl Iterator<Item = (&'a String, &'a mut Value)> {
    value.get_mut(name).and_then(Value::as_object_mut).into_iter().flatten()
}

/// The items of a list, which may be absent.
fn items<'a>(value: &'a mut Value, name: &str) -> impl Iterator<Item = &'a mut Value> {
    value.get_mut(name).and_then(Value::as_array_mut).into_iter().flatten()
}

/// Gives whole numbers a format that validators know, and the bounds that are accepted.
fn numbers(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            let max = match fields.get("format").and_then(Value::as_str) {
                Some("uint8") => Some(u64::from(u8::MAX)),
                Some("uint16") => Some(u64::from(u16::MAX)),
                Some("uint32") => Some(u64::from(u32::MAX)),
                Some("uint64" | "uint") => Some(i64::MAX.unsigned_abs()),
                _ => None,
            };
            if let Some(max) = max {
                fields.insert("format".into(), "int64".into());
                fields.entry("maximum").or_insert(max.into());
            } else if fields.get("format").is_some_and(|format| format != "int64") {
                fields.remove("format");
            }
            fields.values_mut().for_each(numbers);
        }
        Value::Array(values) => values.iter_mut().for_each(numbers),
        _ => {}
    }
}

/// The bounds of a request's fields. Responses have the same names without bounds: they show what entities
/// hold.
fn properties(schema: &str, value: &mut Value) {
    // A recurrence is one of several objects.
    if schema == "Recurrence" {
        for variant in items(value, "oneOf") {
            variant["additionalProperties"] = false.into();
            properties("", variant);
        }
    }
    if value.get("additionalProperties") != Some(&Value::Bool(false)) {
        return;
    }
    let required = value.get("required").cloned().unwrap_or_default();
    let required: Vec<String> = serde_json::from_value(required).unwrap_or_default();
    for (name, field) in fields(value, "properties") {
        let is_reason = required.contains(name) || schema == "ResumeHalt";
        let bounds = match name.as_str() {
            "owner" | "skill" => text(1, 64, &line()),
            "goal" => text(1, 8_192, &prose()),
            "lane" => text(1, 128, KEY),
            "scope" | "dependency" => text(1, 160, KEY),
            "name" if schema == "NewRedrive" => text(1, 160, KEY),
            "step" => text(1, 160, "^[A-Za-z0-9_-]+$"),
            "reason" if is_reason => text(1, 1_024, &prose()),
            "expression" => text(1, 256, &line()),
            "wall_clock" => text(2, 32, "^[0-9]+(ms|s|m|h|d)$"),
            "to" => text(3, 193, r"^[A-Za-z0-9_-]{1,32}/[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$"),
            "encoding" => json!({"enum": ["text", "base64", null]}),
            "content_type" => json!({"enum": ["json", "msgpack", null]}),
            "steps" => json!({"minItems": 1, "maxItems": 256}),
            "after" => json!({"maxItems": 256}),
            "deadline_ms" | "every_ms" | "at" | "since" | "before" => json!({"maximum": Timestamp::MAX}),
            _ => continue,
        };
        merge(field, bounds);
    }
}

/// The bounds of parameters in paths, queries and headers.
fn parameter(parameter: &mut Value) {
    let (name, place) = (parameter["name"].as_str().unwrap_or_default(), parameter["in"].as_str());
    let bounds = match (name, place) {
        ("name", Some("path")) if parameter["description"] == ARTIFACT => json!({"minLength": 1}),
        ("code", Some("path")) => text(1, 64, "^[a-z0-9-]+$"),
        (_, Some("path")) => text(1, 160, KEY),
        ("since" | "before", _) => json!({"maximum": Timestamp::MAX}),
        ("cursor", _) => text(1, 1_024, "^[A-Za-z0-9_-]+$"),
        ("after" | "Last-Event-ID", _) => json!({"maxLength": 8_192, "pattern": r"^[0-9.,;]*$"}),
        ("Orrery-Caller", _) => text(1, 64, "^[A-Za-z0-9_-]+$"),
        ("Idempotency-Key", _) => text(1, 128, "^[!-~]+$"),
        _ => return,
    };
    merge(&mut parameter["schema"], bounds);
}

/// The description that tells an artifact's name from that of an entity.
pub const ARTIFACT: &str = "the artifact: any file name";

fn text(min: u32, max: u32, pattern: &str) -> Value {
    json!({"minLength": min, "maxLength": max, "pattern": pattern})
}

fn line() -> String {
    format!(r"^[^\u0000-\u001f{HIDDEN}]+$")
}

fn prose() -> String {
    format!(r"^[^\u0000-\u0008\u000b\u000c\u000e-\u001f{HIDDEN}]+$")
}

fn merge(schema: &mut Value, bounds: Value) {
    if let (Value::Object(schema), Value::Object(bounds)) = (schema, bounds) {
        schema.extend(bounds);
    }
}

/// Adds every status that an operation can answer with beside those that it declares.
fn statuses(path: &str, method: &str, operation: &mut Value) {
    let has_body = operation.get("requestBody").is_some();
    let names_entity = path.contains('{');
    let is_change = method != "get";
    let is_ours = path.starts_with("/v1/") && path != "/v1/openapi.json";
    let all = [
        (is_ours, "400", "the path, the query or a header is invalid, or the body is not JSON"),
        (true, "403", "the request comes from a page of another site"),
        (names_entity, "404", "not found"),
        (has_body, "408", "the body did not arrive in time"),
        (is_ours && (is_change || names_entity), "409", "the request conflicts with the current state"),
        (path.contains("/artifacts/"), "410", "the bytes are no longer in the store"),
        (is_change, "413", "the body is too large"),
        (has_body, "415", "the body is not `application/json`"),
        (is_ours && (is_change || names_entity), "422", "the request is invalid"),
        (true, "500", "an internal error of the gateway or of a host"),
        (is_ours, "502", "a host's answer cannot be read"),
        (is_ours, "503", "not possible now: retry after `Retry-After`"),
        (is_ours, "504", "no host answered in time"),
    ];
    let Some(responses) = operation.get_mut("responses").and_then(Value::as_object_mut) else { return };
    for (_, status, description) in all.into_iter().filter(|(applies, ..)| *applies) {
        responses.entry(status).or_insert_with(|| problem(description));
    }
}

fn problem(description: &str) -> Value {
    let schema = json!({"$ref": "#/components/schemas/Problem"});
    let content: Map<String, Value> =
        [("application/problem+json".to_owned(), json!({ "schema": schema }))].into_iter().collect();
    json!({"description": description, "content": content})
}
