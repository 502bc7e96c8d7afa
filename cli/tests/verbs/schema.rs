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

/// Goal: whoever reads the map finds each output, and no name there leads nowhere. Method: the names
/// in the last column of its table against the definitions.
#[test]
fn the_map_names_every_output() {
    let map = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/cli.md");
    let map = std::fs::read_to_string(map).expect("the map");
    let rows = map.lines().filter(|line| line.starts_with("| `"));
    let mut named = std::collections::BTreeSet::new();
    for row in rows.clone() {
        let last = row.trim_end_matches([' ', '|']).rsplit(" | ").next().expect("a column");
        named.extend(
            last.split('`').skip(1).step_by(2).filter(|word| !word.contains("--") && *word != "tasks watch"),
        );
    }
    let document = orrery_cli::schema::document();
    let definitions = document["$defs"].as_object().expect("definitions");
    for name in &named {
        assert!(definitions.contains_key(*name), "`{name}` is in the map and not in the schema");
    }
    // The types that outputs are made of begin with a capital; failures are described below the table.
    let outputs = definitions.keys().filter(|name| name.starts_with(|letter: char| letter.is_lowercase()));
    for output in outputs.filter(|name| !["error", "failure"].contains(&name.as_str())) {
        assert!(named.contains(output.as_str()), "`{output}` is in the schema and not in the map");
    }
    let help = crate::world::orrery(Path::new("."), &["--help"]).good().stdout;
    for row in rows {
        let verb = row.split('`').nth(1).expect("a verb").split(' ').next().expect("a word");
        assert!(help.contains(&format!("\n  {verb} ")), "`{verb}` is in the map and not in the help");
    }
}
