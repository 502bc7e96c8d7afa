//! `orrery config get|set|activate|rollback|history|diff`: settings that change while the system runs.

mod running;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};

use bus_schemas::Key;
use bus_schemas::commands::config::{Active, Change, Command, Description, History, Proposed, Query};
use bus_schemas::settings::{self, Difference, differences};
use bus_schemas::views::silent::Silent;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::asked::{self, Asked};
use crate::commands::task::one_line;
use crate::failure::{Failure, exit};
use crate::gateway::read;
use crate::output::{Output, Show};
use crate::session::Session;
use crate::who::Who;

use running::Running;

/// What to do with settings that change while the system runs.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Verb {
    /// Print a document with its version; durations are text, such as `30s`
    // `--version` means the document's here, and not the program's.
    #[command(disable_version_flag = true)]
    Get {
        /// `breakers`, `lanes`, `limits` or `retry`
        name: String,
        /// Another version than the one that holds; 0 for the defaults
        #[arg(long)]
        version: Option<u64>,
        /// The document alone, to be changed and given to `set`
        #[arg(long)]
        document: bool,
    },
    /// Make a new version of a document
    Set {
        /// `breakers`, `lanes`, `limits` or `retry`
        name: String,
        /// A file with the document as JSON; `-` is stdin
        file: PathBuf,
        /// Why
        #[arg(long)]
        reason: String,
        /// Let it hold at once
        #[arg(long)]
        activate: bool,
        #[command(flatten)]
        who: Who,
    },
    /// Let a version hold instead of the one that does
    Activate {
        /// `breakers`, `lanes`, `limits` or `retry`
        name: String,
        /// Which; 0 for the defaults
        #[arg(id = "which", value_name = "VERSION")]
        version: u64,
        /// Why
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        who: Who,
    },
    /// Let the version hold again that held before
    Rollback {
        /// `breakers`, `lanes`, `limits` or `retry`
        name: String,
        /// Why
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        who: Who,
    },
    /// Print who changed what, when and why
    History {
        /// `breakers`, `lanes`, `limits` or `retry`
        name: String,
    },
    /// Print what differs between two versions
    Diff {
        /// `breakers`, `lanes`, `limits` or `retry`
        name: String,
        /// The one; 0 for the defaults
        before: u64,
        /// The other
        after: u64,
    },
    /// For `show --versions`
    #[command(skip)]
    Versions,
}

/// Settings, and the document of one version of them.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Shown(pub Description);

/// What came of a change.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Told {
    /// The settings.
    pub name: String,
    /// The version that was made, or that holds now; 0 for the defaults.
    pub version: u64,
    /// Whether it holds.
    pub active: bool,
    /// The version that held before; none where nothing was activated.
    pub former: Option<u64>,
}

/// What differs between two versions.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Compared {
    /// The settings.
    pub name: String,
    /// The one version.
    pub before: u64,
    /// The other.
    pub after: u64,
    /// Place by place.
    pub differences: Vec<Difference>,
}

/// What was done to settings, oldest first.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Changes {
    /// The settings.
    pub name: String,
    /// The version that holds; 0 for the defaults.
    pub active: u64,
    /// The changes; the last 256.
    pub changes: Vec<Explained>,
}

/// A change with what it did to the document.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Explained {
    /// What, by whom, why and when.
    #[serde(flatten)]
    pub change: Change,
    /// What differs from the version that held before; none where a document is no longer kept.
    pub differences: Option<Vec<Difference>>,
}

/// Every name with what holds, and who runs it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Versions {
    /// By name.
    pub settings: Vec<Running>,
    /// Lanes, breakers and settings that did not answer.
    pub silent: Vec<Silent>,
}

fn version_of(version: u64) -> String {
    match version {
        0 => "the defaults".to_owned(),
        version => format!("version {version}"),
    }
}

/// That a version holds.
fn holding(version: u64) -> String {
    format!("{} {}", version_of(version), if version == 0 { "hold" } else { "holds" })
}

/// A document as a person reads it.
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

impl Show for Shown {
    fn text(&self) -> String {
        let Description { name, active, newest, version, value, proposed, hosts, watchers, .. } = &self.0;
        let mut text = vec![match (version == active, version) {
            (true, version) => format!("{name}: {}", holding(*version)),
            (false, 0) => format!("{name}: the defaults do not hold"),
            (false, version) => format!("{name}: version {version} does not hold"),
        }];
        if version != active {
            text.push(format!("  holds     {}", version_of(*active)));
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
        text.push(format!("  told      {watchers} entities at each activation"));
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

impl Show for Told {
    fn text(&self) -> String {
        let Self { name, version, active, former } = self;
        match (active, former) {
            (true, Some(former)) if former != version => {
                format!("{name}: {} instead of {}", holding(*version), version_of(*former))
            }
            (true, _) => format!("{name}: {} already", holding(*version)),
            (false, _) => format!("{name}: version {version} is made and does not hold yet"),
        }
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
        let mut text = vec![format!("{}: {}", self.name, holding(self.active))];
        for each in &self.changes {
            let Change { deed, version, former, word, .. } = &each.change;
            let (when, by, reason) = (word.at.to_rfc3339(), &word.by, one_line(&word.reason));
            text.push(format!(
                "{when}  {deed} {}, after {}, by {by}: {reason}",
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

/// Does it.
pub async fn run(session: &Session, verb: Verb, output: Output) -> Result<(), Failure> {
    match verb {
        Verb::Get { name, version, document } => {
            let shown = describe(session, &name, version).await?;
            match document {
                true => output.bytes((pretty(&shown.value) + "\n").as_bytes()),
                false => output.show(&Shown(shown)),
            }
        }
        Verb::Set { name, file, reason, activate, who } => {
            output.show(&set(session, name, &file, (reason, who.name()), activate).await?);
        }
        Verb::Activate { name, version, reason, who } => {
            let told = tell(session, name, &Command::Activate { version, reason, by: who.name() }).await?;
            output.show(&told);
        }
        Verb::Rollback { name, reason, who } => {
            output.show(&tell(session, name, &Command::Rollback { reason, by: who.name() }).await?);
        }
        Verb::History { name } => output.show(&history(session, name).await?),
        Verb::Diff { name, before, after } => {
            let value =
                async |version| Ok::<_, Failure>(describe(session, &name, Some(version)).await?.value);
            let differences = compared(&name, &value(before).await?, &value(after).await?);
            output.show(&Compared { name, before, after, differences });
        }
        Verb::Versions => {
            output.show(&versions(session).await?);
        }
    }
    Ok(())
}

/// The settings, with the document of a version.
async fn describe(session: &Session, name: &str, version: Option<u64>) -> Result<Description, Failure> {
    session.query(&Key::parse(name)?, &Query::Describe { version }).await
}

/// Every name with what holds, and who runs it.
async fn versions(session: &Session) -> Result<Versions, Failure> {
    session.expect_host().await?;
    let names: Vec<Key> = settings::names().map(Key::parse).collect::<Result<_, _>>()?;
    let Asked { answers, mut silent } =
        asked::all(session, names, &Query::Describe { version: None }).await?;
    let described = answers.into_iter().map(|(_, described)| described).collect();
    let (settings, quiet) = running::of(session, described).await?;
    silent.extend(quiet);
    Ok(Versions { settings, silent })
}

/// What differs in what two documents mean: whatever one of them leaves out has its default.
fn compared(name: &str, before: &Value, after: &Value) -> Vec<Difference> {
    differences(&settings::filled(name, before), &settings::filled(name, after))
}

/// Lets a version hold.
async fn tell(session: &Session, name: String, command: &Command) -> Result<Told, Failure> {
    let active: Active = read(session.ask(&Key::parse(&name)?, command).await?.1)?;
    Ok(Told { name, version: active.version, active: true, former: Some(active.former) })
}

async fn set(
    session: &Session,
    name: String,
    file: &Path,
    (reason, by): (String, String),
    activate: bool,
) -> Result<Told, Failure> {
    let value = document(file).await?;
    let propose = Command::Propose { value, reason: reason.clone(), by: by.clone() };
    let made: Proposed = read(session.ask(&Key::parse(&name)?, &propose).await?.1)?;
    if !activate {
        return Ok(Told { name, version: made.version, active: false, former: None });
    }
    tell(session, name, &Command::Activate { version: made.version, reason, by }).await
}

async fn document(file: &Path) -> Result<Value, Failure> {
    let path = if file == Path::new("-") { Path::new("/dev/stdin") } else { file };
    let bytes = tokio::fs::read(path).await.map_err(|error| {
        Failure::new("path-missing", format!("reading `{}`: {error}", file.display()))
            .next("name a file that can be read")
            .exit(exit::NOT_FOUND)
    })?;
    serde_json::from_slice(&bytes).map_err(|error| {
        Failure::new("invalid-config", format!("`{}` is no JSON: {error}", file.display()))
            .next("mend it; `orrery config get NAME --document` prints what holds")
            .exit(exit::DATA)
    })
}

/// What was done, with what each change did to the document. Documents are asked for one by one: all
/// of them do not fit into one answer.
async fn history(session: &Session, name: String) -> Result<Changes, Failure> {
    let history: History = session.query(&Key::parse(&name)?, &Query::History).await?;
    let mut known: BTreeMap<u64, Value> = BTreeMap::new();
    let mut changes = Vec::new();
    for change in history.changes {
        let versions = [change.former, change.version];
        for version in versions.into_iter().filter(|_| change.kept) {
            if let Entry::Vacant(missing) = known.entry(version) {
                missing.insert(describe(session, &name, Some(version)).await?.value);
            }
        }
        let documents = known.get(&change.former).zip(known.get(&change.version));
        let differences =
            documents.filter(|_| change.kept).map(|(former, this)| compared(&name, former, this));
        changes.push(Explained { change, differences });
    }
    Ok(Changes { name, active: history.active, changes })
}
