//! `orrery heal`: what the system did to heal itself, and releasing an entity from quarantine.

use std::collections::BTreeMap;

use actors_host::Config;
use bus_client::{EventQuery, StoredEvent};
use bus_schemas::commands::healer::{Act, Action, Command};
use bus_schemas::events::healer::Event;
use bus_schemas::wire::WireCommand;
use bus_schemas::{Timestamp, upcast};
use futures::{Stream, StreamExt};
use gateway_api::healer::{ReleaseEntity, Released};
use gateway_api::routes;
use schemars::JsonSchema;
use serde::Serialize;

use crate::address;
use crate::client::Client;
use crate::commands::tasks::one_line;
use crate::commands::tasks::submit::time;
use crate::commands::up::interrupted;
use crate::failure::{Failure, exit};
use crate::output::{Output, Show};
use crate::session::Session;

/// The next step after an event that this program cannot read.
const NEWER: &str = "use the version that wrote it; `orrery verify --all` tells whether it is damaged";

/// The action.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Show what was done, to what and why, oldest first
    Log(Log),
    /// Release an entity from quarantine: it takes commands again
    Release {
        /// The entity: `<kind>/<key>`
        entity: String,
        /// The reason
        #[arg(long, default_value = "")]
        reason: String,
    },
}

#[derive(Debug, clap::Args)]
struct Log {
    /// Only from this time on (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Timestamp>,
    /// Follow new entries until Ctrl-C
    #[arg(long, short)]
    follow: bool,
}

/// An action or an observation of a healer.
#[derive(Debug, Serialize, JsonSchema)]
pub struct HealingRow {
    /// The entry's position in the log: `<partition>.<record>.<index>`.
    pub cursor: String,
    /// The time, RFC 3339.
    pub time: String,
    /// The healer: a host, `log` for what entities do by themselves, or `quarantine`.
    pub healer: String,
    /// The action.
    pub action: Action,
    /// What was acted on: an entity, a supervised worker, a disk.
    pub subject: String,
    /// The reason.
    pub reason: String,
    /// The caller who asked for it; empty when the system acted by itself.
    pub by: String,
    /// The observations behind the action, by name.
    pub evidence: BTreeMap<String, String>,
}

impl Show for Released {
    fn text(&self) -> String {
        format!("{} takes commands again", self.entity)
    }
}

impl Show for HealingRow {
    fn text(&self) -> String {
        let Self { time, healer, action, subject, reason, by, evidence, .. } = self;
        let mut text = format!("{time}  {healer}  {action}  {}: {}", one_line(subject), one_line(reason));
        if !by.is_empty() {
            text.push_str(&format!("  by {}", one_line(by)));
        }
        for (name, value) in evidence {
            text.push_str(&format!("  {name}={}", one_line(value)));
        }
        text
    }
}

impl HealingRow {
    fn new(stored: &StoredEvent) -> Result<Self, Failure> {
        let record = &stored.event;
        let event: Event = upcast::read(&record.event_type, record.schema, &record.body)
            .map_err(|error| Failure::of("event-unreadable", &error).next(NEWER).exit(exit::DATA))?;
        let (action, subject, reason, by, evidence, at) = match event {
            Event::Acted(Act { action, subject, reason, evidence, at }) => {
                (action, subject, reason, String::new(), evidence, at)
            }
            Event::Quarantined { entity, reason, by, evidence, at } => {
                (Action::Quarantine, entity.to_string(), reason, by, evidence, at)
            }
            Event::Released { entity, reason, by, at } => {
                (Action::Release, entity.to_string(), reason, by, BTreeMap::new(), at)
            }
        };
        let evidence = evidence.into_iter().map(|(name, value)| (name.to_string(), value)).collect();
        let (cursor, time) = (stored.cursor.to_string(), at.to_rfc3339());
        let healer = stored.entity.key.to_string();
        Ok(Self { cursor, time, healer, action, subject, reason, by, evidence })
    }
}

/// Runs the verb. The log is read from the store, because an operator needs it most when the system is down.
pub async fn run(config: &Config, arguments: Arguments, output: Output) -> Result<(), Failure> {
    match arguments.verb {
        Verb::Log(log) => {
            let session = match log.follow {
                true => Session::connect(config).await?,
                false => Session::open(config).await?,
            };
            let result = session.unless_interrupted(show(&session, &log, output)).await;
            session.close().await;
            result
        }
        Verb::Release { entity, reason } => {
            let body = ReleaseEntity { entity: address::known(&entity)?, reason };
            output.show(&Client::connect(config)?.send(routes::ReleaseEntity, &[], &body).await?);
            Ok(())
        }
    }
}

async fn show(session: &Session, log: &Log, output: Output) -> Result<(), Failure> {
    let subjects = vec![session.bus.subjects().events(Some(&Command::KIND))];
    let query = EventQuery { subjects, from: 0 };
    if !log.follow {
        return print(session.bus.events_until_now(query).await?, log.since, output).await;
    }
    let events = session.bus.events(query).await?;
    tokio::select! {
        ended = print(events, log.since, output) => ended,
        () = interrupted() => Err(Failure::new("interrupted", "the log goes on")
            .next("`orrery heal log` shows what has happened meanwhile")
            .exit(exit::INTERRUPTED)),
    }
}

async fn print(
    mut events: impl Stream<Item = Result<StoredEvent, bus_client::Error>> + Unpin,
    since: Option<Timestamp>,
    output: Output,
) -> Result<(), Failure> {
    while let Some(stored) = events.next().await {
        let stored = stored?;
        let at = Timestamp::parse_rfc3339(&stored.time).unwrap_or_default();
        if since.is_none_or(|since| at >= since) {
            output.show(&HealingRow::new(&stored)?);
        }
    }
    Ok(())
}
