//! `orrery events`: past events in order, and new ones as they come.

use std::collections::BTreeSet;

use bus_client::events::Cursor;
use bus_client::{EventQuery, StoredEvent};
use bus_schemas::text::one_line;
use bus_schemas::{EntityAddress, Kind, Timestamp, upcast};
use futures::{Stream, StreamExt};
use orrery_storage::archive;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::address;
use crate::commands::archive::Location;
use crate::commands::up::interrupted;
use crate::failure::{Failure, exit};
use crate::output::{Output, Show};
use crate::progress;
use crate::session::Session;

/// Characters of an event's body shown in a line.
const BODY_CHARS_MAX: usize = 120;

/// The filter for events.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Only events of entities of this kind, such as `task`
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// Only events of the entity with this key; needs `--kind`
    #[arg(long, value_name = "KEY", requires = "kind")]
    key: Option<String>,
    /// Only events of this task and its descendants
    #[arg(long, value_name = "KEY", conflicts_with_all = ["kind", "key"])]
    tree: Option<String>,
    /// Only events of this type, such as `completed`; may be repeated
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    /// Start at a time (RFC 3339), or after the event with the cursor `<partition>.<record>.<index>` in its
    /// partition
    #[arg(long, value_name = "TIME|CURSOR", value_parser = From::parse)]
    from: Option<From>,
    /// Only events up to this time (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = time)]
    to: Option<Timestamp>,
    /// Print at most this many events
    #[arg(long, value_name = "COUNT")]
    limit: Option<u64>,
    /// Follow new events until Ctrl-C
    #[arg(long, short)]
    follow: bool,
    #[command(flatten)]
    archive: Location,
}

/// The position to start at.
#[derive(Debug, Clone, Copy)]
enum From {
    Time(Timestamp),
    Behind(Cursor),
}

impl From {
    fn parse(text: &str) -> Result<Self, String> {
        match text.parse::<Cursor>() {
            Ok(cursor) => Ok(Self::Behind(cursor)),
            Err(_) => time(text).map(Self::Time),
        }
    }
}

fn time(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse_rfc3339(text).ok_or_else(|| "neither an RFC 3339 time nor a cursor".to_owned())
}

/// An event as it is printed.
#[derive(Debug, Serialize, JsonSchema)]
pub struct EventRow {
    /// The event's position in the log: `<partition>.<record>.<index>`.
    pub cursor: String,
    /// The time of the decision, RFC 3339.
    pub time: String,
    /// The entity of the event: `<kind>/<key>`.
    pub entity: String,
    /// The entity's revision after the event, from 1.
    pub revision: u64,
    /// The event's type.
    #[serde(rename = "type")]
    pub event_type: String,
    /// The schema version of the body.
    pub schema: u16,
    /// The chain hash up to and including the event: 64 hexadecimal digits.
    pub hash: String,
    /// The id of the command that led to the event: a UUID.
    pub cause: Option<String>,
    /// The id shared by everything that one request caused: a UUID.
    pub correlation: Option<String>,
    /// The W3C trace context; `null` when the command was not traced.
    pub traceparent: Option<String>,
    /// The body of the event.
    pub body: Value,
}

impl EventRow {
    /// Reads an event of the stream.
    pub fn new(stored: &StoredEvent) -> Self {
        let event = &stored.event;
        Self {
            cursor: stored.cursor.to_string(),
            time: stored.time.clone(),
            entity: stored.entity.to_string(),
            revision: event.revision.0,
            event_type: event.event_type.to_string(),
            schema: event.schema,
            hash: event.hash.to_hex(),
            cause: stored.cause.map(|id| id.to_string()),
            correlation: stored.correlation.map(|id| id.to_string()),
            traceparent: stored.traceparent.clone(),
            // A body that is not JSON is shown as text: this verb must not fail on damaged events.
            body: serde_json::from_slice(&event.body)
                .unwrap_or_else(|_| String::from_utf8_lossy(&event.body).into_owned().into()),
        }
    }

    fn detail(&self) -> String {
        let task = self.entity.starts_with("task/");
        let read = || upcast::read(&self.event_type, self.schema, &serde_json::to_vec(&self.body).ok()?).ok();
        if task && let Some(event) = read() {
            return progress::detail(&event);
        }
        let mut body = readable(self.body.clone());
        if let Value::Object(fields) = &mut body {
            fields.remove("type");
            // The line already begins with the time.
            fields.remove("at");
        }
        if body.as_object().is_some_and(serde_json::Map::is_empty) { String::new() } else { body.to_string() }
    }
}

/// A body for people: times as RFC 3339 instead of milliseconds since 1970.
fn readable(body: Value) -> Value {
    let is_moment = |name: &str| {
        ["at", "due", "deadline", "next", "since", "until"].contains(&name) || name.ends_with("_at")
    };
    match body {
        Value::Object(fields) => {
            let readable = fields.into_iter().map(|(name, value)| match value.as_u64() {
                Some(moment) if is_moment(&name) => (name, Timestamp(moment).to_rfc3339().into()),
                _ => (name, readable(value)),
            });
            Value::Object(readable.collect())
        }
        Value::Array(items) => items.into_iter().map(readable).collect(),
        other => other,
    }
}

impl Show for EventRow {
    fn text(&self) -> String {
        let detail: String = one_line(&self.detail()).chars().take(BODY_CHARS_MAX).collect();
        let what = format!("{}@{}", self.entity, self.revision);
        format!("{}  {what}  {}  {detail}", self.time, self.event_type).trim_end().to_owned()
    }
}

/// Runs the verb.
pub async fn run(session: &Session, arguments: Arguments, output: Output) -> Result<(), Failure> {
    let entity = entity(&arguments)?;
    check(session, &arguments, entity.as_ref())?;
    let query = EventQuery { subjects: subjects(session, &arguments, entity.as_ref())?, from: 0 };
    let archive = arguments.archive.open(&session.config)?;
    if !arguments.follow {
        let events = archive::events(&session.bus, &archive, query, false).await?;
        let seen = print(events, &arguments, output).await?;
        return match entity {
            Some(entity) if !seen => Err(unknown(&entity)),
            _ => Ok(()),
        };
    }
    let events = archive::events(&session.bus, &archive, query, true).await?;
    tokio::select! {
        ended = print(events, &arguments, output) => ended.map(drop),
        () = interrupted() => Err(Failure::new("interrupted", "events go on")
            .next("`orrery events --follow --from CURSOR` begins behind the cursor of the last one")
            .exit(exit::INTERRUPTED)),
    }
}

/// The entity whose events are wanted; `None` for the events of many.
fn entity(arguments: &Arguments) -> Result<Option<EntityAddress>, Failure> {
    match (&arguments.tree, &arguments.kind, &arguments.key) {
        (Some(key), ..) => address::task(key).map(Some),
        (_, Some(kind), Some(key)) => address::entity(&format!("{kind}/{key}")).map(Some),
        _ => Ok(None),
    }
}

/// Refuses a filter that cannot match: an empty result would look as if nothing had happened.
fn check(session: &Session, arguments: &Arguments, entity: Option<&EntityAddress>) -> Result<(), Failure> {
    if let Some(kind) = &arguments.kind {
        address::known_kind(kind)?;
    }
    check_types(arguments)?;
    let Some(From::Behind(cursor)) = arguments.from else { return Ok(()) };
    let partitions = session.bus.topology().partitions;
    let wrong = |why: String| {
        Err(Failure::new("invalid-cursor", why)
            .next("cursors are printed by `orrery events --json`")
            .exit(exit::USAGE))
    };
    if cursor.partition.0 >= partitions {
        return wrong(format!(
            "`{cursor}` is of partition {}, and there are 0 to {}",
            cursor.partition,
            partitions - 1
        ));
    }
    match entity.map(|entity| (entity, entity.partition(partitions))) {
        Some((entity, home)) if home != cursor.partition => {
            wrong(format!("`{cursor}` is no event of `{entity}`: its events lie in partition {home}"))
        }
        _ => Ok(()),
    }
}

/// Refuses an unknown event type, or one that the given kind does not have.
fn check_types(arguments: &Arguments) -> Result<(), Failure> {
    if arguments.types.is_empty() {
        return Ok(());
    }
    let kind = arguments.kind.as_deref().or(arguments.tree.as_ref().map(|_| "task"));
    let known = event_types(kind);
    let Some(unknown) = arguments.types.iter().find(|name| !known.contains(*name)) else { return Ok(()) };
    let of = kind.map(|kind| format!(" of a `{kind}`")).unwrap_or_default();
    let next = match kind {
        Some(_) => format!("there are {}", known.into_iter().collect::<Vec<_>>().join(", ")),
        None => "with `--kind` the events of that kind are listed; docs/protocol.md explains all".to_owned(),
    };
    Err(Failure::new("unknown-event-type", format!("no event{of} is called `{unknown}`"))
        .next(next)
        .exit(exit::USAGE))
}

/// All event types, or those of a kind, from their schemas.
fn event_types(kind: Option<&str>) -> BTreeSet<String> {
    let wanted = kind.map_or_else(|| "events/".to_owned(), |kind| format!("events/{kind}."));
    let schemas = bus_schemas::schemas::documents().into_iter().filter(|(path, _)| path.starts_with(&wanted));
    let variants = schemas.flat_map(|(_, schema)| schema["oneOf"].as_array().cloned().unwrap_or_default());
    variants.filter_map(|event| event["properties"]["type"]["const"].as_str().map(str::to_owned)).collect()
}

fn unknown(entity: &EntityAddress) -> Failure {
    let (code, next) = match entity.kind.as_str() {
        "task" => {
            ("task-not-found", "`orrery tasks list` shows what there is; `--follow` waits for what comes")
        }
        _ => ("entity-not-found", "`orrery events` shows what there is; `--follow` waits for what comes"),
    };
    Failure::new(code, format!("`{entity}` has no events")).next(next).exit(exit::NOT_FOUND)
}

fn subjects(
    session: &Session,
    arguments: &Arguments,
    entity: Option<&EntityAddress>,
) -> Result<Vec<String>, Failure> {
    let subjects = session.bus.subjects();
    match (entity, &arguments.kind) {
        (Some(entity), _) if arguments.tree.is_some() => Ok(subjects.event_tree(entity).to_vec()),
        (Some(entity), _) => Ok(vec![subjects.event(entity)]),
        (None, Some(kind)) => {
            let kind = Kind::parse(kind).expect("it is one of those that exist");
            Ok(vec![subjects.events(Some(&kind))])
        }
        (None, None) => Ok(Vec::new()),
    }
}

/// Prints the events that match. Returns whether the entity has any events at all.
async fn print(
    mut events: impl Stream<Item = Result<StoredEvent, bus_client::Error>> + Unpin,
    arguments: &Arguments,
    output: Output,
) -> Result<bool, Failure> {
    let mut seen = false;
    let mut left = arguments.limit.unwrap_or(u64::MAX);
    let mut unreadable = None;
    while left > 0
        && let Some(stored) = events.next().await
    {
        seen = true;
        let stored = match stored {
            Ok(stored) => stored,
            // One damaged message must not hide the others; the exit code reports it.
            Err(error @ bus_client::Error::Event { .. }) => {
                output.say(&format!("skipping: {error}"));
                unreadable = Some(error);
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        if wanted(&stored, arguments) {
            output.show(&EventRow::new(&stored));
            left -= 1;
        }
    }
    unreadable.map_or(Ok(seen || left == 0), |error| Err(Failure::from(error).exit(exit::DATA)))
}

fn wanted(stored: &StoredEvent, arguments: &Arguments) -> bool {
    let at = || Timestamp::parse_rfc3339(&stored.time).unwrap_or(Timestamp(0));
    let begun = match arguments.from {
        None => true,
        Some(From::Time(from)) => at() >= from,
        Some(From::Behind(cursor)) => stored.cursor.partition == cursor.partition && stored.cursor > cursor,
    };
    begun
        && arguments.to.is_none_or(|to| at() <= to)
        && (arguments.types.is_empty() || arguments.types.iter().any(|name| *name == stored.event.event_type))
}
