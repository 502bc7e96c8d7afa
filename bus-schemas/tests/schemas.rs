//! The checked-in schemas are those that the types give, and they keep to their specifications.
//!
//! After a change of a type: `ORRERY_UPDATE_GENERATED=1 cargo test -p bus-schemas --test schemas`.

#![expect(clippy::disallowed_methods, reason = "the crate is pure; this test reads its checked-in files")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use bus_schemas::schemas::{asyncapi, documents};
use serde_json::Value;

const COMMAND: &str = "ORRERY_UPDATE_GENERATED=1 cargo test -p bus-schemas --test schemas";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas")
}

fn generated() -> Vec<(String, Value)> {
    let mut all = documents();
    all.push(("asyncapi.json".to_owned(), asyncapi()));
    all
}

/// Keys in order: another crate of the workspace may turn on `serde_json/preserve_order`.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(object) => {
            let rows: BTreeMap<&String, Value> =
                object.iter().map(|(key, value)| (key, sorted(value))).collect();
            Value::Object(rows.into_iter().map(|(key, value)| (key.clone(), value)).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        other => other.clone(),
    }
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("the folder is checked in");
    let mut files = Vec::new();
    for path in entries.map(|entry| entry.expect("readable").path()) {
        if !path.is_dir() {
            files.push(path);
        } else if !path.ends_with("vendor") {
            files.extend(files_below(&path));
        }
    }
    files
}

#[test]
fn checked_in_schemas_are_those_of_the_types() {
    let update = std::env::var_os("ORRERY_UPDATE_GENERATED").is_some();
    for (path, schema) in generated() {
        let file = folder().join(&path);
        if update {
            std::fs::create_dir_all(file.parent().expect("below the folder")).expect("a writable checkout");
            let text = serde_json::to_string_pretty(&sorted(&schema)).expect("plain data") + "\n";
            std::fs::write(&file, text).expect("a writable checkout");
            continue;
        }
        let text = std::fs::read_to_string(&file)
            .unwrap_or_else(|error| panic!("`{path}`: {error}; run `{COMMAND}`"));
        let found: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("`{path}`: {error}"));
        assert!(
            found == schema,
            "`schemas/{path}` is not what the types give; run `{COMMAND}` and look at the diff"
        );
    }
}

#[test]
fn no_schema_outlives_its_type() {
    let expected: Vec<String> = generated().into_iter().map(|(path, _)| path).collect();
    // The schema of an older version of an event stays as long as there are such events: for ever.
    let stem = |path: &str| path.rsplit_once(".v").map(|(stem, _)| stem.to_owned());
    let stems: Vec<Option<String>> = expected.iter().map(|path| stem(path)).collect();
    for file in files_below(&folder()) {
        let path = file.strip_prefix(folder()).expect("below the folder").to_string_lossy().into_owned();
        let known = expected.contains(&path) || stems.contains(&stem(&path)) && path.starts_with("events/");
        assert!(known, "`schemas/{path}` belongs to no type; delete it");
    }
}

#[test]
fn schemas_keep_to_json_schema_2020_12() {
    for (path, schema) in documents() {
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema", "{path}");
        if let Err(error) = jsonschema::draft202012::meta::validate(&schema) {
            panic!("`{path}` at `{}`: {error}", error.instance_path());
        }
        jsonschema::validator_for(&schema).unwrap_or_else(|error| panic!("`{path}`: {error}"));
    }
}

#[test]
fn the_asyncapi_document_keeps_to_its_specification() {
    let text =
        std::fs::read_to_string(folder().join("vendor/asyncapi-3.1.0.json")).expect("it is checked in");
    let specification: Value = serde_json::from_str(&text).expect("it is JSON");
    let validator = jsonschema::validator_for(&specification).expect("it is a schema");
    let document = asyncapi();
    let errors: Vec<String> =
        validator.iter_errors(&document).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{}", errors.join("\n"));

    let mut broken = document.clone();
    broken["operations"]["handOver"]["action"] = "shout".into();
    assert!(!validator.is_valid(&broken), "the specification's schema checks nothing");
}

#[test]
fn every_reference_of_the_asyncapi_document_leads_somewhere() {
    fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(object) => {
                found.extend(object.get("$ref").and_then(Value::as_str));
                object.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }
    let document = asyncapi();
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 50, "only {} references", found.len());
    for target in found {
        let pointer =
            target.strip_prefix('#').unwrap_or_else(|| panic!("`{target}` leads out of the document"));
        assert!(document.pointer(pointer).is_some(), "`{target}` leads nowhere");
    }
}

/// The mark in the document and the table of kinds name the same commands, and each is one.
#[test]
fn the_protocol_document_marks_the_commands_of_the_system() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/protocol.md");
    let text = std::fs::read_to_string(file).expect("it is checked in");
    for kind in bus_schemas::kinds::kinds() {
        let link = format!("schemas/commands/{kind}.v1.json");
        let (_, section) = text.split_once(&link).unwrap_or_else(|| panic!("no section has `{link}`"));
        let (_, table) = section.split_once("| command | fields | meaning |").expect("a table of commands");
        let rows = table.split_once("\n\n").expect("a table ends").0.lines().skip(2);
        let marked: BTreeSet<&str> =
            rows.filter(|row| row.contains("| *System.* ")).filter_map(|row| row.split('`').nth(1)).collect();
        let system: BTreeSet<&str> = bus_schemas::kinds::system_commands(&kind).iter().copied().collect();
        assert_eq!(marked, system, "`{kind}`: the document (left) against the table of kinds (right)");
    }
}

/// A command or an event that nobody can read about does not exist for who writes in another language.
#[test]
fn the_protocol_document_names_every_command_and_event() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/protocol.md");
    let text = std::fs::read_to_string(file).expect("it is checked in");
    for (path, schema) in documents() {
        let variants = schema["oneOf"].as_array().into_iter().flatten();
        let names = variants.filter_map(|variant| variant["properties"]["type"]["const"].as_str());
        for name in names {
            assert!(
                text.contains(&format!("| `{name}` |")),
                "`docs/protocol.md` has no row for `{name}` of `{path}`"
            );
        }
        let is_linked = path.starts_with("views/") || text.contains(&format!("schemas/{path}"));
        assert!(is_linked, "`docs/protocol.md` does not link `{path}`");
    }
}
