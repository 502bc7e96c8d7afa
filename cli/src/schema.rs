//! The JSON Schema (2020-12) of everything that `--json` prints: one document, a definition for
//! each output. `docs/cli.md` says which verb prints which.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Value, json};

use crate::commands::replay::{Step, redecide};
use crate::commands::{
    agents, archive, backup, breakers, chaos, config, dead, doctor, down, events, halt, heal, lanes, rebuild,
    restore, run, schedules, settings, task, verify,
};
use crate::discovery::Discovery;
use crate::failure::Failure;
use crate::progress::Change;

/// The document, as it is checked in at `cli/schema.json`.
pub fn document() -> Value {
    let mut schemas = Schemas { generator: SchemaSettings::draft2020_12().into_generator() };
    schemas.add::<Failure>("failure");
    schemas.add::<Discovery>("up");
    schemas.add::<down::Stopped>("down");
    schemas.add::<run::Outcome>("run");
    schemas.add::<Change>("change");
    schemas.add::<task::Page>("task-list");
    schemas.add::<task::Tree>("task-show");
    schemas.add::<task::Answer>("task-why");
    schemas.add::<task::Told>("task-told");
    schemas.add::<task::Written>("task-artifact");
    schemas.add::<events::Line>("event");
    schemas.add::<Step>("replay-step");
    schemas.add::<redecide::Divergence>("divergence");
    schemas.add::<redecide::Summary>("redecided");
    schemas.add::<verify::Finding>("finding");
    schemas.add::<verify::Summary>("verified");
    schemas.add::<rebuild::Rebuilt>("rebuilt");
    schemas.add::<backup::Written>("backup");
    schemas.add::<restore::Restored>("restored");
    schemas.add::<archive::Archived>("archived");
    schemas.add::<agents::Agents>("agents");
    schemas.add::<agents::Agent>("agent");
    schemas.add::<schedules::Schedules>("schedules");
    schemas.add::<schedules::Schedule>("schedule");
    schemas.add::<schedules::Told>("schedule-told");
    schemas.add::<dead::Page>("dead-list");
    schemas.add::<dead::Whole>("dead-show");
    schemas.add::<dead::Told>("dead-told");
    schemas.add::<dead::Campaign>("dead-campaign");
    schemas.add::<dead::Campaigns>("dead-campaigns");
    schemas.add::<breakers::Breakers>("breakers");
    schemas.add::<breakers::Breaker>("breaker");
    schemas.add::<breakers::Told>("breaker-told");
    schemas.add::<halt::Halts>("halts");
    schemas.add::<halt::Told>("halt-told");
    schemas.add::<lanes::Lanes>("lanes");
    schemas.add::<lanes::Shown>("lane");
    schemas.add::<lanes::Told>("lane-told");
    schemas.add::<lanes::Set>("lane-set");
    schemas.add::<heal::Line>("heal-act");
    schemas.add::<heal::Released>("heal-released");
    schemas.add::<chaos::List>("chaos-list");
    schemas.add::<chaos::Shown>("chaos-experiment");
    schemas.add::<doctor::Check>("check");
    schemas.add::<orrery_bench::Report>("bench");
    schemas.add::<config::Settings>("config-show");
    schemas.add::<config::Checked>("config-check");
    schemas.add::<settings::Shown>("config-get");
    schemas.add::<settings::Told>("config-told");
    schemas.add::<settings::Changes>("config-history");
    schemas.add::<settings::Compared>("config-diff");
    schemas.add::<settings::Versions>("config-versions");
    schemas.finish()
}

struct Schemas {
    generator: SchemaGenerator,
}

impl Schemas {
    /// Adds an output under a name of its own: types of two verbs may be called the same.
    fn add<T: JsonSchema>(&mut self, name: &str) {
        let mut schema = self.generator.root_schema_for::<T>().to_value();
        // A type that holds itself refers to its own root, which is a definition here.
        point_at(&mut schema, name);
        if let Value::Object(fields) = &mut schema {
            fields.remove("$schema");
            // Definitions go beside the others; they have the names of their types.
            let inner = fields.remove("$defs");
            if let Some(Value::Object(inner)) = inner {
                self.generator.definitions_mut().extend(inner);
            }
        }
        self.generator.definitions_mut().insert(name.to_owned(), schema);
    }

    fn finish(mut self) -> Value {
        let mut definitions = self.generator.take_definitions(true);
        definitions.insert("error".to_owned(), error());
        json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "What orrery prints with --json: one object a line",
            "$defs": definitions,
        })
    }
}

/// Turns references to the whole document into references to the definition `name`.
fn point_at(schema: &mut Value, name: &str) {
    match schema {
        Value::Object(fields) => {
            for (key, value) in fields {
                if key == "$ref" && value == "#" {
                    *value = json!(format!("#/$defs/{name}"));
                } else {
                    point_at(value, name);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| point_at(item, name)),
        _ => {}
    }
}

/// The line on stderr of a command that failed; see `Output::fail`.
fn error() -> Value {
    json!({
        "description": "Printed to stderr by a command that failed, one a line.",
        "properties": { "error": { "$ref": "#/$defs/failure" } },
        "required": ["error"],
        "type": "object",
    })
}
