//! Cards of the shipped agents.

use bus_schemas::Key;
use bus_schemas::commands::agent::{AgentCard, Skill};
use smol_str::SmolStr;

use crate::contract::Failure;

/// A card of this version of Orrery. `name` is a constant of ours and a valid key.
pub(super) fn card(name: &str, description: &str, skills: Vec<Skill>) -> AgentCard {
    AgentCard {
        name: Key::parse(name).expect("the names of shipped agents are valid keys"),
        description: description.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        skills,
        dependencies: Vec::new(),
    }
}

/// One skill.
pub(super) fn skill(id: &'static str, name: &str, description: &str, tags: &[&str]) -> Skill {
    Skill {
        id: SmolStr::new_static(id),
        name: name.to_owned(),
        description: description.to_owned(),
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
    }
}

/// A job for a skill that the agent's card does not have: somebody assigned it by hand.
pub(super) fn unknown_skill(agent: &str, skill: &str) -> Failure {
    Failure::permanent("unknown-skill", format!("the agent `{agent}` has no skill `{skill}`"))
        .hint("`orrery agents` lists every agent with its skills")
}
