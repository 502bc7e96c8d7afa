//! `orrery config`: the settings as this process would use them.

use actors_host::{Config, ConfigError};
use schemars::JsonSchema;
use serde::Serialize;

use crate::failure::{Failure, exit};
use crate::output::{Output, Show};

/// What to do with the settings.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Clone, Copy, clap::Subcommand)]
enum Verb {
    /// Print every setting with its value; credentials are hidden.
    Show,
    /// Check all of them, and list every mistake.
    Check,
}

/// The settings.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct Settings(pub serde_json::Value);

impl Show for Settings {
    fn text(&self) -> String {
        // TOML has no null: what is not set is left out, as in a file.
        let mut shown = self.0.clone();
        strip_nulls(&mut shown);
        toml::to_string(&shown).unwrap_or_else(|_| shown.to_string()).trim_end().to_owned()
    }
}

fn strip_nulls(value: &mut serde_json::Value) {
    if let serde_json::Value::Object(fields) = value {
        fields.retain(|_, field| !field.is_null());
        fields.values_mut().for_each(strip_nulls);
    }
}

/// The result of a check.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Checked {
    /// Whether the settings can be used.
    pub valid: bool,
}

impl Show for Checked {
    fn text(&self) -> String {
        "the settings are valid".to_owned()
    }
}

/// Prints the settings, or that they are valid; mistakes were reported when they were read.
pub fn run(config: &Config, arguments: &Arguments, output: Output) {
    match arguments.verb {
        Verb::Show => output.show(&Settings(config.redacted())),
        Verb::Check => output.show(&Checked { valid: true }),
    }
}

/// Mistakes in settings as failures.
pub fn failures(mistakes: &[ConfigError]) -> Vec<Failure> {
    let failure =
        |mistake: &ConfigError| Failure::of("bad-setting", mistake).next(&mistake.hint).exit(exit::USAGE);
    mistakes.iter().map(failure).collect()
}
