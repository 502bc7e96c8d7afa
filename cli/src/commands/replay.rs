//! `orrery replay`: an entity's state after each event, its recorded commands decided again, or the agents of a task
//! run again.

pub mod against;
pub mod effects;

use std::path::{Path, PathBuf};

use orrery_storage::archive::Archive;
use orrery_storage::replay::redecide::{self, Divergence, Summary};
use orrery_storage::replay::{self, Request, Step};

use self::effects::{Change, Effects};
use super::archive::Location;
use crate::address;
use crate::bar::Bar;
use crate::failure::Failure;
use crate::output::{Output, Show};
use crate::session::Session;

/// What to replay, and how.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The entity: `<kind>/<key>`, such as `task/order-42`; with `--effects` also a task's key
    #[arg(value_name = "ENTITY", required_unless_present = "all")]
    entity: Option<String>,
    /// Show the state at this revision instead of the last one
    #[arg(long, value_name = "REVISION", conflicts_with = "again")]
    at: Option<u64>,
    /// Show every event, not only the last
    #[arg(long, conflicts_with = "again")]
    step: bool,
    /// Show what each event changed instead of the whole state
    #[arg(long, conflicts_with = "again")]
    diff: bool,
    /// Decide the recorded commands again and compare the results, byte for byte
    #[arg(long, group = "again")]
    redecide: bool,
    /// Run the agents of a task, and of all tasks below it, again with the results of their steps and effects, and
    /// compare what they ask for and decide; nothing is written, and no network is used
    #[arg(long, value_name = "SOURCE", value_enum, group = "again")]
    effects: Option<Effects>,
    /// With `--effects`: make a change, run the steps that it changes, and show the decisions that differ; no effect is
    /// done again. `model=PROVIDER` or `model=PROVIDER/MODEL` asks that model;
    /// `prompt=NAME/VERSION` uses that version; `config=FILE` takes models and sandbox
    /// from another configuration file
    #[arg(long = "with", value_name = "CHANGE", requires = "effects")]
    changes: Vec<Change>,
    /// With `--redecide`: every entity
    #[arg(long, requires = "redecide", conflicts_with = "entity")]
    all: bool,
    /// With `--redecide` or `--effects`: read a copy of this backup or data directory instead of the running
    /// installation
    #[arg(long, value_name = "DIR", requires = "again")]
    against: Option<PathBuf>,
    #[command(flatten)]
    archive: Location,
}

impl Arguments {
    /// The backup or data directory given with `--against`.
    pub fn against(&self) -> Option<&Path> {
        self.against.as_deref()
    }
}

impl Show for Step {
    fn text(&self) -> String {
        let mut text = format!("{}@{}  {}  {}", self.entity, self.revision, self.time, self.event_type);
        for change in self.changes.iter().flatten() {
            text.push_str(&format!("\n  {}", change));
        }
        if let Some(state) = &self.state {
            let state = serde_json::to_string_pretty(state).expect("a state has string keys");
            text.push('\n');
            text.push_str(&state);
        }
        text
    }
}

impl Show for Divergence {
    fn text(&self) -> String {
        let Self { entity, revision, command, place, what, recorded, decided } = self;
        format!(
            "{entity}@{revision}: {what} of command {command} (record {place})\n  recorded: {recorded}\n  today:    {decided}"
        )
    }
}

impl Show for Summary {
    fn text(&self) -> String {
        let verdict = match self.diverged {
            0 => "all lead to the same".to_owned(),
            many => format!("{many} entities diverge"),
        };
        let skipped = match self.skipped {
            0 => String::new(),
            many => format!("; {many} more could not be compared"),
        };
        format!("{} commands decided again: {verdict}{skipped}", self.commands)
    }
}

/// Runs the verb.
pub async fn run(session: &Session, arguments: Arguments, output: Output) -> Result<(), Failure> {
    let archive = arguments.archive.open(&session.config)?;
    within(session, archive, arguments, output).await
}

/// Runs the verb with an archive other than the session's own.
async fn within(
    session: &Session,
    archive: Archive,
    arguments: Arguments,
    output: Output,
) -> Result<(), Failure> {
    let Arguments { at, step, diff, .. } = arguments;
    if let (Some(Effects::Recorded), Some(task)) = (arguments.effects, &arguments.entity) {
        return effects::again(session, &archive, task, &arguments.changes, output).await;
    }
    let entity = arguments.entity.as_deref().map(address::known).transpose()?;
    if arguments.redecide {
        let mut show = |divergence: Divergence| output.show(&divergence);
        let (only, bar) = (entity.as_ref(), Bar::new(output));
        let summary = redecide::run(&session.bus, &archive, only, &bar, &mut show).await?;
        output.show(&summary);
        return Ok(summary.expect_same()?);
    }
    let entity = entity.expect("clap asks for an entity where nothing else is said");
    let request = Request { entity, at, step, diff };
    Ok(replay::run(&session.bus, &archive, &request, |step| output.show(&step)).await?)
}
