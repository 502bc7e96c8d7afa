//! Health, readiness, metrics and the description of the interface.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The process is alive.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Health {
    /// Always `ok`.
    pub status: String,
    /// The gateway's version.
    pub version: String,
}

/// Whether requests can be served, and what prevents it.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Ready {
    /// Whether everything below is well.
    pub ready: bool,
    /// The connection to NATS.
    pub bus: Bus,
    /// The read model.
    pub projection: Projection,
    /// The owners of the partitions.
    pub partitions: Partitions,
}

/// The connection to NATS.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Bus {
    /// Whether the connection is up.
    pub connected: bool,
    /// The durability profile.
    pub profile: String,
    /// The server's version.
    pub server_version: String,
}

/// The read model.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Projection {
    /// Whether the read model has caught up with the event stream at least once.
    pub caught_up: bool,
    /// The sequence of the last message of the event stream that was applied.
    pub applied: u64,
    /// Messages not applied yet.
    pub lag: u64,
    /// Events that could not be applied.
    pub unreadable: u64,
    /// The first of them, with their reasons.
    pub unreadable_first: Vec<Unreadable>,
}

/// An event that could not be applied.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Unreadable {
    /// The event's sequence in the event stream.
    pub sequence: u64,
    /// The entity and the revision, or the message's subject.
    pub subject: String,
    /// Why the event could not be applied.
    pub reason: String,
}

/// The owners of the partitions.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Partitions {
    /// The number of partitions.
    pub total: u16,
    /// Partitions that have an owner.
    pub owned: usize,
    /// Partitions without an owner.
    pub unowned: Vec<u16>,
    /// Partitions that have an owner but do not answer or make no progress, with the reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub stuck: BTreeMap<u16, String>,
    /// Hosts with the number of partitions that each owns.
    pub hosts: BTreeMap<String, usize>,
    /// Why the owners are not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}
