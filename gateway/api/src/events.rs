//! Events, as pages and as streams.

use bus_schemas::jobs::OutputChunk;
use bus_schemas::{CommandId, EntityAddress, Hash, Key, Revision};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

/// Where the stream begins, when it ends, and whether it carries output.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StreamEvents {
    /// Start after this event id. For clients that cannot set the header `Last-Event-ID`, which overrides
    /// this.
    pub after: Option<String>,
    /// True: keep the stream open for new events. False: end after the existing ones. Default: true.
    pub follow: Option<bool>,
    /// True: also send `output` chunks, which have no id and are not sent again. Default: false.
    pub output: Option<bool>,
}

/// The filter and the start of a list of events.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListEvents {
    /// Only events of entities of this kind.
    pub kind: Option<String>,
    /// Only events of this type, such as `completed`.
    pub r#type: Option<String>,
    /// Only events of this task and its descendants. Cannot be combined with `kind`.
    pub tree: Option<String>,
    /// Only events from this time on, in milliseconds since 1970.
    #[serde(deserialize_with = "bus_schemas::wire::time", default)]
    pub since: Option<u64>,
    /// Start after this cursor: `cursor` of the page before, or an `id` of the stream. The header
    /// `Last-Event-ID` overrides this.
    pub after: Option<String>,
    /// Events in the page. Default: 50. Does not bound a stream.
    #[schemars(range(min = 1, max = 200))]
    pub limit: Option<u32>,
}

/// A page of events.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct EventPage {
    /// The events in the order of the event stream: within a partition, the order of their commits.
    pub events: Vec<Event>,
    /// The cursor of the next page, which may still be empty.
    pub cursor: String,
    /// Whether there are more events now.
    pub more: bool,
}

/// An event.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// The entity of the event, as `<kind>/<key>`.
    #[serde(with = "bus_schemas::address_text")]
    #[schemars(with = "String")]
    pub entity: EntityAddress,
    /// The entity's revision after the event, from 1.
    pub revision: Revision,
    /// The type of the event: a word in the past tense.
    pub r#type: String,
    /// The version of the event's schema.
    pub schema: u16,
    /// When the event stream stored the event, in RFC 3339.
    pub time: String,
    /// The hash that chains the event to the one before it, hexadecimal.
    pub hash: Hash,
    /// The id of the command that led to the event.
    pub cause: Option<CommandId>,
    /// The id shared by everything that one request caused.
    pub correlation: Option<CommandId>,
    /// The body of the event, byte for byte as in the log.
    #[schemars(with = "Value")]
    pub event: Box<RawValue>,
}

/// A chunk of a worker's output.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// The task that the worker works on.
    pub task: Key,
    /// The chunk.
    #[serde(flatten)]
    pub chunk: OutputChunk,
}
