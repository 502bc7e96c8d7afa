//! Agents and their workers.

use bus_schemas::commands::agent::AgentCard;
use bus_schemas::manifests::Declared;
use bus_schemas::{Key, Revision, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A page of agents.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct AgentPage {
    /// The agents, by name.
    pub agents: Vec<Agent>,
    /// The cursor of the next page; null on the last page.
    pub next_cursor: Option<String>,
}

/// An agent with its workers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Agent {
    /// The agent's name.
    pub name: Key,
    /// The agent's card, from its last worker; null when it is known only because it is held.
    pub card: Option<AgentCard>,
    /// Jobs that the agent runs at once, over all live workers.
    pub capacity: u32,
    /// The workers that have registered and not left.
    pub workers: Vec<Worker>,
    /// The halts and other causes that hold the agent: while there are any, it gets no jobs.
    #[serde(default)]
    pub holds: Vec<Hold>,
    /// Where the agent comes from.
    pub source: Source,
    /// The manifest that declares the agent, with what hosts report of its health; null where none does or did.
    #[serde(default)]
    pub declared: Option<Declared>,
    /// The time of the last change, in milliseconds since 1970.
    pub updated_at: Timestamp,
    /// The agent's revision: the number of its events.
    pub revision: Revision,
}

/// Where an agent comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::IntoStaticStr)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Source {
    /// It comes with Orrery.
    Shipped,
    /// A manifest declares it, or did.
    Manifest,
    /// A program registered it.
    Outside,
}

/// A worker of an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Worker {
    /// The worker's name.
    pub worker: String,
    /// Jobs that the worker runs at once.
    pub capacity: u32,
    /// The lanes that the worker serves.
    pub lanes: Vec<Key>,
    /// The time of registration, in milliseconds since 1970.
    pub registered_at: Timestamp,
    /// Since when no host has received a claim or a renewal of the worker, in milliseconds since 1970; null
    /// while hosts hear of it.
    pub lost_at: Option<Timestamp>,
    /// When a host last received a claim or a renewal, in milliseconds since 1970, accurate to a few seconds;
    /// null when no host has reported one since this gateway started.
    #[serde(default)]
    pub heard_at: Option<Timestamp>,
}

/// Why an agent gets no jobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Hold {
    /// The entity that holds the agent: `halt/agent.<name>`.
    pub cause: String,
    /// The reason, for people.
    pub reason: String,
    /// Since when the agent is held, in milliseconds since 1970.
    pub since: Timestamp,
}
