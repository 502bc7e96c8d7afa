//! `orrery config`: the settings as this process would use them.

use actors_host::{Config, ConfigError};
use schemars::JsonSchema;
use serde::Serialize;

use crate::commands::settings;
use crate::failure::{Failure, exit};
use crate::output::{Output, Show};

/// What to do with the settings.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum Verb {
    /// Print every setting with its value; credentials are hidden.
    Show {
        /// Instead, which versions of the settings hold that change while the system runs, and which
        /// host runs which.
        #[arg(long)]
        versions: bool,
    },
    /// Check all of them, and list every mistake.
    Check,
    #[command(flatten)]
    Live(settings::Verb),
}

/// The settings.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct Settings(pub serde_json::Value);

impl Show for Settings {
    fn text(&self) -> String {
        section(&self.0, "").join("\n")
    }
}

/// A section as TOML, the sections in it behind its own settings. TOML has no null: what is not set
/// is a comment, so that its key can be learned.
fn section(settings: &serde_json::Value, path: &str) -> Vec<String> {
    let (mut lines, mut inner) = (Vec::new(), Vec::new());
    for (name, value) in settings.as_object().into_iter().flatten() {
        match value {
            serde_json::Value::Null => lines.push(format!("# {name} = ")),
            serde_json::Value::Object(_) => {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                inner.extend([String::new(), format!("[{path}]")]);
                inner.extend(section(value, &path));
            }
            value => match toml::Value::try_from(value) {
                Ok(value) => lines.push(format!("{name} = {value}")),
                Err(error) => lines.push(format!("# {name}: {error}")),
            },
        }
    }
    lines.extend(inner);
    lines
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

impl Arguments {
    /// Whether settings that are no good are wanted as well: whoever mends them looks at them.
    pub fn shows(&self) -> bool {
        matches!(self.verb, Verb::Show { versions: false })
    }
    /// What is asked of settings that change while the system runs; none for those of this process.
    pub fn live(&self) -> Option<settings::Verb> {
        match &self.verb {
            Verb::Show { versions: true } => Some(settings::Verb::Versions),
            Verb::Live(verb) => Some(verb.clone()),
            Verb::Show { .. } | Verb::Check => None,
        }
    }
}

/// Prints the settings, or that they are valid.
pub fn run(config: &Config, arguments: &Arguments, output: Output) {
    match arguments.verb {
        Verb::Show { .. } => output.show(&Settings(config.redacted())),
        Verb::Check => output.show(&Checked { valid: true }),
        // They need a connection, and `settings::run` does them.
        Verb::Live(_) => {}
    }
}

/// Tells every mistake in the settings but the last, which is the failure.
pub fn refuse(mistakes: &[ConfigError], output: Output) -> Result<(), Failure> {
    let failure =
        |mistake: &ConfigError| Failure::of("bad-setting", mistake).next(&mistake.hint).exit(exit::USAGE);
    let Some((last, others)) = mistakes.split_last() else { return Ok(()) };
    others.iter().for_each(|mistake| output.fail(&failure(mistake)));
    Err(failure(last))
}
