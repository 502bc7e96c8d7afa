//! Commands for `agent`: registration, heartbeats, capacity.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::ids::Key;

/// What an agent can be told. The key is the agent's name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Command {
    /// A worker joins and says what the agent is. The same worker again replaces what it said.
    Register {
        /// The worker: a process or a thread that takes jobs of this agent.
        worker: SmolStr,
        /// What the agent is.
        card: AgentCard,
        /// How many jobs this worker does at once.
        capacity: u32,
        /// The lanes it serves.
        #[serde(default = "default_lanes")]
        lanes: Vec<Key>,
    },
    /// A worker leaves in good order.
    Deregister {
        /// The worker.
        worker: SmolStr,
        /// Why.
        #[serde(default)]
        reason: String,
    },
    /// From a halt: its lanes give it nothing, and take back what it has.
    Hold {
        /// Who holds.
        cause: SmolStr,
        /// Why.
        reason: String,
        /// How long what runs may take to end by itself, in milliseconds.
        #[serde(default, skip_serializing_if = "super::is_zero")]
        grace_ms: u64,
    },
    /// The cause holds no longer.
    Ease {
        /// Who held.
        cause: SmolStr,
    },
    /// From a host: no host has heard of a worker for too long, neither by a claim nor by a renewal.
    LoseWorker {
        /// The worker.
        worker: SmolStr,
    },
}
crate::wire::wire_command!(Command, "agent");

/// What an agent answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::VariantNames)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
#[strum(serialize_all = "kebab-case")]
pub enum Query {
    /// Answers with its [`Registration`].
    #[serde(deserialize_with = "crate::wire::no_fields")]
    Describe,
}
crate::wire::wire_query!(Query, "agent");

/// What an agent is, and its workers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Registration {
    /// Its card; none before the first worker.
    pub card: Option<AgentCard>,
    /// Its workers.
    pub workers: Vec<SmolStr>,
}

fn default_lanes() -> Vec<Key> {
    vec![Key::parse("default").expect("a constant")]
}

/// What an agent is: the part of an A2A agent card that routing needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentCard {
    /// Its name: the key of the `agent` entity.
    pub name: Key,
    /// What it does, in a sentence.
    pub description: String,
    /// Its version.
    pub version: String,
    /// What it can do.
    pub skills: Vec<Skill>,
    /// What its work depends on: the keys of breakers, such as `model.openai` or `tool.git`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dependencies: Vec<Key>,
}

/// One thing that an agent can do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Skill {
    /// Names the skill: what a task asks for.
    pub id: SmolStr,
    /// For people.
    pub name: String,
    /// What it is good for.
    #[serde(default)]
    pub description: String,
    /// Words to find it by.
    #[serde(default)]
    pub tags: Vec<String>,
}
