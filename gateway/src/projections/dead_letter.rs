//! The view of a dead letter. Its payload stays in the stream of dead letters.

use bus_schemas::events::deadletter::Event;
use bus_schemas::{Key, Revision, Timestamp};
use rusqlite::types::Value;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::view::{View, time};

/// What could not be done, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeadLetter {
    /// Its name.
    #[schema(value_type = String)]
    pub entry: Key,
    /// `poison`, `malformed-command`, `unknown-kind`, `job-failed` …
    pub class: String,
    /// For people.
    pub reason: String,
    /// The kind that it was meant for, as written.
    pub kind: String,
    /// The key that it was meant for, as written.
    pub key: String,
    /// The command.
    pub command_id: String,
    /// What everything caused by one request shares.
    pub correlation: String,
    /// The W3C trace, if there is one.
    pub traceparent: Option<String>,
    /// How often it was tried.
    pub attempts: u32,
    /// Milliseconds since 1970: when it was given up.
    #[schema(value_type = u64)]
    pub at: Timestamp,
    /// How many events it has.
    #[schema(value_type = u64)]
    pub revision: Revision,
}

impl View for DeadLetter {
    type Event = Event;
    const TABLE: &'static str = "dead_letters";
    const COLUMNS: &'static [&'static str] = &["class", "at"];

    fn fold(view: &mut Option<Self>, id: &Key, event: &Event, _: Timestamp, revision: Revision) {
        let Event::Recorded { entry } = event;
        *view = Some(Self {
            entry: id.clone(),
            class: entry.class.to_string(),
            reason: entry.reason.clone(),
            kind: entry.kind.clone(),
            key: entry.key.clone(),
            command_id: entry.command_id.to_string(),
            correlation: entry.correlation.to_string(),
            traceparent: entry.traceparent.clone(),
            attempts: entry.attempts,
            at: entry.at,
            revision,
        });
    }
    fn revision(&self) -> Revision {
        self.revision
    }
    fn columns(&self) -> Vec<Value> {
        vec![Value::Text(self.class.clone()), time(self.at)]
    }
}
