//! `orrery config`: a process's configuration, from its file and the environment.

use actors_host::{Config, ConfigError};
use schemars::JsonSchema;
use serde::Serialize;

use crate::failure::{Failure, exit};
use crate::output::{Output, Show};

/// The action on the configuration.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum Verb {
    /// Print every value, with credentials hidden.
    Show,
    /// Check all values, and list every mistake.
    Check,
}

/// The configuration.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct Values(pub serde_json::Value);

impl Show for Values {
    fn text(&self) -> String {
        section(&self.0, "").join("\n")
    }
}

/// A section as TOML: its own settings first, then its subsections. TOML has no null: an unset setting is a
/// comment, so that its key is shown.
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
    /// Whether the configuration is valid.
    pub valid: bool,
}

impl Show for Checked {
    fn text(&self) -> String {
        "the configuration is valid".to_owned()
    }
}

impl Arguments {
    /// Whether an invalid configuration is shown as well, for whoever corrects it.
    pub fn shows(&self) -> bool {
        matches!(self.verb, Verb::Show)
    }
}

/// Prints the configuration, or that it is valid with the file of the models and the images of the sandbox.
pub fn run(config: &Config, arguments: &Arguments, output: Output) -> Result<(), Failure> {
    match arguments.verb {
        Verb::Show => output.show(&Values(config.redacted())),
        Verb::Check => match crate::tools::load(config) {
            Ok(_) => output.show(&Checked { valid: true }),
            Err(mistakes) => return refuse(&mistakes, output),
        },
    }
    Ok(())
}

/// Every mistake in the configuration as one failure.
pub fn refused(mistakes: &[ConfigError]) -> Failure {
    let reasons: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
    let hint = mistakes.first().map(|mistake| mistake.hint.as_str()).unwrap_or_default();
    Failure::new("bad-setting", reasons.join("; ")).next(hint).exit(exit::USAGE)
}

/// Prints every mistake in the configuration but the last, which is returned as the failure.
pub fn refuse(mistakes: &[ConfigError], output: Output) -> Result<(), Failure> {
    let failure =
        |mistake: &ConfigError| Failure::of("bad-setting", mistake).next(&mistake.hint).exit(exit::USAGE);
    let Some((last, others)) = mistakes.split_last() else { return Ok(()) };
    others.iter().for_each(|mistake| output.fail(&failure(mistake)));
    Err(failure(last))
}
