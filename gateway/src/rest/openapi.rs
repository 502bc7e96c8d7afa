//! The OpenAPI document, made from the handlers and their types.

mod finish;

use serde_json::Value;
use utoipa::OpenApi;

use super::dead::redrives;
use super::{
    agents, artifacts, breakers, config, dead, events, halts, lanes, operations, pages, problem, schedules,
    tasks,
};

#[derive(OpenApi)]
#[openapi(
    info(title = "Orrery", description = "Event-sourced actors on NATS JetStream: tasks, agents, schedules.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")),
    paths(
        tasks::list, tasks::create, tasks::show, tasks::cancel, tasks::retry, tasks::input, tasks::extend,
        tasks::why,
        artifacts::download, events::stream,
        agents::list,
        schedules::list, schedules::create, schedules::delete, schedules::pause, schedules::resume,
        dead::list, dead::export::export, dead::show, dead::edit, dead::redrive, dead::give_up,
        redrives::list, redrives::create, redrives::show, redrives::pause, redrives::resume, redrives::cancel,
        config::show, config::put, config::activate, config::rollback, config::history,
        halts::list, halts::create, halts::resume,
        lanes::list, lanes::show, lanes::change, lanes::pause, lanes::resume,
        breakers::list, breakers::show, breakers::trip, breakers::reset,
        operations::health, operations::ready, operations::metrics, operations::openapi, pages::show,
    ),
    components(schemas(problem::ProblemView)),
    tags(
        (name = "tasks", description = "Goals, and how far they are"),
        (name = "agents", description = "Who does the work"),
        (name = "schedules", description = "Goals that recur"),
        (name = "dead letters", description = "What could not be done"),
        (name = "halts", description = "What stands still"),
        (name = "lanes", description = "What waits, and what limits it"),
        (name = "breakers", description = "What may be called"),
        (name = "settings", description = "What changes while the system runs"),
        (name = "operations", description = "Alive, ready, measured, described"),
    )
)]
struct Document;

/// The OpenAPI 3.1 document as pretty JSON, with a line feed at its end.
///
/// `gateway/openapi.json` is this text; a test compares them.
pub fn openapi() -> String {
    let mut document: Value = serde_json::to_value(Document::openapi()).expect("the document is plain data");
    finish::finish(&mut document);
    format!("{document:#}\n")
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
            "gateway/openapi.json is stale: `{UPDATE}=1 cargo test -p gateway openapi`"
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
            ("NewStep", "input"),
            ("ScheduledTask", "input"),
            ("ProvideInput", "answer"),
            ("TaskView", "result"),
            ("NewVersion", "value"),
            ("ConfigView", "value"),
        ] {
            let found = &schemas[schema]["properties"][field];
            assert!(found.is_object() && found.get("type").is_none(), "{schema}.{field}: {found}");
        }
        let owner = &schemas["NewTask"]["properties"]["owner"];
        assert_eq!((&owner["minLength"], &owner["maxLength"]), (&1.into(), &64.into()), "{owner}");
        let since = document["paths"]["/v1/dead-letters"]["get"]["parameters"].as_array().unwrap();
        let since = since.iter().find(|parameter| parameter["name"] == "since").unwrap();
        assert_eq!(since["schema"]["maximum"], 253_402_300_799_999_u64);
    }

    #[test]
    fn every_route_is_in_the_document() {
        let document: serde_json::Value = serde_json::from_str(&openapi()).unwrap();
        assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
        let router = include_str!("../rest.rs");
        let routes =
            router.lines().filter_map(|line| line.trim().strip_prefix(".route(\"")?.split('"').next());
        // Some routes are answered twice: by a gateway, and where there is none by monitoring alone.
        let routes: std::collections::BTreeSet<&str> = routes.collect();
        for route in &routes {
            assert!(document["paths"].get(route).is_some(), "{route} is missing");
        }
        let paths = document["paths"].as_object().unwrap();
        assert_eq!(routes.len(), paths.len());
        let operations = paths.values().flat_map(|path| path.as_object().unwrap().values());
        let ids: Vec<&str> = operations.map(|operation| operation["operationId"].as_str().unwrap()).collect();
        let unique: std::collections::BTreeSet<&str> = ids.iter().copied().collect();
        assert_eq!(unique.len(), ids.len(), "clients are generated from these names: {ids:?}");
    }
}
