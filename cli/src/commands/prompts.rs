//! `orrery prompts`: the prompts that the agents of a process with this configuration can use.
//!
//! Which version is active belongs to the installation: `orrery settings show prompts`.

use actors_host::Config;
use actors_models::Listed;
use bus_schemas::Hash;
use schemars::JsonSchema;
use serde::Serialize;

use crate::commands::config::refuse;
use crate::failure::{Failure, exit};
use crate::output::{Output, Show, table};
use crate::tools;

/// Which prompts; without a verb they are listed.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum Verb {
    /// List all versions, with the hash by which the settings `prompts` name each
    List,
    /// Show the template of a version
    // `--version` means the prompt's version here, not the program's.
    #[command(disable_version_flag = true)]
    Show {
        /// The prompt's name
        name: String,
        /// The version; the highest one if it is left out
        #[arg(long, value_name = "N")]
        version: Option<u32>,
    },
}

/// All versions of all prompts.
#[derive(Debug, Serialize, JsonSchema)]
pub struct List {
    /// The versions, by name and number.
    pub prompts: Vec<Version>,
}

/// A version of a prompt.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Version {
    /// The name.
    pub name: String,
    /// The version.
    pub version: u32,
    /// BLAKE3 of the template.
    pub template: Hash,
    /// Where it comes from: `shipped` or `operator`.
    pub source: String,
}

/// A version with its template.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Shown {
    /// The version.
    #[serde(flatten)]
    pub version: Version,
    /// The template.
    pub text: String,
}

impl Version {
    fn of(listed: &Listed<'_>) -> Self {
        let source = <&str>::from(listed.source).to_owned();
        Self { name: listed.name.to_owned(), version: listed.version, template: listed.hash(), source }
    }
}

impl Show for List {
    fn text(&self) -> String {
        let row = |Version { name, version, template, source }: &Version| {
            vec![name.clone(), version.to_string(), source.clone(), template.to_string()]
        };
        table(&["PROMPT", "VERSION", "SOURCE", "TEMPLATE"], &self.prompts.iter().map(row).collect::<Vec<_>>())
    }
}

impl Show for Shown {
    fn text(&self) -> String {
        self.text.trim_end().to_owned()
    }
}

/// Prints the prompts, or one of them.
pub fn run(config: &Config, arguments: &Arguments, output: Output) -> Result<(), Failure> {
    let library = match tools::library(config) {
        Ok(library) => library,
        Err(mistakes) => return refuse(&mistakes, output),
    };
    match &arguments.verb {
        None | Some(Verb::List) => {
            output.show(&List { prompts: library.list().map(|listed| Version::of(&listed)).collect() });
        }
        Some(Verb::Show { name, version }) => {
            let is_wanted = |listed: &Listed<'_>| {
                listed.name == name && version.is_none_or(|version| version == listed.version)
            };
            // They are in order: the last one has the highest version.
            let found = library.list().filter(is_wanted).last().ok_or_else(|| {
                Failure::new(
                    "prompt-missing",
                    format!("this process has no such version of the prompt `{name}`"),
                )
                .next("`orrery prompts list` lists those it has")
                .exit(exit::NOT_FOUND)
            })?;
            output.show(&Shown { version: Version::of(&found), text: found.template.to_owned() });
        }
    }
    Ok(())
}
