//! `orrery replay`: an entity's state after each event, or its recorded commands decided again.

pub mod against;
mod difference;
pub mod redecide;

use std::path::{Path, PathBuf};

use actors_core::Instance;
use bus_client::{EventQuery, StoredEvent};
use bus_schemas::Hash;
use futures::TryStreamExt;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use self::difference::{Change, between};
use crate::address;
use crate::commands::archive::{self, Archive};
use crate::failure::{Failure, exit};
use crate::output::{Output, Show};
use crate::session::Session;

/// What to replay, and how.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The entity: `<kind>/<key>`, such as `task/order-42`
    #[arg(value_name = "ENTITY", required_unless_present = "all")]
    entity: Option<String>,
    /// The state at this revision instead of the last one
    #[arg(long, value_name = "REVISION", conflicts_with = "redecide")]
    at: Option<u64>,
    /// Show every event, not only the last
    #[arg(long, conflicts_with = "redecide")]
    step: bool,
    /// Show what each event changed instead of the whole state
    #[arg(long, conflicts_with = "redecide")]
    diff: bool,
    /// Decide the recorded commands again and compare what they lead to, byte for byte
    #[arg(long)]
    redecide: bool,
    /// With `--redecide`: every entity
    #[arg(long, requires = "redecide", conflicts_with = "entity")]
    all: bool,
    /// With `--redecide`: not what runs here, but a copy of what is in this backup or data directory
    #[arg(long, value_name = "DIR", requires = "redecide")]
    against: Option<PathBuf>,
    #[command(flatten)]
    archive: archive::Location,
}

impl Arguments {
    /// The backup or data directory that was named.
    pub fn against(&self) -> Option<&Path> {
        self.against.as_deref()
    }
}

/// The state of an entity after one of its events.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Step {
    /// The entity: `<kind>/<key>`.
    pub entity: String,
    /// The revision, from 1.
    pub revision: u64,
    /// What happened.
    #[serde(rename = "type")]
    pub event_type: String,
    /// When, RFC 3339.
    pub time: String,
    /// The state after it; none with `--diff`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<Value>,
    /// What it changed; none without `--diff`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changes: Option<Vec<Change>>,
}

impl Show for Step {
    fn text(&self) -> String {
        let mut text = format!("{}@{}  {}  {}", self.entity, self.revision, self.time, self.event_type);
        for change in self.changes.iter().flatten() {
            text.push_str(&format!("\n  {}", change.text()));
        }
        if let Some(state) = &self.state {
            let state = serde_json::to_string_pretty(state).expect("a state has string keys");
            text.push('\n');
            text.push_str(&state);
        }
        text
    }
}

/// Replays one entity, or decides again.
pub async fn run(session: &Session, arguments: Arguments, output: Output) -> Result<(), Failure> {
    let archive = arguments.archive.open(&session.config)?;
    within(session, archive, arguments, output).await
}

/// The same with an archive that is not where the session's would be.
async fn within(
    session: &Session,
    archive: Archive,
    arguments: Arguments,
    output: Output,
) -> Result<(), Failure> {
    let entity = arguments.entity.as_deref().map(address::known).transpose()?;
    if arguments.redecide {
        return redecide::run(session, &archive, entity, output).await;
    }
    let entity = entity.expect("clap asks for an entity where nothing else is said");
    let mut instance = actors_logic::registry().make(&entity.kind).expect("its kind is known");
    let subjects = vec![session.bus.subjects().event(&entity)];
    let query = EventQuery { subjects, from: 0 };
    let mut events = archive::events(&session.bus, &archive, query, false).await?;
    let (mut hash, mut before, mut last) = (Hash::default(), Value::Null, None);
    let upto = arguments.at.unwrap_or(u64::MAX);
    while let Some(stored) = events.try_next().await.map_err(unreadable)? {
        if stored.event.revision.0 > upto {
            break;
        }
        // Nothing was there before the first event.
        if arguments.diff && last.is_some() {
            before = instance.state();
        }
        hash = fold(&mut *instance, &stored, hash)?;
        if arguments.step {
            output.show(&step(&stored, &before, &instance.state(), &arguments));
        }
        last = Some(stored);
    }
    let last = last.ok_or_else(|| {
        missing(match arguments.at {
            Some(at) => format!("`{entity}` has no events up to revision {at}"),
            None => format!("`{entity}` has no events"),
        })
    })?;
    let found = last.event.revision.0;
    if arguments.at.is_some_and(|at| at > found) {
        return Err(missing(format!("`{entity}` has revisions 1 to {found}, not {upto}")));
    }
    if !arguments.step {
        output.show(&step(&last, &before, &instance.state(), &arguments));
    }
    Ok(())
}

/// Damage is no outage: the exit code tells one from the other.
fn unreadable(error: bus_client::Error) -> Failure {
    let damaged = matches!(error, bus_client::Error::Event { .. } | bus_client::Error::Blob { .. });
    let failure = Failure::from(error);
    if damaged { failure.exit(exit::DATA) } else { failure }
}

fn missing(message: String) -> Failure {
    Failure::new("entity-not-found", message)
        .next("`orrery events` shows what there is")
        .exit(exit::NOT_FOUND)
}

fn step(stored: &StoredEvent, before: &Value, after: &Value, arguments: &Arguments) -> Step {
    Step {
        entity: stored.entity.to_string(),
        revision: stored.event.revision.0,
        event_type: stored.event.event_type.to_string(),
        time: stored.time.clone(),
        state: (!arguments.diff).then(|| after.clone()),
        changes: arguments.diff.then(|| between(before, after)),
    }
}

/// Folds one event after checking that it is the next link of the chain.
fn fold(instance: &mut dyn Instance, stored: &StoredEvent, before: Hash) -> Result<Hash, Failure> {
    let event = &stored.event;
    let linked = before.link(event.revision, &event.event_type, event.schema, &event.body);
    if event.revision != instance.revision().next() || linked != event.hash {
        return Err(Failure::new(
            "chain-broken",
            format!("event {} of `{}` does not follow the one before it", event.revision, stored.entity),
        )
        .next("`orrery verify --all` finds what else is damaged; the log may still have the event")
        .exit(exit::DATA));
    }
    instance.replay(event).map_err(|error| {
        Failure::of("event-unreadable", &error).next("use the version that wrote it").exit(exit::DATA)
    })?;
    Ok(linked)
}
