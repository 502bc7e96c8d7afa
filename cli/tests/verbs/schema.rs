//! What `--json` prints keeps to the document that is checked in.

use std::path::Path;

use serde_json::{Value, json};

fn path() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("schema.json")
}

/// Checks a printed object against one of the definitions.
pub fn check(name: &str, printed: &Value) {
    let mut schema = orrery_cli::schema::document();
    schema["$ref"] = json!(format!("#/$defs/{name}"));
    let validator = jsonschema::validator_for(&schema).expect("the schema is sound");
    let errors: Vec<String> = validator.iter_errors(printed).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "`{name}`: {errors:?} in {printed}");
}

/// The checked-in document is what the program would write today.
#[test]
fn the_checked_in_schema_is_fresh() {
    let text = serde_json::to_string_pretty(&orrery_cli::schema::document()).expect("plain data") + "\n";
    if std::env::var_os("ORRERY_UPDATE_GENERATED").is_some() {
        std::fs::write(path(), &text).expect("the file can be written");
    }
    let stored = std::fs::read_to_string(path()).unwrap_or_default();
    assert!(
        stored == text,
        "`cli/schema.json` is stale: ORRERY_UPDATE_GENERATED=1 cargo test -p orrery schema"
    );
}
