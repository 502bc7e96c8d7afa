//! What the handlers' attributes do not say: bounds that entities keep, and every status that can be answered.
//!
//! Names mean the same in all requests, so each bound stands here once.

use bus_schemas::Timestamp;
use serde_json::{Map, Value, json};

/// What turns the direction of text, or hides in it, as in [`bus_schemas::text::is_hidden`].
const HIDDEN: &str =
    r"\u007f-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb";
/// A key, as subjects hold it.
const KEY: &str = r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$";

/// Completes the document.
pub fn finish(document: &mut Value) {
    for (name, schema) in fields(&mut document["components"], "schemas") {
        numbers(schema);
        properties(name, schema);
    }
    for (path, operations) in fields(document, "paths") {
        for (method, operation) in operations.as_object_mut().into_iter().flatten() {
            numbers(operation);
            items(operation, "parameters").for_each(parameter);
            statuses(path, method, operation);
        }
    }
}

/// The fields of an object that may not be there.
fn fields<'a>(value: &'a mut Value, name: &str) -> impl Iterator<Item = (&'a String, &'a mut Value)> {
    value.get_mut(name).and_then(Value::as_object_mut).into_iter().flatten()
}

/// The items of a list that may not be there.
fn items<'a>(value: &'a mut Value, name: &str) -> impl Iterator<Item = &'a mut Value> {
    value.get_mut(name).and_then(Value::as_array_mut).into_iter().flatten()
}

/// Whole numbers have the formats that validators know, and the bounds of what is read.
fn numbers(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            let bounds = match fields.get("format").and_then(Value::as_str) {
                Some("int32") => Some(("int64", u64::from(u32::MAX))),
                Some("int64") => Some(("int64", i64::MAX.unsigned_abs())),
                _ => None,
            };
            if let Some((format, max)) = bounds.filter(|_| fields.contains_key("minimum")) {
                fields.insert("format".into(), format.into());
                fields.entry("maximum").or_insert(max.into());
            }
            fields.values_mut().for_each(numbers);
        }
        Value::Array(values) => values.iter_mut().for_each(numbers),
        _ => {}
    }
}

/// The bounds of a request's fields. Answers have what entities have: the same names, and no bounds.
fn properties(schema: &str, value: &mut Value) {
    // A recurrence is one of several objects.
    if schema == "NewRecurrence" {
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

/// The bounds of what stands in paths, queries and headers.
fn parameter(parameter: &mut Value) {
    let (name, place) = (parameter["name"].as_str().unwrap_or_default(), parameter["in"].as_str());
    let bounds = match (name, place) {
        ("name", Some("path")) if parameter["description"] == ARTIFACT => json!({"minLength": 1}),
        ("code", Some("path")) => text(1, 64, "^[a-z0-9-]+$"),
        (_, Some("path")) => text(1, 160, KEY),
        ("since" | "before", _) => json!({"maximum": Timestamp::MAX}),
        ("cursor", _) => text(1, 1_024, "^1([0-9a-f][0-9a-f])+$"),
        ("after" | "Last-Event-ID", _) => text(0, 64, r"^([0-9]+\.[0-9]+\.[0-9]+)?$"),
        ("Idempotency-Key", _) => text(1, 128, "^[!-~]+$"),
        _ => return,
    };
    merge(&mut parameter["schema"], bounds);
}

/// How the name of an artifact is told from those of entities.
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

/// Names every status that an operation can answer beside those that it names itself.
fn statuses(path: &str, method: &str, operation: &mut Value) {
    let has_body = operation.get("requestBody").is_some();
    let names_entity = path.contains('{');
    let is_change = method != "get";
    let is_ours = path.starts_with("/v1/") && path != "/v1/openapi.json";
    let all = [
        (is_ours, "400", "the path, the query or a header is not sound, or the body is no JSON"),
        (true, "403", "a page of another site asks"),
        (names_entity, "404", "there is no such thing"),
        (has_body, "408", "the body did not come in time"),
        (is_ours && (is_change || names_entity), "409", "it does not fit what is there now"),
        (path.contains("/artifacts/"), "410", "the bytes are in the store no more"),
        (is_change, "413", "the body is too large"),
        (has_body, "415", "the body is no `application/json`"),
        (is_ours && (is_change || names_entity), "422", "what is asked for is not sound"),
        (true, "500", "a fault of the gateway or of a host"),
        (is_ours, "502", "a host answered what can not be read"),
        (is_ours, "503", "it can not be done now: come back after `Retry-After`"),
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
