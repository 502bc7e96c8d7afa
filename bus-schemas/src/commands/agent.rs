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
        /// How often it says that it is alive, in milliseconds. Silent for three times as long, it
        /// is lost.
        #[serde(default = "default_heartbeat_ms")]
        heartbeat_ms: u64,
    },
    /// A worker is alive.
    Heartbeat {
        /// The worker.
        worker: SmolStr,
        /// How many jobs it does now.
        #[serde(default)]
        running: u32,
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
    /// Timer: a worker was silent for too long.
    MissHeartbeat {
        /// The worker.
        worker: SmolStr,
    },
}
crate::wire::wire_command!(Command, "agent");

fn default_lanes() -> Vec<Key> {
    vec![Key::parse("default").expect("a constant")]
}
fn default_heartbeat_ms() -> u64 {
    30_000
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
