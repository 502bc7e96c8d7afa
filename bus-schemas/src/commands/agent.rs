//! Commands for `agent`: registration, heartbeats, capacity.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use smol_str::SmolStr;

use crate::ids::Key;
use crate::manifests::{AgentManifest, Declared};

/// A command for an agent. The key is the agent's name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Command {
    /// A worker joins and describes the agent. The same worker again replaces what it sent before.
    Register {
        /// The worker: a process or a thread that does jobs of this agent.
        worker: SmolStr,
        /// The agent's card.
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
        /// The reason.
        #[serde(default)]
        reason: String,
    },
    /// From a halt: lanes give the agent no jobs, and take back those it has.
    Hold {
        /// The cause of the hold.
        cause: SmolStr,
        /// The reason.
        reason: String,
        /// How long running jobs have to end by themselves, in milliseconds.
        #[serde(default, skip_serializing_if = "super::is_zero")]
        grace_ms: u64,
    },
    /// The hold ends.
    Ease {
        /// The cause of the hold.
        cause: SmolStr,
    },
    /// From a host: no host has had a claim or a renewal of this worker for too long.
    LoseWorker {
        /// The worker.
        worker: SmolStr,
    },
    /// Declares the agent by a manifest: hosts run it. A manifest with a higher version replaces the former one. The
    /// reply is a [`Loaded`].
    Load {
        /// The manifest.
        manifest: Box<AgentManifest>,
    },
    /// Takes the manifest away: hosts give the agent no more jobs, and let those run that it has.
    Unload {
        /// The reason.
        #[serde(default)]
        reason: String,
    },
    /// From a host: whether it runs the agent of the manifest.
    ReportHealth {
        /// The host.
        host: SmolStr,
        /// The number of the manifest.
        number: u32,
        /// Why it does not run the agent; empty if it does.
        #[serde(default)]
        problem: String,
    },
}
crate::wire::wire_command!(Command, "agent");

/// A query of an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::VariantNames)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
#[strum(serialize_all = "kebab-case")]
pub enum Query {
    /// Answers with its [`Registration`].
    #[serde(deserialize_with = "crate::wire::no_fields")]
    Describe,
    /// Answers with what [`Command::Load`] would, and changes nothing.
    CheckManifest {
        /// The manifest.
        manifest: Box<AgentManifest>,
    },
}
crate::wire::wire_query!(Query, "agent");

/// An agent and its workers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Registration {
    /// The card of the last registration; `null` before the first worker.
    pub card: Option<AgentCard>,
    /// The live workers by name, each with the ids of its skills, sorted.
    pub workers: BTreeMap<SmolStr, Vec<SmolStr>>,
    /// The manifest; `null` where none declares the agent.
    #[serde(default)]
    pub declared: Option<Declared>,
}

/// The result in the reply to [`Command::Load`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Loaded {
    /// The number of the manifest.
    pub number: u32,
    /// The version that it replaces; `null` if there is none.
    pub former: Option<String>,
}

fn default_lanes() -> Vec<Key> {
    vec![Key::parse("default").expect("a constant")]
}

/// An agent's card: the part of an A2A agent card that routing needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentCard {
    /// Its name: the key of the `agent` entity.
    pub name: Key,
    /// What the agent does, in a sentence.
    pub description: String,
    /// Its version.
    pub version: String,
    /// What it can do.
    pub skills: Vec<Skill>,
    /// The keys of the breakers that its work depends on, such as `model.openai` or `tool.git`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dependencies: Vec<Key>,
}

/// A skill of an agent.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Skill {
    /// The id of the skill, which tasks ask for.
    pub id: SmolStr,
    /// The name, for people.
    pub name: String,
    /// What the skill is good for.
    #[serde(default)]
    pub description: String,
    /// Search terms.
    #[serde(default)]
    pub tags: Vec<String>,
    /// The JSON Schema of the job's input: a job with another input fails as `invalid-input` before it runs. Absent:
    /// the agent checks by itself.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub input: Value,
    /// The JSON Schema of the result.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub output: Value,
}
