//! Cards of the shipped agents.

use actors_worker::Failure;
use bus_schemas::Key;
use bus_schemas::commands::agent::{AgentCard, Skill};
use schemars::{JsonSchema, schema_for};
use smol_str::SmolStr;

/// A card of this version of Orrery. `name` is a constant of ours and a valid key.
pub(crate) fn card(name: &str, description: &str, skills: Vec<Skill>) -> AgentCard {
    AgentCard {
        name: Key::parse(name).expect("the names of shipped agents are valid keys"),
        description: description.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        skills,
        dependencies: Vec::new(),
    }
}

/// A skill of a card.
pub(crate) fn skill(id: &'static str, name: &str, description: &str, tags: &[&str]) -> Skill {
    Skill {
        id: SmolStr::new_static(id),
        name: name.to_owned(),
        description: description.to_owned(),
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        ..Skill::default()
    }
}

/// The input of a skill that goes by the goal and by the artifacts of the steps before it.
#[derive(Debug, JsonSchema)]
pub(crate) struct Nothing {}

/// A skill with the schemas of its input and of its result.
pub(crate) fn typed<I: JsonSchema, O: JsonSchema>(
    id: &'static str,
    name: &str,
    description: &str,
    tags: &[&str],
) -> Skill {
    let (input, output) = (schema_for!(I).to_value(), schema_for!(O).to_value());
    Skill { input, output, ..skill(id, name, description, tags) }
}

/// The failure for a job whose skill is not on the agent's card: it was assigned by hand.
pub(crate) fn unknown_skill(agent: &str, skill: &str) -> Failure {
    Failure::permanent("unknown-skill", format!("the agent `{agent}` has no skill `{skill}`"))
        .hint("`orrery agents` lists every agent with its skills")
}
