//! Every command, every query and every event has a fixture that is read, written again without change, and
//! valid by its schema. `fixtures/README.md` says why none of them is ever changed.

#![expect(clippy::disallowed_methods, reason = "the crate is pure; this test reads its checked-in files")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use bus_schemas::schemas::documents;
use bus_schemas::wire::{WireCommand, WireEvent, WireQuery};
use bus_schemas::{Body, ContentType, Kind, commands, events, upcast};
use serde::Serialize;
use serde_json::{Value, json};

fn folder(kind: &Kind) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(kind.as_str())
}

/// Fixtures of a folder by name and version.
fn fixtures(folder: &Path) -> BTreeMap<(String, u16), Value> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let files = entries.map(|entry| entry.expect("readable").path()).filter(|path| path.is_file());
    files
        .map(|file| {
            let stem = file.file_stem().expect("a file").to_string_lossy().into_owned();
            let (name, version) = stem.rsplit_once(".v").unwrap_or_else(|| panic!("`{stem}` has no version"));
            let text = std::fs::read_to_string(&file).expect("readable");
            let value =
                serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            ((name.to_owned(), version.parse().expect("a version is a number")), value)
        })
        .collect()
}

fn schema(path: &str) -> Value {
    let found = documents().into_iter().find(|(name, _)| name == path);
    found.unwrap_or_else(|| panic!("there is no schema `{path}`")).1
}

/// The wire names of all variants, as the schema has them.
fn variants(schema: &Value) -> BTreeSet<String> {
    let one_of = schema["oneOf"].as_array().expect("an enum of variants");
    one_of
        .iter()
        .map(|variant| variant["properties"]["type"]["const"].as_str().expect("tagged").to_owned())
        .collect()
}

fn assert_valid(schema: &Value, value: &Value, what: &str) {
    let validator = jsonschema::validator_for(schema).expect("a schema");
    let errors: Vec<String> =
        validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{what}: {}", errors.join("\n"));
}

fn check_events<E: WireEvent>() {
    let found = fixtures(&folder(&E::KIND));
    for ((name, version), value) in &found {
        let what = format!("{} event {name} v{version}", E::KIND);
        assert_eq!(value["type"], json!(name), "{what}");
        let bytes = serde_json::to_vec(value).unwrap();
        let event: E = upcast::read(name, *version, &bytes).unwrap_or_else(|error| panic!("{what}: {error}"));
        if *version == E::SCHEMA {
            assert_eq!(event.event_type(), name, "{what}");
            assert_eq!(&serde_json::to_value(&event).unwrap(), value, "{what} is written differently");
            assert_valid(&schema(&format!("events/{}.v{version}.json", E::KIND)), value, &what);
        }
    }
    let current: BTreeSet<String> =
        found.keys().filter(|(_, version)| *version == E::SCHEMA).map(|(name, _)| name.clone()).collect();
    let all = variants(&schema(&format!("events/{}.v{}.json", E::KIND, E::SCHEMA)));
    assert_eq!(current, all, "fixtures of {} events (left) against variants (right)", E::KIND);
}

fn check_commands<C: WireCommand>() {
    let found = fixtures(&folder(&C::KIND).join("commands"));
    let schema = schema(&format!("commands/{}.v1.json", C::KIND));
    for ((name, version), value) in &found {
        let what = format!("{} command {name} v{version}", C::KIND);
        assert_eq!(value["type"], json!(name), "{what}");
        let command: C =
            serde_json::from_value(value.clone()).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(&serde_json::to_value(&command).unwrap(), value, "{what} is written differently");
        assert_valid(&schema, value, &what);
        // The same command as other languages write MessagePack: ids and hashes as text …
        let foreign = rmp_serde::to_vec_named(value).unwrap();
        // … and as Rust does: as bytes.
        let own = rmp_serde::to_vec_named(&command).unwrap();
        for bytes in [foreign, own] {
            let body = Body { content_type: ContentType::Msgpack, bytes: bytes.into() };
            let read: C = body.read().unwrap_or_else(|error| panic!("{what} as MessagePack: {error}"));
            assert_eq!(&serde_json::to_value(&read).unwrap(), value, "{what} as MessagePack");
        }
    }
    let names: BTreeSet<String> = found.keys().map(|(name, _)| name.clone()).collect();
    assert_eq!(names, variants(&schema), "fixtures of {} commands (left) against variants (right)", C::KIND);
}

fn check_queries<Q: WireQuery + Serialize>() {
    let found = fixtures(&folder(&Q::KIND).join("queries"));
    let schema = schema(&format!("queries/{}.v1.json", Q::KIND));
    for ((name, version), value) in &found {
        let what = format!("{} query {name} v{version}", Q::KIND);
        let query: Q =
            serde_json::from_value(value.clone()).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(&serde_json::to_value(&query).unwrap(), value, "{what} is written differently");
        assert_valid(&schema, value, &what);
        let bytes = rmp_serde::to_vec_named(value).unwrap().into();
        let read: Q = Body { content_type: ContentType::Msgpack, bytes }.read().unwrap();
        assert_eq!(&serde_json::to_value(&read).unwrap(), value, "{what} as MessagePack");
    }
    let names: BTreeSet<String> = found.keys().map(|(name, _)| name.clone()).collect();
    assert_eq!(names, variants(&schema), "fixtures of {} queries (left) against variants (right)", Q::KIND);
}

macro_rules! check_kinds {
    ($($module:ident $entity:ident $($query:ident)? [$($system:literal)*],)*) => {
        #[test]
        fn every_command_has_a_fixture_that_reads_the_same_in_both_encodings() {
            $(check_commands::<commands::$module::Command>();)*
        }

        #[test]
        fn every_query_has_a_fixture_that_reads_the_same_in_both_encodings() {
            $($(check_queries!($query $module);)?)*
        }

        #[test]
        fn every_event_has_fixtures_that_stay_readable() {
            $(check_events::<events::$module::Event>();)*
        }
    };
}
macro_rules! check_queries {
    (query $module:ident) => {
        check_queries::<commands::$module::Query>()
    };
}
bus_schemas::for_each_kind!(check_kinds);

#[test]
fn what_has_a_default_may_be_left_out() {
    let schema = schema("commands/task.v1.json");
    for short in [
        json!({"type": "submit", "goal": "count the files"}),
        json!({"type": "complete-job", "attempt": 1, "token": "t"}),
        json!({"type": "cancel"}),
    ] {
        assert_valid(&schema, &short, "a short command");
        serde_json::from_value::<commands::task::Command>(short.clone())
            .unwrap_or_else(|error| panic!("{short}: {error}"));
    }
}

#[test]
fn what_the_schema_refuses_is_refused_by_the_reader() {
    let validator = jsonschema::validator_for(&schema("commands/task.v1.json")).expect("a schema");
    for bad in [
        json!({"type": "submit"}),
        json!({"type": "submit", "goal": "x", "gaol": "y"}),
        json!({"type": "submit", "goal": "x", "lane": "a b"}),
        json!({"type": "vanish"}),
        json!({"type": "count-job", "task": "a.>", "attempt": 1}),
        json!({"type": "count-job", "task": "a", "attempt": -1}),
        json!({"type": "complete-job", "attempt": 1}),
        json!({"type": "answer", "answer": "yes"}),
        json!({"goal": "x"}),
    ] {
        assert!(!validator.is_valid(&bad), "the schema takes {bad}");
        assert!(
            serde_json::from_value::<commands::task::Command>(bad.clone()).is_err(),
            "the reader takes {bad}"
        );
    }
}
