//! The OpenAPI document, generated from the endpoints and their types.

mod bounds;

use schemars::SchemaGenerator;
use schemars::generate::{Contract, SchemaSettings};
use serde_json::{Map, Value, json};

use crate::endpoint::{Description, Method};
use crate::problem::Problem;
use crate::routes;

/// The place of definitions in an OpenAPI document.
const DEFINITIONS: &str = "/components/schemas";
/// The suffix of a request's definition where a response has another definition of the same name: a field
/// with a default is optional in a request and always present in a response.
const REQUEST: &str = "Request";
/// The header with the caller's name, which every operation takes.
const CALLER: &str = "Orrery-Caller";
/// The resources, with a description each.
const TAGS: [(&str, &str); 11] = [
    ("tasks", "Goals and their progress"),
    ("agents", "Agents and their workers"),
    ("schedules", "Goals that recur"),
    ("dead letters", "Commands, tasks and webhook posts that failed for good, and redrives"),
    ("approvals", "Calls of tools that a person approves or rejects"),
    ("changes", "Changes of repositories that a person approves"),
    ("halts", "Emergency stops: what is halted and why"),
    ("lanes", "Queues of work: what waits, what runs, and what limits it"),
    ("breakers", "Circuit breakers: which dependencies may be called"),
    ("settings", "Versioned settings that apply while the system runs"),
    ("operations", "Health, readiness, metrics and the interface's description"),
];

/// The OpenAPI 3.1 document as indented JSON, with a final line break.
///
/// `gateway/api/openapi.json` is this text; a test compares them.
pub fn openapi() -> String {
    format!("{:#}\n", document())
}

fn document() -> Value {
    let generator = |contract| {
        let mut settings = SchemaSettings::draft2020_12();
        settings.contract = contract;
        settings.definitions_path = DEFINITIONS.into();
        settings.into_generator()
    };
    let mut requests = generator(Contract::Deserialize);
    let mut answers = generator(Contract::Serialize);
    answers.subschema_for::<Problem>();
    let mut paths = Map::new();
    for endpoint in routes::ALL {
        let path = paths.entry(endpoint.path).or_insert_with(|| json!({}));
        path[endpoint.method.as_str().to_ascii_lowercase()] =
            operation(endpoint, &mut requests, &mut answers);
    }
    let mut paths = Value::Object(paths);
    let schemas = merged(requests, answers, &mut paths);
    let tags: Vec<Value> =
        TAGS.iter().map(|(name, description)| json!({"name": name, "description": description})).collect();
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Orrery",
            "description": "Event-sourced actors on NATS JetStream: tasks, agents, schedules.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "version": env!("CARGO_PKG_VERSION"),
        },
        "paths": paths,
        "components": {"schemas": schemas, "parameters": {CALLER: caller()}},
        "tags": tags,
    });
    bounds::finish(&mut document);
    document
}

/// The definitions of requests and responses in one map, each under a name of its own.
fn merged(
    mut requests: SchemaGenerator,
    mut answers: SchemaGenerator,
    paths: &mut Value,
) -> Map<String, Value> {
    let mut schemas = answers.take_definitions(true);
    let mut others = requests.take_definitions(true);
    let differ: Vec<String> = others
        .iter()
        .filter(|(name, schema)| schemas.get(*name).is_some_and(|known| known != *schema))
        .map(|(name, _)| name.clone())
        .collect();
    for name in &differ {
        rename(paths, name, true);
        others.values_mut().for_each(|schema| rename(schema, name, true));
    }
    for (name, schema) in others {
        let name = if differ.contains(&name) { name + REQUEST } else { name };
        schemas.insert(name, schema);
    }
    schemas
}

/// Points the references of requests to the definitions of requests. Responses stand under `responses`.
fn rename(value: &mut Value, name: &str, is_request: bool) {
    match value {
        Value::Object(fields) => {
            let target = format!("#{DEFINITIONS}/{name}");
            for (field, value) in fields {
                if is_request && field == "$ref" && *value == target {
                    *value = json!(format!("{target}{REQUEST}"));
                }
                rename(value, name, is_request && field != "responses");
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| rename(item, name, is_request)),
        _ => {}
    }
}

fn operation(endpoint: &Description, requests: &mut SchemaGenerator, answers: &mut SchemaGenerator) -> Value {
    let mut operation = json!({
        "tags": [endpoint.tag],
        "summary": endpoint.summary.trim(),
        "operationId": operation_id(endpoint.name),
        "responses": responses(endpoint, answers),
    });
    let mut parameters = path_parameters(endpoint.path);
    parameters.extend(query_parameters(endpoint, requests));
    parameters.extend(header_parameters(endpoint.name));
    if endpoint.path.starts_with("/v1/") {
        parameters.push(json!({"$ref": format!("#/components/parameters/{CALLER}")}));
    }
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    let body = (endpoint.body)(requests).to_value();
    if !is_nothing(&body) {
        let (required, schema) = match optional(&body) {
            Some(schema) => (false, schema),
            None => (true, body),
        };
        operation["requestBody"] =
            json!({"required": required, "content": {"application/json": {"schema": schema}}});
    }
    operation
}

/// `ListTasks` becomes `listTasks`.
fn operation_id(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map(|first| first.to_ascii_lowercase().to_string() + letters.as_str()).unwrap_or_default()
}

/// Whether a schema is that of `()`.
fn is_nothing(schema: &Value) -> bool {
    schema["type"] == "null"
}

/// The schema inside an `Option`; `None` for any other schema.
fn optional(schema: &Value) -> Option<Value> {
    match schema["anyOf"].as_array().map(Vec::as_slice) {
        Some([some, none]) if is_nothing(none) => Some(some.clone()),
        _ => None,
    }
}

fn responses(endpoint: &Description, answers: &mut SchemaGenerator) -> Value {
    let schema = (endpoint.view)(answers).to_value();
    let mut responses = Map::new();
    for (status, description) in endpoint.successes {
        let mut response = json!({"description": description});
        match endpoint.media {
            Some(media) if *status == 200 => {
                response["content"] = json!({media: {"schema": {"type": "string"}}})
            }
            None if !is_nothing(&schema) => {
                response["content"] = json!({"application/json": {"schema": schema}})
            }
            _ => {}
        }
        if *status == 201 && endpoint.method == Method::Post {
            let description = "the path of the new resource";
            response["headers"] =
                json!({"Location": {"description": description, "schema": {"type": "string"}}});
        }
        responses.insert(status.to_string(), response);
    }
    responses.into()
}

fn path_parameters(path: &str) -> Vec<Value> {
    let names = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let parameter = |name: &str| {
        let description = match name {
            "id" if path.starts_with("/v1/tasks") => "the task; steps of a plan are `<task>.<step>`",
            "name" if path.contains("/artifacts/") => bounds::ARTIFACT,
            "code" => "a problem's `code`",
            "scope" => "`all`, `lane.…`, `agent.…` or `task.…`",
            _ => "the resource's name",
        };
        json!({"name": name, "in": "path", "required": true, "description": description, "schema": {"type": "string"}})
    };
    names.map(parameter).collect()
}

/// The fields of the query, a parameter each.
fn query_parameters(endpoint: &Description, requests: &mut SchemaGenerator) -> Vec<Value> {
    let reference = (endpoint.query)(requests).to_value();
    let Some(name) = reference["$ref"].as_str().and_then(|target| target.rsplit('/').next()) else {
        return Vec::new();
    };
    // It is not a definition of its own: nobody sends it as JSON.
    let schema = requests.definitions_mut().remove(name).unwrap_or_default();
    let fields = schema["properties"].as_object().cloned().unwrap_or_default();
    let parameter = |(name, mut schema): (String, Value)| {
        let description = schema.as_object_mut().and_then(|fields| fields.remove("description"));
        present(&mut schema);
        json!({"name": name, "in": "query", "required": false, "description": description, "schema": schema})
    };
    fields.into_iter().map(parameter).collect()
}

/// Removes null from a parameter's schema: a parameter is present or absent.
fn present(schema: &mut Value) {
    if let Some(some) = optional(schema) {
        *schema = some;
    }
    let Some(fields) = schema.as_object_mut() else { return };
    fields.remove("default");
    if let Some(Value::Array(types)) = fields.get("type").cloned() {
        let some = types.into_iter().find(|name| name != "null").unwrap_or_default();
        fields.insert("type".to_owned(), some);
    }
}

/// The header with the caller's name.
fn caller() -> Value {
    let description = format!(
        "the caller, whom events name in `by`; `{}` where the header is missing",
        bus_schemas::Caller::UNNAMED
    );
    json!({"name": CALLER, "in": "header", "required": false, "description": description, "schema": {"type": "string"}})
}

fn header_parameters(name: &str) -> Option<Value> {
    let (header, description) = match name {
        "SubmitTask" => (
            "Idempotency-Key",
            "1 to 128 visible ASCII characters: the same key and owner with the same body is the same task",
        ),
        "StreamTaskEvents" | "ListEvents" => {
            ("Last-Event-ID", "the id of the last event that the client has")
        }
        _ => return None,
    };
    Some(
        json!({"name": header, "in": "header", "required": false, "description": description, "schema": {"type": "string"}}),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Set to write the file instead of comparing it.
    const UPDATE: &str = "ORRERY_UPDATE_GENERATED";

    #[test]
    fn the_checked_in_document_is_the_generated_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
        if std::env::var_os(UPDATE).is_some() {
            std::fs::write(path, openapi()).unwrap();
        }
        let found = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            found == openapi(),
            "gateway/api/openapi.json is stale: `{UPDATE}=1 cargo test -p gateway-api openapi`"
        );
    }

    /// Every object of the document with the path to it.
    fn each<'a>(
        value: &'a Value,
        place: &str,
        look: &mut impl FnMut(&str, &'a serde_json::Map<String, Value>),
    ) {
        match value {
            Value::Object(fields) => {
                look(place, fields);
                fields.iter().for_each(|(name, field)| each(field, &format!("{place}/{name}"), look));
            }
            Value::Array(items) => items.iter().for_each(|item| each(item, place, look)),
            _ => {}
        }
    }

    /// Goal: what a client or a contract tester is made from says what is taken. Method: no format that
    /// validators do not know, no number without bounds, no range of statuses; and any JSON where any is meant.
    #[test]
    fn the_document_says_what_is_taken() {
        let document: Value = serde_json::from_str(&openapi()).unwrap();
        each(&document, "", &mut |place, schema| {
            let none = schema.iter().find(|(name, value)| value.is_null() && *name != "default");
            assert!(none.is_none(), "{place}: {none:?}");
            let is_schema =
                |name: &str| schema.get(name).is_some_and(|value| value.is_string() || value.is_array());
            if schema.contains_key("format") && is_schema("type") {
                assert_eq!(schema["format"], "int64", "{place}");
                assert!(schema["minimum"].is_u64() && schema["maximum"].is_u64(), "{place}: {schema:?}");
            }
            if place.ends_with("/responses") {
                let statuses: Vec<_> = schema.keys().collect();
                assert!(statuses.iter().all(|status| status.parse::<u16>().is_ok()), "{place}: {statuses:?}");
                assert!(schema.contains_key("403") && schema.contains_key("500"), "{place}: {statuses:?}");
            }
        });
        let schemas = &document["components"]["schemas"];
        for (schema, field) in [
            ("NewTask", "input"),
            ("PlanStep", "input"),
            ("ScheduledTask", "input"),
            ("AnswerTask", "answer"),
            ("Task", "result"),
            ("NewVersion", "value"),
            ("Settings", "value"),
        ] {
            let found = &schemas[schema]["properties"][field];
            assert!(found.is_object() && found.get("type").is_none(), "{schema}.{field}: {found}");
        }
        let skill = &schemas["NewTask"]["properties"]["skill"];
        assert_eq!((&skill["minLength"], &skill["maxLength"]), (&1.into(), &64.into()), "{skill}");
        let since = document["paths"]["/v1/dead-letters"]["get"]["parameters"].as_array().unwrap();
        let since = since.iter().find(|parameter| parameter["name"] == "since").unwrap();
        assert_eq!(since["schema"]["maximum"], 253_402_300_799_999_u64);
    }

    #[test]
    fn every_operation_has_a_name_of_its_own() {
        let document = document();
        assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
        let paths = document["paths"].as_object().unwrap();
        let operations = paths.values().flat_map(|path| path.as_object().unwrap().values());
        let ids: Vec<&str> = operations.map(|operation| operation["operationId"].as_str().unwrap()).collect();
        let unique: std::collections::BTreeSet<&str> = ids.iter().copied().collect();
        assert_eq!((unique.len(), ids.len()), (routes::ALL.len(), routes::ALL.len()), "{ids:?}");
        assert!(routes::ALL.iter().all(|route| TAGS.iter().any(|(tag, _)| *tag == route.tag)));
    }

    /// Goal: whoever makes a client from the document can say who asks. Method: the parameter of every operation,
    /// and its bounds against the names that are accepted.
    #[test]
    fn every_operation_takes_the_caller() {
        let document = document();
        let caller = json!({"$ref": "#/components/parameters/Orrery-Caller"});
        for endpoint in routes::ALL.iter().filter(|endpoint| endpoint.path.starts_with("/v1/")) {
            let method = endpoint.method.as_str().to_ascii_lowercase();
            let parameters = &document["paths"][endpoint.path][method]["parameters"];
            assert!(parameters.as_array().is_some_and(|all| all.contains(&caller)), "{endpoint:?}");
        }
        let parameter = &document["components"]["parameters"][CALLER];
        assert!(parameter["description"].as_str().unwrap().contains("`unnamed`"), "{parameter}");
        let max = usize::try_from(parameter["schema"]["maxLength"].as_u64().unwrap()).unwrap();
        let is_name = |length| bus_schemas::Caller::parse(&"a".repeat(length)).is_ok();
        assert!(is_name(max) && !is_name(max + 1), "{parameter}");
    }

    /// Goal: every reference leads somewhere. Method: each of them in the document.
    #[test]
    fn references_have_targets() {
        let document = document();
        each(&document, "", &mut |place, schema| {
            if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
                let found = document.pointer(target.trim_start_matches('#'));
                assert!(found.is_some(), "{place}: {target}");
            }
        });
    }
}
