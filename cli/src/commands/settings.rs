//! `orrery settings`: the settings that apply while the system runs.

mod running;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};

use bus_schemas::commands::settings::{Change, Description};
use bus_schemas::settings::{self, Difference, differences};
use gateway_api::routes;
use gateway_api::settings::{Activation, NewVersion, Rollback, SettingsChanged, ShowSettings};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::client::{Client, id};
use crate::commands::tasks::one_line;
use crate::failure::{Failure, exit};
use crate::output::{Output, Show};

/// The action on settings; without a verb they are listed.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum Verb {
    /// List the documents with their active versions, and which host and entity runs which
    List,
    /// Print a document with its version; durations are text, such as `30s`
    // `--version` means the document's version here, not the program's.
    #[command(disable_version_flag = true)]
    Show {
        /// `breakers`, `lanes`, `limits`, `prompts` or `retry`
        name: String,
        /// The version to print; 0 for the defaults. Default: the active version
        #[arg(long)]
        version: Option<u64>,
        /// Print only the document, as `propose` reads it
        #[arg(long)]
        document: bool,
    },
    /// Make a new version of a document
    Propose {
        /// `breakers`, `lanes`, `limits`, `prompts` or `retry`
        name: String,
        /// A file with the document as JSON; `-` for stdin
        file: PathBuf,
        /// The reason
        #[arg(long)]
        reason: String,
        /// Activate the new version at once
        #[arg(long)]
        activate: bool,
    },
    /// Activate a version
    Activate {
        /// `breakers`, `lanes`, `limits`, `prompts` or `retry`
        name: String,
        /// The version to activate; 0 for the defaults
        #[arg(id = "which", value_name = "VERSION")]
        version: u64,
        /// The reason
        #[arg(long)]
        reason: String,
    },
    /// Activate the version that was active before
    Rollback {
        /// `breakers`, `lanes`, `limits`, `prompts` or `retry`
        name: String,
        /// The reason
        #[arg(long)]
        reason: String,
    },
    /// Print who changed what, when and why
    History {
        /// `breakers`, `lanes`, `limits`, `prompts` or `retry`
        name: String,
    },
    /// Print the differences between two versions
    Diff {
        /// `breakers`, `lanes`, `limits`, `prompts` or `retry`
        name: String,
        /// The first version; 0 for the defaults
        before: u64,
        /// The second version; 0 for the defaults
        after: u64,
    },
}

/// The differences between two versions.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Compared {
    /// The document's name.
    pub name: String,
    /// The first version.
    pub before: u64,
    /// The second version.
    pub after: u64,
    /// The differences, one for each path.
    pub differences: Vec<Difference>,
}

/// The history of a document, oldest change first.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Changes {
    /// The document's name.
    pub name: String,
    /// The active version; 0 for the defaults.
    pub active: u64,
    /// The changes, at most the last 256.
    pub changes: Vec<Explained>,
}

/// A change, with its effect on the document.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Explained {
    /// What was changed, by whom, why and when.
    #[serde(flatten)]
    pub change: Change,
    /// The differences from the version that was active before; `null` when one of the documents is no longer
    /// kept.
    pub differences: Option<Vec<Difference>>,
}

fn version_of(version: u64) -> String {
    match version {
        0 => "the defaults".to_owned(),
        version => format!("version {version}"),
    }
}

/// The text that a version is active.
fn active(version: u64) -> String {
    format!("{} {} active", version_of(version), if version == 0 { "are" } else { "is" })
}

/// A document as indented JSON.
fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string())
}

/// The differences as lines.
fn lines(differences: &[Difference], indent: &str) -> Vec<String> {
    let side = |sign: char, place: &str, value: &Option<Value>| {
        value.as_ref().map(|value| format!("{indent}{sign} {place}: {value}"))
    };
    let both = |each: &Difference| {
        let place = if each.pointer.is_empty() { "/" } else { each.pointer.as_str() };
        [side('-', place, &each.before), side('+', place, &each.after)]
    };
    differences.iter().flat_map(both).flatten().collect()
}

impl Show for Description {
    fn text(&self) -> String {
        let Description { name, active, newest, version, value, proposed, hosts, watchers, .. } = self;
        let mut text = vec![match (version == active, version) {
            (true, version) => format!("{name}: {}", self::active(*version)),
            (false, 0) => format!("{name}: the defaults are not active"),
            (false, version) => format!("{name}: version {version} is not active"),
        }];
        if version != active {
            text.push(format!("  active    {}", version_of(*active)));
        }
        text.push(format!("  newest    {}", version_of(*newest)));
        if let Some(word) = proposed {
            text.push(format!(
                "  proposed  {} by {}: {}",
                word.at.to_rfc3339(),
                word.by,
                one_line(&word.reason)
            ));
        }
        text.push(format!("  watchers  {watchers} entities receive each activation"));
        for host in hosts {
            let problem = if host.problem.is_empty() { "" } else { ", but could not apply it: " };
            text.push(format!(
                "  host      {} runs {}{problem}{}",
                host.host,
                version_of(host.version),
                host.problem
            ));
        }
        text.push(pretty(value));
        text.join("\n")
    }
}

impl Show for Compared {
    fn text(&self) -> String {
        match self.differences.is_empty() {
            true => "nothing differs".to_owned(),
            false => lines(&self.differences, "").join("\n"),
        }
    }
}

impl Show for Changes {
    fn text(&self) -> String {
        let mut text = vec![format!("{}: {}", self.name, active(self.active))];
        for each in &self.changes {
            let Change { action, version, former, word, .. } = &each.change;
            let (when, by, reason) = (word.at.to_rfc3339(), &word.by, one_line(&word.reason));
            text.push(format!(
                "{when}  {action} {}, after {}, by {by}: {reason}",
                version_of(*version),
                version_of(*former)
            ));
            match &each.differences {
                Some(differences) => text.extend(lines(differences, "    ")),
                None => text.push("    the documents are no longer kept".to_owned()),
            }
        }
        text.join("\n")
    }
}

/// Runs the verb.
pub async fn run(client: &Client, arguments: Arguments, output: Output) -> Result<(), Failure> {
    match arguments.verb.unwrap_or(Verb::List) {
        Verb::List => output.show(&client.get(routes::ListSettings, &[]).await?),
        Verb::Show { name, version, document } => {
            let shown = describe(client, &name, version).await?;
            match document {
                true => output.bytes((pretty(&shown.value) + "\n").as_bytes()),
                false => output.show(&shown),
            }
        }
        Verb::Propose { name, file, reason, activate } => {
            let body = NewVersion { value: document(&file).await?, reason, activate };
            changed(&client.send(routes::ProposeSettings, &[id(&name)?.as_str()], &body).await?, output);
        }
        Verb::Activate { name, version, reason } => {
            let body = Activation { version, reason };
            changed(&client.send(routes::ActivateSettings, &[id(&name)?.as_str()], &body).await?, output);
        }
        Verb::Rollback { name, reason } => {
            let body = Rollback { reason };
            changed(&client.send(routes::RollBackSettings, &[id(&name)?.as_str()], &body).await?, output);
        }
        Verb::History { name } => output.show(&history(client, name).await?),
        Verb::Diff { name, before, after } => {
            let value = async |version| Ok::<_, Failure>(describe(client, &name, Some(version)).await?.value);
            let differences = compared(&name, &value(before).await?, &value(after).await?);
            output.show(&Compared { name, before, after, differences });
        }
    }
    Ok(())
}

fn changed(told: &SettingsChanged, output: Output) {
    let SettingsChanged { name, version, active, former } = told;
    let line = match (active, former) {
        (true, Some(former)) if former != version => {
            format!("{name}: {} instead of {}", self::active(*version), version_of(*former))
        }
        (true, _) => format!("{name}: {} already", self::active(*version)),
        (false, _) => format!("{name}: version {version} was made and is not active yet"),
    };
    output.changed(told, &line);
}

/// The description of a document, with its content in a version.
async fn describe(client: &Client, name: &str, version: Option<u64>) -> Result<Description, Failure> {
    client.call(routes::ShowSettings, &[id(name)?.as_str()], &ShowSettings { version }, &()).await
}

/// The differences in meaning of two documents: what one of them leaves out has its default.
fn compared(name: &str, before: &Value, after: &Value) -> Vec<Difference> {
    differences(&settings::filled(name, before), &settings::filled(name, after))
}

async fn document(file: &Path) -> Result<Value, Failure> {
    let path = if file == Path::new("-") { Path::new("/dev/stdin") } else { file };
    let bytes = tokio::fs::read(path).await.map_err(|error| {
        Failure::new("path-missing", format!("reading `{}`: {error}", file.display()))
            .next("name a file that can be read")
            .exit(exit::NOT_FOUND)
    })?;
    serde_json::from_slice(&bytes).map_err(|error| {
        Failure::new("invalid-settings", format!("`{}` is no JSON: {error}", file.display()))
            .next("mend it; `orrery settings show NAME --document` prints the active one")
            .exit(exit::DATA)
    })
}

/// The changes of a document, each with its effect. Documents are read one by one: all of them do not fit
/// into one reply.
async fn history(client: &Client, name: String) -> Result<Changes, Failure> {
    let history = client.get(routes::ShowSettingsHistory, &[id(&name)?.as_str()]).await?;
    let mut known: BTreeMap<u64, Value> = BTreeMap::new();
    let mut changes = Vec::new();
    for change in history.changes {
        let versions = [change.former, change.version];
        for version in versions.into_iter().filter(|_| change.kept) {
            if let Entry::Vacant(missing) = known.entry(version) {
                missing.insert(describe(client, &name, Some(version)).await?.value);
            }
        }
        let documents = known.get(&change.former).zip(known.get(&change.version));
        let differences =
            documents.filter(|_| change.kept).map(|(former, this)| compared(&name, former, this));
        changes.push(Explained { change, differences });
    }
    Ok(Changes { name, active: history.active, changes })
}
