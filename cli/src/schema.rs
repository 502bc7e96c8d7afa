//! The JSON Schema (2020-12) of everything that `--json` prints: one document, with a definition for each
//! output. `docs/cli.md` says which verb prints which.

use bus_schemas::commands::agent::Loaded;
use bus_schemas::commands::settings::Description;
use bus_schemas::views::lane::Lane;
use bus_schemas::views::task::Task;
use bus_schemas::views::waits::Waits;
use gateway_api::approvals::{Approval, ApprovalPage};
use gateway_api::breakers::{Breaker, BreakerChanged, BreakerPage};
use gateway_api::changes::{self, ChangePage};
use gateway_api::dead_letters::{DeadLetter, DeadLetterPage};
use gateway_api::errors::Entry;
use gateway_api::halts::{HaltChanged, HaltPage};
use gateway_api::healer::Released;
use gateway_api::lanes::{LaneChanged, LanePage, LanePaused};
use gateway_api::redrives::{Redrive, RedrivePage};
use gateway_api::schedules::{Schedule, SchedulePage};
use gateway_api::settings::{SettingsChanged, SettingsList};
use gateway_api::tasks::TaskPage;
use orrery_storage::replay::{Step, effects, redecide};
use orrery_storage::{archive, backup, restore, verify};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Value, json};

use crate::commands::{
    agents, bench, chaos, config, dead_letters, doctor, down, events, halt, heal, ledger, manifest, prompts,
    rebuild, run, sandbox, settings, tasks,
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
    schemas.add::<run::Shown>("plan");
    schemas.add::<Change>("progress");
    schemas.add::<TaskPage>("task-list");
    schemas.add::<tasks::Tree>("task-show");
    schemas.add::<Waits>("task-why");
    schemas.add::<Task>("task");
    schemas.add::<tasks::Written>("task-artifact");
    schemas.add::<events::EventRow>("event");
    schemas.add::<Step>("replay-step");
    schemas.add::<redecide::Divergence>("divergence");
    schemas.add::<redecide::Summary>("redecided");
    schemas.add::<effects::Compare>("replayed-attempt");
    schemas.add::<effects::Compares>("replayed");
    schemas.add::<verify::Finding>("finding");
    schemas.add::<verify::Summary>("verified");
    schemas.add::<ledger::Exported>("ledger-exported");
    schemas.add::<ledger::PublicKey>("ledger-key");
    schemas.add::<orrery_storage::ledger::Entry>("ledger-entry");
    schemas.add::<rebuild::Rebuilt>("rebuilt");
    schemas.add::<backup::Written>("backup");
    schemas.add::<restore::Restored>("restored");
    schemas.add::<archive::Archived>("archived");
    schemas.add::<agents::Agents>("agents");
    schemas.add::<agents::Counted>("agent");
    schemas.add::<Loaded>("agent-checked");
    schemas.add::<SchedulePage>("schedules");
    schemas.add::<Schedule>("schedule");
    schemas.add::<ApprovalPage>("approvals");
    schemas.add::<Approval>("approval");
    schemas.add::<ChangePage>("changes");
    schemas.add::<changes::Change>("change");
    schemas.add::<DeadLetterPage>("dead-letters");
    schemas.add::<dead_letters::Decoded>("dead-letter");
    schemas.add::<DeadLetter>("dead-letter-changed");
    schemas.add::<Redrive>("redrive");
    schemas.add::<RedrivePage>("redrives");
    schemas.add::<BreakerPage>("breakers");
    schemas.add::<Breaker>("breaker");
    schemas.add::<BreakerChanged>("breaker-changed");
    schemas.add::<HaltPage>("halts");
    schemas.add::<HaltChanged>("halt-changed");
    schemas.add::<halt::Sent>("halt-sent");
    schemas.add::<LanePage>("lanes");
    schemas.add::<Lane>("lane");
    schemas.add::<LanePaused>("lane-paused");
    schemas.add::<LaneChanged>("lane-changed");
    schemas.add::<heal::HealingRow>("heal-act");
    schemas.add::<Released>("heal-released");
    schemas.add::<chaos::List>("chaos-list");
    schemas.add::<chaos::Shown>("chaos-experiment");
    schemas.add::<doctor::Check>("check");
    schemas.add::<Entry>("error-code");
    of_this_machine(&mut schemas);
    schemas.add::<Description>("settings");
    schemas.add::<SettingsChanged>("settings-changed");
    schemas.add::<settings::Changes>("settings-history");
    schemas.add::<settings::Compared>("settings-diff");
    schemas.add::<SettingsList>("settings-list");
    schemas.finish()
}

/// What verbs print that ask no system.
fn of_this_machine(schemas: &mut Schemas) {
    schemas.add::<orrery_bench::Report>("bench");
    schemas.add::<orrery_bench::RepairReport>("bench-repair");
    schemas.add::<bench::repair::List>("bench-repair-list");
    schemas.add::<prompts::List>("prompts");
    schemas.add::<prompts::Shown>("prompt");
    schemas.add::<bench::sandbox::Report>("bench-sandbox");
    schemas.add::<manifest::Finding>("manifest-finding");
    schemas.add::<manifest::Verified>("manifest-verified");
    schemas.add::<sandbox::ImageShown>("sandbox-image");
    schemas.add::<sandbox::Images>("sandbox-images");
    schemas.add::<sandbox::OutputShown>("sandbox-output");
    schemas.add::<sandbox::Ran>("sandbox-ran");
    schemas.add::<config::Values>("config-show");
    schemas.add::<config::Checked>("config-check");
}

struct Schemas {
    generator: SchemaGenerator,
}

impl Schemas {
    /// Adds an output under its own name: types of two verbs may have the same name.
    fn add<T: JsonSchema>(&mut self, name: &str) {
        let mut schema = self.generator.root_schema_for::<T>().to_value();
        // A recursive type refers to the root of its own schema, which is a definition here.
        point_at(&mut schema, name);
        if let Value::Object(fields) = &mut schema {
            fields.remove("$schema");
            // Nested definitions move beside the others, under the names of their types.
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
