//! `orrery events`: what happened, in order; as it was, or as it comes.

use bus_client::events::Cursor;
use bus_client::{EventQuery, StoredEvent};
use bus_schemas::{Kind, Timestamp, upcast};
use futures::{Stream, StreamExt};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::address;
use crate::commands::up::interrupted;
use crate::failure::{Failure, exit};
use crate::output::{Output, Show};
use crate::progress;
use crate::session::Session;

/// Characters of a body that a line shows.
const BODY_CHARS_MAX: usize = 120;

/// Which events.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Only events of this kind of entity, such as `task`
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// Only events of this key; needs `--kind`
    #[arg(long, value_name = "KEY", requires = "kind")]
    key: Option<String>,
    /// Only events of this task and everything below it
    #[arg(long, value_name = "KEY", conflicts_with_all = ["kind", "key"])]
    tree: Option<String>,
    /// Only events of this type, such as `completed`; may be given several times
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    /// From here on: a time (RFC 3339), or behind a cursor `<partition>.<record>.<index>` of that partition
    #[arg(long, value_name = "TIME|CURSOR", value_parser = From::parse)]
    from: Option<From>,
    /// Up to this time (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = time)]
    to: Option<Timestamp>,
    /// At most so many events
    #[arg(long, value_name = "COUNT")]
    limit: Option<u64>,
    /// Go on with what comes, until Ctrl-C
    #[arg(long, short)]
    follow: bool,
}

/// Where to begin.
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
pub struct Line {
    /// Where in the log it stands: `<partition>.<record>.<index>`.
    pub cursor: String,
    /// When it was decided, RFC 3339.
    pub time: String,
    /// Whose it is: `<kind>/<key>`.
    pub entity: String,
    /// The entity's revision after it, from 1.
    pub revision: u64,
    /// What happened.
    #[serde(rename = "type")]
    pub event_type: String,
    /// The schema version of the body.
    pub schema: u16,
    /// The chain hash up to and with it: 64 hexadecimal digits.
    pub hash: String,
    /// The command that led to it: a UUID.
    pub cause: Option<String>,
    /// What everything caused by one request shares: a UUID.
    pub correlation: Option<String>,
    /// The W3C trace context, if it was traced.
    pub traceparent: Option<String>,
    /// The event itself.
    pub body: Value,
}

impl Line {
    /// An event of the stream.
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
            // What is not JSON is shown as it is: this verb must not fail on damage.
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
        let mut body = self.body.clone();
        if let Value::Object(fields) = &mut body {
            fields.remove("type");
        }
        if body.as_object().is_some_and(serde_json::Map::is_empty) { String::new() } else { body.to_string() }
    }
}

impl Show for Line {
    fn text(&self) -> String {
        let detail: String =
            self.detail().chars().filter(|letter| !letter.is_control()).take(BODY_CHARS_MAX).collect();
        let what = format!("{}@{}", self.entity, self.revision);
        format!("{}  {what}  {}  {detail}", self.time, self.event_type).trim_end().to_owned()
    }
}

/// Prints events.
pub async fn run(session: &Session, arguments: Arguments, output: Output) -> Result<(), Failure> {
    let query = EventQuery { subjects: subjects(session, &arguments)?, from: 0 };
    if !arguments.follow {
        let events = session.bus.events_until_now(query).await?;
        return print(events, &arguments, output).await;
    }
    let events = session.bus.events(query).await?;
    tokio::select! {
        ended = print(events, &arguments, output) => ended,
        () = interrupted() => Err(Failure::new("interrupted", "events go on").exit(exit::INTERRUPTED)),
    }
}

fn subjects(session: &Session, arguments: &Arguments) -> Result<Vec<String>, Failure> {
    let subjects = session.bus.subjects();
    if let Some(key) = &arguments.tree {
        return Ok(subjects.event_tree(&address::task(key)?).to_vec());
    }
    let Some(kind) = &arguments.kind else { return Ok(Vec::new()) };
    if let Some(key) = &arguments.key {
        return Ok(vec![subjects.event(&address::entity(&format!("{kind}/{key}"))?)]);
    }
    let kind = Kind::parse(kind).map_err(|error| Failure::of("invalid-key", &error).exit(exit::USAGE))?;
    Ok(vec![subjects.events(Some(&kind))])
}

async fn print(
    mut events: impl Stream<Item = Result<StoredEvent, bus_client::Error>> + Unpin,
    arguments: &Arguments,
    output: Output,
) -> Result<(), Failure> {
    let mut left = arguments.limit.unwrap_or(u64::MAX);
    let mut unreadable = None;
    while left > 0
        && let Some(stored) = events.next().await
    {
        let stored = match stored {
            Ok(stored) => stored,
            // One damaged message must not hide the others; the exit code tells of it.
            Err(error @ bus_client::Error::Event { .. }) => {
                output.say(&format!("skipping: {error}"));
                unreadable = Some(error);
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        if wanted(&stored, arguments) {
            output.show(&Line::new(&stored));
            left -= 1;
        }
    }
    unreadable.map_or(Ok(()), |error| Err(Failure::from(error).exit(exit::DATA)))
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
