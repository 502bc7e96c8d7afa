//! Replay: an entity's state after each event, its recorded commands decided again, or the agents of a task run
//! again.

mod difference;
pub mod effects;
pub mod redecide;

use actors_core::Instance;
use bus_client::{Bus, EventQuery, StoredEvent};
use bus_schemas::{EntityAddress, Hash, Revision, upcast};
use futures::TryStreamExt;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

pub use self::difference::Change;
use self::difference::between;
use crate::archive::{self, Archive};
use crate::{Advice, Sort, history};

/// Why a replay failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The entity has no events.
    #[error("`{0}` has no events")]
    NotFound(EntityAddress),
    /// The entity has no events up to this revision.
    #[error("`{0}` has no events up to revision {1}")]
    NoneUpTo(EntityAddress, u64),
    /// The log has no commands to decide again.
    #[error("the log has no commands for `{0}`")]
    NoCommands(EntityAddress),
    /// The entity has no such revision.
    #[error("`{entity}` has revisions 1 to {last}, not {at}")]
    NoRevision { entity: EntityAddress, last: u64, at: u64 },
    /// An event does not continue the chain of hashes.
    #[error("event {revision} of `{entity}` does not follow the one before it")]
    Broken { entity: EntityAddress, revision: Revision },
    /// The entity cannot read an event.
    #[error("replaying `{entity}`")]
    Event { entity: EntityAddress, source: upcast::Error },
    /// An event, or a large body, is damaged.
    #[error(transparent)]
    Damaged(bus_client::Error),
    /// Commands lead to another result than the recorded one.
    #[error("{0} entities decide otherwise today")]
    Diverged(u64),
    /// Agents ask for something else than the recorded effects, or decide otherwise.
    #[error("{0} attempts differ from their record")]
    Drifted(u64),
    /// An error of reading logs, stream or archive.
    #[error(transparent)]
    History(#[from] history::Error),
}

impl From<bus_client::Error> for Error {
    fn from(error: bus_client::Error) -> Self {
        match error {
            bus_client::Error::Event { .. } | bus_client::Error::Blob { .. } => Self::Damaged(error),
            error => Self::History(error.into()),
        }
    }
}

impl Error {
    /// What to tell whoever meets the error.
    pub fn advice(&self) -> Advice {
        match self {
            Self::NotFound(_) | Self::NoneUpTo(..) | Self::NoCommands(_) | Self::NoRevision { .. } => {
                Advice::new("entity-not-found", Sort::NotFound, "`orrery events` shows what there is")
            }
            Self::Broken { .. } => Advice::new(
                "chain-broken",
                Sort::Data,
                "`orrery verify --all` finds what else is damaged; the log may still have the event",
            ),
            Self::Event { .. } => {
                Advice::new("event-unreadable", Sort::Data, "use the version that wrote it")
            }
            Self::Damaged(error) => Advice { sort: Sort::Data, ..error.into() },
            Self::Diverged(_) => Advice::new(
                "decisions-diverge",
                Sort::No,
                "keep the version that wrote the log, or make the change one of a new event or schema version",
            ),
            Self::Drifted(_) => Advice::new(
                "replay-drifted",
                Sort::No,
                "run the version that did the work, or see what the change does with `--with`",
            ),
            Self::History(error) => error.advice(),
        }
    }
}

/// What to replay, and how.
#[derive(Debug)]
pub struct Request {
    /// The entity, of a known kind.
    pub entity: EntityAddress,
    /// Show the state at this revision instead of the last one.
    pub at: Option<u64>,
    /// Show every event, not only the last.
    pub step: bool,
    /// Show what each event changed instead of the whole state.
    pub diff: bool,
}

/// The state of an entity after one of its events.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Step {
    /// The entity: `<kind>/<key>`.
    pub entity: String,
    /// The revision, from 1.
    pub revision: u64,
    /// The event's type.
    #[serde(rename = "type")]
    pub event_type: String,
    /// The time of the event, in RFC 3339.
    pub time: String,
    /// The state after the event; absent with `--diff`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<Value>,
    /// What the event changed; absent without `--diff`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changes: Option<Vec<Change>>,
}

/// Replays one entity; `show` receives every requested step.
pub async fn run(
    bus: &Bus,
    archive: &Archive,
    request: &Request,
    mut show: impl FnMut(Step),
) -> Result<(), Error> {
    let Request { entity, at, step: steps, diff } = request;
    let unknown = || Error::NotFound(entity.clone());
    let mut instance = actors_logic::registry().make(&entity.kind).ok_or_else(unknown)?;
    let query = EventQuery { subjects: vec![bus.subjects().event(entity)], from: 0 };
    let mut events = archive::events(bus, archive, query, false).await?;
    let (mut hash, mut before, mut last) = (Hash::default(), Value::Null, None);
    while let Some(stored) = events.try_next().await? {
        if at.is_some_and(|at| stored.event.revision.0 > at) {
            break;
        }
        // Before the first event there was no state.
        if *diff && last.is_some() {
            before = instance.state();
        }
        hash = fold(&mut *instance, &stored, hash)?;
        if *steps {
            show(step(&stored, &before, &instance.state(), *diff));
        }
        last = Some(stored);
    }
    let last = last.ok_or_else(|| match at {
        Some(at) => Error::NoneUpTo(entity.clone(), *at),
        None => unknown(),
    })?;
    let found = last.event.revision.0;
    if let Some(at) = at.filter(|at| *at > found) {
        return Err(Error::NoRevision { entity: entity.clone(), last: found, at });
    }
    if !steps {
        show(step(&last, &before, &instance.state(), *diff));
    }
    Ok(())
}

fn step(stored: &StoredEvent, before: &Value, after: &Value, diff: bool) -> Step {
    Step {
        entity: stored.entity.to_string(),
        revision: stored.event.revision.0,
        event_type: stored.event.event_type.to_string(),
        time: stored.time.clone(),
        state: (!diff).then(|| after.clone()),
        changes: diff.then(|| between(before, after)),
    }
}

/// Folds an event after checking that it continues the chain of hashes.
fn fold(instance: &mut dyn Instance, stored: &StoredEvent, before: Hash) -> Result<Hash, Error> {
    let event = &stored.event;
    let linked = before.link(event.revision, &event.event_type, event.schema, &event.body);
    let entity = stored.entity.clone();
    if event.revision != instance.revision().next() || linked != event.hash {
        return Err(Error::Broken { entity, revision: event.revision });
    }
    instance.replay(event).map_err(|source| Error::Event { entity, source })?;
    Ok(linked)
}
